//! The running service: whether it answers, goes by these settings, and is what the public address leads to. Looks, and changes nothing.

use actors::clock::SharedClock;
use serde_json::{Map, Value};
use url::{Host, Url};

use super::super::api::Api;
use super::super::client::{Client, Method, NoAnswer, call_raw, client, exchange};
use super::report::Check;
use super::{in_time, many};
use crate::boot;
use crate::settings::{Loaded, Settings};

const SERVICE: &str = "service";
const PUBLIC: &str = "public url";
const PROXY: &str = "proxy";
const PUBLIC_URL: &str = "PUBLIC_URL (server.public_url)";
const LISTEN: &str = "server.listen, or FIRSTLIGHT_URL (client.url)";

pub(super) async fn examine(loaded: &Loaded, clock: &SharedClock) -> Vec<Check> {
    let settings = &loaded.settings;
    if !settings.serves_http() {
        let set = "server.always: true";
        return vec![Check::skipped(
            SERVICE,
            "there is no HTTP server: github.enabled is false",
            Some(set),
        )];
    }
    let client = client();
    let (mut checks, answers) = reach(settings, &client, clock).await;
    let (api, word) = match answers {
        true => match known(settings, clock).await {
            Some((api, word)) => {
                checks.extend(same_settings(loaded, &api, clock).await);
                (Some(api), Some(word))
            }
            None => {
                checks.push(Check::skipped(
                    SERVICE,
                    "it does not know us, so its settings were not compared",
                    Some("firstlight login"),
                ));
                (None, None)
            }
        },
        false => (None, None),
    };
    match &settings.server.public_url {
        Some(public) => {
            checks.extend(public_address(settings, public.url(), &client, api.as_ref(), word.as_deref(), clock).await);
        }
        None => {
            let why = "no public address is set, so links in messages lead nowhere";
            checks.push(Check::skipped(PUBLIC, why, Some(PUBLIC_URL)));
        }
    }
    checks
}

/// Whether the service answers where it should.
async fn reach(settings: &Settings, client: &Client, clock: &SharedClock) -> (Vec<Check>, bool) {
    let base = settings.client_url();
    let holder = boot::holder(&settings.state_dir);
    let check = match in_time(clock, exchange(client, &base, "/ready", &[], None)).await {
        Some(Ok(answer)) if answer.status == 200 && answer.text.contains("ready") => {
            let of = holder.map_or_else(String::new, |pid| format!(" (process {pid})"));
            return (vec![Check::ok(SERVICE, format!("ready at {base}{of}"))], true);
        }
        Some(Ok(answer)) if answer.status == 503 => Check::failed(
            SERVICE,
            format!("{base} is not ready: {}", error_of(&answer.text)),
            "it starts, stops, or its store does not answer",
            "look at its log",
        ),
        Some(Ok(answer)) => Check::failed(
            SERVICE,
            format!("{base} answers {} and is no Firstlight", answer.status),
            "another program listens there",
            LISTEN,
        ),
        Some(Err(NoAnswer::NotRunning(_))) => match holder {
            Some(pid) => Check::failed(
                SERVICE,
                format!("process {pid} has the state folder, and nothing answers at {base}"),
                "the service listens at another address than these settings say",
                LISTEN,
            ),
            None => Check::skipped(
                SERVICE,
                format!("nothing runs at {base}"),
                Some("start it with: firstlight serve"),
            ),
        },
        Some(Err(error)) => Check::failed(SERVICE, error.to_string(), "another program listens there", LISTEN),
        None => Check::failed(
            SERVICE,
            format!("{base} does not answer within 5 s"),
            "the service is stuck, or another program listens there",
            "look at its log",
        ),
    };
    (vec![check], false)
}

fn error_of(text: &str) -> String {
    let said: Value = serde_json::from_str(text).unwrap_or_default();
    said["error"].as_str().unwrap_or("no explanation").to_owned()
}

/// The API, with the first token that it knows, and a word to show at the public address: the token of the settings or of
/// `firstlight login`; on this machine, one made with the key in the state folder.
async fn known(settings: &Settings, clock: &SharedClock) -> Option<(Api, String)> {
    let own = on_this_machine(settings)
        .then(|| boot::token_to_look(settings, clock))
        .flatten()
        .map(|token| Api::with(settings.client_url(), Some(token)));
    for api in own.into_iter().chain([Api::of(settings)]) {
        if let Some(Ok(answer)) = in_time(clock, api.get("/admin/api/knocks")).await
            && let Some(word) = answer["word"].as_str()
        {
            return Some((api, word.to_owned()));
        }
    }
    None
}

/// Whether the service that commands ask is on this machine: a token made here is shown to no other.
fn on_this_machine(settings: &Settings) -> bool {
    let Some(url) = &settings.client.url else { return true };
    is_loopback(url.url())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether the service goes by the settings that were examined here.
async fn same_settings(loaded: &Loaded, api: &Api, clock: &SharedClock) -> Option<Check> {
    const SHOWN: usize = 5;
    let theirs = in_time(clock, api.get("/admin/api/config")).await?.ok()?;
    let ours = loaded.layers();
    let mut differ = Vec::new();
    differences("", &ours["merged"], &theirs["merged"], &mut differ);
    // How commands find it, and on which port it ended up, are no matter of the service.
    differ.retain(|key| !key.starts_with("client") && key != "server.listen" && !key.starts_with("log."));
    if differ.is_empty() {
        return None;
    }
    let more = differ.len().saturating_sub(SHOWN);
    let mut shown = differ[..differ.len().min(SHOWN)].join(", ");
    if more > 0 {
        shown.push_str(&format!(" and {more} more"));
    }
    Some(Check::warning(
        SERVICE,
        format!("it goes by other values of {}: {shown}", many(differ.len(), "setting")),
        "it was started with another environment or file, or has not been started again since a change",
        "run this command as the service is run, or start the service again",
    ))
}

/// Keys whose values differ; secrets only by whether there are any.
fn differences(path: &str, ours: &Value, theirs: &Value, into: &mut Vec<String>) {
    let nothing = Map::new();
    if let (Value::Object(ours), Value::Object(theirs)) = (ours, theirs) {
        let keys = ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key)));
        for key in keys {
            let path = match path {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            };
            let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
            differences(&path, &of(ours), &of(theirs), into);
        }
    } else if ours != theirs && !(ours.is_null() && theirs.as_object() == Some(&nothing)) {
        into.push(path.to_owned());
    }
}

async fn public_address(
    settings: &Settings,
    public: &Url,
    client: &Client,
    api: Option<&Api>,
    word: Option<&str>,
    clock: &SharedClock,
) -> Vec<Check> {
    let base = public.as_str().trim_end_matches('/');
    let headers: Vec<(&str, &str)> = word.map(|word| ("x-firstlight-knock", word)).into_iter().collect();
    let asked = in_time(clock, call_raw(client, Method::GET, base, "/health", &headers, None)).await;
    let failed = |found: String, cause: &str, set: &str| vec![Check::failed(PUBLIC, found, cause, set)];
    let answer = match asked {
        Some(Ok(answer)) => answer,
        Some(Err(NoAnswer::NotRunning(_))) => {
            return failed(
                format!("{base} cannot be reached from here"),
                "its name is unknown to DNS, or nothing listens there; some routers do not let a network reach its own public address",
                PUBLIC_URL,
            );
        }
        Some(Err(error)) => {
            return failed(
                error.to_string(),
                "the proxy in front, or its certificate",
                "the certificate of the proxy",
            );
        }
        None => {
            return failed(
                format!("{base} does not answer within 5 s"),
                "a firewall, or a proxy that does not reach the service",
                "where the proxy hands requests on to (server.listen)",
            );
        }
    };
    if let Some((found, cause, set)) = not_ours(base, answer.status, &answer.text(), answer.header("location")) {
        return failed(found, cause, &set);
    }
    let mut checks = Vec::new();
    let heard = match (api, word) {
        (Some(api), Some(word)) => {
            let path = format!("/admin/api/knocks/{word}");
            in_time(clock, api.get(&path)).await.and_then(Result::ok)
        }
        _ => None,
    };
    match heard {
        None => checks.push(Check::skipped(
            PUBLIC,
            format!("a Firstlight answers at {base}; whether it is this one could not be told"),
            Some("start the service here, or firstlight login"),
        )),
        Some(heard) if heard["heard"].is_null() => {
            return failed(
                format!("a Firstlight answers at {base}, and it is not this one"),
                "the address leads to another machine or another service",
                PUBLIC_URL,
            );
        }
        Some(heard) => {
            checks.push(Check::ok(PUBLIC, format!("{base} leads to this service")));
            checks.push(forwarded(
                &heard["heard"],
                public,
                !settings.server.trusted_proxies.is_empty(),
            ));
        }
    }
    if public.scheme() != "https" && !is_loopback(public) {
        checks.push(Check::warning(
            PUBLIC,
            format!("{base} is not protected"),
            "passwords and tokens travel in the open",
            "PUBLIC_URL (server.public_url) with https://, and TLS in the proxy",
        ));
    }
    checks
}

/// What is wrong with an answer that is not our `/health`.
fn not_ours(base: &str, status: u16, text: &str, location: Option<&str>) -> Option<(String, &'static str, String)> {
    let said: Value = serde_json::from_str(text).unwrap_or_default();
    if status == 200 && said["status"] == "ok" && said["connector"].is_string() {
        return None;
    }
    let found = format!("{base}/health answers {status}");
    Some(match status {
        200 => (
            format!("{found}, and not as Firstlight does"),
            "another program answers there",
            PUBLIC_URL.to_owned(),
        ),
        301..=308 => {
            // Only an address that asks the same there is another one of ours; the rest is somebody's sign-in.
            let to = location
                .and_then(|to| to.strip_suffix("/health"))
                .filter(|to| to.starts_with("http://") || to.starts_with("https://"));
            match to {
                Some(to) => (
                    format!("{found} and sends on to {to}"),
                    "GitHub follows no redirects",
                    format!("PUBLIC_URL (server.public_url): {to}"),
                ),
                None => (
                    format!("{found} and sends on elsewhere"),
                    "the proxy asks for a sign-in of its own, which GitHub does not have",
                    "let /webhooks/github and /health through at the proxy".to_owned(),
                ),
            }
        }
        401 | 403 => (
            found,
            "the proxy asks for a sign-in of its own, which GitHub does not have",
            "let /webhooks/github and /health through at the proxy".to_owned(),
        ),
        404 => (
            found,
            "the base path is another one, or the proxy does not hand it on",
            PUBLIC_URL.to_owned(),
        ),
        502..=504 => (
            found,
            "the proxy does not reach the service",
            "where the proxy hands requests on to (server.listen)".to_owned(),
        ),
        _ => (
            found,
            "another program answers there, or the proxy refuses",
            PUBLIC_URL.to_owned(),
        ),
    })
}

/// Whether callers are told apart behind the proxy.
fn forwarded(heard: &Value, public: &Url, proxies_are_named: bool) -> Check {
    const ALL: &str = "everybody looks like the proxy: one wrong password counts against all";
    let text = |key: &str| heard[key].as_str().unwrap_or_default().to_owned();
    let (peer, client) = (text("peer"), text("client"));
    let x_forwarded = text("reads") == "x-forwarded-for";
    let (read, other) = match x_forwarded {
        true => ("X-Forwarded-For", "Forwarded"),
        false => ("Forwarded", "X-Forwarded-For"),
    };
    let (said, said_otherwise) = match x_forwarded {
        true => (heard["forwardedFor"].as_str(), heard["forwarded"].as_str()),
        false => (heard["forwarded"].as_str(), heard["forwardedFor"].as_str()),
    };
    let trusted = heard["peerIsTrusted"] == true;
    if said.is_none() && said_otherwise.is_some() && (trusted || public.scheme() == "https") {
        return Check::warning(
            PROXY,
            format!("requests come from {peer} with {other}, and {read} is read"),
            ALL,
            format!("server.forwarded_header: {}", other.to_lowercase()),
        );
    }
    match (said, trusted) {
        (None, _) if public.scheme() == "https" || proxies_are_named => Check::warning(
            PROXY,
            format!("requests come from {peer} without {read}"),
            ALL,
            format!("{read} of the proxy, as in config/examples/nginx.conf"),
        ),
        (None, _) => Check::ok(PROXY, "there is none between"),
        (Some(_), false) => Check::warning(
            PROXY,
            format!("requests come from {peer}, which is not named as a proxy"),
            format!("what it says of callers is ignored, so {ALL}"),
            format!("server.trusted_proxies: [{peer}]"),
        ),
        (Some(_), true) if public.scheme() == "https" && heard["byTls"] != true => Check::warning(
            PROXY,
            format!("{peer} does not say that callers come by TLS"),
            "the service takes them for unprotected ones",
            match x_forwarded {
                true => "X-Forwarded-Proto of the proxy, as in config/examples/nginx.conf",
                false => "proto=https in Forwarded, at the proxy",
            },
        ),
        (Some(_), true) => Check::ok(PROXY, format!("{peer} is trusted, and this request came from {client}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::Verdict;
    use super::*;

    #[test]
    fn what_the_proxy_says_is_judged() {
        let heard = |trusted: bool, list: Option<&str>, tls: bool| {
            json!({ "peer": "10.0.0.2", "client": "203.0.113.9", "peerIsTrusted": trusted, "forwardedFor": list,
                "reads": "x-forwarded-for", "byTls": tls })
        };
        let with = |mut heard: Value, key: &str, value: &str| {
            heard[key] = value.into();
            heard
        };
        const HTTPS: &str = "https://bot.example.com";
        let list = Some("1.2.3.4, 203.0.113.9");
        let table = [
            ("http://127.0.0.1:1", false, heard(false, None, false), Verdict::Ok, ""),
            (
                HTTPS,
                false,
                heard(false, None, false),
                Verdict::Warning,
                "X-Forwarded-For of the proxy",
            ),
            (
                "http://bot.example.com",
                true,
                heard(true, None, false),
                Verdict::Warning,
                "X-Forwarded-For of the proxy",
            ),
            (
                HTTPS,
                false,
                heard(false, list, false),
                Verdict::Warning,
                "server.trusted_proxies: [10.0.0.2]",
            ),
            (HTTPS, true, heard(true, list, true), Verdict::Ok, ""),
            (
                HTTPS,
                true,
                heard(true, list, false),
                Verdict::Warning,
                "X-Forwarded-Proto",
            ),
            (
                "http://bot.example.com",
                true,
                heard(true, list, false),
                Verdict::Ok,
                "",
            ),
            (
                HTTPS,
                true,
                with(heard(true, None, false), "forwarded", "for=203.0.113.9"),
                Verdict::Warning,
                "server.forwarded_header: forwarded",
            ),
            (
                HTTPS,
                true,
                with(heard(true, list, false), "reads", "forwarded"),
                Verdict::Warning,
                "server.forwarded_header: x-forwarded-for",
            ),
        ];
        for (public, named, heard, verdict, set) in table {
            let check = forwarded(&heard, &public.parse().expect("a URL"), named);
            assert_eq!(check.verdict, verdict, "{heard}");
            assert!(check.fix.unwrap_or_default().contains(set), "{heard}");
        }
    }

    #[test]
    fn settings_that_differ_are_named_by_their_keys() {
        let mut keys = Vec::new();
        differences(
            "",
            &json!({ "a": { "b": 1, "c": [1] }, "same": "x", "gone": 1, "empty": null }),
            &json!({ "a": { "b": 2, "c": [1] }, "same": "x", "fresh": true, "empty": {} }),
            &mut keys,
        );
        assert_eq!(keys, ["a.b", "gone", "fresh"]);
    }
}
