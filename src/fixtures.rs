//! Deliveries as GitHub sends them, with invented people: for `firstlight send`, the playground, the demo, tests and benchmarks. Sends nothing.

use serde_json::{Map, Value, json};

/// What the caller may choose of a delivery; the rest is invented.
#[derive(Debug, Clone)]
pub struct Details {
    /// `owner/name`.
    pub repo: String,
    /// Number of the issue or pull request.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// What was written: the text of the issue, pull request, comment or review.
    pub body: String,
    /// Who did it.
    pub login: String,
    /// The author's standing, such as `MEMBER`.
    pub association: String,
}

impl Default for Details {
    fn default() -> Self {
        Self {
            repo: "acme/site".into(),
            number: 7,
            title: "Checkout fails with a 500 when the basket is empty".into(),
            body: "Steps to reproduce:\n\n1. Open the shop and put nothing into the basket\n2. Press \"Check out\"\n\n\
                   I expected a friendly hint, but I got an error page instead:\n\n```\nHTTP 500: index out of range\n```\n\n\
                   Version 2.4.1, Firefox on Linux."
                .into(),
            login: "ann".into(),
            association: "CONTRIBUTOR".into(),
        }
    }
}

/// Each delivery that can be made, with the value of `X-GitHub-Event` and the action in its payload.
const DELIVERIES: &[(&str, &str, &str)] = &[
    ("issues.opened", "issues", "opened"),
    ("issues.reopened", "issues", "reopened"),
    ("issues.closed", "issues", "closed"),
    ("issues.edited", "issues", "edited"),
    ("issues.labeled", "issues", "labeled"),
    ("pull_request.opened", "pull_request", "opened"),
    ("pull_request.synchronize", "pull_request", "synchronize"),
    ("pull_request.reopened", "pull_request", "reopened"),
    ("pull_request.closed", "pull_request", "closed"),
    ("pull_request.merged", "pull_request", "closed"),
    ("issue_comment.created", "issue_comment", "created"),
    ("issue_comment.created_on_pr", "issue_comment", "created"),
    ("pull_request_review.submitted", "pull_request_review", "submitted"),
    (
        "pull_request_review_comment.created",
        "pull_request_review_comment",
        "created",
    ),
    ("star.created", "star", "created"),
    ("ping", "ping", ""),
];

/// There is no delivery of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown event \"{name}\"{}; known: {}", nearest.map(|n| format!(", did you mean \"{n}\"?")).unwrap_or_default(), known.join(", "))]
pub struct UnknownEvent {
    /// As asked.
    pub name: String,
    /// The one that was probably meant.
    pub nearest: Option<&'static str>,
    /// What there is.
    pub known: Vec<&'static str>,
}

/// The deliveries that can be made, by name.
pub fn names() -> impl Iterator<Item = &'static str> {
    DELIVERIES.iter().map(|(name, _, _)| *name)
}

/// A delivery: the value of `X-GitHub-Event`, and the payload (9 to 25 kB of JSON, as GitHub's are).
///
/// # Errors
/// When there is no delivery of this name.
pub fn payload(name: &str, details: &Details) -> Result<(&'static str, Value), UnknownEvent> {
    let Some((name, event, action)) = DELIVERIES.iter().find(|(known, _, _)| *known == name) else {
        return Err(UnknownEvent {
            name: name.chars().take(100).collect(),
            nearest: actors::yaml::nearest(name, names()),
            known: names().collect(),
        });
    };
    let made = Maker {
        details,
        api: format!("https://api.github.com/repos/{}", details.repo),
    };
    let mut payload = Map::new();
    if !action.is_empty() {
        payload.insert("action".into(), (*action).into());
    }
    match *event {
        "issues" => put(
            &mut payload,
            "issue",
            made.issue(*action == "closed", false, &details.body),
        ),
        "issue_comment" => {
            put(
                &mut payload,
                "issue",
                made.issue(false, *name == "issue_comment.created_on_pr", "It fails on Tuesdays."),
            );
            put(&mut payload, "comment", made.comment());
        }
        "pull_request" => {
            put(&mut payload, "number", json!(details.number));
            put(
                &mut payload,
                "pull_request",
                made.pull_request(*action == "closed", *name == "pull_request.merged"),
            );
        }
        "pull_request_review" => {
            put(&mut payload, "review", made.review());
            put(&mut payload, "pull_request", made.pull_request(false, false));
        }
        "pull_request_review_comment" => {
            put(&mut payload, "comment", made.line_comment());
            put(&mut payload, "pull_request", made.pull_request(false, false));
        }
        "star" => put(&mut payload, "starred_at", json!("2026-11-20T09:30:00Z")),
        _ => {
            put(&mut payload, "zen", json!("Design for failure."));
            put(&mut payload, "hook_id", json!(109_948_940));
            let config = json!({ "content_type": "json", "insecure_ssl": "0", "secret": "********" });
            put(
                &mut payload,
                "hook",
                json!({ "type": "App", "id": 109_948_940, "active": true, "events": ["issues", "pull_request"], "config": config }),
            );
        }
    }
    if *action == "labeled" {
        put(&mut payload, "label", made.label("bug", 208_045_946));
    }
    put(&mut payload, "repository", made.repository());
    put(&mut payload, "organization", made.organization());
    put(&mut payload, "sender", made.user(&details.login));
    put(
        &mut payload,
        "installation",
        json!({ "id": 4_711_001, "node_id": "MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9uNDcxMTAwMQ==" }),
    );
    Ok((event, Value::Object(payload)))
}

fn put(payload: &mut Map<String, Value>, key: &str, value: Value) {
    payload.insert(key.to_owned(), value);
}

fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// A number that stays the same for the same text, so that ids agree within a delivery and between two.
fn id_of(text: &str) -> u64 {
    text.bytes()
        .fold(17, |id, byte| (id * 31 + u64::from(byte)) % 99_999_989)
        + 1_000_000
}

struct Maker<'a> {
    details: &'a Details,
    api: String,
}

impl Maker<'_> {
    fn user(&self, login: &str) -> Value {
        let api = format!("https://api.github.com/users/{login}");
        json!({
            "login": login,
            "id": id_of(login),
            "node_id": format!("MDQ6VXNlcj{}", id_of(login)),
            "avatar_url": format!("https://avatars.githubusercontent.com/u/{}?v=4", id_of(login)),
            "gravatar_id": "",
            "url": api,
            "html_url": format!("https://github.com/{login}"),
            "followers_url": format!("{api}/followers"),
            "following_url": format!("{api}/following{{/other_user}}"),
            "gists_url": format!("{api}/gists{{/gist_id}}"),
            "starred_url": format!("{api}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{api}/subscriptions"),
            "organizations_url": format!("{api}/orgs"),
            "repos_url": format!("{api}/repos"),
            "events_url": format!("{api}/events{{/privacy}}"),
            "received_events_url": format!("{api}/received_events"),
            "type": if login.ends_with("[bot]") { "Bot" } else { "User" },
            "user_view_type": "public",
            "site_admin": false,
        })
    }

    fn owner(&self) -> &str {
        self.details
            .repo
            .split_once('/')
            .map_or(self.details.repo.as_str(), |(owner, _)| owner)
    }

    fn organization(&self) -> Value {
        let owner = self.owner();
        let api = format!("https://api.github.com/orgs/{owner}");
        json!({
            "login": owner,
            "id": id_of(owner),
            "node_id": format!("MDEyOk9yZ2FuaXphdGlvbj{}", id_of(owner)),
            "url": api,
            "repos_url": format!("{api}/repos"),
            "events_url": format!("{api}/events"),
            "hooks_url": format!("{api}/hooks"),
            "issues_url": format!("{api}/issues"),
            "members_url": format!("{api}/members{{/member}}"),
            "public_members_url": format!("{api}/public_members{{/member}}"),
            "avatar_url": format!("https://avatars.githubusercontent.com/u/{}?v=4", id_of(owner)),
            "description": "Everything for the roadrunner hunter",
        })
    }

    fn repository(&self) -> Value {
        let (repo, api) = (&self.details.repo, &self.api);
        let name = repo.split_once('/').map_or(repo.as_str(), |(_, name)| name);
        let mut repository = json!({
            "id": id_of(repo),
            "node_id": format!("R_kgDO{}", id_of(repo)),
            "name": name,
            "full_name": repo,
            "private": false,
            "owner": self.user(self.owner()),
            "html_url": format!("https://github.com/{repo}"),
            "description": "The shop and everything around it",
            "fork": false,
            "url": api,
        });
        const LINKS: &[&str] = &[
            "archive{/archive_format}{/ref}",
            "assignees{/user}",
            "blobs{/sha}",
            "branches{/branch}",
            "collaborators{/collaborator}",
            "comments{/number}",
            "commits{/sha}",
            "compare{/base}...{/head}",
            "contents{/path}",
            "contributors",
            "deployments",
            "downloads",
            "events",
            "forks",
            "git_commits{/sha}",
            "git_refs{/sha}",
            "git_tags{/sha}",
            "hooks",
            "issue_comment{/number}",
            "issue_events{/number}",
            "issues{/number}",
            "keys{/key_id}",
            "labels{/name}",
            "languages",
            "merges",
            "milestones{/number}",
            "notifications{?since,all,participating}",
            "pulls{/number}",
            "releases{/id}",
            "stargazers",
            "statuses{/sha}",
            "subscribers",
            "subscription",
            "tags",
            "teams",
            "trees{/sha}",
        ];
        for link in LINKS {
            let word = link.split(['{', '.']).next().unwrap_or(link);
            repository[format!("{word}_url")] = format!("{api}/{}", link.replace('_', "/")).into();
        }
        let more = json!({
            "created_at": "2019-05-15T15:19:25Z",
            "updated_at": "2026-11-19T18:02:11Z",
            "pushed_at": "2026-11-20T09:20:33Z",
            "git_url": format!("git://github.com/{repo}.git"),
            "ssh_url": format!("git@github.com:{repo}.git"),
            "clone_url": format!("https://github.com/{repo}.git"),
            "svn_url": format!("https://github.com/{repo}"),
            "homepage": "https://shop.example",
            "size": 48_213,
            "stargazers_count": 312,
            "watchers_count": 312,
            "language": "Rust",
            "has_issues": true,
            "has_projects": true,
            "has_downloads": true,
            "has_wiki": false,
            "has_pages": false,
            "has_discussions": false,
            "forks_count": 41,
            "mirror_url": null,
            "archived": false,
            "disabled": false,
            "open_issues_count": 23,
            "license": { "key": "apache-2.0", "name": "Apache License 2.0", "spdx_id": "Apache-2.0", "url": "https://api.github.com/licenses/apache-2.0", "node_id": "MDc6TGljZW5zZTI=" },
            "allow_forking": true,
            "is_template": false,
            "web_commit_signoff_required": false,
            "topics": ["shop", "rust"],
            "visibility": "public",
            "forks": 41,
            "open_issues": 23,
            "watchers": 312,
            "default_branch": "main",
            "custom_properties": {},
        });
        extend(&mut repository, more);
        repository
    }

    fn reactions(&self, of: &str) -> Value {
        json!({ "url": format!("{of}/reactions"), "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "hooray": 0, "confused": 0, "heart": 0, "rocket": 0, "eyes": 0 })
    }

    fn label(&self, name: &str, id: u64) -> Value {
        json!({ "id": id, "node_id": format!("MDU6TGFiZWw{id}"), "url": format!("{}/labels/{name}", self.api), "name": name, "color": "d73a4a", "default": true, "description": "Something isn't working" })
    }

    fn issue(&self, closed: bool, is_pull_request: bool, body: &str) -> Value {
        let Details {
            number,
            title,
            login,
            association,
            repo,
            ..
        } = self.details;
        let api = format!("{}/issues/{number}", self.api);
        let mut issue = json!({
            "url": api,
            "repository_url": self.api,
            "labels_url": format!("{api}/labels{{/name}}"),
            "comments_url": format!("{api}/comments"),
            "events_url": format!("{api}/events"),
            "html_url": format!("https://github.com/{repo}/issues/{number}"),
            "id": id_of(&api),
            "node_id": format!("I_kwDO{}", id_of(&api)),
            "number": number,
            "title": title,
            "user": self.user(login),
            "labels": [self.label("bug", 208_045_946)],
            "state": if closed { "closed" } else { "open" },
            "locked": false,
            "assignee": self.user("bea"),
            "assignees": [self.user("bea")],
            "milestone": null,
            "comments": 0,
            "created_at": "2026-11-20T09:30:00Z",
            "updated_at": "2026-11-20T09:30:00Z",
            "closed_at": if closed { json!("2026-11-20T09:45:00Z") } else { Value::Null },
            "author_association": association,
            "active_lock_reason": null,
            "sub_issues_summary": { "total": 0, "completed": 0, "percent_completed": 0 },
            "body": body,
            "reactions": self.reactions(&api),
            "timeline_url": format!("{api}/timeline"),
            "performed_via_github_app": null,
            "state_reason": if closed { json!("completed") } else { Value::Null },
        });
        if is_pull_request {
            let html = format!("https://github.com/{repo}/pull/{number}");
            issue["pull_request"] = json!({ "url": format!("{}/pulls/{number}", self.api), "html_url": html, "diff_url": format!("{html}.diff"), "patch_url": format!("{html}.patch"), "merged_at": null });
        }
        issue
    }

    fn comment(&self) -> Value {
        let Details {
            number,
            body,
            login,
            association,
            repo,
            ..
        } = self.details;
        let id = id_of(body);
        let api = format!("{}/issues/comments/{id}", self.api);
        json!({
            "url": api,
            "html_url": format!("https://github.com/{repo}/issues/{number}#issuecomment-{id}"),
            "issue_url": format!("{}/issues/{number}", self.api),
            "id": id,
            "node_id": format!("IC_kwDO{id}"),
            "user": self.user(login),
            "created_at": "2026-11-20T09:40:00Z",
            "updated_at": "2026-11-20T09:40:00Z",
            "author_association": association,
            "body": body,
            "reactions": self.reactions(&api),
            "performed_via_github_app": null,
        })
    }

    fn pull_request(&self, closed: bool, merged: bool) -> Value {
        let Details {
            number,
            title,
            body,
            login,
            association,
            repo,
        } = self.details;
        let api = format!("{}/pulls/{number}", self.api);
        let html = format!("https://github.com/{repo}/pull/{number}");
        let branch = |name: &str, sha: &str| json!({ "label": format!("{}:{name}", self.owner()), "ref": name, "sha": sha, "user": self.user(self.owner()), "repo": self.repository() });
        let mut pull_request = json!({
            "url": api,
            "id": id_of(&api),
            "node_id": format!("PR_kwDO{}", id_of(&api)),
            "html_url": html,
            "diff_url": format!("{html}.diff"),
            "patch_url": format!("{html}.patch"),
            "issue_url": format!("{}/issues/{number}", self.api),
            "number": number,
            "state": if closed { "closed" } else { "open" },
            "locked": false,
            "title": title,
            "user": self.user(login),
            "body": body,
            "created_at": "2026-11-20T09:30:00Z",
            "updated_at": "2026-11-20T09:30:00Z",
            "closed_at": if closed { json!("2026-11-20T09:45:00Z") } else { Value::Null },
            "merged_at": if merged { json!("2026-11-20T09:45:00Z") } else { Value::Null },
            "merge_commit_sha": "9049f1265b7d61be4a8904a9a27120d2064dab3b",
            "assignee": null,
            "assignees": [],
            "requested_reviewers": [],
            "requested_teams": [],
            "labels": [],
            "milestone": null,
            "draft": false,
        });
        extend(
            &mut pull_request,
            json!({
                "commits_url": format!("{api}/commits"),
                "review_comments_url": format!("{api}/comments"),
                "comments_url": format!("{}/issues/{number}/comments", self.api),
                "statuses_url": format!("{}/statuses/6dcb09b5b57875f334f61aebed695e2e4193db5e", self.api),
                "head": branch("empty-basket", "6dcb09b5b57875f334f61aebed695e2e4193db5e"),
                "base": branch("main", "c3d0be41ecbe669545ee3e94d31ed9a4bc91ee3c"),
                "author_association": association,
                "auto_merge": null,
                "merged": merged,
                "mergeable": null,
                "comments": 0,
                "review_comments": 0,
                "maintainer_can_modify": false,
                "commits": 2,
                "additions": 14,
                "deletions": 3,
                "changed_files": 2,
            }),
        );
        pull_request
    }

    fn review(&self) -> Value {
        let Details {
            number,
            body,
            login,
            association,
            repo,
            ..
        } = self.details;
        let id = id_of(body);
        json!({
            "id": id,
            "node_id": format!("PRR_kwDO{id}"),
            "user": self.user(login),
            "body": body,
            "commit_id": "6dcb09b5b57875f334f61aebed695e2e4193db5e",
            "submitted_at": "2026-11-20T09:40:00Z",
            "state": "commented",
            "html_url": format!("https://github.com/{repo}/pull/{number}#pullrequestreview-{id}"),
            "pull_request_url": format!("{}/pulls/{number}", self.api),
            "author_association": association,
        })
    }

    fn line_comment(&self) -> Value {
        let mut comment = self.comment();
        let number = self.details.number;
        comment["pull_request_review_id"] = json!(id_of("review"));
        comment["diff_hunk"] = json!("@@ -10,7 +10,9 @@ fn check_out(basket: &Basket) -> Page {");
        comment["path"] = json!("src/checkout.rs");
        comment["line"] = json!(12);
        comment["side"] = json!("RIGHT");
        comment["commit_id"] = json!("6dcb09b5b57875f334f61aebed695e2e4193db5e");
        comment["pull_request_url"] = json!(format!("{}/pulls/{number}", self.api));
        comment
    }
}

#[cfg(test)]
mod tests {
    use actors::domain::{EventType, ManagedRepos};
    use actors::github::{NotTaken, Taken, normalize};
    use chrono::DateTime;

    use super::*;

    #[test]
    fn every_delivery_is_what_the_contracts_table_says() {
        use EventType as T;
        let table: &[(&str, Result<T, &str>)] = &[
            ("issues.opened", Ok(T::IssueOpened)),
            ("issues.reopened", Ok(T::IssueReopened)),
            ("issues.closed", Ok(T::IssueClosed)),
            ("issues.edited", Err("action=edited")),
            ("issues.labeled", Err("action=labeled")),
            ("pull_request.opened", Ok(T::PrOpened)),
            ("pull_request.synchronize", Ok(T::PrSynchronize)),
            ("pull_request.reopened", Ok(T::PrReopened)),
            ("pull_request.closed", Ok(T::PrClosed)),
            ("pull_request.merged", Ok(T::PrMerged)),
            ("issue_comment.created", Ok(T::CommentCreated)),
            ("issue_comment.created_on_pr", Ok(T::CommentCreated)),
            ("pull_request_review.submitted", Ok(T::PrReviewSubmitted)),
            ("pull_request_review_comment.created", Ok(T::PrReviewCommentCreated)),
            ("star.created", Err("unmapped event")),
            ("ping", Err("ping")),
        ];
        assert_eq!(table.len(), names().count());
        for (name, expected) in table {
            let (event, payload) = payload(name, &Details::default()).expect("known");
            let json = payload.to_string();
            let answer = normalize(&Taken {
                event,
                delivery: "d".parse().expect("valid"),
                json: &json,
                bot_login: "last-light[bot]",
                managed: &ManagedRepos::parse(["acme/site"]).expect("valid"),
                received_at: DateTime::from_timestamp(0, 0).expect("the epoch exists"),
            });
            match (answer, expected) {
                (Ok(envelope), Ok(kind)) => {
                    assert_eq!(envelope.kind, *kind, "{name}");
                    assert_eq!(
                        envelope.title.as_deref(),
                        Some(Details::default().title.as_str()),
                        "{name}"
                    );
                    assert_eq!(envelope.body, Details::default().body, "{name}");
                    assert_eq!(envelope.author_association.as_deref(), Some("CONTRIBUTOR"), "{name}");
                }
                (Err(NotTaken::Filtered(reason)), Err(expected)) => assert_eq!(reason, *expected, "{name}"),
                (answer, _) => panic!("{name}: {answer:?}"),
            }
        }
    }

    #[test]
    fn an_opened_issue_is_as_large_as_githubs() {
        let (_, payload) = payload("issues.opened", &Details::default()).expect("known");
        let size = payload.to_string().len();
        assert!((9_000..=13_000).contains(&size), "{size} bytes");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let unknown = payload("issue.opened", &Details::default()).expect_err("unknown");
        assert_eq!(unknown.nearest, Some("issues.opened"));
        assert!(
            unknown.to_string().contains("did you mean \"issues.opened\"?"),
            "{unknown}"
        );
    }
}
