//! The tools that agents and operators have: what each is called, takes and answers. One tool is one message. Knows no transport.

mod catalogue;
mod inputs;
mod outputs;

use actix::Recipient;
use actors::clock::SharedClock;
use actors::domain::{
    ApprovalFilter, ApprovalId, ApprovalStatus, Decided, Decision, DeliveryFilter, EffectState, EventFilter,
    IntegrationEvent, Opened, Responder, RunContext, RunFilter, RunStatus, TriggerType, Via,
};
use actors::messages::cron::{FireCron, ListCrons, NotFired};
use actors::messages::dispatch::DispatchWorkflow;
use actors::messages::integrations::{
    AutoCommit, DeleteWebhook, EmitWebhookEvent, GetGitAutoCommitConfig, GetIntegrationState, IntegrationFault,
    ListWebhooks, PingWebhook, RegisterWebhook, RotateWebhookSecret, SendNotification, SetGitAutoCommitConfig,
    SwitchWebhook,
};
use actors::messages::runs::StartRun;
use actors::messages::store::{
    Answer, Decide, ListApprovals, ListDeliveries, ListEvents, ListRuns, LoadRun, ReadDelivery, RecordAudit, StoreError,
};
use serde_json::{Map, Value, json};

pub use self::catalogue::{CATALOGUE, Scope, Tool};
pub(crate) use self::inputs::{emit, notification, parsed};

/// To whom the tools speak. Cheap to clone; may be used from any thread.
#[derive(Clone)]
pub struct ToolDoors {
    /// The integrations, which need no store.
    pub state: StateTools,
    /// Everything that needs the store or the outbox; absent where another process has them.
    pub house: Option<HouseTools>,
    /// The time.
    pub clock: SharedClock,
}

/// The doors of the state writer.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its message")]
pub struct StateTools {
    pub state: Recipient<GetIntegrationState>,
    pub webhooks: Recipient<ListWebhooks>,
    pub register: Recipient<RegisterWebhook>,
    pub delete: Recipient<DeleteWebhook>,
    pub rotate: Recipient<RotateWebhookSecret>,
    pub git_auto_commit: Recipient<GetGitAutoCommitConfig>,
    pub set_git_auto_commit: Recipient<SetGitAutoCommitConfig>,
}

/// The doors of everybody else.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its message")]
pub struct HouseTools {
    pub emit: Recipient<EmitWebhookEvent>,
    pub notify: Recipient<SendNotification>,
    pub ping: Recipient<PingWebhook>,
    pub switch: Recipient<SwitchWebhook>,
    pub auto_commit: Recipient<AutoCommit>,
    pub runs: Recipient<ListRuns>,
    pub run: Recipient<LoadRun>,
    pub events: Recipient<ListEvents>,
    pub approvals: Recipient<ListApprovals>,
    pub deliveries: Recipient<ListDeliveries>,
    pub delivery: Recipient<ReadDelivery>,
    pub audit: Recipient<RecordAudit>,
    /// Absent where no run is worked on.
    pub work: Option<WorkTools>,
}

/// The doors of those who start runs and take answers.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its message")]
pub struct WorkTools {
    pub dispatch: Recipient<DispatchWorkflow>,
    pub start_run: Recipient<StartRun>,
    pub decide: Recipient<Decide>,
    pub crons: Recipient<ListCrons>,
    pub fire: Recipient<FireCron>,
}

/// Why a tool did not do it: for whoever called it, in words that name the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolFault {
    /// An input breaks a rule; the text names it and the limit.
    #[error("{0}")]
    Invalid(String),
    /// There is nothing of this id.
    #[error("{0}")]
    NotFound(String),
    /// It may not be done, now or by this caller.
    #[error("{0}")]
    Refused(String),
    /// It may be done later: another process holds the lock, the store is busy, the service goes down.
    #[error("{0}")]
    Later(String),
    /// It failed; the log of the service says why.
    #[error("{0}")]
    Failed(String),
}

/// What a tool answers.
pub type ToolResult = Result<Value, ToolFault>;

impl From<IntegrationFault> for ToolFault {
    fn from(fault: IntegrationFault) -> Self {
        let words = fault.to_string();
        match fault {
            IntegrationFault::Invalid { .. } => Self::Invalid(words),
            IntegrationFault::NotFound(_) => Self::NotFound(words),
            IntegrationFault::Locked(_) | IntegrationFault::GoingDown => Self::Later(words),
            IntegrationFault::State(_) => Self::Failed(words),
            IntegrationFault::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for ToolFault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Full | StoreError::Closed => Self::Later(error.to_string()),
            StoreError::Failed(words) => {
                tracing::error!(error = words, "the store failed");
                Self::Failed("the store failed; the log of the service says why".to_owned())
            }
        }
    }
}

impl From<actix::MailboxError> for ToolFault {
    fn from(_: actix::MailboxError) -> Self {
        Self::Later("the service is stopping; try again in a moment".to_owned())
    }
}

/// Who calls a tool.
#[derive(Debug, Clone)]
pub struct ToolCaller {
    /// For runs and answers.
    pub who: String,
    /// For the audit log: who, with the label of their token.
    pub signs: String,
    /// Network address; empty for a process on this machine.
    pub from: String,
    /// What the caller's token may do.
    pub scope: Scope,
}

impl ToolDoors {
    /// Calls the tool of this name. Nothing: there is none.
    pub async fn call(&self, name: &str, args: Map<String, Value>, caller: &ToolCaller) -> Option<ToolResult> {
        let tool = CATALOGUE.iter().find(|tool| tool.name == name)?;
        let target = args
            .iter()
            .find(|(key, _)| {
                ["webhookId", "approvalId", "workflow", "cron", "eventName", "channel"].contains(&key.as_str())
            })
            .and_then(|(_, value)| value.as_str())
            .map(|target| target.chars().take(200).collect::<String>())
            .unwrap_or_default();
        let result = if tool.scope > caller.scope {
            Err(ToolFault::Refused(format!(
                "{name} needs a token of scope {}; this one has {}",
                tool.scope.as_str(),
                caller.scope.as_str()
            )))
        } else {
            self.perform(tool.name, Value::Object(args), caller).await
        };
        if tool.scope > Scope::Read {
            self.audit(tool.name, target, caller, &result).await;
        }
        Some(result)
    }

    /// Writes what a caller did, or was refused, into the audit log.
    pub(crate) async fn audit(&self, action: &str, target: String, caller: &ToolCaller, result: &ToolResult) {
        let Some(house) = &self.house else { return };
        let made = |answer: &Value| {
            let id = answer["webhook"]["id"].as_str().or(answer["notification_id"].as_str());
            id.map(str::to_owned)
        };
        let target = match result {
            Ok(answer) if target.is_empty() => made(answer).unwrap_or_default(),
            _ => target,
        };
        let line = RecordAudit {
            who: caller.signs.clone(),
            from: caller.from.clone(),
            action: action.to_owned(),
            target: plain(&target),
            result: match result {
                Ok(_) => "ok".to_owned(),
                Err(fault) => plain(&fault.to_string()),
            },
            at: self.clock.now(),
        };
        // What was done is not undone because its line could not be written; the store's own trouble is told elsewhere.
        let _ = house.audit.send(line).await;
    }

    async fn perform(&self, name: &str, args: Value, caller: &ToolCaller) -> ToolResult {
        match name {
            "integrations_state" => {
                parsed::<inputs::Nothing>(args)?;
                self.state().await
            }
            "integration_webhook_list" => {
                parsed::<inputs::Nothing>(args)?;
                self.webhooks().await
            }
            "integration_webhook_register" => self.register(parsed(args)?).await,
            "integration_webhook_delete" => {
                let input: inputs::Delete = parsed(args)?;
                self.delete(input.webhook_id).await
            }
            "integration_git_auto_commit_get" => {
                parsed::<inputs::Nothing>(args)?;
                self.git_auto_commit().await
            }
            "integration_git_auto_commit_set" => self.set_git_auto_commit(parsed(args)?).await,
            "integration_notify" => self.notify(parsed(args)?).await,
            "integration_emit_event" => self.emit(parsed(args)?).await,
            "runs_list" => self.runs(parsed(args)?).await,
            "run_get" => self.run(parsed(args)?).await,
            "events_list" => self.events(parsed(args)?).await,
            "approvals_list" => self.approvals(parsed(args)?).await,
            "deliveries_list" => self.deliveries(parsed(args)?).await,
            "delivery_get" => {
                let input: inputs::Id = parsed(args)?;
                self.delivery(input.id).await
            }
            "approval_respond" => self.respond(parsed(args)?, caller).await,
            "workflow_run" => self.workflow_run(parsed(args)?, caller).await,
            "crons_list" => {
                parsed::<inputs::Nothing>(args)?;
                self.crons().await
            }
            "cron_run" => self.cron_run(parsed(args)?, caller).await,
            _ => Err(ToolFault::Failed(format!(
                "{name} is in the catalogue and does nothing"
            ))),
        }
    }

    fn house(&self) -> Result<&HouseTools, ToolFault> {
        self.house.as_ref().ok_or_else(|| {
            ToolFault::Later(
                "the service that has the outbox cannot be reached; is it running with an HTTP listener?".to_owned(),
            )
        })
    }

    fn work(&self) -> Result<&WorkTools, ToolFault> {
        self.house()?.work.as_ref().ok_or_else(|| {
            ToolFault::Later("no service works on runs here; start it with: firstlight serve".to_owned())
        })
    }

    /// `integrations_state`.
    pub(crate) async fn state(&self) -> ToolResult {
        Ok(self.state.state.send(GetIntegrationState).await??)
    }

    /// `integration_webhook_list`.
    pub(crate) async fn webhooks(&self) -> ToolResult {
        Ok(as_json(self.state.webhooks.send(ListWebhooks).await??))
    }

    /// `integration_webhook_register`.
    pub(crate) async fn register(&self, input: inputs::Register) -> ToolResult {
        let order = RegisterWebhook {
            url: input.url,
            events: input.events,
            secret: input.secret.map(actors::domain::Secret::new),
        };
        Ok(as_json(self.state.register.send(order).await??))
    }

    /// `integration_webhook_delete`.
    pub(crate) async fn delete(&self, id: String) -> ToolResult {
        Ok(as_json(self.state.delete.send(DeleteWebhook { id }).await??))
    }

    /// A new secret, shown this once.
    pub(crate) async fn rotate(&self, id: String, input: inputs::Rotate) -> ToolResult {
        let order = RotateWebhookSecret {
            id,
            secret: input.secret.map(actors::domain::Secret::new),
        };
        let (webhook, secret) = self.state.rotate.send(order).await??;
        Ok(json!({ "webhook": webhook, "secret": secret.expose() }))
    }

    /// `integration_git_auto_commit_get`.
    pub(crate) async fn git_auto_commit(&self) -> ToolResult {
        Ok(as_json(self.state.git_auto_commit.send(GetGitAutoCommitConfig).await??))
    }

    /// `integration_git_auto_commit_set`.
    pub(crate) async fn set_git_auto_commit(&self, input: inputs::GitSet) -> ToolResult {
        let order = SetGitAutoCommitConfig {
            enabled: input.enabled,
            on_events: input.on_events,
        };
        Ok(as_json(self.state.set_git_auto_commit.send(order).await??))
    }

    /// What a commit would hold now.
    pub(crate) async fn git_dry_run(&self) -> ToolResult {
        let order = AutoCommit {
            event: IntegrationEvent::TaskSync,
            id: "a dry run".to_owned(),
            dry_run: true,
        };
        Ok(as_json(self.house()?.auto_commit.send(order).await??))
    }

    /// `integration_notify`.
    pub(crate) async fn notify(&self, input: inputs::Notify) -> ToolResult {
        let notification = notification(input)?;
        Ok(as_json(
            self.house()?.notify.send(SendNotification(notification)).await??,
        ))
    }

    /// `integration_emit_event`.
    pub(crate) async fn emit(&self, input: inputs::Emit) -> ToolResult {
        let order = emit(input)?;
        Ok(as_json(self.house()?.emit.send(order).await??))
    }

    /// A call of another tool: the seed's `resolveEventName`, and the event if it is one.
    pub(crate) async fn tool_call(&self, input: inputs::ToolCall) -> ToolResult {
        let event = actors::domain::resolve_event_name(&input.tool, &input.args, &input.result);
        let Some(name) = event else {
            return Ok(json!({ "event": null }));
        };
        let payload = json!({ "tool": input.tool, "args": input.args, "result": input.result });
        let emitted = self.house()?.emit.send(EmitWebhookEvent { name, payload }).await??;
        Ok(json!({ "event": name, "emitted": emitted }))
    }

    /// A test delivery to one webhook.
    pub(crate) async fn ping(&self, id: String) -> ToolResult {
        Ok(as_json(self.house()?.ping.send(PingWebhook { id }).await??))
    }

    /// Switches a webhook on or off.
    pub(crate) async fn switch(&self, id: String, enabled: bool) -> ToolResult {
        let order = SwitchWebhook {
            id: id.clone(),
            enabled,
        };
        let enabled = self.house()?.switch.send(order).await??;
        Ok(json!({ "webhook_id": id, "enabled": enabled }))
    }

    async fn runs(&self, input: inputs::Runs) -> ToolResult {
        let statuses = match &input.status {
            None => Vec::new(),
            Some(text) => vec![known("status", text, RunStatus::ALL, RunStatus::from_text)?],
        };
        let filter = RunFilter {
            workflow: input.workflow,
            repo: input.repo,
            statuses,
            before: input.before,
            limit: inputs::page(input.limit)?,
            ..RunFilter::default()
        };
        let (page, total) = self.house()?.runs.send(ListRuns(filter)).await??;
        Ok(json!({ "runs": page.items, "next": page.next, "total": total }))
    }

    async fn run(&self, input: inputs::Id) -> ToolResult {
        let missing = || ToolFault::NotFound(format!("there is no run {:?}", inputs::cut(&input.id)));
        let id = input.id.parse().map_err(|_| missing())?;
        let run = self.house()?.run.send(LoadRun(id)).await??.ok_or_else(missing)?;
        Ok(json!({ "run": run.summary, "context": run.context, "phases": run.phases }))
    }

    async fn events(&self, input: inputs::Events) -> ToolResult {
        let filter = EventFilter {
            repo: input.repo,
            before: input.before,
            limit: inputs::page(input.limit)?,
            ..EventFilter::default()
        };
        let page = self.house()?.events.send(ListEvents(filter)).await??;
        Ok(json!({ "events": page.items, "next": page.next }))
    }

    async fn approvals(&self, input: inputs::Approvals) -> ToolResult {
        let status = match input.status.as_deref() {
            None => Some(ApprovalStatus::Pending),
            Some("all") => None,
            Some(text) => Some(known("status", text, ApprovalStatus::ALL, ApprovalStatus::from_text)?),
        };
        let filter = ApprovalFilter {
            status,
            run: None,
            before: input.before,
            limit: inputs::page(input.limit)?,
        };
        let page = self.house()?.approvals.send(ListApprovals(filter)).await??;
        Ok(json!({ "approvals": page.items, "next": page.next }))
    }

    /// Deliveries, newest first.
    pub(crate) async fn deliveries(&self, input: inputs::Deliveries) -> ToolResult {
        let state = match &input.state {
            None => None,
            Some(text) => Some(known("state", text, EffectState::ALL, EffectState::from_text)?),
        };
        let event = match &input.event {
            None => None,
            Some(text) => Some(known(
                "event",
                text,
                IntegrationEvent::ALL,
                IntegrationEvent::from_text,
            )?),
        };
        let filter = DeliveryFilter {
            state,
            webhook: input.webhook_id,
            event,
            before: input.before,
            limit: inputs::page(input.limit)?,
        };
        let page = self.house()?.deliveries.send(ListDeliveries(filter)).await??;
        Ok(json!({ "deliveries": page.items, "next": page.next }))
    }

    /// One delivery with every attempt.
    pub(crate) async fn delivery(&self, id: String) -> ToolResult {
        let found = self.house()?.delivery.send(ReadDelivery { id: id.clone() }).await??;
        let delivery =
            found.ok_or_else(|| ToolFault::NotFound(format!("there is no delivery {:?}", inputs::cut(&id))))?;
        Ok(json!({ "delivery": delivery }))
    }

    async fn respond(&self, input: inputs::Respond, caller: &ToolCaller) -> ToolResult {
        let work = self.work()?;
        let missing = || ToolFault::NotFound("approval not found".to_owned());
        let approval: ApprovalId = input.approval_id.parse().map_err(|_| missing())?;
        let decision = known("decision", &input.decision, Decision::ALL, Decision::from_text)?;
        let answer = Answer {
            approval,
            decision,
            by: Responder {
                name: caller.who.clone(),
                association: None,
                slack_id: caller.who.strip_prefix("slack:").map(str::to_owned),
                via: Via::Mcp,
            },
            response: input.reason,
            saw: None,
            at: self.clock.now(),
        };
        match work.decide.send(Decide(answer)).await?? {
            Decided::Counted { run } => {
                // A full mailbox holds a nudge already.
                let _ = work.start_run.try_send(StartRun);
                Ok(json!({ "status": decision, "run": run }))
            }
            Decided::Already(status) => Err(ToolFault::Refused(format!("already {status}"))),
            Decided::Unknown => Err(missing()),
            Decided::Voted { have, need } => Ok(json!({ "status": "pending", "approved": have, "needed": need })),
            Decided::Refused(reason) => Err(ToolFault::Refused(reason)),
        }
    }

    async fn workflow_run(&self, input: inputs::WorkflowRun, caller: &ToolCaller) -> ToolResult {
        let order = DispatchWorkflow {
            workflow: input.workflow.clone(),
            context: RunContext(input.context.unwrap_or_default()),
            trigger: TriggerType::Api,
            who: caller.who.clone(),
            seed: None,
        };
        let opened = self
            .work()?
            .dispatch
            .send(order)
            .await?
            .map_err(|refusal| ToolFault::Refused(refusal.to_string()))?;
        let ids: Vec<String> = opened.iter().map(|opened| opened.run().to_string()).collect();
        let joined = opened.iter().all(|opened| matches!(opened, Opened::Joined(..)));
        Ok(json!({ "workflow": input.workflow, "executionIds": ids, "joined": joined }))
    }

    /// `crons_list`.
    async fn crons(&self) -> ToolResult {
        let list = self.work()?.crons.send(ListCrons).await??;
        Ok(json!({ "crons": list.crons }))
    }

    /// `cron_run`.
    async fn cron_run(&self, input: inputs::CronRun, caller: &ToolCaller) -> ToolResult {
        let order = FireCron {
            cron: input.cron.clone(),
            who: caller.who.clone(),
            seed: None,
        };
        let fired = self.work()?.fire.send(order).await?;
        let firing = fired.map_err(|refused| match refused {
            NotFired::Unknown { .. } => ToolFault::NotFound(refused.to_string()),
            NotFired::TooMany(_) => ToolFault::Refused(refused.to_string()),
            NotFired::Stopping => ToolFault::Later(refused.to_string()),
            NotFired::Store(error) => error.into(),
        })?;
        tracing::info!(cron = input.cron, firing = firing.0, who = %caller.who, "schedule fired by hand");
        Ok(json!({ "cron": input.cron, "firing": firing }))
    }
}

/// One line for the audit log, whatever somebody sent.
fn plain(text: &str) -> String {
    const LIMIT: usize = 300;
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).take(LIMIT).collect()
}

fn as_json(answer: impl serde::Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}

fn known<T: Copy + std::fmt::Display>(
    field: &str,
    text: &str,
    all: &[T],
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, ToolFault> {
    read(text).ok_or_else(|| {
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        ToolFault::Invalid(format!(
            "{field}: {:?} is unknown; known are {}",
            inputs::cut(text),
            all.join(", ")
        ))
    })
}
