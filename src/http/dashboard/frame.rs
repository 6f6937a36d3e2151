//! What every page stands in: who looks, head, navigation, and failures as pages. Knows no page.

use std::rc::Rc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::guard::GuardContext;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, COOKIE, LOCATION};
use actix_web::middleware::Next;
use actix_web::web::{Data, Query};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, Responder};
use actors::domain::{ApprovalFilter, ApprovalStatus, RunId};
use actors::messages::store::ListApprovals;
use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{assets, parts};
use crate::http::auth;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};
use crate::tools::Scope;

/// The cookie in which the module keeps which theme was chosen, so that the first paint is right.
const THEME: &str = "firstlight_theme";

/// Pending questions are counted up to here; then it is "many".
const MOST_WAITING: usize = 99;

/// Who looks at a page. Put into the request by [`guard`].
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    /// As the audit log has it.
    pub(crate) who: String,
    /// Whether changes are allowed; the API is the judge of it, the page only leaves out what would be refused.
    pub(crate) may_change: bool,
    /// Whether tokens may be made and taken back.
    pub(crate) may_rule: bool,
    /// Of the token or the session.
    pub(crate) token: String,
    /// What a change has to bring along where the browser does not say where it comes from.
    pub(crate) csrf: String,
}

/// Who is signed in, if anybody is.
pub(super) fn viewer(request: &HttpRequest, shared: &HttpShared) -> Option<Viewer> {
    let caller = auth::session_of(request)?;
    Some(Viewer {
        may_change: caller.scope != Scope::Read,
        may_rule: caller.scope == Scope::Admin,
        token: caller.id.clone(),
        csrf: auth::csrf_token(shared, &caller),
        who: caller.who,
    })
}

/// A part of the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Approvals,
    Runs,
    Events,
    Chats,
    Workflows,
    Playground,
    Crons,
    Deliveries,
    Webhooks,
    Notifications,
    Actors,
    Settings,
    Audit,
    /// A page that is in no part: the navigation marks none.
    Elsewhere,
}

/// A row of the navigation.
pub(super) struct Entry {
    pub(super) section: Section,
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    /// Pressed after `g`.
    pub(super) key: char,
    /// Path data of an icon on a grid of 20 by 20.
    pub(super) icon: &'static str,
}

/// The navigation, in groups.
pub(super) const SECTIONS: &[(&str, &[Entry])] = &[
    (
        "",
        &[
            Entry {
                section: Section::Overview,
                name: "Overview",
                path: "/admin/",
                key: 'o',
                icon: "M3 11 10 4l7 7M5 9.5V16h10V9.5",
            },
            Entry {
                section: Section::Approvals,
                name: "Approvals",
                path: "/admin/approvals",
                key: 'a',
                icon: "M4 10.5 8 14.5 16 5.5",
            },
        ],
    ),
    (
        "Work",
        &[
            Entry {
                section: Section::Runs,
                name: "Runs",
                path: "/admin/runs",
                key: 'r',
                icon: "M6 4.5v11l9-5.5Z",
            },
            Entry {
                section: Section::Events,
                name: "Events",
                path: "/admin/events",
                key: 'e',
                icon: "M11 3 5 11.5h5L9 17l6-8.5h-5Z",
            },
            Entry {
                section: Section::Chats,
                name: "Conversations",
                path: "/admin/chats",
                key: 't',
                icon: "M3.5 4.5h13v9H9L5.5 16.5v-3h-2ZM7 8h6M7 10.5h4",
            },
            Entry {
                section: Section::Workflows,
                name: "Workflows",
                path: "/admin/workflows",
                key: 'w',
                icon: "M3.5 4h5v4h-5ZM11.5 12h5v4h-5ZM6 8v6h5.5",
            },
            Entry {
                section: Section::Playground,
                name: "Playground",
                path: "/admin/playground",
                key: 'p',
                icon: "M8 3h4M9 3v5l-4.5 7.5a1 1 0 0 0 .9 1.5h9.2a1 1 0 0 0 .9-1.5L11 8V3M7 12h6",
            },
        ],
    ),
    (
        "By itself",
        &[Entry {
            section: Section::Crons,
            name: "Schedules",
            path: "/admin/crons",
            key: 'c',
            icon: "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15Zm0 3.5v4.2l2.8 1.8",
        }],
    ),
    (
        "Going out",
        &[
            Entry {
                section: Section::Deliveries,
                name: "Deliveries",
                path: "/admin/deliveries",
                key: 'd',
                icon: "M3 10h11M10 5.5 14.5 10 10 14.5M17 4v12",
            },
            Entry {
                section: Section::Webhooks,
                name: "Webhooks",
                path: "/admin/webhooks",
                key: 'h',
                icon: "M7 6a3 3 0 1 1 4 2.8L8.5 13M6 16a3 3 0 1 1 2.2-5M13.5 16.5a3 3 0 1 0 0-6H11",
            },
            Entry {
                section: Section::Notifications,
                name: "Notifications",
                path: "/admin/notifications",
                key: 'n',
                icon: "M5 14V9a5 5 0 0 1 10 0v5l1.5 1.5h-13L5 14Zm3.5 3h3",
            },
        ],
    ),
    (
        "The house",
        &[
            Entry {
                section: Section::Actors,
                name: "Actors",
                path: "/admin/actors",
                key: 'm',
                icon: "M10 3a2 2 0 1 1 0 4 2 2 0 0 1 0-4ZM4.5 13a2 2 0 1 1 0 4 2 2 0 0 1 0-4ZM15.5 13a2 2 0 1 1 0 4 2 2 0 0 1 0-4ZM9 7l-3.4 6M11 7l3.4 6M6.5 15h7",
            },
            Entry {
                section: Section::Settings,
                name: "Settings",
                path: "/admin/settings",
                key: 's',
                icon: "M3 6h7M14 6h3M12 4v4M3 14h3M10 14h7M8 12v4",
            },
            Entry {
                section: Section::Audit,
                name: "Audit",
                path: "/admin/audit",
                key: 'u',
                icon: "M5 3h7l3 3v11H5ZM7.5 9h5M7.5 12h5",
            },
        ],
    ),
];

/// The frame of one request: where it is served, who looks, what the navigation shows.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    base: Rc<str>,
    /// Path and query of this page, without the base.
    here: String,
    theme: Option<&'static str>,
    viewer: Option<Viewer>,
    /// How many questions wait for a person.
    waiting: usize,
    /// Where the stream of changes stood before anything was read: from there on the page has to be told.
    place: String,
}

impl Frame {
    fn of(request: &HttpRequest, shared: &HttpShared) -> Self {
        Self {
            base: shared.base().into(),
            here: request
                .uri()
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            theme: chosen_theme(request),
            viewer: request.extensions().get::<Viewer>().cloned(),
            waiting: 0,
            place: shared.changes.reader().place(),
        }
    }

    /// A path of ours as a browser has to ask for it, base path included.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

fn chosen_theme(request: &HttpRequest) -> Option<&'static str> {
    let cookies = request.headers().get(COOKIE)?.to_str().ok()?;
    let chosen = cookies
        .split(';')
        .find_map(|one| one.trim().strip_prefix(THEME)?.strip_prefix('='))?;
    ["light", "dark"].into_iter().find(|theme| *theme == chosen)
}

/// What a page is given: the doors, the time, and who looks.
pub(crate) struct Visit {
    pub(crate) doors: Data<HttpDoors>,
    pub(crate) shared: Data<HttpShared>,
    pub(crate) now: DateTime<Utc>,
    frame: Frame,
}

impl Visit {
    /// A path of ours as a link, base path included.
    pub(crate) fn url(&self, path: &str) -> String {
        self.frame.url(path)
    }

    /// Whether whoever looks may change anything.
    pub(crate) fn may_change(&self) -> bool {
        self.frame.viewer.as_ref().is_some_and(|viewer| viewer.may_change)
    }

    /// Who looks; pages behind the guard always know.
    pub(crate) fn viewer(&self) -> Option<&Viewer> {
        self.frame.viewer.as_ref()
    }

    /// Path and query of this page, without the base.
    pub(crate) fn here(&self) -> &str {
        &self.frame.here
    }

    /// How many questions wait for a person; counted up to a hundred.
    pub(crate) fn waiting(&self) -> usize {
        self.frame.waiting
    }

    /// The page.
    pub(crate) fn sheet(&self, section: Section, title: impl Into<String>, content: Markup) -> Sheet {
        Sheet {
            frame: self.frame.clone(),
            section,
            title: title.into(),
            content,
            status: StatusCode::OK,
        }
    }
}

impl FromRequest for Visit {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let doors = request.app_data::<Data<HttpDoors>>().cloned();
        let shared = request.app_data::<Data<HttpShared>>().cloned();
        let frame = shared.as_ref().map(|shared| Frame::of(request, shared));
        Box::pin(async move {
            let (Some(doors), Some(shared), Some(mut frame)) = (doors, shared, frame) else {
                return Err(Problem::gone().into());
            };
            let pending = ApprovalFilter {
                status: Some(ApprovalStatus::Pending),
                limit: MOST_WAITING + 1,
                ..ApprovalFilter::default()
            };
            let waiting = doors.list_approvals.send(ListApprovals(pending)).await;
            frame.waiting = waiting.map_err(Problem::from)?.map_err(Problem::from)?.items.len();
            Ok(Self {
                now: shared.clock.now(),
                doors,
                shared,
                frame,
            })
        })
    }
}

/// A page in its frame.
pub(crate) struct Sheet {
    frame: Frame,
    section: Section,
    title: String,
    content: Markup,
    status: StatusCode,
}

impl Sheet {
    /// A page for somebody who is not signed in: no navigation.
    pub(super) fn outside(
        request: &HttpRequest,
        shared: &HttpShared,
        title: &str,
        content: impl FnOnce(&Frame) -> Markup,
    ) -> Self {
        let frame = Frame::of(request, shared);
        Self {
            content: content(&frame),
            frame,
            section: Section::Elsewhere,
            title: title.to_owned(),
            status: StatusCode::OK,
        }
    }

    fn respond(self) -> HttpResponse {
        HttpResponse::build(self.status)
            .content_type("text/html; charset=utf-8")
            .body(self.render().into_string())
    }

    fn render(&self) -> Markup {
        let frame = &self.frame;
        let csrf = frame.viewer.as_ref().map(|viewer| viewer.csrf.as_str());
        html! {
            (DOCTYPE)
            html lang="en" data-base=(frame.base) data-place=(frame.place) data-theme=[frame.theme] data-signed-in[frame.viewer.is_some()] {
                head {
                    meta charset="utf-8";
                    title { (self.title) " · Firstlight" }
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="description" content="What your repositories' automation is doing, and what it needs from you.";
                    meta name="robots" content="noindex";
                    meta name="color-scheme" content="light dark";
                    @if let Some(csrf) = csrf { meta name="csrf" content=(csrf); }
                    link rel="icon" type="image/svg+xml" href=(frame.url(&assets::path("favicon.svg")));
                    link rel="stylesheet" href=(frame.url(&assets::path("app.css")));
                    script type="module" src=(frame.url(&assets::path("app.js"))) {}
                }
                body {
                    @if frame.viewer.is_some() {
                        a.skip href="#content" { "Skip to the content" }
                        (self.navigation())
                        div.column {
                            (self.top())
                            main #content tabindex="-1" { (self.content) }
                        }
                        (dialogs())
                    } @else {
                        main #content.outside { (self.content) }
                    }
                    div #toasts role="status" aria-live="polite" {}
                }
            }
        }
    }

    fn navigation(&self) -> Markup {
        let frame = &self.frame;
        html! {
            nav #nav popover aria-label="Pages" {
                a.brand href=(frame.url("/admin/")) { (sunrise()) span { "Firstlight" } }
                @for (group, entries) in SECTIONS {
                    @if !group.is_empty() { h2 { (group) } }
                    ul {
                        @for entry in *entries {
                            li {
                                a href=(frame.url(entry.path)) data-key=(entry.key)
                                    aria-current=[(entry.section == self.section).then_some("page")] {
                                    (parts::icon(entry.icon))
                                    span { (entry.name) }
                                    @if entry.path == "/admin/approvals" {
                                        span #waiting data-live="approval" {
                                            @if frame.waiting > 0 {
                                                span.count {
                                                    (if frame.waiting > MOST_WAITING { "99+".to_owned() } else { frame.waiting.to_string() })
                                                    span.unseen { " waiting" }
                                                }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn top(&self) -> Markup {
        let who = self.frame.viewer.as_ref().map_or("", |viewer| viewer.who.as_str());
        html! {
            header.top {
                button.plain.only-narrow type="button" popovertarget="nav" aria-label="Pages" {
                    (parts::icon("M3 5h14M3 10h14M3 15h14"))
                }
                span.grow {}
                span #live.live data-state="quiet" role="status" { span.dot aria-hidden="true" {} span.words { "" } }
                button.plain type="button" data-do="theme" aria-label="Light or dark" title="Light or dark" {
                    (parts::icon("M10 3a7 7 0 1 0 7 7 5.5 5.5 0 0 1-7-7Z"))
                }
                button.plain type="button" data-do="help" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" {
                    (parts::icon("M7.5 7.5a2.5 2.5 0 1 1 3.6 2.2c-.8.5-1.1 1-1.1 1.8M10 14.2v.3M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15Z"))
                }
                button.plain type="button" popovertarget="account" aria-label="Account" title=(who) {
                    (parts::icon("M10 10a3.2 3.2 0 1 0 0-6.4A3.2 3.2 0 0 0 10 10Zm-6 6.5c.6-3 3-4.5 6-4.5s5.4 1.5 6 4.5"))
                }
                div #account popover {
                    p { "Signed in as " strong { (parts::foreign(who)) } }
                    @if !self.frame.viewer.as_ref().is_some_and(|viewer| viewer.may_change) {
                        p.quiet { "This session may only look." }
                    }
                    button type="button" data-do="sign-out" { "Sign out" }
                }
            }
        }
    }
}

/// What the module opens: a question before something is done, the keys, and the way back in when a session has ended.
fn dialogs() -> Markup {
    html! {
        dialog #confirm aria-labelledby="confirm-title" {
            form method="dialog" {
                h2 #confirm-title { "Are you sure?" }
                p #confirm-words {}
                div.buttons {
                    button value="no" { "Keep it as it is" }
                    button.danger #confirm-yes value="yes" { "Yes" }
                }
            }
        }
        dialog #help aria-labelledby="help-title" {
            form method="dialog" {
                h2 #help-title { "Keyboard" }
                dl.keys {
                    div { dt { kbd { "/" } } dd { "search or filter" } }
                    div { dt { kbd { "j" } " " kbd { "k" } } dd { "next and previous row" } }
                    div { dt { kbd { "Enter" } } dd { "open the row" } }
                    @for (_, entries) in SECTIONS {
                        @for entry in *entries {
                            div { dt { kbd { "g" } " " kbd { (entry.key) } } dd { (entry.name) } }
                        }
                    }
                    div { dt { kbd { "?" } } dd { "this help" } }
                }
                div.buttons { button autofocus { "Close" } }
            }
        }
        dialog #ended aria-labelledby="ended-title" {
            form method="dialog" {
                h2 #ended-title { "Your session has ended" }
                p { "Sign in again to go on. This page comes back as it is now; what you typed stays until then." }
                div.buttons { button value="stay" { "Stay here" } a.button.primary data-sign-in="" href="#" { "Sign in" } }
            }
        }
    }
}

/// The mark: a sun over the line.
pub(super) fn sunrise() -> Markup {
    PreEscaped(
        "<svg class=\"mark\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"M6 16a6 6 0 0 1 12 0Z\"/>\
         <path d=\"M2 19.5h20M12 4.5V7M4.9 8.4l1.7 1.7M19.1 8.4l-1.7 1.7\"/></svg>"
            .to_owned(),
    )
}

impl Responder for Sheet {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.respond()
    }
}

/// Lets a request pass that somebody signed in makes, sends others to sign in, and turns failures into pages.
pub(crate) async fn guard(
    shared: Data<HttpShared>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(viewer) = viewer(request.request(), &shared) else {
        let wanted = request
            .uri()
            .path_and_query()
            .map_or("/admin/", |wanted| wanted.as_str());
        let mut target = format!("{}/admin/login", shared.base());
        if wanted != "/admin" && wanted != "/admin/" {
            let next: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
            target = format!("{target}?next={next}");
        }
        let response = HttpResponse::SeeOther()
            .insert_header((LOCATION, target))
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish();
        return Ok(request.into_response(response));
    };
    request.extensions_mut().insert(viewer);
    let response = next.call(request).await?.map_into_boxed_body();
    let Some(error) = response.response().error() else {
        return Ok(response);
    };
    let (status, words) = (response.status(), error.to_string());
    let sheet = failure(Frame::of(response.request(), &shared), status, &words);
    Ok(response.into_response(sheet.respond()))
}

/// `/admin` → `/admin/`.
pub(crate) async fn home(shared: Data<HttpShared>) -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((LOCATION, format!("{}/admin/", shared.base())))
        .finish()
}

/// What a link in a message asks for.
#[derive(serde::Deserialize)]
pub(crate) struct Linked {
    run: RunId,
}

/// Whether a request came by such a link.
pub(crate) fn is_linked(request: &GuardContext<'_>) -> bool {
    let query = request.head().uri.query().unwrap_or_default();
    query.split('&').any(|pair| pair.starts_with("run="))
}

/// `/admin/?run=<id>`, as messages in a chat have it → the page of that run.
pub(crate) async fn linked(shared: Data<HttpShared>, asked: Result<Query<Linked>, actix_web::Error>) -> HttpResponse {
    let run = asked.map(|asked| format!("runs/{}", asked.run)).unwrap_or_default();
    HttpResponse::SeeOther()
        .insert_header((LOCATION, format!("{}/admin/{run}", shared.base())))
        .finish()
}

/// An address below `/admin` that nothing is at.
pub(crate) async fn lost() -> Result<Sheet, Problem> {
    Err(Problem::not_found("there is no such page"))
}

fn failure(frame: Frame, status: StatusCode, words: &str) -> Sheet {
    let (title, advice) = match status {
        StatusCode::NOT_FOUND => (
            "Not found",
            "It may have been removed, or the address is not quite right.",
        ),
        StatusCode::BAD_REQUEST => (
            "That cannot be shown",
            "Something in the address is not as it should be.",
        ),
        StatusCode::FORBIDDEN => ("Not allowed", "This session may not do that. Sign in with more rights."),
        _ => (
            "Something went wrong",
            "Nothing was changed. Try again in a moment; the log of the service says more.",
        ),
    };
    let content = html! {
        div.empty {
            h1 { (title) }
            p { (parts::sentence(words)) }
            p.quiet { (advice) }
            p.buttons {
                a.button.primary href=(frame.url("/admin/")) { "To the overview" }
                a.button href=(frame.url(&frame.here)) { "Try again" }
            }
        }
    };
    Sheet {
        frame,
        section: Section::Elsewhere,
        title: title.to_owned(),
        content,
        status,
    }
}
