//! Whether an address that people use leads here, and what reaches us of whoever comes that way. Knows no route.
//!
//! Somebody who may look at the service asks for a word, shows it at `/health` by way of the public address, and asks here how it
//! arrived. Strangers leave nothing: a word that was not handed out is not heard.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::HttpRequest;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::proxies::client_address;
use super::server::HttpShared;

/// The header that a word is shown in.
const HEADER: &str = "x-firstlight-knock";
/// How long a word is waited for.
const PATIENCE: TimeDelta = TimeDelta::seconds(60);
/// Words that are waited for at the same time; one more takes the place of the oldest.
const MOST: usize = 16;
/// What is kept of a header, in characters.
const LONGEST: usize = 200;

/// Words that were handed out.
#[derive(Debug, Default)]
pub(crate) struct Knocks {
    /// Spares the usual question about our health the lock.
    any: AtomicBool,
    open: Mutex<VecDeque<Open>>,
}

#[derive(Debug)]
struct Open {
    word: String,
    until: DateTime<Utc>,
    heard: Option<Heard>,
}

/// How a word arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Heard {
    /// Who connected.
    peer: String,
    /// Whom we take for the caller.
    client: String,
    /// Whether we believe what the peer says of others.
    peer_is_trusted: bool,
    /// `Host`.
    host: Option<String>,
    /// `X-Forwarded-For`, all of them.
    forwarded_for: Option<String>,
    /// `X-Forwarded-Proto`.
    forwarded_proto: Option<String>,
    /// `Forwarded` (RFC 7239), which is not read here.
    forwarded: Option<String>,
}

impl Knocks {
    /// Waits for this word.
    pub(crate) fn expect(&self, word: String, now: DateTime<Utc>) {
        let mut open = self.open();
        open.retain(|knock| knock.until > now);
        if open.len() >= MOST {
            open.pop_front();
        }
        open.push_back(Open {
            word,
            until: now + PATIENCE,
            heard: None,
        });
        self.any.store(true, Ordering::Release);
    }

    /// How a word arrived: nothing for one that was never handed out or is forgotten, nothing inside for one that has not come.
    pub(crate) fn heard(&self, word: &str, now: DateTime<Utc>) -> Option<Option<Heard>> {
        let open = self.open();
        let knock = open.iter().find(|knock| knock.word == word && knock.until > now)?;
        Some(knock.heard.clone())
    }

    fn open(&self) -> MutexGuard<'_, VecDeque<Open>> {
        // Each change leaves the list whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes how a word arrived, if the request shows one that is waited for.
pub(crate) fn listen(request: &HttpRequest, shared: &HttpShared) {
    let knocks = &shared.knocks;
    if !knocks.any.load(Ordering::Acquire) {
        return;
    }
    let Some(word) = request.headers().get(HEADER).and_then(|word| word.to_str().ok()) else {
        return;
    };
    let now = shared.clock.now();
    let mut open = knocks.open();
    open.retain(|knock| knock.until > now);
    knocks.any.store(!open.is_empty(), Ordering::Release);
    if let Some(knock) = open.iter_mut().find(|knock| knock.word == word) {
        knock.heard = heard(request, shared);
    }
}

fn heard(request: &HttpRequest, shared: &HttpShared) -> Option<Heard> {
    let peer = request.peer_addr()?.ip();
    let said = |name: &str| {
        let values: Vec<_> = request
            .headers()
            .get_all(name)
            .filter_map(|value| value.to_str().ok())
            .collect();
        (!values.is_empty()).then(|| values.join(", ").chars().take(LONGEST).collect())
    };
    Some(Heard {
        peer: peer.to_string(),
        client: client_address(request, &shared.trusted)?.to_string(),
        peer_is_trusted: shared.trusted.knows(peer),
        host: said("host"),
        forwarded_for: said("x-forwarded-for"),
        forwarded_proto: said("x-forwarded-proto"),
        forwarded: said("forwarded"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_few_and_short_lived() {
        let at = |seconds: i64| DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a time");
        let knocks = Knocks::default();
        knocks.expect("one".to_owned(), at(0));
        assert_eq!(knocks.heard("one", at(59)), Some(None));
        assert_eq!(knocks.heard("one", at(60)), None, "it was waited for long enough");
        assert_eq!(knocks.heard("two", at(0)), None, "nobody handed it out");
        for n in 0..MOST {
            knocks.expect(format!("w{n}"), at(1));
        }
        assert_eq!(knocks.heard("one", at(1)), None, "the oldest made room");
        assert_eq!(knocks.heard("w0", at(1)), Some(None));
    }
}
