//! Traces on their way to a collector: a thread of its own, so that whatever becomes of them the work neither waits nor fails. Makes no span.

mod collector;
mod shape;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use actors::clock::SharedClock;
use actors::store::Store;
use actors::traces::{self, Scribe, Span, Tracing};
use anyhow::Context;
use tokio::sync::{mpsc, watch};

use self::collector::Collector;
use crate::settings;

/// Spans that may wait for the collector. One more is lost, and counted; at 1 kB each this is 8 MB.
const WAITING: usize = 8_192;
/// Spans that leave in one request at most.
const BATCH: usize = 512;
/// How long the first span of a request waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long after a failed request the next one is made.
const PAUSE: Duration = Duration::from_secs(5);
/// How often a request is made before what is in it is given up. Each has the collector's whole timeout, and tries within it.
const TRIES: u32 = 12;
/// How long a stop waits for what is left to leave.
const FLUSH: Duration = Duration::from_secs(5);
/// How often it is said, at most, that spans were lost.
const COMPLAIN: chrono::TimeDelta = chrono::TimeDelta::minutes(1);

/// Tracing at work.
pub(crate) struct Telemetry {
    tracing: Tracing,
    thread: JoinHandle<()>,
}

/// Begins to trace, if the settings say where to, and answers the store that is to be used from now on: the same one, watched;
/// or, without tracing, simply the same one.
pub(crate) fn start(
    settings: &settings::Telemetry,
    store: Arc<dyn Store>,
    clock: &SharedClock,
    instance: String,
) -> anyhow::Result<(Arc<dyn Store>, Option<Telemetry>)> {
    let otlp = &settings.otlp;
    let Some(endpoint) = &otlp.endpoint else {
        return Ok((store, None));
    };
    let collector = Collector::new(endpoint, otlp, settings.service_name.as_str(), instance)
        .context("cannot set the exporter of traces up")?;
    let (watched, scribe, tracing) = traces::watch(store, clock.clone(), otlp.sample_ratio.of_traces());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the system has no room for the exporter of traces")?;
    let post = Post {
        collector,
        clock: clock.clone(),
        tracing: tracing.clone(),
        lost: Arc::default(),
    };
    let thread = std::thread::Builder::new()
        .name("telemetry".into())
        .spawn(move || runtime.block_on(post.carry(scribe)))
        .context("the system has no thread for the exporter of traces")?;
    tracing::info!(collector = endpoint.url().host_str(), ratio = %otlp.sample_ratio, "traces go to a collector");
    Ok((watched, Some(Telemetry { tracing, thread })))
}

impl Telemetry {
    /// Hands over what is left, for some seconds at most. The store must be open until then.
    pub(crate) async fn finish(self) {
        self.tracing.finish().await;
        // Joining blocks; the reactor has other things to do while the house closes.
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::warn!("the exporter of traces had panicked; nothing else depends on it");
        }
    }
}

/// What carries spans from the scribe to the collector.
struct Post {
    collector: Collector,
    clock: SharedClock,
    tracing: Tracing,
    /// Spans that found no room.
    lost: Arc<AtomicU64>,
}

impl Post {
    /// Until the scribe has finished and what it made is out, or given up.
    async fn carry(self, scribe: Scribe) {
        let (spans, waiting) = mpsc::channel(WAITING);
        let (closing, closes) = watch::channel(false);
        let lost = Arc::clone(&self.lost);
        let making = async move {
            scribe
                .run(|span| {
                    if spans.try_send(span).is_err() {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                })
                .await;
            // Dropped with `spans`, and told: whoever pauses wakes up.
            closing.send_replace(true);
        };
        tokio::join!(making, self.send_all(waiting, closes));
    }

    async fn send_all(&self, mut waiting: mpsc::Receiver<Span>, closes: watch::Receiver<bool>) {
        let mut mood = Mood::default();
        let mut over = pin!(self.flush_is_over(closes.clone()));
        while let Some(batch) = self.gather(&mut waiting).await {
            tokio::select! {
                biased;
                () = self.send(&batch, &mut mood, closes.clone()) => {}
                () = &mut over => {
                    tracing::warn!("the collector took too long for the last traces; they are lost");
                    return;
                }
            }
            self.complain(&mut mood);
        }
    }

    /// The next spans that leave together; nothing when no more come.
    async fn gather(&self, waiting: &mut mpsc::Receiver<Span>) -> Option<Vec<Span>> {
        let mut batch = vec![waiting.recv().await?];
        let mut enough = self.clock.sleep(GATHER);
        while batch.len() < BATCH {
            tokio::select! {
                biased;
                span = waiting.recv() => match span {
                    Some(span) => batch.push(span),
                    None => break,
                },
                () = &mut enough => break,
            }
        }
        Some(batch)
    }

    /// Sends a batch, again and again while the collector does not take it; once the house closes, once more.
    async fn send(&self, batch: &[Span], mood: &mut Mood, mut closes: watch::Receiver<bool>) {
        for _ in 0..TRIES {
            let last = *closes.borrow();
            match self.collector.take(batch).await {
                Ok(()) => return mood.well(self.collector.host()),
                Err(error) => mood.unwell(self.collector.host(), &error),
            }
            if last {
                break;
            }
            tokio::select! {
                () = self.clock.sleep(PAUSE) => {}
                // A sender that is gone has told before.
                _ = closes.wait_for(|closing| *closing) => {}
            }
        }
        let lost = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }

    /// Completes some seconds after the house has begun to close.
    async fn flush_is_over(&self, mut closes: watch::Receiver<bool>) {
        // A sender that is gone has told before.
        let _ = closes.wait_for(|closing| *closing).await;
        self.clock.sleep(FLUSH).await;
    }

    /// Says how much was lost, rarely.
    fn complain(&self, mood: &mut Mood) {
        let now = self.clock.now();
        if mood.complained.is_some_and(|before| now - before < COMPLAIN) {
            return;
        }
        let (spans, facts) = (self.lost.swap(0, Ordering::Relaxed), self.tracing.take_missed());
        if spans + facts > 0 {
            mood.complained = Some(now);
            tracing::warn!(spans, facts, "traces have holes: more came than could be handed over");
        }
    }
}

/// What was said about the collector last.
#[derive(Default)]
struct Mood {
    away: bool,
    complained: Option<chrono::DateTime<chrono::Utc>>,
}

impl Mood {
    fn well(&mut self, host: &str) {
        if std::mem::take(&mut self.away) {
            tracing::info!(collector = host, "the collector takes traces again");
        }
    }

    fn unwell(&mut self, host: &str, error: &str) {
        if !std::mem::replace(&mut self.away, true) {
            tracing::warn!(
                collector = host,
                error,
                "the collector takes no traces; the work goes on, and they are offered again: is it running, and does telemetry.otlp.endpoint name it?"
            );
        }
    }
}
