//! How commands speak to the API of a server: with a token, one exchange at a time, and the answer for people or machines. Knows no command.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use actors::domain::Secret;
use anyhow::Context as _;
use comfy_table::{Table, presets};
use serde_json::{Map, Value};

use super::client::{Client, Method, NoAnswer, Raw, call_raw, client};
use super::exit;
use crate::settings::{Settings, Sources};

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(super) struct Output {
    /// Write JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// A server's API, and the token to show it.
pub(super) struct Api {
    pub(super) base: String,
    token: Option<Secret>,
    client: Client,
}

/// Why a command came to nothing, in words for whoever typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// There is no answer.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The server said no.
    #[error("{0}")]
    Refused(String),
    /// The server stops or starts, or is not there and a proxy says so.
    #[error("{0}")]
    Away(String),
}

impl Api {
    /// The server of the settings, with the token of the settings, else with the one that `firstlight login` kept. Made inside
    /// the arbiter where it is used.
    pub(super) fn of(settings: &Settings) -> Self {
        let base = settings.client_url();
        let token = settings.client.token.clone().or_else(|| kept_token(&base));
        Self {
            base,
            token,
            client: client(),
        }
    }

    /// A server with this token, asked by this client.
    pub(super) fn with(base: String, token: Option<Secret>) -> Self {
        Self {
            base,
            token,
            client: client(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, None).await
    }

    /// The same; repeated under the same key, it is carried out once.
    pub(super) async fn post_once(&self, path: &str, body: &Value, key: &str) -> Result<Value, Failure> {
        self.exchange(Method::POST, path, Some(body), Some(key)).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// One exchange. An answer that is no success is a failure with the server's words.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.exchange(method, path, body, None).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Value, Failure> {
        let answer = self.answer(method, path, body, key).await?;
        Ok(serde_json::from_slice(&answer.bytes).unwrap_or(Value::Null))
    }

    /// One exchange whose answer is no JSON.
    pub(super) async fn raw(&self, path: &str) -> Result<Raw, Failure> {
        self.answer(Method::GET, path, None, None).await
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Raw, Failure> {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {}", token.expose()));
        let mut headers = vec![("content-type", "application/json")];
        if let Some(bearer) = &bearer {
            headers.push(("authorization", bearer));
        }
        if let Some(key) = key {
            headers.push(("idempotency-key", key));
        }
        let body = body.map(|body| body.to_string().into_bytes());
        let answer = call_raw(&self.client, method, &self.base, path, &headers, body).await?;
        match answer.status {
            200..=299 => Ok(answer),
            401 => Err(Failure::Refused(format!(
                "{} does not know you; sign in with: firstlight login",
                self.base
            ))),
            status => {
                let said = serde_json::from_slice::<Value>(&answer.bytes).unwrap_or(Value::Null);
                let words = said["error"].as_str().map_or_else(
                    || String::from_utf8_lossy(&answer.bytes).chars().take(300).collect(),
                    str::to_owned,
                );
                let words = format!("{words} (HTTP {status})");
                Err(match status {
                    502..=504 => Failure::Away(words),
                    _ => Failure::Refused(words),
                })
            }
        }
    }
}

/// A path of the API with one thing in it. An id is an id: nothing in it leads elsewhere.
pub(super) fn path(base: &str, id: &str, what: &str) -> String {
    let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    format!("{base}/{}{what}", id.replace('+', "%20"))
}

/// A path with these filters, those that were given.
pub(super) fn query(base: &str, pairs: &[(&str, Option<String>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in pairs {
        if let Some(value) = value {
            query.append_pair(key, value);
        }
    }
    let query = query.finish();
    if query.is_empty() {
        base.to_owned()
    } else {
        format!("{base}?{query}")
    }
}

/// What stands under a page that is not the last.
pub(super) fn more(answer: &Value) -> String {
    match &answer["next"] {
        Value::Null => String::new(),
        next => format!("\nmore with: --before {}", cell(next)),
    }
}

/// Runs a command against the server of the settings, and writes its answer: as JSON, or as `human` puts it.
pub(super) fn run(
    sources: &Sources,
    output: Output,
    work: impl AsyncFnOnce(&Api) -> Result<Value, Failure>,
    human: impl FnOnce(&Value) -> String,
) -> ExitCode {
    hand_on(sources, async |api| {
        let answer = work(api).await?;
        let text = if output.json {
            serde_json::to_string_pretty(&answer).unwrap_or_default()
        } else {
            human(&answer)
        };
        // `firstlight deliveries list | head` has what it wanted.
        let _ = writeln!(std::io::stdout(), "{text}");
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs a command that writes by itself, and hands on its exit status.
pub(super) fn hand_on(sources: &Sources, work: impl AsyncFnOnce(&Api) -> Result<ExitCode, Failure>) -> ExitCode {
    let settings = match Settings::load(sources) {
        Ok(loaded) => loaded.settings,
        Err(mistakes) => return super::report(&mistakes),
    };
    let done = actix_rt::System::new().block_on(async { work(&Api::of(&settings)).await });
    done.unwrap_or_else(|failure| {
        eprintln!("firstlight: {failure}");
        ExitCode::from(exit::RUNTIME)
    })
}

/// A table of these keys of each row; what is absent stays empty.
pub(super) fn table(rows: &Value, columns: &[(&str, &str)], nothing: &str) -> String {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return nothing.to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|(title, _)| title.to_uppercase()));
    for row in rows {
        table.add_row(columns.iter().map(|(_, key)| cell(&row[*key])));
    }
    table.trim_fmt()
}

/// A value in a line for people.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // Words from outside move no cursor and colour nothing.
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Forgets the token of a server. Says whether there was one.
pub(super) fn forget_token(base: &str) -> anyhow::Result<bool> {
    let Some(path) = tokens_file().filter(|path| path.exists()) else {
        return Ok(false);
    };
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut kept: Map<String, Value> =
        serde_json::from_slice(&text).with_context(|| format!("{} is no JSON object; remove it", path.display()))?;
    let known = kept.remove(base).is_some();
    if known {
        write_tokens(&path, kept)?;
    }
    Ok(known)
}

/// Where tokens are kept: `firstlight/tokens.json` in the user's config folder, by the address of the server.
fn tokens_file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some(folder.join("firstlight").join("tokens.json"))
}

fn kept_token(base: &str) -> Option<Secret> {
    let kept: Map<String, Value> = serde_json::from_slice(&fs::read(tokens_file()?).ok()?).ok()?;
    kept.get(base)?.as_str().map(Secret::new)
}

/// Keeps a token for the commands to come. Answers where.
pub(super) fn keep_token(base: &str, token: &str) -> anyhow::Result<PathBuf> {
    let path = tokens_file().context("there is neither HOME nor XDG_CONFIG_HOME; set FIRSTLIGHT_TOKEN instead")?;
    let folder = path.parent().context("a file in a folder")?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let mut kept: Map<String, Value> = fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    kept.insert(base.to_owned(), token.into());
    write_tokens(&path, kept)?;
    Ok(path)
}

fn write_tokens(path: &Path, kept: Map<String, Value>) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(Value::Object(kept).to_string().as_bytes()))
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
