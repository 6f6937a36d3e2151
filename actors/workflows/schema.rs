//! The grammar of a workflow file: every key, where it may stand and what it holds. Knows no folder; texts of prompts
//! and skills are asked of [`Assets`].
//!
//! A new key is one row in one of the tables below, and one in the table of the grammar's README; a test holds the two
//! against each other.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::check;
use super::not_yet::{NOT_YET, is_later};
use super::template;
use crate::domain::{
    DefinitionHash, InvalidId, Mistake, OnSuccess, Phase, PhaseKind, PhaseMessages, PhaseName, Reaction, Skill,
    Workflow, WorkflowName,
};
use crate::yaml::{Node, Value, nearest};

/// Most phases in a workflow.
pub const MAX_PHASES: usize = 1_000;
/// Longest time that a phase can be given.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the reader gets the texts that a file names.
pub(super) trait Assets {
    /// The prompt at a path such as `prompts/triage.md`, already known to be relative and clean; or what is wrong.
    fn prompt(&self, path: &str) -> Result<Asset, String>;
    /// The skill of this name; or what is wrong.
    fn skill(&self, name: &str) -> Result<Asset, String>;
}

/// A text and the file that it comes from, as mistakes name it.
#[derive(Debug, Clone)]
pub(super) struct Asset {
    pub(super) text: Arc<str>,
    pub(super) file: String,
}

/// A key that a map of a workflow file may hold.
struct Key<T: 'static> {
    name: &'static str,
    /// The kinds of phases that it makes sense for.
    kinds: &'static [PhaseKind],
    read: fn(&mut T, &Node, &mut Reader<'_>),
}

const EVERY: &[PhaseKind] = PhaseKind::ALL;
const AGENT: &[PhaseKind] = &[PhaseKind::Agent];
const PROCESS: &[PhaseKind] = &[PhaseKind::Agent, PhaseKind::Script];
const SCRIPT: &[PhaseKind] = &[PhaseKind::Script];
const REPLY: &[PhaseKind] = &[PhaseKind::Reply];

const WORKFLOW_KEYS: &[Key<WorkflowDraft>] = &[
    key("name", EVERY, |w, node, r| w.name = r.id(node)),
    key("kind", EVERY, |w, node, r| w.kind = r.filled(node)),
    key("description", EVERY, |w, node, r| w.description = r.text(node)),
    // Informational: what starts a workflow is decided by the routes in settings.
    key("trigger", EVERY, |_, node, r| {
        if matches!(node.value, Value::Seq(_)) {
            r.texts(node, Reader::filled);
        } else {
            r.filled(node);
        }
    }),
    key("variables", EVERY, |w, node, r| {
        w.variables = r.text_map(node, VARIABLE_RULE, is_variable_name, Reader::text);
    }),
    key("phases", EVERY, read_phases),
];

const PHASE_KEYS: &[Key<PhaseDraft>] = &[
    key("name", EVERY, |p, node, r| p.name = r.id(node)),
    // Read before the others, see `read_phases`.
    key("type", EVERY, |_, _, _| {}),
    key("label", EVERY, |p, node, r| p.label = r.filled(node)),
    key("prompt", AGENT, |p, node, r| p.prompt = r.prompt(node)),
    key("skill", AGENT, |p, node, r| p.skills.extend(r.skill(node))),
    key("skills", AGENT, |p, node, r| {
        p.skills.extend(r.texts(node, Reader::skill))
    }),
    key("model", AGENT, |p, node, r| p.model = r.template(node, Sees::Before)),
    key("variant", AGENT, |p, node, r| {
        p.variant = r.template(node, Sees::Before)
    }),
    key("runtime", AGENT, |p, node, r| {
        p.runtime = r.word(node, "runtime");
        p.runtime_at = (node.line, node.column);
    }),
    key("optional", AGENT, |p, node, r| {
        p.optional = r.flag(node).unwrap_or(false)
    }),
    key("run", SCRIPT, |p, node, r| p.run = r.command(node)),
    key("env", PROCESS, |p, node, r| {
        p.env = r.text_map(node, ENV_RULE, is_env_name, |r, node| {
            r.any_template(node, Sees::Before)
        });
    }),
    key("timeout", PROCESS, |p, node, r| p.timeout = r.duration(node)),
    key("output_var", PROCESS, |p, node, r| p.output_var = r.output_var(node)),
    key("message", REPLY, |p, node, r| {
        p.message = r.template(node, Sees::Before)
    }),
    key("messages", EVERY, |p, node, r| r.map(&mut p.messages, node, MESSAGES)),
    key("on_success", EVERY, |p, node, r| {
        r.map(&mut p.on_success, node, ON_SUCCESS)
    }),
    key("approval_gate", EVERY, |p, node, r| {
        p.approval_gate = r.word(node, "gate")
    }),
    key("approval_gate_message", EVERY, |p, node, r| {
        p.approval_gate_message = r.template(node, Sees::After);
    }),
];

const MESSAGE_KEYS: &[Key<PhaseMessages>] = &[
    key("on_start", EVERY, |m, node, r| {
        m.on_start = r.template(node, Sees::Before)
    }),
    key("on_success", EVERY, |m, node, r| {
        m.on_success = r.template(node, Sees::After)
    }),
    key("on_failure", EVERY, |m, node, r| {
        m.on_failure = r.template(node, Sees::After)
    }),
];

const ON_SUCCESS_KEYS: &[Key<OnSuccess>] = &[
    key("set_phase", EVERY, |s, node, r| {
        s.set_phase = r.word(node, "phase name").and_then(|name| name.parse().ok())
    }),
    key("add_labels", EVERY, |s, node, r| {
        s.add_labels = r.texts(node, |r, node| r.template(node, Sees::After));
    }),
    key("react", EVERY, |s, node, r| {
        s.react = r.choice(node, "reaction", Reaction::ALL, Reaction::as_str);
    }),
];

/// What a map may hold.
struct Grammar<T: 'static> {
    /// Path of its keys, as the README writes it: `phases[].messages.`.
    prefix: &'static str,
    keys: &'static [Key<T>],
}

impl<T> Clone for Grammar<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Grammar<T> {}

const WORKFLOW: Grammar<WorkflowDraft> = Grammar {
    prefix: "",
    keys: WORKFLOW_KEYS,
};
const PHASE: Grammar<PhaseDraft> = Grammar {
    prefix: "phases[].",
    keys: PHASE_KEYS,
};
const MESSAGES: Grammar<PhaseMessages> = Grammar {
    prefix: "phases[].messages.",
    keys: MESSAGE_KEYS,
};
const ON_SUCCESS: Grammar<OnSuccess> = Grammar {
    prefix: "phases[].on_success.",
    keys: ON_SUCCESS_KEYS,
};

/// Every key that is understood, by its path (`phases[].timeout`), with the kinds of phases that it makes sense for.
#[must_use]
pub fn keys() -> Vec<(String, &'static [PhaseKind])> {
    fn under<T>(grammar: Grammar<T>) -> impl Iterator<Item = (String, &'static [PhaseKind])> {
        grammar
            .keys
            .iter()
            .map(move |key| (format!("{}{}", grammar.prefix, key.name), key.kinds))
    }
    under(WORKFLOW)
        .chain(under(PHASE))
        .chain(under(MESSAGES))
        .chain(under(ON_SUCCESS))
        .filter(|(path, _)| !is_later(path))
        .collect()
}

/// Every key that is refused because a later step brings it, by its path.
#[must_use]
pub fn later_keys() -> Vec<String> {
    NOT_YET.iter().map(ToString::to_string).collect()
}

const fn key<T>(name: &'static str, kinds: &'static [PhaseKind], read: fn(&mut T, &Node, &mut Reader<'_>)) -> Key<T> {
    Key { name, kinds, read }
}

/// A workflow file as it was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) workflow: Workflow,
    /// Line and column of its name.
    pub(super) name_at: (usize, usize),
    /// The runtimes that its phases name and need.
    pub(super) runtimes: Vec<RuntimeAt>,
}

/// A phase that names a runtime and does without none.
#[derive(Debug, Clone)]
pub(super) struct RuntimeAt {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) key: String,
}

/// Reads a workflow out of its tree. `stem` is the file's name without its ending.
///
/// # Errors
/// Every mistake in the file, in the order of its lines.
pub(super) fn read(file: &str, stem: &str, text: &str, root: &Node, assets: &dyn Assets) -> Result<Read, Vec<Mistake>> {
    let mut reader = Reader {
        file,
        assets,
        path: String::new(),
        kind: None,
        phase: 0,
        templates: Vec::new(),
        mistakes: Vec::new(),
    };
    let mut draft = WorkflowDraft::default();
    reader.map(&mut draft, root, WORKFLOW);
    if matches!(root.value, Value::Map(_)) {
        if root.get("name").is_none() {
            reader.wrong_at(
                root,
                "name",
                format!("is missing; give the workflow one, for instance \"name: {stem}\""),
            );
        }
        if root.get("phases").is_none() {
            reader.wrong_at(root, "phases", "is missing; a workflow has at least one phase");
        }
    }
    reader.mistakes.extend(check::references(
        file,
        text,
        &reader.templates,
        &draft.names(),
        &draft.variables,
    ));
    let mut mistakes = reader.mistakes;
    mistakes.sort();
    mistakes.dedup();
    let (Some(name), true) = (draft.name, mistakes.is_empty()) else {
        return Err(mistakes);
    };
    let mut runtimes = Vec::new();
    let mut phases = Vec::with_capacity(draft.phases.len());
    for (index, phase) in draft.phases.into_iter().enumerate() {
        if let (Some(name), false) = (&phase.runtime, phase.optional) {
            runtimes.push(RuntimeAt {
                name: name.clone(),
                line: phase.runtime_at.0,
                column: phase.runtime_at.1,
                key: format!("phases[{index}].runtime"),
            });
        }
        phases.extend(phase.finish());
    }
    let name_at = root.get("name").map_or((0, 0), |node| (node.line, node.column));
    let mut workflow = Workflow {
        name,
        kind: draft.kind.unwrap_or_else(|| "agent".into()),
        description: draft.description.unwrap_or_default(),
        variables: draft.variables,
        phases,
        text: text.into(),
        hash: DefinitionHash::default(),
        file: file.to_owned(),
    };
    workflow.hash = Workflow::hash_of(&workflow.bundle());
    Ok(Read {
        workflow,
        name_at,
        runtimes,
    })
}

#[derive(Default)]
struct WorkflowDraft {
    name: Option<WorkflowName>,
    kind: Option<String>,
    description: Option<String>,
    variables: BTreeMap<String, String>,
    phases: Vec<PhaseDraft>,
}

impl WorkflowDraft {
    /// The names under which templates find the output of each phase.
    fn names(&self) -> Vec<Vec<String>> {
        let of = |phase: &PhaseDraft| phase.written_name.iter().chain(&phase.output_var).cloned().collect();
        self.phases.iter().map(of).collect()
    }
}

#[derive(Default)]
struct PhaseDraft {
    name: Option<PhaseName>,
    /// The name as it stands in the file, whether or not it is a good one, so that one mistake does not become ten.
    written_name: Option<String>,
    kind: Option<PhaseKind>,
    label: Option<String>,
    prompt: Option<Arc<str>>,
    skills: Vec<Skill>,
    model: Option<String>,
    variant: Option<String>,
    runtime: Option<String>,
    runtime_at: (usize, usize),
    optional: bool,
    run: Option<String>,
    env: BTreeMap<String, String>,
    timeout: Option<Duration>,
    output_var: Option<String>,
    message: Option<String>,
    messages: PhaseMessages,
    on_success: OnSuccess,
    approval_gate: Option<String>,
    approval_gate_message: Option<String>,
}

impl PhaseDraft {
    /// The phase; nothing when it has no name, which is a mistake that was reported.
    fn finish(self) -> Option<Phase> {
        let name = self.name?;
        let kind = self.kind.unwrap_or(PhaseKind::Agent);
        Some(Phase {
            label: self.label.unwrap_or_else(|| name.as_str().to_owned()),
            prompt: self.prompt,
            skills: self.skills,
            model: self.model,
            variant: self.variant,
            runtime: self.runtime,
            run: self.run,
            env: self.env,
            timeout: self.timeout,
            message: self.message,
            optional: self.optional,
            approval_gate: self.approval_gate,
            approval_gate_message: self.approval_gate_message,
            messages: self.messages,
            on_success: self.on_success,
            output_var: self.output_var,
            ..Phase::new(name, kind)
        })
    }
}

fn read_phases(workflow: &mut WorkflowDraft, node: &Node, reader: &mut Reader<'_>) {
    let Value::Seq(items) = &node.value else {
        return reader.wrong(node, format!("must be a list of phases, found {}", node.kind_name()));
    };
    if items.is_empty() {
        return reader.wrong(node, "is empty; a workflow has at least one phase");
    }
    if items.len() > MAX_PHASES {
        let problem = format!(
            "has {} phases; at most {MAX_PHASES} are possible, so split the workflow",
            items.len()
        );
        return reader.wrong(node, problem);
    }
    // Each name with the line where it was first used.
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        reader.phase = index;
        reader.within(&format!("[{index}]"), |reader| {
            let phase = read_phase(item, reader);
            for (key, name) in [("name", &phase.written_name), ("output_var", &phase.output_var)] {
                let (Some(name), Some(node)) = (name, item.get(key)) else {
                    continue;
                };
                if let Some(line) = taken.get(name) {
                    reader.wrong_at(
                        node,
                        key,
                        format!("{name:?} is taken already, in line {line}; choose another name"),
                    );
                } else {
                    taken.insert(name.clone(), node.line);
                }
            }
            workflow.phases.push(phase);
        });
    }
}

fn read_phase(node: &Node, reader: &mut Reader<'_>) -> PhaseDraft {
    let written_name = node.get("name").and_then(Node::as_str).map(str::to_owned);
    let mut phase = PhaseDraft {
        written_name,
        ..PhaseDraft::default()
    };
    if !matches!(node.value, Value::Map(_)) {
        reader.wrong(
            node,
            format!("must be a map with the keys of a phase, found {}", node.kind_name()),
        );
        return phase;
    }
    // The kind comes first, because it says which other keys make sense.
    phase.kind = match node.get("type") {
        None => Some(PhaseKind::Agent),
        Some(node) => reader.within(".type", |r| {
            let kind = r.choice(node, "type", PhaseKind::ALL, PhaseKind::as_str)?;
            if is_later(&format!("phases[].type: {kind}")) {
                r.wrong(node, later(kind.as_str()));
                return None;
            }
            Some(kind)
        }),
    };
    reader.kind = phase.kind;
    reader.map(&mut phase, node, PHASE);
    reader.kind = None;

    let has = |key: &str| node.get(key).is_some();
    if !has("name") {
        reader.wrong_at(node, "name", "is missing; give the phase a name of its own");
    }
    if has("skill") && has("skills") {
        let node = node.get("skill").unwrap_or(node);
        reader.wrong_at(
            node,
            "skill",
            "cannot stand beside \"skills\"; put all of them under \"skills\"",
        );
    }
    if has("approval_gate_message") && !has("approval_gate") {
        let node = node.get("approval_gate_message").unwrap_or(node);
        reader.wrong_at(
            node,
            "approval_gate_message",
            "needs \"approval_gate\" beside it, the name of the gate",
        );
    }
    match phase.kind {
        // What is there instead was already called a key of another kind.
        Some(PhaseKind::Agent) if has("run") || has("message") => {}
        Some(PhaseKind::Agent) if !(has("prompt") || has("skill") || has("skills")) => {
            reader.wrong_at(
                node,
                "prompt",
                "is missing; an agent phase needs \"prompt\", \"skill\" or \"skills\"",
            );
        }
        Some(PhaseKind::Script) if !has("run") => {
            reader.wrong_at(node, "run", "is missing; a script phase needs \"run\", the command");
        }
        Some(PhaseKind::Reply) if !has("message") => {
            reader.wrong_at(
                node,
                "message",
                "is missing; a reply phase needs \"message\", the answer",
            );
        }
        _ => {}
    }
    phase
}

/// Which outputs a template can name: those of the phases before, or also that of its own phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    Before,
    After,
}

/// A template and where it stands.
#[derive(Debug)]
pub(super) struct TemplateAt {
    pub(super) text: Arc<str>,
    pub(super) key: String,
    /// Line and column of the value in the workflow file.
    pub(super) at: (usize, usize),
    /// The file that the text is from, when it is a prompt.
    pub(super) prompt_file: Option<String>,
    /// Index of its phase.
    pub(super) phase: usize,
    pub(super) sees: Sees,
}

/// Walks a tree, remembers where it is, and gathers what is wrong.
struct Reader<'f> {
    file: &'f str,
    assets: &'f dyn Assets,
    path: String,
    /// Kind of the phase that is read; `None` outside of phases and where the file says none that exists.
    kind: Option<PhaseKind>,
    phase: usize,
    templates: Vec<TemplateAt>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    /// Notes a mistake at a node, under the path where the reader is.
    fn wrong(&mut self, node: &Node, problem: impl Into<String>) {
        self.mistakes.push(Mistake {
            file: self.file.to_owned(),
            line: node.line,
            column: node.column,
            key: self.path.trim_start_matches('.').to_owned(),
            problem: problem.into(),
        });
    }

    /// Notes a mistake about a key of the map where the reader is.
    fn wrong_at(&mut self, node: &Node, key: &str, problem: impl Into<String>) {
        self.within(&format!(".{key}"), |reader| reader.wrong(node, problem));
    }

    fn within<T>(&mut self, step: &str, then: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(step);
        let result = then(self);
        self.path.truncate(length);
        result
    }

    /// Reads a map by its grammar: every key that is there, and a mistake for each that should not be.
    fn map<T>(&mut self, target: &mut T, node: &Node, grammar: Grammar<T>) {
        let Value::Map(entries) = &node.value else {
            return self.wrong(node, format!("must be a map, found {}", node.kind_name()));
        };
        for (name, value) in entries {
            let place = Node {
                line: name.line,
                column: name.column,
                value: Value::Null,
            };
            if is_later(&format!("{}{}", grammar.prefix, name.text)) {
                self.wrong_at(&place, &name.text, later(&name.text));
                continue;
            }
            let Some(key) = grammar.keys.iter().find(|key| key.name == name.text) else {
                self.wrong_at(&place, &name.text, unknown_key(&name.text, grammar));
                continue;
            };
            match self.kind {
                Some(kind) if !key.kinds.contains(&kind) => {
                    self.wrong_at(&place, key.name, misplaced_key(key.kinds, kind));
                }
                _ => self.within(&format!(".{}", key.name), |reader| (key.read)(target, value, reader)),
            }
        }
    }

    /// A text, empty or not; numbers and truth values are taken as they are written.
    fn text(&mut self, node: &Node) -> Option<String> {
        let text = node.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(node, format!("must be a text, found {}", node.kind_name()));
        }
        text
    }

    /// A text that says something.
    fn filled(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        if text.trim().is_empty() {
            self.wrong(node, "is empty; write something or take the key out");
            return None;
        }
        Some(text)
    }

    fn flag(&mut self, node: &Node) -> Option<bool> {
        let flag = node.to_json().as_bool();
        if flag.is_none() {
            self.wrong(
                node,
                format!("must be true or false, without quotes, found {}", node.kind_name()),
            );
        }
        flag
    }

    fn id<T: FromStr<Err = InvalidId>>(&mut self, node: &Node) -> Option<T> {
        let text = self.text(node)?;
        text.parse()
            .map_err(|error: InvalidId| self.wrong(node, error.to_string()))
            .ok()
    }

    /// A name by the rule of phase names, for things that have no type of their own.
    fn word(&mut self, node: &Node, what: &'static str) -> Option<String> {
        let text = self.text(node)?;
        match text.parse::<PhaseName>() {
            Ok(_) => Some(text),
            Err(error) => {
                self.wrong(node, InvalidId { what, ..error }.to_string());
                None
            }
        }
    }

    fn choice<T: Copy>(&mut self, node: &Node, what: &str, all: &[T], name: fn(T) -> &'static str) -> Option<T> {
        let text = self.text(node)?;
        let found = all.iter().copied().find(|value| name(*value) == text);
        if found.is_none() {
            let names: Vec<_> = all.iter().map(|value| name(*value)).collect();
            let guess = did_you_mean(&text, names.iter().copied());
            self.wrong(
                node,
                format!("no such {what} {text:?}{guess} (there are {})", names.join(", ")),
            );
        }
        found
    }

    fn duration(&mut self, node: &Node) -> Option<Duration> {
        let text = self.filled(node)?;
        let form = "write it with units, such as 90s, 5m or 1h30m";
        match humantime::parse_duration(&text) {
            Err(_) => self.wrong(node, format!("{text:?} is no length of time; {form}")),
            Ok(time) if time.is_zero() || time > MAX_TIMEOUT => {
                self.wrong(node, format!("{text:?} is not between 1ms and 24h; {form}"));
            }
            Ok(time) => return Some(time),
        }
        None
    }

    /// A list, each item read alike; items that are wrong are left out.
    fn texts<T>(&mut self, node: &Node, mut item: impl FnMut(&mut Self, &Node) -> Option<T>) -> Vec<T> {
        let Value::Seq(items) = &node.value else {
            self.wrong(node, format!("must be a list, found {}", node.kind_name()));
            return Vec::new();
        };
        let read = items
            .iter()
            .enumerate()
            .filter_map(|(index, node)| self.within(&format!("[{index}]"), |reader| item(reader, node)));
        read.collect()
    }

    /// A map from names that follow a rule to texts.
    fn text_map(
        &mut self,
        node: &Node,
        rule: &str,
        fits: fn(&str) -> bool,
        item: fn(&mut Self, &Node) -> Option<String>,
    ) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        let Value::Map(entries) = &node.value else {
            self.wrong(
                node,
                format!("must be a map of names and texts, found {}", node.kind_name()),
            );
            return map;
        };
        for (name, value) in entries {
            let place = Node {
                line: name.line,
                column: name.column,
                value: Value::Null,
            };
            if !fits(&name.text) {
                self.wrong_at(&place, &name.text, rule);
                continue;
            }
            if let Some(text) = self.within(&format!(".{}", name.text), |reader| item(reader, value)) {
                map.insert(name.text.clone(), text);
            }
        }
        map
    }

    /// A template that says something.
    fn template(&mut self, node: &Node, sees: Sees) -> Option<String> {
        let text = self.filled(node)?;
        self.note_template(node, &text, None, sees);
        Some(text)
    }

    /// A template that may be empty.
    fn any_template(&mut self, node: &Node, sees: Sees) -> Option<String> {
        let text = self.text(node)?;
        self.note_template(node, &text, None, sees);
        Some(text)
    }

    fn note_template(&mut self, node: &Node, text: &str, prompt_file: Option<String>, sees: Sees) {
        self.templates.push(TemplateAt {
            text: text.into(),
            key: self.path.trim_start_matches('.').to_owned(),
            at: (node.line, node.column),
            prompt_file,
            phase: self.phase,
            sees,
        });
    }

    /// A command, which is never a template: what people outside write would become code of the shell.
    fn command(&mut self, node: &Node) -> Option<String> {
        let text = self.filled(node)?;
        let outputs = template::names(&text);
        let output = outputs.iter().find(|name| name.kind == template::ReferenceKind::Output);
        let offset = text.find("{{").into_iter().chain(output.map(|name| name.offset)).min();
        if let Some(offset) = offset {
            let end = text[offset..].find('}').map_or(text.len(), |end| offset + end + 1);
            let end = if text[end..].starts_with('}') { end + 1 } else { end };
            let tag: String = text[offset..end].chars().take(60).collect();
            let problem = format!(
                "a command is never a template, because what people write in issues would become code; set a variable under \
                 \"env\", for instance \"VALUE: '{tag}'\", and use \"$VALUE\" in the command"
            );
            self.wrong(node, problem);
            return None;
        }
        Some(text)
    }

    fn prompt(&mut self, node: &Node) -> Option<Arc<str>> {
        let path = self.filled(node)?;
        let clean = path.starts_with("prompts/")
            && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
            && !path.contains(['\\', '\0', ':']);
        let found = if clean {
            self.assets.prompt(&path)
        } else {
            Err(format!(
                "{path:?} does not stay in the folder of prompts; write a path such as \"prompts/triage.md\""
            ))
        };
        match found {
            Ok(asset) => {
                self.note_template(node, &asset.text, Some(asset.file), Sees::Before);
                Some(asset.text)
            }
            Err(problem) => {
                self.wrong(node, problem);
                None
            }
        }
    }

    fn skill(&mut self, node: &Node) -> Option<Skill> {
        let name = self.word(node, "skill")?;
        match self.assets.skill(&name) {
            Ok(asset) => Some(Skill { name, text: asset.text }),
            Err(problem) => {
                self.wrong(node, problem);
                None
            }
        }
    }

    fn output_var(&mut self, node: &Node) -> Option<String> {
        let name = self.word(node, "output_var")?;
        if template::CONTEXT_KEYS.iter().any(|(key, _)| *key == name) {
            self.wrong(
                node,
                format!("{name:?} is a key of the context already; choose another name"),
            );
            return None;
        }
        Some(name)
    }
}

fn unknown_key<T>(name: &str, grammar: Grammar<T>) -> String {
    let known = || grammar.keys.iter().map(|key| key.name);
    let later = NOT_YET.iter().filter_map(|path| path.strip_prefix(grammar.prefix));
    let guess = did_you_mean(name, known().chain(later));
    let list: Vec<_> = known().collect();
    format!("unknown key{guess} (known here: {})", list.join(", "))
}

fn later(what: &str) -> String {
    format!("{what:?} is not supported yet; take it out, or leave this workflow out until it is")
}

fn misplaced_key(kinds: &[PhaseKind], kind: PhaseKind) -> String {
    let names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    let how = match kinds {
        [only] => format!("add \"type: {only}\" or take it out"),
        _ => "take it out, or change the type".to_owned(),
    };
    let default = if kind == PhaseKind::Agent {
        " (the type of a phase that names none)"
    } else {
        ""
    };
    format!(
        "belongs to {} phases, and this one is of type {kind}{default}; {how}",
        names.join(" and ")
    )
}

/// `; did you mean "review"?`, or nothing.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |near| format!("; did you mean {near:?}?"))
}

const ENV_RULE: &str = "is no name of a variable: letters, digits and '_', not starting with a digit, and not \"FIRSTLIGHT_…\", which Firstlight sets itself";

fn is_env_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    plain && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && !name.starts_with("FIRSTLIGHT_")
}

const VARIABLE_RULE: &str = "is no name of a variable: letters, digits, '_' and '-'";

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
