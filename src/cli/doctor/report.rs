//! What an examination found, for people and for machines. Pure: knows no check.

use serde::Serialize;
use serde_json::{Value, json};

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Warning,
    Failed,
    Skipped,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "\u{1b}[32m",
            Self::Warning => "\u{1b}[33m",
            Self::Failed => "\u{1b}[31m",
            Self::Skipped => "\u{1b}[2m",
        }
    }
}

/// One thing that was looked at. Several may have the same name, one for each trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    /// What was found.
    pub(super) found: String,
    /// Why that is trouble.
    pub(super) cause: Option<String>,
    /// The one thing to set or do.
    pub(super) fix: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Ok,
            found: found.into(),
            cause: None,
            fix: None,
        }
    }

    /// Not looked at: why, and what to set to have it.
    pub(super) fn skipped(name: &'static str, found: impl Into<String>, fix: Option<&str>) -> Self {
        Self {
            fix: fix.map(str::to_owned),
            verdict: Verdict::Skipped,
            ..Self::ok(name, found)
        }
    }

    pub(super) fn warning(
        name: &'static str,
        found: impl Into<String>,
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Warning,
            cause: Some(cause.into()),
            fix: Some(fix.into()),
            ..Self::ok(name, found)
        }
    }

    pub(super) fn failed(
        name: &'static str,
        found: impl Into<String>,
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Failed,
            ..Self::warning(name, found, cause, fix)
        }
    }
}

pub(super) fn count(checks: &[Check], verdict: Verdict) -> usize {
    checks.iter().filter(|check| check.verdict == verdict).count()
}

/// `{ok, failed, warnings, skipped, checks: [{name, verdict, found, cause, fix}]}`.
pub(super) fn as_json(checks: &[Check]) -> Value {
    json!({
        "ok": count(checks, Verdict::Failed) == 0,
        "failed": count(checks, Verdict::Failed),
        "warnings": count(checks, Verdict::Warning),
        "skipped": count(checks, Verdict::Skipped),
        "checks": checks,
    })
}

/// A row for each check, its cause and what to change below it; at the end, how many there are.
pub(super) fn as_text(checks: &[Check], colours: bool) -> String {
    let widest = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let margin = " ".repeat("warning  ".len() + widest + 2);
    let mut text = String::new();
    for check in checks {
        let word = format!("{:7}", check.verdict.word());
        let word = match colours {
            true => format!("{}{word}\u{1b}[0m", check.verdict.colour()),
            false => word,
        };
        text.push_str(&format!("{word}  {:widest$}  {}\n", check.name, plain(&check.found)));
        for (what, words) in [("why", &check.cause), ("fix", &check.fix)] {
            if let Some(words) = words {
                text.push_str(&format!("{margin}{what}: {}\n", plain(words)));
            }
        }
    }
    let n = |verdict| count(checks, verdict);
    text.push_str(&format!(
        "\n{} ok, {} failed, {} to look at, {} skipped\n",
        n(Verdict::Ok),
        n(Verdict::Failed),
        n(Verdict::Warning),
        n(Verdict::Skipped),
    ));
    text
}

/// Words from outside move no cursor and colour nothing.
fn plain(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_by_people_and_by_machines() {
        let checks = [
            Check::ok("disk", "12 GB free"),
            Check::failed(
                "store",
                "cannot be read\u{1b}[31m",
                "it is damaged",
                "put a backup back",
            ),
            Check::skipped("mail", "no mail server is set", Some("SMTP_URL (smtp_url)")),
        ];
        assert_eq!(
            as_text(&checks, false),
            "ok       disk   12 GB free\n\
             failed   store  cannot be read [31m\n                \
             why: it is damaged\n                \
             fix: put a backup back\n\
             skipped  mail   no mail server is set\n                \
             fix: SMTP_URL (smtp_url)\n\n\
             1 ok, 1 failed, 0 to look at, 1 skipped\n"
        );
        assert!(as_text(&checks, true).starts_with("\u{1b}[32mok     \u{1b}[0m  disk"));
        let json = as_json(&checks);
        assert_eq!((&json["ok"], &json["failed"]), (&false.into(), &1.into()));
        assert_eq!(json["checks"][2]["verdict"], "skipped");
        assert_eq!(json["checks"][0]["cause"], Value::Null);
    }
}
