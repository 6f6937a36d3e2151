//! Reads workflow files from the binary and from the overlay folder into a catalogue. The only part of this room that
//! touches folders; knows no settings and no actor.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

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
    let mut mistakes = Vec::new();
    let overlay = overlay.and_then(|root| match Overlay::open(root) {
        Ok(overlay) => Some(overlay),
        Err(problem) => {
            mistakes.push(whole_file(&root.display().to_string(), problem));
            None
        }
    });
    let library = Library {
        refused,
        overlay: overlay.as_ref(),
        seen: RefCell::default(),
    };
    let mut workflows = read_layer(shipped_files(), &library, &mut mistakes);
    if let Some(overlay) = &overlay {
        let files = overlay.workflow_files(&mut mistakes);
        workflows.extend(read_layer(files, &library, &mut mistakes));
    }
    mistakes.sort();
    mistakes.dedup();
    if mistakes.is_empty() {
        Ok(Catalog { workflows })
    } else {
        Err(mistakes)
    }
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

/// Reads the files of one layer. What is wrong is added to the mistakes.
fn read_layer(files: Vec<File>, library: &Library<'_>, mistakes: &mut Vec<Mistake>) -> BTreeMap<WorkflowName, Entry> {
    let mut workflows: BTreeMap<WorkflowName, Entry> = BTreeMap::new();
    for file in files {
        match read_file(&file, library) {
            Ok(None) => {}
            Err(found) => mistakes.extend(found),
            Ok(Some(read)) => {
                let name = read.workflow.name.clone();
                if let Some(first) = workflows.get(&name) {
                    mistakes.push(Mistake {
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
                workflows.insert(
                    name,
                    Entry {
                        workflow: Arc::new(read.workflow),
                        runtimes: read.runtimes,
                    },
                );
            }
        }
    }
    workflows
}

/// One file; nothing when it is a schedule.
fn read_file(file: &File, library: &Library<'_>) -> Result<Option<schema::Read>, Vec<Mistake>> {
    let wrong = |problem: String| vec![whole_file(&file.label, problem)];
    let text = text_of(&file.bytes).map_err(wrong)?;
    let Some(root) = yaml::parse(&file.label, text)? else {
        return Err(wrong(format!(
            "is empty; write a workflow, which begins with \"name: {}\", or remove the file",
            file.stem
        )));
    };
    let is_schedule = root.get("kind").and_then(yaml::Node::as_str) == Some("cron");
    if is_schedule || file.stem.starts_with("cron-") {
        return Ok(None);
    }
    let source = Source {
        file: &file.label,
        stem: &file.stem,
        text,
    };
    schema::read(source, &root, library, library.refused).map(Some)
}

fn whole_file(file: &str, problem: impl Into<String>) -> Mistake {
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

    /// Its workflow files, sorted by name.
    fn workflow_files(&self, mistakes: &mut Vec<Mistake>) -> Vec<File> {
        if !self.workflows.is_dir() {
            return Vec::new();
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
                return Vec::new();
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
        files
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
    use std::collections::BTreeSet;

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
