//! The cookies that browsers keep for us: what they are called, who may see them, how long they live. Holds no rule of sign-in.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use url::Url;

/// What the cookie of a session is called, without a prefix.
pub(super) const SESSION: &str = "firstlight_session";

/// Where browsers meet us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home<'a> {
    /// The path in front of all of ours, without its final slash; empty where there is none.
    base: &'a str,
    /// Whether browsers reach us by https alone.
    secure: bool,
}

impl<'a> Home<'a> {
    /// At this public URL.
    pub(crate) fn at(public: &'a Url) -> Self {
        Self {
            base: public.path().trim_end_matches('/'),
            secure: public.scheme() == "https",
        }
    }

    /// Where no public URL is set: at the root of a host, by https if a proxy of ours says so.
    pub(crate) fn unnamed(secure: bool) -> Self {
        Self { base: "", secure }
    }

    /// The path in front of all of ours, without its final slash; empty where there is none.
    pub(super) fn base(&self) -> &str {
        self.base
    }

    fn secure(&self) -> bool {
        self.secure
    }

    /// With the prefix that makes browsers refuse it from anybody but this host, where that is possible: it needs https, and
    /// the whole host to ourselves.
    pub(super) fn cookie_name(&self, name: &str) -> String {
        if self.secure() && self.base().is_empty() {
            format!("__Host-{name}")
        } else {
            name.to_owned()
        }
    }

    /// A cookie that scripts cannot read, and that other sites cannot send but by a link.
    pub(super) fn cookie(&self, name: &str, value: String, seconds: i64) -> Cookie<'static> {
        let path = if self.base().is_empty() { "/" } else { self.base() };
        Cookie::build(self.cookie_name(name), value)
            .path(path.to_owned())
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.secure())
            .max_age(Duration::seconds(seconds))
            .finish()
    }

    /// What makes a browser forget the cookie.
    pub(super) fn forget(&self, name: &str) -> Cookie<'static> {
        self.cookie(name, String::new(), 0)
    }

    /// The values that a request carries under this name. There may be several, where somebody else's page on this host has
    /// set one of its own.
    pub(super) fn offered(&self, request: &HttpRequest, name: &str) -> Vec<String> {
        let name = self.cookie_name(name);
        // Headers that are no cookies carry none of ours.
        let Ok(cookies) = request.cookies() else {
            return Vec::new();
        };
        let ours = cookies.iter().filter(|cookie| cookie.name() == name);
        ours.map(|cookie| cookie.value().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_as_narrow_as_the_public_url_allows() {
        let table = [
            (None, "firstlight_session=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=60"),
            (
                Some("http://box:8644"),
                "firstlight_session=v; HttpOnly; SameSite=Lax; Path=/; Max-Age=60",
            ),
            (
                Some("https://bot.example.com"),
                "__Host-firstlight_session=v; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60",
            ),
            (
                Some("https://bot.example.com/light/"),
                "firstlight_session=v; HttpOnly; SameSite=Lax; Secure; Path=/light; Max-Age=60",
            ),
        ];
        for (url, expected) in table {
            let url: Option<Url> = url.map(|url| url.parse().expect("a URL"));
            let home = url.as_ref().map_or(Home::unnamed(false), Home::at);
            assert_eq!(home.cookie(SESSION, "v".into(), 60).to_string(), expected);
        }
        let named = Home::at(&"https://bot.example.com".parse().expect("a URL")).cookie(SESSION, "v".into(), 60);
        assert_eq!(Home::unnamed(true).cookie(SESSION, "v".into(), 60), named);
    }
}
