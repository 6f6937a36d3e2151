//! Follows runs: their phases as they change, and what they print, as it grows. Asks the server again and again; starts nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use actors::clock::{Clock, SystemClock};
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::api::{Api, Failure, Output, path};
use super::exit;

const RUNS: &str = "/admin/api/workflow-runs";

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How often somebody who is not there is tried again: a service that is started anew is back within a minute.
const TRIES: u32 = 30;

/// Bytes of a log that are asked for in one go.
const PIECE: u64 = 256 * 1024;

/// A line without an end is told when it is so long, in bytes.
const LONGEST: usize = 16 * 1024;

/// What is told of a run that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Telling {
    /// Each change of a phase, on standard error.
    pub(super) phases: bool,
    /// What the phases print, on standard error.
    pub(super) logs: bool,
}

/// What one phase has printed, so far as it was read.
#[derive(Debug, Default)]
struct Read {
    status: String,
    /// The next byte.
    at: u64,
    /// The beginning of a line whose end is still to come.
    rest: Vec<u8>,
}

/// Somebody who was met once is waited for: a service that is started anew goes on with its runs, and so do those who watch.
struct Patient<'a> {
    api: &'a Api,
    met: bool,
}

impl<'a> Patient<'a> {
    fn new(api: &'a Api) -> Self {
        Self { api, met: false }
    }

    async fn ask<T>(&mut self, question: impl AsyncFn(&Api) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut tries = 0;
        loop {
            match question(self.api).await {
                Err(Failure::NoAnswer(_) | Failure::Away(_)) if self.met && tries < TRIES => {
                    if tries == 0 {
                        eprintln!("firstlight: the server does not answer; trying again for a minute");
                    }
                    tries += 1;
                    SystemClock.sleep(4 * LOOK).await;
                }
                answer => {
                    self.met |= answer.is_ok();
                    return answer;
                }
            }
        }
    }

    async fn run(&mut self, id: &str) -> Result<Value, Failure> {
        let place = path(RUNS, id, "");
        let mut answer = self.ask(async |api| api.get(&place).await).await?;
        Ok(answer["workflowRun"].take())
    }

    async fn log(&mut self, id: &str, phase: &str, from: u64, most: u64) -> Result<Piece, Failure> {
        let log = path("/phases", phase, "/log");
        let place = path(RUNS, id, &format!("{log}?offset={from}&limit={most}"));
        let answer = self.ask(async |api| api.raw(&place).await).await?;
        let number = |name: &str| answer.header(name).and_then(|value| value.parse::<u64>().ok());
        let next = number("x-log-next").unwrap_or(from + answer.bytes.len() as u64);
        Ok(Piece {
            size: number("x-log-size").unwrap_or(next),
            next,
            bytes: answer.bytes,
        })
    }
}

/// Follows runs to their end, or to a question: what happens on standard error as it happens, the end of each on standard
/// output. The exit status is that of the worst.
pub(super) async fn to_the_end(
    api: &Api,
    ids: &[String],
    telling: Telling,
    output: Output,
) -> Result<ExitCode, Failure> {
    let mut patient = Patient::new(api);
    let mut ended = Vec::new();
    let mut worst = 0;
    for id in ids {
        let mut reads = BTreeMap::new();
        let run = loop {
            let run = patient.run(id).await?;
            // Which run it is need not be said of the only one.
            let label = if ids.len() > 1 {
                format!("{id}  ")
            } else {
                String::new()
            };
            tell(&mut patient, (id, &label), &run, telling, &mut reads).await?;
            if !goes_on(&run) {
                break run;
            }
            SystemClock.sleep(LOOK).await;
        };
        let status = run["status"].as_str().unwrap_or_default();
        let code = match status {
            "succeeded" => 0,
            "paused" => {
                eprintln!("{id}  waits for an answer; firstlight approvals list");
                exit::WAITS
            }
            _ => exit::RUNTIME,
        };
        worst = match (worst, code) {
            (exit::RUNTIME, _) | (_, exit::RUNTIME) => exit::RUNTIME,
            (before, now) => before.max(now),
        };
        if !output.json {
            let error = run["error"]
                .as_str()
                .map_or_else(String::new, |error| format!(": {}", shown(error.as_bytes())));
            let style = style(status);
            // The exit status is told even where nobody reads.
            let _ = writeln!(anstream::stdout(), "{id}  {style}{status}{style:#}{error}");
        }
        ended.push(run);
    }
    if output.json {
        let text = serde_json::to_string_pretty(&json!({ "workflowRuns": ended })).unwrap_or_default();
        let _ = writeln!(std::io::stdout(), "{text}");
    }
    Ok(ExitCode::from(worst))
}

/// Writes what phases of a run printed to standard output: of one phase as it is, of all with the phase before each line.
/// With `follow` until the run is over, or waits for an answer.
pub(super) async fn logs(
    api: &Api,
    id: &str,
    phase: Option<&str>,
    tail: Option<u64>,
    follow: bool,
) -> Result<(), Failure> {
    let mut patient = Patient::new(api);
    let mut reads: BTreeMap<String, Read> = BTreeMap::new();
    loop {
        let run = patient.run(id).await?;
        let begun = phases(&run);
        let wanted: Vec<String> = match phase {
            Some(phase) => vec![phase.to_owned()],
            None => begun.into_iter().map(|(name, _)| name).collect(),
        };
        let over = !goes_on(&run);
        for name in wanted {
            let read = match reads.entry(name.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let at = match tail {
                        Some(tail) => patient.log(id, &name, 0, 0).await?.size.saturating_sub(tail),
                        None => 0,
                    };
                    new.insert(Read { at, ..Read::default() })
                }
            };
            // A run that ended had printed everything before it did.
            let heard = advance(&mut patient, id, &name, read, over, |line| {
                let line = shown(line);
                let written = match phase {
                    Some(_) => writeln!(std::io::stdout(), "{line}"),
                    None => writeln!(std::io::stdout(), "{name} | {line}"),
                };
                written.is_ok()
            })
            .await?;
            if !heard {
                // `firstlight runs logs … | head` has what it wanted.
                return Ok(());
            }
        }
        if over || !follow {
            return Ok(());
        }
        SystemClock.sleep(LOOK).await;
    }
}

async fn tell(
    patient: &mut Patient<'_>,
    (id, label): (&str, &str),
    run: &Value,
    telling: Telling,
    reads: &mut BTreeMap<String, Read>,
) -> Result<(), Failure> {
    for (name, status) in phases(run) {
        let read = reads.entry(name.clone()).or_default();
        let news = read.status != status;
        if telling.logs && (news || status == "running") {
            let over = status != "running";
            advance(patient, id, &name, read, over, |line| {
                let dim = Style::new().dimmed();
                anstream::eprintln!("{label}{dim}{name} |{dim:#} {}", shown(line));
                true
            })
            .await?;
        }
        if news {
            if telling.phases {
                let style = style(&status);
                anstream::eprintln!("{label}{name}: {style}{status}{style:#}");
            }
            read.status = status;
        }
    }
    Ok(())
}

/// Reads on in a phase's log, line by line, while `line` wants more; says whether it did to the end. With `over` the last line
/// needs no end.
async fn advance(
    patient: &mut Patient<'_>,
    id: &str,
    phase: &str,
    read: &mut Read,
    over: bool,
    mut line: impl FnMut(&[u8]) -> bool,
) -> Result<bool, Failure> {
    loop {
        let piece = patient.log(id, phase, read.at, PIECE).await?;
        if piece.size < read.at {
            // The phase is done again, and its log with it.
            *read = Read {
                status: std::mem::take(&mut read.status),
                ..Read::default()
            };
            continue;
        }
        let end = piece.bytes.is_empty();
        read.at = piece.next;
        read.rest.extend_from_slice(&piece.bytes);
        for whole in lines(&mut read.rest, over && end) {
            if !line(&whole) {
                return Ok(false);
            }
        }
        if end {
            return Ok(true);
        }
    }
}

/// Takes the whole lines off the beginning of `bytes`; with `all` what has no end yet, too.
fn lines(bytes: &mut Vec<u8>, all: bool) -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    let mut begin = 0;
    while begin < bytes.len() {
        match bytes[begin..].iter().position(|byte| *byte == b'\n') {
            Some(length) => {
                whole.push(bytes[begin..begin + length].to_vec());
                begin += length + 1;
            }
            None if all || bytes.len() - begin >= LONGEST => {
                whole.push(bytes[begin..].to_vec());
                begin = bytes.len();
            }
            None => break,
        }
    }
    bytes.drain(..begin);
    whole
}

struct Piece {
    bytes: Vec<u8>,
    next: u64,
    size: u64,
}

/// The phases that have begun, in the order in which they did, each with how its latest attempt stands.
fn phases(run: &Value) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for row in run["phases"].as_array().into_iter().flatten() {
        if let (Some(name), Some(status)) = (row["phase"].as_str(), row["status"].as_str()) {
            match found.iter_mut().find(|(known, _)| known == name) {
                Some((_, latest)) => status.clone_into(latest),
                None => found.push((name.to_owned(), status.to_owned())),
            }
        }
    }
    found
}

fn goes_on(run: &Value) -> bool {
    matches!(run["status"].as_str(), Some("queued" | "running"))
}

/// What a phase printed moves no cursor, colours nothing and rings no bell here.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let plain = anstream::adapter::strip_str(&text).to_string();
    plain.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

fn style(status: &str) -> Style {
    let colour = match status {
        "succeeded" => AnsiColor::Green,
        "failed" | "cancelled" => AnsiColor::Red,
        "paused" | "waiting_approval" => AnsiColor::Yellow,
        "running" => AnsiColor::Cyan,
        _ => return Style::new(),
    };
    colour.on_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_phase_printed_is_shown_without_its_commands_to_a_terminal() {
        for (printed, expected) in [
            (&b"plain\ttext"[..], "plain\ttext"),
            (b"\x1b[31mred\x1b[0m", "red"),
            (b"\x1b]0;title\x07after", "after"),
            (b"50%\r100%", "50%100%"),
            (b"\x07\x08bell", "bell"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(shown(printed), expected, "{printed:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_waits_for_it_unless_there_is_none_to_come() {
        let mut bytes = b"one\ntw".to_vec();
        assert_eq!(lines(&mut bytes, false), [b"one".to_vec()]);
        bytes.extend_from_slice(b"o\n\nlast");
        assert_eq!(lines(&mut bytes, true), [b"two".to_vec(), vec![], b"last".to_vec()]);
        assert!(bytes.is_empty());
        let mut long = vec![b'x'; LONGEST];
        assert_eq!(lines(&mut long, false).len(), 1);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_arrive(text in "[a-c\n]{0,60}", cut in 0usize..60) {
            let cut = cut.min(text.len());
            let mut bytes = text.as_bytes()[..cut].to_vec();
            let mut found = lines(&mut bytes, false);
            bytes.extend_from_slice(&text.as_bytes()[cut..]);
            found.extend(lines(&mut bytes, true));
            let expected: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
