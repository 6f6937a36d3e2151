//! Whether what was read fits together: templates with phases, routes with workflows, phases with runtimes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::expression::Expression;
use super::graph::Order;
use super::load::Catalog;
use super::reader::{Language, Sees, TextAt, did_you_mean};
use super::schema::Source;
use super::template::{self, CONTEXT_KEYS, ReferenceKind};
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

/// Every reference of a file's templates and expressions that leads nowhere, and whatever is no template or expression.
pub(super) fn references(source: Source<'_>, texts: &[TextAt], scope: &Scope<'_>) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for text in texts {
        let mut wrong = match text.language {
            Language::Template => in_template(text, scope),
            Language::Expression => in_expression(text, scope),
        };
        wrong.sort();
        wrong.truncate(MOST_PER_TEMPLATE);
        for Wrong { offset, tag, problem } in wrong {
            let (line, column) = match text.prompt_file {
                Some(_) => place(&text.text, offset),
                None => in_file(source.text, text, offset, &tag),
            };
            let (file, key, problem) = match &text.prompt_file {
                Some(prompt) => (
                    prompt.as_str(),
                    String::new(),
                    format!("{problem} (as {} in {})", text.key, source.file),
                ),
                None => (source.file, text.key.clone(), problem),
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

/// What is wrong at a place of a text.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Wrong {
    /// In bytes from the start of the text.
    offset: usize,
    /// What is written there.
    tag: String,
    problem: String,
}

fn in_template(text: &TextAt, scope: &Scope<'_>) -> Vec<Wrong> {
    let names = template::names(&text.text).into_iter().filter_map(|reference| {
        let problem = scope.problem(reference.kind, &reference.path, text)?;
        Some((reference.offset, reference.tag, problem))
    });
    let flaws = template::flaws(&text.text);
    let flaws = flaws.into_iter().map(|flaw| (flaw.offset, flaw.tag, flaw.problem));
    names
        .chain(flaws)
        .map(|(offset, tag, problem)| Wrong {
            offset,
            problem: format!("{tag}: {problem}"),
            tag,
        })
        .collect()
}

fn in_expression(text: &TextAt, scope: &Scope<'_>) -> Vec<Wrong> {
    match Expression::parse(&text.text) {
        Err(error) => vec![Wrong {
            offset: error.offset,
            tag: text.text[error.offset..].to_owned(),
            problem: error.problem,
        }],
        Ok(expression) => {
            let names = expression.names().into_iter();
            names
                .filter_map(|name| {
                    let problem = scope.problem(ReferenceKind::Path, &name.path, text)?;
                    Some(Wrong {
                        offset: name.offset,
                        tag: name.path,
                        problem,
                    })
                })
                .collect()
        }
    }
}

/// What the names of a workflow's texts can lead to.
pub(super) struct Scope<'a> {
    /// The first phase that a name belongs to.
    index_of: BTreeMap<&'a str, usize>,
    variables: &'a BTreeMap<String, String>,
    order: &'a Order,
}

impl<'a> Scope<'a> {
    /// `phases` holds, for each phase, the names by which texts find its output.
    pub(super) fn new(phases: &'a [Vec<String>], variables: &'a BTreeMap<String, String>, order: &'a Order) -> Self {
        let mut index_of = BTreeMap::new();
        for (index, names) in phases.iter().enumerate() {
            for name in names {
                index_of.entry(name.as_str()).or_insert(index);
            }
        }
        Self {
            index_of,
            variables,
            order,
        }
    }

    /// What is wrong with a reference; nothing when it leads somewhere.
    fn problem(&self, kind: ReferenceKind, path: &str, text: &TextAt) -> Option<String> {
        let root = path.split('.').next().unwrap_or(path);
        if kind == ReferenceKind::Path {
            if let Some(variable) = path.strip_prefix("variables.") {
                let known = self.variables.contains_key(variable);
                let guess = did_you_mean(variable, self.variables.keys().map(String::as_str));
                return (!known).then(|| format!("the workflow has no variable {variable:?}{guess}"));
            }
            if CONTEXT_KEYS.iter().any(|(key, _)| *key == root) || (text.sees == Sees::Round && path == "output") {
                return None;
            }
        }
        let name = match kind {
            ReferenceKind::Output => path,
            ReferenceKind::Path => path.strip_suffix(".output").unwrap_or(path),
        };
        match self.index_of.get(name) {
            Some(index) if *index == text.phase => (text.sees == Sees::Before)
                .then(|| format!("phase {name:?} has no output yet when this is read; name a phase before it")),
            Some(index) if self.order.ends_before(*index, text.phase) => None,
            Some(_) if matches!(self.order, Order::Line) => {
                Some(format!("phase {name:?} comes later; name a phase before this one"))
            }
            Some(_) => Some(format!(
                "phase {name:?} need not have ended when this is read; name it under \"depends_on\", or a phase that is waited for"
            )),
            None if path == "else" => Some("there is no else; write a second part, {{#if !name}}…{{/if}}".to_owned()),
            None => {
                let phases = self.index_of.keys().copied();
                let context = CONTEXT_KEYS.iter().map(|(key, _)| *key);
                let (what, guess) = if name == path && kind == ReferenceKind::Path {
                    let round = (text.sees == Sees::Round).then_some("output");
                    (
                        "nothing is called",
                        did_you_mean(name, context.chain(phases).chain(round)),
                    )
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
fn in_file(text: &str, template: &TextAt, offset: usize, tag: &str) -> (usize, usize) {
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
