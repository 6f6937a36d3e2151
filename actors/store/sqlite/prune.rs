//! Removes what is over and old, a few rows at a time, and gives room back to the disk. Knows what is live, and no clock.
//!
//! Rows are looked at in the order of their positions, which is nearly that of their age, so no index has to be kept for it.

use std::collections::BTreeSet;

use rusqlite::{Connection, named_params};

use super::columns::{count, millis, rows};
use super::fault::Fault;
use crate::domain::{Prunable, Pruned, Space};
use crate::messages::store::{GiveBack, Prune};

/// Bytes of payloads that one step removes, or little more: a large one is a long chain of pages.
const MOST_BYTES: i64 = 2 * 1024 * 1024;

/// Where a kind of rows is, and which of them may go.
struct Kind {
    table: &'static str,
    born: &'static str,
    /// Bytes that hang on a row.
    weight: &'static str,
    /// Over, older than `:before`, and of no more use to anything that is live.
    over: &'static str,
    /// What has to be looked after when a row is gone.
    leaves: &'static str,
}

const fn kind(what: Prunable) -> Kind {
    match what {
        Prunable::Events => Kind {
            table: "events",
            born: "received_at",
            weight: "(SELECT length(body) FROM event_bodies WHERE event_bodies.seq = events.seq)",
            // Positions are not used twice as long as the newest row stays.
            over: "received_at < :before AND state <> 'recorded' AND seq < (SELECT max(seq) FROM events)
                   AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = events.run_id AND runs.ended_at IS NULL)
                   AND NOT EXISTS (SELECT 1 FROM effects
                                   WHERE effects.event_id = events.id AND effects.settled_at IS NULL)",
            leaves: "NULL",
        },
        Prunable::Payloads => Kind {
            table: "event_bodies",
            born: "(SELECT received_at FROM events WHERE events.seq = event_bodies.seq)",
            weight: "length(body)",
            // What was set aside waits for somebody who looks into it.
            over: "EXISTS (SELECT 1 FROM events
                           WHERE events.seq = event_bodies.seq AND received_at < :before AND state = 'settled'
                             AND NOT EXISTS (SELECT 1 FROM runs
                                             WHERE runs.id = events.run_id AND runs.ended_at IS NULL))",
            leaves: "NULL",
        },
        Prunable::Conversations => Kind {
            table: "chat_sessions",
            born: "created_at",
            weight: "(SELECT sum(octet_length(text) + 256) FROM chat_messages WHERE session_seq = chat_sessions.seq)",
            over:
                "last_activity_at < :before
                   AND NOT EXISTS (SELECT 1 FROM chat_messages line JOIN events ON events.id = line.message_id
                                   LEFT JOIN runs ON runs.id = events.run_id
                                   WHERE line.session_seq = chat_sessions.seq
                                     AND (events.state = 'recorded' OR runs.seq IS NOT NULL AND runs.ended_at IS NULL))",
            leaves: "NULL",
        },
        Prunable::Runs => Kind {
            table: "runs",
            born: "created_at",
            weight: "octet_length(context) + octet_length(scratch)
                     + ifnull((SELECT sum(ifnull(octet_length(output), 0) + 256)
                               FROM phase_executions WHERE run_seq = runs.seq), 0)",
            // The one with the newest phase stays, so that positions of phases are not used twice.
            over: "ended_at IS NOT NULL AND ended_at < :before AND untold = 0
                   AND seq <> ifnull((SELECT run_seq FROM phase_executions ORDER BY seq DESC LIMIT 1), 0)
                   AND NOT EXISTS (SELECT 1 FROM effects
                                   WHERE effects.run_id = runs.id AND effects.settled_at IS NULL)
                   AND NOT EXISTS (SELECT 1 FROM approvals
                                   WHERE approvals.run_seq = runs.seq AND approvals.status = 'pending')
                   AND NOT EXISTS (SELECT 1 FROM cron_targets
                                   WHERE cron_targets.run_id = runs.id AND cron_targets.state = 'live')",
            leaves: "id",
        },
        Prunable::Firings => Kind {
            table: "cron_firings",
            born: "created_at",
            weight: "total * 128",
            over: "ended_at IS NOT NULL AND ended_at < :before
                   AND seq < (SELECT max(later.seq) FROM cron_firings AS later WHERE later.cron = cron_firings.cron)
                   AND NOT EXISTS (SELECT 1 FROM cron_targets
                                   WHERE cron_targets.firing_seq = cron_firings.seq AND cron_targets.state = 'live')",
            leaves: "NULL",
        },
        Prunable::Deliveries => Kind {
            table: "effects",
            born: "created_at",
            weight: "octet_length(effect) + 1024 * attempts",
            // A run that goes on says nothing twice, and what is still to be said may be an edit of what was said: the keys
            // of both stay until all of it is over.
            over: "settled_at IS NOT NULL AND settled_at < :before AND head = 0
                   AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = effects.run_id AND runs.ended_at IS NULL)
                   AND NOT EXISTS (SELECT 1 FROM effects AS later
                                   WHERE later.run_id = effects.run_id AND later.settled_at IS NULL)
                   AND NOT EXISTS (SELECT 1 FROM events
                                   WHERE events.id = effects.event_id AND events.state <> 'settled')",
            leaves: "message",
        },
    }
}

/// Looks at the next rows of a kind, and removes those that may go.
pub(super) fn prune(db: &Connection, order: &Prune) -> Result<Pruned, Fault> {
    let Kind {
        table,
        born,
        weight,
        over,
        leaves,
    } = kind(order.what);
    // By age they go like all others; for want of room they stay, for nobody else has them any more.
    let aside = match order.what {
        Prunable::Events if order.for_room => "AND state = 'settled'",
        _ => "",
    };
    let before = millis(order.before);
    let (mut last, mut bytes, mut all_young) = (None, 0, true);
    let (mut seen, mut cut) = (0, false);
    {
        let mut window = db.prepare_cached(&format!(
            "SELECT seq, ifnull({born}, 0), ifnull({weight}, 0) FROM {table} WHERE seq > :after ORDER BY seq LIMIT :most"
        ))?;
        let mut window = window.query(named_params! {":after": order.after, ":most": rows(order.most.max(1))})?;
        while let Some(row) = window.next()? {
            last = Some(row.get::<_, i64>(0)?);
            all_young &= row.get::<_, i64>(1)? >= before;
            bytes += row.get::<_, i64>(2)?;
            seen += 1;
            if bytes >= MOST_BYTES {
                cut = true;
                break;
            }
        }
    }
    let Some(last) = last.filter(|_| !all_young) else {
        return Ok(Pruned::default());
    };
    let mut pruned = Pruned {
        // There is more only behind a step that was as long as it could be.
        next: (cut || seen >= order.most).then_some(last),
        ..Pruned::default()
    };
    let mut left: BTreeSet<String> = BTreeSet::new();
    {
        let mut delete = db.prepare_cached(&format!(
            "DELETE FROM {table} WHERE seq > :after AND seq <= :last AND {over} {aside} RETURNING {leaves}"
        ))?;
        let mut gone = delete.query(named_params! {":after": order.after, ":last": last, ":before": before})?;
        while let Some(row) = gone.next()? {
            pruned.removed += 1;
            left.extend(row.get::<_, Option<String>>(0)?);
        }
    }
    match order.what {
        Prunable::Runs => pruned.runs = left.iter().filter_map(|id| id.parse().ok()).collect(),
        Prunable::Deliveries => forget_bodies(db, &left)?,
        Prunable::Events | Prunable::Payloads | Prunable::Conversations | Prunable::Firings => {}
    }
    Ok(pruned)
}

/// What deliveries had in common goes with the last of them.
fn forget_bodies(db: &Connection, ids: &BTreeSet<String>) -> Result<(), Fault> {
    let mut forget = db.prepare_cached(
        "DELETE FROM webhook_messages WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM effects WHERE message = ?1)",
    )?;
    for id in ids {
        forget.execute([id])?;
    }
    Ok(())
}

/// How many rows of a kind may go.
pub(super) fn count_prunable(db: &Connection, what: Prunable, before: i64) -> rusqlite::Result<u64> {
    let Kind { table, over, .. } = kind(what);
    let sql = format!("SELECT count(*) FROM {table} WHERE {over}");
    let n = db.query_row(&sql, named_params! {":before": before}, |row| row.get(0))?;
    Ok(count(n))
}

/// Gives pages back to the disk, if the file can do that, and says how much room there is now.
pub(super) fn give_back(db: &Connection, order: GiveBack) -> Result<Space, Fault> {
    if order.most_pages > 0 {
        // A step gives one page back; it has to be asked until there is no more to do.
        let mut vacuum = db.prepare_cached(&format!("PRAGMA incremental_vacuum({})", order.most_pages))?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
    }
    Ok(space(db)?)
}

/// How much room the database takes.
pub(super) fn space(db: &Connection) -> rusqlite::Result<Space> {
    let one = |name: &str| -> rusqlite::Result<u64> { db.pragma_query_value(None, name, |row| row.get(0)).map(count) };
    let (pages, free, size) = (one("page_count")?, one("freelist_count")?, one("page_size")?);
    Ok(Space {
        used: pages.saturating_sub(free) * size,
        free: free * size,
        shrinks: one("auto_vacuum")? == 2,
    })
}
