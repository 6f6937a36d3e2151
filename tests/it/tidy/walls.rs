//! Who may know whom, and what may stand nowhere. Every exception is an entry with its reason, and an entry that is not needed is a fault.

use std::collections::{BTreeMap, BTreeSet};

use super::Gate;
use super::source::{Source, all_files, named_after, named_by_climbing, read, rust, tokens};

/// A place where a rule does not hold: file (or folder, with its `/`), what it names, why it may.
type Exceptions = &'static [(&'static str, &'static str, &'static str)];

/// Whether an exception covers this, which is then noted as needed.
fn excepted(table: Exceptions, needed: &mut BTreeSet<usize>, file: &str, what: &str) -> bool {
    let found = table.iter().position(|(place, named, _)| {
        *named == what && (*place == file || (place.ends_with('/') && file.starts_with(place)))
    });
    found.is_some_and(|at| {
        needed.insert(at);
        true
    })
}

fn no_spare(table: Exceptions, needed: &BTreeSet<usize>, gate: &mut Gate) {
    for (at, (place, what, _)) in table.iter().enumerate() {
        gate.see(needed.contains(&at), || {
            format!("{place}: the exception for {what} is not needed any more")
        });
    }
}

#[test]
fn every_file_has_its_door_sign() {
    let mut gate = Gate::default();
    for source in rust() {
        let first = source.text.lines().next().unwrap_or_default();
        let signed = first
            .strip_prefix("//! ")
            .is_some_and(|sign| sign.split_whitespace().count() >= 5);
        gate.see(signed, || {
            format!("{}: its first line does not say who lives here: {first:?}", source.name)
        });
    }
    let sources = gate.seen;
    let signed = |name: &str| {
        let tool = [".ci/run", ".editorconfig", "justfile"].contains(&name);
        tool || [".toml", ".yaml", ".yml", ".sql"]
            .iter()
            .any(|ending| name.ends_with(ending))
    };
    // Settings of somebody who works here are their own.
    for name in all_files()
        .iter()
        .filter(|name| signed(name) && *name != "firstlight.yaml")
    {
        let text = read(name);
        let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        let said = first.starts_with(if name.ends_with(".sql") { "-- " } else { "# " });
        gate.see(said, || {
            format!("{name}: it does not begin with what it is for: {first:?}")
        });
    }
    assert!(gate.seen > sources + 15, "the settings and workflows were not found");
    gate.close(100);
}

/// Which rooms each room of the inside may name. `house` holds exit bells, `yaml` reads files with their lines: both know no actor.
const INSIDE: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("changes", &["domain"]),
    ("diagnostics", &[]),
    ("house", &[]),
    ("folders", &["clock"]),
    ("domain", &[]),
    ("yaml", &["domain"]),
    ("messages", &["domain"]),
    ("connectors", &["domain", "house", "messages"]),
    ("github", &["clock", "connectors", "domain", "house", "messages"]),
    ("outbound", &["clock", "diagnostics", "domain", "house", "messages"]),
    ("workflows", &["domain", "yaml"]),
    (
        "library",
        &["changes", "clock", "domain", "house", "messages", "workflows"],
    ),
    // What every chat connector shares. Its pure files also make the words of dispatcher and runs fit for a chat.
    ("messaging", &["clock", "connectors", "domain", "messages"]),
    (
        "dispatch",
        &["clock", "domain", "house", "messages", "messaging", "workflows"],
    ),
    (
        "runs",
        &[
            "clock",
            "domain",
            "folders",
            "house",
            "messages",
            "messaging",
            "workflows",
        ],
    ),
    ("retention", &["clock", "domain", "folders", "house", "messages"]),
    (
        "slack",
        &["clock", "connectors", "domain", "house", "messages", "messaging"],
    ),
    (
        "cron",
        &[
            "clock",
            "diagnostics",
            "domain",
            "house",
            "messages",
            "messaging",
            "workflows",
            "yaml",
        ],
    ),
    ("store", &["changes", "clock", "domain", "messages"]),
    // Watches the store from outside of it; nobody in the flow knows that.
    ("traces", &["clock", "domain", "messages", "store"]),
    (
        "state",
        &["changes", "clock", "diagnostics", "domain", "house", "messages"],
    ),
    // Alone names every actor.
    (
        "system",
        &[
            "clock",
            "connectors",
            "cron",
            "dispatch",
            "github",
            "house",
            "library",
            "messages",
            "outbound",
            "retention",
            "runs",
            "state",
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
    ("telemetry", &["clock", "domain", "store", "traces"], &["settings"]),
    ("settings", &["dispatch", "domain", "outbound", "yaml"], &[]),
    (
        "http",
        &["changes", "clock", "domain", "messages"],
        &["doors", "fixtures", "mcp", "tools"],
    ),
    ("mcp", &[], &["tools"]),
    ("doors", &["clock", "messages", "store", "system"], &["tools"]),
    ("tools", &["clock", "domain", "messages"], &[]),
    // Opens the house, so it names every room that has settings.
    (
        "boot",
        &[
            "changes",
            "clock",
            "connectors",
            "cron",
            "dispatch",
            "domain",
            "github",
            "house",
            "outbound",
            "library",
            "messages",
            "retention",
            "runs",
            "state",
            "messaging",
            "runs",
            "slack",
            "store",
            "system",
            "workflows",
        ],
        &["doors", "http", "secrets", "settings", "telemetry", "tools"],
    ),
    (
        "cli",
        &["clock", "domain", "github", "state", "yaml"],
        &["boot", "demo", "fixtures", "logging", "mcp", "settings", "tools"],
    ),
    ("fixtures", &["domain", "github", "yaml"], &[]),
    (
        "demo",
        &["clock", "domain", "github"],
        &["boot", "cli", "fixtures", "logging", "settings"],
    ),
];

/// Files of the inside that know more than their room.
const INNER_DOORS: Exceptions = &[];

/// Files of the outside that know more than their room.
const OUTER_DOORS: Exceptions = &[
    (
        "src/http/dashboard/crons.rs",
        "cron",
        "shows when a schedule would fire, which is arithmetic",
    ),
    (
        "src/http/admin/crons.rs",
        "cron",
        "shows when a schedule would fire, which is arithmetic",
    ),
    (
        "src/http/server.rs",
        "connectors",
        "the HTTP server is itself a connector",
    ),
    (
        "src/http/server.rs",
        "github",
        "each worker has the connector beside its sockets",
    ),
    (
        "src/http/server.rs",
        "store",
        "each worker opens a door to the store beside its sockets",
    ),
    (
        "src/http/server.rs",
        "system",
        "takes the doors of the actors as they were hung",
    ),
    (
        "src/cli/audit.rs",
        "store",
        "proves the log of a database file, without a server",
    ),
    (
        "src/cli/slack.rs",
        "dispatch",
        "the manifest names the commands that are understood",
    ),
    ("src/cli/slack.rs", "slack", "prints the manifest, without a server"),
    (
        "src/cli/doctor/house.rs",
        "store",
        "looks at a database file, without a server",
    ),
    (
        "src/cli/doctor/house.rs",
        "workflows",
        "holds the gates of the settings against those of the workflows",
    ),
    (
        "src/cli/doctor/github.rs",
        "workflows",
        "asks what phases need of GitHub",
    ),
    (
        "src/cli/doctor/github.rs",
        "messages",
        "hears in the client's own words why GitHub did not answer",
    ),
    (
        "src/cli/doctor/mail.rs",
        "outbound",
        "asks the mail server whether it would take a mail",
    ),
    (
        "src/cli/doctor/slack.rs",
        "slack",
        "tries the tokens and knows the scopes that they need",
    ),
    (
        "src/cli/backup.rs",
        "store",
        "copies and checks a database file, without a server",
    ),
    (
        "src/cli/prune.rs",
        "store",
        "counts what is old in a database file, and writes it anew, without a server",
    ),
];

#[test]
fn rooms_of_the_inside_know_only_their_neighbours() {
    let rooms: BTreeMap<_, _> = INSIDE.iter().copied().collect();
    let (mut gate, mut needed, mut lived_in) = (Gate::default(), BTreeSet::new(), BTreeSet::new());
    let sources = rust();
    for source in sources.iter().filter(|source| source.name.starts_with("actors/")) {
        let module = source.module();
        let Some(room) = module.first().copied() else { continue };
        let Some(may) = rooms.get(room) else {
            gate.see(false, || {
                format!("{}: the room \"{room}\" has no row in the table", source.name)
            });
            continue;
        };
        lived_in.insert(room);
        let (code, flow) = (tokens(&source.code), tokens(&source.flow));
        let climbed = named_by_climbing(&flow, &module);
        for other in named_after(&code, "crate").into_iter().chain(climbed) {
            let known = !rooms.contains_key(other)
                || other == room
                || may.contains(&other)
                || excepted(INNER_DOORS, &mut needed, &source.name, other);
            gate.see(known, || format!("{}: {room} must not know {other}", source.name));
        }
        let outside = named_after(&code, "firstlight");
        gate.see(outside.is_empty(), || {
            format!("{}: the inside must not know the outside", source.name)
        });
    }
    for room in rooms.keys() {
        gate.see(lived_in.contains(room), || {
            format!("the room \"{room}\" of the table is not there any more")
        });
    }
    no_spare(INNER_DOORS, &needed, &mut gate);
    gate.close(100);
}

#[test]
fn rooms_of_the_outside_know_only_their_neighbours() {
    let (mut gate, mut needed, mut lived_in) = (Gate::default(), BTreeSet::new(), BTreeSet::new());
    let sources = rust();
    for source in sources.iter().filter(|source| source.name.starts_with("src/")) {
        let module = source.module();
        let room = module
            .first()
            .copied()
            .unwrap_or(if source.name == "src/main.rs" { "main" } else { "lib" });
        let Some((_, inside, outside)) = OUTSIDE.iter().find(|(known, _, _)| *known == room) else {
            gate.see(false, || {
                format!("{}: the room \"{room}\" has no row in the table", source.name)
            });
            continue;
        };
        lived_in.insert(room);
        let (code, flow) = (tokens(&source.code), tokens(&source.flow));
        for other in named_after(&code, "actors") {
            let known = inside.contains(&other) || excepted(OUTER_DOORS, &mut needed, &source.name, other);
            gate.see(known, || {
                format!("{}: {room} must not know actors::{other}", source.name)
            });
        }
        let climbed = named_by_climbing(&flow, &module);
        for other in named_after(&code, "crate").into_iter().chain(climbed) {
            let is_room = OUTSIDE.iter().any(|(known, _, _)| *known == other);
            let known = !is_room || other == room || outside.contains(&other);
            gate.see(known, || format!("{}: {room} must not know {other}", source.name));
        }
    }
    for (room, _, _) in OUTSIDE {
        gate.see(lived_in.contains(room), || {
            format!("the room \"{room}\" of the table is not there any more")
        });
    }
    no_spare(OUTER_DOORS, &needed, &mut gate);
    gate.close(60);
}

/// What must be pure, whatever its door sign says; every file whose sign says so is held to it as well.
const PURE: &[&str] = &[
    "actors/domain/",
    "actors/dispatch/admission.rs",
    "actors/dispatch/commands.rs",
    "actors/dispatch/router.rs",
    "actors/github/diagnose.rs",
    "actors/github/limits.rs",
    "actors/github/marker.rs",
    "actors/github/normalize.rs",
    "actors/github/normalize/",
    "actors/github/rewrite.rs",
    "actors/github/verify.rs",
    "actors/outbound/backoff.rs",
    "actors/runs/environment.rs",
    "actors/runs/facts.rs",
    "actors/runs/gate.rs",
    "actors/runs/graph.rs",
    "actors/runs/loops.rs",
    "actors/runs/marks.rs",
    "actors/runs/nodes.rs",
    "actors/runs/phase.rs",
    "actors/runs/resume.rs",
    "actors/runs/say.rs",
    "actors/workflows/check.rs",
    "actors/workflows/expression.rs",
    "actors/workflows/graph.rs",
    "actors/workflows/json_schema.rs",
    "actors/workflows/pattern.rs",
    "actors/workflows/reader.rs",
    "actors/workflows/schema.rs",
    "actors/workflows/template.rs",
    "actors/yaml.rs",
    "src/http/auth/csrf.rs",
    "src/http/auth/sampler.rs",
    "src/http/auth/throttle.rs",
    "src/http/auth/tokens.rs",
    "src/settings/units.rs",
    "actors/dispatch/chat.rs",
    "actors/messaging/allowlist.rs",
    "actors/messaging/chunks.rs",
    "actors/messaging/mention.rs",
    "actors/messaging/mrkdwn.rs",
    "actors/messaging/replies.rs",
    "actors/slack/hear.rs",
    "actors/slack/manifest.rs",
];

#[test]
fn pure_files_stay_pure() {
    const ACTORS_AND_CLOCK: &[&str] = &[
        "actix",
        "actix_rt",
        "actix_web",
        "tokio",
        "awc",
        "rusqlite",
        "rand",
        "Clock",
        "SharedClock",
        "SystemClock",
        "Instant",
        "SystemTime",
    ];
    const OF_STD: &[&str] = &["fs", "env", "process", "thread", "io", "os"];
    let (mut gate, mut met) = (Gate::default(), BTreeSet::<&&str>::new());
    for source in rust() {
        let sign = source.text.lines().next().unwrap_or_default();
        let says_so =
            sign.contains("Pure;") || sign.contains("Pure:") || sign.ends_with("Pure.") || sign.contains("Pure. ");
        let listed = PURE
            .iter()
            .find(|pure| source.name == **pure || (pure.ends_with('/') && source.name.starts_with(**pure)));
        met.extend(listed);
        if !says_so && listed.is_none() {
            continue;
        }
        let flow = tokens(&source.flow);
        let words = flow.iter().copied().filter(|word| ACTORS_AND_CLOCK.contains(word));
        let of_std = named_after(&flow, "std")
            .into_iter()
            .filter(|word| OF_STD.contains(word));
        let impure: Vec<&str> = words.chain(of_std).collect();
        gate.see(impure.is_empty(), || {
            format!("{}: a pure file names {impure:?}", source.name)
        });
    }
    for pure in PURE {
        gate.see(met.contains(pure), || format!("{pure} is not there any more"));
    }
    gate.close(PURE.len() + 25);
}

/// Crates that one place alone may name, so that they can be exchanged there.
const HOMES: &[(&str, &[&str])] = &[
    ("rusqlite", &["actors/store/sqlite/"]),
    ("actix_web", &["src/http/", "src/demo/github.rs"]),
    (
        "awc",
        &[
            "actors/github/",
            "actors/outbound/",
            "src/cli/client.rs",
            "src/demo/",
            // Sign-in asks GitHub and Slack who somebody is, and forgets what it asked with.
            "src/http/auth/abroad.rs",
        ],
    ),
    ("oauth2", &["src/http/auth/"]),
    ("clap", &["src/cli/", "src/demo/"]),
    ("saphyr_parser", &["actors/yaml.rs"]),
    ("slack_morphism", &["actors/slack/"]),
    (
        "rust_embed",
        &["actors/workflows/load.rs", "src/http/dashboard/assets.rs"],
    ),
    ("maud", &["src/http/dashboard/"]),
    ("opentelemetry", &["src/telemetry/"]),
    ("opentelemetry_http", &["src/telemetry/"]),
    ("opentelemetry_otlp", &["src/telemetry/"]),
    ("opentelemetry_sdk", &["src/telemetry/"]),
    ("tracing_subscriber", &["src/logging.rs"]),
    ("indicatif", &["src/demo/"]),
];

#[test]
fn a_crate_that_could_be_exchanged_is_named_in_its_home_only() {
    let (mut gate, sources) = (Gate::default(), rust());
    for (name, homes) in HOMES {
        let mut met = false;
        for source in sources
            .iter()
            .filter(|source| !source.name.starts_with("tests/") && !source.name.starts_with("benches/"))
        {
            let named = !named_after(&tokens(&source.code), name).is_empty();
            let at_home = homes.iter().any(|home| source.name.starts_with(home));
            met |= named;
            gate.see(!named || at_home, || {
                format!("{}: only {} may name {name}", source.name, homes.join(" and "))
            });
        }
        gate.see(met, || format!("nobody names {name} any more"));
    }
    gate.close(200);
}

#[test]
fn only_the_store_speaks_sql() {
    const BEGINNINGS: &[&str] = &[
        "SELECT ",
        "INSERT ",
        "UPDATE ",
        "DELETE FROM",
        "PRAGMA ",
        "CREATE ",
        "ALTER ",
        "DROP ",
        "BEGIN",
        "WITH ",
    ];
    let (mut gate, mut spoken) = (Gate::default(), 0);
    for source in rust() {
        for literal in &source.literals {
            let text = literal.trim_start();
            let speaks = BEGINNINGS.iter().any(|word| text.starts_with(word)) || text.contains(" FROM ");
            let at_home = source.name.starts_with("actors/store/") || source.name.starts_with("tests/it/tidy/");
            spoken += usize::from(speaks && source.name.starts_with("actors/store/"));
            gate.see(!speaks || at_home, || {
                format!("{}: only actors/store may hold SQL: {text:.40}", source.name)
            });
        }
    }
    assert!(spoken > 50, "the SQL of the store was not recognised");
    gate.close(2000);
}

/// Who reads a clock or draws chance besides `actors/clock.rs`.
const TIMES: Exceptions = &[
    (
        "src/http/github.rs",
        "Instant::now",
        "counts log lines of one second; nothing that is stored or answered depends on it",
    ),
    (
        "src/http/body.rs",
        "time::timeout",
        "ends a silent socket; the runtime's timer is the socket's own",
    ),
    (
        "src/demo/mod.rs",
        "time::timeout",
        "how long a newcomer looks at a story that does not go on",
    ),
    (
        "src/secrets.rs",
        "rand::random",
        "makes keys, which no test may foresee",
    ),
];

#[test]
fn time_and_chance_are_asked_of_the_clock() {
    const READINGS: &[&str] = &[
        "Utc::now",
        "Local::now",
        "SystemTime::now",
        "Instant::now",
        "time::sleep",
        "time::sleep_until",
        "time::interval",
        "time::timeout",
        "thread::sleep",
        "rand::random",
        "rand::rng",
        "Uuid::new_v4",
        "Uuid::now_v7",
    ];
    let (mut gate, mut needed, mut at_home) = (Gate::default(), BTreeSet::new(), 0);
    for source in rust().iter().filter(|source| !source.flow.is_empty()) {
        let flow = tokens(&source.flow);
        let met = flow
            .windows(3)
            .map(|window| window.concat())
            .filter(|word| READINGS.contains(&word.as_str()));
        for word in met {
            if source.name == "actors/clock.rs" {
                at_home += 1;
                continue;
            }
            let allowed = excepted(TIMES, &mut needed, &source.name, &word);
            gate.see(allowed, || format!("{}: ask the clock instead of {word}", source.name));
        }
        gate.seen += 1;
    }
    assert!(at_home >= 3, "the clock itself was not recognised");
    no_spare(TIMES, &needed, &mut gate);
    gate.close(80);
}

#[test]
fn nothing_is_unfinished_or_forbidden() {
    // Clippy denies most of these, too; here they are denied in tests, in macros and behind attributes as well.
    const NOWHERE: &[&[&str]] = &[
        &["todo", "!"],
        &["unimplemented", "!"],
        &["dbg", "!"],
        &["[", "ignore"],
        &[".", "do_send"],
        &["allow", "(", "clippy", "::", "unwrap_used"],
        &["allow", "(", "clippy", "::", "disallowed_methods"],
        &["allow", "(", "dead_code"],
    ];
    const SLEEPS: Exceptions = &[
        (
            "tests/it/runs.rs",
            "sleep",
            "a clock that passes long waits over hands short ones on to the machine's",
        ),
        (
            "tests/it/support/clock.rs",
            "sleep",
            "hands waiting on to the machine's clock, which the house asks for",
        ),
    ];
    let (mut gate, mut needed) = (Gate::default(), BTreeSet::new());
    for source in rust() {
        let (code, flow) = (tokens(&source.code), tokens(&source.flow));
        for words in NOWHERE {
            let met = code.windows(words.len()).any(|window| window == *words);
            gate.see(!met, || {
                format!("{}: {} has no place here", source.name, words.concat())
            });
        }
        let unwraps = flow.windows(4).any(|window| window == [".", "unwrap", "(", ")"]);
        gate.see(!unwraps, || {
            format!(
                "{}: say with expect which invariant holds, or answer an error",
                source.name
            )
        });
        if source.name.starts_with("tests/") {
            let sleeps = code
                .windows(3)
                .any(|window| window[0] != "fn" && window[1] == "sleep" && window[2] == "(");
            let allowed = !sleeps || excepted(SLEEPS, &mut needed, &source.name, "sleep");
            gate.see(allowed, || {
                format!("{}: a test waits for quiet, never for a while", source.name)
            });
        }
    }
    no_spare(SLEEPS, &needed, &mut gate);
    gate.close(500);
}

#[test]
fn the_project_speaks_of_itself_alone() {
    // Hosts that a reader can reach, or that nobody owns (RFC 2606, RFC 5737).
    const HOSTS: &[&str] = &[
        "github.com",
        "api.github.com",
        "avatars.githubusercontent.com",
        "www.githubstatus.com",
        "slack.com",
        "www.apache.org",
        "www.w3.org",
        "json-schema.org",
        "www.standardwebhooks.com",
        "192.0.2.1",
        "127.0.0.1",
    ];
    const NOBODYS: &[&str] = &[".example", ".test", "example.com", ".invalid", ".localhost"];
    const FOLDERS_OF_A_MACHINE: &[&str] = &["/work/", "/home/", "/root/", "/Users/", "/tmp/"];
    let mut gate = Gate::default();
    for name in all_files()
        .iter()
        .filter(|name| *name != "LICENSE" && !name.starts_with("tests/it/tidy/") && *name != "firstlight.yaml")
    {
        let text = read(name);
        for (at, scheme) in text.match_indices("://") {
            let host: String = text[at + scheme.len()..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || ".-".contains(*c))
                .collect();
            let host = host.trim_end_matches('.');
            // A word without a dot is a stand-in in a test or a placeholder.
            let known =
                HOSTS.contains(&host) || !host.contains('.') || NOBODYS.iter().any(|ending| host.ends_with(ending));
            gate.see(known, || format!("{name}: names the host {host}"));
        }
        for folder in FOLDERS_OF_A_MACHINE {
            let met = text.match_indices(folder).any(|(at, _)| {
                let before = text[..at].chars().next_back();
                before.is_none_or(|c| !(c.is_alphanumeric() || "/.}>-_~".contains(c)))
            });
            gate.see(!met, || format!("{name}: names a folder of one machine, {folder}"));
        }
    }
    gate.close(500);
}

#[test]
fn versions_and_lints_are_written_once() {
    let mut gate = Gate::default();
    let (workspace, sources) = (read("Cargo.toml"), rust());
    for (manifest, folders) in [
        ("Cargo.toml", ["src/", "tests/", "benches/"].as_slice()),
        ("actors/Cargo.toml", &["actors/"]),
    ] {
        let text = read(manifest);
        let own: Vec<&Source> = sources
            .iter()
            .filter(|source| folders.iter().any(|folder| source.name.starts_with(folder)))
            .collect();
        for (section, line) in entries(&text)
            .filter(|(section, _)| section.ends_with("dependencies]") && !section.starts_with("[workspace"))
        {
            let (name, rest) = line.split_once(['.', ' ']).unwrap_or((line, ""));
            let inherited = rest.starts_with("workspace = true") || line == "actors = { path = \"actors\" }";
            gate.see(inherited, || {
                format!("{manifest}: {name} in {section} has a version of its own")
            });
            let name = name.replace('-', "_");
            let used = own.iter().any(|source| {
                let code = tokens(&source.code);
                !named_after(&code, &name).is_empty() || code.windows(2).any(|window| window == ["use", name.as_str()])
            });
            gate.see(used, || format!("{manifest}: {name} in {section} is not used"));
        }
        gate.see(text.contains("[lints]\nworkspace = true"), || {
            format!("{manifest}: it does not take the lints of the workspace")
        });
    }
    let member = read("actors/Cargo.toml");
    for (_, line) in entries(&workspace).filter(|(section, _)| *section == "[workspace.dependencies]") {
        let name = line.split(' ').next().unwrap_or_default();
        let wanted = [&workspace, &member]
            .iter()
            .any(|text| text.contains(&format!("\n{name}.workspace = true")));
        gate.see(wanted, || format!("Cargo.toml: nobody asks for {name}"));
    }
    let lock = read("Cargo.lock");
    for source in lock.lines().filter(|line| line.starts_with("source = ")) {
        let public = source == "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        gate.see(public, || format!("Cargo.lock: a crate comes from elsewhere: {source}"));
    }
    gate.close(200);
}

/// The lines of a manifest that say something, each with its section.
fn entries(manifest: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut section = "";
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            section = line;
            return None;
        }
        let says = !line.is_empty() && !line.starts_with(['#', ' ', ']', '}']);
        says.then_some((section, line))
    })
}

#[test]
fn top_level_names_are_the_agreed_ones() {
    const AGREED: &[&str] = &[
        ".ci",
        ".clippy.toml",
        ".deny.toml",
        ".editorconfig",
        ".gitignore",
        ".rustfmt.toml",
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
        "tests",
        "workflows",
    ];
    // Where a clone or a developer keeps something of their own.
    const OWN: &[&str] = &[".git", ".github", ".vscode", ".idea", ".cargo", "firstlight.yaml"];
    let names: BTreeSet<String> = all_files()
        .iter()
        .filter_map(|name| name.split('/').next().map(str::to_owned))
        .collect();
    let mut gate = Gate::default();
    for name in &names {
        let known = AGREED.contains(&name.as_str()) || OWN.contains(&name.as_str());
        gate.see(known, || {
            format!("{name}: nobody agreed on this name in the first view of the project")
        });
    }
    gate.close(15);
}
