//! How far a run has come, read from its records. Pure: the same records always give the same answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::{INTERRUPTED, PUT_DOWN, PhaseEnd, PhaseName, PhaseRecord, PhaseStatus};

/// How often an execution that a crash cut off is taken up again.
pub(crate) const MOST_TAKEN_UP: u32 = 3;

/// Begins the reason of a failure that trying again cannot mend.
pub(crate) const BLOCKED: &str = "blocked: ";

/// Where each execution of a run stands, by the name it is recorded under.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(BTreeMap<PhaseName, Standing>);

/// Where one execution stands, over all its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Of its latest attempt.
    pub(crate) status: PhaseStatus,
    /// Why its latest attempt ended as it did.
    pub(crate) reason: Option<String>,
    /// What its latest attempt printed.
    pub(crate) output: Option<Arc<str>>,
    /// When its latest attempt ended.
    pub(crate) ended_at: Option<DateTime<Utc>>,
    /// Number of its latest attempt, from 1.
    pub(crate) attempt: u32,
    /// How many of its attempts were cut off by a crash of the service.
    pub(crate) interruptions: u32,
    /// How many of its attempts ended badly by themselves.
    pub(crate) failures: u32,
}

/// What becomes of one execution next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// This attempt, at this instant or as soon after it as can be; nothing: at once.
    Attempt(u32, Option<DateTime<Utc>>),
    /// It waits for the question of its gate to be put.
    Ask,
    /// It has come to its end.
    Settled(PhaseStatus, Option<String>),
}

/// How often a failed execution is tried again, and how long to wait before that.
pub(crate) trait Patience {
    /// The pause before the next attempt, after so many failures; nothing: it stays failed.
    fn pause_after(&self, failures: u32) -> Option<std::time::Duration>;
}

impl Progress {
    /// Reads the records of a run that nobody works at. What is `running` there was cut off, and what the store closed as
    /// [`INTERRUPTED`] when the service came up was, too.
    pub(crate) fn of(records: Vec<PhaseRecord>) -> Self {
        let mut progress = Self::default();
        for record in records {
            let output = record.output.map(Arc::from);
            progress.note(
                &record.phase,
                record.attempt,
                record.status,
                record.reason,
                output,
                record.ended_at,
            );
        }
        progress
    }

    /// Takes in that an attempt has begun.
    pub(crate) fn begun(&mut self, row: &PhaseName, attempt: u32) {
        self.note(row, attempt, PhaseStatus::Running, None, None, None);
    }

    /// Takes in how an attempt ended.
    pub(crate) fn ended(&mut self, end: &PhaseEnd, at: DateTime<Utc>) {
        let output = end.output.as_deref().map(Arc::from);
        self.note(
            &end.phase,
            end.attempt,
            end.status,
            end.reason.clone(),
            output,
            Some(at),
        );
    }

    fn note(
        &mut self,
        row: &PhaseName,
        attempt: u32,
        status: PhaseStatus,
        reason: Option<String>,
        output: Option<Arc<str>>,
        ended_at: Option<DateTime<Utc>>,
    ) {
        let standing = self.0.entry(row.clone()).or_insert(Standing {
            status,
            reason: None,
            output: None,
            ended_at: None,
            attempt: 0,
            interruptions: 0,
            failures: 0,
        });
        let failed = status == PhaseStatus::Failed;
        let cut_off = failed && begins_with(reason.as_deref(), INTERRUPTED);
        let put_down = failed && begins_with(reason.as_deref(), PUT_DOWN);
        // One that nobody closed before the next began was cut off, too.
        let left_open = standing.status == PhaseStatus::Running && attempt > standing.attempt && standing.attempt > 0;
        standing.interruptions += u32::from(cut_off) + u32::from(left_open);
        standing.failures += u32::from(failed && !cut_off && !put_down);
        if attempt >= standing.attempt {
            standing.status = status;
            standing.reason = reason;
            standing.output = output;
            standing.ended_at = ended_at;
            standing.attempt = attempt;
        }
    }

    /// The attempts that are `running`: at the beginning of a story, those that were cut off.
    pub(crate) fn open(&self) -> Vec<(PhaseName, u32)> {
        let open = self
            .0
            .iter()
            .filter(|(_, standing)| standing.status == PhaseStatus::Running);
        open.map(|(row, standing)| (row.clone(), standing.attempt)).collect()
    }

    /// Whether a latest attempt was cut off, so that something of it may run still.
    pub(crate) fn was_cut_off(&self) -> bool {
        self.0.values().any(|standing| match standing.status {
            PhaseStatus::Running => true,
            PhaseStatus::Failed => begins_with(standing.reason.as_deref(), INTERRUPTED),
            _ => false,
        })
    }

    /// Where an execution stands; nothing if it has not begun.
    pub(crate) fn at(&self, row: &PhaseName) -> Option<&Standing> {
        self.0.get(row)
    }

    /// What an execution printed; empty while it has not.
    pub(crate) fn output(&self, row: &PhaseName) -> Arc<str> {
        let output = self.at(row).and_then(|standing| standing.output.clone());
        output.unwrap_or_else(|| Arc::from(""))
    }

    /// What becomes of an execution next.
    pub(crate) fn next(&self, row: &PhaseName, patience: Option<&dyn Patience>) -> Next {
        let Some(standing) = self.at(row) else {
            return Next::Attempt(1, None);
        };
        let again = standing.attempt + 1;
        match standing.status {
            PhaseStatus::Succeeded | PhaseStatus::Skipped => Next::Settled(standing.status, standing.reason.clone()),
            PhaseStatus::WaitingApproval => Next::Ask,
            // Only what a crash left behind is still running when it is asked about.
            PhaseStatus::Running => Next::Attempt(again, None),
            PhaseStatus::Failed if begins_with(standing.reason.as_deref(), PUT_DOWN) => Next::Attempt(again, None),
            PhaseStatus::Failed if begins_with(standing.reason.as_deref(), INTERRUPTED) => {
                if standing.interruptions <= MOST_TAKEN_UP {
                    return Next::Attempt(again, None);
                }
                let times = standing.interruptions;
                let reason = format!("interrupted {times} times while it ran; not tried again");
                Next::Settled(PhaseStatus::Failed, Some(reason))
            }
            PhaseStatus::Failed => {
                let reason = standing.reason.clone().unwrap_or_else(|| "it failed before".into());
                let pause = patience
                    .filter(|_| !reason.starts_with(BLOCKED))
                    .and_then(|patience| patience.pause_after(standing.failures));
                match pause {
                    Some(pause) => Next::Attempt(again, standing.ended_at.map(|at| at + pause)),
                    None => Next::Settled(PhaseStatus::Failed, Some(reason)),
                }
            }
        }
    }
}

fn begins_with(reason: Option<&str>, mark: &str) -> bool {
    reason.is_some_and(|reason| reason.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Retry;
    use crate::runs::phase::tests::record;

    #[test]
    fn what_becomes_of_an_execution_follows_from_its_records_alone() {
        use PhaseStatus::{Failed, Running, Skipped, Succeeded, WaitingApproval};
        let (cut, down) = (Some(INTERRUPTED), Some(PUT_DOWN));
        let why = Some("exited with status 1");
        let again = |attempt| Next::Attempt(attempt, None);
        let over = |status, reason: Option<&str>| Next::Settled(status, reason.map(str::to_owned));
        let retry = Retry {
            max: 2,
            backoff: std::time::Duration::from_secs(10),
        };
        let plain = |rows: &[(u32, PhaseStatus, Option<&str>)], retry: Option<&Retry>| {
            let rows: Vec<_> = rows
                .iter()
                .map(|(attempt, status, why)| ("a", *attempt, *status, *why))
                .collect();
            let progress = Progress::of(record(&rows).phases);
            progress.next(&"a".parse().expect("valid"), retry.map(|retry| retry as &dyn Patience))
        };
        for (rows, retried, expected) in [
            (&[][..], false, again(1)),
            (&[(1, Succeeded, None)][..], false, over(Succeeded, None)),
            (&[(1, Skipped, Some("why"))][..], false, over(Skipped, Some("why"))),
            (&[(1, Running, None)][..], false, again(2)),
            (
                &[(1, Failed, cut), (2, Succeeded, None)][..],
                false,
                over(Succeeded, None),
            ),
            (
                &[(1, Failed, cut), (2, Failed, cut), (3, Failed, cut)][..],
                false,
                again(4),
            ),
            (
                &[(1, Failed, cut), (2, Failed, cut), (3, Failed, cut), (4, Failed, cut)][..],
                false,
                over(Failed, Some("interrupted 4 times while it ran; not tried again")),
            ),
            (
                &[
                    (1, Failed, down),
                    (2, Failed, down),
                    (3, Failed, down),
                    (4, Failed, down),
                    (5, Failed, down),
                ][..],
                false,
                again(6),
            ),
            (&[(1, Failed, why)][..], false, over(Failed, why)),
            (&[(1, Failed, why)][..], true, again(2)),
            (&[(1, Failed, why), (2, Failed, cut)][..], true, again(3)),
            (&[(1, Failed, why), (2, Failed, why)][..], true, again(3)),
            (
                &[(1, Failed, why), (2, Failed, why), (3, Failed, why)][..],
                true,
                over(Failed, why),
            ),
            (
                &[(1, Failed, Some("blocked: no"))][..],
                true,
                over(Failed, Some("blocked: no")),
            ),
            (&[(1, WaitingApproval, None)][..], false, Next::Ask),
        ] {
            assert_eq!(plain(rows, retried.then_some(&retry)), expected, "{rows:?}");
        }
    }

    #[test]
    fn the_pause_before_a_retry_counts_from_the_stored_end_and_doubles() {
        let retry = Retry {
            max: 3,
            backoff: std::time::Duration::from_secs(10),
        };
        let mut rows = record(&[]).phases;
        for (attempt, pause) in [(1, 10), (2, 20), (3, 40)] {
            let mut row = record(&[("a", attempt, PhaseStatus::Failed, Some("exited with status 1"))]).phases;
            row[0].ended_at = DateTime::from_timestamp(1_000, 0);
            rows.extend(row);
            let next = Progress::of(rows.clone()).next(&"a".parse().expect("valid"), Some(&retry));
            let due = DateTime::from_timestamp(1_000 + pause, 0);
            assert_eq!(next, Next::Attempt(attempt + 1, due));
        }
    }
}
