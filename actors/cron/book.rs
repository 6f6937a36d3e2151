//! The schedules of one moment, by name and by their next instant, and the firings that are not over. Knows no door; the time is passed in.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::alarms::Teller;
use super::definitions::{Condition, CronDefinition, CronOverlap};
use super::plan::{self, Missed};
use super::schedule::{BadSchedule, Firing, Schedule};
use crate::domain::{
    CronFiring, CronOverride, CronState, CronView, FiringKind, FiringSeq, FiringState, ManagedRepos, NewFiring,
    OverrideView, WholeFiring,
};
use crate::messages::store::RecordFirings;

/// Firings of one schedule that may wait.
pub(super) const MOST_WAITING: usize = 100;

/// A clock that was this far ahead was wrong: what it decided is forgotten, so that nothing is silent until then.
const WRONG_CLOCK: TimeDelta = TimeDelta::hours(24);

/// Who asks for a firing whose time has come.
const BY_ITSELF: &str = "cron";

/// A schedule with where it stands.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) definition: CronDefinition,
    pub(super) state: CronState,
    /// As it counts: the file's, or what an operator says over it.
    schedule: Schedule,
    registered: bool,
    next: Option<Firing>,
}

impl Entry {
    /// `None` only for a file whose expression was never checked.
    pub(super) fn new(definition: CronDefinition, state: CronState, webhooks: bool) -> Result<Self, BadSchedule> {
        let registered = definition.condition != Some(Condition::UnlessWebhooksEnabled) || !webhooks;
        let timezone = definition.timezone.as_deref();
        let said = state.over.as_ref().and_then(|over| over.schedule.as_deref());
        let schedule = match said.map(|said| Schedule::parse(said, timezone)) {
            Some(Ok(schedule)) => schedule,
            Some(Err(error)) => {
                tracing::warn!(cron = definition.name, %error, "what is said over a schedule cannot be counted; its file counts");
                Schedule::parse(&definition.schedule, timezone)?
            }
            None => Schedule::parse(&definition.schedule, timezone)?,
        };
        Ok(Self {
            definition,
            state,
            schedule,
            registered,
            next: None,
        })
    }

    pub(super) fn enabled(&self) -> bool {
        let said = self.state.over.as_ref().and_then(|over| over.enabled);
        said.unwrap_or(self.definition.enabled)
    }

    fn fires(&self) -> bool {
        self.registered && self.enabled()
    }

    /// What it is decided by, in one text; empty while it does not fire.
    pub(super) fn expression(&self) -> String {
        match self.fires() {
            true => format!("{} {}", self.schedule.expression(), self.schedule.timezone()),
            false => String::new(),
        }
    }

    /// Whether what was decided on before was by something else, or by nothing.
    pub(super) fn begins_anew(&self) -> bool {
        self.state.cursor.is_none() || self.state.expression != self.expression()
    }

    /// The state with everything up to `now` decided on.
    pub(super) fn decided(&self, now: DateTime<Utc>) -> CronState {
        CronState {
            cursor: Some(now),
            expression: self.expression(),
            ..self.state.clone()
        }
    }

    fn from(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let cursor = self.state.cursor.unwrap_or(now);
        match self.definition.pause_until {
            Some(until) => cursor.max(until - TimeDelta::milliseconds(1)),
            None => cursor,
        }
    }

    fn why_not(&self, now: DateTime<Utc>) -> Option<String> {
        if !self.registered {
            return Some("GitHub's webhooks are on, so there is nothing to look for".to_owned());
        }
        if !self.enabled() {
            return Some("it is switched off".to_owned());
        }
        let until = self.definition.pause_until.filter(|until| *until > now)?;
        Some(format!("it pauses until {}", until.to_rfc3339()))
    }
}

/// Everything the ticker knows. What counts is in the store; this is read from there when it starts.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) entries: BTreeMap<String, Entry>,
    /// The next instant of each that fires.
    heap: BTreeSet<(DateTime<Utc>, String)>,
    pub(super) open: BTreeMap<FiringSeq, WholeFiring>,
    /// How many of them each schedule has.
    counts: BTreeMap<String, usize>,
    /// The store was read.
    pub(super) read: bool,
    /// Grows with everything that is done.
    pub(super) changes: u64,
}

impl Book {
    pub(super) fn put(&mut self, mut entry: Entry, now: DateTime<Utc>) {
        self.changes += 1;
        self.forget(&entry.definition.name.clone());
        entry.next = entry.fires().then(|| entry.schedule.after(entry.from(now))).flatten();
        if let Some(next) = &entry.next {
            self.heap.insert((next.at, entry.definition.name.clone()));
        }
        self.entries.insert(entry.definition.name.clone(), entry);
    }

    pub(super) fn forget(&mut self, name: &str) -> Option<Entry> {
        let entry = self.entries.remove(name)?;
        if let Some(next) = &entry.next {
            self.heap.remove(&(next.at, name.to_owned()));
        }
        Some(entry)
    }

    /// Puts another state in place of that of an entry and counts its next instant.
    pub(super) fn stands(&mut self, name: &str, state: CronState, now: DateTime<Utc>) {
        if let Some(mut entry) = self.forget(name) {
            let over = entry.state.over.take();
            entry.state = CronState { over, ..state };
            self.put(entry, now);
        }
    }

    /// What somebody says over a file counts from now on.
    ///
    /// # Errors
    /// When its expression is none; then nothing is changed.
    pub(super) fn said(
        &mut self,
        name: &str,
        over: Option<CronOverride>,
        webhooks: bool,
        now: DateTime<Utc>,
    ) -> Result<(), BadSchedule> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(());
        };
        let state = CronState {
            over,
            ..entry.state.clone()
        };
        let entry = Entry::new(entry.definition.clone(), state, webhooks)?;
        self.put(entry, now);
        Ok(())
    }

    pub(super) fn hold(&mut self, firing: WholeFiring) {
        *self.counts.entry(firing.firing.cron.clone()).or_default() += 1;
        self.open.insert(firing.firing.seq, firing);
    }

    pub(super) fn let_go(&mut self, seq: FiringSeq) -> Option<WholeFiring> {
        let gone = self.open.remove(&seq)?;
        if let Some(count) = self.counts.get_mut(&gone.firing.cron) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&gone.firing.cron);
            }
        }
        Some(gone)
    }

    /// Without its schedules; what is not over stays.
    pub(super) fn emptied(self) -> Self {
        Self {
            entries: BTreeMap::new(),
            heap: BTreeSet::new(),
            ..self
        }
    }

    /// Those whose time has come, at most so many.
    pub(super) fn due(&self, now: DateTime<Utc>, most: usize) -> Vec<String> {
        let due = self.heap.iter().take_while(|(at, _)| *at <= now);
        due.take(most).map(|(_, name)| name.clone()).collect()
    }

    /// Entries that are decided on by a clock that was far ahead.
    pub(super) fn ahead(&self, now: DateTime<Utc>) -> Vec<String> {
        let ahead = |entry: &&Entry| entry.state.cursor.is_some_and(|cursor| cursor - now > WRONG_CLOCK);
        let ahead = self.entries.values().filter(ahead);
        ahead.map(|entry| entry.definition.name.clone()).collect()
    }

    /// When something is to be done next. A firing that is due and still waits does so for the one before, whose end is heard of.
    pub(super) fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let waits = |open: &&WholeFiring| open.firing.state == FiringState::Waiting && open.firing.due_at > now;
        let waiting = self.open.values().filter(waits);
        let first = self.heap.first().map(|(at, _)| *at);
        waiting.map(|open| open.firing.due_at).chain(first).min()
    }

    pub(super) fn waiting_of(&self, name: &str) -> usize {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// What is written down of an entry whose time has come. `chance` is in 0..1.
    pub(super) fn fire(&self, name: &str, now: DateTime<Utc>, chance: impl Fn() -> f64) -> Option<RecordFirings> {
        let entry = self.entries.get(name)?;
        let definition = &entry.definition;
        let plan = plan::decide(
            &entry.schedule,
            entry.from(now),
            now,
            definition.misfire,
            definition.max_age,
        );
        let mut busy = self.waiting_of(name);
        let new = |at: DateTime<Utc>| NewFiring {
            cron: name.to_owned(),
            kind: FiringKind::Scheduled,
            state: FiringState::Waiting,
            scheduled_at: at,
            due_at: now.max(at),
            who: BY_ITSELF.to_owned(),
            count: 1,
            note: None,
            seed: seed(name, at),
        };
        let mut firings = Vec::new();
        let mut teller = Teller {
            cron: name,
            mark: now.timestamp_millis().to_string(),
            state: entry.decided(now),
            effects: Vec::new(),
        };
        if let Some(missed) = plan.missed {
            let which = words(missed, &entry.schedule);
            teller.missed(&which);
            firings.push(NewFiring {
                state: FiringState::Missed,
                count: missed.count,
                note: Some(format!("not fired {which}")),
                ..new(missed.last)
            });
        }
        for at in plan.caught_up {
            busy += 1;
            firings.push(NewFiring {
                kind: FiringKind::CatchUp,
                ..new(at)
            });
        }
        if !plan.on_time.is_empty() && plan.missed.is_none() {
            teller.on_time();
        }
        for at in plan.on_time {
            let skip = match definition.overlap {
                CronOverlap::Skip if busy > 0 => Some("the one before was still at work".to_owned()),
                _ if busy >= MOST_WAITING => Some(format!("{busy} others were waiting already")),
                _ => None,
            };
            let mut firing = new(at);
            match skip {
                Some(note) => {
                    firing.state = FiringState::Skipped;
                    firing.note = Some(note);
                }
                None => {
                    busy += 1;
                    firing.due_at = at + jitter(definition, chance());
                }
            }
            firings.push(firing);
        }
        Some(RecordFirings {
            cron: name.to_owned(),
            firings,
            state: teller.state,
            effects: teller.effects,
            at: now,
        })
    }

    /// An entry for lists. `latest` is its latest firing.
    pub(super) fn view(
        &self,
        entry: &Entry,
        latest: Option<&CronFiring>,
        managed: &ManagedRepos,
        now: DateTime<Utc>,
    ) -> CronView {
        let definition = &entry.definition;
        let next = entry.next.as_ref();
        CronView {
            name: definition.name.clone(),
            description: definition.description.clone(),
            workflow: definition.workflow.to_string(),
            schedule: entry.schedule.expression().to_owned(),
            original_schedule: definition.schedule.clone(),
            timezone: entry.schedule.timezone().to_owned(),
            enabled: entry.enabled(),
            registered: entry.registered,
            reason: entry.why_not(now),
            next_run: next.map(|next| next.at),
            next_local: next.map(|next| next.local.clone()),
            next_shifted: next.and_then(|next| next.shifted),
            last_run: latest.map(|latest| latest.scheduled_at),
            last_status: latest.map(|latest| latest.state),
            recent_failures: entry.state.failures,
            alarms: entry.state.alarms.iter().copied().collect(),
            working: self.waiting_of(&definition.name),
            context: definition.context_for(managed),
            jitter_ms: u64::try_from(definition.jitter.as_millis()).unwrap_or(u64::MAX),
            misfire: definition.misfire.as_str(),
            overlap: definition.overlap.as_str(),
            concurrency: definition.concurrency,
            max_failures: definition.max_failures,
            pause_until: definition.pause_until,
            file: definition.file.clone(),
            over: entry.state.over.as_ref().map(|over| OverrideView {
                updated_at: over.updated_at,
                updated_by: over.updated_by.clone(),
                has_schedule_override: over.schedule.is_some(),
            }),
        }
    }
}

/// What the ids of a firing's runs are made of: the same for the same instant, whoever writes it down.
fn seed(name: &str, at: DateTime<Utc>) -> Uuid {
    Uuid::new_v5(
        &Uuid::NAMESPACE_OID,
        format!("cron:{name}:{}", at.timestamp_millis()).as_bytes(),
    )
}

fn jitter(definition: &CronDefinition, chance: f64) -> TimeDelta {
    TimeDelta::from_std(definition.jitter.mul_f64(chance.clamp(0.0, 1.0))).unwrap_or_default()
}

fn words(missed: Missed, schedule: &Schedule) -> String {
    let (first, last) = (schedule.show(missed.first), schedule.show(missed.last));
    match missed.count {
        1 => format!("at {last}"),
        count if missed.at_least => format!("at least {count} times from {first} to {last}"),
        count => format!("{count} times from {first} to {last}"),
    }
}

/// A firing as it is held, from what was written down.
pub(super) fn held(new: NewFiring, seq: FiringSeq) -> WholeFiring {
    WholeFiring {
        firing: CronFiring {
            seq,
            cron: new.cron,
            kind: new.kind,
            state: new.state,
            scheduled_at: new.scheduled_at,
            due_at: new.due_at,
            who: new.who,
            count: new.count,
            total: 0,
            dispatched: 0,
            failed: 0,
            note: new.note,
            started_at: None,
            ended_at: None,
            seed: new.seed,
        },
        context: Map::new(),
        targets: Vec::new(),
    }
}

/// The repositories of a context, each once, and what is left of it.
pub(super) fn fan_out(mut context: Map<String, Value>) -> (Vec<Option<String>>, Map<String, Value>) {
    let repos = context.remove("repos");
    let mut seen = BTreeSet::new();
    let repos = repos.as_ref().and_then(Value::as_array).into_iter().flatten();
    let repos = repos
        .filter_map(Value::as_str)
        .filter(|repo| seen.insert(repo.to_ascii_lowercase()))
        .map(|repo| Some(repo.to_owned()))
        .collect();
    (repos, context)
}
