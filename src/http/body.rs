//! Request bodies, read with a cap, a shared budget and an end to patience. Knows no route.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;

/// How long a body may stand still before its connection is dropped.
const STALL: Duration = Duration::from_secs(15);

/// How much is set aside for a body that does not say how long it is, each time it grows over what was set aside.
const STEP: usize = 64 * 1024;

/// Bytes that all bodies in flight share.
#[derive(Debug, Clone)]
pub struct BodyBudget {
    left: Arc<AtomicUsize>,
}

impl BodyBudget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(bytes)),
        }
    }

    fn take(&self, bytes: usize) -> bool {
        self.left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes))
            .is_ok()
    }
}

/// A share of the budget, given back on drop.
#[derive(Debug)]
struct Share {
    budget: BodyBudget,
    bytes: usize,
}

impl Share {
    fn grow_to(&mut self, bytes: usize) -> Result<(), BodyRefused> {
        if bytes > self.bytes {
            if !self.budget.take(bytes - self.bytes) {
                return Err(BodyRefused::NoRoom);
            }
            self.bytes = bytes;
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

/// A body with its share of the budget; both go together.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    _share: Share,
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyRefused {
    /// It is longer than the cap.
    TooLarge,
    /// The bodies in flight use the budget up.
    NoRoom,
    /// It stood still.
    Stalled,
    /// The connection broke, or the body is not what its headers say.
    Broken,
}

/// Reads a body of at most `cap` bytes. Never holds more than that, nor more than its share of the budget.
pub(crate) async fn read(
    request: &HttpRequest,
    mut payload: Payload,
    cap: usize,
    budget: &BodyBudget,
) -> Result<Body, BodyRefused> {
    let announced = announced(request);
    if announced.is_some_and(|length| length > cap) {
        return Err(BodyRefused::TooLarge);
    }
    let mut share = Share {
        budget: budget.clone(),
        bytes: 0,
    };
    share.grow_to(announced.unwrap_or(0))?;
    // Pages of a large buffer cost nothing until bytes arrive.
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or(0));
    loop {
        let chunk = match tokio::time::timeout(STALL, payload.next()).await {
            Err(_) => return Err(BodyRefused::Stalled),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(BodyRefused::Broken),
            Ok(Some(Ok(chunk))) => chunk,
        };
        let length = bytes.len() + chunk.len();
        if length > cap {
            return Err(BodyRefused::TooLarge);
        }
        share.grow_to(if announced.is_some() {
            length
        } else {
            length.next_multiple_of(STEP).min(cap)
        })?;
        if bytes.is_empty() && announced == Some(chunk.len()) {
            return Ok(Body {
                bytes: chunk,
                _share: share,
            });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body {
        bytes: bytes.freeze(),
        _share: share,
    })
}

/// What the sender says about the length, if it says it.
pub(crate) fn announced(request: &HttpRequest) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back_when_it_goes() {
        let budget = BodyBudget::new(100);
        let mut first = Share {
            budget: budget.clone(),
            bytes: 0,
        };
        assert_eq!(first.grow_to(80), Ok(()));
        let mut second = Share {
            budget: budget.clone(),
            bytes: 0,
        };
        assert_eq!(second.grow_to(30), Err(BodyRefused::NoRoom));
        drop(first);
        assert_eq!(second.grow_to(100), Ok(()));
        drop(second);
        assert_eq!(budget.left.load(Ordering::Acquire), 100);
    }
}
