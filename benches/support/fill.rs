//! A store with many settled events, written through its own messages. Knows no SQL.

use std::path::Path;

use actors::clock::{Clock, SystemClock};
use actors::domain::{BodyFormat, ManagedRepos, NewEvent, RawBody, Recorded};
use actors::github::{Taken, normalize};
use actors::messages::store::{RecordEvent, SettleEvents, Settlement};
use actors::store::Store;
use actors::store::sqlite::{SqliteOptions, SqliteStore};

use super::load::Shot;

/// Orders under way at once.
const GROUP: u64 = 500;

pub(crate) fn with_events(state_dir: &Path, events: u64, shot: &Shot) {
    let clock = SystemClock::shared();
    let store = SqliteStore::open(SqliteOptions::at(state_dir.join("firstlight.db")), clock.clone()).expect("it opens");
    let managed = ManagedRepos::parse(["acme/*"]).expect("a pattern");
    let json = std::str::from_utf8(&shot.body).expect("JSON");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut done = 0;
        while done < events {
            let group = GROUP.min(events - done);
            let orders: Vec<_> = (0..group)
                .map(|_| {
                    let envelope = normalize(&Taken {
                        event: &shot.event,
                        delivery: uuid::Uuid::new_v4().to_string().parse().expect("an id"),
                        json,
                        bot_login: "last-light[bot]",
                        managed: &managed,
                        received_at: clock.now(),
                    })
                    .expect("a fixture");
                    store.record_event(RecordEvent(NewEvent {
                        envelope,
                        raw: RawBody::keep(BodyFormat::Json, &shot.body),
                    }))
                })
                .collect();
            let mut settlements = Vec::new();
            for order in orders {
                if let Recorded::Fresh(event) = order.await.expect("there is room") {
                    settlements.push(Settlement {
                        event,
                        outcome: "ignored: no route for issue.closed".into(),
                        quarantined: false,
                        open: None,
                        decide: None,
                        lapse: None,
                        effects: Vec::new(),
                        otherwise: Vec::new(),
                        at: SystemClock.now(),
                    });
                }
            }
            store
                .settle_events(SettleEvents(settlements))
                .await
                .expect("there is room");
            done += group;
        }
        store.close().await.expect("it closes");
    });
}
