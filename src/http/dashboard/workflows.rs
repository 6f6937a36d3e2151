//! Workflows as new runs get them: the list, and one with its picture, its file, its prompts, and a form to start it. Reads only.

use std::collections::BTreeSet;

use actix_web::web::Path;
use actors::domain::{Workflow, WorkflowName};
use actors::messages::library::{ReadWorkflows, Shelf};
use actors::messages::store::SwitchedOff;
use maud::{Markup, html};
use serde_json::json;

use super::frame::{Section, Sheet, Visit};
use super::graph::{self, Look};
use super::parts::{self, Act, Row, Tone};
use super::tint;
use crate::http::admin::workflows::yaml_of;
use crate::http::problem::Problem;

/// What admission and the runner fill in by themselves, or what only an event brings.
const GIVEN: &[&str] = &[
    "owner",
    "repo",
    "issueNumber",
    "prNumber",
    "number",
    "sender",
    "branch",
    "taskId",
    "issueDir",
    "runId",
    "phase",
    "workflow",
    "variables",
    "scratch",
    "models",
    "variants",
    "iteration",
    "maxIterations",
    "previousOutput",
    "cycle",
    "maxCycles",
    "fixCycle",
    "output",
    "history",
    "labels",
    "issueLabels",
    "answers",
    "issueTitle",
    "issueBody",
    "title",
    "body",
    "commentBody",
    "else",
];

/// `/admin/workflows`.
pub(crate) async fn list(visit: Visit) -> Result<Sheet, Problem> {
    let (shelf, off) = read(&visit).await?;
    let rows = shelf.workflows.iter().map(|workflow| {
        let on = !off.contains(workflow.name.as_str());
        Row {
            href: Some(visit.url(&format!("/admin/workflows/{}", workflow.name))),
            cells: vec![
                html! { (workflow.name) span.under { (parts::foreign(&workflow.description)) } },
                html! { (switch_badge(on)) },
                html! { (workflow.phases.len()) },
                html! { span.quiet.small { (parts::foreign(&workflow.file)) } },
            ],
        }
    });
    let content = html! {
        (parts::heading("Workflows", html! { "What runs are made of. Files that change are taken up without a restart." }, html! {}))
        (parts::live("workflows", "workflow", html! {
            @if !shelf.refused.is_empty() {
                (parts::note(Tone::Bad, html! {
                    p { strong { "Changed files were not taken up; the old ones stay until these are mended." } }
                    ul { @for mistake in &shelf.refused { li { code { (mistake.to_string()) } } } }
                }))
            }
            (parts::table("Workflows", &["Workflow", "State", "Phases", "File"], rows))
        }))
    };
    Ok(visit.sheet(Section::Workflows, "Workflows", content))
}

async fn read(visit: &Visit) -> Result<(Shelf, BTreeSet<String>), Problem> {
    let shelf = visit.doors.workflows.send(ReadWorkflows).await?;
    let off = visit.doors.switched_off.send(SwitchedOff).await??;
    Ok((shelf, off.into_iter().collect()))
}

fn switch_badge(on: bool) -> Markup {
    if on {
        parts::badge(Tone::Good, "on")
    } else {
        parts::badge(Tone::Quiet, "off")
    }
}

/// `/admin/workflows/{name}`.
pub(crate) async fn one(visit: Visit, name: Path<String>) -> Result<Sheet, Problem> {
    let (shelf, off) = read(&visit).await?;
    let workflow = shelf
        .workflows
        .iter()
        .find(|workflow| workflow.name.as_str() == name.as_str())
        .ok_or_else(|| Problem::not_found("there is no such workflow"))?;
    let on = !off.contains(workflow.name.as_str());
    let yaml = yaml_of(workflow);
    let prompts: Vec<_> = workflow
        .phases
        .iter()
        .filter(|phase| phase.prompt.is_some() || !phase.skills.is_empty())
        .collect();
    let content = html! {
        (parts::heading(html! { (workflow.name) }, html! { (parts::foreign(&workflow.description)) }, html! {
            a.button href=(visit.url(&format!("/admin/runs?workflow={}", workflow.name))) { "Its runs" }
        }))
        (parts::live("switch", &format!("workflow:{name}"), switch(&visit, &workflow.name, on)))
        (parts::card("The way", html! {}, graph::draw(&format!("Phases of {}", workflow.name), &workflow.diagram(), |_| Look {
            tone: Tone::Quiet,
            words: String::new(),
            href: None,
        })))
        div.split {
            (parts::card("The file", html! { span.quiet.small { (parts::foreign(&workflow.file)) } },
                parts::code_of("The file", &yaml, tint::yaml(&yaml))))
            div.stack {
                @if visit.may_change() && on { (parts::card("Start a run", html! {}, start(&visit, workflow))) }
                @if !prompts.is_empty() {
                    (parts::card("Prompts and skills", html! {}, html! {
                        @for phase in prompts {
                            @if let Some(prompt) = &phase.prompt {
                                details id={ "prompt-" (phase.name) } {
                                    summary { (phase.name) ": prompt" }
                                    div.wrapped { (parts::code("Prompt", prompt)) }
                                }
                            }
                            @for skill in &phase.skills {
                                details id={ "skill-" (phase.name) "-" (skill.name) } {
                                    summary { (phase.name) ": skill " (skill.name) }
                                    div.wrapped { (parts::code("Skill", &skill.text)) }
                                }
                            }
                        }
                    }))
                }
            }
        }
    };
    Ok(visit.sheet(Section::Workflows, workflow.name.to_string(), content))
}

fn switch(visit: &Visit, name: &WorkflowName, on: bool) -> Markup {
    html! {
        div.strip {
            (switch_badge(on))
            span.quiet { (if on { "It starts runs when it is asked." } else { "It starts no run, whoever asks. Runs that are there go on." }) }
            span.grow {}
            @if visit.may_change() {
                (parts::act(&Act {
                    label: if on { "Switch off" } else { "Switch on" },
                    url: visit.url(&format!("/admin/api/workflows/{name}/toggle")),
                    body: json!({ "enabled": !on }),
                    confirm: if on { "No new run of it starts until it is switched on again, whoever asks: events, schedules and people." } else { "" },
                    done: if on { "Switched off." } else { "Switched on." },
                    then: String::new(),
                    class: if on { "danger" } else { "primary" },
                }))
            }
        }
    }
}

/// The form whose fields are what the workflow's templates speak of.
fn start(visit: &Visit, workflow: &Workflow) -> Markup {
    let spoken = spoken_of(workflow);
    let speaks = |names: &[&str]| names.iter().any(|name| spoken.contains(*name));
    let others: Vec<&String> = spoken.iter().filter(|name| !GIVEN.contains(&name.as_str())).collect();
    parts::form(
        &visit.url("/api/run"),
        "A run has begun.",
        &visit.url("/admin/runs/{executionId}"),
        html! {
            input type="hidden" name="workflow" value=(workflow.name);
            (parts::field("run-repo", "Repository", "", html! {
                input #run-repo name="context.repo" placeholder="owner/name" autocomplete="off" spellcheck="false";
            }))
            (parts::field("run-number", "Number of the issue or pull request", "", html! {
                input #run-number name="context.issueNumber" type="number" min="1" data-as="number" inputmode="numeric";
            }))
            @if speaks(&["title", "issueTitle"]) {
                (parts::field("run-title", "Title", "Read from GitHub where a number is given and this is empty.", html! {
                    input #run-title name="context.title" autocomplete="off";
                }))
            }
            @if speaks(&["body", "issueBody", "commentBody"]) {
                (parts::field("run-body", "Text", "", html! { textarea #run-body name="context.body" rows="3" {} }))
            }
            @for name in others {
                @let id = format!("run-{name}");
                (parts::field(&id, name, "", html! { input id=(id) name={ "context." (name) } autocomplete="off"; }))
            }
            div.buttons { button.primary type="submit" { "Start" } }
        },
    )
}

/// The first words of everything between double braces, in every text of the workflow; phases' own names left out.
fn spoken_of(workflow: &Workflow) -> BTreeSet<String> {
    let mut spoken = BTreeSet::new();
    let prompts = workflow.phases.iter().filter_map(|phase| phase.prompt.as_deref());
    for text in prompts.chain([&*workflow.text]) {
        for tag in text
            .split("{{")
            .skip(1)
            .filter_map(|rest| rest.split_once("}}"))
            .map(|(tag, _)| tag)
        {
            let path = tag
                .trim_start_matches("#if")
                .trim_start_matches("slugify")
                .trim()
                .trim_start_matches('!');
            let first = path.split('.').next().unwrap_or_default().trim();
            let word = !first.is_empty() && first.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let phase = workflow
                .phases
                .iter()
                .any(|phase| phase.name.as_str() == first || phase.output_var.as_deref() == Some(first));
            if word && !phase && !tag.starts_with(['/', '^']) && !tag.starts_with("branchUrl") {
                spoken.insert(first.to_owned());
            }
        }
    }
    spoken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_asks_for_what_templates_speak_of() {
        let mut workflow = Workflow::from_bundle(
            r#"{"name":"x","kind":"agent","description":"","variables":{},"phases":[],"text":"","file":""}"#,
        )
        .expect("a bundle");
        workflow.text =
            "{{title}} {{#if !urgent}}{{variables.tone}}{{/if}} {{slugify topic}} {{branchUrl a/b}} ${a.output}".into();
        let spoken = spoken_of(&workflow);
        let spoken: Vec<&str> = spoken.iter().map(String::as_str).collect();
        assert_eq!(spoken, ["title", "topic", "urgent", "variables"]);
    }
}
