//! A span as this house makes it, before any exporter's shape. Pure: plain values and the names that OpenTelemetry gives them.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::domain::{RepoName, SpanId, TraceId};

/// Something that took time and is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace that it is part of.
    pub trace: TraceId,
    /// Its id.
    pub id: SpanId,
    /// What it is part of; absent for the root of a trace.
    pub parent: Option<SpanId>,
    /// A span of this or another trace that led to it, or that it led to.
    pub link: Option<(TraceId, SpanId)>,
    /// What it is called. Names are few: no ids in them.
    pub name: Cow<'static, str>,
    /// Which side of a conversation it is.
    pub kind: SpanKind,
    /// When it began.
    pub start: DateTime<Utc>,
    /// When it ended; never before it began.
    pub end: DateTime<Utc>,
    /// Facts by name. Never what somebody wrote, nor a secret.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Whether it failed. The reason is in `error.type`, as a word out of a short list.
    pub failed: bool,
}

/// The value of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// Which side of a conversation a span is, as OpenTelemetry has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Work inside of the house.
    Internal,
    /// A request that was answered.
    Server,
    /// A request that was made.
    Client,
    /// A message that was taken from a queue or a socket.
    Consumer,
}

impl Span {
    /// An internal span of this name. An end that lies before the beginning, after a step of the clock, becomes the beginning.
    pub(super) fn new(
        trace: TraceId,
        id: SpanId,
        name: impl Into<Cow<'static, str>>,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> Self {
        Self {
            trace,
            id,
            parent: None,
            link: None,
            name: name.into(),
            kind: SpanKind::Internal,
            start,
            end: end.max(start),
            attributes: Vec::new(),
            failed: false,
        }
    }

    pub(super) fn under(mut self, parent: SpanId) -> Self {
        self.parent = Some(parent);
        self
    }

    pub(super) fn linked(mut self, trace: TraceId, span: SpanId) -> Self {
        self.link = Some((trace, span));
        self
    }

    pub(super) fn of_kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }

    pub(super) fn text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, Attribute::Text(value.into())));
        self
    }

    pub(super) fn number(mut self, name: &'static str, value: impl TryInto<i64>) -> Self {
        if let Ok(value) = value.try_into() {
            self.attributes.push((name, Attribute::Number(value)));
        }
        self
    }

    /// Failed, if there is a word for how.
    pub(super) fn failed(mut self, how: Option<&'static str>) -> Self {
        if let Some(how) = how {
            self.failed = true;
            self = self.text("error.type", how);
        }
        self
    }

    /// What it is about, by the conventions for version control.
    pub(super) fn about(mut self, repo: Option<&RepoName>, number: Option<u64>) -> Self {
        if let Some((owner, name)) = repo.and_then(|repo| repo.as_str().split_once('/')) {
            self = self.text("vcs.owner.name", owner).text("vcs.repository.name", name);
        }
        match number {
            Some(number) => self.number("firstlight.number", number),
            None => self,
        }
    }
}
