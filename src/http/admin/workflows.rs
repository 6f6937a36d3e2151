//! `/admin/api/workflows`: definitions as new runs get them, what is wrong with changed files, on and off.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::StatusCode;
use actix_web::http::header::X_CONTENT_TYPE_OPTIONS;
use actix_web::web::{Bytes, Data, Path, Query, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::{Mistake, Workflow};
use actors::messages::library::{ReadPrompts, ReadWorkflows, Shelf};
use actors::messages::store::{SwitchWorkflow, SwitchedOff};
use serde::Deserialize;
use serde_json::{Value, json};

use super::audit;
use crate::http::auth::Caller;
use crate::http::idempotency;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};
use crate::http::wish;

/// What stands where an address would, which is as good as a password.
const VEILED: &str = "[redacted]";

/// `{workflows: [{name, description, kind, enabled, hash, file, phases, mistakes}], mistakes}`: by name; `mistakes` beside the
/// list are those of every changed file that was refused, whichever workflow it holds.
#[utoipa::path(
    get,
    path = "/admin/api/workflows",
    tag = "workflows",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn list(doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let (shelf, off) = read(&doors).await?;
    let workflows: Vec<Value> = shelf
        .workflows
        .iter()
        .map(|workflow| summary(workflow, &shelf, &off))
        .collect();
    let mistakes: Vec<Value> = shelf.refused.iter().map(told).collect();
    Ok(HttpResponse::Ok().json(json!({ "workflows": workflows, "mistakes": mistakes })))
}

/// `{workflow}`: the summary, `variables`, `definition` (the phases as they are run, texts of prompts and skills included),
/// `yaml` (the file) and `diagram` (`{nodes, edges}`).
#[utoipa::path(
    get,
    path = "/admin/api/workflows/{name}",
    tag = "workflows",
    params(("name" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn one(name: Path<String>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let (shelf, off) = read(&doors).await?;
    let workflow = find(&shelf, &name)?;
    Ok(HttpResponse::Ok().json(json!({ "workflow": whole(workflow, &shelf, &off) })))
}

fn whole(workflow: &Workflow, shelf: &Shelf, off: &BTreeSet<String>) -> Value {
    let mut answer = summary(workflow, shelf, off);
    answer["variables"] = json!(workflow.variables);
    answer["definition"] = json!({ "phases": veiled(workflow).phases });
    answer["yaml"] = yaml_of(workflow).into();
    answer["diagram"] = json!(workflow.diagram());
    answer
}

/// The file, as text.
#[utoipa::path(
    get,
    path = "/admin/api/workflows/{name}/yaml",
    tag = "workflows",
    params(("name" = String, Path)),
    responses((status = 200, description = "done", body = String, content_type = "text/plain")),
)]
pub(crate) async fn yaml(name: Path<String>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let shelf = doors.workflows.send(ReadWorkflows).await?;
    let text = yaml_of(find(&shelf, &name)?);
    Ok(HttpResponse::Ok().content_type("text/yaml; charset=utf-8").body(text))
}

/// `{workflow, prompts, skills}`: what [`one`] answers, with the texts of all prompts by their paths and of all skills by
/// their names beside it.
#[utoipa::path(
    get,
    path = "/admin/api/workflows/{name}/full",
    tag = "workflows",
    params(("name" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn full(name: Path<String>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let (shelf, off) = read(&doors).await?;
    let workflow = find(&shelf, &name)?;
    let skills: BTreeMap<&str, &str> = skills(workflow).collect();
    let order = ReadPrompts {
        workflow: workflow.name.to_string(),
    };
    let prompts = doors.desk.prompts.send(order).await?.unwrap_or_default();
    Ok(HttpResponse::Ok().json(json!({
        "workflow": whole(workflow, &shelf, &off), "prompts": prompts, "skills": skills,
    })))
}

#[derive(Debug, Deserialize)]
pub(crate) struct PromptQuery {
    path: Option<String>,
}

/// `?path=prompts/…` → the prompt's text, as new runs get it. Only what the workflow's file names is found: no path is
/// looked up in a folder.
#[utoipa::path(
    get,
    path = "/admin/api/workflows/{name}/prompt",
    tag = "workflows",
    params(("name" = String, Path), ("path" = Option<String>, Query)),
    responses((status = 200, description = "done", body = String, content_type = "text/plain")),
)]
pub(crate) async fn prompt(
    name: Path<String>,
    query: Result<Query<PromptQuery>, actix_web::Error>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    let path = query.path.as_deref().unwrap_or_default();
    let parts = || path.split('/').skip(1);
    if !path.starts_with("prompts/") || parts().any(|part| matches!(part, "" | "." | "..")) || path.contains('\\') {
        return Err(Problem::bad_request(
            "path must be that of a prompt, such as prompts/triage.md",
        ));
    }
    let shelf = doors.workflows.send(ReadWorkflows).await?;
    let workflow = find(&shelf, &name)?.name.to_string();
    let prompts = doors
        .desk
        .prompts
        .send(ReadPrompts { workflow })
        .await?
        .unwrap_or_default();
    let text = prompts
        .get(path)
        .ok_or_else(|| Problem::not_found("prompt not found"))?;
    Ok(plain(text))
}

/// The text of a skill that some workflow has. Only what was loaded is found.
#[utoipa::path(
    get,
    path = "/admin/api/skills/{name}",
    tag = "workflows",
    params(("name" = String, Path)),
    responses((status = 200, description = "done", body = String, content_type = "text/plain")),
)]
pub(crate) async fn skill(name: Path<String>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(clean) {
        return Err(Problem::bad_request(
            "a skill's name has letters, digits, '-', '_' and '.'",
        ));
    }
    let shelf = doors.workflows.send(ReadWorkflows).await?;
    let mut all = shelf.workflows.iter().flat_map(|workflow| skills(workflow));
    let (_, text) = all
        .find(|(known, _)| *known == name.as_str())
        .ok_or_else(|| Problem::not_found("skill not found"))?;
    Ok(plain(text))
}

fn skills(workflow: &Workflow) -> impl Iterator<Item = (&str, &str)> {
    let all = workflow.phases.iter().flat_map(|phase| &phase.skills);
    all.map(|skill| (skill.name.as_str(), &*skill.text))
}

/// A text that no browser takes for a page.
fn plain(text: &str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(text.to_owned())
}

/// `{enabled}` → `{name, enabled}`. A workflow that is off starts no run, whoever asks; runs that are there go on.
#[utoipa::path(
    post,
    path = "/admin/api/workflows/{name}/toggle",
    tag = "workflows",
    params(("name" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn toggle(
    request: HttpRequest,
    name: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let wish = wish::of(&["enabled"], &body)?;
    let enabled = wish
        .get("enabled")
        .and_then(Value::as_bool)
        .ok_or_else(|| Problem::bad_request("enabled must be true or false"))?;
    let shelf = doors.workflows.send(ReadWorkflows).await?;
    let workflow = find(&shelf, &name)?.name.clone();
    idempotency::once(&request, &body, &caller, &shared, &doors, async |_| {
        let order = SwitchWorkflow {
            workflow: workflow.clone(),
            enabled,
            by: caller.who.clone(),
            at: shared.clock.now(),
        };
        doors.switch_workflow.send(order).await??;
        let action = if enabled { "workflow on" } else { "workflow off" };
        let line = audit::line(&request, &shared, &caller, action, workflow.as_str(), None);
        doors.audit.send(line).await??;
        tracing::info!(workflow = %workflow, enabled, who = %caller.who, "workflow switched");
        Ok((StatusCode::OK, json!({ "name": workflow, "enabled": enabled })))
    })
    .await
}

async fn read(doors: &HttpDoors) -> Result<(Shelf, BTreeSet<String>), Problem> {
    let shelf = doors.workflows.send(ReadWorkflows).await?;
    let off = doors.switched_off.send(SwitchedOff).await??;
    Ok((shelf, off.into_iter().collect()))
}

fn find<'s>(shelf: &'s Shelf, name: &str) -> Result<&'s Workflow, Problem> {
    let found = shelf.workflows.iter().find(|workflow| workflow.name.as_str() == name);
    found
        .map(AsRef::as_ref)
        .ok_or_else(|| Problem::not_found("workflow not found"))
}

fn summary(workflow: &Workflow, shelf: &Shelf, off: &BTreeSet<String>) -> Value {
    // A mistake in a prompt stands in the prompt's file and says at its end which workflow has it.
    let by_prompt = format!(" in {})", workflow.file);
    let mistakes: Vec<Value> = shelf
        .refused
        .iter()
        .filter(|mistake| mistake.file == workflow.file || mistake.problem.ends_with(&by_prompt))
        .map(told)
        .collect();
    json!({
        "name": workflow.name,
        "description": workflow.description,
        "kind": workflow.kind,
        "enabled": !off.contains(workflow.name.as_str()),
        "hash": workflow.hash,
        "file": workflow.file,
        "phases": workflow.phases.len(),
        "mistakes": mistakes,
    })
}

pub(super) fn told(mistake: &Mistake) -> Value {
    json!({
        "file": mistake.file,
        "line": mistake.line,
        "column": mistake.column,
        "key": mistake.key,
        "problem": mistake.problem,
    })
}

fn veiled(workflow: &Workflow) -> Workflow {
    let mut workflow = workflow.clone();
    for phase in &mut workflow.phases {
        if let Some(notify) = &mut phase.notify {
            notify.webhook_url = notify.webhook_url.take().map(|_| VEILED.to_owned());
        }
    }
    workflow
}

/// The file without the addresses in it.
pub(crate) fn yaml_of(workflow: &Workflow) -> String {
    let mut addresses: BTreeMap<&str, usize> = BTreeMap::new();
    for step in workflow.phases.iter().filter_map(|phase| phase.notify.as_ref()) {
        *addresses
            .entry(step.webhook_url.as_deref().unwrap_or_default())
            .or_default() += 1;
    }
    addresses.remove("");
    let mut text = workflow.text.to_string();
    // From the last to the first: of two where one begins with the other, the longer one goes first.
    for (address, times) in addresses.iter().rev() {
        if text.matches(address).count() < *times {
            // Written with escapes somewhere, so it cannot be found; better no file than one with a password in it.
            return format!(
                "# {}: not shown, it holds an address that cannot be cut out\n",
                workflow.file
            );
        }
        text = text.replace(address, VEILED);
    }
    text
}

#[cfg(test)]
mod tests {
    use actors::domain::{Channel, NotifyStep, Phase, PhaseKind, Priority};

    use super::*;

    fn notifying(text: &str, addresses: &[&str]) -> Workflow {
        let mut workflow = Workflow::from_bundle(
            r#"{"name":"x","kind":"agent","description":"","variables":{},"phases":[],"text":"","file":"x.yaml"}"#,
        )
        .expect("a bundle");
        workflow.text = text.into();
        workflow.phases = addresses
            .iter()
            .map(|address| Phase {
                notify: Some(NotifyStep {
                    channel: Channel::Slack,
                    priority: Priority::Normal,
                    webhook_url: Some((*address).to_owned()),
                }),
                ..Phase::new("p".parse().expect("a name"), PhaseKind::Notify)
            })
            .collect();
        workflow
    }

    #[test]
    fn an_address_is_in_no_answer() {
        const SECRET: &str = "https://hooks.test/T0PSECRET";
        for text in [
            "webhook_url: https://hooks.test/T0PSECRET\n",
            "{webhook_url: 'https://hooks.test/T0PSECRET'} # https://hooks.test/T0PSECRET\n",
            "webhook_url: \"https://hooks.test/\\x540PSECRET\"\n",
        ] {
            let workflow = notifying(text, &[SECRET]);
            let shown = yaml_of(&workflow);
            assert!(!shown.contains("0PSECRET"), "{shown}");
            assert!(shown.contains(VEILED) || shown.contains("not shown"), "{shown}");
            assert!(!json!(veiled(&workflow).phases).to_string().contains("0PSECRET"));
        }
        let twice = notifying(
            &format!("a: {SECRET}\nb: \"https://other.test/\\x41\"\n"),
            &[SECRET, "https://other.test/A"],
        );
        assert!(!yaml_of(&twice).contains("other.test"), "{}", yaml_of(&twice));
        let same = notifying(&format!("a: {SECRET}\nb: {SECRET}\n"), &[SECRET, SECRET]);
        assert!(yaml_of(&same).contains("a: [redacted]\nb: [redacted]"));
    }
}
