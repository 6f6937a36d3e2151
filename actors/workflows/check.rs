//! Whether what was read fits together: templates with phases, routes with workflows, phases with runtimes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::load::Catalog;
use super::schema::{Sees, TemplateAt, did_you_mean};
use super::template::{self, CONTEXT_KEYS, Reference, ReferenceKind};
use crate::domain::Mistake;

/// Names that a route may have besides those of workflows: the service answers them itself.
pub const INTERNAL_TARGETS: &[&str] = &[
    "approval-response",
    "chat",
    "chat-reset",
    "explore-reply",
    "github-orchestrator",
    "status-report",
];

/// Most mistakes that one template is reported with; whoever has as many has a wrong file.
const MOST_PER_TEMPLATE: usize = 100;

/// One route of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its key, `routes.github.issue_opened`.
    pub key: String,
    /// The workflow that it leads to.
    pub workflow: String,
    /// Where it was set: a file, or the name of a variable.
    pub file: String,
    /// Line, from 1; 0 when unknown.
    pub line: usize,
    /// Column, from 1; 0 when unknown.
    pub column: usize,
}

/// What the settings say about workflows.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// All routes, those of the defaults too.
    pub routes: &'a [Route],
    /// Names of the configured runtimes.
    pub runtimes: &'a BTreeSet<String>,
}

/// Every place where settings and workflows do not fit: a route that leads nowhere, a phase that needs a runtime which
/// is not configured. A phase that names no runtime, or is `optional`, is left alone: it says so itself when it runs.
#[must_use]
pub fn check(catalog: &Catalog, setup: &Setup<'_>) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for route in setup.routes {
        let name = route.workflow.as_str();
        if catalog.get(name).is_some() || INTERNAL_TARGETS.contains(&name) {
            continue;
        }
        let known: Vec<_> = catalog.names().map(|name| name.as_str()).collect();
        let guess = did_you_mean(name, known.iter().copied().chain(INTERNAL_TARGETS.iter().copied()));
        mistakes.push(Mistake {
            file: route.file.clone(),
            line: route.line,
            column: route.column,
            key: route.key.clone(),
            problem: format!(
                "leads to no workflow, {name:?} is unknown{guess} (known: {})",
                known.join(", ")
            ),
        });
    }
    for (workflow, runtimes) in catalog.runtimes() {
        for named in runtimes {
            if named.name == "default" || setup.runtimes.contains(&named.name) {
                continue;
            }
            let guess = did_you_mean(&named.name, setup.runtimes.iter().map(String::as_str));
            mistakes.push(Mistake {
                file: workflow.file.clone(),
                line: named.line,
                column: named.column,
                key: named.key.clone(),
                problem: format!(
                    "no runtime {:?} is configured; set \"runtimes.{}\" in the settings, or mark the phase \"optional: true\"{guess}",
                    named.name, named.name
                ),
            });
        }
    }
    mistakes.sort();
    mistakes
}

/// Every reference of a file's templates that leads nowhere, and every tag that is none. `phases` holds, for each phase,
/// the names by which templates find its output.
pub(super) fn references(
    file: &str,
    text: &str,
    templates: &[TemplateAt],
    phases: &[Vec<String>],
    variables: &BTreeMap<String, String>,
) -> Vec<Mistake> {
    // The first phase that a name belongs to.
    let mut index_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, names) in phases.iter().enumerate() {
        for name in names {
            index_of.entry(name).or_insert(index);
        }
    }
    let scope = Scope {
        index_of: &index_of,
        variables,
    };
    let mut mistakes = Vec::new();
    for template in templates {
        let wrong_names = template::names(&template.text).into_iter().filter_map(|reference| {
            let problem = scope.problem(&reference, template)?;
            Some((reference.offset, reference.tag, problem))
        });
        let flaws = template::flaws(&template.text);
        let mut wrong: Vec<_> = wrong_names
            .chain(flaws.into_iter().map(|flaw| (flaw.offset, flaw.tag, flaw.problem)))
            .collect();
        wrong.sort();
        wrong.truncate(MOST_PER_TEMPLATE);
        for (offset, tag, problem) in wrong {
            let (line, column) = match template.prompt_file {
                Some(_) => place(&template.text, offset),
                None => in_file(text, template, offset, &tag),
            };
            let (file, key, problem) = match &template.prompt_file {
                Some(prompt) => (
                    prompt.as_str(),
                    String::new(),
                    format!("{tag}: {problem} (as {} in {file})", template.key),
                ),
                None => (file, template.key.clone(), format!("{tag}: {problem}")),
            };
            mistakes.push(Mistake {
                file: file.to_owned(),
                line,
                column,
                key,
                problem,
            });
        }
    }
    mistakes
}

struct Scope<'a> {
    index_of: &'a BTreeMap<&'a str, usize>,
    variables: &'a BTreeMap<String, String>,
}

impl Scope<'_> {
    /// What is wrong with a reference; nothing when it leads somewhere.
    fn problem(&self, reference: &Reference, template: &TemplateAt) -> Option<String> {
        let path = reference.path.as_str();
        let root = path.split('.').next().unwrap_or(path);
        if reference.kind == ReferenceKind::Path {
            if let Some(variable) = path.strip_prefix("variables.") {
                let known = self.variables.contains_key(variable);
                let guess = did_you_mean(variable, self.variables.keys().map(String::as_str));
                return (!known).then(|| format!("the workflow has no variable {variable:?}{guess}"));
            }
            if CONTEXT_KEYS.iter().any(|(key, _)| *key == root) {
                return None;
            }
        }
        let name = match reference.kind {
            ReferenceKind::Output => path,
            ReferenceKind::Path => path.strip_suffix(".output").unwrap_or(path),
        };
        let reached = match template.sees {
            Sees::Before => template.phase,
            Sees::After => template.phase + 1,
        };
        match self.index_of.get(name) {
            Some(index) if *index < reached => None,
            Some(index) if *index == template.phase => Some(format!(
                "phase {name:?} has no output yet when this is read; name a phase before it"
            )),
            Some(_) => Some(format!("phase {name:?} comes later; name a phase before this one")),
            None if path == "else" => Some("there is no else; write a second part, {{#if !name}}…{{/if}}".to_owned()),
            None => {
                let phases = self.index_of.keys().copied();
                let context = CONTEXT_KEYS.iter().map(|(key, _)| *key);
                let (what, guess) = if name == path && reference.kind == ReferenceKind::Path {
                    ("nothing is called", did_you_mean(name, context.chain(phases)))
                } else {
                    ("there is no phase", did_you_mean(name, phases))
                };
                Some(format!("{what} {name:?}{guess}"))
            }
        }
    }
}

/// Line and column of a byte position, both from 1; the column in characters.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// Where a tag of a value stands in the file: the same occurrence of it behind the beginning of the value. Where quoting
/// has changed the tag's letters, the beginning of the value.
fn in_file(text: &str, template: &TemplateAt, offset: usize, tag: &str) -> (usize, usize) {
    let (line, column) = template.at;
    let line_start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let start = line_start
        + text[line_start..]
            .char_indices()
            .nth(column.saturating_sub(1))
            .map_or(0, |(at, _)| at);
    let earlier = template.text[..offset].matches(tag).count();
    text[start..]
        .match_indices(tag)
        .nth(earlier)
        .map_or(template.at, |(at, _)| place(text, start + at))
}
