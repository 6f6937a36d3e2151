//! Every route of the house, read from the one page that lists them. Knows no test and no answer.

/// What stands before a route.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Door {
    /// Nothing: it has its reason, or checks for itself.
    Open,
    /// The guard of the API, which says 401.
    Api,
    /// The guard of the pages, which sends people to sign in.
    Pages,
}

/// One route.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) door: Door,
    pub(crate) method: String,
    /// With its places as they are written, `/admin/api/crons/{name}`.
    pub(crate) pattern: String,
}

impl Route {
    /// Its address with this in each place.
    pub(crate) fn at(&self, filler: &str) -> String {
        self.pattern
            .split('/')
            .map(|part| if part.starts_with('{') { filler } else { part })
            .collect::<Vec<_>>()
            .join("/")
    }

    pub(crate) fn changes(&self) -> bool {
        self.method != "GET"
    }
}

/// Every route of the table.
pub(crate) fn routes() -> Vec<Route> {
    let source = include_str!("../../../src/http/routes.rs");
    let (mut door, mut scope, mut routes) = (Door::Open, String::new(), Vec::new());
    let quoted = |text: &str| text.split('"').nth(1).expect("a path").to_owned();
    let wraps = |word: &str| source.matches(&format!("from_fn(auth::{word})")).count();
    assert_eq!(wraps("guard"), wraps("witness"), "what is guarded is witnessed");
    let mut rest = source;
    let next = |rest: &str| {
        [".route(", "web::scope(", "web::resource("]
            .iter()
            .filter_map(|word| rest.find(word))
            .min()
    };
    while let Some(at) = next(rest) {
        let (word, after) = rest[at..].split_once('(').expect("a call");
        let here = &after[..next(after).unwrap_or(after.len())];
        if word == ".route" {
            let method = here
                .split("web::")
                .nth(1)
                .and_then(|word| word.split('(').next())
                .expect("a method");
            // A route of a resource has the resource's path.
            let path = if here.trim_start().starts_with('"') {
                quoted(here)
            } else {
                String::new()
            };
            routes.push(Route {
                door,
                method: method.to_uppercase(),
                pattern: format!("{scope}{path}"),
            });
        } else {
            scope = quoted(here);
            door = match (here.contains("auth::guard"), here.contains("::guard")) {
                (true, _) => Door::Api,
                (false, true) => Door::Pages,
                (false, false) => Door::Open,
            };
        }
        rest = after;
    }
    // The tools over MCP are a service of their own.
    for method in ["GET", "POST", "DELETE"] {
        routes.push(Route {
            door: Door::Api,
            method: method.to_owned(),
            pattern: "/mcp".to_owned(),
        });
    }
    routes
}
