//! What can be examined without asking anybody: settings, workflows, state folder, disk, store, state file and secrets. Reads only.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actors::domain::{Mistake, Secret, nearest};
use actors::state::{LookedAt, StateConfig};
use actors::store::sqlite::{self, Proof};
use actors::workflows::Catalog;
use serde_json::Value;

use super::many;
use super::report::Check;
use crate::boot;
use crate::settings::{Loaded, Origin, Settings, Sources, environment_names};

/// Checks whose failure is a mistake of the configuration.
pub(super) const OF_CONFIGURATION: &[&str] = &["settings", "workflows"];

/// How long the database's own check may take.
const CHECK: Duration = Duration::from_secs(20);
/// With less free space a failure is near; with still less, it is there.
const LITTLE_SPACE: u64 = 1 << 30;
const NO_SPACE: u64 = 100 << 20;
/// A generated password has 43 characters.
const SHORTEST_PASSWORD: usize = 12;
/// GitHub recommends "a random string of text with high entropy"; below this many characters there is none.
const SHORTEST_WEBHOOK_SECRET: usize = 16;
/// What people type before they think, and what examples say.
const USUAL_PASSWORDS: &[&str] = &[
    "admin",
    "administrator",
    "changeme",
    "change-me",
    "default",
    "example",
    "firstlight",
    "lastlight",
    "last-light",
    "letmein",
    "password",
    "password1",
    "password123",
    "secret",
    "test",
    "try-me",
    "welcome",
];

/// Settings that cannot be read: every mistake.
pub(super) fn broken_settings(mistakes: &[Mistake]) -> Vec<Check> {
    let mut checks: Vec<Check> = mistakes.iter().map(|mistake| of_mistake("settings", mistake)).collect();
    checks.push(Check::skipped(
        "everything else",
        "not looked at: the settings say where everything is",
        None,
    ));
    checks
}

fn of_mistake(name: &'static str, mistake: &Mistake) -> Check {
    let place = match mistake.line {
        0 => mistake.file.clone(),
        line => format!("{}:{line}", mistake.file),
    };
    let set = match mistake.key.as_str() {
        "" => place.clone(),
        key => format!("{key}, in {place}"),
    };
    Check::failed(name, format!("a mistake in {place}"), mistake.problem.clone(), set)
}

pub(super) fn settings(loaded: &Loaded, sources: &Sources) -> Vec<Check> {
    const SHOWN: usize = 6;
    let set: Vec<String> = loaded
        .provenance
        .iter()
        .filter(|(_, origin)| **origin != Origin::Default)
        .map(|(key, origin)| format!("{key} ({origin})"))
        .collect();
    let mut found = match set.len() {
        0 => "nothing is set, so the defaults count".to_owned(),
        n => format!("{} set: {}", many(n, "key"), set[..n.min(SHOWN)].join(", ")),
    };
    if set.len() > SHOWN {
        found.push_str(&format!(" and {} more (firstlight config print)", set.len() - SHOWN));
    }
    let mut checks = vec![Check::ok("settings", found)];
    checks.extend(misspelt(sources));
    checks.extend(idle(&loaded.settings));
    checks
}

/// Variables that were probably meant to be one of ours.
fn misspelt(sources: &Sources) -> impl Iterator<Item = Check> {
    // Short and common names would be guessed wrong.
    const SHORTEST: usize = 8;
    let known: Vec<&str> = environment_names().map(|(name, _)| name).collect();
    let candidates = sources
        .env
        .keys()
        .filter(|name| name.len() >= SHORTEST && name.contains('_') && !name.starts_with("FIRSTLIGHT_"));
    let found: Vec<Check> = candidates
        .filter(|name| !known.contains(&name.as_str()))
        .filter_map(|name| {
            let meant = nearest(name, known.iter().copied().filter(|known| known.len() >= SHORTEST))?;
            // Only one of two that are both there can be a slip.
            (!sources.env.contains_key(meant)).then(|| {
                Check::warning(
                    "settings",
                    format!("the environment has {name}"),
                    "nothing reads it; it was probably meant to be another",
                    format!("{meant} instead of {name}"),
                )
            })
        })
        .collect();
    found.into_iter()
}

/// Settings that are set and do nothing, and those without which little happens.
fn idle(settings: &Settings) -> Vec<Check> {
    let Settings {
        github,
        slack,
        notifications,
        server,
        ..
    } = settings;
    let chat = slack.bot_token.is_some();
    let mail = (
        settings.smtp_url.is_some(),
        notifications.email_from.is_some(),
        !notifications.email_to.is_empty(),
    );
    let table = [
        (
            github.enabled && settings.managed_repos.rule().is_empty(),
            "no repository is managed",
            "every delivery is filtered",
            "MANAGED_REPOS (managed_repos)",
        ),
        (
            settings.webhooks_unsigned(),
            "webhook signatures are not verified",
            "anybody who reaches the server can start work",
            "WEBHOOK_SECRET (github.webhook_secret)",
        ),
        (
            github.app_id.is_some() && github.token.is_some() && !github.token_for_phases,
            "both an App and a token are set for GitHub",
            "the token is not used",
            "remove GITHUB_TOKEN (github.token)",
        ),
        (
            !chat && (!slack.allowed_users.is_empty() || slack.delivery_channel.is_some()),
            "Slack has users or a channel, and no tokens",
            "Slack is off without them",
            "SLACK_BOT_TOKEN and SLACK_APP_TOKEN (slack.bot_token, slack.app_token)",
        ),
        (
            chat && slack.allowed_users.is_empty(),
            "everybody in the Slack workspace may give orders",
            "no list of users is set",
            "SLACK_ALLOWED_USERS (slack.allowed_users)",
        ),
        (
            matches!(mail, (true, false, _) | (true, _, false)),
            "a mail server is set, but no mail is sent",
            "it is not said from whom and to whom",
            "notifications.email_from and notifications.email_to",
        ),
        (
            matches!(mail, (false, true, _) | (false, _, true)),
            "mail has addresses, and no server",
            "such notifications are stored only",
            "SMTP_URL (smtp_url)",
        ),
        (
            !settings.serves_http() && server.public_url.is_some(),
            "a public address is set, and there is no HTTP server",
            "github.enabled is false",
            "server.always: true",
        ),
    ];
    table
        .into_iter()
        .filter(|(holds, ..)| *holds)
        .map(|(_, found, cause, set)| Check::warning("settings", found, cause, set))
        .collect()
}

/// The workflows and schedules, and the catalogue if they are sound.
pub(super) fn workflows(loaded: &Loaded) -> (Vec<Check>, Option<Catalog>) {
    match boot::load_workflows(loaded) {
        Ok((catalog, crons)) => {
            let mut checks = vec![Check::ok(
                "workflows",
                format!(
                    "{}, {}",
                    many(catalog.names().count(), "workflow"),
                    many(crons.len(), "schedule")
                ),
            )];
            checks.extend(gates(&loaded.settings, &catalog));
            (checks, Some(catalog))
        }
        Err(mistakes) => {
            let checks = mistakes.iter().map(|mistake| of_mistake("workflows", mistake));
            (checks.collect(), None)
        }
    }
}

/// Gates that are to ask, and that no workflow has: whoever misspelt one is not asked.
fn gates(settings: &Settings, catalog: &Catalog) -> Vec<Check> {
    fn walk(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| match value.as_str() {
                Some(name) if key.ends_with("gate") => {
                    into.insert(name.to_owned());
                }
                _ => walk(value, into),
            }),
            Value::Array(items) => items.iter().for_each(|item| walk(item, into)),
            _ => {}
        }
    }
    let mut there = BTreeSet::new();
    for workflow in catalog.iter() {
        let phases = serde_json::to_value(&workflow.phases).unwrap_or_default();
        walk(&phases, &mut there);
    }
    let wanted = settings.approvals.gates.iter().map(ToString::to_string);
    wanted
        .filter(|gate| !there.contains(gate))
        .map(|gate| {
            let meant = nearest(&gate, there.iter().map(String::as_str));
            Check::warning(
                "workflows",
                format!("the gate \"{gate}\" is to ask, and no workflow has it"),
                "nobody is ever asked there",
                match meant {
                    Some(meant) => format!("APPROVAL_GATES (approvals.gates): \"{meant}\" instead of \"{gate}\""),
                    None => "APPROVAL_GATES (approvals.gates)".to_owned(),
                },
            )
        })
        .collect()
}

/// Everything below the state folder. Blocks for the disk.
pub(super) fn state(settings: &Settings) -> Vec<Check> {
    let mut checks = folder(&settings.state_dir);
    checks.push(disk(&settings.state_dir));
    checks.extend(store(&settings.state_dir.join("firstlight.db")));
    checks.extend(state_file(&settings.state_dir));
    checks.extend(secrets(settings));
    checks
}

const FOLDER: &str = "STATE_DIR (state_dir)";

fn folder(state_dir: &Path) -> Vec<Check> {
    let name = "state folder";
    let shown = state_dir.display();
    let existing = nearest_existing(state_dir);
    // Made and removed at once: a mode says little where disks are read-only or full.
    if let Err(error) = tempfile::Builder::new().prefix(".doctor-").tempfile_in(&existing) {
        return vec![Check::failed(
            name,
            format!("nothing can be written into {}: {error}", existing.display()),
            "everything that must outlive the process is kept there",
            FOLDER,
        )];
    }
    if existing != state_dir {
        return vec![Check::ok(name, format!("{shown} is made at the first start"))];
    }
    vec![Check::ok(name, format!("{shown} can be written"))]
}

/// The folder itself, or the next one above that is there.
fn nearest_existing(path: &Path) -> PathBuf {
    path.ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("/"))
        .to_owned()
}

fn disk(state_dir: &Path) -> Check {
    let name = "disk";
    let volume = match rustix::fs::statvfs(nearest_existing(state_dir)) {
        Ok(volume) => volume,
        Err(error) => {
            return Check::skipped(
                name,
                format!("the system does not tell how much is free: {error}"),
                None,
            );
        }
    };
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    let found = format!("{} free", bytes(free));
    // Some volumes count no files and say 0 of 0.
    if volume.f_files > 0 && volume.f_favail == 0 {
        return Check::failed(name, "no file can be made", "the volume has no inodes left", FOLDER);
    }
    match free {
        0..NO_SPACE => Check::failed(name, found, "deliveries are answered 503 when the disk is full", FOLDER),
        NO_SPACE..LITTLE_SPACE => Check::warning(name, found, "logs and events will soon fill it", FOLDER),
        _ => Check::ok(name, found),
    }
}

/// Bytes in the unit that people read.
fn bytes(n: u64) -> String {
    const UNITS: &[&str] = &["bytes", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut rest = n;
    while rest >= 10_000 && unit + 1 < UNITS.len() {
        rest /= 1_000;
        unit += 1;
    }
    format!("{rest} {}", UNITS[unit])
}

fn store(path: &Path) -> Vec<Check> {
    let name = "store";
    if !path.exists() {
        return vec![Check::skipped(
            name,
            "there is no database yet; it is made at the first start",
            None,
        )];
    }
    let looked = match sqlite::look(path, CHECK) {
        Ok(looked) => looked,
        Err(error) => {
            return vec![Check::failed(
                name,
                error.to_string(),
                "it is damaged, or not a database of Firstlight",
                "put a backup back: firstlight restore",
            )];
        }
    };
    let (version, known) = (looked.version, looked.known);
    if version > known {
        return vec![Check::failed(
            name,
            format!("the database is of version {version}, this program knows up to {known}"),
            "a newer Firstlight wrote it",
            "start the newer program, or put the copy that lies beside it back",
        )];
    }
    let mut found = format!("version {version}, {}", bytes(looked.bytes));
    if version < known {
        found.push_str(&format!("; the next start brings it to version {known}"));
    }
    found.push_str(if looked.checked {
        ", whole"
    } else {
        "; too large to be checked to its end"
    });
    vec![Check::ok(name, found), audit(path)]
}

fn audit(path: &Path) -> Check {
    let name = "audit log";
    match sqlite::verify_audit(path) {
        Ok(Proof::Whole { rows, .. }) => Check::ok(name, format!("whole, {rows} rows")),
        Ok(Proof::Broken { row, why }) => Check::failed(
            name,
            format!("broken at row {row}: {why}"),
            "somebody changed the database past Firstlight",
            "compare with a backup: firstlight audit verify --database",
        ),
        Err(error) => Check::failed(
            name,
            error.to_string(),
            "the database is not as this program knows it",
            "put a backup back: firstlight restore",
        ),
    }
}

fn state_file(state_dir: &Path) -> Vec<Check> {
    let name = "integrations";
    let path = StateConfig::of(state_dir).path;
    let look = actors::state::look(&path);
    let mut checks = vec![match look.file {
        LookedAt::Nothing => Check::ok(
            name,
            "there is no state file yet; it is made when there is something to keep",
        ),
        LookedAt::Sound {
            webhooks,
            notifications,
        } => Check::ok(
            name,
            format!("{}, {}", many(webhooks, "webhook"), many(notifications, "notification")),
        ),
        LookedAt::Broken(why) => Check::failed(
            name,
            format!("{} does not parse: {why}", path.display()),
            "it was edited by hand or cut off; the service would set it aside and begin anew",
            format!("mend {}, or put a backup back", path.display()),
        ),
        LookedAt::Unreadable(why) => Check::failed(
            name,
            format!("{} cannot be read: {why}", path.display()),
            "it belongs to somebody else, or to a newer Firstlight",
            format!("owner and mode of {}", path.display()),
        ),
    }];
    if let Some(last) = look.aside.last() {
        checks.push(Check::warning(
            name,
            format!("{} lies there", last),
            "a broken state file was set aside, and its webhooks are not used",
            format!("look into it, then remove {last}"),
        ));
    }
    checks
}

fn secrets(settings: &Settings) -> Vec<Check> {
    let name = "secrets";
    let folder = settings.state_dir.join("secrets");
    let mut checks = Vec::new();
    let generated = ["admin_password", "admin_secret", "outbox_key"];
    let there: Vec<&str> = generated
        .into_iter()
        .filter(|name| folder.join(name).is_file())
        .collect();
    let mut private = vec![(folder.clone(), 0o700)];
    private.extend(
        fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| (entry.path(), 0o600)),
    );
    private.extend(
        [
            StateConfig::of(&settings.state_dir).path,
            settings.state_dir.join("firstlight.db"),
        ]
        .map(|path| (path, 0o600)),
    );
    for (path, mode) in private {
        let Ok(meta) = fs::metadata(&path) else { continue };
        let now = meta.permissions().mode() & 0o777;
        if now & !mode & 0o777 != 0 {
            checks.push(Check::failed(
                name,
                format!("{} has mode {now:o}", path.display()),
                "others on this machine can read it",
                format!("chmod {mode:o} {}", path.display()),
            ));
        }
    }
    // Where it lies is the operator's own arrangement; some hand it to a group.
    if let Some(key) = &settings.github.app_private_key_path
        && let Ok(meta) = fs::metadata(key)
        && meta.permissions().mode() & 0o007 != 0
    {
        checks.push(Check::warning(
            name,
            format!("everybody on this machine can read {}", key.display()),
            "whoever has the App's key speaks as the App",
            format!("chmod 600 {}", key.display()),
        ));
    }
    checks.extend(weak(settings));
    if checks.is_empty() {
        checks.push(Check::ok(
            name,
            match there.len() {
                0 => "none are kept yet; what is not set is made at the first start".to_owned(),
                _ => format!("{} for their owner alone", there.join(", ")),
            },
        ));
    }
    checks
}

/// Secrets that can be guessed. Nothing of them is shown.
fn weak(settings: &Settings) -> Vec<Check> {
    let name = "secrets";
    let mut checks = Vec::new();
    if let Some(password) = &settings.admin.password
        && let Some(cause) = weak_password(password)
    {
        let set = "ADMIN_PASSWORD (admin.password), or remove it to have one made";
        // Where only this machine reaches the service, a weak word is a smaller matter.
        let open = !settings.server.listen.is_loopback() || settings.server.public_url.is_some();
        checks.push(match open {
            true => Check::failed(name, "the password of the operator is weak", cause, set),
            false => Check::warning(name, "the password of the operator is weak", cause, set),
        });
    }
    for secret in &settings.github.webhook_secret {
        let text = secret.expose();
        let set = "WEBHOOK_SECRET (github.webhook_secret)";
        if text.trim() != text
            || text.len() >= 2
                && ['"', '\'']
                    .into_iter()
                    .any(|q| text.starts_with(q) && text.ends_with(q))
        {
            checks.push(Check::warning(
                name,
                "a webhook secret has blanks or quotes around it",
                "GitHub signs with what was entered there, which rarely has them",
                set,
            ));
        } else if text.chars().count() < SHORTEST_WEBHOOK_SECRET {
            checks.push(Check::warning(
                name,
                format!("a webhook secret has {}", many(text.chars().count(), "character")),
                "whoever guesses it can start work; openssl rand -hex 32 makes a good one",
                set,
            ));
        }
    }
    checks
}

fn weak_password(password: &Secret) -> Option<String> {
    let text = password.expose();
    let mut letters: Vec<char> = text.chars().collect();
    let length = letters.len();
    letters.sort_unstable();
    letters.dedup();
    if USUAL_PASSWORDS.contains(&text.to_lowercase().as_str()) {
        Some("it is one of the first that somebody tries".to_owned())
    } else if length < SHORTEST_PASSWORD {
        Some(format!(
            "it has {}, and {SHORTEST_PASSWORD} are few",
            many(length, "character")
        ))
    } else if letters.len() < 5 {
        Some(format!("it is made of {} alone", many(letters.len(), "character")))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_that_can_be_guessed_are_told_from_others() {
        for (password, weak) in [
            ("changeme", true),
            ("ChangeMe", true),
            ("short1!", true),
            ("aaaaaaaaaaaaaaaaaaaa", true),
            ("correct horse battery", false),
            ("Qm9vdHMgYXJlIG1hZGU", false),
        ] {
            assert_eq!(weak_password(&Secret::new(password)).is_some(), weak, "{password}");
        }
    }

    #[test]
    fn bytes_are_written_for_people() {
        for (n, words) in [
            (0, "0 bytes"),
            (9_999, "9999 bytes"),
            (10_000, "10 kB"),
            (123_456_789, "123 MB"),
            (12_345_678_901, "12 GB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(bytes(n), words);
        }
    }
}
