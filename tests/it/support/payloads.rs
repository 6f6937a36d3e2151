//! Small payloads of GitHub's shape, for tests that look at one thing. The realistic ones are the fixtures of `firstlight send`.

use serde_json::{Value, json};

/// The frame of every payload: action, a person, a managed repository.
pub(crate) fn payload(action: &str) -> Value {
    json!({
        "action": action,
        "sender": { "login": "ann", "type": "User" },
        "repository": { "full_name": "acme/site" },
    })
}

/// Of an issue.
pub(crate) fn issue(action: &str, number: u64, title: &str) -> Value {
    let mut payload = payload(action);
    payload["issue"] = json!({
        "number": number, "title": title, "body": "It fails on Tuesdays.", "labels": [{ "name": "bug" }],
        "author_association": "NONE",
    });
    payload
}

/// Of a pull request.
pub(crate) fn pull_request(action: &str, number: u64, title: &str) -> Value {
    let mut payload = payload(action);
    payload["pull_request"] = json!({
        "number": number, "title": title, "body": "Mends it.", "labels": [], "author_association": "MEMBER",
        "merged": false,
    });
    payload
}

/// Of a comment on an issue.
pub(crate) fn comment(number: u64, association: &str, body: &str) -> Value {
    let mut payload = issue("created", number, "It broke");
    payload["comment"] = json!({ "id": 4711, "body": body, "author_association": association });
    payload
}
