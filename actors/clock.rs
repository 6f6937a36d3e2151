//! The one way to know the time and to draw chance. Knows no actor; nobody else may read the machine's clock.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

/// A clock that is passed to whoever needs the time, so that a test can hold it still.
pub type SharedClock = Arc<dyn Clock>;

/// Source of time, waiting, identifiers and chance.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The present instant in UTC.
    fn now(&self) -> DateTime<Utc>;

    /// Completes when `duration` has passed on *this* clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// A number in `0.0..1.0`, for jitter.
    fn chance(&self) -> f64;

    /// A new identifier that sorts by its time of creation (UUID version 7, RFC 9562).
    fn fresh_id(&self) -> Uuid {
        let now = self.now();
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        Uuid::new_v7(uuid::Timestamp::from_unix(
            uuid::NoContext,
            seconds,
            now.timestamp_subsec_nanos(),
        ))
    }
}

/// The machine's own clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl SystemClock {
    /// The system clock, ready to be shared.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }

    fn chance(&self) -> f64 {
        rand::random::<f64>()
    }
}
