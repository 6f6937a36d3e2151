//! That something changed, by kind and id: enough to know what to read again. Knows no store.

use serde::Serialize;

use super::envelope::closed_enum;

closed_enum! {
    /// What kind of thing changed. Which words stand in an id is said at each.
    ChangeKind {
        /// An accepted event; its delivery id.
        Event => "event",
        /// A run; its id. A reply of the run counts as a change of it.
        Run => "run",
        /// A phase of a run: `<run id>/<phase>`.
        Phase => "phase",
        /// A question to people; its id.
        Approval => "approval",
        /// A delivery; its id.
        Delivery => "delivery",
        /// A schedule; its name.
        Cron => "cron",
        /// A notification of the history; its id.
        Notification => "notification",
        /// A conversation in a chat; its id.
        Session => "session",
        /// A workflow: on or off, or its definition; its name, or the file where that cannot be told.
        Workflow => "workflow",
        /// A webhook, or how it does; its id.
        Webhook => "webhook",
        /// A new line of the audit log; its number.
        Audit => "audit",
    }
}

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Change {
    /// What kind of thing.
    pub kind: ChangeKind,
    /// Which one.
    pub id: String,
}

impl Change {
    /// This one changed.
    #[must_use]
    pub fn of(kind: ChangeKind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}
