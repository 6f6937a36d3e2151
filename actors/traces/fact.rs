//! What the watch tells the scribe: small facts about what was committed, without what anybody wrote. Plain values.

use chrono::{DateTime, Utc};

use crate::domain::{
    ApprovalId, AttemptOutcome, Cause, DeliveryId, Effect, EffectKey, EffectSeq, EventEnvelope, EventSeq, EventType,
    INTERRUPTED, NewEffect, NewRun, Opened, PUT_DOWN, PhaseEnd, PhaseName, PhaseRecord, PhaseStatus, RepoName, RunId,
    RunRecord, RunStatus, RunSummary, Source, StoredEffect, TriggerType, WorkflowName,
};

/// Something is on disk.
#[derive(Debug)]
pub(crate) enum Fact {
    /// An event was accepted.
    Received(Box<Received>),
    /// An event's content was recorded once more.
    Replayed {
        event: DeliveryId,
        of: String,
        ordered_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    /// The dispatcher looks at these events.
    Read {
        events: Vec<(EventSeq, DeliveryId)>,
        at: DateTime<Utc>,
    },
    /// The dispatcher has decided about them.
    Routed { events: Vec<Routed>, at: DateTime<Utc> },
    /// Runs were asked for without an event.
    Asked {
        runs: Vec<(RunFacts, Opened)>,
        ordered_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    /// Runs are taken up. With each, its phases that are open or were cut off.
    Taken {
        runs: Vec<(RunFacts, Vec<PhaseFacts>)>,
        at: DateTime<Utc>,
    },
    /// What a crash left at work went back into the queue.
    Recovered { given_up: bool, at: DateTime<Utc> },
    /// Steps of a run.
    Stepped {
        run: RunId,
        steps: Vec<StepFacts>,
        at: DateTime<Utc>,
    },
    /// A run was ended from outside.
    Ended { run: RunId, at: DateTime<Utc> },
    /// A question is settled.
    Answered { approval: ApprovalId, at: DateTime<Utc> },
    /// Effects whose time has come.
    Given(Vec<EffectFacts>),
    /// Deliveries are in the outbox; some with their first attempt written down.
    Queued {
        effects: Vec<EffectFacts>,
        claimed: bool,
        at: DateTime<Utc>,
    },
    /// An attempt is about to be made.
    Claimed {
        effect: EffectSeq,
        attempt: u32,
        at: DateTime<Utc>,
    },
    /// An attempt is over.
    Tried(Vec<Tried>, DateTime<Utc>),
    /// Nothing more comes.
    Finish,
}

/// An event that was accepted.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) event: DeliveryId,
    pub(crate) source: Source,
    pub(crate) kind: EventType,
    pub(crate) repo: Option<RepoName>,
    pub(crate) number: Option<u64>,
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) ordered_at: DateTime<Utc>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) replay_of: Option<DeliveryId>,
}

impl Received {
    pub(crate) fn of(envelope: &EventEnvelope, ordered_at: DateTime<Utc>) -> Self {
        Self {
            event: envelope.id.clone(),
            source: envelope.source,
            kind: envelope.kind,
            repo: envelope.repo.clone(),
            number: envelope.issue_number.or(envelope.pr_number),
            received_at: envelope.timestamp,
            ordered_at,
            at: ordered_at,
            replay_of: None,
        }
    }
}

/// What became of an event.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) event: EventSeq,
    pub(crate) workflow: Option<WorkflowName>,
    pub(crate) opened: Option<Opened>,
    pub(crate) answered: Option<ApprovalId>,
    pub(crate) quarantined: bool,
    pub(crate) lapsed: usize,
}

/// A run, as far as spans tell of it.
#[derive(Debug, Clone)]
pub(crate) struct RunFacts {
    pub(crate) id: RunId,
    pub(crate) workflow: WorkflowName,
    pub(crate) repo: Option<RepoName>,
    pub(crate) number: Option<u64>,
    pub(crate) cause: Cause,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) restarts: u32,
    /// No phase of it has begun.
    pub(crate) untouched: bool,
}

impl RunFacts {
    pub(crate) fn of_new(run: &NewRun) -> Self {
        Self {
            id: run.id,
            workflow: run.workflow.clone(),
            repo: run.repo.clone(),
            number: run.number,
            cause: run.cause.clone(),
            created_at: run.created_at,
            restarts: 0,
            untouched: true,
        }
    }

    pub(crate) fn of(run: &RunRecord) -> Self {
        Self {
            untouched: run.phases.is_empty(),
            ..Self::of_summary(&run.summary)
        }
    }

    pub(crate) fn of_summary(run: &RunSummary) -> Self {
        Self {
            id: run.id,
            workflow: run.workflow.clone(),
            repo: run.repo.clone(),
            number: run.number,
            cause: run.cause.clone(),
            created_at: run.created_at,
            restarts: run.restart_count,
            untouched: false,
        }
    }

    pub(crate) fn trigger(&self) -> TriggerType {
        self.cause.trigger
    }
}

/// An execution of a phase, without what it printed.
#[derive(Debug, Clone)]
pub(crate) struct PhaseFacts {
    pub(crate) phase: PhaseName,
    pub(crate) kind: String,
    pub(crate) attempt: u32,
    pub(crate) status: PhaseStatus,
    pub(crate) exit_code: Option<i32>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

impl PhaseFacts {
    pub(crate) fn of(phase: &PhaseRecord) -> Self {
        Self {
            phase: phase.phase.clone(),
            kind: phase.kind.clone(),
            attempt: phase.attempt,
            status: phase.status,
            exit_code: phase.exit_code,
            started_at: phase.started_at,
            ended_at: phase.ended_at,
        }
    }
}

/// A step of a run, as far as spans tell of it.
#[derive(Debug)]
pub(crate) enum StepFacts {
    Started {
        phase: PhaseName,
        kind: &'static str,
        attempt: u32,
    },
    Ended {
        phase: PhaseName,
        kind: &'static str,
        attempt: u32,
        status: PhaseStatus,
        exit_code: Option<i32>,
        /// It was no end of its own.
        cut_off: Option<&'static str>,
    },
    RunEnded(RunStatus),
}

impl StepFacts {
    pub(crate) fn ended(end: &PhaseEnd) -> Self {
        Self::Ended {
            phase: end.phase.clone(),
            kind: end.kind,
            attempt: end.attempt,
            status: end.status,
            exit_code: end.exit_code,
            cut_off: end.reason.as_deref().and_then(cut_off),
        }
    }
}

/// What cut a phase off, by the reason of its end.
pub(crate) fn cut_off(reason: &str) -> Option<&'static str> {
    match reason {
        _ if reason.starts_with(PUT_DOWN) => Some("put_down"),
        _ if reason.starts_with(INTERRUPTED) => Some("interrupted"),
        _ => None,
    }
}

/// An effect, without what it says.
#[derive(Debug, Clone)]
pub(crate) struct EffectFacts {
    pub(crate) seq: EffectSeq,
    pub(crate) key: EffectKey,
    pub(crate) kind: &'static str,
    pub(crate) target: String,
    pub(crate) run: Option<RunId>,
    pub(crate) event: Option<DeliveryId>,
    /// What it came from, where neither a run nor an event wanted it.
    pub(crate) origin: Origin,
    pub(crate) created_at: DateTime<Utc>,
}

/// What an effect came from that neither a run nor an event wanted.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// An integration event or a notification of this id, which may have other deliveries.
    Shared(String),
    /// Nothing but itself.
    Itself,
}

impl EffectFacts {
    pub(crate) fn of(effect: &StoredEffect) -> Self {
        Self {
            seq: effect.seq,
            key: effect.key.clone(),
            kind: effect.effect.kind(),
            target: effect.effect.target(),
            run: effect.run,
            event: effect.event.clone(),
            origin: Origin::of(&effect.effect),
            created_at: effect.created_at,
        }
    }

    pub(crate) fn of_new(seq: EffectSeq, effect: &NewEffect, at: DateTime<Utc>) -> Self {
        Self {
            seq,
            key: effect.key.clone(),
            kind: effect.effect.kind(),
            target: effect.effect.target(),
            run: effect.run,
            event: effect.event.clone(),
            origin: Origin::of(&effect.effect),
            created_at: at,
        }
    }
}

impl Origin {
    fn of(effect: &Effect) -> Self {
        match effect {
            Effect::WebhookDelivery { message, .. } => Self::Shared(message.clone()),
            Effect::NotificationDelivery { notification, .. } => Self::Shared(notification.clone()),
            _ => Self::Itself,
        }
    }
}

/// An attempt that is over.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) effect: EffectSeq,
    pub(crate) attempt: u32,
    pub(crate) outcome: &'static str,
    pub(crate) http_status: Option<u16>,
    pub(crate) took_ms: Option<u64>,
}

impl Tried {
    /// An outcome as a word: the errors' own words hold what the far side said.
    pub(crate) fn word(outcome: &AttemptOutcome) -> &'static str {
        match outcome {
            AttemptOutcome::Done { .. } => "done",
            AttemptOutcome::Retry { .. } => "retry",
            AttemptOutcome::Dead { .. } => "dead",
            AttemptOutcome::Undeliverable { .. } => "undeliverable",
        }
    }
}
