//! What the API is, for programs: made of the handlers' own words, with what is true of every route added, and a page that shows it. Handles nothing else.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, ResponseError};
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, HttpMethod, OpenApi, Ref, RefOr, Response, ResponseBuilder, Server};
use utoipa::{OpenApi as _, ToSchema};

use super::auth;
use super::problem::Problem;
use super::server::HttpShared;
use crate::tools::CATALOGUE;

/// What is said where something is wrong.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is shown")]
struct Trouble {
    /// What was wrong, where, and what to do.
    error: String,
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Firstlight",
        description = "The front door of repository automation. Every POST, PUT and DELETE honours an `Idempotency-Key`; lists go on with the `next` of the page before.",
    ),
    components(schemas(Trouble)),
    paths(
        show,
        docs,
        page,
        super::health::health,
        super::health::ready,
        super::metrics::show,
        super::github::receive,
        super::integrations::state,
        super::integrations::webhooks,
        super::integrations::register,
        super::integrations::health,
        super::integrations::delete,
        super::integrations::rotate,
        super::integrations::ping,
        super::integrations::enable,
        super::integrations::disable,
        super::integrations::git,
        super::integrations::set_git,
        super::integrations::git_dry_run,
        super::integrations::notify,
        super::integrations::notifications,
        super::integrations::emit,
        super::integrations::tool_calls,
        super::integrations::deliveries,
        super::integrations::delivery,
        super::integrations::redeliver,
        super::integrations::by_name,
        super::api::run,
        super::api::build,
        super::admin::crons::toggle,
        super::admin::stream::changes,
        super::admin::audit::list,
        super::admin::stats::show,
        super::admin::stats::daily,
        super::admin::stats::hourly,
        super::admin::config::show,
        super::admin::config::actors,
        super::admin::knocks::word,
        super::admin::knocks::heard,
        super::admin::rehearsal::rehearse,
        super::admin::containers::list,
        super::admin::containers::stats,
        super::admin::containers::kill,
        super::admin::sessions::list,
        super::admin::sessions::watch,
        super::admin::sessions::one,
        super::admin::sessions::messages,
        super::admin::sessions::follow,
        super::admin::events::list,
        super::admin::events::one,
        super::admin::events::replay,
        super::admin::runs::all_executions,
        super::admin::runs::workflow_names,
        super::admin::runs::list,
        super::admin::runs::one,
        super::admin::runs::executions,
        super::admin::runs::cancel,
        super::admin::runs::retry,
        super::admin::logs::read,
        super::admin::logs::follow,
        super::admin::workflows::list,
        super::admin::workflows::one,
        super::admin::workflows::full,
        super::admin::workflows::prompt,
        super::admin::workflows::skill,
        super::admin::workflows::yaml,
        super::admin::workflows::toggle,
        super::admin::crons::list,
        super::admin::crons::preview,
        super::admin::crons::one,
        super::admin::crons::history,
        super::admin::crons::firing,
        super::admin::crons::reschedule,
        super::admin::crons::reset,
        super::admin::crons::run,
        super::admin::approvals::list,
        super::admin::approvals::one,
        super::admin::approvals::respond,
    )
)]
struct Handlers;

/// Routes that are open to everybody.
const OPEN: &[&str] = &[
    "/health",
    "/ready",
    "/webhooks/github",
    "/admin/api/login",
    "/admin/api/auth-required",
    "/admin/api/oauth/github/authorize",
    "/admin/api/oauth/github/callback",
    "/admin/api/oauth/slack/authorize",
    "/admin/api/oauth/slack/callback",
];

/// Second addresses of the same handlers: what begins like the left one is what begins like the right one.
const TWINS: &[(&str, &str)] = &[
    ("/api/integrations/state", "/api/integrations"),
    ("/admin/api/chat-sessions", "/admin/api/sessions"),
    ("/admin/api/deliveries", "/api/integrations/deliveries"),
    ("/admin/api/notifications", "/api/integrations/notifications"),
    ("/admin/api/webhooks", "/api/integrations/webhooks"),
    ("/admin/api/crons/{name}/toggle", "/admin/crons/{name}/toggle"),
    ("/admin/approvals/{id}/respond", "/admin/api/approvals/{id}/respond"),
];

/// Routes whose body is the input of a tool.
const TOOLS: &[(&str, &str)] = &[
    ("/api/integrations/webhooks", "integration_webhook_register"),
    ("/api/integrations/git-auto-commit", "integration_git_auto_commit_set"),
    ("/api/integrations/notify", "integration_notify"),
    ("/api/integrations/emit", "integration_emit_event"),
];

static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(document);

fn document() -> OpenApi {
    let mut api = Handlers::openapi();
    api.merge(auth::Handlers::openapi());
    api.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let components = api.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    let session = ApiKey::Cookie(ApiKeyValue::new("firstlight_session"));
    components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    for (path, tool) in TOOLS {
        let schema = CATALOGUE
            .iter()
            .find(|one| one.name == *tool)
            .map(|one| one.input_schema());
        let item = api.paths.paths.get_mut(*path);
        let operation = item.and_then(|item| item.post.as_mut().or(item.put.as_mut()));
        if let (Some(schema), Some(operation)) = (schema, operation)
            && let Ok(schema) = serde_json::from_value::<RefOr<utoipa::openapi::Schema>>(schema)
            && let Some(RefOr::T(body)) = &mut operation.request_body
        {
            body.content.insert(
                "application/json".to_owned(),
                RefOr::T(ContentBuilder::new().schema(Some(schema)).build()),
            );
        }
    }
    let first: Vec<_> = api
        .paths
        .paths
        .iter()
        .map(|(path, item)| (path.clone(), item.clone()))
        .collect();
    for (twin, of) in TWINS {
        for (path, item) in &first {
            // Only the route itself, or what lies below it.
            let below = path
                .strip_prefix(of)
                .filter(|rest| rest.is_empty() || (rest.starts_with('/') && *of != "/api/integrations"));
            if let Some(rest) = below {
                api.paths.paths.insert(format!("{twin}{rest}"), item.clone());
            }
        }
    }
    for (path, item) in &mut api.paths.paths {
        let operations = [
            (HttpMethod::Get, &mut item.get),
            (HttpMethod::Post, &mut item.post),
            (HttpMethod::Put, &mut item.put),
            (HttpMethod::Delete, &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                complete(path, &method, operation);
            }
        }
    }
    api
}

/// What is true of every route: who may ask, and what is said when it comes to nothing.
fn complete(path: &str, method: &HttpMethod, operation: &mut Operation) {
    let verb = match method {
        HttpMethod::Get => "get",
        HttpMethod::Post => "post",
        HttpMethod::Put => "put",
        _ => "delete",
    };
    operation.operation_id = Some(format!("{verb} {path}"));
    let asks = |place: &ParameterIn| {
        operation
            .parameters
            .iter()
            .flatten()
            .any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == *place))
    };
    let changes = *method != HttpMethod::Get;
    let open = OPEN.contains(&path);
    let mut answers = vec![("503", "busy, full or stopping; try again", true)];
    answers.push((
        "400",
        "something in the request is wrong; it is named",
        changes || asks(&ParameterIn::Query) || asks(&ParameterIn::Path),
    ));
    answers.push(("401", "no valid token or session", !open || changes));
    answers.push((
        "403",
        "the scope of the token, the page that asked, or a rule does not allow it",
        changes && path != "/webhooks/github",
    ));
    answers.push((
        "404",
        "there is nothing of this name",
        asks(&ParameterIn::Path) || path.starts_with("/api/"),
    ));
    answers.push(("409", "it stands otherwise than it would have to", changes && !open));
    answers.push(("413", "the body is too large", changes));
    answers.push((
        "422",
        "the idempotency key stands for another request",
        changes && !open,
    ));
    for (status, words, holds) in answers {
        if holds && !operation.responses.responses.contains_key(status) {
            operation
                .responses
                .responses
                .insert(status.to_owned(), RefOr::T(trouble(words)));
        }
    }
    // Those that are written beside the handler have no shape of their own.
    for (status, answer) in &mut operation.responses.responses {
        if let (true, RefOr::T(answer)) = (status.starts_with(['4', '5']), answer)
            && answer.content.is_empty()
        {
            *answer = trouble(&answer.description.clone());
        }
    }
    if !open {
        let none: [String; 0] = [];
        operation.security = Some(vec![
            SecurityRequirement::new("bearer", none.clone()),
            SecurityRequirement::new("session", none),
        ]);
    }
}

fn trouble(words: &str) -> Response {
    let shape = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Trouble")))
        .build();
    ResponseBuilder::new()
        .description(words)
        .content("application/json", shape)
        .build()
}

/// The document, with the base path under which people reach this server.
#[utoipa::path(get, path = "/api/openapi.json", tag = "house", responses((status = 200, description = "this document", body = serde_json::Value)))]
pub(super) async fn show(shared: Data<HttpShared>) -> HttpResponse {
    let mut api = DOCUMENT.clone();
    api.servers = Some(vec![Server::new(base(&shared))]);
    HttpResponse::Ok().json(api)
}

fn base(shared: &HttpShared) -> &str {
    match shared.base() {
        "" => "/",
        base => base,
    }
}

/// To the page that shows the document.
#[utoipa::path(get, path = "/api/docs", tag = "house", responses((status = 302, description = "to the page")))]
pub(super) async fn docs(shared: Data<HttpShared>) -> HttpResponse {
    let to = format!("{}/api/docs/index.html", shared.base());
    HttpResponse::Found().insert_header((LOCATION, to)).finish()
}

/// The page that shows the document, and its parts, out of the binary.
#[utoipa::path(get, path = "/api/docs/{file}", tag = "house", params(("file" = String, Path)), responses((status = 200, description = "a file", body = String, content_type = "text/html")))]
pub(super) async fn page(file: Path<String>) -> HttpResponse {
    static CONFIG: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> =
        LazyLock::new(|| Arc::new(utoipa_swagger_ui::Config::from("../openapi.json")));
    match utoipa_swagger_ui::serve(&file, CONFIG.clone()) {
        Ok(Some(found)) => HttpResponse::Ok()
            .content_type(found.content_type)
            .insert_header((CACHE_CONTROL, "private, max-age=3600"))
            .body(found.bytes.into_owned()),
        Ok(None) => Problem::not_found("not found").error_response(),
        Err(error) => {
            tracing::error!(%error, file = file.as_str(), "a page of the API cannot be shown");
            Problem::not_found("not found").error_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Method and path of every route on the page of URLs, but for pages for people.
    fn routes() -> BTreeSet<(String, String)> {
        let mut scope = String::new();
        let mut routes = BTreeSet::new();
        let text: String = include_str!("routes.rs").split_whitespace().collect();
        let mut rest = text.as_str();
        let quoted = |text: &str| text.split('"').nth(1).unwrap_or_default().to_owned();
        while let Some(at) = rest
            .find("web::scope(")
            .into_iter()
            .chain(rest.find("web::resource("))
            .chain(rest.find(".route("))
            .min()
        {
            rest = &rest[at..];
            if rest.starts_with("web::") {
                scope = quoted(rest);
                rest = &rest[5..];
                continue;
            }
            let inside = &rest[".route(".len()..];
            let (path, after) = match inside.strip_prefix('"') {
                Some(_) => (quoted(inside), inside.splitn(3, '"').nth(2).unwrap_or_default()),
                None => (String::new(), inside),
            };
            let method = after.split("web::").nth(1).unwrap_or_default();
            let method = method.split('(').next().unwrap_or_default().to_owned();
            let handler = after.split(".to(").nth(1).unwrap_or_default();
            if !handler.starts_with("dashboard::") {
                routes.insert((method, format!("{scope}{path}")));
            }
            rest = inside;
        }
        routes
    }

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let mut shown = BTreeSet::new();
        for (path, item) in &DOCUMENT.paths.paths {
            for (method, operation) in [
                ("get", &item.get),
                ("post", &item.post),
                ("put", &item.put),
                ("delete", &item.delete),
            ] {
                if operation.is_some() {
                    shown.insert((method.to_owned(), path.clone()));
                }
            }
        }
        let routes = routes();
        assert!(routes.len() > 80, "{}", routes.len());
        let missing: Vec<_> = routes.difference(&shown).collect();
        let extra: Vec<_> = shown.difference(&routes).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "missing: {missing:?}; there is no: {extra:?}"
        );
    }

    #[test]
    fn every_operation_says_who_may_ask_and_what_a_failure_looks_like() {
        let text = serde_json::to_value(&*DOCUMENT).expect("JSON");
        let mut seen = 0;
        for (path, item) in text["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                seen += 1;
                let open = OPEN.contains(&path.as_str());
                assert_eq!(operation["security"].is_array(), !open, "{method} {path}");
                assert!(operation["tags"].is_array(), "{method} {path}");
                for (status, answer) in operation["responses"].as_object().expect("answers") {
                    if status.starts_with(['4', '5']) {
                        let shape = &answer["content"]["application/json"]["schema"]["$ref"];
                        assert_eq!(shape, "#/components/schemas/Trouble", "{method} {path} {status}");
                    }
                }
            }
        }
        assert!(seen > 80);
        assert!(text["components"]["schemas"]["Trouble"].is_object());
        let body = &text["paths"]["/api/integrations/notify"]["post"]["requestBody"]["content"]["application/json"];
        assert!(body["schema"]["properties"]["channel"].is_object(), "{body}");
    }
}
