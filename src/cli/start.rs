//! What starts work: `firstlight run`, `build`, `triage`, `review`, `health`, `security`, and an issue or pull request by its name alone.

use std::process::ExitCode;

use actors::clock::{Clock, SystemClock};
use actors::domain::{RepoName, nearest};
use serde_json::{Map, Value, json};
use url::Url;

use super::api::{Api, Failure, Output, hand_on, run as ask};
use super::exit;
use super::follow::{self, Telling};
use crate::settings::Sources;

/// `firstlight run …`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RunArgs {
    /// Name of the workflow
    workflow: String,
    /// A repository, owner/name; several times for one run each
    #[arg(long = "repo", value_name = "OWNER/NAME")]
    repos: Vec<String>,
    /// An issue of the repository
    #[arg(long, value_name = "N")]
    issue: Option<u64>,
    /// A pull request of the repository
    #[arg(long, value_name = "N", conflicts_with = "issue")]
    pr: Option<u64>,
    /// More of what the run is told, key=value; several times for several
    #[arg(short = 'c', long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What the run is told, as a JSON object
    #[arg(long, value_name = "JSON")]
    context: Option<String>,
    #[command(flatten)]
    how: How,
}

/// One thing that work is about.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AboutArgs {
    /// owner/name#7, or the URL of an issue or pull request
    about: String,
    #[command(flatten)]
    how: How,
}

/// Repositories that work is about.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ReposArgs {
    /// owner/name; several for one run each
    #[arg(required = true, value_name = "OWNER/NAME")]
    repos: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct How {
    /// Wait for the end: exit status 0 if it went well, 1 if not, 3 if it waits for somebody's answer
    #[arg(long)]
    wait: bool,
    /// While waiting, do not show what the phases print
    #[arg(long, short, requires = "wait")]
    quiet: bool,
    #[command(flatten)]
    output: Output,
}

/// What an argument names: a repository and a number in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    repo: RepoName,
    number: u64,
    is_pr: bool,
}

impl About {
    /// Reads `owner/name#7` and the URLs that people copy; nothing for anything else.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(url) = Url::parse(text)
            && matches!(url.scheme(), "http" | "https")
        {
            let mut parts = url.path_segments()?;
            let (owner, name, kind, number) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
            let is_pr = match kind {
                "issues" => false,
                "pull" | "pulls" => true,
                _ => return None,
            };
            return Some(Self {
                repo: format!("{owner}/{name}").parse().ok()?,
                number: number.parse().ok().filter(|number| *number > 0)?,
                is_pr,
            });
        }
        let (repo, number) = text.split_once('#')?;
        Some(Self {
            repo: repo.parse().ok()?,
            number: number.parse().ok().filter(|number| *number > 0)?,
            is_pr: false,
        })
    }

    fn context(&self, is_pr: bool) -> Map<String, Value> {
        let number = if is_pr { "prNumber" } else { "issueNumber" };
        [
            ("repo".to_owned(), self.repo.as_str().into()),
            (number.to_owned(), self.number.into()),
        ]
        .into_iter()
        .collect()
    }
}

/// `firstlight run …`.
pub(super) fn run(args: &RunArgs, sources: &Sources) -> ExitCode {
    match context_of(args) {
        Ok(context) => start(sources, args.how, "/api/run", &wish(&args.workflow, context)),
        Err(words) => wrong(&words),
    }
}

/// `firstlight build …`.
pub(super) fn build(args: &AboutArgs, sources: &Sources) -> ExitCode {
    let Some(about) = About::read(&args.about) else {
        return no_thing(&args.about);
    };
    let (owner, repo) = (
        about.repo.owner(),
        about.repo.as_str().split_once('/').map_or("", |(_, name)| name),
    );
    let wish = json!({ "owner": owner, "repo": repo, "issueNumber": about.number });
    start(sources, args.how, "/api/build", &wish)
}

/// `firstlight triage …`.
pub(super) fn triage(args: &AboutArgs, sources: &Sources) -> ExitCode {
    about(args, sources, "issue-triage", false)
}

/// `firstlight review …`.
pub(super) fn review(args: &AboutArgs, sources: &Sources) -> ExitCode {
    about(args, sources, "pr-review", true)
}

/// `firstlight health …` and `firstlight security …`.
pub(super) fn scan(args: &ReposArgs, sources: &Sources, workflow: &str) -> ExitCode {
    let context = [("repos".to_owned(), args.repos.clone().into())].into_iter().collect();
    start(sources, args.how, "/api/run", &wish(workflow, context))
}

/// `firstlight owner/name#7`: triage; for the URL of a pull request a review.
pub(super) fn bare(words: &[String], sources: &Sources) -> ExitCode {
    let [text, rest @ ..] = words else { return no_thing("") };
    let Some(thing) = About::read(text) else {
        let all = super::command();
        let meant = nearest(text, all.get_subcommands().map(clap::Command::get_name))
            .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        return wrong(&format!(
            "there is no command {text:?}, and it is no issue or pull request either{meant}; firstlight --help shows what there is"
        ));
    };
    let mut how = How {
        wait: false,
        quiet: false,
        output: Output::default(),
    };
    for word in rest {
        match word.as_str() {
            "--wait" => how.wait = true,
            "--quiet" | "-q" => how.quiet = true,
            "--json" => how.output.json = true,
            other => {
                return wrong(&format!(
                    "{other:?} is unknown here; --wait, --quiet and --json may follow"
                ));
            }
        }
    }
    let workflow = if thing.is_pr { "pr-review" } else { "issue-triage" };
    start(sources, how, "/api/run", &wish(workflow, thing.context(thing.is_pr)))
}

fn about(args: &AboutArgs, sources: &Sources, workflow: &str, is_pr: bool) -> ExitCode {
    match About::read(&args.about) {
        Some(about) => start(sources, args.how, "/api/run", &wish(workflow, about.context(is_pr))),
        None => no_thing(&args.about),
    }
}

fn wish(workflow: &str, context: Map<String, Value>) -> Value {
    json!({ "workflow": workflow, "context": context })
}

fn context_of(args: &RunArgs) -> Result<Map<String, Value>, String> {
    let mut context = match &args.context {
        None => Map::new(),
        Some(text) => match serde_json::from_str(text) {
            Ok(Value::Object(context)) => context,
            Ok(_) => return Err("--context must be a JSON object".to_owned()),
            Err(error) => return Err(format!("--context: {error}")),
        },
    };
    match args.repos.as_slice() {
        [] => {}
        [one] => {
            context.insert("repo".to_owned(), one.clone().into());
        }
        many => {
            context.insert("repos".to_owned(), many.into());
        }
    }
    if let Some(issue) = args.issue {
        context.insert("issueNumber".to_owned(), issue.into());
    }
    if let Some(pr) = args.pr {
        context.insert("prNumber".to_owned(), pr.into());
    }
    for pair in &args.set {
        let (key, value) = pair
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("{pair:?} is no KEY=VALUE"))?;
        context.insert(key.to_owned(), value.into());
    }
    Ok(context)
}

fn wrong(words: &str) -> ExitCode {
    eprintln!("firstlight: {words}");
    ExitCode::from(exit::USAGE)
}

fn no_thing(text: &str) -> ExitCode {
    wrong(&format!(
        "{text:?} names no issue or pull request; write owner/name#7, or the URL that the browser shows"
    ))
}

fn start(sources: &Sources, how: How, path: &str, wish: &Value) -> ExitCode {
    if !how.wait {
        return ask(
            sources,
            how.output,
            async |api| post_once(api, path, wish).await,
            started,
        );
    }
    let telling = Telling {
        phases: true,
        logs: !how.quiet,
    };
    hand_on(sources, async |api| {
        let answer = post_once(api, path, wish).await?;
        follow::to_the_end(api, &ids(&answer), telling, how.output).await
    })
}

/// A key of its own for each command: an answer that is lost on its way starts nothing twice when the exchange is repeated.
async fn post_once(api: &Api, path: &str, wish: &Value) -> Result<Value, Failure> {
    api.post_once(path, wish, &SystemClock.fresh_id().to_string()).await
}

fn ids(answer: &Value) -> Vec<String> {
    let many = answer["executionIds"].as_array().cloned();
    let all = many.unwrap_or_else(|| vec![answer["executionId"].clone()]);
    all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn started(answer: &Value) -> String {
    let joined = if answer["joined"] == true {
        " (it was under way already)"
    } else {
        ""
    };
    let lines = ids(answer)
        .into_iter()
        .map(|id| format!("started {id}{joined}; firstlight runs show {id}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_named_as_people_name_it() {
        let read = |text: &str| About::read(text).map(|about| (about.repo.to_string(), about.number, about.is_pr));
        let of = |repo: &str, number, is_pr| Some((repo.to_owned(), number, is_pr));
        for (text, expected) in [
            ("acme/site#7", of("acme/site", 7, false)),
            ("https://github.com/acme/site/issues/7", of("acme/site", 7, false)),
            (
                "https://github.com/acme/site/pull/12/files?w=1#diff",
                of("acme/site", 12, true),
            ),
            (
                "https://ghe.example.com/acme/site/issues/7#issuecomment-1",
                of("acme/site", 7, false),
            ),
            ("acme/site", None),
            ("acme/site#0", None),
            ("acme/site#x", None),
            ("#7", None),
            ("https://github.com/acme/site", None),
            ("https://github.com/acme/site/wiki/7", None),
            ("runz", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
