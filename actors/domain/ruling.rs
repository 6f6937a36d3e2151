//! What one rule says about one case, for whoever asks why. Knows no rule itself.

use serde::Serialize;

use super::envelope::closed_enum;

closed_enum! {
    /// What a rule did.
    Ruling {
        /// It let the case pass.
        Passed => "passed",
        /// It stands against it: with this rule the case comes to its end.
        Stopped => "stopped",
        /// It decides what happens.
        Decided => "decided",
        /// It could not be looked at here, or an earlier one left nothing to look at.
        Skipped => "skipped",
    }
}

/// One rule and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleCheck {
    /// The rule, in a few words.
    pub rule: &'static str,
    /// What it did.
    pub verdict: Ruling,
    /// What it saw, for people.
    pub said: String,
}

impl RuleCheck {
    /// A rule that says this.
    #[must_use]
    pub fn new(rule: &'static str, verdict: Ruling, said: impl Into<String>) -> Self {
        Self {
            rule,
            verdict,
            said: said.into(),
        }
    }

    /// A rule that lets the case pass, or stops it.
    #[must_use]
    pub fn on(rule: &'static str, passes: bool, said: impl Into<String>) -> Self {
        Self::new(rule, if passes { Ruling::Passed } else { Ruling::Stopped }, said)
    }
}
