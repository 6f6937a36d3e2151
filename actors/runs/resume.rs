//! How far a run has come, read from its records. Pure: the same records always give the same answer.

use std::collections::BTreeMap;

use crate::domain::{INTERRUPTED, PhaseName, PhaseRecord, PhaseStatus};

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
    /// Reads the records of a run that nobody works at. What is `running` there was cut off, and what the store closed as
    /// [`INTERRUPTED`] when the service came up was, too.
    pub(crate) fn of(records: &[PhaseRecord]) -> Self {
        let mut progress = Self::default();
        for record in records {
            progress.note(&record.phase, record.attempt, record.status, record.reason.as_deref());
        }
        progress
    }

    /// Takes in one more execution.
    pub(crate) fn note(&mut self, phase: &PhaseName, attempt: u32, status: PhaseStatus, reason: Option<&str>) {
        let cut_off = status == PhaseStatus::Running || is_interruption(reason);
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

    /// Whether any execution of a phase was cut off, so that something of it may run still.
    pub(crate) fn was_cut_off(&self, phase: &PhaseName) -> bool {
        self.at(phase).is_some_and(|standing| standing.interruptions > 0)
    }

    /// Where a phase stands; nothing if it has not begun.
    pub(crate) fn at(&self, phase: &PhaseName) -> Option<&Standing> {
        self.0.get(phase)
    }
}

/// Whether a phase's reason says that it was cut off.
pub(crate) fn is_interruption(reason: Option<&str>) -> bool {
    reason.is_some_and(|reason| reason.starts_with(INTERRUPTED))
}
