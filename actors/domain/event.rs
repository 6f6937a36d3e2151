//! An envelope with its raw payload, and what became of it. Knows no store.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use super::envelope::closed_enum;
use super::{DeliveryId, EventEnvelope, EventSeq, RunId};

closed_enum! {
    /// How the raw body was written when it came.
    BodyFormat {
        /// `application/json`: the body is the payload.
        Json => "json",
        /// `application/x-www-form-urlencoded`: the payload is in the field `payload`.
        Form => "form",
    }
}

/// A body as it came, byte for byte, compressed (LZ4 block with its length in front).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBody {
    /// How the body was written.
    pub format: BodyFormat,
    /// The compressed bytes.
    pub compressed: Bytes,
}

/// Why a stored body cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableBody {
    /// The compressed block is damaged.
    #[error("stored body cannot be decompressed: {0}")]
    Damaged(#[from] lz4_flex::block::DecompressError),
    /// The form has no field `payload`, or what is in it is no JSON.
    #[error("stored body holds no JSON payload: {0}")]
    NoPayload(String),
}

impl RawBody {
    /// Compresses a body. About 10 µs for 11 kB.
    #[must_use]
    pub fn keep(format: BodyFormat, body: &[u8]) -> Self {
        Self {
            format,
            compressed: lz4_flex::block::compress_prepend_size(body).into(),
        }
    }

    /// The bytes as they came.
    ///
    /// # Errors
    /// When the stored block is damaged.
    pub fn bytes(&self) -> Result<Vec<u8>, UnreadableBody> {
        Ok(lz4_flex::block::decompress_size_prepended(&self.compressed)?)
    }

    /// The JSON payload, out of its form where it came in one.
    ///
    /// # Errors
    /// When the stored block is damaged or holds no JSON.
    pub fn payload(&self) -> Result<Box<RawValue>, UnreadableBody> {
        let bytes = self.bytes()?;
        let json = match self.format {
            BodyFormat::Json => String::from_utf8(bytes).map_err(|e| UnreadableBody::NoPayload(e.to_string()))?,
            BodyFormat::Form => url::form_urlencoded::parse(&bytes)
                .find(|(name, _)| name == "payload")
                .map(|(_, value)| value.into_owned())
                .ok_or_else(|| UnreadableBody::NoPayload("the form has no field `payload`".into()))?,
        };
        RawValue::from_string(json).map_err(|e| UnreadableBody::NoPayload(e.to_string()))
    }
}

/// An event on its way into the store.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The normalized part.
    pub envelope: EventEnvelope,
    /// The payload as it came.
    pub raw: RawBody,
}

closed_enum! {
    /// How far an accepted event has come.
    EventState {
        /// Durable, not yet routed; taken up again after a restart.
        Recorded => "recorded",
        /// Routed; what it started is in the store.
        Settled => "settled",
        /// Set aside after its routing failed three times.
        Quarantined => "quarantined",
    }
}

/// An event as the store has it, without its raw payload.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredEvent {
    /// Place in the order of acceptance; the cursor of lists.
    pub seq: EventSeq,
    /// The normalized part.
    #[serde(flatten)]
    pub envelope: EventEnvelope,
    /// How far it has come.
    pub state: EventState,
    /// What the router decided, in words; for a quarantined event, why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The run that it started or joined.
    #[serde(rename = "runId", skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// When it was settled or set aside.
    #[serde(rename = "settledAt", skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<DateTime<Utc>>,
    /// The event that this one repeats, on somebody's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<DeliveryId>,
}

/// What became of a record order: an expected repetition is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The event is new and on disk.
    Fresh(EventSeq),
    /// An event of this id was accepted before; nothing was written.
    AlreadySeen,
}

/// What became of an order to take an event up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// It had been set aside and waits to be routed again.
    TakenUp(EventSeq),
    /// It waits to be routed anyway.
    Waits(EventSeq),
    /// It was routed; what it led to stands. The run that it started or joined.
    Settled(Option<RunId>),
    /// A new event with the same content was recorded.
    Fresh(EventSeq),
    /// There is no event of this id.
    Unknown,
}

/// Which events a list shows. Empty: all, newest first.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only of this repository (any case).
    pub repo: Option<String>,
    /// Only of this type.
    pub kind: Option<super::EventType>,
    /// Only in this state.
    pub state: Option<EventState>,
    /// Only of this sender.
    pub sender: Option<String>,
    /// Only from this connector.
    pub source: Option<super::Source>,
    /// Only where what became of it holds these words (any case of ASCII letters).
    pub outcome: Option<String>,
    /// Only where the title holds these words (any case of ASCII letters).
    pub title: Option<String>,
    /// Only received at or after this instant.
    pub since: Option<DateTime<Utc>>,
    /// Only received at or before this instant.
    pub until: Option<DateTime<Utc>>,
    /// Only before this position (the `next` of the page before).
    pub before: Option<i64>,
    /// At most so many rows.
    pub limit: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_body_comes_back_byte_for_byte() {
        let body = br#"{"action":"opened",  "n": 1.50}"#;
        let kept = RawBody::keep(BodyFormat::Json, body);
        assert_eq!(kept.bytes().expect("just kept"), body);
        assert_eq!(
            kept.payload().expect("JSON").get(),
            r#"{"action":"opened",  "n": 1.50}"#
        );
    }

    #[test]
    fn a_form_body_is_kept_as_it_came_and_shown_as_json() {
        let kept = RawBody::keep(BodyFormat::Form, b"payload=%7B%22a%22%3A1%7D");
        assert_eq!(kept.bytes().expect("just kept"), b"payload=%7B%22a%22%3A1%7D");
        assert_eq!(kept.payload().expect("JSON").get(), r#"{"a":1}"#);
    }
}
