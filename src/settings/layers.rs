//! The layers of settings, put on top of one another key by key. Knows how a layer is read, not what its values mean.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use actors::domain::Mistake;
use actors::yaml::{self, Key, MAX_TEXT, Node, Value, nearest};
use serde_json::Value as Json;

use super::environment::{self, Reading, VARIABLES};
use super::sections::{Runtime, Settings};
use super::units::Listen;
use super::{DEFAULTS, DEFAULTS_NAME, FILE, Flags, Origin, Places, Sources, absolute, mistake};

const SOUND: &str = "the built-in defaults are whole, which a test holds";

/// Defaults and what has been laid on them so far.
pub(super) struct Layers {
    schema: Node,
    defaults: Json,
    merged: Json,
    report: Report,
}

/// What became of the layers, beside the settings themselves.
pub(super) struct Report {
    pub(super) mistakes: Vec<Mistake>,
    pub(super) places: Places,
    /// Keys whose value could not be used; whatever depends on one is not judged.
    pub(super) broken: BTreeSet<String>,
    /// Every layer could be read.
    pub(super) complete: bool,
    /// The layers, in words.
    pub(super) read: Vec<String>,
}

/// A value in the forms it may be meant in, with what to call it.
struct Offer<'a> {
    forms: Vec<Json>,
    found: &'static str,
    /// Its items, when it is a list: the forms of each and its line.
    items: Vec<(Vec<Json>, &'static str, Option<usize>)>,
    /// What to do about a value that is nothing.
    hint: &'a str,
}

impl Layers {
    pub(super) fn new() -> Self {
        let schema = yaml::parse(DEFAULTS_NAME, DEFAULTS).ok().flatten().expect(SOUND);
        let defaults = schema.to_json();
        Self {
            merged: defaults.clone(),
            report: Report {
                mistakes: Vec::new(),
                places: Places::default(),
                broken: BTreeSet::new(),
                complete: true,
                read: vec!["built-in defaults".to_owned()],
            },
            schema,
            defaults,
        }
    }

    /// The settings that all usable values make together, with absolute paths.
    pub(super) fn finish(self, cwd: &Path) -> (Settings, Report) {
        let mut settings: Settings =
            serde_json::from_value(self.merged).expect("each value was tried alone, and none depends on another");
        settings.state_dir = absolute(cwd, &settings.state_dir);
        for path in [
            &mut settings.github.app_private_key_path,
            &mut settings.workflows.overlay,
            &mut settings.git_auto_commit.repository,
        ] {
            *path = path.as_ref().map(|path| absolute(cwd, path));
        }
        (settings, self.report)
    }

    /// The settings file: the one that is named, or [`FILE`] if there is one.
    pub(super) fn file(&mut self, sources: &Sources) {
        let by_env = sources.env.get(environment::CONFIG).filter(|path| !path.is_empty());
        let (path, named_by) = match (&sources.flags.config, by_env) {
            (Some(path), _) => (path.clone(), Some("--config")),
            (None, Some(path)) => (path.into(), Some(environment::CONFIG)),
            (None, None) => (FILE.into(), None),
        };
        let name = path.display().to_string();
        let text = match read(&absolute(&sources.cwd, &path)) {
            Ok(text) => text,
            Err(Unread::Missing) if named_by.is_none() => return,
            Err(unread) => {
                let by = named_by.map_or_else(String::new, |by| format!("; it was named by {by}"));
                self.report.complete = false;
                self.report.mistakes.push(Mistake {
                    file: name,
                    line: 0,
                    column: 0,
                    key: String::new(),
                    problem: format!("{}{by}", unread.words()),
                });
                return;
            }
        };
        self.report.read.push(name.clone());
        match yaml::parse(&name, &text) {
            Ok(None) => {}
            Ok(Some(tree)) => {
                let schema = self.schema.clone();
                self.section(&name, &tree, tree.line, &schema, "");
            }
            Err(mistakes) => {
                self.report.complete = false;
                self.report.mistakes.extend(mistakes);
            }
        }
    }

    pub(super) fn environment(&mut self, env: &BTreeMap<String, String>) {
        let mut listen = ListenParts::default();
        let mut used = Vec::new();
        for variable in VARIABLES {
            let set = variable.names.iter().find_map(|name| {
                let text = env.get(*name)?.trim_end_matches(['\r', '\n']);
                (!text.is_empty() || variable.reading == Reading::ListOrNone).then_some((*name, text))
            });
            let Some((name, text)) = set else { continue };
            used.push(name);
            let origin = Origin::Env { name: name.to_owned() };
            if text.contains(char::REPLACEMENT_CHARACTER) {
                self.refuse(variable.key, &origin, "is not UTF-8 text; set it anew");
                continue;
            }
            match variable.reading {
                Reading::Host => listen.host = Some((name, text)),
                Reading::Port => listen.port = Some((name, text)),
                Reading::Text => self.lay(variable.key, Offer::text(text), origin),
                Reading::List | Reading::ListOrNone => self.lay(variable.key, Offer::list(text), origin),
            }
        }
        self.listen(&listen);
        if !used.is_empty() {
            self.report.read.push(format!("environment ({})", used.join(", ")));
        }
    }

    pub(super) fn flags(&mut self, flags: &Flags) {
        let state_dir = flags.state_dir.as_ref().map(|path| path.to_string_lossy().into_owned());
        let given = [
            ("--listen", "server.listen", flags.listen.clone()),
            ("--state-dir", "state_dir", state_dir),
        ];
        for (flag, key, text) in given {
            let Some(text) = text else { continue };
            let origin = Origin::Flag { name: flag.to_owned() };
            self.report.read.push(flag.to_owned());
            if text.contains(char::REPLACEMENT_CHARACTER) {
                self.refuse(key, &origin, "is not UTF-8 text");
            } else {
                self.lay(key, Offer::text(&text), origin);
            }
        }
    }

    /// `HOST` and `WEBHOOK_PORT` each replace their half of the address.
    fn listen(&mut self, parts: &ListenParts<'_>) {
        let Some(below) = self.merged["server"]["listen"]
            .as_str()
            .and_then(|text| text.parse::<Listen>().ok())
        else {
            return;
        };
        let mut listen = below;
        let mut names = Vec::new();
        for (part, put) in [
            (parts.host, Listen::at_host as fn(Listen, &str) -> _),
            (parts.port, Listen::at_port),
        ] {
            let Some((name, text)) = part else { continue };
            match put(listen, text) {
                Ok(changed) => {
                    listen = changed;
                    names.push(name);
                }
                Err(problem) => {
                    let origin = Origin::Env { name: name.to_owned() };
                    self.refuse("server.listen", &origin, problem.to_string());
                }
            }
        }
        if !names.is_empty() {
            let origin = Origin::Env { name: names.join(", ") };
            self.lay("server.listen", Offer::text(&listen.to_string()), origin);
        }
    }

    /// One map of a file, held against the same map of the defaults. `line`: where the section's key stands.
    fn section(&mut self, file: &str, node: &Node, line: usize, schema: &Node, path: &str) {
        let Value::Map(known) = &schema.value else { return };
        let known: Vec<&str> = known.iter().map(|(key, _)| key.text.as_str()).collect();
        let Some(entries) = self.entries(file, node, line, path, &known) else {
            return;
        };
        for (key, child) in entries {
            let full = join(path, &key.text);
            match schema.get(&key.text).map(|schema| (schema, &schema.value)) {
                None => self.unknown(file, key, &full, &known),
                // An empty map in the defaults takes names of the operator's own.
                Some((_, Value::Map(inner))) if inner.is_empty() => self.named(file, child, key.line, &full),
                Some((schema, Value::Map(_))) => self.section(file, child, key.line, schema, &full),
                Some(_) => {
                    let origin = Origin::File {
                        path: file.to_owned(),
                        line: key.line,
                    };
                    self.lay(&full, Offer::node(child), origin);
                }
            }
        }
    }

    /// `runtimes`: names that the operator chose, each with the keys of a [`Runtime`].
    fn named(&mut self, file: &str, node: &Node, line: usize, path: &str) {
        let known = runtime_keys();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let Some(entries) = self.entries(file, node, line, path, &["<name>"]) else {
            return;
        };
        for (name, child) in entries {
            let full = join(path, &name.text);
            let origin = |line| Origin::File {
                path: file.to_owned(),
                line,
            };
            let Some(entries) = self.entries(file, child, name.line, &full, &known) else {
                continue;
            };
            put(
                &mut self.merged,
                &[path, &name.text],
                Json::Object(serde_json::Map::new()),
            );
            self.report.places.set(&full, origin(name.line));
            for (key, child) in entries {
                let full = join(&full, &key.text);
                if known.contains(&key.text.as_str()) {
                    let segments = [path, &name.text, &key.text];
                    self.lay_at(&segments, &full, Offer::node(child), origin(key.line));
                } else {
                    self.unknown(file, key, &full, &known);
                }
            }
        }
    }

    /// The entries of a section; nothing in a section is no entry. Anything but a map is a mistake.
    fn entries<'n>(
        &mut self,
        file: &str,
        node: &'n Node,
        line: usize,
        path: &str,
        known: &[&str],
    ) -> Option<&'n [(Key, Node)]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            Value::Null => Some(&[]),
            _ => {
                let origin = Origin::File {
                    path: file.to_owned(),
                    line,
                };
                let problem = format!("expected a map with {}, found {}", listed(known), node.kind_name());
                self.refuse(path, &origin, problem);
                None
            }
        }
    }

    fn unknown(&mut self, file: &str, key: &Key, full: &str, known: &[&str]) {
        let problem = if let Some(meant) = nearest(&key.text, known.iter().copied()) {
            // Its value is unknown now, so what depends on it is not judged.
            let section = &full[..full.len() - key.text.len()];
            self.report.broken.insert(format!("{section}{meant}"));
            format!("unknown key; did you mean {meant}?")
        } else if let Some(elsewhere) = self.elsewhere(&key.text) {
            format!("unknown key; did you mean {elsewhere}?")
        } else {
            format!("unknown key; known here: {}", listed(known))
        };
        self.report.mistakes.push(Mistake {
            file: file.to_owned(),
            line: key.line,
            column: key.column,
            key: short(full),
            problem,
        });
    }

    /// The path of a key that exists, but in another section.
    fn elsewhere(&self, key: &str) -> Option<String> {
        fn search(schema: &Node, path: &str, wanted: &str) -> Option<String> {
            let Value::Map(entries) = &schema.value else {
                return None;
            };
            entries.iter().find_map(|(key, child)| {
                let full = join(path, &key.text);
                (key.text == wanted)
                    .then(|| full.clone())
                    .or_else(|| search(child, &full, wanted))
            })
        }
        search(&self.schema, "", key)
    }

    /// Lays a value on a key of the defaults.
    fn lay(&mut self, key: &str, offer: Offer<'_>, origin: Origin) {
        let segments: Vec<&str> = key.split('.').collect();
        self.lay_at(&segments, key, offer, origin);
    }

    /// Lays a value on a key if the key's type can take it in one of its forms; notes what is wrong with it otherwise.
    fn lay_at(&mut self, segments: &[&str], key: &str, mut offer: Offer<'_>, origin: Origin) {
        if offer.forms.iter().any(|form| form == "") {
            match at(&self.defaults, segments) {
                // What has no default is unset by an empty text too, as an empty variable is.
                Some(Json::Null) | None => offer.forms = vec![Json::Null],
                Some(_) => {
                    return self.refuse(
                        key,
                        &origin,
                        "is empty; write a value, or remove it to keep the default",
                    );
                }
            }
        }
        match self.try_forms(segments, &offer.forms) {
            Ok(value) => {
                put(&mut self.merged, segments, value);
                self.report.places.forget(key);
                for (index, (_, _, line)) in offer.items.iter().enumerate() {
                    if let (Origin::File { path, .. }, Some(line)) = (&origin, *line) {
                        let path = path.clone();
                        self.report
                            .places
                            .set(format!("{key}[{index}]"), Origin::File { path, line });
                    }
                }
                self.report.places.set(key, origin);
                // A higher layer has put it right.
                self.report.broken.remove(key);
            }
            Err(error) => self.blame(segments, key, &offer, &origin, &error),
        }
    }

    /// Says which items of a list are wrong; or that the value as a whole is.
    fn blame(&mut self, segments: &[&str], key: &str, offer: &Offer<'_>, origin: &Origin, error: &serde_json::Error) {
        let mut blamed = false;
        for (index, (forms, found, line)) in offer.items.iter().enumerate() {
            let alone: Vec<Json> = forms.iter().map(|form| Json::Array(vec![form.clone()])).collect();
            let Err(error) = self.try_forms(segments, &alone) else {
                continue;
            };
            // A scalar where a list is no value at all is wrong as a whole, not item by item.
            if at(&self.defaults, segments).is_some_and(|default| !default.is_array()) {
                break;
            }
            let origin = match (origin, *line) {
                (Origin::File { path, .. }, Some(line)) => Origin::File {
                    path: path.clone(),
                    line,
                },
                _ => origin.clone(),
            };
            let problem = words(&error, found, "");
            self.report
                .mistakes
                .push(mistake(&origin, &format!("{key}[{index}]"), problem));
            blamed = true;
        }
        if blamed {
            self.report.broken.insert(key.to_owned());
        } else {
            self.refuse(key, origin, words(error, offer.found, offer.hint));
        }
    }

    /// The first form that the key's type can take, tried alone on the defaults so that nothing else can interfere.
    fn try_forms(&self, segments: &[&str], forms: &[Json]) -> Result<Json, serde_json::Error> {
        let mut telling = None;
        for form in forms {
            let mut trial = self.defaults.clone();
            put(&mut trial, segments, form.clone());
            match serde_json::from_value::<Settings>(trial) {
                Ok(_) => return Ok(form.clone()),
                // Of two refusals the one that is about the value says more than the one about its type.
                Err(error) if telling.is_none() || !is_about_type(&error) => telling = Some(error),
                Err(_) => {}
            }
        }
        Err(telling.unwrap_or_else(|| serde::de::Error::custom("has no value")))
    }

    fn refuse(&mut self, key: &str, origin: &Origin, problem: impl Into<String>) {
        self.report.mistakes.push(mistake(origin, &short(key), problem));
        self.report.broken.insert(key.to_owned());
    }
}

#[derive(Default)]
struct ListenParts<'a> {
    host: Option<(&'a str, &'a str)>,
    port: Option<(&'a str, &'a str)>,
}

impl Offer<'_> {
    fn node(node: &Node) -> Self {
        let items = match &node.value {
            Value::Seq(items) => items
                .iter()
                .map(|item| (forms(item), item.kind_name(), Some(item.line)))
                .collect(),
            _ => Vec::new(),
        };
        Self {
            forms: forms(node),
            found: node.kind_name(),
            items,
            hint: "; remove it to keep the default",
        }
    }

    fn text(text: &str) -> Self {
        let scalar = Node {
            line: 0,
            column: 0,
            value: Value::Scalar {
                text: text.to_owned(),
                plain: true,
            },
        };
        let mut forms = forms(&scalar);
        // A variable that says `null` means that text: unset is what an empty one is.
        forms.retain(|form| !form.is_null());
        Self {
            forms,
            found: "a text",
            items: Vec::new(),
            hint: "",
        }
    }

    fn list(text: &str) -> Self {
        let items: Vec<Json> = environment::items(text).map(Json::from).collect();
        Self {
            forms: vec![Json::Array(items.clone())],
            found: "a list",
            items: items.into_iter().map(|item| (vec![item], "a text", None)).collect(),
            hint: "",
        }
    }
}

/// What a value may mean: what the core schema says, and where that is a number or truth value also the text itself, so
/// that a password of digits needs no quotes.
fn forms(node: &Node) -> Vec<Json> {
    fn as_texts(node: &Node) -> Json {
        match &node.value {
            Value::Scalar { text, .. } => Json::String(text.clone()),
            Value::Seq(items) => items.iter().map(as_texts).collect(),
            _ => node.to_json(),
        }
    }
    let mut forms = vec![node.to_json()];
    let texts = as_texts(node);
    if texts != forms[0] {
        forms.push(texts);
    }
    forms
}

fn is_about_type(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("invalid type: ")
}

/// A refusal in words of people. What was found is named by its kind: serde would quote it, and it may be a secret.
fn words(error: &serde_json::Error, found: &str, hint_for_nothing: &str) -> String {
    let text = error.to_string();
    let about_type = is_about_type(error);
    if let Some((_, known)) = text
        .strip_prefix("unknown variant ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        return format!("expected {}", known.replace('`', ""));
    }
    if !about_type && !text.starts_with("invalid value: ") {
        return text;
    }
    let expected = match text.rsplit_once(", expected ").map_or("", |(_, expected)| expected) {
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "usize" | "u64" => "a whole number from 0",
        "a nonzero usize" => "a whole number from 1",
        expected if expected.contains("string") || expected.contains("single key") => "a text",
        expected => expected,
    };
    match (about_type, found) {
        (true, "nothing") => format!("expected {expected}, found nothing{hint_for_nothing}"),
        // A number that is not the kind of number that is wanted.
        (true, "a number") if expected.contains("number") => format!("expected {expected}"),
        (true, found) => format!("expected {expected}, found {found}"),
        (false, _) => format!("is out of range; expected {expected}"),
    }
}

/// The keys of one runtime.
pub(super) fn runtime_keys() -> Vec<String> {
    match serde_json::to_value(Runtime::default()) {
        Ok(Json::Object(keys)) => keys.into_iter().map(|(key, _)| key).collect(),
        _ => Vec::new(),
    }
}

fn at<'j>(json: &'j Json, segments: &[&str]) -> Option<&'j Json> {
    segments.iter().try_fold(json, |json, segment| json.get(segment))
}

fn put(json: &mut Json, segments: &[&str], value: Json) {
    let mut place = json;
    for segment in segments {
        if !place.is_object() {
            *place = Json::Object(serde_json::Map::new());
        }
        place = &mut place[*segment];
    }
    *place = value;
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A key as it fits into a line: an unknown one can be of any length.
fn short(key: &str) -> String {
    const LONGEST: usize = 120;
    let clean = key.chars().map(|c| if c.is_control() { '?' } else { c });
    if key.chars().count() <= LONGEST {
        clean.collect()
    } else {
        clean.take(LONGEST).chain(['…']).collect()
    }
}

fn listed(known: &[&str]) -> String {
    known.join(", ")
}

enum Unread {
    Missing,
    TooLong,
    NotText { line: usize },
    Refused(std::io::Error),
}

impl Unread {
    fn words(&self) -> String {
        match self {
            Self::Missing => "does not exist".to_owned(),
            Self::TooLong => format!("is longer than {MAX_TEXT} bytes, which no settings file is"),
            Self::NotText { line } => format!("is not UTF-8 text (line {line}); save it as UTF-8"),
            Self::Refused(error) => format!("cannot be read: {error}"),
        }
    }
}

fn read(path: &Path) -> Result<String, Unread> {
    let refused = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Unread::Missing,
        _ => Unread::Refused(error),
    };
    let file = std::fs::File::open(path).map_err(refused)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_TEXT).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    if bytes.len() > MAX_TEXT {
        return Err(Unread::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        Unread::NotText {
            line: good.iter().filter(|byte| **byte == b'\n').count() + 1,
        }
    })
}
