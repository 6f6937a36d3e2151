//! What every database must do: one suite over the trait, run on each database that there is. Knows no database.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use proptest::prelude::*;
use uuid::Uuid;

use super::{Store, StoreDoor};
use crate::domain::*;
use crate::messages::store::*;

/// A place where a database keeps its things, so that it can be let go and opened again.
pub(super) trait Ground {
    /// Opens what is there.
    fn open(&self) -> Arc<dyn Store>;
}

/// Runs every claim on a ground that is fresh for each.
macro_rules! suite {
    ($($claim:ident),+ $(,)?) => {
        $(#[actix::test]
        async fn $claim() {
            claims::$claim(super::sqlite::tests::ground()).await;
        })+

        /// Holds the list above against the claims below: one that is not listed would never run.
        #[test]
        fn every_claim_is_run() {
            let listed = [$(stringify!($claim)),+];
            let source = include_str!("suite.rs");
            let claims = source.split("pub(super) async fn ").skip(1).count();
            // The text that is looked for stands in this very test, too.
            assert_eq!(listed.len(), claims - 1, "a claim is not in the list");
        }
    };
}

suite! {
    an_event_is_recorded_once_and_comes_back_as_it_was,
    two_hundred_deliveries_of_one_id_are_one_event,
    unsettled_events_are_read_oldest_first_from_a_position,
    a_settled_event_is_settled_once_with_all_that_follows,
    a_quarantined_event_is_set_aside,
    a_settlement_that_fails_leaves_nothing_behind,
    what_is_said_depends_on_what_became_of_the_event,
    events_are_listed_newest_first_by_each_filter,
    events_are_found_by_any_filters_together_page_by_page,
    a_search_that_finds_little_goes_on_page_by_page_to_its_end,
    an_event_is_taken_up_again_only_where_it_did_not_come_to_an_end,
    an_event_is_repeated_as_a_new_one_that_names_it,
    runs_are_found_by_any_filters_together_page_by_page,
    phase_executions_are_listed_newest_first_over_all_runs,
    what_happens_is_counted_by_the_hour_and_in_all,
    conversations_are_listed_with_their_lines,
    a_run_is_opened_by_the_rule_of_its_overlap,
    runs_are_opened_all_or_none,
    a_run_of_an_unknown_definition_is_refused,
    queued_runs_are_taken_oldest_first_and_one_per_subject,
    a_place_is_handed_on_when_its_run_ends,
    a_hundred_thousand_waiting_runs_do_not_hold_the_queue_up,
    runs_that_a_crash_left_running_go_back_or_are_given_up,
    a_step_is_written_once_however_often_it_is_ordered,
    a_run_that_is_over_takes_no_more_steps,
    a_pause_asks_and_an_approval_sends_the_run_on,
    a_rejection_fails_the_run_with_its_reason,
    of_many_answers_exactly_one_counts,
    an_answer_counts_by_the_rules_of_its_question,
    an_answer_in_words_becomes_the_output_of_its_phase,
    an_answer_settles_the_phase_that_asked_and_no_other,
    questions_are_listed_by_each_filter_page_by_page,
    new_commits_make_a_question_lapse_and_its_run_asks_anew,
    the_clock_answers_what_nobody_answered_and_tells_once,
    a_reply_says_why_an_answer_did_not_count,
    a_run_goes_on_where_an_earlier_one_came_to,
    a_run_that_ends_closes_what_was_open_in_it,
    an_end_that_no_runner_saw_is_told_once_where_there_is_a_thread,
    an_instant_of_a_schedule_is_in_the_ledger_once,
    a_firing_goes_from_its_row_to_its_end,
    runs_are_listed_by_each_filter_with_their_total,
    an_effect_is_stored_once_per_key,
    a_lane_keeps_its_order,
    busy_lanes_and_other_kinds_are_passed_over,
    a_hundred_thousand_effects_do_not_make_the_look_slow,
    an_attempt_is_written_down_before_it_is_made,
    a_late_word_of_an_earlier_attempt_changes_only_its_row,
    a_delivery_is_recorded_with_its_first_attempt_and_given_to_nobody_else,
    deliveries_are_given_out_fairly_over_their_endpoints,
    what_a_stop_left_under_way_is_due_at_the_next_start,
    a_delivery_shows_every_attempt_and_can_be_sent_again,
    deliveries_are_listed_newest_first_by_each_filter,
    a_webhook_that_only_failed_for_days_is_switched_off_with_a_notice,
    a_hundred_thousand_deliveries_do_not_make_the_look_slow,
    an_idempotency_key_is_claimed_answered_and_forgotten,
    a_token_is_kept_listed_seen_and_taken_back_once,
    the_audit_log_is_listed_by_each_filter_page_by_page,
    who_answers_in_a_chat_is_in_the_audit_log_whatever_came_of_it,
    a_chat_message_its_conversation_and_its_line_are_one_order,
    a_conversation_falls_silent_and_is_ended_by_word,
    the_threads_of_the_latest_conversations_are_known_with_their_last_message,
    a_run_is_told_the_newest_fifty_lines_in_order,
    a_prompt_loses_its_buttons_wherever_it_is_answered,
    a_question_goes_before_chatter,
    scratch_is_kept_by_the_entry,
    a_run_that_is_put_down_waits_at_its_place_and_counts_no_restart,
    everything_is_there_after_a_restart,
    events_that_are_over_and_old_go_and_no_other,
    payloads_go_and_leave_their_events,
    runs_that_are_over_and_old_go_with_all_that_is_theirs,
    replies_and_deliveries_that_are_over_and_old_go_and_no_other,
    firings_that_are_over_and_old_go_but_for_the_latest,
    conversations_go_when_nothing_of_them_goes_on,
    pruning_goes_in_steps_and_no_position_is_used_twice,
    the_audit_log_outlives_everything,
    a_closed_store_says_so,
    the_door_answers_every_arbiter,
    any_sequence_of_orders_keeps_the_invariants,
}

// ---- what the claims are made of ----

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("in range")
}

fn run_id(n: u128) -> RunId {
    RunId::new(Uuid::from_u128(n))
}

fn session(n: u128) -> SessionId {
    SessionId::new(Uuid::from_u128(n))
}

fn approval_id(n: u128) -> ApprovalId {
    ApprovalId::new(Uuid::from_u128(n))
}

fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("valid")
}

fn event(id: &str) -> NewEvent {
    NewEvent {
        envelope: EventEnvelope {
            id: name(id),
            source: Source::Github,
            kind: EventType::IssueOpened,
            repo: Some(name("Acme/Site")),
            issue_number: Some(7),
            pr_number: None,
            sender: "ann".into(),
            sender_id: None,
            sender_is_bot: false,
            body: "it broke".into(),
            title: Some("It broke".into()),
            labels: Some(vec!["bug".into()]),
            author_association: Some("MEMBER".into()),
            reply_to: ReplyTo::IssueComment {
                repo: name("Acme/Site"),
                number: 7,
                comment_id: Some(3),
            },
            timestamp: at(0),
        },
        raw: RawBody::keep(BodyFormat::Json, br#"{"action": "opened"}"#),
    }
}

fn definition() -> DefinitionHash {
    DefinitionHash("d1".into())
}

fn new_run(n: u128, workflow: &str, subject: &str, overlap: Overlap) -> NewRun {
    let mut context = RunContext::default();
    context.0.insert("n".into(), serde_json::json!(n.to_string()));
    NewRun {
        id: run_id(n),
        workflow: name(workflow),
        definition: definition(),
        subject: Subject::stored(subject.into()),
        repo: Some(name("Acme/Site")),
        number: Some(7),
        context,
        reply_to: ReplyTo::Nobody,
        cause: Cause {
            trigger: TriggerType::Api,
            who: "ann".into(),
            event: None,
        },
        overlap,
        created_at: at(0),
    }
}

fn comment(key: &str, owner: &str) -> NewEffect {
    NewEffect {
        key: name(key),
        effect: Effect::GithubComment {
            repo: name(&format!("{owner}/site")),
            number: 7,
            body: format!("about {key}"),
        },
        run: None,
        event: None,
    }
}

fn settlement(event: EventSeq) -> Settlement {
    Settlement {
        event,
        outcome: "routed".into(),
        quarantined: false,
        open: None,
        decide: None,
        lapse: None,
        effects: Vec::new(),
        otherwise: Vec::new(),
        at: at(1),
    }
}

fn answer(question: u128, decision: Decision, response: Option<&str>) -> Answer {
    Answer {
        approval: approval_id(question),
        decision,
        by: Responder::named("bob", Via::Github),
        saw: None,
        response: response.map(str::to_owned),
        at: at(9),
    }
}

fn started(phase: &str, attempt: u32) -> Step {
    Step::PhaseStarted {
        phase: name(phase),
        kind: "script",
        attempt,
    }
}

fn of_kind(kind: &'static str, step: Step) -> Step {
    match step {
        Step::PhaseStarted { phase, attempt, .. } => Step::PhaseStarted { phase, kind, attempt },
        other => other,
    }
}

fn ended(phase: &str, attempt: u32, status: PhaseStatus, output: &str) -> Step {
    Step::PhaseEnded(PhaseEnd {
        phase: name(phase),
        kind: "script",
        attempt,
        status,
        output: Some(output.into()),
        reason: None,
        exit_code: Some(0),
    })
}

fn paused(question: u128, phase: &str) -> Step {
    Step::Paused(NewApproval {
        phase: name(phase),
        ..question_of(question)
    })
}

fn question_of(question: u128) -> NewApproval {
    NewApproval {
        id: approval_id(question),
        phase: name("plan"),
        gate: "merge".into(),
        summary: "go on?".into(),
        kind: ApprovalKind::Approve,
        requested_by: "ann".into(),
        rules: AnswerRules::default(),
        shown: None,
        head_sha: None,
    }
}

fn over(status: RunStatus, error: Option<&str>) -> Step {
    Step::Ended {
        status,
        error: error.map(str::to_owned),
    }
}

/// The store with the words that the claims are told in.
struct House(Arc<dyn Store>);

impl House {
    async fn at(ground: &impl Ground) -> Self {
        let house = Self(ground.open());
        house
            .0
            .keep_definitions(KeepDefinitions(vec![(definition(), name("build"), "{bundle}".into())]))
            .await
            .expect("definitions are kept");
        house
    }

    async fn recorded(&self, id: &str) -> EventSeq {
        match self.0.record_event(RecordEvent(event(id))).await.expect("recorded") {
            Recorded::Fresh(seq) => seq,
            Recorded::AlreadySeen => panic!("{id} was there before"),
        }
    }

    async fn settles(&self, settlement: Settlement) -> Settled {
        let settled = self.0.settle_events(SettleEvents(vec![settlement])).await;
        settled.expect("settled").remove(0)
    }

    async fn opens(&self, n: u128, workflow: &str, subject: &str, overlap: Overlap) -> Opened {
        let run = new_run(n, workflow, subject, overlap);
        self.0.open_runs(OpenRuns(vec![run])).await.expect("opened").remove(0)
    }

    async fn takes(&self, free: usize) -> Vec<RunId> {
        let taken = self.0.take_queued_runs(TakeQueuedRuns { free, at: at(2) }).await;
        taken.expect("taken").iter().map(|run| run.summary.id).collect()
    }

    async fn steps(&self, run: u128, steps: Vec<Step>) -> StepTaken {
        let order = RecordStep {
            run: run_id(run),
            steps,
            effects: Vec::new(),
            at: at(3),
        };
        self.0.record_step(order).await.expect("written")
    }

    async fn run(&self, n: u128) -> RunRecord {
        let run = self.0.load_run(LoadRun(run_id(n))).await.expect("read");
        run.expect("it is there")
    }

    async fn status(&self, n: u128) -> RunStatus {
        self.run(n).await.summary.status
    }

    /// A run that was opened, taken up and paused with a question of the same number.
    async fn has_paused(&self, n: u128, workflow: &str, subject: &str) {
        assert_eq!(
            self.opens(n, workflow, subject, Overlap::Queue).await,
            Opened::Queued(run_id(n))
        );
        assert_eq!(self.takes(1).await, [run_id(n)]);
        let steps = vec![
            started("plan", 1),
            ended("plan", 1, PhaseStatus::Succeeded, "the plan"),
            paused(n, "plan"),
        ];
        assert_eq!(self.steps(n, steps).await, StepTaken::Taken { effects: 0 });
    }

    /// The same about `a#<n>`, with the question changed.
    async fn has_asked(&self, n: u128, change: impl FnOnce(&mut NewApproval)) {
        assert_eq!(
            self.opens(n, "build", &format!("a#{n}"), Overlap::Queue).await,
            Opened::Queued(run_id(n))
        );
        assert_eq!(self.takes(1).await, [run_id(n)]);
        let mut question = question_of(n);
        change(&mut question);
        let steps = vec![
            started("plan", 1),
            ended("plan", 1, PhaseStatus::Succeeded, "the plan"),
            Step::Paused(question),
        ];
        assert_eq!(self.steps(n, steps).await, StepTaken::Taken { effects: 0 });
    }

    async fn question(&self, n: u128) -> Approval {
        let question = self.0.read_approval(ReadApproval(approval_id(n))).await.expect("read");
        question.expect("it is there")
    }

    async fn decides(&self, answer: Answer) -> Decided {
        self.0.decide(Decide(answer)).await.expect("decided")
    }

    async fn says(&self, effects: Vec<NewEffect>) -> usize {
        let event = self.recorded(&Uuid::new_v4().to_string()).await;
        let settled = self
            .settles(Settlement {
                effects,
                ..settlement(event)
            })
            .await;
        settled.effects
    }

    async fn hears_at(&self, id: &str, thread: &str, user: &str, n: u128, seconds: i64) -> MessageRecorded {
        let mut event = event(id);
        event.envelope.kind = EventType::Message;
        event.envelope.body = format!("{id} said");
        event.envelope.timestamp = at(seconds);
        let order = RecordMessage {
            event,
            place: ChatPlace {
                platform: Source::Slack,
                channel: "C1".into(),
                thread: thread.into(),
                user: user.into(),
            },
            session: session(n),
            live_since: at(seconds - 1_800),
        };
        self.0.record_message(order).await.expect("recorded")
    }

    async fn hears(&self, id: &str, user: &str, n: u128, seconds: i64) -> MessageRecorded {
        self.hears_at(id, "1.0", user, n, seconds).await
    }

    async fn hears_in(&self, thread: &str, n: u128) -> MessageRecorded {
        self.hears_at(&format!("{thread}-{n}"), thread, "U1", 50 + n, 0).await
    }

    async fn live(&self, thread: &str, seconds: i64) -> Vec<(String, SessionId)> {
        let order = SessionsIn {
            platform: Source::Slack,
            channel: "C1".into(),
            thread: thread.into(),
            live_since: at(seconds - 1_800),
        };
        let live = self.0.sessions_in(order).await.expect("read");
        live.into_iter().map(|session| (session.user, session.id)).collect()
    }

    async fn ends(&self, which: SessionsToEnd) -> usize {
        self.0.end_sessions(EndSessions(which)).await.expect("ended")
    }

    async fn due(&self, order: ReadDueEffects) -> (Vec<String>, Option<DateTime<Utc>>) {
        let due = self.0.read_due_effects(order).await.expect("read");
        let keys = due.due.iter().map(|effect| effect.key.to_string()).collect();
        (keys, due.next)
    }

    async fn due_now(&self) -> Vec<String> {
        self.due(due_at(100)).await.0
    }

    async fn effect(&self, key: &str) -> StoredEffect {
        let due = self.0.read_due_effects(due_at(1_000_000)).await.expect("read").due;
        due.into_iter()
            .find(|effect| effect.key.as_str() == key)
            .expect("it is due")
    }

    async fn claims(&self, effect: EffectSeq) -> Option<u32> {
        let order = ClaimEffect { effect, at: at(50) };
        self.0.claim_effect(order).await.expect("claimed")
    }

    async fn attempted(&self, effect: EffectSeq, attempt: u32, outcome: AttemptOutcome) {
        let order = SettleEffect {
            effect,
            attempt,
            outcome,
            at: at(60),
        };
        self.0.settle_effect(order).await.expect("settled");
    }

    async fn counts(&self) -> StoreCounts {
        self.0.count_store(CountStore).await.expect("counted")
    }

    async fn lists_events(&self, filter: EventFilter) -> (Vec<String>, Option<i64>) {
        let filter = EventFilter {
            limit: if filter.limit == 0 { 100 } else { filter.limit },
            ..filter
        };
        let page = self.0.list_events(ListEvents(filter)).await.expect("listed");
        (
            page.items.iter().map(|e| e.envelope.id.to_string()).collect(),
            page.next,
        )
    }

    async fn lists_runs(&self, filter: RunFilter) -> (Vec<RunId>, Option<i64>, u64) {
        let filter = RunFilter {
            limit: if filter.limit == 0 { 100 } else { filter.limit },
            ..filter
        };
        let (page, total) = self.0.list_runs(ListRuns(filter)).await.expect("listed");
        (page.items.iter().map(|run| run.id).collect(), page.next, total)
    }
}

/// A delivery to a webhook; its id is its key.
fn delivery(id: &str, webhook: &str) -> NewEffect {
    NewEffect {
        key: name(id),
        effect: Effect::WebhookDelivery {
            delivery: id.into(),
            webhook: webhook.into(),
            event: IntegrationEvent::TaskSync,
            message: "m".into(),
        },
        run: None,
        event: None,
    }
}

fn message() -> Option<WebhookMessage> {
    Some(WebhookMessage {
        id: "m".into(),
        rest: "\"event\":\"task.sync\"}".into(),
    })
}

fn waits(seconds: i64) -> ReadDueDeliveries {
    ReadDueDeliveries {
        full: Vec::new(),
        per_endpoint: 4,
        now: at(seconds),
        limit: 100,
    }
}

fn attempt(effect: EffectSeq, attempt: u32, outcome: AttemptOutcome) -> DeliverySettled {
    DeliverySettled {
        effect,
        attempt,
        outcome,
        round: 1,
        http_status: Some(500),
        excerpt: Some("oops".into()),
        duration_ms: 12,
        webhook: Some("w-1".into()),
        notice: None,
    }
}

impl House {
    async fn queues(&self, effects: Vec<NewEffect>, claimed_until: Option<i64>) -> Vec<Option<EffectSeq>> {
        let order = QueueDeliveries {
            message: message(),
            effects,
            claimed_until: claimed_until.map(at),
            at: at(0),
        };
        self.0.queue_deliveries(order).await.expect("queued")
    }

    async fn waiting(&self, order: ReadDueDeliveries) -> (Vec<String>, Option<DateTime<Utc>>) {
        let read = self.0.read_due_deliveries(order).await.expect("read");
        let ids = read.due.iter().map(|due| due.effect.key.to_string()).collect();
        (ids, read.next)
    }

    async fn settles_deliveries(&self, settled: DeliverySettled, seconds: i64) {
        let order = SettleDeliveries {
            settled: vec![settled],
            give_up_after: chrono::TimeDelta::days(5),
            at: at(seconds),
        };
        self.0.settle_deliveries(order).await.expect("settled");
    }

    async fn shows(&self, id: &str) -> DeliveryDetail {
        let shown = self.0.read_delivery(ReadDelivery { id: id.into() }).await;
        shown.expect("read").expect("it is there")
    }

    async fn waiting_notices(&self) -> Vec<String> {
        let order = ReadDueEffects {
            kinds: "integration.",
            ..due_at(1_000_000)
        };
        self.due(order).await.0
    }

    async fn health(&self) -> WebhookHealth {
        let mut all = self.0.webhook_stats(WebhookStats).await.expect("read");
        all.remove(0)
    }
}

/// What pruning is told with.
impl House {
    async fn prunes_once(&self, what: Prunable, seconds: i64, after: i64, most: usize) -> Pruned {
        let order = Prune {
            what,
            before: at(seconds),
            after,
            most,
            for_room: false,
        };
        self.0.prune(order).await.expect("pruned")
    }

    /// Step by step to the end; how many are gone.
    async fn prunes(&self, what: Prunable, seconds: i64) -> u64 {
        let (mut removed, mut after) = (0, Some(0));
        while let Some(position) = after {
            let pruned = self.prunes_once(what, seconds, position, 3).await;
            removed += pruned.removed;
            after = pruned.next;
        }
        removed
    }

    async fn recorded_at(&self, id: &str, seconds: i64) {
        let mut new = event(id);
        new.envelope.timestamp = at(seconds);
        self.0.record_event(RecordEvent(new)).await.expect("recorded");
    }

    async fn event(&self, id: &str) -> Option<(StoredEvent, Option<RawBody>)> {
        self.0.read_event(ReadEvent { id: id.into() }).await.expect("read")
    }

    async fn cancels(&self, n: u128, seconds: i64) {
        let order = EndRun {
            run: run_id(n),
            status: RunStatus::Cancelled,
            error: "cancelled by ann".into(),
            at: at(seconds),
        };
        self.0.end_run(order).await.expect("written");
    }

    /// The effect of this key is done, at second 60.
    async fn does(&self, key: &str) {
        let seq = self.effect(key).await.seq;
        let n = self.claims(seq).await.expect("it is open");
        self.attempted(seq, n, done()).await;
    }

    /// A schedule has these minutes in its ledger.
    async fn fires(&self, cron: &str, minutes: &[i64]) -> Vec<FiringSeq> {
        let firings = minutes
            .iter()
            .map(|minute| NewFiring {
                cron: cron.into(),
                kind: FiringKind::Scheduled,
                state: FiringState::Waiting,
                scheduled_at: at(minute * 60),
                due_at: at(minute * 60),
                who: "cron".into(),
                count: 1,
                note: None,
                seed: Uuid::nil(),
            })
            .collect();
        let order = RecordFirings {
            cron: cron.into(),
            firings,
            state: self.stands_at(*minutes.last().expect("some")),
            effects: Vec::new(),
            at: at(1),
        };
        let written = self.0.record_firings(order).await.expect("written");
        written.into_iter().flatten().collect()
    }

    fn stands_at(&self, minute: i64) -> CronState {
        CronState {
            over: None,
            cursor: Some(at(minute * 60)),
            expression: "* * * * * UTC".into(),
            failures: 0,
            alarms: std::collections::BTreeSet::new(),
        }
    }

    /// What became of the one target of a firing.
    async fn hits(&self, firing: FiringSeq, state: TargetState, run: u128) {
        let begin = BeginFiring {
            firing,
            context: serde_json::Map::new(),
            repos: vec![None],
            at: at(2),
        };
        self.0.begin_firing(begin).await.expect("written");
        let target = TargetSettled {
            n: 0,
            state,
            run: Some(run_id(run)),
            note: None,
        };
        let settle = SettleTargets {
            firing,
            targets: vec![target],
        };
        self.0.settle_targets(settle).await.expect("written");
    }

    /// A firing is over at second 30.
    async fn over_with(&self, firing: FiringSeq) {
        let end = EndFiring {
            firing,
            state: FiringState::Done,
            note: None,
            stands: self.stands_at(4),
            effects: Vec::new(),
            at: at(30),
        };
        self.0.end_firing(end).await.expect("written");
    }
}

fn due_at(seconds: i64) -> ReadDueEffects {
    ReadDueEffects {
        kinds: "github.",
        busy_lanes: Vec::new(),
        busy_paces: Vec::new(),
        now: at(seconds),
        limit: 100,
    }
}

fn done() -> AttemptOutcome {
    AttemptOutcome::Done { result: "url".into() }
}

fn retry(seconds: i64) -> AttemptOutcome {
    AttemptOutcome::Retry {
        at: at(seconds),
        error: "503".into(),
    }
}

mod claims {
    use serde_json::json;

    use super::*;

    pub(super) async fn an_event_is_recorded_once_and_comes_back_as_it_was(ground: impl Ground) {
        let house = House::at(&ground).await;
        let new = event("d-1");
        let first = house.0.record_event(RecordEvent(new.clone())).await.expect("recorded");
        let Recorded::Fresh(seq) = first else {
            panic!("it is new")
        };
        let mut other = event("d-1");
        other.envelope.body = "another body".into();
        let again = house.0.record_event(RecordEvent(other)).await;
        assert_eq!(again, Ok(Recorded::AlreadySeen));

        let read = house.0.read_event(ReadEvent { id: "d-1".into() }).await.expect("read");
        let (stored, raw) = read.expect("it is there");
        assert_eq!(
            (stored.seq, &stored.envelope, raw.as_ref()),
            (seq, &new.envelope, Some(&new.raw))
        );
        assert_eq!(
            (stored.state, stored.run, stored.settled_at),
            (EventState::Recorded, None, None)
        );
        let missing = house.0.read_event(ReadEvent { id: "'; --".into() }).await;
        assert!(missing.expect("read").is_none());
        let next = house.recorded("d-2").await;
        assert_eq!(next.0, seq.0 + 1);
        assert_eq!(house.counts().await.unsettled_events, 2);
    }

    pub(super) async fn two_hundred_deliveries_of_one_id_are_one_event(ground: impl Ground) {
        let house = House::at(&ground).await;
        let orders: Vec<_> = (0..200)
            .map(|_| house.0.record_event(RecordEvent(event("d-1"))))
            .collect();
        let answers = join_all(orders).await;
        let fresh = answers.iter().filter(|a| matches!(a, Ok(Recorded::Fresh(_)))).count();
        let seen = answers
            .iter()
            .filter(|a| matches!(a, Ok(Recorded::AlreadySeen)))
            .count();
        assert_eq!((fresh, seen), (1, 199));
    }

    pub(super) async fn unsettled_events_are_read_oldest_first_from_a_position(ground: impl Ground) {
        let house = House::at(&ground).await;
        let mut places = Vec::new();
        for n in 0..5 {
            places.push(house.recorded(&format!("d-{n}")).await);
        }
        house.settles(settlement(places[1])).await;
        let unsettled = async |after, limit| {
            let read = house
                .0
                .read_unsettled(ReadUnsettled { after, limit })
                .await
                .expect("read");
            read.iter().map(|event| event.seq).collect::<Vec<_>>()
        };
        assert_eq!(
            unsettled(EventSeq(0), 100).await,
            [places[0], places[2], places[3], places[4]]
        );
        assert_eq!(unsettled(EventSeq(0), 2).await, [places[0], places[2]]);
        assert_eq!(unsettled(places[2], 100).await, [places[3], places[4]]);
    }

    pub(super) async fn a_settled_event_is_settled_once_with_all_that_follows(ground: impl Ground) {
        let house = House::at(&ground).await;
        let seq = house.recorded("d-1").await;
        let mut run = new_run(1, "build", "acme/site#7", Overlap::Join);
        run.cause.event = Some(name("d-1"));
        let order = Settlement {
            open: Some(run),
            effects: vec![NewEffect {
                run: Some(run_id(1)),
                event: Some(name("d-1")),
                ..comment("e-1", "acme")
            }],
            ..settlement(seq)
        };
        let first = house.settles(order.clone()).await;
        assert!(first.fresh);
        assert_eq!((first.opened, first.effects), (Some(Opened::Queued(run_id(1))), 1));
        let second = house.settles(order).await;
        assert_eq!(
            second,
            Settled {
                event: seq,
                fresh: false,
                opened: None,
                decided: None,
                lapsed: 0,
                effects: 0
            }
        );

        let (stored, _) = house
            .0
            .read_event(ReadEvent { id: "d-1".into() })
            .await
            .expect("read")
            .expect("there");
        assert_eq!(stored.state, EventState::Settled);
        assert_eq!(stored.outcome.as_deref(), Some("routed"));
        assert_eq!((stored.run, stored.settled_at), (Some(run_id(1)), Some(at(1))));
        let run = house.run(1).await;
        assert_eq!(run.event, Some(seq));
        assert_eq!(run.summary.cause.event, Some(name("d-1")));
        for order in [
            EffectsOf {
                run: Some(run_id(1)),
                event: None,
            },
            EffectsOf {
                run: None,
                event: Some("d-1".into()),
            },
            EffectsOf {
                run: Some(run_id(1)),
                event: Some("d-1".into()),
            },
        ] {
            assert_eq!(house.0.effects_of(order).await.expect("read").len(), 1);
        }
        let nobody = EffectsOf { run: None, event: None };
        assert!(house.0.effects_of(nobody).await.expect("read").is_empty());
    }

    pub(super) async fn a_quarantined_event_is_set_aside(ground: impl Ground) {
        let house = House::at(&ground).await;
        let seq = house.recorded("d-1").await;
        let order = Settlement {
            quarantined: true,
            outcome: "routing failed three times".into(),
            ..settlement(seq)
        };
        assert!(house.settles(order).await.fresh);
        assert_eq!(house.counts().await.unsettled_events, 0);
        let filter = EventFilter {
            state: Some(EventState::Quarantined),
            ..EventFilter::default()
        };
        assert_eq!(house.lists_events(filter).await.0, ["d-1"]);
        assert!(!house.settles(settlement(seq)).await.fresh, "set aside is settled, too");
    }

    pub(super) async fn a_settlement_that_fails_leaves_nothing_behind(ground: impl Ground) {
        let house = House::at(&ground).await;
        let seq = house.recorded("d-1").await;
        let good = Settlement {
            open: Some(new_run(1, "build", "acme/site#7", Overlap::Join)),
            effects: vec![comment("e-1", "acme")],
            ..settlement(seq)
        };
        let unknown = settlement(EventSeq(seq.0 + 1_000));
        let failed = house.0.settle_events(SettleEvents(vec![good.clone(), unknown])).await;
        assert!(matches!(failed, Err(StoreError::Failed(_))), "{failed:?}");
        assert_eq!(house.counts().await.unsettled_events, 1);
        assert!(house.0.load_run(LoadRun(run_id(1))).await.expect("read").is_none());
        assert!(house.due_now().await.is_empty());
        assert!(house.settles(good).await.fresh, "the same order alone goes through");
    }

    pub(super) async fn what_is_said_depends_on_what_became_of_the_event(ground: impl Ground) {
        let house = House::at(&ground).await;
        let words = |key: &str, run: u128| NewEffect {
            run: Some(run_id(run)),
            ..comment(key, "acme")
        };
        // A paused run of the same subject is in the way.
        house.has_paused(1, "build", "acme/site#7").await;
        let order = Settlement {
            open: Some(new_run(2, "build", "acme/site#7", Overlap::Queue)),
            effects: vec![words("started", 2)],
            otherwise: vec![words("waits", 2)],
            ..settlement(house.recorded("d-1").await)
        };
        let settled = house.settles(order).await;
        assert_eq!(settled.opened, Some(Opened::Joined(run_id(1), RunStatus::Paused)));
        assert_eq!(house.due_now().await, ["waits"]);
        assert_eq!(
            house.effect("waits").await.run,
            Some(run_id(1)),
            "the run that was joined says it"
        );
        let (stored, _) = house
            .0
            .read_event(ReadEvent { id: "d-1".into() })
            .await
            .expect("read")
            .expect("there");
        assert_eq!(stored.run, Some(run_id(1)));

        // An answer that counts, and one that comes too late.
        for (id, key) in [("d-2", "thanks"), ("d-3", "too late")] {
            let order = Settlement {
                decide: Some(answer(1, Decision::Approved, None)),
                effects: vec![words("thanks", 1)],
                otherwise: vec![words("too late", 1)],
                ..settlement(house.recorded(id).await)
            };
            let settled = house.settles(order).await;
            let counted = settled.decided == Some(Decided::Counted { run: run_id(1) });
            assert_eq!(counted, key == "thanks");
            assert!(house.due_now().await.contains(&key.to_owned()));
        }
        assert_eq!(house.due_now().await, ["waits", "thanks", "too late"]);

        // A queued run in the way is no reason to say anything else.
        let order = Settlement {
            open: Some(new_run(3, "build", "acme/site#7", Overlap::Join)),
            effects: vec![words("joined", 3)],
            otherwise: vec![words("not said", 3)],
            ..settlement(house.recorded("d-4").await)
        };
        let settled = house.settles(order).await;
        assert_eq!(settled.opened, Some(Opened::Joined(run_id(1), RunStatus::Queued)));
        assert!(house.due_now().await.contains(&"joined".to_owned()));
    }

    pub(super) async fn events_are_listed_newest_first_by_each_filter(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in 0..6 {
            let mut new = event(&format!("d-{n}"));
            if n % 2 == 0 {
                new.envelope.repo = Some(name("other/place"));
            }
            if n == 5 {
                new.envelope.repo = None;
                new.envelope.kind = EventType::Message;
                new.envelope.sender = "carl".into();
            }
            let Recorded::Fresh(seq) = house.0.record_event(RecordEvent(new)).await.expect("recorded") else {
                panic!("new")
            };
            if n < 2 {
                house.settles(settlement(seq)).await;
            }
        }
        let all = EventFilter::default;
        let table: Vec<(EventFilter, &[&str])> = vec![
            (all(), &["d-5", "d-4", "d-3", "d-2", "d-1", "d-0"]),
            (
                EventFilter {
                    repo: Some("ACME/site".into()),
                    ..all()
                },
                &["d-3", "d-1"],
            ),
            (
                EventFilter {
                    kind: Some(EventType::Message),
                    ..all()
                },
                &["d-5"],
            ),
            (
                EventFilter {
                    sender: Some("carl".into()),
                    ..all()
                },
                &["d-5"],
            ),
            (
                EventFilter {
                    state: Some(EventState::Settled),
                    ..all()
                },
                &["d-1", "d-0"],
            ),
            (
                EventFilter {
                    state: Some(EventState::Recorded),
                    ..all()
                },
                &["d-5", "d-4", "d-3", "d-2"],
            ),
            (
                EventFilter {
                    state: Some(EventState::Recorded),
                    repo: Some("acme/site".into()),
                    kind: Some(EventType::IssueOpened),
                    sender: Some("ann".into()),
                    ..all()
                },
                &["d-3"],
            ),
            (
                EventFilter {
                    repo: Some("' OR 1=1".into()),
                    ..all()
                },
                &[],
            ),
        ];
        for (filter, expected) in table {
            assert_eq!(
                house.lists_events(filter.clone()).await,
                (expected.iter().map(ToString::to_string).collect(), None),
                "{filter:?}"
            );
        }
        // Page by page.
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let (page, next) = house
                .lists_events(EventFilter {
                    limit: 2,
                    before,
                    ..all()
                })
                .await;
            seen.extend(page);
            match next {
                Some(next) => before = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, ["d-5", "d-4", "d-3", "d-2", "d-1", "d-0"]);
    }

    /// An event that differs from its neighbours in everything that lists are filtered by.
    fn various(n: i64) -> NewEvent {
        let mut new = event(&format!("d-{n:05}"));
        let envelope = &mut new.envelope;
        if n % 3 == 0 {
            envelope.kind = EventType::Message;
            envelope.source = Source::Slack;
        }
        envelope.repo = match n % 4 {
            0 => None,
            1 => Some(name("other/place")),
            _ => Some(name("Acme/Site")),
        };
        envelope.sender = ["ann", "bob"][usize::from(n % 7 < 3)].into();
        envelope.title = (n % 5 != 0).then(|| format!("now 50%_OFF of {n}"));
        // About in the order of acceptance, and not quite.
        envelope.timestamp = at(n + (n * 7) % 11);
        new
    }

    pub(super) async fn events_are_found_by_any_filters_together_page_by_page(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in 0..160 {
            let order = RecordEvent(various(n));
            let Recorded::Fresh(event) = house.0.record_event(order).await.expect("recorded") else {
                panic!("new")
            };
            if n % 2 == 0 {
                let settlement = Settlement {
                    outcome: ["routed to build", "ignored: no route"][usize::from(n % 8 == 0)].into(),
                    quarantined: n % 10 == 0,
                    ..settlement(event)
                };
                house.settles(settlement).await;
            }
        }
        let all = house.0.list_events(ListEvents(EventFilter {
            limit: 1_000,
            ..EventFilter::default()
        }));
        let all = all.await.expect("listed").items;
        assert_eq!(all.len(), 160);
        let mut seen = 0;
        for which in 0..(3 * 2 * 2 * 4 * 2 * 2 * 2 * 2) {
            let mut rest = which;
            let mut one_of = |n: usize| {
                let chosen = rest % n;
                rest /= n;
                chosen
            };
            let filter = EventFilter {
                kind: [None, Some(EventType::Message), Some(EventType::IssueOpened)][one_of(3)],
                source: [None, Some(Source::Slack)][one_of(2)],
                sender: [None, Some("ann".to_owned())][one_of(2)].clone(),
                state: [
                    None,
                    Some(EventState::Recorded),
                    Some(EventState::Settled),
                    Some(EventState::Quarantined),
                ][one_of(4)],
                repo: [None, Some("ACME/site".to_owned())][one_of(2)].clone(),
                title: [None, Some("50%_off".to_owned())][one_of(2)].clone(),
                outcome: [None, Some("ROUTED".to_owned())][one_of(2)].clone(),
                since: [None, Some(at(30))][one_of(2)],
                until: [None, Some(at(130))][which % 2],
                before: None,
                limit: 9,
            };
            let holds = |event: &&StoredEvent| {
                let of = &event.envelope;
                let has = |text: Option<&String>, words: Option<&String>| {
                    words.is_none_or(|words| {
                        text.is_some_and(|text| text.to_lowercase().contains(&words.to_lowercase()))
                    })
                };
                filter.kind.is_none_or(|kind| of.kind == kind)
                    && filter.source.is_none_or(|source| of.source == source)
                    && filter.sender.as_ref().is_none_or(|sender| of.sender == *sender)
                    && filter.state.is_none_or(|state| event.state == state)
                    && filter.repo.as_ref().is_none_or(|repo| {
                        of.repo
                            .as_ref()
                            .is_some_and(|of| of.as_str().eq_ignore_ascii_case(repo))
                    })
                    && has(of.title.as_ref(), filter.title.as_ref())
                    && has(event.outcome.as_ref(), filter.outcome.as_ref())
                    && filter.since.is_none_or(|since| of.timestamp >= since)
                    && filter.until.is_none_or(|until| of.timestamp <= until)
            };
            let expected: Vec<EventSeq> = all.iter().filter(holds).map(|event| event.seq).collect();
            let mut found = Vec::new();
            let mut before = None;
            loop {
                let order = ListEvents(EventFilter {
                    before,
                    ..filter.clone()
                });
                let page = house.0.list_events(order).await.expect("listed");
                found.extend(page.items.iter().map(|event| event.seq));
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{filter:?}");
            seen += found.len();
        }
        assert!(seen > 1_000, "the filters found hardly anything: {seen}");
    }

    pub(super) async fn a_search_that_finds_little_goes_on_page_by_page_to_its_end(ground: impl Ground) {
        let house = House::at(&ground).await;
        for chunk in 0..10 {
            let orders = (0..1_000).map(|n| {
                let mut new = event(&format!("d-{chunk}-{n}"));
                if chunk == 0 && n < 2 {
                    new.envelope.title = Some("needle".into());
                }
                house.0.record_event(RecordEvent(new))
            });
            assert!(join_all(orders).await.iter().all(Result::is_ok));
        }
        let (mut before, mut pages, mut found) = (None, 0, Vec::new());
        loop {
            let page = house
                .lists_events(EventFilter {
                    sender: Some("ann".into()),
                    title: Some("Needle".into()),
                    before,
                    ..EventFilter::default()
                })
                .await;
            pages += 1;
            found.extend(page.0);
            before = page.1;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found, ["d-0-1", "d-0-0"]);
        assert!(
            (2..=4).contains(&pages),
            "{pages}: none looks at everything, and none at next to nothing"
        );
    }

    pub(super) async fn an_event_is_taken_up_again_only_where_it_did_not_come_to_an_end(ground: impl Ground) {
        let house = House::at(&ground).await;
        let again = async |id: &str| {
            let order = ReplayEvent {
                id: id.into(),
                as_new: None,
                at: at(5),
            };
            house.0.replay_event(order).await.expect("answered")
        };
        assert_eq!(again("nothing").await, Replayed::Unknown);
        let waits = house.recorded("waits").await;
        assert_eq!(again("waits").await, Replayed::Waits(waits));
        let aside = house.recorded("aside").await;
        house
            .settles(Settlement {
                quarantined: true,
                ..settlement(aside)
            })
            .await;
        assert_eq!(again("aside").await, Replayed::TakenUp(aside));
        assert_eq!(
            again("aside").await,
            Replayed::Waits(aside),
            "the second changes nothing"
        );
        let (event, _) = house
            .0
            .read_event(ReadEvent { id: "aside".into() })
            .await
            .expect("read")
            .expect("there");
        assert_eq!(
            (event.state, event.outcome, event.settled_at),
            (EventState::Recorded, None, None)
        );
        let done = house.recorded("done").await;
        house
            .settles(Settlement {
                open: Some(new_run(1, "build", "a#1", Overlap::Join)),
                ..settlement(done)
            })
            .await;
        assert_eq!(again("done").await, Replayed::Settled(Some(run_id(1))));
    }

    pub(super) async fn an_event_is_repeated_as_a_new_one_that_names_it(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.hears("said", "U1", 1, 0).await;
        let order = |id: &str| ReplayEvent {
            id: id.into(),
            as_new: Some(name("again")),
            at: at(5),
        };
        assert_eq!(
            house.0.replay_event(order("nothing")).await.expect("answered"),
            Replayed::Unknown
        );
        let Replayed::Fresh(fresh) = house.0.replay_event(order("said")).await.expect("answered") else {
            panic!("a new one")
        };
        assert_eq!(
            house.0.replay_event(order("said")).await.expect("answered"),
            Replayed::Fresh(fresh),
            "the same order twice is one event"
        );
        let read = async |id: &str| {
            let read = house.0.read_event(ReadEvent { id: id.into() }).await.expect("read");
            read.expect("there")
        };
        let ((old, old_raw), (new, new_raw)) = (read("said").await, read("again").await);
        assert_eq!((new.seq, new.state), (fresh, EventState::Recorded));
        assert_eq!(new.replay_of, Some(name("said")));
        assert_eq!((new_raw, old.replay_of), (old_raw, None));
        assert_eq!(
            new.envelope,
            EventEnvelope {
                id: name("again"),
                timestamp: at(5),
                ..old.envelope
            }
        );
        // It is said again in the same conversation.
        let lines = ReadLines {
            id: session(1),
            after: 0,
            since: None,
            limit: 10,
        };
        let lines = house.0.read_lines(lines).await.expect("read");
        let said: Vec<_> = lines.iter().map(|said| said.line.text.as_str()).collect();
        assert_eq!(said, ["said said", "said said"]);
    }

    pub(super) async fn runs_are_found_by_any_filters_together_page_by_page(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in 0..90_u128 {
            let workflow = ["build", "review"][usize::from(n % 3 == 0)];
            let mut run = new_run(n, workflow, &format!("s#{n}"), Overlap::Queue);
            run.repo = (n % 4 != 0).then(|| name(["Acme/Site", "other/place"][usize::from(n % 4 == 1)]));
            let seconds = i64::try_from(n).expect("small");
            run.created_at = at(seconds + (seconds * 7) % 11);
            house.0.open_runs(OpenRuns(vec![run])).await.expect("opened");
        }
        house.takes(40).await;
        for n in 0..25 {
            house
                .steps(
                    n,
                    vec![over(
                        [RunStatus::Succeeded, RunStatus::Failed][usize::from(n % 2 == 0)],
                        None,
                    )],
                )
                .await;
        }
        let everything = RunFilter {
            limit: 1_000,
            ..RunFilter::default()
        };
        let all = house.0.list_runs(ListRuns(everything)).await.expect("listed").0.items;
        let statuses = [
            vec![],
            vec![RunStatus::Succeeded],
            vec![RunStatus::Running, RunStatus::Queued, RunStatus::Running],
            RunStatus::ALL.to_vec(),
        ];
        for which in 0..(2 * 2 * 4 * 2 * 2) {
            let filter = RunFilter {
                workflow: [None, Some("build".to_owned())][which % 2].clone(),
                repo: [None, Some("ACME/site".to_owned())][which / 2 % 2].clone(),
                statuses: statuses[which / 4 % 4].clone(),
                since: [None, Some(at(40))][which / 16 % 2],
                before: None,
                offset: [0, 5][which / 32 % 2],
                limit: 7,
            };
            let expected: Vec<RunId> = all
                .iter()
                .filter(|run| {
                    filter
                        .workflow
                        .as_ref()
                        .is_none_or(|workflow| run.workflow.as_str() == workflow)
                })
                .filter(|run| {
                    filter.repo.as_ref().is_none_or(|repo| {
                        run.repo
                            .as_ref()
                            .is_some_and(|of| of.as_str().eq_ignore_ascii_case(repo))
                    })
                })
                .filter(|run| filter.statuses.is_empty() || filter.statuses.contains(&run.status))
                .filter(|run| filter.since.is_none_or(|since| run.created_at >= since))
                .map(|run| run.id)
                .collect();
            let (mut found, mut page_filter) = (Vec::new(), filter.clone());
            loop {
                let (page, next, total) = house.lists_runs(page_filter.clone()).await;
                assert_eq!(total, expected.len() as u64, "{filter:?}");
                found.extend(page);
                let Some(next) = next else { break };
                (page_filter.before, page_filter.offset) = (Some(next), 0);
            }
            assert_eq!(found, expected[filter.offset.min(expected.len())..], "{filter:?}");
        }
    }

    pub(super) async fn phase_executions_are_listed_newest_first_over_all_runs(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in 1..=3 {
            house.opens(n, "build", &format!("a#{n}"), Overlap::Queue).await;
            house.takes(1).await;
            let steps = vec![
                started("plan", 1),
                ended("plan", 1, PhaseStatus::Succeeded, "x"),
                started("work", 1),
            ];
            house.steps(n, steps).await;
        }
        let list = async |before, offset, limit| {
            let order = ListExecutions { before, offset, limit };
            let page = house.0.list_executions(order).await.expect("listed");
            let shown: Vec<_> = page
                .items
                .iter()
                .map(|row| format!("{} {} {}", row.id, row.phase, row.status))
                .collect();
            (shown, page.next)
        };
        let (first, next) = list(None, 0, 4).await;
        assert_eq!(
            first,
            [
                "6 work running",
                "5 plan succeeded",
                "4 work running",
                "3 plan succeeded"
            ]
        );
        assert_eq!(
            list(next, 0, 4).await,
            (vec!["2 work running".to_owned(), "1 plan succeeded".into()], None)
        );
        assert_eq!(list(None, 5, 4).await.0, ["1 plan succeeded"]);
        let page = house.0.list_executions(ListExecutions {
            before: None,
            offset: 1,
            limit: 1,
        });
        let row = page.await.expect("listed").items.remove(0);
        assert_eq!(
            (row.run_id, row.repo, row.issue_number),
            (run_id(3), Some(name("Acme/Site")), Some(7))
        );
        assert_eq!((row.exit_code, row.duration_ms), (Some(0), Some(0)));
        assert_eq!(house.0.run_workflows(RunWorkflows).await.expect("read"), ["build"]);
        let live = LiveRunOf {
            workflow: name("build"),
            subject: Subject::stored("a#2".into()),
        };
        let found = house.0.live_run_of(live).await.expect("read");
        assert_eq!(found, Some((run_id(2), RunStatus::Running)));
    }

    pub(super) async fn what_happens_is_counted_by_the_hour_and_in_all(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in 0..3 {
            let mut late = event(&format!("d-{n}"));
            late.envelope.timestamp = at(3_600 * n);
            let Recorded::Fresh(seq) = house.0.record_event(RecordEvent(late)).await.expect("recorded") else {
                panic!("new")
            };
            // One is set aside, taken up again and settled: it is counted once. One waits, and is counted in all only.
            if n == 1 {
                let aside = Settlement {
                    quarantined: true,
                    ..settlement(seq)
                };
                house.settles(aside).await;
                let again = ReplayEvent {
                    id: "d-1".into(),
                    as_new: None,
                    at: at(5),
                };
                house.0.replay_event(again).await.expect("taken up");
            }
            if n < 2 {
                house.settles(settlement(seq)).await;
                house.settles(settlement(seq)).await;
            }
        }
        house
            .0
            .record_event(RecordEvent(event("d-0")))
            .await
            .expect("seen before");
        house.opens(1, "build", "a#1", Overlap::Queue).await;
        house.takes(1).await;
        house.steps(1, vec![over(RunStatus::Succeeded, None)]).await;
        let hours = house.0.read_hours(ReadHours { since: at(0) }).await.expect("read");
        let told: Vec<_> = hours
            .iter()
            .map(|count| ((count.hour - at(0)).num_hours(), count.what.as_str(), count.n))
            .collect();
        assert_eq!(
            told,
            [(0, "events", 1), (0, "runs", 1), (0, "succeeded", 1), (1, "events", 1)]
        );
        let later = house.0.read_hours(ReadHours { since: at(3_601) }).await.expect("read");
        assert_eq!(later.len(), 1, "from the hour of the instant on");
        let totals = house
            .0
            .read_totals(ReadTotals { live_since: at(0) })
            .await
            .expect("read");
        let runs = [("succeeded".to_owned(), 1)];
        assert_eq!(
            totals,
            Totals {
                events: 3,
                runs: runs.into(),
                ..Totals::default()
            }
        );
    }

    pub(super) async fn conversations_are_listed_with_their_lines(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in 1..=3 {
            house
                .hears(&format!("m-{n}"), &format!("U{n}"), n, i64::try_from(n).expect("small"))
                .await;
        }
        house.hears("m-4", "U1", 1, 60).await;
        let list = |before| ListSessions {
            live_only: false,
            user: None,
            channel: None,
            live_since: at(3),
            before,
            limit: 2,
        };
        let (first, live) = house.0.list_sessions(list(None)).await.expect("listed");
        let shown: Vec<_> = first
            .items
            .iter()
            .map(|one| (one.user.as_str(), one.live, one.message_count))
            .collect();
        assert_eq!((shown, live), (vec![("U3", true, 1), ("U2", false, 1)], 2));
        let (rest, _) = house.0.list_sessions(list(first.next)).await.expect("listed");
        assert_eq!((rest.items.len(), rest.next), (1, None));
        assert_eq!((rest.items[0].id, rest.items[0].last_activity_at), (session(1), at(60)));
        assert_eq!(rest.items[0].last_said.as_deref(), Some("m-4 said"));
        assert!(rest.items[0].person.is_some());
        let narrowed = async |live_only, user: Option<&str>| -> Vec<String> {
            let order = ListSessions {
                live_only,
                user: user.map(str::to_owned),
                ..list(None)
            };
            let (page, _) = house.0.list_sessions(order).await.expect("listed");
            page.items.into_iter().map(|one| one.user).collect()
        };
        assert_eq!(narrowed(true, None).await, ["U3", "U1"]);
        assert_eq!(narrowed(false, Some("U2")).await, ["U2"]);
        assert!(narrowed(true, Some("U2")).await.is_empty());
        let one = |n| ReadSession {
            id: session(n),
            live_since: at(0),
        };
        assert_eq!(
            house
                .0
                .read_session(one(1))
                .await
                .expect("read")
                .map(|one| one.message_count),
            Some(2)
        );
        assert!(house.0.read_session(one(9)).await.expect("read").is_none());
        let lines = async |after, since, limit| {
            let order = ReadLines {
                id: session(1),
                after,
                since,
                limit,
            };
            let lines = house.0.read_lines(order).await.expect("read");
            lines
                .into_iter()
                .inspect(|said| assert!(said.event.is_some() && said.run.is_none(), "{said:?}"))
                .map(|said| (said.seq, said.line.text))
                .collect::<Vec<_>>()
        };
        let all = lines(0, None, 10).await;
        assert_eq!(
            all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
            ["m-1 said", "m-4 said"]
        );
        assert_eq!(lines(all[0].0, None, 10).await, all[1..]);
        assert_eq!(lines(0, Some(at(1)), 10).await, all[1..]);
        assert_eq!(lines(0, None, 1).await, all[..1]);
    }

    pub(super) async fn a_run_is_opened_by_the_rule_of_its_overlap(ground: impl Ground) {
        #[derive(Debug, Clone, Copy)]
        enum Live {
            Nothing,
            Queued,
            Running,
            Paused,
            RunningAndQueued,
            PausedAndQueued,
            Over,
        }
        use Overlap::{Join, Queue, QueueOnce};
        let house = House::at(&ground).await;
        // Who is joined: nobody, the first run or the one behind it.
        let table = [
            (Live::Nothing, Join, None),
            (Live::Nothing, QueueOnce, None),
            (Live::Nothing, Queue, None),
            (Live::Queued, Join, Some((1, RunStatus::Queued))),
            (Live::Queued, QueueOnce, Some((1, RunStatus::Queued))),
            (Live::Queued, Queue, None),
            (Live::Running, Join, Some((1, RunStatus::Running))),
            (Live::Running, QueueOnce, None),
            (Live::Running, Queue, None),
            (Live::Paused, Join, Some((1, RunStatus::Paused))),
            (Live::Paused, QueueOnce, Some((1, RunStatus::Paused))),
            (Live::Paused, Queue, Some((1, RunStatus::Paused))),
            (Live::RunningAndQueued, Join, Some((1, RunStatus::Running))),
            (Live::RunningAndQueued, QueueOnce, Some((2, RunStatus::Queued))),
            (Live::RunningAndQueued, Queue, None),
            (Live::PausedAndQueued, Join, Some((1, RunStatus::Paused))),
            (Live::PausedAndQueued, QueueOnce, Some((1, RunStatus::Paused))),
            (Live::PausedAndQueued, Queue, Some((1, RunStatus::Paused))),
            (Live::Over, Join, None),
            (Live::Over, QueueOnce, None),
            (Live::Over, Queue, None),
        ];
        for (row, (live, overlap, joined)) in table.into_iter().enumerate() {
            let base = (row as u128 + 1) * 10;
            let subject = format!("acme/site#{row}");
            match live {
                Live::Nothing => {}
                Live::Queued => drop(house.opens(base + 1, "build", &subject, Queue).await),
                Live::Running | Live::RunningAndQueued | Live::Paused | Live::PausedAndQueued | Live::Over => {
                    house.opens(base + 1, "build", &subject, Queue).await;
                    house.takes(100).await;
                    if matches!(live, Live::RunningAndQueued | Live::PausedAndQueued) {
                        assert_eq!(
                            house.opens(base + 2, "build", &subject, Queue).await,
                            Opened::Queued(run_id(base + 2))
                        );
                    }
                    match live {
                        Live::Paused | Live::PausedAndQueued => {
                            house.steps(base + 1, vec![paused(base, "plan")]).await;
                        }
                        Live::Over => drop(house.steps(base + 1, vec![over(RunStatus::Succeeded, None)]).await),
                        _ => {}
                    }
                }
            }
            // Another workflow and another subject are no reason.
            house.opens(base + 5, "triage", &subject, Queue).await;
            house.opens(base + 6, "build", "elsewhere#1", Queue).await;
            let expected = joined.map_or(Opened::Queued(run_id(base + 9)), |(n, status)| {
                Opened::Joined(run_id(base + n), status)
            });
            assert_eq!(
                house.opens(base + 9, "build", &subject, overlap).await,
                expected,
                "{live:?} {overlap:?}"
            );
            if joined.is_none() {
                assert_eq!(
                    house.opens(base + 9, "build", &subject, overlap).await,
                    Opened::Repeated(run_id(base + 9))
                );
            }
        }
    }

    pub(super) async fn runs_are_opened_all_or_none(ground: impl Ground) {
        let house = House::at(&ground).await;
        let good = new_run(1, "build", "a#1", Overlap::Join);
        let bad = NewRun {
            definition: DefinitionHash("never kept".into()),
            ..new_run(2, "build", "a#2", Overlap::Join)
        };
        let failed = house.0.open_runs(OpenRuns(vec![good.clone(), bad])).await;
        assert!(matches!(failed, Err(StoreError::Failed(_))), "{failed:?}");
        assert_eq!(house.lists_runs(RunFilter::default()).await, (vec![], None, 0));
        let other = new_run(3, "build", "a#3", Overlap::Join);
        let twin = new_run(4, "build", "a#1", Overlap::Join);
        let opened = house.0.open_runs(OpenRuns(vec![good, other, twin])).await;
        assert_eq!(
            opened,
            Ok(vec![
                Opened::Queued(run_id(1)),
                Opened::Queued(run_id(3)),
                Opened::Joined(run_id(1), RunStatus::Queued)
            ])
        );
    }

    pub(super) async fn a_run_of_an_unknown_definition_is_refused(ground: impl Ground) {
        let house = House::at(&ground).await;
        let run = NewRun {
            definition: DefinitionHash("never kept".into()),
            ..new_run(1, "build", "a#1", Overlap::Join)
        };
        let Err(StoreError::Failed(words)) = house.0.open_runs(OpenRuns(vec![run])).await else {
            panic!("it is refused")
        };
        assert!(words.contains("never kept") && words.contains("build"), "{words}");
        // A text that is there stays.
        let other = KeepDefinitions(vec![(definition(), name("build"), "another text".into())]);
        house.0.keep_definitions(other).await.expect("kept");
        house.opens(1, "build", "a#1", Overlap::Join).await;
        assert_eq!(house.run(1).await.definition, "{bundle}");
    }

    pub(super) async fn queued_runs_are_taken_oldest_first_and_one_per_subject(ground: impl Ground) {
        let house = House::at(&ground).await;
        for (n, subject) in [(1, "a#1"), (2, "a#1"), (3, "b#1"), (4, "c#1")] {
            house.opens(n, "build", subject, Overlap::Queue).await;
        }
        let taken = house
            .0
            .take_queued_runs(TakeQueuedRuns { free: 2, at: at(2) })
            .await
            .expect("taken");
        let ids: Vec<_> = taken.iter().map(|run| run.summary.id).collect();
        assert_eq!(ids, [run_id(1), run_id(3)], "the second of a subject is passed over");
        let first = &taken[0];
        assert_eq!(first.summary.status, RunStatus::Running);
        assert_eq!(
            (first.summary.created_at, first.summary.started_at),
            (at(0), Some(at(2)))
        );
        assert_eq!(first.definition, "{bundle}");
        assert_eq!(first.context.0["n"], "1");
        assert_eq!(
            (first.summary.number, first.summary.repo.clone()),
            (Some(7), Some(name("Acme/Site")))
        );
        assert!(first.phases.is_empty() && first.scratch.is_empty());
        assert_eq!(house.takes(10).await, [run_id(4)]);
        assert!(house.takes(10).await.is_empty());
        assert_eq!(house.counts().await.live_runs, 4);
        assert!(house.takes(0).await.is_empty());
    }

    pub(super) async fn a_place_is_handed_on_when_its_run_ends(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in 1..=5 {
            house.opens(n, "build", "a#1", Overlap::Queue).await;
        }
        // One that waits is cancelled: the place stays where it is.
        let cancel = |n| EndRun {
            run: run_id(n),
            status: RunStatus::Cancelled,
            error: "cancelled by ann".into(),
            at: at(4),
        };
        assert_eq!(house.0.end_run(cancel(2)).await, Ok(Some(RunStatus::Queued)));
        assert_eq!(house.takes(10).await, [run_id(1)]);
        assert!(house.takes(10).await.is_empty());
        house.steps(1, vec![over(RunStatus::Succeeded, None)]).await;
        assert_eq!(house.takes(10).await, [run_id(3)]);
        // The running one is cancelled; the next in the queue is cancelled before it is taken up.
        assert_eq!(house.0.end_run(cancel(3)).await, Ok(Some(RunStatus::Running)));
        assert_eq!(house.0.end_run(cancel(4)).await, Ok(Some(RunStatus::Queued)));
        assert_eq!(house.takes(10).await, [run_id(5)]);
        assert_eq!(
            house.0.end_run(cancel(3)).await,
            Ok(Some(RunStatus::Cancelled)),
            "over is over"
        );
        assert_eq!(house.0.end_run(cancel(99)).await, Ok(None));
        let run = house.run(3).await.summary;
        assert_eq!(
            (run.error.as_deref(), run.ended_at),
            (Some("cancelled by ann"), Some(at(4)))
        );
        let not_final = EndRun {
            status: RunStatus::Paused,
            ..cancel(5)
        };
        assert!(matches!(house.0.end_run(not_final).await, Err(StoreError::Failed(_))));
    }

    pub(super) async fn a_hundred_thousand_waiting_runs_do_not_hold_the_queue_up(ground: impl Ground) {
        let house = House::at(&ground).await;
        // All of one subject, so that a walk past the waiting would be felt: a thousand takes times a hundred thousand rows.
        for chunk in 0..50_u128 {
            let runs = (0..2_000)
                .map(|n| new_run(1 + chunk * 2_000 + n, "build", "a#1", Overlap::Queue))
                .collect();
            house.0.open_runs(OpenRuns(runs)).await.expect("opened");
        }
        house.opens(200_000, "build", "b#1", Overlap::Queue).await;
        assert_eq!(house.takes(2).await, [run_id(1), run_id(200_000)]);
        for n in 1..1_000 {
            assert!(house.takes(5).await.is_empty());
            house.steps(n, vec![over(RunStatus::Succeeded, None)]).await;
            assert_eq!(house.takes(5).await, [run_id(n + 1)]);
        }
        assert_eq!(
            house
                .lists_runs(RunFilter {
                    limit: 1,
                    ..RunFilter::default()
                })
                .await
                .2,
            100_001
        );
    }

    pub(super) async fn runs_that_a_crash_left_running_go_back_or_are_given_up(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.opens(1, "build", "a#1", Overlap::Queue).await;
        house.opens(2, "build", "b#1", Overlap::Queue).await;
        assert_eq!(house.takes(10).await.len(), 2);
        house.opens(3, "build", "c#1", Overlap::Queue).await;
        house.opens(4, "build", "a#1", Overlap::Queue).await;
        house
            .steps(
                1,
                vec![
                    started("plan", 1),
                    ended("plan", 1, PhaseStatus::Succeeded, "out"),
                    started("act", 1),
                ],
            )
            .await;
        house.steps(2, vec![over(RunStatus::Succeeded, None)]).await;
        let recover = RecoverRuns { most: 2, at: at(20) };
        for restart in 1..=2 {
            assert_eq!(house.0.recover_runs(recover).await, Ok((1, 0)));
            let run = house.run(1).await;
            assert_eq!(
                (run.summary.status, run.summary.restart_count),
                (RunStatus::Queued, restart)
            );
            assert_eq!(run.phases[0].status, PhaseStatus::Succeeded);
            assert_eq!(run.phases[0].output.as_deref(), Some("out"));
            assert_eq!(run.phases[1].status, PhaseStatus::Failed);
            assert_eq!(
                run.phases[1].reason.as_deref(),
                Some("interrupted: the service stopped")
            );
            // It stands in the queue where it stood: before those that came later.
            assert_eq!(house.takes(1).await, [run_id(1)]);
            assert_eq!(house.run(1).await.summary.started_at, Some(at(2)));
        }
        assert_eq!(house.0.recover_runs(recover).await, Ok((0, 1)));
        let run = house.run(1).await.summary;
        assert_eq!((run.status, run.ended_at), (RunStatus::Failed, Some(at(20))));
        assert_eq!(
            run.error.as_deref(),
            Some("the service stopped 3 times while this run was active; given up")
        );
        assert_eq!(house.takes(10).await, [run_id(3), run_id(4)], "its place is free");
        assert_eq!(house.status(2).await, RunStatus::Succeeded);
    }

    pub(super) async fn a_step_is_written_once_however_often_it_is_ordered(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.opens(1, "build", "a#1", Overlap::Join).await;
        house.takes(1).await;
        let order = RecordStep {
            run: run_id(1),
            steps: vec![
                started("plan", 1),
                ended("plan", 1, PhaseStatus::Failed, "one"),
                started("plan", 2),
            ],
            effects: vec![comment("e-1", "acme"), comment("e-2", "acme")],
            at: at(3),
        };
        let first = house.0.record_step(order.clone()).await;
        assert_eq!(first, Ok(StepTaken::Taken { effects: 2 }));
        let again = house.0.record_step(RecordStep { at: at(4), ..order }).await;
        assert_eq!(again, Ok(StepTaken::Taken { effects: 0 }));
        house
            .steps(1, vec![ended("plan", 1, PhaseStatus::Succeeded, "two")])
            .await;
        let skipped = Step::PhaseEnded(PhaseEnd {
            phase: name("act"),
            kind: "agent",
            attempt: 1,
            status: PhaseStatus::Skipped,
            output: None,
            reason: Some("no runtime is configured".into()),
            exit_code: None,
        });
        house
            .steps(1, vec![ended("plan", 2, PhaseStatus::Succeeded, "three"), skipped])
            .await;
        let run = house.run(1).await;
        let phases: Vec<_> = run
            .phases
            .iter()
            .map(|p| (p.phase.as_str(), p.attempt, p.status, p.output.as_deref(), p.started_at))
            .collect();
        assert_eq!(
            phases,
            [
                ("plan", 1, PhaseStatus::Failed, Some("one"), at(3)),
                ("plan", 2, PhaseStatus::Succeeded, Some("three"), at(3)),
                ("act", 1, PhaseStatus::Skipped, None, at(3)),
            ]
        );
        assert_eq!(run.phases[2].reason.as_deref(), Some("no runtime is configured"));
        assert_eq!(run.summary.current_phase, Some(name("plan")));
        let nobody = RecordStep {
            run: run_id(99),
            steps: vec![started("plan", 1)],
            effects: vec![comment("e-3", "acme")],
            at: at(3),
        };
        assert!(matches!(house.0.record_step(nobody).await, Err(StoreError::Failed(_))));
    }

    pub(super) async fn a_run_that_is_over_takes_no_more_steps(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.opens(1, "build", "a#1", Overlap::Join).await;
        house.takes(1).await;
        house
            .steps(
                1,
                vec![started("plan", 1), over(RunStatus::Failed, Some("plan failed"))],
            )
            .await;
        let order = RecordStep {
            run: run_id(1),
            steps: vec![started("late", 1), over(RunStatus::Succeeded, None)],
            effects: vec![comment("late", "acme")],
            at: at(4),
        };
        assert_eq!(
            house.0.record_step(order).await,
            Ok(StepTaken::RunIsOver(RunStatus::Failed))
        );
        let run = house.run(1).await;
        assert_eq!(
            (run.summary.status, run.summary.error.as_deref()),
            (RunStatus::Failed, Some("plan failed"))
        );
        assert_eq!(run.phases.len(), 1);
        assert!(house.due_now().await.is_empty(), "nothing of it is said");
    }

    pub(super) async fn a_pause_asks_and_an_approval_sends_the_run_on(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.has_paused(1, "build", "acme/site#7").await;
        house.has_paused(2, "build", "acme/site#8").await;
        let gates = async |subject: Option<&str>| {
            let subject = subject.map(|s| Subject::stored(s.into()));
            let open = house.0.open_gates(OpenGates { subject }).await.expect("read");
            open.iter().map(|gate| gate.run).collect::<Vec<_>>()
        };
        assert_eq!(gates(None).await, [run_id(2), run_id(1)]);
        assert_eq!(gates(Some("acme/site#7")).await, [run_id(1)]);
        assert!(gates(Some("acme/site#9")).await.is_empty());
        let question = house
            .0
            .read_approval(ReadApproval(approval_id(1)))
            .await
            .expect("read")
            .expect("there");
        assert_eq!((question.run, question.status), (run_id(1), ApprovalStatus::Pending));
        assert_eq!((question.gate.as_str(), question.phase.as_str()), ("merge", "plan"));
        assert_eq!(question.workflow.as_str(), "build");
        assert_eq!(house.run(1).await.phases[0].status, PhaseStatus::WaitingApproval);
        assert_eq!(house.status(1).await, RunStatus::Paused);
        assert!(house.takes(10).await.is_empty(), "a paused run is not taken up");
        assert_eq!(
            house.0.recover_runs(RecoverRuns { most: 1, at: at(5) }).await,
            Ok((0, 0))
        );

        let decided = house.decides(answer(1, Decision::Approved, Some("go"))).await;
        assert_eq!(decided, Decided::Counted { run: run_id(1) });
        let run = house.run(1).await;
        assert_eq!(run.summary.status, RunStatus::Queued);
        assert_eq!(run.phases[0].status, PhaseStatus::Succeeded);
        assert_eq!(run.phases[0].output.as_deref(), Some("the plan"));
        let question = house
            .0
            .read_approval(ReadApproval(approval_id(1)))
            .await
            .expect("read")
            .expect("there");
        assert_eq!(question.status, ApprovalStatus::Approved);
        assert_eq!(
            (
                question.responded_by.as_deref(),
                question.response.as_deref(),
                question.responded_at
            ),
            (Some("bob"), Some("go"), Some(at(9)))
        );
        // The order of the pause, repeated because its answer was lost, does not pause again.
        house.steps(1, vec![paused(1, "plan")]).await;
        assert_eq!(house.status(1).await, RunStatus::Queued);
        assert_eq!(house.takes(10).await, [run_id(1)]);
        assert_eq!(
            house.decides(answer(77, Decision::Approved, None)).await,
            Decided::Unknown
        );
        assert!(
            house
                .0
                .read_approval(ReadApproval(approval_id(77)))
                .await
                .expect("read")
                .is_none()
        );
    }

    pub(super) async fn a_rejection_fails_the_run_with_its_reason(ground: impl Ground) {
        let house = House::at(&ground).await;
        for (n, reason, error) in [
            (1, Some("too risky"), "Rejected by bob: too risky"),
            (2, None, "Rejected by bob: no reason given"),
            (3, Some("  "), "Rejected by bob: no reason given"),
        ] {
            house.has_paused(n, "build", &format!("a#{n}")).await;
            let decided = house.decides(answer(n, Decision::Rejected, reason)).await;
            assert_eq!(decided, Decided::Counted { run: run_id(n) });
            let run = house.run(n).await;
            assert_eq!(
                (run.summary.status, run.summary.error.as_deref()),
                (RunStatus::Failed, Some(error))
            );
            assert_eq!(run.phases[0].status, PhaseStatus::Failed);
            assert_eq!(run.phases[0].output.as_deref(), Some("the plan"));
            let again = house.decides(answer(n, Decision::Approved, None)).await;
            assert_eq!(again, Decided::Already(ApprovalStatus::Rejected));
            assert_eq!(house.status(n).await, RunStatus::Failed);
        }
    }

    pub(super) async fn of_many_answers_exactly_one_counts(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.has_paused(1, "build", "a#1").await;
        let orders: Vec<_> = (0..50)
            .map(|n| {
                let decision = if n % 2 == 0 {
                    Decision::Approved
                } else {
                    Decision::Rejected
                };
                house.0.decide(Decide(answer(1, decision, None)))
            })
            .collect();
        let decided = join_all(orders).await;
        let counted = decided
            .iter()
            .filter(|d| matches!(d, Ok(Decided::Counted { .. })))
            .count();
        assert_eq!(counted, 1);
        assert_eq!(house.takes(10).await, [run_id(1)], "the first said yes");
        assert!(house.takes(10).await.is_empty());
    }

    pub(super) async fn an_answer_counts_by_the_rules_of_its_question(ground: impl Ground) {
        let house = House::at(&ground).await;
        let rules = AnswerRules {
            logins: vec!["bob".into(), "carol".into(), "ann".into()],
            not_requester: true,
            approvals: 2,
            ..AnswerRules::default()
        };
        house.has_asked(1, |question| question.rules = rules.clone()).await;
        let by = |name: &str| Answer {
            by: Responder::named(name, Via::Github),
            ..answer(1, Decision::Approved, Some("fine"))
        };
        for (name, expected) in [
            ("eve", "eve may not answer this; bob, carol, ann may"),
            ("ann", "ann asked for this run, and somebody else has to answer"),
        ] {
            assert_eq!(house.decides(by(name)).await, Decided::Refused(expected.into()));
        }
        assert_eq!(house.decides(by("bob")).await, Decided::Voted { have: 1, need: 2 });
        assert_eq!(
            house.decides(by("BOB")).await,
            Decided::Refused("BOB has approved already; 1 of 2 have".into())
        );
        assert_eq!(house.status(1).await, RunStatus::Paused);
        let question = house.question(1).await;
        assert_eq!((question.rules, question.status), (rules, ApprovalStatus::Pending));
        assert_eq!(house.decides(by("carol")).await, Decided::Counted { run: run_id(1) });
        assert_eq!(house.status(1).await, RunStatus::Queued);
        let votes: Vec<_> = house
            .question(1)
            .await
            .votes
            .into_iter()
            .map(|vote| (vote.by.name, vote.response, vote.at))
            .collect();
        let fine = || Some("fine".to_owned());
        assert_eq!(
            votes,
            [("bob".to_owned(), fine(), at(9)), ("carol".to_owned(), fine(), at(9))]
        );
        assert_eq!(
            house.decides(by("bob")).await,
            Decided::Already(ApprovalStatus::Approved)
        );
    }

    pub(super) async fn an_answer_in_words_becomes_the_output_of_its_phase(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.has_asked(1, |question| question.kind = ApprovalKind::Reply).await;
        let asks = Step::Paused(NewApproval {
            phase: name("ask"),
            kind: ApprovalKind::Reply,
            ..question_of(101)
        });
        assert_eq!(
            house.steps(1, vec![of_kind("approval", started("ask", 1)), asks]).await,
            StepTaken::Taken { effects: 0 }
        );
        let silent = house.decides(answer(101, Decision::Approved, Some(" "))).await;
        assert_eq!(silent, Decided::Refused("an answer in words is asked for".into()));
        for question in [1, 101] {
            let said = house.decides(answer(question, Decision::Approved, Some("blue"))).await;
            assert_eq!(said, Decided::Counted { run: run_id(1) });
        }
        let run = house.run(1).await;
        let stand: Vec<_> = run
            .phases
            .iter()
            .map(|row| (row.status, row.output.as_deref()))
            .collect();
        assert_eq!(
            stand,
            [
                (PhaseStatus::Succeeded, Some("the plan")),
                (PhaseStatus::Succeeded, Some("blue"))
            ],
            "only a phase that is nothing but a question"
        );
        let heard: Vec<_> = run
            .answers
            .iter()
            .map(|heard| (heard.phase.as_str(), heard.answer.as_str()))
            .collect();
        assert_eq!(
            heard,
            [("plan", "blue"), ("ask", "blue")],
            "the others find it among the answers"
        );
    }

    pub(super) async fn an_answer_settles_the_phase_that_asked_and_no_other(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.has_asked(1, |_| {}).await;
        let other = Step::Paused(NewApproval {
            phase: name("test"),
            kind: ApprovalKind::Reply,
            ..question_of(101)
        });
        let steps = vec![
            of_kind("approval", started("test", 1)),
            ended("test", 1, PhaseStatus::Succeeded, "tested"),
            other,
        ];
        assert_eq!(house.steps(1, steps).await, StepTaken::Taken { effects: 0 });
        let said = house.decides(answer(101, Decision::Approved, Some("blue"))).await;
        assert_eq!(said, Decided::Counted { run: run_id(1) });
        let phases = house.run(1).await.phases;
        let stand: Vec<_> = phases.iter().map(|row| (row.status, row.output.as_deref())).collect();
        assert_eq!(
            stand,
            [
                (PhaseStatus::WaitingApproval, Some("the plan")),
                (PhaseStatus::Succeeded, Some("blue"))
            ]
        );
    }

    pub(super) async fn questions_are_listed_by_each_filter_page_by_page(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in 1..=5 {
            house.has_asked(n, |_| {}).await;
        }
        house.decides(answer(2, Decision::Approved, None)).await;
        house.decides(answer(4, Decision::Rejected, None)).await;
        let list = async |filter: ApprovalFilter| {
            let page = house.0.list_approvals(ListApprovals(filter)).await.expect("read");
            let runs: Vec<u128> = page
                .items
                .iter()
                .map(|question| (1..=5).find(|n| run_id(*n) == question.run).expect("one of the five"))
                .collect();
            (runs, page.next)
        };
        let all = ApprovalFilter {
            limit: 10,
            ..ApprovalFilter::default()
        };
        let of = |status| ApprovalFilter {
            status: Some(status),
            ..all.clone()
        };
        assert_eq!(list(all.clone()).await, (vec![5, 4, 3, 2, 1], None));
        assert_eq!(list(of(ApprovalStatus::Pending)).await.0, [5, 3, 1]);
        assert_eq!(list(of(ApprovalStatus::Approved)).await.0, [2]);
        assert_eq!(list(of(ApprovalStatus::Rejected)).await.0, [4]);
        assert_eq!(
            list(ApprovalFilter {
                run: Some(run_id(3)),
                ..all.clone()
            })
            .await
            .0,
            [3]
        );
        assert_eq!(
            list(ApprovalFilter {
                run: Some(run_id(77)),
                ..all.clone()
            })
            .await
            .0,
            []
        );
        let (first, next) = list(ApprovalFilter {
            limit: 2,
            ..all.clone()
        })
        .await;
        assert_eq!(first, [5, 4]);
        assert_eq!(
            list(ApprovalFilter {
                before: next,
                ..all.clone()
            })
            .await
            .0,
            [3, 2, 1]
        );
    }

    pub(super) async fn new_commits_make_a_question_lapse_and_its_run_asks_anew(ground: impl Ground) {
        let house = House::at(&ground).await;
        house
            .has_asked(1, |question| question.head_sha = Some("a1".into()))
            .await;
        house.has_asked(2, |_| {}).await;
        let event = house.recorded("d-push").await;
        let push = |subject: &str| Settlement {
            lapse: Some(Lapse {
                subject: Subject::stored(subject.into()),
                reason: "new commits were pushed".into(),
            }),
            ..settlement(event)
        };
        assert_eq!(house.settles(push("a#1")).await.lapsed, 1);
        let question = house.question(1).await;
        assert_eq!(
            (question.status, question.response.as_deref()),
            (ApprovalStatus::Lapsed, Some("new commits were pushed"))
        );
        let late = house.decides(answer(1, Decision::Approved, None)).await;
        assert_eq!(late, Decided::Already(ApprovalStatus::Lapsed));
        // Its phase waits still: whoever takes the run up asks anew before anything else.
        assert_eq!(house.takes(10).await, [run_id(1)]);
        let run = house.run(1).await;
        assert_eq!(
            (run.phases[0].status, run.phases[0].reason.as_deref()),
            (PhaseStatus::WaitingApproval, Some("new commits were pushed"))
        );
        let anew = Step::Paused(NewApproval {
            head_sha: Some("b2".into()),
            ..question_of(101)
        });
        assert_eq!(house.steps(1, vec![anew]).await, StepTaken::Taken { effects: 0 });
        let decided = house.decides(answer(101, Decision::Approved, None)).await;
        assert_eq!(decided, Decided::Counted { run: run_id(1) });
        assert_eq!(house.run(1).await.phases[0].status, PhaseStatus::Succeeded);
        // A question that holds for no commit does not care.
        let event = house.recorded("d-push-2").await;
        let other = Settlement { event, ..push("a#2") };
        assert_eq!(house.settles(other).await.lapsed, 0);
        assert_eq!(house.question(2).await.status, ApprovalStatus::Pending);
    }

    pub(super) async fn the_clock_answers_what_nobody_answered_and_tells_once(ground: impl Ground) {
        let house = House::at(&ground).await;
        let rules = |deadline: i64, escalate_at: i64| AnswerRules {
            deadline: Some(at(deadline)),
            escalate_at: Some(at(escalate_at)),
            ..AnswerRules::default()
        };
        house.has_asked(1, |question| question.rules = rules(100, 50)).await;
        house.has_asked(2, |question| question.rules = rules(200, 60)).await;
        house.has_asked(3, |_| {}).await;
        let due = async |now: i64| {
            let order = DueGates {
                now: at(now),
                limit: 10,
            };
            let due = house.0.due_gates(order).await.expect("read");
            let runs = |questions: Vec<Approval>| questions.iter().map(|q| q.run).collect::<Vec<_>>();
            (runs(due.expired), runs(due.escalate), due.next)
        };
        assert_eq!(due(10).await, (vec![], vec![], Some(at(50))));
        assert_eq!(due(50).await, (vec![], vec![run_id(1)], Some(at(60))));
        let tell = EscalateGate {
            approval: approval_id(1),
            effects: vec![comment("gate:1/escalation", "acme")],
            at: at(50),
        };
        assert_eq!(house.0.escalate_gate(tell.clone()).await, Ok(true));
        assert_eq!(house.0.escalate_gate(tell).await, Ok(false));
        assert_eq!(due(70).await, (vec![], vec![run_id(2)], Some(at(100))));
        assert_eq!(due(150).await, (vec![run_id(1)], vec![run_id(2)], Some(at(200))));
        let close = |question: u128, now: i64| CloseGate {
            answer: Answer {
                by: Responder::deadline(),
                at: at(now),
                ..answer(question, Decision::Rejected, Some("no answer by then"))
            },
            effects: vec![comment(&format!("gate:{question}/deadline"), "acme")],
        };
        let early = house.0.close_gate(close(1, 99)).await;
        assert_eq!(early, Ok(Decided::Refused("the time to answer is not over".into())));
        assert!(!house.due_now().await.contains(&"gate:1/deadline".to_owned()));
        assert_eq!(
            house.0.close_gate(close(1, 100)).await,
            Ok(Decided::Counted { run: run_id(1) })
        );
        assert_eq!(
            house.run(1).await.summary.error.as_deref(),
            Some("Rejected by deadline: no answer by then")
        );
        assert_eq!(
            house.0.close_gate(close(1, 100)).await,
            Ok(Decided::Already(ApprovalStatus::Rejected))
        );
        assert_eq!(
            house.0.close_gate(close(3, 100)).await,
            Ok(Decided::Refused("the time to answer is not over".into()))
        );
        let late = Answer {
            at: at(200),
            ..answer(2, Decision::Approved, None)
        };
        let refused = house.decides(late).await;
        assert!(
            matches!(&refused, Decided::Refused(words) if words.starts_with("the time to answer ended at")),
            "{refused:?}"
        );
        let said = house.due_now().await;
        assert_eq!(said, ["gate:1/escalation", "gate:1/deadline"]);
    }

    pub(super) async fn a_reply_says_why_an_answer_did_not_count(ground: impl Ground) {
        let house = House::at(&ground).await;
        let rules = AnswerRules {
            approvals: 2,
            ..AnswerRules::default()
        };
        house.has_asked(1, |question| question.rules = rules).await;
        let reply = |key: &str, body: &str| NewEffect {
            effect: Effect::GithubComment {
                repo: name("acme/site"),
                number: 7,
                body: body.into(),
            },
            ..comment(key, "acme")
        };
        for (event, by, key, expected) in [
            ("d-1", "bob", "r1", "Noted: 1 of 2 have approved."),
            (
                "d-2",
                "bob",
                "r2",
                "That does not count: bob has approved already; 1 of 2 have.",
            ),
            ("d-3", "carol", "r3", "Approved."),
            ("d-4", "dave", "r4", "Somebody has answered already."),
        ] {
            let event = house.recorded(event).await;
            let settled = house
                .settles(Settlement {
                    decide: Some(Answer {
                        by: Responder::named(by, Via::Github),
                        ..answer(1, Decision::Approved, None)
                    }),
                    effects: vec![reply(key, "Approved.")],
                    otherwise: vec![reply(key, Decided::PLACE)],
                    ..settlement(event)
                })
                .await;
            assert_eq!(settled.effects, 1, "{settled:?}");
            let Effect::GithubComment { body, .. } = house.effect(key).await.effect else {
                panic!("no comment")
            };
            assert_eq!(body, expected);
        }
    }

    pub(super) async fn a_run_goes_on_where_an_earlier_one_came_to(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.has_paused(1, "build", "a#1").await;
        house.decides(answer(1, Decision::Rejected, None)).await;
        let first = house.run(1).await;
        let order = OpenRetry {
            run: new_run(2, "build", "a#1", Overlap::Queue),
            done: vec![PhaseRecord {
                status: PhaseStatus::Succeeded,
                ..first.phases[0].clone()
            }],
            scratch: [("loop".to_owned(), serde_json::json!({ "iteration": 2 }))].into(),
        };
        assert_eq!(house.0.open_retry(order.clone()).await, Ok(Opened::Queued(run_id(2))));
        assert_eq!(house.0.open_retry(order.clone()).await, Ok(Opened::Repeated(run_id(2))));
        let run = house.run(2).await;
        assert_eq!(run.phases, order.done);
        assert_eq!(run.scratch, order.scratch);
        assert_eq!(house.takes(10).await, [run_id(2)]);
        assert_eq!(
            house.run(1).await.summary.status,
            RunStatus::Failed,
            "the earlier one stays as it was"
        );
    }

    pub(super) async fn a_run_that_ends_closes_what_was_open_in_it(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.has_paused(1, "build", "a#1").await;
        let cancel = EndRun {
            run: run_id(1),
            status: RunStatus::Cancelled,
            error: "cancelled by ann".into(),
            at: at(8),
        };
        assert_eq!(house.0.end_run(cancel).await, Ok(Some(RunStatus::Paused)));
        assert!(
            house
                .0
                .open_gates(OpenGates { subject: None })
                .await
                .expect("read")
                .is_empty()
        );
        let late = house.decides(answer(1, Decision::Approved, None)).await;
        assert_eq!(late, Decided::Already(ApprovalStatus::Lapsed));
        let run = house.run(1).await;
        assert_eq!(run.summary.status, RunStatus::Cancelled);
        assert_eq!(
            (run.phases[0].status, run.phases[0].reason.as_deref()),
            (PhaseStatus::Failed, Some("cancelled by ann"))
        );
        assert!(house.takes(10).await.is_empty());
    }

    pub(super) async fn an_end_that_no_runner_saw_is_told_once_where_there_is_a_thread(ground: impl Ground) {
        let house = House::at(&ground).await;
        let thread = ReplyTo::SlackThread {
            channel: "C1".into(),
            thread: "1.000100".into(),
            message: None,
        };
        let runs = (1..=3).map(|n| NewRun {
            reply_to: if n == 3 { ReplyTo::Nobody } else { thread.clone() },
            ..new_run(n, "build", &format!("a#{n}"), Overlap::Queue)
        });
        house.0.open_runs(OpenRuns(runs.collect())).await.expect("opened");
        house.takes(3).await;
        // The first is ended by its runner, which speaks for itself.
        house.steps(1, vec![over(RunStatus::Succeeded, None)]).await;
        for n in 1..=3 {
            let cancel = EndRun {
                run: run_id(n),
                status: RunStatus::Cancelled,
                error: "cancelled by ann".into(),
                at: at(8),
            };
            house.0.end_run(cancel).await.expect("written");
        }
        let untold = || async {
            let ends = house.0.untold_ends(UntoldEnds { most: 10 }).await.expect("read");
            ends.into_iter()
                .map(|run| (run.summary.id, run.summary.error.expect("a reason")))
                .collect::<Vec<_>>()
        };
        assert_eq!(untold().await, [(run_id(2), "cancelled by ann".to_owned())]);
        let said = NewEffect {
            key: "run:2/ended/notice0".parse().expect("a key"),
            effect: Effect::GithubComment {
                repo: name("Acme/Site"),
                number: 7,
                body: "cancelled".into(),
            },
            run: Some(run_id(2)),
            event: None,
        };
        let tell = TellEnds {
            ends: vec![(run_id(2), vec![said])],
            at: at(9),
        };
        for _ in 0..2 {
            house.0.tell_ends(tell.clone()).await.expect("written");
        }
        assert!(untold().await.is_empty());
        let of = EffectsOf {
            run: Some(run_id(2)),
            event: None,
        };
        assert_eq!(house.0.effects_of(of).await.expect("read").len(), 1);
    }

    fn firing(cron: &str, minute: i64, state: FiringState) -> NewFiring {
        NewFiring {
            cron: cron.into(),
            kind: FiringKind::Scheduled,
            state,
            scheduled_at: at(minute * 60),
            due_at: at(minute * 60),
            who: "cron".into(),
            count: 1,
            note: None,
            seed: Uuid::from_u128(minute.unsigned_abs().into()),
        }
    }

    fn stands(minute: i64, failures: u32) -> CronState {
        CronState {
            over: None,
            cursor: Some(at(minute * 60)),
            expression: "* * * * * UTC".into(),
            failures,
            alarms: [CronAlarm::Missed].into(),
        }
    }

    pub(super) async fn an_instant_of_a_schedule_is_in_the_ledger_once(ground: impl Ground) {
        let house = House::at(&ground).await;
        let order = |cron: &str, minutes: &[i64]| RecordFirings {
            cron: cron.into(),
            firings: minutes
                .iter()
                .map(|minute| firing(cron, *minute, FiringState::Waiting))
                .collect(),
            state: stands(*minutes.last().expect("some"), 0),
            effects: Vec::new(),
            at: at(1),
        };
        let written = async |order| {
            let places = house.0.record_firings(order).await.expect("written");
            places.iter().map(Option::is_some).collect::<Vec<_>>()
        };
        assert_eq!(written(order("a", &[1, 2])).await, [true, true]);
        assert_eq!(written(order("a", &[2, 3])).await, [false, true]);
        assert_eq!(written(order("b", &[2])).await, [true]);
        let states = house.0.cron_states(CronStates).await.expect("read");
        assert_eq!(states.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(states["a"], stands(3, 0));
        // Without a cursor, where it was stays.
        let other = RecordFirings {
            state: CronState {
                cursor: None,
                ..stands(0, 4)
            },
            firings: Vec::new(),
            ..order("a", &[1])
        };
        house.0.record_firings(other).await.expect("written");
        assert_eq!(house.0.cron_states(CronStates).await.expect("read")["a"], stands(3, 4));
        let latest = house.0.latest_firings(LatestFirings).await.expect("read");
        let minute = |firing: &CronFiring| (firing.scheduled_at - at(0)).num_minutes();
        let latest: Vec<_> = latest
            .iter()
            .map(|firing| (firing.cron.as_str(), minute(firing)))
            .collect();
        assert_eq!(latest, [("a", 3), ("b", 2)]);
        // Page by page, newest first.
        let mut pages = Vec::new();
        let mut before = None;
        loop {
            let order = ListFirings {
                cron: Some("a".into()),
                before,
                limit: 2,
            };
            let page = house.0.list_firings(order).await.expect("read");
            pages.push(page.items.iter().map(minute).collect::<Vec<_>>());
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(pages, [vec![3, 2], vec![1]]);
        // What an operator says stands beside it, and goes without a trace.
        let over = CronOverride {
            enabled: Some(false),
            schedule: None,
            updated_at: at(5),
            updated_by: "ann".into(),
        };
        for over in [Some(over), None] {
            let order = OverrideCron {
                cron: "b".into(),
                over: over.clone(),
            };
            house.0.override_cron(order).await.expect("written");
            assert_eq!(house.0.cron_states(CronStates).await.expect("read")["b"].over, over);
        }
    }

    pub(super) async fn a_firing_goes_from_its_row_to_its_end(ground: impl Ground) {
        let house = House::at(&ground).await;
        let record = RecordFirings {
            cron: "a".into(),
            firings: vec![
                firing("a", 1, FiringState::Waiting),
                firing("a", 2, FiringState::Missed),
            ],
            state: stands(2, 0),
            effects: Vec::new(),
            at: at(1),
        };
        let seq = house.0.record_firings(record).await.expect("written")[0].expect("new");
        let begin = BeginFiring {
            firing: seq,
            context: [("mode".to_owned(), "scan".into())].into_iter().collect(),
            repos: vec![Some("acme/one".into()), None],
            at: at(61),
        };
        for _ in 0..2 {
            house.0.begin_firing(begin.clone()).await.expect("written");
        }
        house.opens(1, "build", "a#1", Overlap::Queue).await;
        let settled = |n, state, run| TargetSettled {
            n,
            state,
            run,
            note: None,
        };
        let settle = SettleTargets {
            firing: seq,
            targets: vec![
                settled(0, TargetState::Live, Some(run_id(1))),
                settled(1, TargetState::Live, Some(run_id(99))),
            ],
        };
        house.0.settle_targets(settle).await.expect("written");
        // One run is at work, the other one is not there.
        let ended = house.0.ended_targets(EndedTargets).await.expect("read");
        assert_eq!(
            ended.iter().map(|one| (one.n, one.status)).collect::<Vec<_>>(),
            [(1, None)]
        );
        let cancel = EndRun {
            run: run_id(1),
            status: RunStatus::Cancelled,
            error: "cancelled by ann".into(),
            at: at(62),
        };
        house.0.end_run(cancel).await.expect("written");
        let ended = house.0.ended_targets(EndedTargets).await.expect("read");
        assert_eq!(ended.len(), 2);
        assert_eq!(ended[0].error.as_deref(), Some("cancelled by ann"));
        let settle = SettleTargets {
            firing: seq,
            targets: vec![
                settled(0, TargetState::Failed, None),
                settled(1, TargetState::Succeeded, None),
            ],
        };
        house.0.settle_targets(settle).await.expect("written");
        let open = house.0.open_firings(OpenFirings).await.expect("read");
        assert_eq!(open.len(), 1, "what was missed is over");
        assert_eq!(open[0].context["mode"], "scan");
        assert_eq!(
            (open[0].firing.total, open[0].firing.dispatched, open[0].firing.failed),
            (2, 2, 1)
        );
        assert_eq!(open[0].targets[0].run, Some(run_id(1)));
        for failures in [1, 9] {
            let end = EndFiring {
                firing: seq,
                state: FiringState::Failed,
                note: Some("1 of 2 failed".into()),
                stands: stands(2, failures),
                effects: Vec::new(),
                at: at(70),
            };
            house.0.end_firing(end).await.expect("written");
        }
        assert!(house.0.open_firings(OpenFirings).await.expect("read").is_empty());
        assert_eq!(
            house.0.cron_states(CronStates).await.expect("read")["a"].failures,
            1,
            "it ends once"
        );
        let whole = house
            .0
            .read_firing(ReadFiring(seq))
            .await
            .expect("read")
            .expect("there");
        assert_eq!(
            (whole.firing.state, whole.firing.ended_at),
            (FiringState::Failed, Some(at(70)))
        );
        assert_eq!(house.0.read_firing(ReadFiring(FiringSeq(77))).await, Ok(None));
    }

    pub(super) async fn runs_are_listed_by_each_filter_with_their_total(ground: impl Ground) {
        let house = House::at(&ground).await;
        let mut runs = Vec::new();
        for n in 1..=6 {
            let workflow = if n % 2 == 0 { "build" } else { "triage" };
            runs.push(NewRun {
                repo: (n != 6).then(|| name(if n < 3 { "Acme/Site" } else { "other/place" })),
                created_at: at(i64::try_from(n).expect("small")),
                ..new_run(n, workflow, &format!("a#{n}"), Overlap::Queue)
            });
        }
        house.0.open_runs(OpenRuns(runs)).await.expect("opened");
        house.takes(3).await;
        house.steps(1, vec![over(RunStatus::Succeeded, None)]).await;
        house.steps(2, vec![over(RunStatus::Failed, Some("no"))]).await;
        // Now: 1 succeeded, 2 failed, 3 running, 4 to 6 queued.
        let all = RunFilter::default;
        let table: Vec<(RunFilter, &[u128], u64)> = vec![
            (all(), &[6, 5, 4, 3, 2, 1], 6),
            (
                RunFilter {
                    workflow: Some("build".into()),
                    ..all()
                },
                &[6, 4, 2],
                3,
            ),
            (
                RunFilter {
                    repo: Some("ACME/SITE".into()),
                    ..all()
                },
                &[2, 1],
                2,
            ),
            (
                RunFilter {
                    statuses: vec![RunStatus::Queued],
                    ..all()
                },
                &[6, 5, 4],
                3,
            ),
            (
                RunFilter {
                    statuses: vec![RunStatus::Queued, RunStatus::Failed, RunStatus::Queued],
                    ..all()
                },
                &[6, 5, 4, 2],
                4,
            ),
            (
                RunFilter {
                    statuses: RunStatus::ALL.to_vec(),
                    ..all()
                },
                &[6, 5, 4, 3, 2, 1],
                6,
            ),
            (
                RunFilter {
                    since: Some(at(4)),
                    ..all()
                },
                &[6, 5, 4],
                3,
            ),
            (
                RunFilter {
                    since: Some(at(99)),
                    ..all()
                },
                &[],
                0,
            ),
            (RunFilter { offset: 4, ..all() }, &[2, 1], 6),
            (
                RunFilter {
                    statuses: vec![RunStatus::Queued, RunStatus::Failed],
                    offset: 1,
                    ..all()
                },
                &[5, 4, 2],
                4,
            ),
            (
                RunFilter {
                    statuses: vec![RunStatus::Queued, RunStatus::Failed],
                    offset: 9,
                    ..all()
                },
                &[],
                4,
            ),
            (
                RunFilter {
                    workflow: Some("triage".into()),
                    repo: Some("other/place".into()),
                    statuses: vec![RunStatus::Queued, RunStatus::Running],
                    since: Some(at(4)),
                    ..all()
                },
                &[5],
                1,
            ),
            (
                RunFilter {
                    workflow: Some("nothing".into()),
                    ..all()
                },
                &[],
                0,
            ),
        ];
        for (filter, expected, total) in table {
            let expected: Vec<_> = expected.iter().map(|n| run_id(*n)).collect();
            assert_eq!(
                house.lists_runs(filter.clone()).await,
                (expected, None, total),
                "{filter:?}"
            );
        }
        // Page by page, over one status and over several.
        for statuses in [vec![], vec![RunStatus::Queued, RunStatus::Failed, RunStatus::Running]] {
            let whole = house
                .lists_runs(RunFilter {
                    statuses: statuses.clone(),
                    ..all()
                })
                .await
                .0;
            let mut seen = Vec::new();
            let mut before = None;
            loop {
                let filter = RunFilter {
                    statuses: statuses.clone(),
                    before,
                    limit: 2,
                    ..all()
                };
                let (page, next, _) = house.lists_runs(filter).await;
                seen.extend(page);
                match next {
                    Some(next) => before = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, whole);
        }
    }

    pub(super) async fn an_effect_is_stored_once_per_key(ground: impl Ground) {
        let house = House::at(&ground).await;
        assert_eq!(
            house
                .says(vec![
                    comment("e-1", "acme"),
                    comment("e-2", "acme"),
                    comment("e-1", "other")
                ])
                .await,
            2
        );
        assert_eq!(house.says(vec![comment("e-2", "acme")]).await, 0);
        assert_eq!(house.due_now().await, ["e-1", "e-2"]);
        let effect = house.effect("e-1").await;
        assert_eq!(effect.effect, comment("e-1", "acme").effect, "the first stays");
        assert_eq!(
            (effect.state, effect.attempts, effect.due_at),
            (EffectState::Pending, 0, at(1))
        );
        assert_eq!(house.counts().await.open_effects, 2);
    }

    pub(super) async fn a_lane_keeps_its_order(ground: impl Ground) {
        let house = House::at(&ground).await;
        house
            .says(vec![
                comment("a-1", "acme"),
                comment("b-1", "Bee"),
                comment("a-2", "ACME"),
                comment("b-2", "bee"),
            ])
            .await;
        assert_eq!(house.due_now().await, ["a-1", "b-1", "a-2", "b-2"]);
        let limited = |limit| ReadDueEffects { limit, ..due_at(100) };
        assert_eq!(
            house.due(limited(2)).await.0,
            ["a-1", "b-1"],
            "heads of lanes come first"
        );
        assert_eq!(house.due(limited(3)).await.0, ["a-1", "b-1", "a-2"]);
        assert_eq!(
            house.due(limited(1)).await,
            (vec!["a-1".into()], Some(at(1))),
            "another lane is due already"
        );

        // The head has to wait: those behind it wait, too.
        let head = house.effect("a-1").await.seq;
        assert_eq!(house.claims(head).await, Some(1));
        house.attempted(head, 1, retry(500)).await;
        assert_eq!(
            house.due(due_at(100)).await,
            (vec!["b-1".into(), "b-2".into()], Some(at(500)))
        );
        assert_eq!(house.due(due_at(500)).await.0, ["a-1", "b-1", "a-2", "b-2"]);
        // Nothing before its time.
        assert_eq!(house.due(due_at(0)).await, (vec![], Some(at(1))));

        // The head is done: the next moves up. One behind is given up: the head stays the head.
        assert_eq!(house.claims(head).await, Some(2));
        house.attempted(head, 2, done()).await;
        assert_eq!(house.due_now().await, ["b-1", "a-2", "b-2"]);
        let behind = house.effect("b-2").await.seq;
        assert_eq!(house.claims(behind).await, Some(1));
        house
            .attempted(behind, 1, AttemptOutcome::Dead { error: "410".into() })
            .await;
        assert_eq!(house.due_now().await, ["b-1", "a-2"]);
        for key in ["b-1", "a-2"] {
            let seq = house.effect(key).await.seq;
            house.claims(seq).await;
            house
                .attempted(
                    seq,
                    1,
                    AttemptOutcome::Undeliverable {
                        error: "no credentials".into(),
                    },
                )
                .await;
        }
        assert_eq!(house.due(due_at(100)).await, (vec![], None));
        assert_eq!(house.says(vec![comment("a-3", "acme")]).await, 1);
        assert_eq!(house.due_now().await, ["a-3"], "an empty lane begins anew");
    }

    pub(super) async fn busy_lanes_and_other_kinds_are_passed_over(ground: impl Ground) {
        let house = House::at(&ground).await;
        let label = NewEffect {
            effect: Effect::GithubLabels {
                repo: name("bee/site"),
                number: 7,
                labels: vec!["bug".into()],
            },
            ..comment("l-1", "bee")
        };
        house
            .says(vec![
                comment("a-1", "acme"),
                label,
                comment("b-2", "bee"),
                comment("c-1", "cee"),
            ])
            .await;
        let busy = ReadDueEffects {
            busy_lanes: vec!["github:acme/site#7".into(), "github:none".into()],
            ..due_at(100)
        };
        assert_eq!(
            house.due(busy).await,
            (vec!["l-1".into(), "b-2".into(), "c-1".into()], None)
        );
        let full = ReadDueEffects {
            busy_paces: vec!["github:bee".into(), "github:ace".into()],
            ..due_at(100)
        };
        assert_eq!(house.due(full).await, (vec!["a-1".into(), "c-1".into()], None));
        let kinds = async |kinds| house.due(ReadDueEffects { kinds, ..due_at(100) }).await.0;
        assert_eq!(kinds("github.labels").await, ["l-1"]);
        assert_eq!(
            kinds("github.comment").await,
            ["a-1", "c-1"],
            "behind a head of another kind it waits"
        );
        assert_eq!(kinds("").await, ["a-1", "l-1", "b-2", "c-1"]);
        assert!(kinds("slack.").await.is_empty());
    }

    pub(super) async fn a_hundred_thousand_effects_do_not_make_the_look_slow(ground: impl Ground) {
        let house = House::at(&ground).await;
        // One lane as long as it gets, whose head must wait, and many short lanes that must wait, too.
        for chunk in 0..50 {
            let effects = (0..2_000)
                .map(|n| {
                    let owner = if chunk < 25 {
                        "acme".to_owned()
                    } else {
                        format!("o{chunk}-{n}")
                    };
                    comment(&format!("{chunk}-{n}"), &owner)
                })
                .collect();
            house.says(effects).await;
        }
        let head = house.effect("0-0").await.seq;
        house.claims(head).await;
        house.attempted(head, 1, retry(1_000)).await;
        // A thousand looks: a walk past the waiting would be felt.
        for _ in 0..1_000 {
            assert!(
                house
                    .due(ReadDueEffects {
                        limit: 1,
                        ..due_at(100)
                    })
                    .await
                    .0
                    .len()
                    == 1
            );
            assert!(house.due(due_at(0)).await.0.is_empty());
        }
        assert_eq!(house.counts().await.open_effects, 100_000);
    }

    pub(super) async fn an_attempt_is_written_down_before_it_is_made(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.says(vec![comment("e-1", "acme")]).await;
        let seq = house.effect("e-1").await.seq;
        assert_eq!(house.claims(seq).await, Some(1));
        let effect = house.effect("e-1").await;
        assert_eq!(
            (effect.state, effect.attempts),
            (EffectState::InFlight, 1),
            "in flight it is still given out"
        );
        // After a crash it is claimed again.
        assert_eq!(house.claims(seq).await, Some(2));
        house.attempted(seq, 2, done()).await;
        assert_eq!(house.claims(seq).await, None);
        assert!(house.due_now().await.is_empty());
        assert!(matches!(
            house
                .0
                .claim_effect(ClaimEffect {
                    effect: EffectSeq(99),
                    at: at(0)
                })
                .await,
            Err(StoreError::Failed(_))
        ));
    }

    pub(super) async fn a_late_word_of_an_earlier_attempt_changes_only_its_row(ground: impl Ground) {
        let house = House::at(&ground).await;
        house
            .says(vec![NewEffect {
                event: Some(name("d-1")),
                ..comment("e-1", "acme")
            }])
            .await;
        let seq = house.effect("e-1").await.seq;
        let now = async || {
            let order = EffectsOf {
                run: None,
                event: Some("d-1".into()),
            };
            house.0.effects_of(order).await.expect("read").remove(0)
        };
        house.claims(seq).await;
        house.claims(seq).await;
        house.attempted(seq, 1, retry(900)).await;
        house
            .attempted(seq, 1, AttemptOutcome::Dead { error: "404".into() })
            .await;
        assert_eq!(now().await.state, EffectState::InFlight);
        // What the far side has, it has.
        house.attempted(seq, 1, done()).await;
        let effect = now().await;
        assert_eq!(
            (effect.state, effect.result.as_deref()),
            (EffectState::Done, Some("url"))
        );
        house
            .attempted(seq, 2, AttemptOutcome::Dead { error: "404".into() })
            .await;
        assert_eq!(now().await.state, EffectState::Done);
    }

    pub(super) async fn a_delivery_is_recorded_with_its_first_attempt_and_given_to_nobody_else(ground: impl Ground) {
        let house = House::at(&ground).await;
        let queued = house
            .queues(vec![delivery("d-1", "w-1"), delivery("d-1", "w-1")], Some(60))
            .await;
        assert!(
            matches!(queued[..], [Some(_), None]),
            "each once by its key: {queued:?}"
        );
        let shown = house.shows("d-1").await;
        assert_eq!((shown.row.state, shown.row.attempts), (EffectState::InFlight, 1));
        assert_eq!(
            shown.attempt_log.len(),
            1,
            "the attempt is written down before it is made"
        );
        assert_eq!(shown.body.as_deref(), Some(r#"{"id":"d-1","event":"task.sync"}"#));
        assert_eq!(house.waiting(waits(59)).await, (Vec::new(), Some(at(60))));
        let due = house.0.read_due_deliveries(waits(60)).await.expect("read").due;
        assert_eq!(due[0].rest.as_deref(), Some(r#""event":"task.sync"}"#));
        assert_eq!(due[0].round, 0);
        assert!(house.due_now().await.is_empty(), "it is in no lane");
        let seq = queued[0].expect("new");
        let claim = async || {
            let order = ClaimDelivery {
                effect: seq,
                at: at(61),
                until: at(120),
            };
            house.0.claim_delivery(order).await.expect("claimed")
        };
        assert_eq!(claim().await, Some(2));
        assert!(house.waiting(waits(119)).await.0.is_empty());
        house.settles_deliveries(attempt(seq, 2, retry(300)), 62).await;
        assert_eq!(house.waiting(waits(299)).await, (Vec::new(), Some(at(300))));
        assert_eq!(house.waiting(waits(300)).await.0, ["d-1"]);
        assert_eq!(claim().await, Some(3));
        house.settles_deliveries(attempt(seq, 3, done()), 62).await;
        assert_eq!(claim().await, None, "what is done is done");
        assert_eq!(house.waiting(waits(9_999)).await, (Vec::new(), None));
    }

    pub(super) async fn deliveries_are_given_out_fairly_over_their_endpoints(ground: impl Ground) {
        let house = House::at(&ground).await;
        let mut effects: Vec<_> = (0..20).map(|n| delivery(&format!("a-{n:02}"), "a")).collect();
        effects.extend([delivery("b-1", "b"), delivery("c-1", "c")]);
        house.queues(effects, None).await;
        let (ids, _) = house.waiting(waits(1)).await;
        assert_eq!(ids, ["a-00", "a-01", "a-02", "a-03", "b-1", "c-1"]);
        let full = ReadDueDeliveries {
            full: vec!["a".into()],
            ..waits(1)
        };
        assert_eq!(house.waiting(full).await, (vec!["b-1".into(), "c-1".into()], None));
        let (ids, next) = house.waiting(ReadDueDeliveries { limit: 5, ..waits(1) }).await;
        assert_eq!((ids.len(), next), (5, Some(at(1))), "what is left out is due");
    }

    pub(super) async fn what_a_stop_left_under_way_is_due_at_the_next_start(ground: impl Ground) {
        let house = House::at(&ground).await;
        let queued = house
            .queues(
                vec![delivery("d-1", "w-1"), delivery("d-2", "w-1"), delivery("d-3", "w-1")],
                Some(600),
            )
            .await;
        let seqs: Vec<_> = queued.into_iter().flatten().collect();
        // One is in flight, one waits between two quick attempts, one waits for its time on the long schedule.
        let quick = DeliverySettled {
            round: 0,
            ..attempt(seqs[1], 1, retry(300))
        };
        house.settles_deliveries(quick, 1).await;
        house.settles_deliveries(attempt(seqs[2], 1, retry(300)), 1).await;
        assert!(house.waiting(waits(10)).await.0.is_empty());
        let recovered = house.0.recover_deliveries(RecoverDeliveries { at: at(10) }).await;
        assert_eq!(recovered, Ok(2));
        assert_eq!(house.waiting(waits(10)).await.0, ["d-1", "d-2"]);
        let order = ClaimDelivery {
            effect: seqs[0],
            at: at(11),
            until: at(600),
        };
        assert_eq!(house.0.claim_delivery(order).await, Ok(Some(2)));
        let outcomes: Vec<_> = house.shows("d-1").await.attempt_log;
        assert_eq!(outcomes[0].outcome.as_deref(), Some("interrupted"));
        assert_eq!(outcomes[1].outcome, None);
    }

    pub(super) async fn a_delivery_shows_every_attempt_and_can_be_sent_again(ground: impl Ground) {
        let house = House::at(&ground).await;
        let seq = house.queues(vec![delivery("d-1", "w-1")], Some(60)).await[0].expect("new");
        let again = async |id: &str| {
            let order = Redeliver {
                id: id.into(),
                at: at(100),
            };
            house.0.redeliver(order).await.expect("answered")
        };
        assert_eq!(again("d-1").await, Redelivered::UnderWay);
        assert_eq!(again("d-2").await, Redelivered::NotFound);
        let dead = AttemptOutcome::Dead {
            error: "answered 410".into(),
        };
        house.settles_deliveries(attempt(seq, 1, dead), 5).await;
        let shown = house.shows("d-1").await;
        assert_eq!(shown.row.state, EffectState::Dead);
        assert_eq!(shown.row.http_status, Some(500));
        assert_eq!(
            shown.attempt_log,
            [DeliveryAttempt {
                attempt: 1,
                started_at: at(0),
                ended_at: Some(at(5)),
                outcome: Some("dead".into()),
                http_status: Some(500),
                excerpt: Some("oops".into()),
                duration_ms: Some(12),
                error: Some("answered 410".into()),
            }]
        );
        assert_eq!(again("d-1").await, Redelivered::Queued);
        let due = house.0.read_due_deliveries(waits(100)).await.expect("read").due;
        assert_eq!((due[0].effect.attempts, due[0].round), (1, 0));
        let unknown = house.0.read_delivery(ReadDelivery { id: "no".into() }).await;
        assert_eq!(unknown, Ok(None));
    }

    pub(super) async fn deliveries_are_listed_newest_first_by_each_filter(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.says(vec![comment("e-1", "acme")]).await;
        let effects: Vec<_> = (1..=4)
            .map(|n| delivery(&format!("d-{n}"), if n % 2 == 0 { "even" } else { "odd" }))
            .collect();
        let seqs: Vec<_> = house.queues(effects, Some(60)).await.into_iter().flatten().collect();
        house.settles_deliveries(attempt(seqs[0], 1, done()), 1).await;
        house.settles_deliveries(attempt(seqs[1], 1, retry(90)), 1).await;
        let list = async |filter: DeliveryFilter| {
            let limit = if filter.limit == 0 { 10 } else { filter.limit };
            let page = house
                .0
                .list_deliveries(ListDeliveries(DeliveryFilter { limit, ..filter }))
                .await;
            let page = page.expect("listed");
            let ids: Vec<_> = page.items.into_iter().map(|row| row.id).collect();
            (ids.join(" "), page.next)
        };
        let all = DeliveryFilter::default;
        let state = |state| DeliveryFilter {
            state: Some(state),
            ..all()
        };
        let webhook = |webhook: &str| DeliveryFilter {
            webhook: Some(webhook.into()),
            ..all()
        };
        for (filter, ids) in [
            (all(), "d-4 d-3 d-2 d-1"),
            (state(EffectState::Done), "d-1"),
            (state(EffectState::Pending), "d-2"),
            (state(EffectState::InFlight), "d-4 d-3"),
            (state(EffectState::Dead), ""),
            (webhook("even"), "d-4 d-2"),
            (webhook("none"), ""),
            (
                DeliveryFilter {
                    state: Some(EffectState::Done),
                    ..webhook("odd")
                },
                "d-1",
            ),
            (
                DeliveryFilter {
                    event: Some(IntegrationEvent::TaskSync),
                    ..webhook("odd")
                },
                "d-3 d-1",
            ),
            (
                DeliveryFilter {
                    event: Some(IntegrationEvent::Error),
                    ..all()
                },
                "",
            ),
        ] {
            assert_eq!(list(filter.clone()).await, (ids.into(), None), "{filter:?}");
        }
        let (ids, next) = list(DeliveryFilter { limit: 3, ..all() }).await;
        assert_eq!(ids, "d-4 d-3 d-2");
        let rest = DeliveryFilter { before: next, ..all() };
        assert_eq!(list(rest).await, ("d-1".into(), None));
    }

    pub(super) async fn a_webhook_that_only_failed_for_days_is_switched_off_with_a_notice(ground: impl Ground) {
        const DAY: i64 = 86_400;
        let house = House::at(&ground).await;
        let seq = house.queues(vec![delivery("d-1", "w-1")], Some(60)).await[0].expect("new");
        let notice = || NewEffect {
            effect: Effect::Notice {
                about: "webhook:w-1".into(),
                text: "switched off".into(),
                priority: Priority::High,
            },
            ..comment("n-1", "acme")
        };
        let mut number = 1;
        let mut fails = async |day: i64| {
            let failed = DeliverySettled {
                notice: Some(notice()),
                ..attempt(seq, number, retry(day * DAY))
            };
            house.settles_deliveries(failed.clone(), day * DAY).await;
            // A repeated order counts once.
            house.settles_deliveries(failed, day * DAY).await;
            let order = ClaimDelivery {
                effect: seq,
                at: at(day * DAY),
                until: at(day * DAY),
            };
            house.0.claim_delivery(order).await.expect("claimed");
            number += 1;
            house.health().await
        };
        for day in 0..4 {
            assert!(fails(day).await.enabled);
        }
        let health = fails(4).await;
        assert!(health.enabled, "four days are not five");
        assert_eq!((health.failed, health.delivered), (5, 0));
        assert_eq!(health.failing_since, Some(at(0)));
        assert_eq!(health.last_error.as_deref(), Some("503"));
        assert!(house.waiting_notices().await.is_empty());
        let health = fails(5).await;
        assert!(!health.enabled);
        assert!(health.disabled_reason.expect("a reason").contains("503"));
        assert_eq!(house.waiting_notices().await, ["n-1"]);
        assert_eq!(house.queues(vec![delivery("d-2", "w-1")], None).await, [None]);
        assert!(house.queues(vec![delivery("d-3", "w-2")], None).await[0].is_some());

        let switch = async |enabled: Option<bool>, reason: Option<&str>| {
            let order = SetWebhook {
                webhook: "w-1".into(),
                enabled,
                reason: reason.map(str::to_owned),
                at: at(6 * DAY),
            };
            house.0.set_webhook(order).await.expect("set")
        };
        assert!(!switch(None, Some("the probe failed")).await);
        assert_eq!(house.health().await.last_error.as_deref(), Some("the probe failed"));
        assert!(switch(Some(true), None).await);
        let health = house.health().await;
        assert_eq!(
            (health.failing_since, health.last_error, health.disabled_reason),
            (None, None, None)
        );
        assert!(!switch(Some(false), Some("by hand")).await);
        assert_eq!(house.health().await.disabled_reason.as_deref(), Some("by hand"));
        assert!(switch(Some(true), None).await);
        house.settles_deliveries(attempt(seq, 7, done()), 7 * DAY).await;
        let health = house.health().await;
        assert_eq!((health.delivered, health.last_ok_at), (1, Some(at(7 * DAY))));
    }

    pub(super) async fn a_hundred_thousand_deliveries_do_not_make_the_look_slow(ground: impl Ground) {
        let house = House::at(&ground).await;
        let effects: Vec<_> = (0..100_000)
            .map(|n| delivery(&format!("d-{n}"), &format!("w-{}", n % 10)))
            .collect();
        for effects in effects.chunks(10_000) {
            house.queues(effects.to_vec(), None).await;
        }
        let started = std::time::Instant::now();
        for _ in 0..20 {
            assert_eq!(house.waiting(waits(1)).await.0.len(), 40);
        }
        assert!(
            started.elapsed() < std::time::Duration::from_secs(2),
            "a look takes {:?}",
            started.elapsed() / 20
        );
    }

    pub(super) async fn an_idempotency_key_is_claimed_answered_and_forgotten(ground: impl Ground) {
        let house = House::at(&ground).await;
        let claim = async |request: &str, seconds| {
            let order = ClaimKey {
                key: "k".into(),
                request: request.into(),
                at: at(seconds),
            };
            house.0.claim_key(order).await.expect("claimed")
        };
        let answers = async |body: &str| {
            let order = KeepAnswer {
                key: "k".into(),
                status: 202,
                body: body.into(),
            };
            house.0.keep_answer(order).await.expect("kept");
        };
        assert_eq!(claim("r1", 0).await, Claimed::Act { since: at(0) });
        assert_eq!(claim("r1", 1).await, Claimed::Act { since: at(0) }, "nobody answered");
        assert_eq!(claim("r2", 1).await, Claimed::OtherRequest);
        answers("one").await;
        answers("two").await;
        let answered = Claimed::Answered {
            status: 202,
            body: "one".into(),
        };
        assert_eq!(claim("r1", 2).await, answered);
        assert_eq!(claim("r2", 2).await, Claimed::OtherRequest);
        let day = 24 * 60 * 60;
        assert_eq!(claim("r1", day).await, answered);
        assert_eq!(
            claim("r2", day + 1).await,
            Claimed::Act { since: at(day + 1) },
            "after a day it is forgotten"
        );
    }

    pub(super) async fn a_token_is_kept_listed_seen_and_taken_back_once(ground: impl Ground) {
        let token = |id: &str, method: &str, days: i64| NewToken {
            id: id.into(),
            who: "ann".into(),
            method: method.into(),
            label: (method == "token").then(|| "ci".into()),
            scope: "operate".into(),
            created_at: at(0),
            expires_at: at(days * 86_400),
        };
        let all = TokenFilter {
            live_at: None,
            method: None,
            before: None,
            limit: 2,
        };
        let house = House::at(&ground).await;
        for new in [
            token("a", "session", 1),
            token("b", "token", 90),
            token("c", "password", 7),
            token("b", "other", 1),
        ] {
            house.0.keep_token(KeepToken(new)).await.expect("kept");
        }
        let list = async |filter: &TokenFilter| house.0.list_tokens(ListTokens(filter.clone())).await.expect("listed");
        let ids = |page: &Page<IssuedToken>| page.items.iter().map(|token| token.id.clone()).collect::<Vec<_>>();
        let page = list(&all).await;
        assert_eq!(ids(&page), ["c", "b"]);
        assert_eq!(
            page.items[1].label.as_deref(),
            Some("ci"),
            "the first one of an id stays"
        );
        let before = page.next;
        assert_eq!(ids(&list(&TokenFilter { before, ..all.clone() }).await), ["a"]);
        let method = Some("token".to_owned());
        assert_eq!(ids(&list(&TokenFilter { method, ..all.clone() }).await), ["b"]);

        let seen = |second| NoteTokenUse {
            id: "b".into(),
            at: at(second),
        };
        for second in [50, 40] {
            house.0.note_token_use(seen(second)).await.expect("noted");
        }
        let revoke = |id: &str, by: &str, second| RevokeToken {
            id: id.into(),
            by: by.into(),
            at: at(second),
        };
        assert_eq!(
            house.0.revoke_token(revoke("x", "eve", 60)).await.expect("answered"),
            None
        );
        house.0.revoke_token(revoke("a", "bob", 60)).await.expect("answered");
        for by in ["bob", "eve"] {
            let token = house
                .0
                .revoke_token(revoke("b", by, 60))
                .await
                .expect("answered")
                .expect("there");
            assert_eq!((token.last_used_at, token.revoked_at), (Some(at(50)), Some(at(60))));
            assert_eq!(token.revoked_by.as_deref(), Some("bob"), "who did it first");
        }
        let live = TokenFilter {
            live_at: Some(at(61)),
            ..all.clone()
        };
        assert_eq!(ids(&list(&live).await), ["c"]);
        let revoked = |second| house.0.revoked_tokens(RevokedTokens { at: at(second) });
        assert_eq!(
            revoked(86_400).await.expect("read"),
            [("b".to_owned(), at(90 * 86_400))],
            "the other has run out"
        );
        let late = NewToken {
            created_at: at(40 * 86_400),
            ..token("d", "token", 100)
        };
        house.0.keep_token(KeepToken(late)).await.expect("kept");
        let rest = TokenFilter { limit: 9, ..all };
        assert_eq!(
            ids(&list(&rest).await),
            ["d", "b"],
            "what ran out thirty days ago is forgotten"
        );
    }

    pub(super) async fn the_audit_log_is_listed_by_each_filter_page_by_page(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in 0..10 {
            let line = RecordAudit {
                who: if n % 2 == 0 { "ann" } else { "bob" }.into(),
                from: "127.0.0.1".into(),
                action: if n < 5 { "login" } else { "run" }.into(),
                target: format!("t{n}"),
                result: "ok".into(),
                // The clock goes back now and then.
                at: at(if n == 6 { 4 } else { n }),
            };
            house.0.record_audit(line).await.expect("written");
        }
        let all = AuditFilter {
            who: None,
            action: None,
            target: None,
            since: None,
            until: None,
            before: None,
            limit: 4,
        };
        let seqs = async |filter: AuditFilter| {
            let page = house.0.list_audit(ListAudit(filter)).await.expect("listed");
            (page.items.iter().map(|line| line.seq).collect::<Vec<_>>(), page.next)
        };
        assert_eq!(seqs(all.clone()).await, (vec![10, 9, 8, 7], Some(7)));
        assert_eq!(
            seqs(AuditFilter {
                before: Some(3),
                ..all.clone()
            })
            .await,
            (vec![2, 1], None)
        );
        let table = [
            (
                AuditFilter {
                    who: Some("bob".into()),
                    before: Some(6),
                    ..all.clone()
                },
                vec![4, 2],
            ),
            (
                AuditFilter {
                    action: Some("run".into()),
                    who: Some("ann".into()),
                    ..all.clone()
                },
                vec![9, 7],
            ),
            (
                AuditFilter {
                    target: Some("t3".into()),
                    ..all.clone()
                },
                vec![4],
            ),
            (
                AuditFilter {
                    since: Some(at(8)),
                    ..all.clone()
                },
                vec![10, 9],
            ),
            (
                AuditFilter {
                    until: Some(at(2)),
                    ..all.clone()
                },
                vec![2, 1],
            ),
            (
                AuditFilter {
                    since: Some(at(4)),
                    until: Some(at(6)),
                    ..all.clone()
                },
                vec![7, 6, 5],
            ),
            (
                AuditFilter {
                    since: Some(at(100_000)),
                    ..all.clone()
                },
                vec![],
            ),
            (
                AuditFilter {
                    until: Some(at(-100_000)),
                    ..all.clone()
                },
                vec![],
            ),
            (
                AuditFilter {
                    who: Some("eve".into()),
                    ..all.clone()
                },
                vec![],
            ),
        ];
        for (filter, expected) in table {
            assert_eq!(seqs(filter.clone()).await, (expected, None), "{filter:?}");
        }
    }

    pub(super) async fn who_answers_in_a_chat_is_in_the_audit_log_whatever_came_of_it(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.has_paused(1, "build", "a#1").await;
        let in_slack = Responder {
            slack_id: Some("U1".into()),
            ..Responder::named("admin", Via::Slack)
        };
        for (event, by) in [("d-1", in_slack), ("d-2", Responder::named("bob", Via::Github))] {
            let event = house.recorded(event).await;
            let order = Settlement {
                decide: Some(Answer {
                    by,
                    ..answer(1, Decision::Approved, None)
                }),
                ..settlement(event)
            };
            house.settles(order.clone()).await;
            // Settled once, told once.
            house.settles(order).await;
        }
        let filter = AuditFilter {
            who: None,
            action: Some("approval".into()),
            target: Some(approval_id(1).to_string()),
            since: None,
            until: None,
            before: None,
            limit: 9,
        };
        let page = house.0.list_audit(ListAudit(filter)).await.expect("listed");
        let lines = page
            .items
            .iter()
            .map(|line| (line.who.as_str(), line.from.as_str(), line.result.as_str()));
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                ("bob", "github", "Somebody has answered already."),
                // By the id: whoever calls themselves admin there is not the operator.
                ("slack:U1", "slack", "ok"),
            ]
        );
    }

    pub(super) async fn a_chat_message_its_conversation_and_its_line_are_one_order(ground: impl Ground) {
        let house = House::at(&ground).await;
        let first = house.hears("m-1", "U1", 1, 0).await;
        assert!(matches!(first, MessageRecorded::Fresh(_)));
        assert_eq!(house.live("1.0", 10).await, [("U1".to_owned(), session(1))]);
        // Once per id, whatever conversation it is said to belong to.
        assert_eq!(house.hears("m-1", "U1", 9, 5).await, MessageRecorded::AlreadySeen);
        // One conversation per place and person: who comes with another id is told which.
        assert_eq!(
            house.hears("m-2", "U1", 2, 5).await,
            MessageRecorded::OtherSession(session(1))
        );
        assert_eq!(house.counts().await.unsettled_events, 1, "nothing was written");
        assert!(matches!(
            house.hears("m-2", "U1", 1, 5).await,
            MessageRecorded::Fresh(_)
        ));
        assert!(matches!(
            house.hears("m-3", "U2", 3, 6).await,
            MessageRecorded::Fresh(_)
        ));
        let both = [("U1".to_owned(), session(1)), ("U2".to_owned(), session(3))];
        assert_eq!(house.live("1.0", 10).await, both);
        assert_eq!(house.live("2.0", 10).await, []);
        // Of many at once that begin a conversation, one does.
        let many = futures_util::future::join_all((0..20).map(|n| house.hears_in("3.0", n)));
        let fresh = many
            .await
            .iter()
            .filter(|one| matches!(one, MessageRecorded::Fresh(_)))
            .count();
        assert_eq!(fresh, 1);
        assert_eq!(house.live("3.0", 10).await.len(), 1);
    }

    pub(super) async fn the_threads_of_the_latest_conversations_are_known_with_their_last_message(ground: impl Ground) {
        let house = House::at(&ground).await;
        let latest = async |since: i64, limit: usize| {
            let order = LatestThreads {
                platform: Source::Slack,
                since: at(since),
                limit,
            };
            let found = house.0.latest_threads(order).await.expect("read").into_iter();
            let found = found.map(|found| (found.channel, found.thread, found.last.to_string()));
            found.collect::<Vec<_>>()
        };
        assert_eq!(latest(0, 10).await, []);
        house.hears_at("m-1", "1.0", "U1", 1, 0).await;
        house.hears_at("m-2", "2.0", "U1", 2, 10).await;
        house.hears_at("m-3", "1.0", "U2", 3, 20).await;
        house.hears_at("m-4", "1.0", "U1", 1, 30).await;
        let of = |thread: &str, last: &str| ("C1".to_owned(), thread.to_owned(), last.to_owned());
        assert_eq!(latest(0, 10).await, [of("1.0", "m-4"), of("2.0", "m-2")]);
        assert_eq!(latest(0, 1).await, [of("1.0", "m-4")]);
        assert_eq!(latest(11, 10).await, [of("1.0", "m-4")]);
        // One that was ended counts as well: who was answered there may go on there.
        house
            .ends(SessionsToEnd::OfMessage("m-4".parse().expect("an id")))
            .await;
        assert_eq!(latest(0, 1).await, [of("1.0", "m-4")]);
    }

    pub(super) async fn a_conversation_falls_silent_and_is_ended_by_word(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.hears("m-1", "U1", 1, 0).await;
        // Half an hour later it is still the same, a second later it is not.
        assert!(matches!(
            house.hears("m-2", "U1", 1, 1_800).await,
            MessageRecorded::Fresh(_)
        ));
        assert_eq!(house.live("1.0", 3_600).await.len(), 1);
        assert_eq!(house.live("1.0", 3_601).await, []);
        assert!(matches!(
            house.hears("m-3", "U1", 2, 3_601).await,
            MessageRecorded::Fresh(_)
        ));
        assert_eq!(house.live("1.0", 3_601).await, [("U1".to_owned(), session(2))]);
        // One of several messages ends its own conversation only.
        house.hears("m-4", "U1", 2, 3_602).await;
        house.hears_at("m-5", "2.0", "U1", 5, 3_602).await;
        assert_eq!(house.ends(SessionsToEnd::OfMessage(name("m-4"))).await, 1);
        assert_eq!(house.ends(SessionsToEnd::OfMessage(name("m-4"))).await, 0);
        assert_eq!(house.live("2.0", 3_602).await.len(), 1);
        // The one that only began with the word ends all that its author has in the channel.
        house.hears_at("m-6", "4.0", "U1", 6, 3_603).await;
        assert_eq!(house.ends(SessionsToEnd::OfMessage(name("m-6"))).await, 2);
        assert_eq!(house.ends(SessionsToEnd::OfMessage(name("unknown"))).await, 0);
        house.hears_at("m-7", "5.0", "U1", 7, 3_604).await;
        let person = |user: &str| SessionsToEnd::OfPerson {
            platform: Source::Slack,
            channel: "C1".into(),
            user: user.into(),
        };
        assert_eq!(house.ends(person("U2")).await, 0);
        assert_eq!(house.ends(person("U1")).await, 1);
        // However old they are, a new one takes none of them away: how long they are kept is a setting.
        for n in 0..30 {
            house
                .hears_at(&format!("old-{n}"), &format!("{n}.5"), "U7", 100 + n, 4_000)
                .await;
        }
        house.hears_at("new", "9.9", "U7", 999, 1_000_000).await;
        assert_eq!(house.ends(person("U7")).await, 31);
    }

    pub(super) async fn a_run_is_told_the_newest_fifty_lines_in_order(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in 0..60 {
            house.hears(&format!("m-{n}"), "U1", 1, n).await;
        }
        let asks = house.hears("ask", "U1", 1, 100).await;
        let MessageRecorded::Fresh(seq) = asks else {
            panic!("{asks:?}")
        };
        house.hears("later", "U1", 1, 101).await;
        // An earlier message is answered while this one waits: that was said before.
        let answer = NewEffect {
            key: name("reply"),
            effect: Effect::SlackMessage {
                channel: "C1".into(),
                thread: "1.0".into(),
                text: "*yes*".into(),
                said: Some(format!("**yes**{}", "!".repeat(100_000))),
            },
            run: None,
            event: Some(name("m-59")),
        };
        house
            .settles(Settlement {
                effects: vec![answer.clone(), answer],
                ..settlement(seq)
            })
            .await;
        let mut run = new_run(1, "chat", "slack:C1:1.0", Overlap::Queue);
        run.reply_to = ReplyTo::SlackThread {
            channel: "C1".into(),
            thread: "1.0".into(),
            message: None,
        };
        run.cause.event = Some(name("ask"));
        house.0.open_runs(OpenRuns(vec![run])).await.expect("opened");
        let taken = house
            .0
            .take_queued_runs(TakeQueuedRuns { free: 1, at: at(200) })
            .await
            .expect("taken");
        let history = taken[0].context.0["history"].as_str().expect("a text").to_owned();
        let lines: Vec<_> = history.lines().collect();
        assert_eq!(lines.len(), 50);
        assert_eq!(lines[0], "ann: m-11 said");
        assert_eq!(lines[48], "ann: m-59 said");
        let answer = lines[49]
            .strip_prefix("assistant: **yes**!!!")
            .expect("as it was written, and once");
        assert!(answer.len() < 4_100 && answer.ends_with("! …"), "long lines are cut");
    }

    pub(super) async fn a_prompt_loses_its_buttons_wherever_it_is_answered(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in [1, 2, 3, 4] {
            let mut run = new_run(n, "build", &format!("acme/site#{n}"), Overlap::Queue);
            run.reply_to = ReplyTo::SlackThread {
                channel: "C1".into(),
                thread: format!("{n}.0"),
                message: None,
            };
            house.0.open_runs(OpenRuns(vec![run])).await.expect("opened");
            house.takes(1).await;
            let prompt = NewEffect {
                key: name(&format!("run:{}/plan/1/gate", run_id(n))),
                effect: Effect::SlackApproval {
                    channel: "C1".into(),
                    thread: format!("{n}.0"),
                    text: "Good?".into(),
                    approval: approval_id(n),
                },
                run: Some(run_id(n)),
                event: None,
            };
            let mut question = question_of(n);
            question.rules.deadline = (n == 3).then(|| at(15));
            question.head_sha = (n == 4).then(|| "a1".into());
            let order = RecordStep {
                run: run_id(n),
                steps: vec![
                    started("plan", 1),
                    ended("plan", 1, PhaseStatus::Succeeded, ""),
                    Step::Paused(question),
                ],
                effects: vec![prompt],
                at: at(10),
            };
            house.0.record_step(order).await.expect("recorded");
        }
        let here = GatesHere {
            channel: "C1".into(),
            thread: "2.0".into(),
        };
        let gates = house.0.gates_here(here).await.expect("read");
        assert_eq!(gates.iter().map(|gate| gate.id).collect::<Vec<_>>(), [approval_id(2)]);
        let closed = async |n| {
            let order = EffectsOf {
                run: Some(run_id(n)),
                event: None,
            };
            let effects = house.0.effects_of(order).await.expect("read");
            effects.into_iter().find_map(|effect| match effect.effect {
                Effect::SlackApprovalClosed { text, message, .. } => Some((text, message.to_string())),
                _ => None,
            })
        };
        assert_eq!(closed(1).await, None);
        let yes = Answer {
            approval: approval_id(1),
            decision: Decision::Approved,
            by: Responder::named("<ann>", Via::Slack),
            response: None,
            saw: None,
            at: at(20),
        };
        house.decides(yes).await;
        let (text, message) = closed(1).await.expect("it is edited");
        assert_eq!(text, "Good?\n\n_Approved by &lt;ann&gt;._");
        assert_eq!(message, format!("run:{}/plan/1/gate", run_id(1)));
        let cancel = EndRun {
            run: run_id(2),
            status: RunStatus::Cancelled,
            error: "by bob".into(),
            at: at(30),
        };
        house.0.end_run(cancel).await.expect("ended");
        assert!(
            closed(2)
                .await
                .expect("it is edited")
                .0
                .contains("ended without an answer")
        );
        let late = CloseGate {
            answer: Answer {
                by: Responder::deadline(),
                at: at(30),
                ..answer(3, Decision::Rejected, Some("no answer by then"))
            },
            effects: Vec::new(),
        };
        house.0.close_gate(late).await.expect("closed");
        let (text, _) = closed(3).await.expect("it is edited");
        assert_eq!(text, "Good?\n\n_Rejected by default: no answer by then._");
        let push = Settlement {
            lapse: Some(Lapse {
                subject: Subject::stored("acme/site#4".into()),
                reason: "new commits were pushed".into(),
            }),
            ..settlement(house.recorded("d-push").await)
        };
        assert_eq!(house.settles(push).await.lapsed, 1);
        let (text, _) = closed(4).await.expect("it is edited");
        assert_eq!(text, "Good?\n\n_This question has lapsed: new commits were pushed._");
        // What the prompt's effect came to is what its edit builds on.
        let key: EffectKey = message.parse().expect("valid");
        assert_eq!(house.0.result_of(ResultOf(key.clone())).await, Ok(None));
        let slack = ReadDueEffects {
            kinds: "slack.",
            ..due_at(100)
        };
        let due = house.0.read_due_effects(slack).await.expect("read").due;
        let prompt = due.iter().find(|effect| effect.key == key).expect("due").seq;
        house.claims(prompt).await;
        let done = AttemptOutcome::Done {
            result: "C1/5.0".into(),
        };
        house.attempted(prompt, 1, done).await;
        assert_eq!(house.0.result_of(ResultOf(key)).await, Ok(Some("C1/5.0".into())));
    }

    pub(super) async fn a_question_goes_before_chatter(ground: impl Ground) {
        let house = House::at(&ground).await;
        let said = |key: &str, effect| NewEffect {
            key: name(key),
            effect,
            run: None,
            event: None,
        };
        let chatter = |n: u32| {
            let effect = Effect::SlackMessage {
                channel: "C1".into(),
                thread: format!("{n}.0"),
                text: "words".into(),
                said: None,
            };
            said(&format!("chatter-{n}"), effect)
        };
        let question = Effect::SlackApproval {
            channel: "C1".into(),
            thread: "9.0".into(),
            text: "Good?".into(),
            approval: approval_id(1),
        };
        let effects = vec![chatter(1), chatter(2), chatter(9), said("question", question)];
        house.says(effects).await;
        let first = ReadDueEffects {
            kinds: "slack.",
            limit: 2,
            ..due_at(100)
        };
        let (keys, _) = house.due(first).await;
        assert_eq!(keys, ["chatter-1", "question"], "even of its own thread's");
    }

    pub(super) async fn scratch_is_kept_by_the_entry(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.has_asked(1, |_| {}).await;
        for (key, value) in [
            ("talk", json!({"iteration": 1})),
            ("other", json!([1])),
            ("talk", json!({"iteration": 2})),
        ] {
            let key = key.to_owned();
            house.steps(1, vec![Step::Scratch { key, value }]).await;
        }
        let scratch = house.run(1).await.scratch;
        assert_eq!(json!(scratch), json!({"other": [1], "talk": {"iteration": 2}}));
    }

    pub(super) async fn a_run_that_is_put_down_waits_at_its_place_and_counts_no_restart(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in [1, 2] {
            house.opens(n, "build", "a#1", Overlap::Queue).await;
        }
        assert_eq!(house.takes(5).await, [run_id(1)]);
        house.steps(1, vec![started("plan", 1), Step::PutDown]).await;
        assert_eq!(house.status(1).await, RunStatus::Queued);
        let order = RecoverRuns { most: 0, at: at(20) };
        assert_eq!(house.0.recover_runs(order).await, Ok((0, 0)), "nothing to mend");
        assert_eq!(house.takes(5).await, [run_id(1)], "before the one behind it");
        assert_eq!(house.run(1).await.summary.restart_count, 0);
    }

    pub(super) async fn everything_is_there_after_a_restart(ground: impl Ground) {
        let house = House::at(&ground).await;
        let seq = house.recorded("d-1").await;
        house.has_paused(1, "build", "a#1").await;
        house.says(vec![comment("e-1", "acme")]).await;
        let claimed = house.effect("e-1").await.seq;
        house.claims(claimed).await;
        house
            .0
            .claim_key(ClaimKey {
                key: "k".into(),
                request: "r".into(),
                at: at(0),
            })
            .await
            .expect("claimed");
        // Ordered and never awaited: what is queued when the store is closed is done all the same.
        let unasked = house.0.record_event(RecordEvent(event("d-2")));
        house.0.close().await.expect("closed");
        drop((unasked, house));

        let house = House::at(&ground).await;
        assert_eq!(
            house.0.record_event(RecordEvent(event("d-1"))).await,
            Ok(Recorded::AlreadySeen)
        );
        let unsettled = house
            .0
            .read_unsettled(ReadUnsettled {
                after: EventSeq(0),
                limit: 9,
            })
            .await
            .expect("read");
        let ids: Vec<_> = unsettled.iter().map(|e| e.envelope.id.as_str()).collect();
        assert_eq!((ids, unsettled[0].seq), (vec!["d-1", "d-2"], seq));
        assert_eq!(house.status(1).await, RunStatus::Paused);
        let effect = house.effect("e-1").await;
        assert_eq!(
            (effect.seq, effect.state, effect.attempts),
            (claimed, EffectState::InFlight, 1)
        );
        assert_eq!(house.claims(claimed).await, Some(2));
        assert_eq!(
            house.decides(answer(1, Decision::Approved, None)).await,
            Decided::Counted { run: run_id(1) }
        );
        let other = ClaimKey {
            key: "k".into(),
            request: "r2".into(),
            at: at(1),
        };
        assert_eq!(house.0.claim_key(other).await, Ok(Claimed::OtherRequest));
    }

    const ALL_OLD: i64 = 1_000_000;

    pub(super) async fn events_that_are_over_and_old_go_and_no_other(ground: impl Ground) {
        let house = House::at(&ground).await;
        for (id, seconds) in [
            ("old", 0),
            ("aside", 0),
            ("waits", 0),
            ("works", 0),
            ("unsaid", 0),
            ("young", 50),
        ] {
            house.recorded_at(id, seconds).await;
        }
        let seq = async |id: &str| house.event(id).await.expect("there").0.seq;
        house.settles(settlement(seq("old").await)).await;
        house.settles(settlement(seq("young").await)).await;
        let aside = Settlement {
            quarantined: true,
            ..settlement(seq("aside").await)
        };
        house.settles(aside).await;
        let works = Settlement {
            open: Some(new_run(1, "build", "a#1", Overlap::Queue)),
            ..settlement(seq("works").await)
        };
        house.settles(works).await;
        let unsaid = Settlement {
            effects: vec![NewEffect {
                event: Some(name("unsaid")),
                ..comment("e-1", "acme")
            }],
            ..settlement(seq("unsaid").await)
        };
        house.settles(unsaid).await;

        let ids = async || house.lists_events(EventFilter::default()).await.0;
        assert_eq!(house.prunes(Prunable::Events, 0).await, 0, "nothing is as old as that");
        assert_eq!(house.prunes(Prunable::Events, 40).await, 2);
        assert_eq!(ids().await, ["young", "unsaid", "works", "waits"]);
        assert!(house.event("old").await.is_none());
        // As these come to an end, they go as well; the newest stays for its position.
        house.cancels(1, 41).await;
        house.does("e-1").await;
        house.settles(settlement(seq("waits").await)).await;
        assert_eq!(house.prunes(Prunable::Events, ALL_OLD).await, 3);
        assert_eq!(ids().await, ["young"]);
        // What is forgotten is new again. That is why nothing is forgotten that may still be sent again.
        let again = house.0.record_event(RecordEvent(event("old"))).await;
        assert!(matches!(again, Ok(Recorded::Fresh(_))));
        assert_eq!(
            house.0.record_event(RecordEvent(event("young"))).await,
            Ok(Recorded::AlreadySeen)
        );
        let totals = house
            .0
            .read_totals(ReadTotals { live_since: at(0) })
            .await
            .expect("read");
        assert_eq!(totals.events, 7, "what is gone stays counted: {totals:?}");
    }

    pub(super) async fn payloads_go_and_leave_their_events(ground: impl Ground) {
        let house = House::at(&ground).await;
        for id in ["old", "aside", "waits", "works", "young"] {
            house.recorded_at(id, if id == "young" { 50 } else { 0 }).await;
        }
        let seq = async |id: &str| house.event(id).await.expect("there").0.seq;
        for id in ["old", "young"] {
            house.settles(settlement(seq(id).await)).await;
        }
        let aside = Settlement {
            quarantined: true,
            ..settlement(seq("aside").await)
        };
        house.settles(aside).await;
        let works = Settlement {
            open: Some(new_run(1, "build", "a#1", Overlap::Queue)),
            ..settlement(seq("works").await)
        };
        house.settles(works).await;
        assert_eq!(house.prunes(Prunable::Payloads, 40).await, 1);
        let mut without = Vec::new();
        for id in ["old", "aside", "waits", "works", "young"] {
            let (stored, raw) = house.event(id).await.expect("it stays");
            assert_eq!(stored.envelope.body, "it broke");
            without.extend(raw.is_none().then_some(id));
        }
        assert_eq!(without, ["old"]);
        // It can be repeated all the same: what is routed is the envelope.
        let order = ReplayEvent {
            id: "old".into(),
            as_new: Some(name("again")),
            at: at(60),
        };
        assert!(matches!(house.0.replay_event(order).await, Ok(Replayed::Fresh(_))));
        assert!(house.event("again").await.expect("there").1.is_none());
    }

    pub(super) async fn runs_that_are_over_and_old_go_with_all_that_is_theirs(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.has_paused(1, "build", "a#1").await;
        house.has_paused(2, "build", "a#2").await;
        for n in [3, 4, 5, 6, 7, 8] {
            house.opens(n, "build", &format!("a#{n}"), Overlap::Queue).await;
        }
        let thread = NewRun {
            reply_to: ReplyTo::SlackThread {
                channel: "C1".into(),
                thread: "1.0".into(),
                message: None,
            },
            ..new_run(9, "build", "a#9", Overlap::Queue)
        };
        house.0.open_runs(OpenRuns(vec![thread])).await.expect("opened");
        assert_eq!(house.takes(1).await, [run_id(3)]);
        house.steps(3, vec![started("plan", 1)]).await;
        // 1 waits for an answer, 3 works, 4 is queued. The others are over, but: of 5 something is to be said, 6 has its
        // schedule not heard of, 8 has the newest phase, and of 9 its thread has not heard.
        house.cancels(2, 5).await;
        let said = RecordStep {
            run: run_id(5),
            steps: vec![over(RunStatus::Succeeded, None)],
            effects: vec![NewEffect {
                run: Some(run_id(5)),
                ..comment("e-5", "acme")
            }],
            at: at(5),
        };
        house.0.record_step(said).await.expect("written");
        let fired = house.fires("nightly", &[1]).await[0];
        house.hits(fired, TargetState::Live, 6).await;
        let phases = vec![
            started("plan", 1),
            ended("plan", 1, PhaseStatus::Succeeded, "x"),
            over(RunStatus::Succeeded, None),
        ];
        for n in [7, 8] {
            house.steps(n, phases.clone()).await;
        }
        for n in [6, 9] {
            house.cancels(n, 5).await;
        }

        assert_eq!(house.prunes(Prunable::Runs, 3).await, 0);
        let pruned = house.prunes_once(Prunable::Runs, 100, 0, 100).await;
        assert_eq!((pruned.removed, pruned.next), (2, None));
        assert_eq!(pruned.runs, [run_id(2), run_id(7)]);
        let (left, _, total) = house.lists_runs(RunFilter::default()).await;
        assert_eq!(left, [9, 8, 6, 5, 4, 3, 1].map(run_id));
        assert_eq!(total, 7, "the kept counts are the true ones");
        assert!(house.0.load_run(LoadRun(run_id(2))).await.expect("read").is_none());
        let question = house.0.read_approval(ReadApproval(approval_id(2))).await;
        assert!(question.expect("read").is_none());
        assert_eq!(
            house.question(1).await.status,
            ApprovalStatus::Pending,
            "of the live one nothing is gone"
        );
        assert_eq!(house.run(1).await.phases.len(), 1);
        // It goes on as if nothing had been.
        let counted = house.decides(answer(1, Decision::Approved, None)).await;
        assert_eq!(counted, Decided::Counted { run: run_id(1) });
        // When the last word is spoken the others go.
        house.does("e-5").await;
        house.hits(fired, TargetState::Failed, 6).await;
        let told = TellEnds {
            ends: vec![(run_id(9), Vec::new())],
            at: at(9),
        };
        house.0.tell_ends(told).await.expect("written");
        assert_eq!(house.prunes(Prunable::Runs, ALL_OLD).await, 3);
        assert_eq!(house.lists_runs(RunFilter::default()).await.0, [8, 4, 3, 1].map(run_id));
    }

    pub(super) async fn replies_and_deliveries_that_are_over_and_old_go_and_no_other(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.recorded("waits").await;
        house.opens(1, "build", "a#1", Overlap::Queue).await;
        let of_run = |key: &str, owner: &str, n| NewEffect {
            run: Some(run_id(n)),
            ..comment(key, owner)
        };
        let of_event = NewEffect {
            event: Some(name("waits")),
            ..comment("of-event", "e")
        };
        let effects = vec![
            comment("done", "a"),
            comment("open", "a"),
            of_run("of-live", "b", 1),
            of_run("said", "c", 2),
            of_run("edit", "c", 2),
            of_event,
        ];
        house.says(effects).await;
        for key in ["done", "of-live", "said", "of-event"] {
            house.does(key).await;
        }
        let queued = house
            .queues(vec![delivery("d-1", "w-1"), delivery("d-2", "w-2")], Some(60))
            .await;
        let seq = |n: usize| queued[n].expect("new");
        house.settles_deliveries(attempt(seq(0), 1, done()), 60).await;
        house.settles_deliveries(attempt(seq(1), 1, retry(300)), 60).await;

        assert_eq!(
            house.prunes(Prunable::Deliveries, 60).await,
            0,
            "nothing is as old as that"
        );
        assert_eq!(house.prunes(Prunable::Deliveries, 61).await, 2);
        let there = async |key: &str| {
            let result = house.0.result_of(ResultOf(name(key))).await.expect("read");
            result.is_some()
        };
        assert!(!there("done").await);
        for key in ["of-live", "said", "of-event"] {
            assert!(there(key).await, "{key} is needed still");
        }
        let twice = house.says(vec![of_run("of-live", "b", 1)]).await;
        assert_eq!(twice, 0, "what a live run has said is not said again");
        assert_eq!(
            house.due_now().await,
            ["open", "edit"],
            "each is the head of its lane still"
        );
        let gone = house.0.read_delivery(ReadDelivery { id: "d-1".into() }).await;
        assert_eq!(gone.expect("read").map(|shown| shown.row.state), None);
        assert_eq!(
            house.shows("d-2").await.body.as_deref(),
            Some(r#"{"id":"d-2","event":"task.sync"}"#),
            "what both had in common stays for the other"
        );
        house
            .settles_deliveries(attempt(seq(1), 1, AttemptOutcome::Dead { error: "gone".into() }), 70)
            .await;
        assert_eq!(house.prunes(Prunable::Deliveries, ALL_OLD).await, 1);
        for key in ["open", "edit"] {
            house.does(key).await;
        }
        house.cancels(1, 80).await;
        let waits = house.event("waits").await.expect("there").0.seq;
        house.settles(settlement(waits)).await;
        assert_eq!(house.prunes(Prunable::Deliveries, ALL_OLD).await, 5);
        assert_eq!(house.counts().await.open_effects, 0);
    }

    pub(super) async fn firings_that_are_over_and_old_go_but_for_the_latest(ground: impl Ground) {
        let house = House::at(&ground).await;
        let a = house.fires("a", &[1, 2, 3, 4]).await;
        let b = house.fires("b", &[1]).await;
        // The second is under way, and of the third a run is.
        house.opens(1, "build", "a#1", Overlap::Queue).await;
        house.hits(a[2], TargetState::Live, 1).await;
        for seq in [a[0], a[2], a[3], b[0]] {
            house.over_with(seq).await;
        }
        assert_eq!(house.prunes(Prunable::Firings, 10).await, 0);
        assert_eq!(house.prunes(Prunable::Firings, ALL_OLD).await, 1);
        let there = async |seq| house.0.read_firing(ReadFiring(seq)).await.expect("read").is_some();
        assert!(!there(a[0]).await);
        for seq in [a[1], a[2], a[3], b[0]] {
            assert!(there(seq).await, "{seq:?}");
        }
        // Where the schedule stands is no matter of its ledger: no instant fires again.
        assert_eq!(
            house.0.cron_states(CronStates).await.expect("read")["a"].cursor,
            Some(at(240))
        );
        house.hits(a[2], TargetState::Succeeded, 1).await;
        house.over_with(a[1]).await;
        assert_eq!(house.prunes(Prunable::Firings, ALL_OLD).await, 2);
        let latest = house.0.latest_firings(LatestFirings).await.expect("read");
        assert_eq!(latest.len(), 2);
    }

    pub(super) async fn conversations_go_when_nothing_of_them_goes_on(ground: impl Ground) {
        let house = House::at(&ground).await;
        for (n, id) in [(1, "over"), (2, "waits"), (3, "works"), (4, "late")] {
            house
                .hears_at(id, &format!("{n}.0"), "U1", n, if n == 4 { 500 } else { 0 })
                .await;
        }
        let seq = async |id: &str| house.event(id).await.expect("there").0.seq;
        house.settles(settlement(seq("over").await)).await;
        house.settles(settlement(seq("late").await)).await;
        let works = Settlement {
            open: Some(new_run(1, "chat", "slack:C1", Overlap::Queue)),
            ..settlement(seq("works").await)
        };
        house.settles(works).await;
        let sessions = async || {
            let list = ListSessions {
                live_only: false,
                user: None,
                channel: None,
                live_since: at(0),
                before: None,
                limit: 10,
            };
            let page = house.0.list_sessions(list).await.expect("listed");
            page.0.items.len()
        };
        assert_eq!(sessions().await, 4);
        assert_eq!(house.prunes(Prunable::Conversations, 400).await, 1);
        assert_eq!(sessions().await, 3);
        house.settles(settlement(seq("waits").await)).await;
        house.cancels(1, 5).await;
        assert_eq!(house.prunes(Prunable::Conversations, ALL_OLD).await, 3);
        assert_eq!(sessions().await, 0);
    }

    pub(super) async fn pruning_goes_in_steps_and_no_position_is_used_twice(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in 1..=10 {
            let seq = house.recorded(&format!("d-{n}")).await;
            assert_eq!(seq.0, n);
            let order = Settlement {
                open: Some(new_run(n as u128, "build", &format!("a#{n}"), Overlap::Queue)),
                effects: vec![comment(&format!("e-{n}"), "acme")],
                ..settlement(seq)
            };
            house.settles(order).await;
            house.takes(1).await;
            let steps = vec![started("plan", 1), over(RunStatus::Succeeded, None)];
            house.steps(n as u128, steps).await;
            house.does(&format!("e-{n}")).await;
        }
        let mut after = 0;
        for (removed, next) in [(4, Some(4)), (4, Some(8)), (1, None)] {
            let pruned = house.prunes_once(Prunable::Events, ALL_OLD, after, 4).await;
            assert_eq!((pruned.removed, pruned.next), (removed, next), "after {after}");
            after = pruned.next.unwrap_or(after);
        }
        assert_eq!(house.recorded("d-11").await, EventSeq(11));
        assert_eq!(house.prunes(Prunable::Deliveries, ALL_OLD).await, 10);
        assert_eq!(house.prunes(Prunable::Runs, ALL_OLD).await, 9);
        house.says(vec![comment("e-11", "acme")]).await;
        assert_eq!(house.effect("e-11").await.seq, EffectSeq(11));
        house.opens(11, "build", "a#11", Overlap::Queue).await;
        house.takes(1).await;
        house.steps(11, vec![started("plan", 1)]).await;
        let order = ListExecutions {
            before: None,
            offset: 0,
            limit: 1,
        };
        let page = house.0.list_executions(order).await.expect("listed");
        assert_eq!(page.next, Some(11), "the phases before it were ten");
        let newest = house
            .lists_runs(RunFilter {
                limit: 1,
                ..RunFilter::default()
            })
            .await;
        assert_eq!((newest.0, newest.1), (vec![run_id(11)], Some(11)));
    }

    pub(super) async fn the_audit_log_outlives_everything(ground: impl Ground) {
        let house = House::at(&ground).await;
        for n in 0..5 {
            let line = RecordAudit {
                who: "ann".into(),
                from: "127.0.0.1".into(),
                action: "login".into(),
                target: n.to_string(),
                result: "ok".into(),
                at: at(n),
            };
            house.0.record_audit(line).await.expect("written");
        }
        for what in Prunable::ALL {
            house.prunes(*what, ALL_OLD).await;
        }
        let list = ListAudit(AuditFilter {
            who: None,
            action: None,
            target: None,
            since: None,
            until: None,
            before: None,
            limit: 10,
        });
        assert_eq!(house.0.list_audit(list).await.expect("listed").items.len(), 5);
    }

    pub(super) async fn a_closed_store_says_so(ground: impl Ground) {
        let house = House::at(&ground).await;
        house.0.close().await.expect("closed");
        house.0.close().await.expect("closed again");
        assert_eq!(
            house.0.record_event(RecordEvent(event("d-1"))).await,
            Err(StoreError::Closed)
        );
        assert!(matches!(
            house.0.load_run(LoadRun(run_id(1))).await,
            Err(StoreError::Closed)
        ));
        assert_eq!(house.0.count_store(CountStore).await, Err(StoreError::Closed));
    }

    pub(super) async fn the_door_answers_every_arbiter(ground: impl Ground) {
        use actix::prelude::*;
        let store = ground.open();
        let mut doors: Vec<Recipient<RecordEvent>> = vec![StoreDoor::new(Arc::clone(&store)).start().recipient()];
        let arbiter = Arbiter::new();
        let behind = Arc::clone(&store);
        doors.push(StoreDoor::start_in_arbiter(&arbiter.handle(), move |_| StoreDoor::new(behind)).recipient());
        for (n, door) in doors.iter().enumerate() {
            let sent = (0..100).map(|m| door.send(RecordEvent(event(&format!("d-{n}-{m}")))));
            for answer in join_all(sent).await {
                assert!(matches!(answer.expect("the door is open"), Ok(Recorded::Fresh(_))));
            }
        }
        let audit: Recipient<RecordAudit> = StoreDoor::new(Arc::clone(&store)).start().recipient();
        let line = RecordAudit {
            who: "ann".into(),
            from: "127.0.0.1".into(),
            action: "login".into(),
            target: "-".into(),
            result: "ok".into(),
            at: at(0),
        };
        assert_eq!(audit.send(line).await.expect("the door is open"), Ok(()));
        let off: Recipient<SwitchedOff> = StoreDoor::new(Arc::clone(&store)).start().recipient();
        assert_eq!(off.send(SwitchedOff).await.expect("the door is open"), Ok(Vec::new()));
        let switch: Recipient<SwitchWorkflow> = StoreDoor::new(Arc::clone(&store)).start().recipient();
        for (workflow, enabled, left) in [
            ("chat", false, vec!["chat"]),
            ("build", false, vec!["build", "chat"]),
            ("chat", false, vec!["build", "chat"]),
            ("chat", true, vec!["build"]),
            ("triage", true, vec!["build"]),
        ] {
            let order = SwitchWorkflow {
                workflow: workflow.parse().expect("a name"),
                enabled,
                by: "ann".into(),
                at: at(1),
            };
            assert_eq!(switch.send(order).await.expect("the door is open"), Ok(()));
            let left: Vec<String> = left.into_iter().map(str::to_owned).collect();
            assert_eq!(off.send(SwitchedOff).await.expect("the door is open"), Ok(left));
        }
        let house = House(store);
        assert_eq!(house.counts().await.unsettled_events, 200);
        arbiter.stop();
    }

    /// One order of a random sequence. Small numbers, so that they meet.
    #[derive(Debug, Clone)]
    enum Order {
        Open {
            n: u8,
            subject: u8,
            workflow: bool,
            overlap: u8,
        },
        Take {
            free: u8,
        },
        Pause {
            n: u8,
        },
        Decide {
            n: u8,
            yes: bool,
        },
        End {
            n: u8,
            from_outside: bool,
        },
        Recover,
        Record {
            n: u8,
        },
        Settle {
            n: u8,
            run: u8,
            subject: u8,
        },
        Claim {
            n: u8,
        },
        Attempt {
            n: u8,
            outcome: u8,
        },
        Prune {
            what: u8,
        },
    }

    fn orders() -> impl Strategy<Value = Vec<Order>> {
        let order = prop_oneof![
            4 => (0..40_u8, 0..3_u8, any::<bool>(), 0..3_u8)
                .prop_map(|(n, subject, workflow, overlap)| Order::Open { n, subject, workflow, overlap }),
            4 => (0..4_u8).prop_map(|free| Order::Take { free }),
            3 => (0..40_u8).prop_map(|n| Order::Pause { n }),
            3 => (0..40_u8, any::<bool>()).prop_map(|(n, yes)| Order::Decide { n, yes }),
            3 => (0..40_u8, any::<bool>()).prop_map(|(n, from_outside)| Order::End { n, from_outside }),
            1 => Just(Order::Recover),
            3 => (0..10_u8).prop_map(|n| Order::Record { n }),
            3 => (0..12_u8, 0..40_u8, 0..3_u8).prop_map(|(n, run, subject)| Order::Settle { n, run, subject }),
            2 => (0..12_u8).prop_map(|n| Order::Claim { n }),
            2 => (0..12_u8, 0..4_u8).prop_map(|(n, outcome)| Order::Attempt { n, outcome }),
            2 => (0..10_u8).prop_map(|what| Order::Prune { what }),
        ];
        prop::collection::vec(order, 1..60)
    }

    pub(super) async fn any_sequence_of_orders_keeps_the_invariants(ground: impl Ground) {
        // Each case works on the same ground under numbers of its own; opening a fresh one each time would only be slower.
        let house = House::at(&ground).await;
        // A thread of its own, because a case that fails is made smaller by a runner that knows no futures.
        let worker = std::thread::spawn(move || {
            let reactor = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a reactor");
            let case = std::cell::Cell::new(0_u128);
            let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
                cases: 50,
                failure_persistence: None,
                ..ProptestConfig::default()
            });
            runner.run(&orders(), |orders| {
                case.set(case.get() + 1);
                reactor.block_on(play(&house, case.get(), &orders));
                Ok(())
            })
        });
        if let Err(failed) = worker.join().expect("the runner unwinds no further") {
            panic!("{failed}");
        }
    }

    async fn play(house: &House, case: u128, orders: &[Order]) {
        let id = |n: u8| 1_000 * (case + 1) + u128::from(n);
        let subject_of = |n: u8| format!("case{case}#{n}");
        let mut settled = std::collections::HashSet::new();
        let mut places = std::collections::HashMap::new();
        let mut last = EventSeq(0);
        for order in orders {
            match *order {
                Order::Open {
                    n,
                    subject,
                    workflow,
                    overlap,
                } => {
                    let workflow = if workflow { "build" } else { "triage" };
                    house
                        .opens(
                            id(n),
                            workflow,
                            &subject_of(subject),
                            Overlap::ALL[usize::from(overlap)],
                        )
                        .await;
                }
                Order::Take { free } => drop(house.takes(free.into()).await),
                Order::Pause { n } => {
                    // Only a run that is at work can ask.
                    if let Ok(Some(run)) = house.0.load_run(LoadRun(run_id(id(n)))).await
                        && run.summary.status == RunStatus::Running
                    {
                        house
                            .steps(id(n), vec![started("plan", 1), paused(id(n), "plan")])
                            .await;
                    }
                }
                Order::Decide { n, yes } => {
                    let decision = if yes { Decision::Approved } else { Decision::Rejected };
                    house.decides(answer(id(n), decision, None)).await;
                }
                Order::End { n, from_outside: true } => {
                    let order = EndRun {
                        run: run_id(id(n)),
                        status: RunStatus::Cancelled,
                        error: "no".into(),
                        at: at(5),
                    };
                    house.0.end_run(order).await.expect("written");
                }
                Order::End { n, from_outside: false } => {
                    let order = RecordStep {
                        run: run_id(id(n)),
                        steps: vec![over(RunStatus::Succeeded, None)],
                        effects: vec![],
                        at: at(5),
                    };
                    // A run that was never opened takes no step.
                    let _ = house.0.record_step(order).await;
                }
                Order::Recover => drop(
                    house
                        .0
                        .recover_runs(RecoverRuns { most: 2, at: at(6) })
                        .await
                        .expect("written"),
                ),
                Order::Record { n } => {
                    let new = event(&format!("case{case}-{n}"));
                    if let Recorded::Fresh(seq) = house.0.record_event(RecordEvent(new)).await.expect("recorded") {
                        assert!(places.insert(n, seq).is_none(), "one id was recorded twice");
                        assert!(seq > last, "a position was used twice");
                        last = seq;
                    }
                }
                Order::Settle { n, run, subject } => {
                    let Some(seq) = places.get(&n) else { continue };
                    let order = Settlement {
                        open: Some(new_run(id(run), "build", &subject_of(subject), Overlap::Queue)),
                        effects: vec![comment(&format!("case{case}-{n}"), &format!("case{case}-{}", n % 3))],
                        ..settlement(*seq)
                    };
                    let fresh = house.settles(order).await.fresh;
                    assert_eq!(fresh, settled.insert(n), "an event is settled exactly once");
                }
                Order::Claim { n } => {
                    if let Some(effect) = effect_of(house, case, n).await {
                        house.claims(effect.seq).await;
                    }
                }
                Order::Attempt { n, outcome } => {
                    if let Some(effect) = effect_of(house, case, n).await.filter(|effect| effect.attempts > 0) {
                        let outcome = match outcome {
                            0 => done(),
                            1 => retry(50),
                            2 => retry(1_000),
                            _ => AttemptOutcome::Dead { error: "no".into() },
                        };
                        house.attempted(effect.seq, effect.attempts, outcome).await;
                    }
                }
                Order::Prune { what } => {
                    let live = |counts: StoreCounts| (counts.unsettled_events, counts.live_runs, counts.open_effects);
                    let before = live(house.counts().await);
                    house
                        .prunes(Prunable::ALL[usize::from(what) % Prunable::ALL.len()], 1_000_000)
                        .await;
                    assert_eq!(live(house.counts().await), before, "something live was removed");
                    // What is gone was over, and may come in anew.
                    for n in settled.clone() {
                        if house.event(&format!("case{case}-{n}")).await.is_none() {
                            settled.remove(&n);
                            places.remove(&n);
                        }
                    }
                    for n in places.keys() {
                        let there = house.event(&format!("case{case}-{n}")).await;
                        assert!(there.is_some(), "an event that waits was removed");
                    }
                }
            }
            check(house).await;
        }
        // Nobody waits for ever: as places become free, every queued run is taken up.
        for n in 0..40 {
            house.decides(answer(id(n), Decision::Approved, None)).await;
        }
        loop {
            let live = house
                .lists_runs(RunFilter {
                    statuses: vec![RunStatus::Running],
                    ..RunFilter::default()
                })
                .await
                .0;
            for run in live {
                let order = EndRun {
                    run,
                    status: RunStatus::Cancelled,
                    error: "no".into(),
                    at: at(5),
                };
                house.0.end_run(order).await.expect("written");
            }
            if house.takes(100).await.is_empty() {
                break;
            }
        }
        let counts = house.counts().await;
        assert_eq!(counts.live_runs, 0, "a queued run was forgotten");
        // Neither does an effect: as heads leave, all of them are given out.
        loop {
            let order = due_at(1_000_000);
            let due = house.0.read_due_effects(order).await.expect("read").due;
            if due.is_empty() {
                break;
            }
            for effect in due {
                let attempt = house.claims(effect.seq).await.expect("it is open");
                house.attempted(effect.seq, attempt, done()).await;
            }
        }
        assert_eq!(house.counts().await.open_effects, 0, "an effect was forgotten");
    }

    async fn effect_of(house: &House, case: u128, n: u8) -> Option<StoredEffect> {
        let due = house.0.read_due_effects(due_at(1_000_000)).await.expect("read").due;
        let key = format!("case{case}-{n}");
        due.into_iter().find(|effect| effect.key.as_str() == key)
    }

    async fn check(house: &House) {
        let filter = RunFilter {
            statuses: vec![RunStatus::Running, RunStatus::Paused],
            limit: 1_000,
            ..RunFilter::default()
        };
        let (page, total) = house.0.list_runs(ListRuns(filter)).await.expect("listed");
        assert_eq!(page.items.len() as u64, total, "the kept counts are the true ones");
        let mut seen = std::collections::HashSet::new();
        for run in &page.items {
            assert!(
                seen.insert((run.workflow.clone(), run.subject.clone())),
                "two runs of {} {} are live at once",
                run.workflow,
                run.subject
            );
        }
        // Of each lane the earliest that is open comes first, and only if it is due.
        let due = house
            .0
            .read_due_effects(ReadDueEffects {
                limit: 1_000,
                ..due_at(100)
            })
            .await
            .expect("read")
            .due;
        let open = house
            .0
            .read_due_effects(ReadDueEffects {
                limit: 1_000,
                ..due_at(1_000_000)
            })
            .await
            .expect("read")
            .due;
        for effect in &due {
            let overtaken = open.iter().find(|other| {
                other.effect.lane() == effect.effect.lane() && other.seq < effect.seq && other.due_at > at(100)
            });
            assert!(
                overtaken.is_none(),
                "{} overtook {:?}",
                effect.key,
                overtaken.map(|o| &o.key)
            );
        }
        let heads: std::collections::HashSet<_> = due.iter().map(|effect| effect.effect.lane()).collect();
        for effect in &open {
            let first = !open
                .iter()
                .any(|other| other.effect.lane() == effect.effect.lane() && other.seq < effect.seq);
            if first && effect.due_at <= at(100) {
                assert!(
                    heads.contains(&effect.effect.lane()),
                    "the lane of {} is forgotten",
                    effect.key
                );
            }
        }
    }
}
