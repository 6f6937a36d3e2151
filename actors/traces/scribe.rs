//! Makes spans of what the watch saw. Reads the store where a fact does not say enough; writes nothing, and nobody waits for it.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use super::fact::{EffectFacts, Fact, Origin, PhaseFacts, Received, Routed, RunFacts, StepFacts, Tried};
use super::span::{Span, SpanKind};
use crate::domain::{
    Approval, ApprovalFilter, ApprovalId, ApprovalStatus, DeliveryId, EffectSeq, EventSeq, Opened, PhaseName,
    PhaseRecord, PhaseStatus, RunFilter, RunId, RunRecord, RunStatus, SampleRatio, Source, SpanId, TraceId,
    TriggerType,
};
use crate::messages::store::{ListApprovals, ListRuns, LoadRun, ReadApproval, ReadEvent};
use crate::store::Store;

/// How many events, runs, effects or attempts are remembered at most while their end is awaited. The oldest is forgotten first:
/// its span is found in the store again, or its beginning is taken to be its end.
const REMEMBERED: usize = 16_384;

/// How many rows are looked at for what ended by the way.
const LOOKED_AT: usize = 200;

/// Makes spans. To be run once, see [`Scribe::run`].
pub struct Scribe {
    store: Arc<dyn Store>,
    facts: mpsc::Receiver<Fact>,
    ratio: SampleRatio,
    /// What the dispatcher has in hand, and since when.
    events: Memory<EventSeq, (DeliveryId, DateTime<Utc>)>,
    /// Runs that were seen, with the phases that are open.
    runs: Memory<RunId, Live>,
    effects: Memory<EffectSeq, EffectFacts>,
    attempts: Memory<(EffectSeq, u32), DateTime<Utc>>,
    /// When a crash was made up for, in this process.
    recovered_at: Option<DateTime<Utc>>,
}

/// A run that was seen.
#[derive(Debug, Clone)]
struct Live {
    run: RunFacts,
    open: HashMap<(PhaseName, u32), PhaseFacts>,
}

impl Live {
    fn trace(&self) -> TraceId {
        TraceId::of_run(self.run.id, &self.run.cause)
    }
}

impl Scribe {
    pub(super) fn new(store: Arc<dyn Store>, facts: mpsc::Receiver<Fact>, ratio: SampleRatio) -> Self {
        Self {
            store,
            facts,
            ratio,
            events: Memory::default(),
            runs: Memory::default(),
            effects: Memory::default(),
            attempts: Memory::default(),
            recovered_at: None,
        }
    }

    /// Makes spans until [`super::Tracing::finish`], and gives each to `give`. Traces that are not kept have none.
    pub async fn run(mut self, give: impl Fn(Span)) {
        while let Some(fact) = self.facts.recv().await {
            if matches!(fact, Fact::Finish) {
                return;
            }
            for span in self.spans(fact).await {
                if self.ratio.keeps(span.trace) {
                    give(span);
                }
            }
        }
    }

    async fn spans(&mut self, fact: Fact) -> Vec<Span> {
        match fact {
            Fact::Received(received) => arrival(&received),
            Fact::Replayed {
                event,
                of,
                ordered_at,
                at,
            } => self.replayed(&event, &of, ordered_at, at).await,
            Fact::Read { events, at } => {
                for (seq, event) in events {
                    self.events.put(seq, (event, at));
                }
                Vec::new()
            }
            Fact::Routed { events, at } => self.routed(events, at).await,
            Fact::Asked { runs, ordered_at, at } => {
                let spans = runs
                    .into_iter()
                    .flat_map(|(run, opened)| asked(&run, opened, ordered_at, at));
                spans.collect()
            }
            Fact::Taken { runs, at } => {
                let spans = runs.into_iter().flat_map(|(run, phases)| self.taken(run, phases, at));
                spans.collect()
            }
            Fact::Recovered { given_up, at } => self.recovered(given_up, at).await,
            Fact::Stepped { run, steps, at } => self.stepped(run, steps, at).await,
            Fact::Ended { run, at } => {
                let mut spans = self.lapsed(Some(run), None).await;
                spans.extend(self.looked_up(run, at).await);
                spans
            }
            Fact::Answered { approval, at } => self.answered(approval, at).await,
            Fact::Given(effects) => {
                for effect in effects {
                    self.effects.put(effect.seq, effect);
                }
                Vec::new()
            }
            Fact::Queued { effects, claimed, at } => self.queued(effects, claimed, at),
            Fact::Claimed { effect, attempt, at } => {
                self.attempts.put((effect, attempt), at);
                Vec::new()
            }
            Fact::Tried(tried, at) => {
                let mut spans = Vec::new();
                for one in tried {
                    spans.extend(self.tried(&one, at).await);
                }
                spans
            }
            Fact::Finish => Vec::new(),
        }
    }

    async fn replayed(&self, event: &DeliveryId, of: &str, ordered_at: DateTime<Utc>, at: DateTime<Utc>) -> Vec<Span> {
        let id = event.to_string();
        let Ok(Some((stored, _))) = self.store.read_event(ReadEvent { id }).await else {
            return Vec::new();
        };
        let replay_of = of.parse().ok();
        arrival(&Received {
            received_at: ordered_at,
            at,
            replay_of,
            ..Received::of(&stored.envelope, ordered_at)
        })
    }

    async fn routed(&mut self, events: Vec<Routed>, at: DateTime<Utc>) -> Vec<Span> {
        let mut spans = Vec::new();
        for routed in events {
            if let Some((event, since)) = self.events.take(&routed.event) {
                spans.push(verdict(&routed, &event, since, at));
            }
            if let Some(approval) = routed.answered {
                spans.extend(self.answered(approval, at).await);
            }
            if routed.lapsed > 0 {
                // Which ones is not said; those of this moment are found by their time.
                spans.extend(self.lapsed(None, Some(at)).await);
            }
        }
        spans
    }

    fn taken(&mut self, run: RunFacts, phases: Vec<PhaseFacts>, at: DateTime<Utc>) -> Vec<Span> {
        let mut live = Live {
            run,
            open: HashMap::new(),
        };
        let mut spans = Vec::new();
        // How long it waits again, after a stop or an answer, is in nobody's books.
        if live.run.untouched && live.run.restarts == 0 {
            let wait = Span::new(
                live.trace(),
                SpanId::queue(live.run.id),
                "queue",
                live.run.created_at,
                at,
            );
            spans.push(
                wait.under(SpanId::run(live.run.id))
                    .text("cicd.pipeline.run.id", live.run.id.to_string()),
            );
        }
        for phase in phases {
            match phase.ended_at {
                // Cut off by the crash that this process found, so nobody has told of it.
                Some(ended) if self.recovered_at.is_some_and(|at| same(at, ended)) => {
                    spans.push(phase_span(&live.run, &phase, ended, Some("interrupted")));
                }
                Some(_) => {}
                None => {
                    live.open.insert((phase.phase.clone(), phase.attempt), phase);
                }
            }
        }
        self.runs.put(live.run.id, live);
        spans
    }

    async fn recovered(&mut self, given_up: bool, at: DateTime<Utc>) -> Vec<Span> {
        self.recovered_at = Some(at);
        if !given_up {
            return Vec::new();
        }
        let filter = RunFilter {
            statuses: vec![RunStatus::Failed],
            limit: LOOKED_AT,
            ..RunFilter::default()
        };
        let Ok((page, _)) = self.store.list_runs(ListRuns(filter)).await else {
            return Vec::new();
        };
        let mut spans = Vec::new();
        for run in page.items {
            if run.ended_at.is_some_and(|ended| same(ended, at)) {
                spans.extend(self.looked_up(run.id, at).await);
            }
        }
        spans
    }

    async fn stepped(&mut self, run: RunId, steps: Vec<StepFacts>, at: DateTime<Utc>) -> Vec<Span> {
        let Some(mut live) = self.run_of(run).await else {
            return Vec::new();
        };
        let mut spans = Vec::new();
        for step in steps {
            match step {
                StepFacts::Started { phase, kind, attempt } => {
                    let facts = PhaseFacts {
                        phase: phase.clone(),
                        kind: kind.to_owned(),
                        attempt,
                        status: PhaseStatus::Running,
                        exit_code: None,
                        started_at: at,
                        ended_at: None,
                    };
                    live.open.insert((phase, attempt), facts);
                }
                StepFacts::Ended {
                    phase,
                    kind,
                    attempt,
                    status,
                    exit_code,
                    cut_off,
                } => {
                    let begun = live.open.remove(&(phase.clone(), attempt));
                    let facts = PhaseFacts {
                        phase,
                        kind: kind.to_owned(),
                        attempt,
                        status,
                        exit_code,
                        // A phase that is skipped never began.
                        started_at: begun.map_or(at, |begun| begun.started_at),
                        ended_at: Some(at),
                    };
                    spans.push(phase_span(&live.run, &facts, at, cut_off));
                }
                StepFacts::RunEnded(status) => spans.push(run_span(&live.run, status, at)),
            }
        }
        self.runs.put(run, live);
        spans
    }

    /// A run as it was seen last, or as the store has it.
    async fn run_of(&mut self, run: RunId) -> Option<Live> {
        if let Some(live) = self.runs.get(&run) {
            return Some(live.clone());
        }
        let record = self.store.load_run(LoadRun(run)).await.ok().flatten()?;
        let live = Live {
            run: RunFacts::of(&record),
            open: open_phases(&record.phases),
        };
        self.runs.put(run, live.clone());
        Some(live)
    }

    /// What came to its end in the store itself at this instant: phases that waited, and the run.
    async fn looked_up(&mut self, run: RunId, at: DateTime<Utc>) -> Vec<Span> {
        let Ok(Some(record)) = self.store.load_run(LoadRun(run)).await else {
            return Vec::new();
        };
        let RunRecord { summary, phases, .. } = record;
        let facts = RunFacts::of_summary(&summary);
        let ended_now = |ended: Option<DateTime<Utc>>| ended.filter(|ended| same(*ended, at));
        let mut spans = Vec::new();
        for phase in &phases {
            if let Some(ended) = ended_now(phase.ended_at) {
                spans.push(phase_span(&facts, &PhaseFacts::of(phase), ended, None));
            }
        }
        if let Some(ended) = ended_now(summary.ended_at).filter(|_| summary.status.is_final()) {
            spans.push(run_span(&facts, summary.status, ended));
        }
        let live = Live {
            run: facts,
            open: open_phases(&phases),
        };
        self.runs.put(run, live);
        spans
    }

    async fn answered(&mut self, approval: ApprovalId, at: DateTime<Utc>) -> Vec<Span> {
        let Ok(Some(approval)) = self.store.read_approval(ReadApproval(approval)).await else {
            return Vec::new();
        };
        let at = approval.responded_at.unwrap_or(at);
        let mut spans = self.looked_up(approval.run, at).await;
        spans.extend(self.question(&approval, at).await);
        spans
    }

    /// Questions that nobody can answer any more: of a run that ended, or of this instant.
    async fn lapsed(&mut self, run: Option<RunId>, at: Option<DateTime<Utc>>) -> Vec<Span> {
        let filter = ApprovalFilter {
            status: Some(ApprovalStatus::Lapsed),
            run,
            limit: LOOKED_AT,
            ..ApprovalFilter::default()
        };
        let Ok(page) = self.store.list_approvals(ListApprovals(filter)).await else {
            return Vec::new();
        };
        let mut spans = Vec::new();
        for approval in page.items {
            let ended = match (approval.responded_at, at) {
                // The commit is a little later than the decision that it holds.
                (Some(ended), Some(at)) if (at - ended).num_milliseconds().abs() < 1_000 => ended,
                // The run's end is its end; one that lapsed before has a time of its own, and was told of.
                (None, None) => match self.store.load_run(LoadRun(approval.run)).await {
                    Ok(Some(run)) => run.summary.ended_at.unwrap_or(approval.created_at),
                    _ => continue,
                },
                _ => continue,
            };
            spans.extend(self.question(&approval, ended).await);
        }
        spans
    }

    async fn question(&mut self, approval: &Approval, ended: DateTime<Utc>) -> Option<Span> {
        let trace = self.run_of(approval.run).await?.trace();
        let span = Span::new(
            trace,
            SpanId::approval(approval.id),
            "approval",
            approval.created_at,
            ended,
        );
        Some(
            span.under(SpanId::run(approval.run))
                .text("firstlight.approval.id", approval.id.to_string())
                .text("firstlight.approval.gate", approval.gate.clone())
                .text("firstlight.approval.status", approval.status.as_str())
                .text("cicd.pipeline.run.id", approval.run.to_string())
                .text("cicd.pipeline.task.name", approval.phase.as_str()),
        )
    }

    fn queued(&mut self, effects: Vec<EffectFacts>, claimed: bool, at: DateTime<Utc>) -> Vec<Span> {
        let mut roots: Vec<Span> = Vec::new();
        for effect in effects {
            if let (None, None, Origin::Shared(id)) = (effect.run, &effect.event, &effect.origin) {
                let root = origin_span(TraceId::of(id), effect.created_at, at);
                if roots.iter().all(|known| known.id != root.id) {
                    roots.push(root);
                }
            }
            if claimed {
                self.attempts.put((effect.seq, 1), at);
            }
            self.effects.put(effect.seq, effect);
        }
        roots
    }

    async fn tried(&mut self, tried: &Tried, at: DateTime<Utc>) -> Vec<Span> {
        let claimed_at = self.attempts.take(&(tried.effect, tried.attempt));
        let last = !matches!(tried.outcome, "retry");
        let known = if last {
            self.effects.take(&tried.effect)
        } else {
            self.effects.get(&tried.effect).cloned()
        };
        let Some(effect) = known else { return Vec::new() };
        let took = tried.took_ms.and_then(|ms| i64::try_from(ms).ok());
        // Not what was told with the others of a batch, but how long it took.
        let (start, end) = match (claimed_at, took.and_then(chrono::TimeDelta::try_milliseconds)) {
            (Some(start), Some(took)) => (start, start + took),
            (None, Some(took)) => (at - took, at),
            (start, None) => (start.unwrap_or(at), at),
        };
        let mut spans = Vec::new();
        let (trace, parent) = self.place_of(&effect).await;
        if tried.attempt == 1
            && effect.run.is_none()
            && effect.event.is_none()
            && matches!(effect.origin, Origin::Itself)
        {
            spans.push(origin_span(trace, effect.created_at, start));
        }
        let failed = match tried.outcome {
            "done" => None,
            "dead" => Some("given_up"),
            "undeliverable" => Some("nobody_to_deliver_to"),
            _ => Some("tried_again_later"),
        };
        let mut span = Span::new(
            trace,
            SpanId::attempt(&effect.key, tried.attempt),
            effect.kind,
            start,
            end,
        )
        .under(parent)
        .of_kind(SpanKind::Client)
        .text("firstlight.effect.kind", effect.kind)
        .text("firstlight.effect.target", effect.target)
        .text("firstlight.effect.outcome", tried.outcome)
        .number("firstlight.effect.attempt", tried.attempt)
        .failed(failed);
        if let Some(status) = tried.http_status {
            span = span.number("http.response.status_code", status);
        }
        if tried.attempt > 1 {
            span = span.number("http.request.resend_count", tried.attempt - 1);
        }
        if let Some(run) = effect.run {
            span = span.text("cicd.pipeline.run.id", run.to_string());
        }
        spans.push(span);
        spans
    }

    /// In which trace an effect is, and what it is a part of there.
    async fn place_of(&mut self, effect: &EffectFacts) -> (TraceId, SpanId) {
        let of_run = match effect.run {
            Some(run) => self.run_of(run).await.map(|live| (live.trace(), SpanId::run(run))),
            None => None,
        };
        let of_event = effect.event.as_ref().map(|event| {
            let trace = TraceId::of_event(event);
            (trace, SpanId::dispatch(trace))
        });
        match (of_run, of_event) {
            // An answer to an event that joined another's run is part of its own story.
            (Some((trace, _)), Some((other, dispatch))) if trace != other => (other, dispatch),
            (Some(place), _) => place,
            (None, Some(place)) => place,
            (None, None) => {
                let trace = match &effect.origin {
                    Origin::Shared(id) => TraceId::of(id),
                    Origin::Itself => TraceId::of(effect.key.as_str()),
                };
                (trace, SpanId::arrival(trace))
            }
        }
    }
}

/// Two instants that the store, which keeps milliseconds, cannot tell apart.
fn same(one: DateTime<Utc>, other: DateTime<Utc>) -> bool {
    one.timestamp_millis() == other.timestamp_millis()
}

fn open_phases(phases: &[PhaseRecord]) -> HashMap<(PhaseName, u32), PhaseFacts> {
    let open = phases.iter().filter(|phase| phase.ended_at.is_none());
    open.map(|phase| ((phase.phase.clone(), phase.attempt), PhaseFacts::of(phase)))
        .collect()
}

/// The root of an event's trace, and its commit.
fn arrival(received: &Received) -> Vec<Span> {
    let trace = TraceId::of_event(&received.event);
    let root = SpanId::arrival(trace);
    let name = match received.source {
        Source::Github => "receive github",
        Source::Slack => "receive slack",
    };
    let mut span = Span::new(trace, root, name, received.received_at, received.at)
        .text("firstlight.event.id", received.event.as_str())
        .text("firstlight.event.type", received.kind.as_str())
        .text("firstlight.source", received.source.as_str())
        .about(received.repo.as_ref(), received.number);
    span = match (received.source, &received.replay_of) {
        (_, Some(of)) => {
            let old = TraceId::of_event(of);
            span.linked(old, SpanId::arrival(old))
                .text("firstlight.event.replay_of", of.as_str())
        }
        (Source::Github, None) => span
            .of_kind(SpanKind::Server)
            .text("http.request.method", "POST")
            .text("http.route", "/webhooks/github")
            .number("http.response.status_code", 202_i64),
        (Source::Slack, None) => span
            .of_kind(SpanKind::Consumer)
            .text("messaging.system", "slack")
            .text("messaging.operation.type", "receive"),
    };
    let record = Span::new(trace, SpanId::record(trace), "record", received.ordered_at, received.at);
    vec![span, record.under(root)]
}

/// What the dispatcher decided.
fn verdict(routed: &Routed, event: &DeliveryId, since: DateTime<Utc>, at: DateTime<Utc>) -> Span {
    let trace = TraceId::of_event(event);
    let outcome = match (&routed.opened, routed.answered) {
        _ if routed.quarantined => "set_aside",
        (Some(Opened::Queued(_)), _) => "run_opened",
        (Some(Opened::Joined(..)), _) => "run_joined",
        (Some(Opened::Repeated(_)), _) => "run_repeated",
        (None, Some(_)) => "question_answered",
        (None, None) => "no_run",
    };
    let mut span = Span::new(trace, SpanId::dispatch(trace), "dispatch", since, at)
        .under(SpanId::arrival(trace))
        .text("firstlight.event.id", event.as_str())
        .text("firstlight.dispatch.outcome", outcome)
        .failed(routed.quarantined.then_some("set_aside"));
    if let Some(workflow) = &routed.workflow {
        span = span.text("cicd.pipeline.name", workflow.as_str());
    }
    if let Some(opened) = routed.opened {
        let run = opened.run();
        span = span.text("cicd.pipeline.run.id", run.to_string());
    }
    span
}

/// The root of the trace of a run that no event asked for.
fn asked(run: &RunFacts, opened: Opened, ordered_at: DateTime<Utc>, at: DateTime<Utc>) -> Vec<Span> {
    if !matches!(opened, Opened::Queued(_)) || run.cause.event.is_some() {
        return Vec::new();
    }
    let trace = TraceId::of_run(run.id, &run.cause);
    let root = SpanId::arrival(trace);
    let name = match run.trigger() {
        TriggerType::Cron => "receive cron",
        TriggerType::Admin => "receive admin",
        TriggerType::Approval => "receive approval",
        TriggerType::Chat => "receive chat",
        TriggerType::Api | TriggerType::Webhook => "receive api",
    };
    let span = Span::new(trace, root, name, run.created_at.min(ordered_at), at)
        .text("firstlight.source", run.trigger().as_str())
        .text("cicd.pipeline.name", run.workflow.as_str())
        .text("cicd.pipeline.run.id", run.id.to_string())
        .about(run.repo.as_ref(), run.number);
    let record = Span::new(trace, SpanId::record(trace), "record", ordered_at, at);
    vec![span, record.under(root)]
}

/// The root of the trace of what neither a run nor an event wanted: a notification, an integration event, a notice.
fn origin_span(trace: TraceId, from: DateTime<Utc>, to: DateTime<Utc>) -> Span {
    Span::new(trace, SpanId::arrival(trace), "receive integration", from, to).text("firstlight.source", "integration")
}

fn run_span(run: &RunFacts, status: RunStatus, at: DateTime<Utc>) -> Span {
    let trace = TraceId::of_run(run.id, &run.cause);
    let parent = match run.cause.event {
        Some(_) => SpanId::dispatch(trace),
        None => SpanId::arrival(trace),
    };
    let result = match status {
        RunStatus::Succeeded => "success",
        RunStatus::Cancelled => "cancellation",
        _ => "failure",
    };
    Span::new(
        trace,
        SpanId::run(run.id),
        format!("run {}", run.workflow),
        run.created_at,
        at,
    )
    .under(parent)
    .text("cicd.pipeline.name", run.workflow.as_str())
    .text("cicd.pipeline.run.id", run.id.to_string())
    .text("cicd.pipeline.result", result)
    .text("firstlight.trigger", run.trigger().as_str())
    .number("firstlight.run.restarts", run.restarts)
    .about(run.repo.as_ref(), run.number)
    .failed((status == RunStatus::Failed).then_some("run_failed"))
}

/// `how` says that it was cut off, and by what.
fn phase_span(run: &RunFacts, phase: &PhaseFacts, at: DateTime<Utc>, how: Option<&'static str>) -> Span {
    let result = match phase.status {
        _ if how.is_some() => "error",
        // Its work is done; the wait that follows is the question's.
        PhaseStatus::Succeeded | PhaseStatus::WaitingApproval => "success",
        PhaseStatus::Skipped => "skip",
        _ => "failure",
    };
    let failed = how.or((phase.status == PhaseStatus::Failed).then_some("phase_failed"));
    let span = Span::new(
        TraceId::of_run(run.id, &run.cause),
        SpanId::phase(run.id, &phase.phase, phase.attempt),
        format!("phase {}", phase.phase),
        phase.started_at,
        at,
    )
    .under(SpanId::run(run.id))
    .text("cicd.pipeline.task.name", phase.phase.as_str())
    .text("cicd.pipeline.task.run.result", result)
    .text("cicd.pipeline.run.id", run.id.to_string())
    .text("firstlight.phase.kind", phase.kind.clone())
    .number("firstlight.phase.attempt", phase.attempt)
    .failed(failed);
    match phase.exit_code {
        Some(code) => span.number("process.exit.code", code),
        None => span,
    }
}

/// A map that forgets its oldest entries.
#[derive(Debug)]
struct Memory<K, V> {
    map: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self {
            map: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Eq + Hash + Clone, V> Memory<K, V> {
    fn put(&mut self, key: K, value: V) {
        if self.map.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        // What was taken is in the order still, until its turn comes.
        while self.order.len() > 2 * REMEMBERED || self.map.len() > REMEMBERED {
            match self.order.pop_front() {
                Some(oldest) => self.map.remove(&oldest),
                None => break,
            };
        }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    fn take(&mut self, key: &K) -> Option<V> {
        self.map.remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_memory_stays_bounded() {
        let mut memory: Memory<usize, usize> = Memory::default();
        for n in 0..3 * REMEMBERED {
            memory.put(n, n);
        }
        assert_eq!(memory.map.len(), REMEMBERED);
        assert!(memory.get(&0).is_none() && memory.get(&(3 * REMEMBERED - 1)).is_some());
        for n in 0..100 * REMEMBERED {
            memory.put(n, n);
            memory.take(&n);
        }
        assert!(memory.order.len() <= 2 * REMEMBERED + 1, "{}", memory.order.len());
    }

    #[test]
    fn an_end_before_its_beginning_becomes_the_beginning() {
        let (early, late) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(1));
        let trace = TraceId::of("d-1");
        let span = Span::new(trace, SpanId::arrival(trace), "receive github", late, early);
        assert_eq!((span.start, span.end), (late, late));
    }
}
