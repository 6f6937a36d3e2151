//! Our spans in the shape of the exporter's library. Pure: the same facts under other types.

use actors::traces::{self, Attribute, Span};
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// One span.
pub(super) fn shaped(span: &Span, scope: &InstrumentationScope) -> SpanData {
    let context = |trace: actors::domain::TraceId, id: actors::domain::SpanId| {
        SpanContext::new(
            TraceId::from_bytes(trace.bytes()),
            SpanId::from_bytes(id.bytes()),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        )
    };
    let mut links = SpanLinks::default();
    if let Some((trace, id)) = span.link {
        links.links.push(Link::with_context(context(trace, id)));
    }
    SpanData {
        span_context: context(span.trace, span.id),
        parent_span_id: span
            .parent
            .map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.bytes())),
        parent_span_is_remote: false,
        span_kind: match span.kind {
            traces::SpanKind::Internal => SpanKind::Internal,
            traces::SpanKind::Server => SpanKind::Server,
            traces::SpanKind::Client => SpanKind::Client,
            traces::SpanKind::Consumer => SpanKind::Consumer,
        },
        name: span.name.clone(),
        start_time: span.start.into(),
        end_time: span.end.into(),
        attributes: span
            .attributes
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    Attribute::Text(text) => Value::from(text.clone()),
                    Attribute::Number(number) => Value::from(*number),
                };
                KeyValue::new(*name, value)
            })
            .collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        // The reason is the attribute `error.type`.
        status: if span.failed { Status::error("") } else { Status::Unset },
        instrumentation_scope: scope.clone(),
    }
}
