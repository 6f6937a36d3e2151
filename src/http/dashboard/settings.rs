//! What the service goes by and where each value came from, and who has a token. Reads only; the API makes and revokes tokens.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::web::Query;
use actors::domain::{IssuedToken, REDACTED, TokenFilter};
use actors::messages::store::ListTokens;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::assets;
use super::events::path_part;
use super::frame::{Section, Sheet, Visit};
use super::parts::{self, Row, Tone};
use crate::http::problem::Problem;

/// The settings that ship, whose comments say what each is for.
const DEFAULTS: &str = include_str!("../../../config/default.yaml");

/// Rows of a page of tokens.
const PAGE: usize = 50;

/// What each setting is for, by its path; sections have their words, too.
static WORDS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| words(DEFAULTS));

fn tabs(visit: &Visit, here: &str) -> Markup {
    html! {
        nav.tabs aria-label="Settings" {
            @for (path, name) in [("/admin/settings", "Values"), ("/admin/settings/tokens", "Tokens")] {
                a href=(visit.url(path)) aria-current=[(path == here).then_some("page")] { (name) }
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    q: Option<String>,
    from: Option<String>,
}

/// One setting.
struct Setting {
    key: String,
    value: Value,
    /// `default`, `file`, `env` or `flag`.
    layer: String,
    /// Where exactly.
    place: String,
}

/// `/admin/settings?q&from`; `from=set` for what is not as it ships.
pub(crate) async fn show(visit: Visit, asked: Query<Asked>) -> Result<Sheet, Problem> {
    let all = settings(&visit.shared.config);
    let sought = asked.q.as_deref().unwrap_or_default().trim().to_lowercase();
    let wanted = |setting: &&Setting| {
        let from = match asked.from.as_deref() {
            None | Some("") => true,
            Some("set") => setting.layer != "default",
            Some(layer) => setting.layer == layer,
        };
        let said = WORDS
            .get(&setting.key)
            .map(|words| words.to_lowercase())
            .unwrap_or_default();
        from && (sought.is_empty() || setting.key.contains(&sought) || said.contains(&sought))
    };
    let shown: Vec<&Setting> = all.iter().filter(wanted).collect();
    let set = all.iter().filter(|setting| setting.layer != "default").count();
    let layers = [
        ("set", "not as it ships"),
        ("file", "the settings file"),
        ("env", "the environment"),
        ("flag", "a flag"),
        ("default", "the defaults"),
    ];
    let content = html! {
        (parts::heading("Settings", html! {
            (set) " of " (all.len()) " are not as they ship. They are read when the service starts: change them in its file or environment, then start it anew."
        }, html! {}))
        (tabs(&visit, "/admin/settings"))
        (parts::filters(&visit.url("/admin/settings"), html! {
            (parts::filter("q", "Search", "webhook", asked.q.as_deref()))
            (parts::choice("from", "From", "anywhere", layers, asked.from.as_deref()))
        }))
        @if shown.is_empty() {
            (parts::empty("No such setting", html! { a href=(visit.url("/admin/settings")) { "Show all settings" } "." }))
        }
        @for (section, settings) in sections(&shown) {
            (card(section, &settings))
        }
    };
    Ok(visit.sheet(Section::Settings, "Settings", content))
}

/// Every setting of the layers that boot has put together, in the order of the file that ships.
fn settings(layers: &Value) -> Vec<Setting> {
    fn walk(path: &str, value: &Value, provenance: &Value, into: &mut Vec<Setting>) {
        if let (None, Value::Object(map)) = (provenance.get(path), value) {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                walk(&path, value, provenance, into);
            }
            return;
        }
        let origin = &provenance[path];
        let text = |key: &str| origin[key].as_str().unwrap_or_default();
        let place = match text("layer") {
            "file" => format!("{}:{}", text("path"), origin["line"]),
            _ => text("name").to_owned(),
        };
        into.push(Setting {
            key: path.to_owned(),
            value: value.clone(),
            layer: origin["layer"].as_str().unwrap_or("default").to_owned(),
            place,
        });
    }
    let mut all = Vec::new();
    walk("", &layers["merged"], &layers["provenance"], &mut all);
    all
}

/// The settings by their sections; those of no section come first.
fn sections<'a>(settings: &[&'a Setting]) -> Vec<(&'a str, Vec<&'a Setting>)> {
    let mut sections: Vec<(&str, Vec<&Setting>)> = Vec::new();
    for setting in settings {
        let name = setting.key.split_once('.').map_or("", |(section, _)| section);
        match sections.iter_mut().find(|(known, _)| *known == name) {
            Some((_, settings)) => settings.push(setting),
            None => sections.push((name, vec![setting])),
        }
    }
    sections.sort_by_key(|(name, _)| !name.is_empty());
    sections
}

fn card(section: &str, settings: &[&Setting]) -> Markup {
    let title = if section.is_empty() { "General" } else { section };
    let rows = settings.iter().map(|setting| Row {
        href: None,
        cells: vec![
            html! {
                code { (setting.key) }
                @if let Some(words) = WORDS.get(&setting.key) { span.under { (words) } }
            },
            value(&setting.value),
            origin(setting),
        ],
    });
    html! {
        section.card.settings id={ "section-" (title) } {
            header { h2 { (title) } @if let Some(words) = WORDS.get(section) { p.quiet.small { (words) } } }
            (parts::table(title, &["Setting", "Value", "From"], rows))
        }
    }
}

fn value(of: &Value) -> Markup {
    match of {
        Value::Null => html! { span.quiet { "not set" } },
        Value::String(text) if text == REDACTED => parts::badge(Tone::Quiet, "set, not shown"),
        Value::String(text) if text.is_empty() => html! { span.quiet { "empty" } },
        Value::String(text) => html! { code { (parts::foreign(text)) } },
        Value::Array(items) if items.is_empty() => html! { span.quiet { "none" } },
        Value::Object(map) if map.is_empty() => html! { span.quiet { "none" } },
        Value::Array(items) => html! { ul.values { @for item in items { li { (value(item)) } } } },
        other => html! { code { (other) } },
    }
}

fn origin(setting: &Setting) -> Markup {
    match setting.layer.as_str() {
        "default" => html! { span.quiet { "default" } },
        "file" => html! { (parts::badge(Tone::Busy, "file")) span.under { (parts::foreign(&setting.place)) } },
        "env" => html! { (parts::badge(Tone::Busy, "environment")) span.under { (parts::foreign(&setting.place)) } },
        _ => html! { (parts::badge(Tone::Busy, "flag")) span.under { (parts::foreign(&setting.place)) } },
    }
}

/// What the comments above each key say, by the key's path.
fn words(yaml: &str) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut comment = String::new();
    for line in yaml.lines() {
        let text = line.trim_start();
        let depth = line.len() - text.len();
        if let Some(words) = text.strip_prefix('#') {
            if !comment.is_empty() {
                comment.push(' ');
            }
            comment.push_str(words.trim());
            continue;
        }
        if let Some((key, _)) = text.split_once(':').filter(|(key, _)| !key.contains(['-', ' ', '"'])) {
            path.retain(|(above, _)| *above < depth);
            path.push((depth, key));
            let key: Vec<&str> = path.iter().map(|(_, key)| *key).collect();
            if !comment.is_empty() {
                said.insert(key.join("."), beginning(&comment).to_owned());
            }
        }
        // What is said above an empty line is about the whole file.
        comment.clear();
    }
    said
}

/// The first sentences of a comment; examples come behind them.
fn beginning(comment: &str) -> &str {
    const ENOUGH: usize = 240;
    if comment.len() <= ENOUGH {
        return comment;
    }
    let ends = comment.match_indices(". ").map(|(at, _)| at + 1);
    let end = ends.take_while(|at| *at <= ENOUGH).last();
    end.map_or(comment, |end| &comment[..end])
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct TokensAsked {
    state: Option<String>,
    method: Option<String>,
    before: Option<i64>,
}

/// `/admin/settings/tokens?state&method&before`: those that are worth something, or with `state=all` all that are remembered.
pub(crate) async fn tokens(visit: Visit, asked: Query<TokensAsked>) -> Result<Sheet, Problem> {
    let filter = TokenFilter {
        live_at: (asked.state.as_deref() != Some("all")).then_some(visit.now),
        method: asked.method.clone().filter(|method| !method.is_empty()),
        before: asked.before,
        limit: PAGE,
    };
    let page = visit.doors.list_tokens.send(ListTokens(filter)).await??;
    let may_rule = visit.viewer().is_some_and(|viewer| viewer.may_rule);
    let methods = [
        ("token", "made by hand"),
        ("session", "session in a browser"),
        ("password", "password"),
        ("github", "GitHub"),
        ("slack", "Slack"),
    ];
    let content = html! {
        (parts::heading("Settings", html! { "Who may come in: tokens for scripts and agents, and the sessions of those who signed in." }, html! {}))
        (tabs(&visit, "/admin/settings/tokens"))
        div.stack data-module=(visit.url(&assets::path("once.js"))) {
            @if may_rule { (make(&visit)) } @else {
                (parts::note(Tone::Quiet, html! { p { "Tokens are made and revoked by whoever signed in with the password." } }))
            }
            (parts::filters(&visit.url("/admin/settings/tokens"), html! {
                (parts::choice("state", "State", "good for something", [("all", "all that are remembered")], asked.state.as_deref()))
                (parts::choice("method", "How", "any way", methods, asked.method.as_deref()))
            }))
            (parts::live("tokens", "audit", html! {
                @if page.items.is_empty() {
                    (parts::empty("No such token", html! { a href=(visit.url("/admin/settings/tokens")) { "Show those that are good for something" } "." }))
                } @else {
                    (table(&visit, &page.items, may_rule))
                    (parts::pager(&visit, page.next))
                }
            }))
        }
    };
    Ok(visit.sheet(Section::Settings, "Tokens", content))
}

fn make(visit: &Visit) -> Markup {
    parts::card(
        "Make a token",
        html! {},
        html! {
            form.form data-api=(visit.url("/admin/api/tokens")) data-done="The token is made." data-reset="" data-reveal="token"
                data-reveal-title="The new token"
                data-reveal-words="It is shown this once. Copy it now: scripts send it as Authorization: Bearer, the command line reads it from FIRSTLIGHT_TOKEN." {
                div.grid.fields {
                    (parts::field("label", "What for", "Stands in the audit log beside your name.", html! {
                        input #label name="label" required maxlength="64" placeholder="the nightly report" autocomplete="off" data-search=""
                            aria-describedby="label-help";
                    }))
                    (parts::field("scope", "May", "No more than it needs.", html! {
                        select #scope name="scope" aria-describedby="scope-help" {
                            option value="read" { "only look" }
                            option value="operate" { "start and decide as well" }
                            option value="admin" { "everything, tokens too" }
                        }
                    }))
                    (parts::field("days", "For how many days", "At most 366.", html! {
                        input #days type="number" name="days" min="1" max="366" value="90" required data-as="number" aria-describedby="days-help";
                    }))
                }
                div.buttons { button.primary type="submit" { "Make it" } }
                p.trouble role="alert" {}
            }
        },
    )
}

fn table(visit: &Visit, tokens: &[IssuedToken], may_rule: bool) -> Markup {
    let mine = visit
        .viewer()
        .map(|viewer| viewer.token.as_str())
        .filter(|id| !id.is_empty());
    let rows = tokens.iter().map(|token| {
        let live = token.revoked_at.is_none() && token.expires_at > visit.now;
        let this = mine == Some(token.id.as_str());
        Row {
            href: None,
            cells: vec![
                html! {
                    strong { (parts::foreign(token.label.as_deref().unwrap_or(&token.who))) }
                    @if this { " " span.badge.still data-tone="good" { "you, here" } }
                    span.under {
                        @if token.label.is_some() { "speaks for " (parts::foreign(&token.who)) ", " }
                        (how(&token.method))
                    }
                },
                html! { (may(&token.scope)) },
                html! {
                    @match token.last_used_at { Some(at) => (parts::time(at)), None => span.quiet { "not yet" } }
                    span.under { "made " (parts::time(token.created_at)) }
                },
                html! {
                    @if let Some(at) = token.revoked_at {
                        (parts::badge(Tone::Quiet, "revoked"))
                        span.under { (parts::time(at)) @if let Some(by) = &token.revoked_by { " by " (parts::foreign(by)) } }
                    } @else if live {
                        "runs out " (parts::time(token.expires_at))
                    } @else {
                        (parts::badge(Tone::Quiet, "ran out")) span.under { (parts::time(token.expires_at)) }
                    }
                },
                html! {
                    @if live && may_rule {
                        button.danger type="button" data-api=(visit.url(&format!("/admin/api/tokens/{}", path_part(&token.id)))) data-method="DELETE"
                            data-confirm=(question(token, this)) data-done="It is worth nothing any more." { "Revoke" }
                    }
                },
            ],
        }
    });
    parts::table(
        "Tokens, the latest first",
        &["For", "May", "Last used", "Until", "Take back"],
        rows,
    )
}

fn question(token: &IssuedToken, this: bool) -> String {
    let name = token.label.as_deref().unwrap_or(&token.who);
    match this {
        true => "This is your own session: you are signed out at once.".to_owned(),
        false => format!("Whoever shows the token of {name} is refused from now on. It cannot be undone."),
    }
}

fn how(method: &str) -> &str {
    match method {
        "token" => "made by hand",
        "session" => "signed in here",
        "password" => "signed in with the password",
        "github" => "signed in with GitHub",
        "slack" => "signed in with Slack",
        other => other,
    }
}

fn may(scope: &str) -> &str {
    match scope {
        "read" => "look",
        "operate" => "start and decide",
        "admin" => "everything",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_setting_that_ships_is_told_in_the_words_of_its_file() {
        let words = words(DEFAULTS);
        let listen = words.get("server.listen").expect("told");
        assert!(listen.starts_with("Address and port to listen on."), "{listen}");
        assert!(words.contains_key("managed_repos") && words.contains_key("server"));
        assert!(words.len() > 50, "{}", words.len());
    }

    #[test]
    fn a_value_is_shown_with_the_place_it_came_from() {
        let layers = json!({
            "merged": { "server": { "listen": "0.0.0.0:1" }, "state_dir": "./data", "runtimes": {} },
            "provenance": {
                "server.listen": { "layer": "file", "path": "firstlight.yaml", "line": 3 },
                "state_dir": { "layer": "env", "name": "STATE_DIR" },
                "runtimes": { "layer": "default" },
            },
        });
        let shown: Vec<_> = settings(&layers)
            .into_iter()
            .map(|one| (one.key, one.layer, one.place))
            .collect();
        let of = |key: &str, layer: &str, place: &str| (key.to_owned(), layer.to_owned(), place.to_owned());
        for expected in [
            of("server.listen", "file", "firstlight.yaml:3"),
            of("state_dir", "env", "STATE_DIR"),
            of("runtimes", "default", ""),
        ] {
            assert!(shown.contains(&expected), "{expected:?} in {shown:?}");
        }
    }
}
