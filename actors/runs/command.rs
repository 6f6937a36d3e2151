//! The argument list of an agent's process: its memory limit, its wrapper, its command. Pure: starts nothing.

use std::path::Path;

use super::config::Runtime;
use crate::domain::{PhaseName, RunId};

/// Sets the limit in the very process that becomes the command, so that nothing of it ever ran without. In kibibytes,
/// because that is what every shell takes.
const LIMITED: &str = r#"ulimit -v "$0" && exec "$@""#;

/// What the placeholders of a runtime stand for. None of it comes from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    /// `{work}`: the work folder.
    pub(crate) work: &'a Path,
    /// `{folder}`: where the command starts; the checkout where there is one, else the work folder.
    pub(crate) folder: &'a Path,
    /// `{prompt_file}`.
    pub(crate) prompt: &'a Path,
    /// `{output_file}`.
    pub(crate) output: &'a Path,
    /// `{run}`: the run's id.
    pub(crate) run: RunId,
    /// `{phase}`: its name.
    pub(crate) phase: &'a PhaseName,
}

/// Limit, wrapper and command, in this order, each placeholder filled in.
pub(crate) fn argv(runtime: &Runtime, places: Places<'_>) -> Vec<String> {
    let mut argv = Vec::new();
    if let Some(bytes) = runtime.memory_limit {
        argv.extend([
            "sh".into(),
            "-c".into(),
            LIMITED.into(),
            (bytes / 1024).max(1).to_string(),
        ]);
    }
    argv.extend(
        runtime
            .wrapper
            .iter()
            .chain(&runtime.command)
            .map(|word| fill(word, places)),
    );
    argv
}

fn fill(word: &str, places: Places<'_>) -> String {
    let shown = |path: &Path| path.display().to_string();
    let mut filled = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = rest.find('}').and_then(|end| {
            let value = match &rest[1..end] {
                "work" => shown(places.work),
                "folder" => shown(places.folder),
                "prompt_file" => shown(places.prompt),
                "output_file" => shown(places.output),
                "run" => places.run.to_string(),
                "phase" => places.phase.to_string(),
                _ => return None,
            };
            Some((value, end + 1))
        });
        match known {
            Some((value, length)) => {
                filled.push_str(&value);
                rest = &rest[length..];
            }
            // Braces are common in arguments that are JSON; what is no placeholder stays as it is.
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(runtime: &Runtime) -> Vec<String> {
        let phase = "plan".parse().expect("valid");
        argv(
            runtime,
            Places {
                work: Path::new("/w"),
                folder: Path::new("/w/repo"),
                prompt: Path::new("/w/.firstlight/plan.prompt.md"),
                output: Path::new("/w/.firstlight/plan.output"),
                run: "01890000-0000-7000-8000-012389abcdef".parse().expect("valid"),
                phase: &phase,
            },
        )
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn limit_wrapper_and_command_follow_one_another_with_places_filled_in() {
        let runtime = Runtime {
            command: words(&[
                "agent",
                "--in={prompt_file}",
                "{output_file}",
                r#"{"a":"{phase}"}"#,
                "{nobody}",
                "{",
            ]),
            wrapper: words(&[
                "bwrap", "--bind", "{work}", "{work}", "--chdir", "{folder}", "--name", "x-{run}",
            ]),
            memory_limit: Some(512 * 1024 * 1024),
            ..Runtime::default()
        };
        let expected = words(&[
            "sh",
            "-c",
            LIMITED,
            "524288",
            "bwrap",
            "--bind",
            "/w",
            "/w",
            "--chdir",
            "/w/repo",
            "--name",
            "x-01890000-0000-7000-8000-012389abcdef",
            "agent",
            "--in=/w/.firstlight/plan.prompt.md",
            "/w/.firstlight/plan.output",
            r#"{"a":"plan"}"#,
            "{nobody}",
            "{",
        ]);
        assert_eq!(of(&runtime), expected);
    }

    #[test]
    fn without_limit_and_wrapper_the_command_stands_alone() {
        let runtime = Runtime {
            command: words(&["cat"]),
            ..Runtime::default()
        };
        assert_eq!(of(&runtime), ["cat"]);
    }
}
