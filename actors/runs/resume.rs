//! How far a run has come, read from its records. Pure: the same records always give the same answer.

use std::collections::BTreeMap;

use crate::domain::{PhaseName, PhaseRecord, PhaseStatus};

/// Written into a phase execution that a stop or crash of the service cut off.
pub(crate) const INTERRUPTED: &str = "interrupted: the service stopped while it ran";

/// Where each phase of a run stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(BTreeMap<PhaseName, Standing>);

/// Where one phase stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Of its latest execution.
    pub(crate) status: PhaseStatus,
    /// Why its latest execution ended as it did.
    pub(crate) reason: Option<String>,
    /// Number of its latest execution, from 1.
    pub(crate) attempt: u32,
    /// How many of its executions were cut off by a stop of the service.
    pub(crate) interruptions: u32,
}

impl Progress {
    /// Reads the records of a run that nobody works at: what is `running` there was cut off.
    pub(crate) fn of(records: &[PhaseRecord]) -> Self {
        let mut progress = Self::default();
        for record in records {
            progress.note(&record.phase, record.attempt, record.status, record.reason.as_deref());
        }
        progress
    }

    /// Takes in one more execution.
    pub(crate) fn note(&mut self, phase: &PhaseName, attempt: u32, status: PhaseStatus, reason: Option<&str>) {
        let cut_off = status == PhaseStatus::Running || reason == Some(INTERRUPTED);
        let standing = self.0.entry(phase.clone()).or_insert(Standing {
            status,
            reason: None,
            attempt: 0,
            interruptions: 0,
        });
        standing.interruptions += u32::from(cut_off);
        if attempt >= standing.attempt {
            standing.status = status;
            standing.reason = reason.map(str::to_owned);
            standing.attempt = attempt;
        }
    }

    /// Where a phase stands; nothing if it has not begun.
    pub(crate) fn at(&self, phase: &PhaseName) -> Option<&Standing> {
        self.0.get(phase)
    }
}
