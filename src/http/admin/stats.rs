//! `/admin/api/stats`: how much there is, how much happened by day and by hour, and how the store writes. Reads only.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use actors::domain::{ChatSession, HourCount};
use actors::messages::store::{CountStore, ReadHours, ReadTotals};
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::whole;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};

/// `{totals: {events, quarantinedEvents, runs, pendingApprovals, openDeliveries, liveSessions}, store: {unsettledEvents,
/// liveRuns, openEffects, written, commits}}`; the last two count since the process started.
#[utoipa::path(
    get,
    path = "/admin/api/stats",
    tag = "house",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn show(shared: Data<HttpShared>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let order = ReadTotals {
        live_since: shared.clock.now() - ChatSession::IDLE,
    };
    let totals = doors.desk.totals.send(order).await??;
    let store = doors.count.send(CountStore).await??;
    Ok(HttpResponse::Ok().json(json!({ "totals": totals, "store": store })))
}

#[derive(Debug, Deserialize)]
pub(crate) struct DailyQuery {
    days: Option<String>,
}

/// `?days=1..90` (30) → `{daily: [{date, events, runs, succeeded, failed, cancelled, delivered, dead}]}`: one row for each day
/// in UTC, the last one today's, days without anything too.
#[utoipa::path(
    get,
    path = "/admin/api/stats/daily",
    tag = "house",
    params(("days" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn daily(
    query: Result<Query<DailyQuery>, actix_web::Error>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    let days = whole("days", query.days.as_ref(), 1..=90)?.unwrap_or(30);
    let today = shared.clock.now().date_naive();
    let dates: Vec<String> = (0..days)
        .rev()
        .map(|back| (today - TimeDelta::days(back)).to_string())
        .collect();
    let since = (today - TimeDelta::days(days - 1))
        .and_time(chrono::NaiveTime::MIN)
        .and_utc();
    let hours = doors.desk.hours.send(ReadHours { since }).await??;
    let rows = table("date", dates, &hours, |hour| hour.date_naive().to_string());
    Ok(HttpResponse::Ok().json(json!({ "daily": rows })))
}

#[derive(Debug, Deserialize)]
pub(crate) struct HourlyQuery {
    hours: Option<String>,
}

/// `?hours=1..168` (24) → `{hourly: [{hour, events, …}]}`: as by day; `hour` is the instant at which it began.
#[utoipa::path(
    get,
    path = "/admin/api/stats/hourly",
    tag = "house",
    params(("hours" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn hourly(
    query: Result<Query<HourlyQuery>, actix_web::Error>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    let hours = whole("hours", query.hours.as_ref(), 1..=168)?.unwrap_or(24);
    let now = shared.clock.now();
    let this = now
        .with_minute(0)
        .and_then(|at| at.with_second(0))
        .and_then(|at| at.with_nanosecond(0));
    // Every hour has a beginning.
    let this = this.unwrap_or(now);
    let written = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let names: Vec<String> = (0..hours)
        .rev()
        .map(|back| written(this - TimeDelta::hours(back)))
        .collect();
    let since = this - TimeDelta::hours(hours - 1);
    let counted = doors.desk.hours.send(ReadHours { since }).await??;
    let rows = table("hour", names, &counted, written);
    Ok(HttpResponse::Ok().json(json!({ "hourly": rows })))
}

/// One row for each name, with a number for each kind of thing.
fn table(
    key: &str,
    names: Vec<String>,
    counted: &[HourCount],
    name_of: impl Fn(DateTime<Utc>) -> String,
) -> Vec<Value> {
    let mut sums: BTreeMap<(String, &str), u64> = BTreeMap::new();
    for count in counted {
        *sums.entry((name_of(count.hour), count.what.as_str())).or_default() += count.n;
    }
    names
        .into_iter()
        .map(|name| {
            let mut row = Map::new();
            for what in HourCount::KINDS {
                let n = sums.get(&(name.clone(), what)).copied().unwrap_or(0);
                row.insert(what.to_owned(), n.into());
            }
            let mut whole = Map::from_iter([(key.to_owned(), name.into())]);
            whole.extend(row);
            Value::Object(whole)
        })
        .collect()
}
