//! The names of traces and spans, derived from what they are about. Pure: knows no exporter, no clock, no chance.
//!
//! Nothing of a trace is stored. Whoever holds the id of an event or a run knows its trace, after a restart and days later too,
//! and a retry that happens then is a span of the trace in which the delivery began.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{ApprovalId, Cause, DeliveryId, EffectKey, PhaseName, RunId};

/// A trace, as W3C Trace Context names it: 16 bytes, not all zero. Shown as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

/// A span of a trace: 8 bytes, not all zero. Shown as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// The trace of what has this id. A UUID is its own trace, without its dashes, so that people who read one in a log
    /// need no table; other ids are hashed.
    #[must_use]
    pub fn of(id: &str) -> Self {
        match Uuid::parse_str(id) {
            Ok(id) if !id.is_nil() => Self(id.into_bytes()),
            _ => Self(digest("trace", &[id])),
        }
    }

    /// The trace that an event began.
    #[must_use]
    pub fn of_event(event: &DeliveryId) -> Self {
        Self::of(event.as_str())
    }

    /// The trace that a run belongs to: that of the event which asked for it, else its own.
    #[must_use]
    pub fn of_run(run: RunId, cause: &Cause) -> Self {
        match &cause.event {
            Some(event) => Self::of_event(event),
            None => Self::of(&run.to_string()),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl SpanId {
    /// The arrival of what began the trace; its root.
    #[must_use]
    pub fn arrival(trace: TraceId) -> Self {
        Self::of("receive", &[&trace.to_string()])
    }

    /// The commit of an event or of a run that nobody's event asked for.
    #[must_use]
    pub fn record(trace: TraceId) -> Self {
        Self::of("record", &[&trace.to_string()])
    }

    /// What the dispatcher decided about the event that began the trace.
    #[must_use]
    pub fn dispatch(trace: TraceId) -> Self {
        Self::of("dispatch", &[&trace.to_string()])
    }

    /// A run, from the moment when it was let in to its end.
    #[must_use]
    pub fn run(run: RunId) -> Self {
        Self::of("run", &[&run.to_string()])
    }

    /// A run's wait for a free place.
    #[must_use]
    pub fn queue(run: RunId) -> Self {
        Self::of("queue", &[&run.to_string()])
    }

    /// One execution of one phase.
    #[must_use]
    pub fn phase(run: RunId, phase: &PhaseName, attempt: u32) -> Self {
        Self::of("phase", &[&run.to_string(), phase.as_str(), &attempt.to_string()])
    }

    /// A question, from the moment when it was asked.
    #[must_use]
    pub fn approval(approval: ApprovalId) -> Self {
        Self::of("approval", &[&approval.to_string()])
    }

    /// One attempt at an effect.
    #[must_use]
    pub fn attempt(effect: &EffectKey, attempt: u32) -> Self {
        Self::of("attempt", &[effect.as_str(), &attempt.to_string()])
    }

    fn of(what: &str, parts: &[&str]) -> Self {
        Self(digest(what, parts))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

/// The beginning of a SHA-256 over a label and texts that are kept apart by their lengths. Never all zero.
fn digest<const N: usize>(what: &str, parts: &[&str]) -> [u8; N] {
    let mut hash = Sha256::new();
    hash.update(b"firstlight/");
    hash.update(what.as_bytes());
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let whole = hash.finalize();
    let mut bytes = [0; N];
    bytes.copy_from_slice(&whole[..N]);
    if bytes == [0; N] {
        // Zero means "none" in this format.
        bytes[N - 1] = 1;
    }
    bytes
}

macro_rules! hex_id {
    ($($name:ident),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}

hex_id!(TraceId, SpanId);

/// Which share of the traces is kept, from 0 (none) to 1 (all). The trace's id decides, so a trace is whole or absent,
/// in whichever process its parts happen.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct SampleRatio(f64);

impl SampleRatio {
    /// All of them.
    pub const ALL: Self = Self(1.0);

    /// As a number from 0 to 1.
    #[must_use]
    pub fn number(self) -> f64 {
        self.0
    }

    /// Whether this trace is kept.
    #[must_use]
    pub fn keeps(self, trace: TraceId) -> bool {
        // Hashed: the id may be a UUID, parts of which are a version or a time.
        let lot = u32::from_be_bytes(digest("sample", &[&trace.to_string()]));
        f64::from(lot) < self.0 * (f64::from(u32::MAX) + 1.0)
    }
}

impl FromStr for SampleRatio {
    type Err = NoRatio;

    fn from_str(text: &str) -> Result<Self, NoRatio> {
        let ratio: f64 = text.trim().parse().map_err(|_| NoRatio)?;
        (0.0..=1.0).contains(&ratio).then_some(Self(ratio)).ok_or(NoRatio)
    }
}

impl fmt::Display for SampleRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The text is no ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no ratio; write a number from 0 (no traces) to 1 (all), such as 0.25")]
pub struct NoRatio;

/// The `TRACEPARENT` that lets a program's own spans become children of this one (W3C Trace Context, version 00).
#[must_use]
pub fn traceparent(trace: TraceId, parent: SpanId, sampled: bool) -> String {
    format!("00-{trace}-{parent}-{:02x}", u8::from(sampled))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::TriggerType;
    use super::*;

    fn run() -> RunId {
        "01890000-0000-7000-8000-012389abcdef".parse().expect("a UUID")
    }

    #[test]
    fn a_uuid_is_its_own_trace_and_other_ids_are_hashed() {
        let uuid = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
        assert_eq!(TraceId::of(uuid).to_string(), uuid.replace('-', ""));
        assert_eq!(
            TraceId::of(&uuid.to_uppercase()),
            TraceId::of(uuid),
            "however it is spelled"
        );
        let other = TraceId::of("Ev0PV52K25");
        assert_eq!(other, TraceId::of("Ev0PV52K25"));
        assert_ne!(other, TraceId::of("Ev0PV52K26"));
        assert_ne!(
            TraceId::of(&Uuid::nil().to_string()).bytes(),
            [0; 16],
            "zero is no trace"
        );
    }

    #[test]
    fn a_run_belongs_to_the_trace_of_the_event_that_asked_for_it() {
        let event: DeliveryId = "d-1".parse().expect("valid");
        let cause = |event| Cause {
            trigger: TriggerType::Webhook,
            who: "ann".into(),
            event,
        };
        assert_eq!(
            TraceId::of_run(run(), &cause(Some(event.clone()))),
            TraceId::of_event(&event)
        );
        assert_eq!(TraceId::of_run(run(), &cause(None)), TraceId::of(&run().to_string()));
    }

    #[test]
    fn spans_of_one_trace_have_different_names() {
        let (trace, phase) = (TraceId::of("d-1"), "a".parse().expect("valid"));
        let key = "run:1/a".parse().expect("valid");
        let spans = [
            SpanId::arrival(trace),
            SpanId::record(trace),
            SpanId::dispatch(trace),
            SpanId::run(run()),
            SpanId::queue(run()),
            SpanId::phase(run(), &phase, 1),
            SpanId::phase(run(), &phase, 2),
            SpanId::attempt(&key, 1),
            SpanId::attempt(&key, 2),
        ];
        let unique: std::collections::BTreeSet<_> = spans.iter().collect();
        assert_eq!(unique.len(), spans.len());
    }

    #[test]
    fn a_traceparent_has_the_shape_of_the_w3c() {
        let trace = TraceId::of("72d3162e-cc78-11e3-81ab-4c9367dc0958");
        let text = traceparent(trace, SpanId::run(run()), true);
        assert_eq!(text.len(), 55);
        assert!(
            text.starts_with("00-72d3162ecc7811e381ab4c9367dc0958-") && text.ends_with("-01"),
            "{text}"
        );
        assert!(traceparent(trace, SpanId::run(run()), false).ends_with("-00"));
    }

    #[test]
    fn ratios_outside_of_their_range_are_refused() {
        for good in ["0", "1", "0.25", " 1.0 "] {
            assert!(good.parse::<SampleRatio>().is_ok(), "{good}");
        }
        for bad in ["", "-0.1", "1.01", "NaN", "inf", "half", "50%"] {
            assert!(bad.parse::<SampleRatio>().is_err(), "{bad}");
        }
    }

    #[test]
    fn about_the_asked_share_of_traces_is_kept() {
        let quarter: SampleRatio = "0.25".parse().expect("a ratio");
        // Version 7: the first half of these is nearly the same.
        let kept = (0..4000_u32)
            .filter(|n| quarter.keeps(TraceId::of(&format!("01890000-0000-7000-8000-0000{n:08x}"))))
            .count();
        assert!((900..1100).contains(&kept), "{kept} of 4000");
    }

    proptest! {
        #[test]
        fn no_id_makes_a_trace_or_a_span_of_zeros_and_the_ends_of_the_ratio_are_sharp(id in ".{0,80}") {
            let trace = TraceId::of(&id);
            prop_assert_ne!(trace.bytes(), [0; 16]);
            prop_assert_ne!(SpanId::arrival(trace).bytes(), [0; 8]);
            prop_assert!(SampleRatio::ALL.keeps(trace));
            prop_assert!(!SampleRatio(0.0).keeps(trace));
        }
    }
}
