//! Reads workflow files from the binary and from the overlay folder into a catalogue. The only part of this room that
//! touches folders; knows no settings and no actor.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::check::{self, Setup};
use super::not_yet::NOT_YET;
use super::reader::{Asset, Assets, did_you_mean};
use super::schema::{self, RuntimeAt, Source};
use crate::domain::{DefinitionHash, Mistake, Workflow, WorkflowName};
use crate::yaml;

/// Largest workflow file, prompt or skill, in bytes.
pub const MAX_FILE: usize = 256 * 1024;

/// The shipped workflows, prompts and skills, in the binary.
#[derive(rust_embed::Embed)]
#[folder = "../workflows"]
struct Shipped;

/// How mistakes name a shipped file.
const SHIPPED: &str = "builtin:workflows/";

/// All workflows of one moment, by name.
#[derive(Debug, Clone)]
pub struct Catalog {
    workflows: BTreeMap<WorkflowName, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    workflow: Arc<Workflow>,
    runtimes: Vec<RuntimeAt>,
}

impl Entry {
    fn is_shipped(&self) -> bool {
        self.workflow.file.starts_with(SHIPPED)
    }
}

impl Catalog {
    /// The workflow of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Workflow>> {
        let name: WorkflowName = name.parse().ok()?;
        self.workflows.get(&name).map(|entry| &entry.workflow)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &WorkflowName> {
        self.workflows.keys()
    }

    /// The workflows, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Workflow>> {
        self.workflows.values().map(|entry| &entry.workflow)
    }

    /// What the store keeps of them: hash, name and bundle of each.
    #[must_use]
    pub fn bundles(&self) -> Vec<(DefinitionHash, WorkflowName, String)> {
        self.iter()
            .map(|workflow| (workflow.hash.clone(), workflow.name.clone(), workflow.bundle()))
            .collect()
    }

    /// Each workflow with the runtimes that it cannot do without.
    pub(super) fn runtimes(&self) -> impl Iterator<Item = (&Workflow, &[RuntimeAt])> {
        self.workflows
            .values()
            .map(|entry| (entry.workflow.as_ref(), entry.runtimes.as_slice()))
    }
}

/// The catalogue that is in use now. A clone is a handle to the same one; it is replaced as a whole, so that whoever
/// took the current one sees no half of the next.
#[derive(Debug, Clone)]
pub struct SharedCatalog(Arc<RwLock<Arc<Catalog>>>);

impl SharedCatalog {
    /// A handle that starts with this catalogue.
    #[must_use]
    pub fn new(catalog: Catalog) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(catalog))))
    }

    /// The catalogue of this moment.
    #[must_use]
    pub fn current(&self) -> Arc<Catalog> {
        // A pointer is swapped whole: whoever panicked while holding the lock left nothing half done.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another catalogue in its place and gives back the one before.
    pub fn replace(&self, catalog: Catalog) -> Arc<Catalog> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, Arc::new(catalog))
    }
}

/// Reads the shipped workflows and, over them, those of an overlay folder: `<overlay>/workflows/*.yaml`,
/// `<overlay>/workflows/prompts/` and `<overlay>/skills/`. A workflow, prompt or skill of the overlay replaces the
/// shipped one of the same name.
///
/// Files called `cron-*.yaml`, or of `kind: cron`, are schedules; they are left to whoever reads those.
///
/// # Errors
/// Every mistake of every file, in the order of files and lines.
pub fn load(overlay: Option<&Path>) -> Result<Catalog, Vec<Mistake>> {
    load_without(NOT_YET, overlay)
}

/// [`load`], with other paths of the grammar refused.
pub(super) fn load_without(refused: &[&str], overlay: Option<&Path>) -> Result<Catalog, Vec<Mistake>> {
    let found = read_all(refused, overlay);
    if found.mistakes.is_empty() {
        Ok(Catalog {
            workflows: found.workflows,
        })
    } else {
        Err(found.mistakes)
    }
}

/// [`load`] and [`check`](super::check) together, so that a mistake in a file hides none in the settings.
///
/// # Errors
/// Every mistake of every file and of every setting that names a workflow. Of a route to a workflow that may well be in a
/// file with mistakes nothing is said.
pub fn load_for(overlay: Option<&Path>, setup: &Setup<'_>) -> Result<Catalog, Vec<Mistake>> {
    let found = read_all(NOT_YET, overlay);
    let catalog = Catalog {
        workflows: found.workflows,
    };
    let mut mistakes = found.mistakes;
    let hidden = |name: &str| {
        let of_name = |file: &String| {
            let stem = Path::new(file).file_stem();
            stem.is_some_and(|stem| stem == name)
        };
        !found.overlay_readable || found.refused_files.iter().any(of_name)
    };
    let misfits = check::misfits(&catalog, setup).into_iter();
    mistakes.extend(misfits.filter(|(name, _)| !hidden(name)).map(|(_, mistake)| mistake));
    mistakes.sort();
    mistakes.dedup();
    if mistakes.is_empty() {
        Ok(catalog)
    } else {
        Err(mistakes)
    }
}

/// What became of files that were read again.
#[derive(Debug)]
pub struct Reloaded {
    /// What counts from now on: what is good and new, and the old where the new is not good.
    pub catalog: Catalog,
    /// Names of the workflows that are new or different, sorted.
    pub changed: Vec<WorkflowName>,
    /// Names of those that are there no more, sorted.
    pub gone: Vec<WorkflowName>,
    /// Every mistake because of which something stayed as it was.
    pub mistakes: Vec<Mistake>,
}

/// Reads all files again. A file that is good is taken; one that is not leaves the workflow that it held before as it was,
/// and so does a change after which a route would lead nowhere or a runtime be missing. Where the overlay folder itself cannot
/// be read, everything stays.
#[must_use]
pub fn reload(before: &Catalog, overlay: Option<&Path>, setup: &Setup<'_>) -> Reloaded {
    let found = read_all(NOT_YET, overlay);
    let mut catalog = if found.overlay_readable {
        Catalog {
            workflows: found.workflows,
        }
    } else {
        before.clone()
    };
    for (name, old) in &before.workflows {
        let replaced = catalog.workflows.get(name).is_some_and(|new| !new.is_shipped());
        if found.refused_files.contains(&old.workflow.file) && !replaced {
            catalog.workflows.insert(name.clone(), old.clone());
        }
    }
    let mut mistakes = found.mistakes;
    for (name, mistake) in check::misfits(&catalog, setup) {
        mistakes.push(mistake);
        let Ok(name) = name.parse::<WorkflowName>() else {
            continue;
        };
        match before.workflows.get(&name) {
            Some(old) => catalog.workflows.insert(name, old.clone()),
            None => catalog.workflows.remove(&name),
        };
    }
    mistakes.sort();
    mistakes.dedup();
    let hash = |catalog: &Catalog, name: &WorkflowName| {
        let entry = catalog.workflows.get(name)?;
        Some(entry.workflow.hash.clone())
    };
    Reloaded {
        changed: catalog
            .names()
            .filter(|name| hash(&catalog, name) != hash(before, name))
            .cloned()
            .collect(),
        gone: before
            .names()
            .filter(|name| hash(&catalog, name).is_none())
            .cloned()
            .collect(),
        catalog,
        mistakes,
    }
}

/// What all files together hold, good and bad.
struct Found {
    workflows: BTreeMap<WorkflowName, Entry>,
    mistakes: Vec<Mistake>,
    /// Files whose workflow is not among them, by the names of mistakes.
    refused_files: BTreeSet<String>,
    /// Whether the overlay folder, if one is set, could be opened and listed.
    overlay_readable: bool,
}

fn read_all(refused: &[&str], overlay: Option<&Path>) -> Found {
    let mut found = Found {
        workflows: BTreeMap::new(),
        mistakes: Vec::new(),
        refused_files: BTreeSet::new(),
        overlay_readable: true,
    };
    let overlay = overlay.and_then(|root| match Overlay::open(root) {
        Ok(overlay) => Some(overlay),
        Err(problem) => {
            found.mistakes.push(whole_file(&root.display().to_string(), problem));
            found.overlay_readable = false;
            None
        }
    });
    let library = Library {
        refused,
        overlay: overlay.as_ref(),
        seen: RefCell::default(),
    };
    read_layer(shipped_files(), &library, &mut found);
    if let Some(overlay) = &overlay {
        match overlay.workflow_files(&mut found.mistakes) {
            Some(files) => read_layer(files, &library, &mut found),
            None => found.overlay_readable = false,
        }
    }
    found
        .refused_files
        .extend(found.mistakes.iter().map(|mistake| mistake.file.clone()));
    found.mistakes.sort();
    found.mistakes.dedup();
    found
}

/// A file of one layer: how mistakes name it, its name without the ending, its bytes.
struct File {
    label: String,
    stem: String,
    bytes: Cow<'static, [u8]>,
}

fn shipped_files() -> Vec<File> {
    let mut files = Vec::new();
    for path in Shipped::iter() {
        let Some(stem) = workflow_stem(&path) else { continue };
        let Some(file) = Shipped::get(&path) else { continue };
        files.push(File {
            label: format!("{SHIPPED}{path}"),
            stem: stem.to_owned(),
            bytes: file.data,
        });
    }
    files.sort_by(|a, b| a.label.cmp(&b.label));
    files
}

/// The name without its ending, for a YAML file that lies directly in the folder.
fn workflow_stem(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"))?;
    (!stem.contains('/') && !stem.starts_with('.')).then_some(stem)
}

/// Reads the files of one layer over what was found before.
fn read_layer(files: Vec<File>, library: &Library<'_>, found: &mut Found) {
    let mut layer: BTreeMap<WorkflowName, Entry> = BTreeMap::new();
    for file in files {
        match read_file(&file, library) {
            Ok(None) => {}
            Err(mistakes) => {
                // A mistake in a prompt names the prompt's file, and the workflow is refused all the same.
                found.refused_files.insert(file.label);
                found.mistakes.extend(mistakes);
            }
            Ok(Some(read)) => {
                let name = read.workflow.name.clone();
                if let Some(first) = layer.get(&name) {
                    found.mistakes.push(Mistake {
                        line: read.name_at.0,
                        column: read.name_at.1,
                        key: "name".into(),
                        ..whole_file(
                            &file.label,
                            format!(
                                "{:?} is taken already, by {}; choose another name",
                                name.as_str(),
                                first.workflow.file
                            ),
                        )
                    });
                    continue;
                }
                layer.insert(
                    name,
                    Entry {
                        workflow: Arc::new(read.workflow),
                        runtimes: read.runtimes,
                    },
                );
            }
        }
    }
    found.workflows.extend(layer);
}

/// One file; nothing when it is a schedule.
fn read_file(file: &File, library: &Library<'_>) -> Result<Option<schema::Read>, Vec<Mistake>> {
    if file.stem.starts_with(SCHEDULE_PREFIX) {
        return Ok(None);
    }
    let wrong = |problem: String| vec![whole_file(&file.label, problem)];
    let text = text_of(&file.bytes).map_err(wrong)?;
    let Some(root) = yaml::parse(&file.label, text)? else {
        return Err(wrong(format!(
            "is empty; write a workflow, which begins with \"name: {}\", or remove the file",
            file.stem
        )));
    };
    if is_schedule(&root) {
        return Ok(None);
    }
    let source = Source {
        file: &file.label,
        stem: &file.stem,
        text,
    };
    schema::read(source, &root, library, library.refused).map(Some)
}

/// How the name of a file that holds a schedule begins, whatever its kind.
const SCHEDULE_PREFIX: &str = "cron-";

fn is_schedule(root: &yaml::Node) -> bool {
    root.get("kind").and_then(yaml::Node::as_str) == Some("cron")
}

/// A file that holds a schedule.
pub(crate) struct ScheduleFile {
    /// How mistakes name it.
    pub(crate) label: String,
    /// Its name without the ending.
    pub(crate) stem: String,
    pub(crate) root: yaml::Node,
}

/// The files of both layers that hold schedules: those of the binary, then those of the overlay folder. What is wrong with them as
/// files is added to the mistakes; a workflow that cannot be read is left to [`load`].
pub(crate) fn schedule_files(overlay: Option<&Path>, mistakes: &mut Vec<Mistake>) -> [Vec<ScheduleFile>; 2] {
    let of_overlay = match overlay.map(Overlay::open) {
        None => Vec::new(),
        Some(Ok(overlay)) => overlay.workflow_files(mistakes).unwrap_or_default(),
        Some(Err(problem)) => {
            let root = overlay.map_or_else(String::new, |root| root.display().to_string());
            mistakes.push(whole_file(&root, problem));
            Vec::new()
        }
    };
    [shipped_files(), of_overlay].map(|files| {
        files
            .into_iter()
            .filter_map(|file| schedule_file(file, mistakes))
            .collect()
    })
}

fn schedule_file(file: File, mistakes: &mut Vec<Mistake>) -> Option<ScheduleFile> {
    let named = file.stem.starts_with(SCHEDULE_PREFIX);
    let read = text_of(&file.bytes)
        .map_err(|problem| vec![whole_file(&file.label, problem)])
        .and_then(|text| yaml::parse(&file.label, text));
    match read {
        Ok(Some(root)) if named || is_schedule(&root) => Some(ScheduleFile {
            label: file.label,
            stem: file.stem,
            root,
        }),
        Ok(None) if named => {
            let problem = "is empty; write a schedule, which begins with \"kind: cron\", or remove the file";
            mistakes.push(whole_file(&file.label, problem));
            None
        }
        Err(found) if named => {
            mistakes.extend(found);
            None
        }
        Ok(_) | Err(_) => None,
    }
}

pub(crate) fn whole_file(file: &str, problem: impl Into<String>) -> Mistake {
    Mistake {
        file: file.to_owned(),
        line: 0,
        column: 0,
        key: String::new(),
        problem: problem.into(),
    }
}

/// The bytes as text, without a byte order mark.
fn text_of(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() > MAX_FILE {
        return Err(format!("is larger than {} KiB; make it shorter", MAX_FILE / 1024));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let line = bytes[..error.valid_up_to()]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            Err(format!("is not UTF-8 text, first in line {line}; save it as UTF-8"))
        }
    }
}

/// Prompts and skills of both layers, the overlay's first.
struct Library<'a> {
    /// Paths of the grammar that are refused for now.
    refused: &'a [&'a str],
    overlay: Option<&'a Overlay>,
    /// What was looked up, by path: many phases use the same text.
    seen: RefCell<HashMap<String, Result<Asset, String>>>,
}

impl Library<'_> {
    /// `path` is relative to the folder of workflows, in both layers; skills are elsewhere in the overlay.
    fn find(
        &self,
        what: &str,
        path: &str,
        of_overlay: impl FnOnce(&Overlay) -> Option<Result<Asset, String>>,
    ) -> Result<Asset, String> {
        if let Some(known) = self.seen.borrow().get(path) {
            return known.clone();
        }
        let found = self.overlay.and_then(of_overlay).unwrap_or_else(|| {
            let Some(file) = Shipped::get(path) else {
                return Err(self.unknown(what, path));
            };
            Ok(Asset {
                text: text_of(&file.data)?.into(),
                file: format!("{SHIPPED}{path}"),
            })
        });
        self.seen.borrow_mut().insert(path.to_owned(), found.clone());
        found
    }

    fn unknown(&self, what: &str, path: &str) -> String {
        let shipped: Vec<_> = Shipped::iter().collect();
        let (word, known): (_, Vec<&str>) = match skill_name(path) {
            Some(name) => (name, shipped.iter().filter_map(|path| skill_name(path)).collect()),
            None => {
                let prompts = shipped
                    .iter()
                    .map(AsRef::as_ref)
                    .filter(|path: &&str| path.starts_with("prompts/"));
                (path, prompts.collect())
            }
        };
        let guess = did_you_mean(word, known);
        let places = match self.overlay {
            Some(overlay) => format!("neither in {} nor among the shipped ones", overlay.root.display()),
            None => "not among the shipped ones, and no overlay folder is set".to_owned(),
        };
        format!("there is no {what} {word:?}, {places}{guess}")
    }
}

fn skill_name(path: &str) -> Option<&str> {
    path.strip_prefix("skills/")?.strip_suffix("/SKILL.md")
}

impl Assets for Library<'_> {
    fn prompt(&self, path: &str) -> Result<Asset, String> {
        self.find("prompt", path, |overlay| {
            overlay.read(
                &overlay.workflows.join("prompts"),
                path.strip_prefix("prompts/").unwrap_or(path),
            )
        })
    }

    fn skill(&self, name: &str) -> Result<Asset, String> {
        self.find("skill", &format!("skills/{name}/SKILL.md"), |overlay| {
            overlay.read(&overlay.skills, &format!("{name}/SKILL.md"))
        })
    }
}

/// The operator's folder.
struct Overlay {
    root: PathBuf,
    workflows: PathBuf,
    skills: PathBuf,
}

impl Overlay {
    fn open(root: &Path) -> Result<Self, String> {
        let overlay = Self {
            root: root.to_owned(),
            workflows: root.join("workflows"),
            skills: root.join("skills"),
        };
        match std::fs::metadata(root) {
            Err(error) => Err(format!("cannot be read as overlay folder: {error}; create it or correct \"workflows.overlay\"")),
            Ok(found) if !found.is_dir() => Err("is no folder; \"workflows.overlay\" names a folder".into()),
            Ok(_) if !overlay.workflows.is_dir() && !overlay.skills.is_dir() => Err(
                "holds neither a folder \"workflows\" nor a folder \"skills\"; create one or correct \"workflows.overlay\"".into(),
            ),
            Ok(_) => Ok(overlay),
        }
    }

    /// Its workflow files, sorted by name; nothing where the folder cannot be listed.
    fn workflow_files(&self, mistakes: &mut Vec<Mistake>) -> Option<Vec<File>> {
        if !self.workflows.is_dir() {
            return Some(Vec::new());
        }
        let label = self.workflows.display().to_string();
        let names = std::fs::read_dir(&self.workflows).and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<Result<Vec<_>, _>>()
        });
        let mut names = match names {
            Ok(names) => names,
            Err(error) => {
                mistakes.push(whole_file(
                    &label,
                    format!("cannot be listed: {error}; let Firstlight read it"),
                ));
                return None;
            }
        };
        names.sort();
        let mut files = Vec::new();
        for name in names {
            let Some(name) = name.to_str() else {
                let problem = format!("holds a file whose name is not UTF-8, {name:?}; rename it");
                mistakes.push(whole_file(&label, problem));
                continue;
            };
            let Some(stem) = workflow_stem(name) else { continue };
            let label = self.workflows.join(name).display().to_string();
            match read_within(&self.workflows, name) {
                None => {}
                Some(Err(problem)) => mistakes.push(whole_file(&label, problem)),
                Some(Ok(bytes)) => files.push(File {
                    stem: stem.to_owned(),
                    label,
                    bytes: bytes.into(),
                }),
            }
        }
        Some(files)
    }

    /// A prompt or skill; nothing when the overlay has none at this path.
    fn read(&self, folder: &Path, path: &str) -> Option<Result<Asset, String>> {
        let file = folder.join(path).display().to_string();
        let read = read_within(folder, path)?;
        Some(
            read.and_then(|bytes| {
                Ok(Asset {
                    text: text_of(&bytes)?.into(),
                    file: file.clone(),
                })
            })
            .map_err(|problem| format!("{file}: {problem}")),
        )
    }
}

/// The bytes of a file below a folder, at most one more than [`MAX_FILE`]; nothing when there is no such file. A link that leads out of the folder is
/// not followed: a prompt goes to a model, and whatever it shows goes to a comment.
fn read_within(folder: &Path, path: &str) -> Option<Result<Vec<u8>, String>> {
    let file = folder.join(path);
    if let Err(error) = std::fs::symlink_metadata(&file) {
        let absent = matches!(
            error.kind(),
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
        );
        return (!absent).then(|| Err(format!("cannot be read: {error}")));
    }
    Some(read_inside(folder, &file))
}

fn read_inside(folder: &Path, file: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}; let Firstlight read it or remove it");
    let home = folder.canonicalize().map_err(unreadable)?;
    let real = file.canonicalize().map_err(unreadable)?;
    if !real.starts_with(&home) {
        return Err(format!(
            "is a link that leads out of its folder, to {}; copy the file instead",
            real.display()
        ));
    }
    // Asked before it is opened: opening a pipe would wait for its other end.
    if !std::fs::metadata(&real).map_err(unreadable)?.is_file() {
        return Err("is no file; rename or remove it".into());
    }
    let mut bytes = Vec::new();
    let limit = MAX_FILE as u64 + 1;
    std::fs::File::open(&real)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(folder: &Path, root: &Path, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("it is readable").path();
            if path.is_dir() {
                gather(&path, root, into);
            } else {
                let name = path.strip_prefix(root).expect("it is below the root");
                into.insert(name.to_str().expect("our names are plain").to_owned());
            }
        }
    }

    #[test]
    fn the_binary_holds_the_folder_as_it_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workflows");
        let mut on_disk = BTreeSet::new();
        gather(&root, &root, &mut on_disk);
        let embedded: BTreeSet<_> = Shipped::iter().map(Cow::into_owned).collect();
        assert!(on_disk.len() > 20, "{}", on_disk.len());
        assert_eq!(embedded, on_disk);
        for path in &embedded {
            let bytes = Shipped::get(path).expect("it was listed").data;
            assert_eq!(bytes, std::fs::read(root.join(path)).expect("it is readable"), "{path}");
        }
    }
}
