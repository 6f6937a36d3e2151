//! What the grammar has and the runner cannot do yet. The one list of it: whoever teaches the runner takes the line out here,
//! and the same line in the grammar's README. Knows nothing else.

/// Paths of keys, and `phases[].type: kind` for kinds of phases. A file that has one is refused with these words rather
/// than run differently from what its author wrote.
pub(super) const NOT_YET: &[&str] = &[
    "phases[].depends_on",
    "phases[].generic_loop",
    "phases[].loop",
    "phases[].on_output",
    "phases[].retry",
    "phases[].trigger_rule",
    "phases[].webhook_url",
    "phases[].when",
    "phases[].messages.on_blocked",
    "phases[].messages.on_blocked_bypassed",
    "phases[].messages.on_skipped_done",
];
