//! Reads from an answer how long GitHub wants to be left in peace, and why. Pure: no clock, no network.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// GitHub asks for at least a minute where a secondary limit names no time (REST API, "Best practices", rate limits).
const A_MINUTE: Duration = Duration::from_secs(60);
/// Waits that we choose ourselves grow no longer than this.
const LONGEST_GUESS: Duration = Duration::from_secs(15 * 60);
/// What is believed at most, so that a mistake of a proxy does not silence us for good.
const LONGEST_BELIEVED: Duration = Duration::from_secs(24 * 60 * 60);

/// The part of an answer that speaks of limits; header values as they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// HTTP status.
    pub(super) status: u16,
    /// `Retry-After`: seconds, or an HTTP date.
    pub(super) retry_after: Option<String>,
    /// `X-RateLimit-Remaining`.
    pub(super) remaining: Option<String>,
    /// `X-RateLimit-Reset`: seconds since 1970, UTC.
    pub(super) reset: Option<String>,
}

/// Keep quiet until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patience {
    /// Not before this instant.
    pub(super) until: DateTime<Utc>,
    /// Which limit.
    pub(super) why: String,
}

/// Whether an answer refuses because of a limit. `message` is GitHub's own word; `streak` counts the refusals in a row before
/// this one, because a wait that GitHub leaves to us doubles each time.
pub(super) fn patience(told: &Told, message: &str, streak: u32, now: DateTime<Utc>) -> Option<Patience> {
    let refused = matches!(told.status, 403 | 429);
    if (refused || told.status == 503)
        && let Some(wait) = told.retry_after.as_deref().and_then(|text| retry_after(text, now))
    {
        let why = format!("status {} with Retry-After", told.status);
        return Some(Patience { until: now + wait, why });
    }
    if !refused {
        return None;
    }
    if let Some(spent) = spent(told, now) {
        return Some(spent);
    }
    let message = message.to_ascii_lowercase();
    let limited = told.status == 429 || message.contains("rate limit") || message.contains("abuse detection");
    limited.then(|| Patience {
        until: now + A_MINUTE.saturating_mul(2_u32.saturating_pow(streak)).min(LONGEST_GUESS),
        why: format!("a secondary limit, status {}", told.status),
    })
}

/// Whether the hourly budget is used up, whatever the status: the answer that spends the last of it is a success.
pub(super) fn spent(told: &Told, now: DateTime<Utc>) -> Option<Patience> {
    if told.remaining.as_deref()?.trim() != "0" {
        return None;
    }
    let reset = told.reset.as_deref()?.trim().parse().ok();
    let reset = DateTime::from_timestamp(reset?, 0)?;
    // A reset that lies behind us means that the clocks differ: then a minute, and ask again.
    let until = if reset > now {
        reset.min(now + LONGEST_BELIEVED)
    } else {
        now + A_MINUTE
    };
    Some(Patience {
        until,
        why: "the hourly budget of requests is used up".to_owned(),
    })
}

fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text.trim()).ok()?.to_utc() - now)
            .max(TimeDelta::zero())
            .to_std()
            .ok()?,
    };
    Some(wait.clamp(Duration::from_secs(1), LONGEST_BELIEVED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).expect("a valid instant")
    }

    fn told(status: u16, retry_after: &str, remaining: &str, reset: &str) -> Told {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Told {
            status,
            retry_after: some(retry_after),
            remaining: some(remaining),
            reset: some(reset),
        }
    }

    #[test]
    fn a_limit_says_how_long_to_wait() {
        let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes";
        for (told, message, streak, seconds) in [
            (told(429, "7", "", ""), "", 0, Some(7)),
            (told(403, "7", "0", "1700000600"), secondary, 0, Some(7)),
            (told(503, "30", "", ""), "", 0, Some(30)),
            (told(503, "", "", ""), "", 0, None),
            (told(429, "Tue, 14 Nov 2023 22:13:50 GMT", "", ""), "", 0, Some(30)),
            (told(429, "0", "", ""), "", 0, Some(1)),
            (told(429, "999999999", "", ""), "", 0, Some(86_400)),
            (told(429, "soon", "", ""), "", 0, Some(60)),
            (told(403, "", "0", "1700000600"), "", 0, Some(600)),
            (told(403, "", "0", "1699999000"), "", 0, Some(60)),
            (told(403, "", "17", "1700000600"), secondary, 0, Some(60)),
            (told(403, "", "17", "1700000600"), secondary, 2, Some(240)),
            (told(403, "", "", ""), secondary, 40, Some(900)),
            (
                told(403, "", "17", "1700000600"),
                "Resource not accessible by integration",
                0,
                None,
            ),
            (told(404, "7", "0", "1700000600"), "", 0, None),
            (told(201, "", "0", "1700000600"), "", 0, None),
        ] {
            let waited = patience(&told, message, streak, now()).map(|p| (p.until - now()).num_seconds());
            assert_eq!(waited, seconds, "{told:?} {message}");
        }
    }

    #[test]
    fn a_success_that_spends_the_budget_is_noticed() {
        assert_eq!(
            spent(&told(201, "", "0", "1700000600"), now()).map(|p| (p.until - now()).num_seconds()),
            Some(600)
        );
        assert_eq!(spent(&told(201, "", "1", "1700000600"), now()), None);
        assert_eq!(spent(&told(201, "", "0", "never"), now()), None);
        assert_eq!(spent(&told(201, "", "", ""), now()), None);
    }
}
