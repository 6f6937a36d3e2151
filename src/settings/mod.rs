//! Settings: defaults, file, environment and flags become one checked value. Opens no connection, starts nothing.

mod check;
mod environment;
mod layers;
mod sections;
mod show;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use actors::domain::Mistake;
use serde::Serialize;

pub use environment::names as environment_names;
pub use sections::*;
pub use show::Shown;
pub use units::*;

use layers::Layers;

/// `config/default.yaml`: every key, documented, with its default.
pub const DEFAULTS: &str = include_str!("../../config/default.yaml");

/// How mistakes and provenance name [`DEFAULTS`].
pub const DEFAULTS_NAME: &str = "config/default.yaml";

/// The settings file that is read when none is named.
pub const FILE: &str = "firstlight.yaml";

/// Everything that settings are made from. Nothing else is asked: neither the process's environment nor its folder.
#[derive(Clone, Default)]
pub struct Sources {
    /// What the command line says.
    pub flags: Flags,
    /// The environment. Names that are no setting are ignored.
    pub env: BTreeMap<String, String>,
    /// The folder that relative paths start from, absolute.
    pub cwd: PathBuf,
}

impl Sources {
    /// The sources of this process.
    ///
    /// # Errors
    /// When the current folder cannot be told.
    pub fn of_process(flags: Flags) -> std::io::Result<Self> {
        Ok(Self {
            flags,
            // What is not UTF-8 becomes U+FFFD here and a mistake when a setting is read from it.
            env: std::env::vars_os()
                .map(|(name, value)| {
                    (
                        name.to_string_lossy().into_owned(),
                        value.to_string_lossy().into_owned(),
                    )
                })
                .collect(),
            cwd: std::env::current_dir()?,
        })
    }
}

impl fmt::Debug for Sources {
    /// Shows no value of the environment: any of them may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("flags", &self.flags)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("cwd", &self.cwd)
            .finish()
    }
}

/// Settings as flags of the command line.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--listen ADDR`.
    pub listen: Option<String>,
    /// `--state-dir DIR`.
    pub state_dir: Option<PathBuf>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "layer", rename_all = "lowercase")]
pub enum Origin {
    /// `config/default.yaml`.
    Default,
    /// A settings file.
    File {
        /// As the operator knows it.
        path: String,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable, or two (`HOST, WEBHOOK_PORT`).
    Env {
        /// Its name.
        name: String,
    },
    /// A flag.
    Flag {
        /// With its dashes.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Env { name } => write!(f, "environment {name}"),
            Self::Flag { name } => f.write_str(name),
        }
    }
}

/// Settings with the place each value came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Origin by key path (`server.listen`), for every key.
    pub provenance: BTreeMap<String, Origin>,
    /// The layers that were read, in words, lowest first.
    pub read: Vec<String>,
    places: Places,
}

impl Loaded {
    /// A mistake at the place where a key was set, for checks that only other rooms can make.
    ///
    /// `key` is a path as in [`Loaded::provenance`], with `[2]` behind it for one item of a list.
    #[must_use]
    pub fn mistake(&self, key: &str, problem: impl Into<String>) -> Mistake {
        self.places.mistake(key, problem)
    }
}

impl Settings {
    /// Reads all layers and checks what they make together.
    ///
    /// A pure function of its sources and of the files they name: the settings file, and what is looked at to check a
    /// setting (the App's key, the overlay folder). Writes nothing.
    ///
    /// # Errors
    /// Every mistake of every layer, each with its file and line, variable or flag. None of them shows a secret.
    pub fn load(sources: &Sources) -> Result<Loaded, Vec<Mistake>> {
        let mut layers = Layers::new();
        layers.file(sources);
        layers.environment(&sources.env);
        layers.flags(&sources.flags);
        let (settings, report) = layers.finish(&sources.cwd);
        let mut mistakes = report.mistakes;
        if report.complete {
            check::all(&settings, &report.places, &report.broken, &mut mistakes);
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let keys = show::flatten(&settings).into_iter().map(|(key, _)| key);
        let provenance = keys.map(|key| (key.clone(), report.places.origin(&key))).collect();
        Ok(Loaded {
            settings,
            provenance,
            read: report.read,
            places: report.places,
        })
    }
}

/// Where each key was set, down to the items of lists.
#[derive(Debug, Clone, Default)]
struct Places(BTreeMap<String, Origin>);

impl Places {
    fn set(&mut self, key: impl Into<String>, origin: Origin) {
        self.0.insert(key.into(), origin);
    }

    /// Forgets a key and the items of its list: a higher layer has replaced them.
    fn forget(&mut self, key: &str) {
        self.0.retain(|known, _| {
            known
                .strip_prefix(key)
                .is_none_or(|rest| !rest.is_empty() && !rest.starts_with('['))
        });
    }

    fn origin(&self, key: &str) -> Origin {
        let list = key.rfind('[').map_or(key, |at| &key[..at]);
        self.0
            .get(key)
            .or_else(|| self.0.get(list))
            .cloned()
            .unwrap_or(Origin::Default)
    }

    fn mistake(&self, key: &str, problem: impl Into<String>) -> Mistake {
        mistake(&self.origin(key), key, problem)
    }
}

/// A mistake in a value from this origin.
fn mistake(origin: &Origin, key: &str, problem: impl Into<String>) -> Mistake {
    let (file, line) = match origin {
        Origin::Default => (DEFAULTS_NAME.to_owned(), 0),
        Origin::File { path, line } => (path.clone(), *line),
        Origin::Env { name } => (format!("environment {name}"), 0),
        Origin::Flag { name } => (name.clone(), 0),
    };
    Mistake {
        file,
        line,
        column: 0,
        key: key.to_owned(),
        problem: problem.into(),
    }
}

/// A path that does not depend on the current folder; `.` in it is dropped.
fn absolute(cwd: &Path, path: &Path) -> PathBuf {
    cwd.join(path).components().collect()
}
