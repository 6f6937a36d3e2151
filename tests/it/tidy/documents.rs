//! What the pages say is so: commands, flags, addresses, variables, paths, tests and links that they name are there.

use std::collections::BTreeSet;
use std::path::Path;

use firstlight::settings::{Settings, Sources};

use super::Gate;
use super::source::{all_files, read, root, rust, tokens};

const PAGES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "actors/README.md",
    "workflows/README.md",
    "data/README.md",
];

/// The lines of the fenced blocks of a page that are in this language, without the page's indentation.
pub(super) fn blocks(page: &str, language: &str) -> Vec<String> {
    let (mut blocks, mut open) = (Vec::new(), None::<Vec<&str>>);
    for line in page.lines().map(str::trim_start) {
        match (&mut open, line.strip_prefix("```")) {
            (Some(lines), Some("")) => {
                blocks.push(lines.join("\n"));
                open = None;
            }
            (Some(lines), _) => lines.push(line),
            (None, Some(name)) if name == language => open = Some(Vec::new()),
            (None, _) => {}
        }
    }
    blocks
}

/// The YAML blocks of a page, with their indentation.
fn indented_blocks(page: &str) -> Vec<&str> {
    page.split("\n```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("\n```").next())
        .collect()
}

/// What a page sets in single backticks.
fn quoted(page: &str) -> Vec<String> {
    let prose: String = page.split("```").step_by(2).collect::<Vec<_>>().join("\n");
    prose
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|word| word.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// The commands of a line of shell: what stands between pipes and the like, comments left out.
fn calls(line: &str) -> Vec<Vec<&str>> {
    let line = line
        .split(" # ")
        .next()
        .unwrap_or_default()
        .split("  #")
        .next()
        .unwrap_or_default();
    line.split(['|', ';', '(', ')'])
        .flat_map(|part| part.split("&&"))
        .map(|part| {
            part.split_whitespace()
                .skip_while(|word| word.contains('=') && !word.starts_with('-'))
                .collect::<Vec<_>>()
        })
        .filter(|words| !words.is_empty())
        .collect()
}

#[test]
fn every_command_is_shown_and_every_shown_command_exists() {
    // What a reader has besides Firstlight, Rust and a shell.
    const TOOLS: &[&str] = &[
        "cargo", "curl", "cut", "cat", "openssl", "sed", "export", "echo", "just", "git",
    ];
    let (mut gate, readme, command) = (Gate::default(), read("README.md"), firstlight::cli::command());
    for sub in command.get_subcommands() {
        let call = format!("firstlight {}", sub.get_name());
        gate.see(readme.contains(&call), || format!("README.md does not show `{call}`"));
        for leaf in sub.get_subcommands() {
            let call = format!("{call} {}", leaf.get_name());
            gate.see(readme.contains(&call), || format!("README.md does not show `{call}`"));
        }
        for leaf in std::iter::once(sub).chain(sub.get_subcommands()) {
            let example = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
            gate.see(example.contains("firstlight "), || {
                format!("`{} --help` shows no example", leaf.get_name())
            });
        }
    }
    for page in PAGES {
        let text = read(page);
        // A call in a sentence is held to the same as one to copy.
        let spoken = quoted(&text)
            .into_iter()
            .filter(|word| word.starts_with("firstlight ") && !word.contains(['<', '…']));
        let shown = blocks(&text, "sh").into_iter().chain(spoken).collect::<Vec<_>>();
        let lines = shown.join("\n").replace("\\\n", " ");
        for words in lines.lines().flat_map(calls) {
            let words = match words.as_slice() {
                ["cargo", "run", rest @ ..] => {
                    let at = rest
                        .iter()
                        .position(|word| *word == "--")
                        .map_or(rest.len(), |at| at + 1);
                    [&["firstlight"], &rest[at..]].concat()
                }
                words => words.to_vec(),
            };
            if words[0].starts_with(['-', '"', '\'', '$', '<', '>']) {
                continue;
            }
            if words[0] != "firstlight" {
                gate.see(TOOLS.contains(&words[0]), || {
                    format!("{page}: a reader may not have `{}`", words[0])
                });
                continue;
            }
            let (mut at, mut flags) = (&command, BTreeSet::new());
            let global: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
            for word in &words[1..] {
                if let Some(flag) = word.strip_prefix("--") {
                    flags.insert(flag.split('=').next().unwrap_or_default());
                } else if let Some(sub) = at.find_subcommand(word) {
                    at = sub;
                } else if at.has_subcommands() && at.get_name() != "firstlight" {
                    gate.see(false, || format!("{page}: there is no `{}`", words.join(" ")));
                }
            }
            let named = words
                .get(1)
                .is_none_or(|word| word.starts_with('-') || command.find_subcommand(word).is_some());
            gate.see(named, || format!("{page}: there is no `{}`", words.join(" ")));
            let longs: Vec<_> = at
                .get_arguments()
                .filter_map(clap::Arg::get_long)
                .chain(global)
                .collect();
            for flag in flags {
                gate.see(longs.contains(&flag), || {
                    format!("{page}: `{}` knows no --{flag}", at.get_name())
                });
            }
        }
    }
    gate.close(20);
}

/// Addresses of the HTTP server as the table of routes has them, `{id}` and the like for what varies.
fn routes() -> Vec<String> {
    let source = rust()
        .into_iter()
        .find(|source| source.name == "src/http/routes.rs")
        .expect("the table of routes");
    let (mut scope, mut routes) = (String::new(), Vec::new());
    let mut literals = source.literals.iter();
    let words = tokens(&source.code);
    for (at, word) in words.iter().enumerate() {
        // The literals come in the order of the quotes.
        if *word == "\"" && words.get(at + 1) == Some(&"\"") {
            let literal = literals.next().expect("a literal for each pair of quotes");
            match words[..at] {
                [.., "scope", "("] => scope.clone_from(literal),
                [.., "route", "("] => routes.push(format!("{scope}{literal}")),
                _ => {}
            }
        }
    }
    assert!(routes.len() >= 10, "the table of routes was not understood: {routes:?}");
    routes
}

#[test]
fn every_address_that_a_page_names_is_a_route() {
    let (mut gate, routes) = (Gate::default(), routes());
    for page in PAGES {
        let text = read(page);
        for (at, _) in text.match_indices('/') {
            let ours = text[..at].ends_with("localhost:8644")
                || text[..at].ends_with("bot.example.com")
                || text[..at].ends_with(['`', ' ']);
            let path: String = text[at..]
                .chars()
                .take_while(|c| !c.is_whitespace() && !"`\"'?,".contains(*c))
                .collect();
            let server = ["/api/", "/admin/", "/webhooks/", "/health", "/ready", "/metrics"]
                .iter()
                .any(|base| path.starts_with(base));
            if !ours || !server {
                continue;
            }
            let known = routes.iter().any(|route| {
                let (ours, theirs): (Vec<_>, Vec<_>) = (route.split('/').collect(), path.split('/').collect());
                ours.len() == theirs.len()
                    && ours
                        .iter()
                        .zip(&theirs)
                        .all(|(ours, theirs)| ours.starts_with('{') || ours == theirs)
            });
            // `<delivery id>` is cut at its blank.
            let known = known
                || routes.iter().any(|route| {
                    path.split_once('<')
                        .is_some_and(|(base, _)| route.starts_with(&format!("{base}{{")))
                });
            gate.see(known, || format!("{page}: no route is called {path}"));
        }
    }
    gate.close(8);
}

#[test]
fn every_variable_that_a_page_names_is_a_setting() {
    let source = rust();
    let literals: BTreeSet<&str> = source
        .iter()
        .filter(|source| !source.flow.is_empty())
        .flat_map(|source| source.literals.iter().map(String::as_str))
        .collect();
    let mut gate = Gate::default();
    for page in PAGES.iter().filter(|page| !page.starts_with("workflows")) {
        let text = read(page);
        let shell = blocks(&text, "sh").join("\n");
        let exported = shell
            .lines()
            .filter_map(|line| line.strip_prefix("export "))
            .flat_map(|line| line.split_whitespace().filter_map(|word| word.split_once('=')));
        let names = exported.map(|(name, _)| name.to_owned()).chain(quoted(&text));
        let is_variable =
            |name: &String| name.contains('_') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        for name in names.filter(is_variable) {
            gate.see(literals.contains(name.as_str()), || {
                format!("{page}: {name} sets nothing")
            });
        }
    }
    gate.close(8);
}

#[test]
fn every_invariant_names_the_test_that_holds_it() {
    let (mut gate, page, sources) = (Gate::default(), read("ARCHITECTURE.md"), rust());
    let tests: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| {
            let words = tokens(&source.code);
            let names: Vec<&str> = words
                .windows(2)
                .filter(|window| window[0] == "fn")
                .map(|window| window[1])
                .collect();
            names
        })
        .collect();
    for paragraph in page
        .split("\n\n")
        .map(str::trim)
        .filter(|paragraph| paragraph.starts_with("**Invariant:**"))
    {
        let named: Vec<String> = quoted(paragraph)
            .into_iter()
            .filter(|word| word.matches('_').count() >= 2 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            .collect();
        let first: String = paragraph.chars().take(80).collect();
        gate.see(!named.is_empty(), || {
            format!("ARCHITECTURE.md: no test is named for: {first}")
        });
        for name in named {
            gate.see(tests.contains(name.as_str()), || {
                format!("ARCHITECTURE.md: there is no test `{name}`")
            });
        }
    }
    gate.close(15);
}

/// What a link calls the headings of a page: lower case, hyphens for blanks, no other marks.
fn headings(page: &str) -> Vec<String> {
    page.split("\n```")
        .step_by(2)
        .flat_map(str::lines)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            words
                .chars()
                .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
                .collect()
        })
        .collect()
}

#[test]
fn every_path_and_link_on_a_page_leads_somewhere() {
    let mut gate = Gate::default();
    let pages: Vec<String> = all_files().into_iter().filter(|name| name.ends_with(".md")).collect();
    // What comes into being while Firstlight runs.
    let kept = ["data/", "runs/", "work/", "secrets/", "mine/"];
    let there = |page: &str, path: &str| {
        let beside = root().join(page).parent().expect("a folder").join(path);
        let rooms = ["", "actors", "src", "tests/it"].map(|base| root().join(base).join(path));
        beside.exists() || rooms.iter().any(|path| path.exists())
    };
    for page in &pages {
        let text = read(page);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://");
            let beside = root().join(page).parent().expect("a folder").join(target);
            gate.see(elsewhere || beside.exists(), || {
                format!("{page}: the link to {target} leads nowhere")
            });
            let link = text[at + 2..].split(')').next().unwrap_or_default();
            if let Some((_, anchor)) = link.split_once('#').filter(|_| !link.contains("://")) {
                let to = if target.is_empty() {
                    page.clone()
                } else {
                    target.to_owned()
                };
                let met = headings(&read(&to)).iter().any(|heading| heading == anchor);
                gate.see(met, || format!("{page}: {to} has no heading #{anchor}"));
            }
        }
        if !PAGES.contains(&page.as_str()) || page.starts_with("workflows") {
            continue;
        }
        for path in quoted(&text) {
            let ending = Path::new(&path)
                .extension()
                .is_some_and(|ending| ["rs", "md", "yaml", "toml", "sql"].iter().any(|known| ending == *known));
            let looks_like_one = (path.ends_with('/') || (ending && path.contains('/')))
                && !path.contains(['<', '*', ' ', ':'])
                && !path.starts_with(['/', '.']);
            if looks_like_one && !kept.iter().any(|folder| path.starts_with(folder)) {
                gate.see(there(page, &path), || format!("{page}: there is no {path}"));
            }
        }
    }
    gate.close(25);
}

#[test]
fn every_settings_file_on_a_page_is_without_mistakes() {
    let mut gate = Gate::default();
    for page in PAGES {
        for block in indented_blocks(&read(page)) {
            let Some(settings) = block.strip_prefix("# firstlight.yaml\n") else {
                continue;
            };
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::create_dir_all(folder.path().join("mine/workflows")).expect("a folder");
            std::fs::write(folder.path().join("firstlight.yaml"), settings).expect("a file");
            let sources = Sources {
                cwd: folder.path().to_owned(),
                ..Sources::default()
            };
            let mistakes = match Settings::load(&sources) {
                Ok(loaded) => firstlight::boot::load_workflows(&loaded).err().unwrap_or_default(),
                Err(mistakes) => mistakes,
            };
            gate.see(mistakes.is_empty(), || format!("{page}: {mistakes:?}\n{settings}"));
        }
    }
    gate.close(1);
}

#[test]
fn the_checks_of_a_change_run_the_commands_that_a_newcomer_runs() {
    use std::os::unix::fs::PermissionsExt;
    let (mut gate, checks) = (Gate::default(), read(".ci/run"));
    let mode = std::fs::metadata(root().join(".ci/run"))
        .expect("the checks")
        .permissions()
        .mode();
    gate.see(mode & 0o111 == 0o111, || ".ci/run cannot be executed".to_owned());
    let readme = blocks(&read("README.md"), "sh");
    assert_eq!(readme[..2], ["cargo run --release -- demo", "cargo test --workspace"]);
    // Flags may stand between, never another command.
    for command in readme[..2]
        .iter()
        .map(String::as_str)
        .chain(check_of_the_justfile().lines())
    {
        let runs = checks.lines().any(|line| {
            let mut words = line.split_whitespace();
            command.split_whitespace().all(|word| words.any(|there| there == word))
        });
        gate.see(runs, || format!(".ci/run does not run `{command}`"));
    }
    gate.close(6);
}

/// What `just check` runs, one command to a line.
fn check_of_the_justfile() -> String {
    let justfile = read("justfile");
    let (_, recipe) = justfile.split_once("\ncheck:\n").expect("`just check`");
    recipe
        .lines()
        .take_while(|line| line.starts_with(' '))
        .map(str::trim)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The rows of the tables of a section, each as its cells.
fn rows<'a>(page: &'a str, section: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = page
        .split_once(&format!("\n## {section}\n"))
        .unwrap_or_else(|| panic!("the section \"{section}\""));
    section
        .split("\n## ")
        .next()
        .unwrap_or_default()
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| you "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn what_the_table_of_troubles_quotes_is_what_the_service_says() {
    let (mut gate, sources) = (Gate::default(), rust());
    let literals: Vec<&str> = sources
        .iter()
        .filter(|source| !source.flow.is_empty() && source.name != "src/fixtures.rs")
        .flat_map(|source| source.literals.iter().map(String::as_str))
        .collect();
    // A header's name is a constant of the HTTP crate.
    let headers = ["Retry-After"];
    for row in rows(&read("README.md"), "When something is wrong") {
        for said in quoted(row[0]).iter().filter(|said| !headers.contains(&said.as_str())) {
            let parts: Vec<&str> = said.split('…').map(str::trim).filter(|part| !part.is_empty()).collect();
            let met = literals.iter().any(|literal| {
                let mut rest = *literal;
                parts.iter().all(|part| {
                    let found = rest.split_once(part);
                    rest = found.map_or(rest, |(_, after)| after);
                    found.is_some()
                })
            });
            gate.see(met, || format!("README.md: nothing says \"{said}\""));
        }
    }
    gate.close(7);
}

#[test]
fn the_orders_on_the_page_are_the_orders_that_there_are() {
    let source = read("actors/dispatch/commands.rs");
    let (_, list) = source.split_once("const COMMANDS").expect("the list of commands");
    let words = list
        .split("];")
        .next()
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.strip_suffix("\"),"))
        .filter_map(|entry| entry.split_once("\", \""));
    let real: Vec<(&str, &str)> = words.collect();
    let readme = read("README.md");
    let shown: Vec<(&str, &str)> = rows(&readme, "Talk to it")
        .into_iter()
        .map(|row| {
            let order = row[0].trim_matches('`').strip_prefix("@last-light ").unwrap_or(row[0]);
            (order.split(' ').next().unwrap_or(order), row[1])
        })
        .collect();
    assert!(real.len() >= 8, "the list of commands was not understood: {real:?}");
    assert_eq!(shown, real);
}
