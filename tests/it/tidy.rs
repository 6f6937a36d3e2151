//! The walls of the house, held as plain tests over its own text. Each counts what it saw and fails at zero. Runs nothing of the house.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the project below these folders whose name ends so, with its text; target folders and hidden ones are left out.
fn files(folders: &[&str], ending: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap_or_else(|_| panic!("{} is there", folder.display())) {
            let path = entry.expect("readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    walk(&path, ending, found);
                }
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), ending, &mut found);
    }
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(root())
                .expect("below the root")
                .to_string_lossy()
                .replace('\\', "/");
            (name, std::fs::read_to_string(&path).unwrap_or_default())
        })
        .collect()
}

fn rust() -> Vec<(String, String)> {
    let folders: Vec<&str> = ["actors", "src", "tests", "benches"]
        .into_iter()
        .filter(|f| root().join(f).exists())
        .collect();
    files(&folders, ".rs")
}

/// The part of a file that is not its tests.
fn flow(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

/// Whether a file of the inside is made of tests only.
fn is_test_file(name: &str) -> bool {
    name.starts_with("tests/")
        || name.ends_with("/tests.rs")
        || name.ends_with("/suite.rs")
        || name.starts_with("benches/")
}

fn no_faults(seen: usize, faults: &[String]) {
    assert!(seen > 0, "nothing was inspected: this gate is blind");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_file_has_its_door_sign() {
    let mut faults = Vec::new();
    let sources = rust();
    for (name, text) in &sources {
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") || first.split_whitespace().count() < 6 {
            faults.push(format!("{name}: its first line does not say who lives here: {first:?}"));
        }
    }
    let mut configured = files(&["config", "workflows", "actors/store/migrations"], "");
    configured.retain(|(name, _)| [".yaml", ".sql"].iter().any(|ending| name.ends_with(ending)));
    for tool in [
        ".ci/run",
        ".clippy.toml",
        ".rustfmt.toml",
        "Cargo.toml",
        "actors/Cargo.toml",
        "justfile",
    ] {
        configured.push((
            tool.into(),
            std::fs::read_to_string(root().join(tool)).expect("it is there"),
        ));
    }
    for (name, text) in &configured {
        let signed = text
            .lines()
            .take(2)
            .any(|line| line.starts_with("# ") || line.starts_with("-- "));
        if !signed {
            faults.push(format!("{name}: it does not begin with what it is for"));
        }
    }
    assert!(configured.len() > 15, "the configuration was not found");
    no_faults(sources.len(), &faults);
}

/// Which rooms each room may name. `house` holds exit bells, `yaml` reads files with their lines: both know no actor.
const NEIGHBOURS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("house", &[]),
    ("domain", &[]),
    ("yaml", &["domain"]),
    ("messages", &["domain"]),
    ("connectors", &["domain", "messages"]),
    ("github", &["clock", "connectors", "domain", "house", "messages"]),
    ("outbound", &["clock", "domain", "house", "messages"]),
    ("workflows", &["domain", "yaml"]),
    // `connectors` for the knock at its door.
    (
        "dispatch",
        &["clock", "connectors", "domain", "house", "messages", "workflows"],
    ),
    ("runs", &["clock", "domain", "house", "messages", "workflows"]),
    ("store", &["clock", "domain", "messages"]),
    // Alone names every actor.
    (
        "system",
        &[
            "clock",
            "connectors",
            "dispatch",
            "github",
            "house",
            "messages",
            "outbound",
            "runs",
            "store",
        ],
    ),
];

/// Which rooms of the inside and of the outside each room of the outside may name.
const OUTSIDE: &[(&str, &[&str], &[&str])] = &[
    ("main", &[], &[]),
    ("lib", &[], &[]),
    ("logging", &[], &["settings"]),
    ("secrets", &["domain"], &[]),
    ("settings", &["dispatch", "domain", "yaml"], &[]),
    // `store` for the door that each worker opens beside its sockets, `github` for the connector that lives there.
    (
        "http",
        &["clock", "connectors", "domain", "github", "messages", "store"],
        &[],
    ),
    // Opens the house, so it names every room that has settings.
    (
        "boot",
        &[
            "clock",
            "connectors",
            "dispatch",
            "domain",
            "github",
            "house",
            "runs",
            "store",
            "system",
            "workflows",
        ],
        &["http", "secrets", "settings"],
    ),
    (
        "cli",
        &["clock", "domain", "github", "yaml"],
        &["boot", "demo", "logging", "settings"],
    ),
    (
        "demo",
        &["clock", "domain", "github"],
        &["boot", "cli", "logging", "settings"],
    ),
];

/// The first path segment after each `prefix::`, outside comments.
fn named_rooms(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (at, found) in line.match_indices(&format!("{prefix}::")) {
            let before = line[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = &line[at + found.len()..];
            let list = rest.strip_prefix('{').map_or(rest, |list| list);
            let first: String = list
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            if rest.starts_with('{') {
                for part in list.trim_end_matches(|c| c != '}').split(',') {
                    let part: String = part
                        .trim()
                        .chars()
                        .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                        .collect();
                    rooms.insert(part);
                }
            } else {
                rooms.insert(first);
            }
        }
    }
    rooms.remove("");
    rooms
}

fn room_of<'a>(name: &'a str, base: &str) -> &'a str {
    name.strip_prefix(base)
        .unwrap_or(name)
        .split('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".rs")
}

#[test]
fn rooms_of_the_inside_know_only_their_neighbours() {
    let rooms: BTreeMap<_, _> = NEIGHBOURS.iter().copied().collect();
    let (mut faults, mut seen) = (Vec::new(), 0);
    for (name, text) in files(&["actors"], ".rs") {
        let room = room_of(&name, "actors/");
        if room == "lib" || room == "build" {
            continue;
        }
        let Some(may) = rooms.get(room) else {
            faults.push(format!(
                "{name}: the room \"{room}\" has no row in the table of neighbours"
            ));
            continue;
        };
        let part = if is_test_file(&name) { "" } else { flow(&text) };
        for other in named_rooms(part, "crate") {
            seen += 1;
            if other != room && rooms.contains_key(other.as_str()) && !may.contains(&other.as_str()) {
                faults.push(format!("{name}: {room} must not know {other}"));
            }
        }
    }
    no_faults(seen, &faults);
}

#[test]
fn rooms_of_the_outside_know_only_their_neighbours() {
    let (mut faults, mut seen) = (Vec::new(), 0);
    for (name, text) in files(&["src"], ".rs") {
        let room = room_of(&name, "src/");
        let Some((_, inside, outside)) = OUTSIDE.iter().find(|(known, _, _)| *known == room) else {
            faults.push(format!(
                "{name}: the room \"{room}\" has no row in the table of neighbours"
            ));
            continue;
        };
        let text = flow(&text);
        for other in named_rooms(text, "actors") {
            seen += 1;
            if !inside.contains(&other.as_str()) {
                faults.push(format!("{name}: {room} must not know actors::{other}"));
            }
        }
        for other in named_rooms(text, "crate") {
            seen += 1;
            let is_room = OUTSIDE.iter().any(|(known, _, _)| *known == other);
            if other != room && is_room && !outside.contains(&other.as_str()) {
                faults.push(format!("{name}: {room} must not know {other}"));
            }
        }
    }
    no_faults(seen, &faults);
}

#[test]
fn pure_files_stay_pure() {
    const PURE: &[&str] = &[
        "actors/domain/",
        "actors/dispatch/admission.rs",
        "actors/dispatch/commands.rs",
        "actors/dispatch/router.rs",
        "actors/github/limits.rs",
        "actors/github/marker.rs",
        "actors/github/normalize",
        "actors/github/verify.rs",
        "actors/outbound/backoff.rs",
        "actors/runs/facts.rs",
        "actors/runs/phase.rs",
        "actors/workflows/check.rs",
        "actors/workflows/schema.rs",
        "actors/workflows/template.rs",
        "actors/yaml.rs",
        "src/http/auth/throttle.rs",
        "src/http/auth/tokens.rs",
    ];
    const IMPURE: &[&str] = &[
        "actix",
        "tokio",
        "std::fs",
        "TcpStream",
        "std::env",
        "Clock",
        "rusqlite",
        "awc",
    ];
    let (mut faults, mut seen) = (Vec::new(), BTreeSet::new());
    for (name, text) in rust() {
        let Some(pure) = PURE.iter().find(|pure| name.starts_with(**pure)) else {
            continue;
        };
        seen.insert(*pure);
        for line in flow(&text)
            .lines()
            .filter(|line| line.starts_with("use ") || line.contains("::"))
        {
            let code = line.split("//").next().unwrap_or_default();
            for impure in IMPURE {
                let word = code.match_indices(impure).any(|(at, _)| {
                    let edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                    edge(code[..at].chars().next_back()) && edge(code[at + impure.len()..].chars().next())
                });
                if word {
                    faults.push(format!("{name}: a pure file names {impure}: {}", line.trim()));
                }
            }
        }
    }
    let blind: Vec<_> = PURE.iter().filter(|pure| !seen.contains(**pure)).collect();
    assert!(blind.is_empty(), "these are not there any more: {blind:?}");
    no_faults(seen.len(), &faults);
}

#[test]
fn only_the_store_speaks_sql() {
    const SQL: &[&str] = &[
        "SELECT ",
        "INSERT INTO",
        "UPDATE ",
        "DELETE FROM",
        "PRAGMA ",
        "CREATE TABLE",
    ];
    let (mut faults, mut seen) = (Vec::new(), 0);
    for (name, text) in rust() {
        if name == "tests/it/tidy.rs" {
            continue;
        }
        let speaks = text.contains("rusqlite") || SQL.iter().any(|word| text.contains(word));
        if speaks && name.starts_with("actors/store/") {
            seen += 1;
        } else if speaks {
            faults.push(format!(
                "{name}: only actors/store may name the database crate or hold SQL"
            ));
        }
    }
    no_faults(seen, &faults);
}

/// The structs and enums of a file whose attributes derive `Message`, with their docs.
fn messages(text: &str) -> Vec<(String, String)> {
    let (mut found, mut docs, mut is_message) = (Vec::new(), String::new(), false);
    for line in text.lines() {
        let line = line.trim();
        if let Some(doc) = line.strip_prefix("///") {
            docs.push_str(doc);
            docs.push('\n');
        } else if line.starts_with("#[") {
            is_message |= line.starts_with("#[derive(") && line.contains("Message");
        } else {
            if let Some(rest) = line
                .strip_prefix("pub struct ")
                .or_else(|| line.strip_prefix("pub enum "))
                && is_message
            {
                let name = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
                found.push((name, docs.clone()));
            }
            docs.clear();
            is_message = false;
        }
    }
    found
}

fn catalogue() -> Vec<(String, String, String)> {
    files(&["actors/messages"], ".rs")
        .into_iter()
        .flat_map(|(file, text)| {
            messages(&text)
                .into_iter()
                .map(move |(name, docs)| (file.clone(), name, docs))
        })
        .collect()
}

#[test]
fn every_message_says_who_sends_it_who_handles_it_and_what_comes_back() {
    let catalogue = catalogue();
    let mut faults = Vec::new();
    for (file, name, docs) in &catalogue {
        for part in ["Sender:", "Handler:", "Answer:"] {
            if !docs.contains(part) {
                faults.push(format!("{file}: {name} does not say \"{part}\""));
            }
        }
    }
    no_faults(catalogue.len(), &faults);
}

#[test]
fn the_message_map_lists_every_message_and_nothing_else() {
    let map = std::fs::read_to_string(root().join("actors/README.md")).expect("the map is there");
    let listed: BTreeSet<String> = map
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
        .collect();
    let real: BTreeSet<String> = catalogue().into_iter().map(|(_, name, _)| name).collect();
    assert!(!real.is_empty());
    assert_eq!(listed, real);
}

#[test]
fn nothing_is_unfinished_or_forbidden() {
    // Clippy denies most of these, too; here they are denied in tests and attributes as well.
    const NOWHERE: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "#[ignore", ".do_send("];
    let (mut faults, sources) = (Vec::new(), rust());
    for (name, text) in sources.iter().filter(|(name, _)| name != "tests/it/tidy.rs") {
        for word in NOWHERE {
            if text.contains(word) {
                faults.push(format!("{name}: {word} has no place here"));
            }
        }
        if !is_test_file(name) && flow(text).contains(".unwrap()") {
            faults.push(format!(
                "{name}: say with expect which invariant holds, or answer an error"
            ));
        }
        // A fake clock may implement waiting; nobody may wait on a guess.
        let sleeps = text.contains("sleep(") && !text.contains("fn sleep(");
        if name.starts_with("tests/") && sleeps {
            faults.push(format!("{name}: a test waits for quiet, never for a while"));
        }
    }
    no_faults(sources.len(), &faults);
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let mut texts = rust();
    texts.extend(files(&["config", "workflows", "data", ".ci"], ""));
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "actors/README.md",
        "justfile",
        "Cargo.toml",
    ] {
        texts.push((
            name.into(),
            std::fs::read_to_string(root().join(name)).expect("it is there"),
        ));
    }
    let mut faults = Vec::new();
    for (name, text) in texts.iter().filter(|(name, _)| name != "tests/it/tidy.rs") {
        for word in [
            "/work/",
            "/root/",
            "../shared",
            "registry.npmjs",
            "index.crates",
            "pypi.org",
        ] {
            if text.contains(word) {
                faults.push(format!("{name}: names {word}"));
            }
        }
    }
    no_faults(texts.len(), &faults);
}

#[test]
fn versions_and_lints_are_written_once() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect("it is there");
    assert!(root().join("Cargo.lock").exists());
    let workspace = read("Cargo.toml");
    let (mut seen, mut faults) = (0, Vec::new());
    for (manifest, sources) in [
        ("Cargo.toml", ["src", "tests"].as_slice()),
        ("actors/Cargo.toml", &["actors"]),
    ] {
        let text = read(manifest);
        let code: String = files(sources, ".rs").into_iter().map(|(_, text)| text).collect();
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
            }
            if !matches!(
                section,
                "[dependencies]" | "[dev-dependencies]" | "[build-dependencies]"
            ) {
                continue;
            }
            let Some((name, rest)) = line.split_once(['.', ' ']) else {
                continue;
            };
            if name.is_empty() || name.starts_with('#') || name.starts_with('[') {
                continue;
            }
            seen += 1;
            let inherited = rest.starts_with("workspace = true") || rest.contains("path = ");
            if !inherited {
                faults.push(format!("{manifest}: {name} has a version of its own"));
            }
            let krate = name.replace('-', "_");
            if !code.contains(&format!("{krate}::")) && !code.contains(&format!("use {krate}")) {
                faults.push(format!("{manifest}: {name} is listed and not used"));
            }
        }
        if !text.contains("[lints]\nworkspace = true") {
            faults.push(format!("{manifest}: it does not take the lints of the workspace"));
        }
    }
    assert!(workspace.contains("[workspace.lints.rust]") && workspace.contains("[workspace.lints.clippy]"));
    no_faults(seen, &faults);
}

#[test]
fn the_readme_knows_every_command_and_its_links_lead_somewhere() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("it is there");
    let command = firstlight::cli::command();
    let (mut seen, mut faults) = (0, Vec::new());
    for sub in command.get_subcommands() {
        seen += 1;
        if !readme.contains(&format!("firstlight {}", sub.get_name())) {
            faults.push(format!("README.md does not show `firstlight {}`", sub.get_name()));
        }
        let mut leaves = vec![sub];
        leaves.extend(sub.get_subcommands());
        for leaf in leaves {
            let example = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
            if !example.contains("firstlight ") {
                faults.push(format!("`{} --help` shows no example", leaf.get_name()));
            }
        }
    }
    // What the shell blocks call exists.
    let known: BTreeSet<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    for line in readme
        .lines()
        .filter(|line| line.trim_start().starts_with("firstlight "))
    {
        let word = line.split_whitespace().nth(1).unwrap_or_default();
        seen += 1;
        if !word.starts_with('-') && !known.contains(word) {
            faults.push(format!("README.md calls `firstlight {word}`, which does not exist"));
        }
    }
    for (name, text) in files(&["actors", "workflows", "data"], ".md").into_iter().chain(
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| {
            (
                name.to_owned(),
                std::fs::read_to_string(root().join(name)).expect("it is there"),
            )
        }),
    ) {
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || name.contains("prompts/") || name.contains("skills/") {
                continue;
            }
            seen += 1;
            let folder = root().join(&name).parent().expect("a folder").to_owned();
            if !folder.join(target).exists() {
                faults.push(format!("{name}: the link to {target} leads nowhere"));
            }
        }
    }
    no_faults(seen, &faults);
}

#[test]
fn top_level_names_are_the_agreed_ones() {
    const AGREED: &[&str] = &[
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "actors",
        "benches",
        "config",
        "data",
        "justfile",
        "src",
        "target",
        "tests",
        "workflows",
    ];
    let names: Vec<String> = std::fs::read_dir(root())
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "firstlight.yaml")
        .collect();
    let strange: Vec<_> = names.iter().filter(|name| !AGREED.contains(&name.as_str())).collect();
    assert!(names.len() > 10, "the root was not read");
    assert!(strange.is_empty(), "{strange:?}");
}
