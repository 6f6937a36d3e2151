//! The environment of a phase's process, built from nothing. Pure: knows no process and reads no variable itself.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::domain::Secret;

/// Linux refuses a process whose single variable is over 128 KiB, name included; a longer value is cut to this many bytes.
pub(crate) const MAX_VALUE: usize = 120 * 1024;

/// Where commands are looked for when the service itself has no `PATH`.
const PLAIN_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A finished environment.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// Name and value.
    pub(crate) vars: BTreeMap<String, OsString>,
    /// What was changed to make it fit, in words for the phase's log.
    pub(crate) notes: Vec<String>,
    /// Values of what was handed on under a name that sounds like a secret: nobody who reads the phase's log is to see them.
    pub(crate) secrets: Vec<Secret>,
}

/// Where the parts of an environment come from; later parts win.
pub(crate) struct Parts<'a> {
    /// Reads a variable of the service's own environment.
    pub(crate) own: &'a dyn Fn(&str) -> Option<OsString>,
    /// The process's `HOME`.
    pub(crate) home: OsString,
    /// Names that the runtime's setting hands on.
    pub(crate) allowed: &'a [String],
    /// The phase's `env` map, rendered.
    pub(crate) phase: BTreeMap<String, String>,
    /// The `FIRSTLIGHT_*` facts.
    pub(crate) facts: BTreeMap<&'static str, String>,
}

/// Builds the environment: a few harmless names, what the setting allows, the phase's own map, our facts. Nothing else of
/// the service's environment gets in, for its secrets are there.
///
/// # Errors
/// A name that no process can have, in words.
pub(crate) fn build(parts: Parts<'_>) -> Result<Environment, String> {
    let mut env = Environment::default();
    let own_or = |name: &str, otherwise: &str| (parts.own)(name).unwrap_or_else(|| otherwise.into());
    env.vars.insert("PATH".into(), path(parts.own));
    env.vars.insert("LANG".into(), own_or("LANG", "C.UTF-8"));
    env.vars.insert("TMPDIR".into(), own_or("TMPDIR", "/tmp"));
    env.vars.insert("HOME".into(), parts.home);
    if let Some(zone) = (parts.own)("TZ") {
        env.vars.insert("TZ".into(), zone);
    }
    for name in parts.allowed {
        if let Some(value) = (parts.own)(name) {
            if let Some(text) = value
                .to_str()
                .filter(|text| sounds_secret(name) && text.len() >= SHORTEST)
            {
                env.secrets.push(Secret::new(text));
            }
            env.vars.insert(name.clone(), value);
        }
    }
    for (name, value) in parts.phase {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(format!(
                "env name {name:?} cannot be used: it must not be empty nor hold \"=\" or a NUL"
            ));
        }
        env.put(name, value);
    }
    for (name, value) in parts.facts {
        env.put(name.to_owned(), value);
    }
    Ok(env)
}

/// Bytes of a value that may be a secret; what is shorter stands in many an honest word.
const SHORTEST: usize = 6;

/// Whether a variable of this name is one that operators keep to themselves.
fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["TOKEN", "KEY", "SECRET", "PASS", "CREDENTIAL", "AUTH"]
        .iter()
        .any(|word| name.contains(word))
}

/// Where commands are looked for.
pub(crate) fn path(own: &dyn Fn(&str) -> Option<OsString>) -> OsString {
    own("PATH").unwrap_or_else(|| PLAIN_PATH.into())
}

impl Environment {
    /// Takes a text from outside: without NUL, which no process can be given, and cut where it is too long.
    fn put(&mut self, name: String, value: String) {
        let mut value = if value.contains('\0') {
            self.notes.push(format!("env {name}: NUL bytes were replaced"));
            value.replace('\0', "\u{fffd}")
        } else {
            value
        };
        if value.len() > MAX_VALUE {
            let whole = value.len();
            value.truncate(value.floor_char_boundary(MAX_VALUE));
            value.push_str(&format!(" [cut: {whole} bytes]"));
            self.notes
                .push(format!("env {name}: {whole} bytes were cut to {MAX_VALUE}"));
        }
        self.vars.insert(name, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(own: &'a dyn Fn(&str) -> Option<OsString>, allowed: &'a [String]) -> Parts<'a> {
        Parts {
            own,
            home: "/work".into(),
            allowed,
            phase: BTreeMap::new(),
            facts: BTreeMap::new(),
        }
    }

    fn own(name: &str) -> Option<OsString> {
        match name {
            "WEBHOOK_SECRET" => Some("s3cret".into()),
            "API_KEY" => Some("k".into()),
            "HOME" => Some("/root".into()),
            _ => None,
        }
    }

    #[test]
    fn nothing_of_our_own_environment_gets_in_unless_it_is_allowed() {
        let allowed = vec!["API_KEY".to_owned(), "ABSENT".to_owned()];
        let env = build(parts(&own, &allowed)).expect("builds");
        let names: Vec<_> = env.vars.keys().map(String::as_str).collect();
        assert_eq!(names, ["API_KEY", "HOME", "LANG", "PATH", "TMPDIR"]);
        assert_eq!(env.vars["HOME"], "/work");
    }

    #[test]
    fn what_is_handed_on_under_the_name_of_a_secret_is_kept_out_of_logs() {
        let own = |name: &str| Some(OsString::from(format!("the value of {name}")));
        let allowed = ["OPENAI_API_KEY", "npm_token", "DB_PASSWORD", "LANG", "MODEL"].map(str::to_owned);
        let env = build(parts(&own, &allowed)).expect("builds");
        let secrets: Vec<_> = env.secrets.iter().map(Secret::expose).collect();
        assert_eq!(
            secrets,
            [
                "the value of OPENAI_API_KEY",
                "the value of npm_token",
                "the value of DB_PASSWORD"
            ]
        );
        assert_eq!(env.vars["MODEL"], "the value of MODEL");
    }

    #[test]
    fn our_facts_win_over_the_phases_map_and_the_map_wins_over_the_rest() {
        let mut given = parts(&own, &[]);
        given.phase = BTreeMap::from([
            ("PATH".into(), "/opt".into()),
            ("FIRSTLIGHT_RUN_ID".into(), "forged".into()),
        ]);
        given.facts = BTreeMap::from([("FIRSTLIGHT_RUN_ID", "real".into())]);
        let env = build(given).expect("builds");
        assert_eq!(env.vars["PATH"], "/opt");
        assert_eq!(env.vars["FIRSTLIGHT_RUN_ID"], "real");
    }

    #[test]
    fn values_that_no_process_can_be_given_are_made_to_fit_and_said_so() {
        let mut given = parts(&own, &[]);
        given.phase = BTreeMap::from([("NUL".into(), "a\0b".into()), ("HUGE".into(), "ä".repeat(100_000))]);
        let env = build(given).expect("builds");
        assert_eq!(env.vars["NUL"], "a\u{fffd}b");
        let huge = env.vars["HUGE"].to_str().expect("text");
        assert!(
            huge.len() < 131_072 - "HUGE=".len() && huge.ends_with("[cut: 200000 bytes]"),
            "{}",
            huge.len()
        );
        assert_eq!(env.notes.len(), 2);
    }

    #[test]
    fn a_name_that_no_process_can_have_is_refused() {
        for name in ["", "A=B", "A\0"] {
            let mut given = parts(&own, &[]);
            given.phase = BTreeMap::from([(name.to_owned(), String::new())]);
            assert!(build(given).is_err(), "{name:?}");
        }
    }
}
