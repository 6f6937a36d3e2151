//! The Slack connector: checks the tokens, opens the sockets, hears what they bring and looks for what was missed. Knows the
//! desk and the Web API; no route and no store.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use futures_util::future::{Either, LocalBoxFuture, select};
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, Notify};

use super::missed::Missed;
use super::names::Names;
use super::socket::{Ears, Sockets};
use super::web::{Identity, SlackFault, SlackWeb};
use super::{APPROVE, REJECT, hear};
use crate::clock::SharedClock;
use crate::connectors::{Connector, Lines, SinkMaker};
use crate::domain::{ApprovalId, Source};
use crate::house::{Bell, Bells};
use crate::messages::slack::{HearCommand, HearMessage, HearPress, Heard, HeardCommand, Pressed, SocketOpened};
use crate::messages::store::{LatestThreads, RecordMessage, SessionsIn, StoreError, StoreResult};
use crate::messaging::{AllowedUsers, Desk, DeskDoors, DeskRules, Heard as Told, Inbound, Ordered, Unheard, mrkdwn};

/// Each socket hands over one thing at a time, and the look for what was missed one more.
const MAILBOX: usize = 64;
/// The sockets are looked after this often.
const ROUND: Duration = Duration::from_secs(60);
/// Nothing heard for so long, and the sockets are opened anew: the library notices a dead connection, but not a door that
/// never opens. In a quiet workspace this renews sockets that were sound, and that is cheap.
const SILENCE: TimeDelta = TimeDelta::minutes(5);
/// Waits between tries to reach Slack at the start, growing from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// How long a word to a stranger who pressed a button may take.
const ASIDE: Duration = Duration::from_secs(1);

const STRANGER: &str = "I do not know you yet: ask whoever runs me to put you on the list.";

/// To whom the connector speaks, besides the sink.
#[derive(Clone)]
pub struct SlackDoors {
    /// The store.
    pub record: Recipient<RecordMessage>,
    /// The store.
    pub sessions: Recipient<SessionsIn>,
    /// The store.
    pub latest: Recipient<LatestThreads>,
}

/// What connector and line are called.
const NAME: &str = "slack";

/// Hears Slack. Lives in the thread that starts it.
pub struct SlackConnector {
    web: SlackWeb,
    allowed: AllowedUsers,
    doors: SlackDoors,
    clock: SharedClock,
    bells: Bells,
    lines: Lines,
    /// What is running, shared with whoever waits for Slack to come within reach.
    line: Rc<Line>,
}

#[derive(Default)]
struct Line {
    room: RefCell<Option<Rc<Room>>>,
    stopped: Cell<bool>,
    stop: Notify,
}

impl SlackConnector {
    /// A connector that hears whom `allowed` admits.
    #[must_use]
    pub fn new(web: SlackWeb, allowed: AllowedUsers, doors: SlackDoors, clock: SharedClock, bells: Bells) -> Self {
        Self {
            web,
            allowed,
            doors,
            clock,
            bells,
            lines: Lines::default(),
            line: Rc::default(),
        }
    }

    /// Tells there how its line stands.
    #[must_use]
    pub fn shown_on(mut self, lines: Lines) -> Self {
        self.lines = lines;
        self
    }

    /// Everything that opening the line takes, to be tried more than once.
    fn opening(&self, sink: SinkMaker) -> Opening {
        Opening {
            web: self.web.clone(),
            allowed: self.allowed.clone(),
            doors: self.doors.clone(),
            clock: self.clock.clone(),
            bells: self.bells.clone(),
            lines: self.lines.clone(),
            line: Rc::clone(&self.line),
            sink,
        }
    }
}

impl Connector for SlackConnector {
    fn name(&self) -> &'static str {
        NAME
    }

    /// A refused token is an error at once. A Slack that cannot be reached is none: the rest of the house does not wait for it.
    fn start(&mut self, sink: SinkMaker) -> LocalBoxFuture<'_, anyhow::Result<()>> {
        let opening = self.opening(sink);
        Box::pin(async move {
            match opening.open().await {
                Ok(()) => Ok(()),
                Err(Unopened::Slack(fault @ (SlackFault::Wait { .. } | SlackFault::Retryable(_)))) => {
                    tracing::warn!(error = %fault, "Slack is out of reach; it is tried again until it answers");
                    self.lines.broken(NAME, fault.to_string(), self.clock.now());
                    actix_rt::spawn(opening.keep_trying());
                    Ok(())
                }
                Err(Unopened::Slack(fault)) => Err(fault.into()),
                Err(Unopened::Library(error)) => Err(error),
            }
        })
    }

    fn stop(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            self.line.stopped.set(true);
            self.line.stop.notify_waiters();
            let room = self.line.room.borrow_mut().take();
            if let Some(room) = room {
                room.close().await;
            }
        })
    }
}

struct Opening {
    web: SlackWeb,
    allowed: AllowedUsers,
    doors: SlackDoors,
    clock: SharedClock,
    bells: Bells,
    lines: Lines,
    line: Rc<Line>,
    sink: SinkMaker,
}

enum Unopened {
    Slack(SlackFault),
    Library(anyhow::Error),
}

impl From<SlackFault> for Unopened {
    fn from(fault: SlackFault) -> Self {
        Self::Slack(fault)
    }
}

impl Opening {
    async fn open(&self) -> Result<(), Unopened> {
        let identity = self.web.who_am_i().await?;
        self.web.app_token_works().await?;
        tracing::info!(workspace = %identity.team_name, user = %identity.user, "connected to Slack");
        let rules = DeskRules {
            platform: Source::Slack,
            allowed: self.allowed.clone(),
            bot_id: identity.user.clone(),
        };
        let doors = DeskDoors {
            record: self.doors.record.clone(),
            sessions: self.doors.sessions.clone(),
            sink: self.sink.sink_here(),
        };
        let room = Rc::new(Room {
            desk: Desk::new(doors, rules, self.clock.clone()),
            names: Names::new(self.web.clone(), self.clock.clone()),
            missed: Missed::new(self.web.clone(), self.doors.latest.clone(), self.clock.clone()),
            web: self.web.clone(),
            lines: self.lines.clone(),
            clock: self.clock.clone(),
            heard_at: Cell::new(self.clock.now()),
            sockets: RefCell::default(),
            turns: RefCell::default(),
            closed: Cell::new(false),
            identity,
        });
        let listener = SlackListener {
            room: Rc::clone(&room),
            looking: false,
            look_again: false,
            _bell: self.bells.bell("slack listener"),
        }
        .start();
        let ears = room.ears(&listener);
        room.open(ears).await.map_err(Unopened::Library)?;
        if self.line.stopped.get() {
            room.close().await;
        } else {
            *self.line.room.borrow_mut() = Some(room);
        }
        Ok(())
    }

    async fn keep_trying(self) {
        let mut pause = PAUSE.0;
        let mut said = None;
        while !self.line.stopped.get() {
            let stop = std::pin::pin!(self.line.stop.notified());
            if let Either::Right(_) = select(self.clock.sleep(pause), stop).await {
                return;
            }
            let error = match self.open().await {
                Ok(()) => return,
                Err(Unopened::Slack(fault)) => fault.to_string(),
                Err(Unopened::Library(error)) => error.to_string(),
            };
            self.lines.broken(NAME, error.as_str(), self.clock.now());
            if said.as_ref() != Some(&error) {
                tracing::warn!(error, "Slack is still out of reach");
                said = Some(error);
            }
            pause = pause.saturating_mul(2).min(PAUSE.1);
        }
    }
}

/// Hears what the sockets bring. Handles [`HearMessage`], [`HearCommand`], [`HearPress`] and [`SocketOpened`].
///
/// What it is told is answered when it is durable. It stays responsive meanwhile, so that one slow look-up holds up no other socket.
struct SlackListener {
    room: Rc<Room>,
    looking: bool,
    look_again: bool,
    _bell: Bell,
}

struct Room {
    desk: Desk,
    names: Names,
    missed: Missed,
    web: SlackWeb,
    lines: Lines,
    clock: SharedClock,
    identity: Identity,
    /// When a socket last brought anything.
    heard_at: Cell<DateTime<Utc>>,
    sockets: RefCell<Held>,
    /// Threads in which something is being heard.
    turns: RefCell<HashMap<String, Rc<Mutex<()>>>>,
    closed: Cell<bool>,
}

/// The sockets in use, and those that are closed once the new ones are open.
#[derive(Default)]
struct Held {
    current: Option<Sockets>,
    retiring: Vec<Sockets>,
}

impl Room {
    fn ears(&self, listener: &Addr<SlackListener>) -> Ears {
        Ears {
            bot: self.identity.user.clone(),
            message: listener.clone().recipient(),
            command: listener.clone().recipient(),
            press: listener.clone().recipient(),
            opened: listener.clone().recipient(),
        }
    }

    /// Opens sockets; those that were open before stay until the new ones are.
    async fn open(&self, ears: Ears) -> anyhow::Result<()> {
        let sockets = Sockets::open(&self.web, ears).await?;
        let given_up = {
            let mut held = self.sockets.borrow_mut();
            let replaced = held.current.replace(sockets);
            std::mem::replace(&mut held.retiring, replaced.into_iter().collect())
        };
        close_all(given_up).await;
        Ok(())
    }

    /// Closes what a new socket has replaced.
    async fn retire(&self) {
        let retiring = std::mem::take(&mut self.sockets.borrow_mut().retiring);
        close_all(retiring).await;
    }

    async fn close(&self) {
        self.closed.set(true);
        let all = {
            let held = std::mem::take(&mut *self.sockets.borrow_mut());
            held.retiring.into_iter().chain(held.current).collect()
        };
        close_all(all).await;
    }

    /// Takes a message in, if it is for us.
    async fn hear(&self, mut heard: Heard, read_again: bool) -> StoreResult<()> {
        // Before anything else is looked at: nothing of a stranger's words is fetched, kept or traced.
        if self.closed.get() {
            return Err(StoreError::Closed);
        }
        if read_again && self.desk.admits(&heard.user) {
            match self
                .web
                .message(&heard.channel, heard.thread.as_deref(), &heard.ts)
                .await
            {
                Ok(Some(past)) => {
                    let (team, channel) = (heard.team.clone(), heard.channel.clone());
                    match hear::remembered(&past, &team, &channel, heard.direct, &self.identity.user) {
                        Some(again) => heard = again,
                        None => return Ok(()),
                    }
                }
                Ok(None) | Err(SlackFault::Never { .. }) => return Ok(()),
                Err(fault) => return Err(StoreError::Failed(fault.to_string())),
            }
        }
        let inbound = Inbound {
            raw: raw(&heard),
            text: mrkdwn::plain(&heard.text),
            channel: heard.channel,
            direct: heard.direct,
            mentioned: heard.mentioned,
            message: heard.ts,
            thread: heard.thread,
            user: heard.user,
        };
        let thread = inbound.thread.as_ref().unwrap_or(&inbound.message);
        let place = format!("{}/{thread}", inbound.channel);
        let heard = self.desk.hear(inbound, async |user: &str| self.names.of(user).await);
        self.in_turn(place, heard).await.map(|_| ())
    }

    /// What one thread says is heard one after the other, whichever sockets bring it: a name that has to be looked up must not
    /// let the second sentence overtake the first.
    async fn in_turn<T>(&self, place: String, work: impl Future<Output = T>) -> T {
        let turn = Rc::clone(self.turns.borrow_mut().entry(place.clone()).or_default());
        let held = turn.lock().await;
        let done = work.await;
        drop(held);
        // One in the map and ours: nobody waits.
        if Rc::strong_count(&turn) == 2 {
            self.turns.borrow_mut().remove(&place);
        }
        done
    }

    /// Takes a slash command in. The answer proper follows when it is carried out; this one says that it was heard.
    async fn obey(&self, heard: HeardCommand) -> String {
        let ordered = Ordered {
            id: heard.trigger,
            channel: heard.channel.clone(),
            user: heard.user,
            words: mrkdwn::plain(&format!("{} {}", heard.command, heard.text)),
            raw: object(json!({
                "type": "slash_command", "team": heard.team, "channel": heard.channel, "command": heard.command,
                "text": heard.text,
            })),
        };
        let obeyed = self
            .desk
            .obey(ordered, async |user: &str| self.names.of(user).await)
            .await;
        match obeyed {
            Ok(Told::Taken(_)) => "On it …".to_owned(),
            Ok(Told::Dropped(Unheard::NotAllowed)) => STRANGER.to_owned(),
            Ok(Told::Dropped(_)) => "I could not read that. `/help` shows what I understand.".to_owned(),
            Err(error) => {
                tracing::warn!(%error, "a slash command could not be written down; its author was told");
                "I cannot write that down just now, so nothing was done. Please try again in a minute.".to_owned()
            }
        }
    }

    /// Carries out what a button stands for. A button of somebody else's is none of ours.
    async fn press(&self, pressed: Pressed) -> StoreResult<()> {
        let verb = match pressed.action.as_str() {
            APPROVE => "approve",
            REJECT => "reject",
            _ => return Ok(()),
        };
        let Ok(approval) = pressed.value.parse::<ApprovalId>() else {
            return Ok(());
        };
        let ordered = Ordered {
            id: pressed.trigger,
            channel: pressed.channel.clone(),
            user: pressed.user,
            words: format!("{verb} {approval}"),
            raw: object(json!({
                "type": "block_actions", "team": pressed.team, "channel": pressed.channel, "ts": pressed.ts,
                "action": pressed.action, "value": pressed.value,
            })),
        };
        let told = self
            .desk
            .obey(ordered, async |user: &str| self.names.of(user).await)
            .await?;
        if told == Told::Dropped(Unheard::NotAllowed)
            && let Some(url) = pressed.response_url
        {
            let aside = json!({ "response_type": "ephemeral", "replace_original": false, "text": STRANGER });
            let word = std::pin::pin!(self.web.respond(url.expose(), &aside));
            // Politeness; the refusal itself needs no answer.
            let _ = select(word, self.clock.sleep(ASIDE)).await;
        }
        Ok(())
    }
}

async fn close_all(sockets: Vec<Sockets>) {
    for sockets in sockets {
        sockets.close().await;
    }
}

fn raw(heard: &Heard) -> Map<String, Value> {
    object(json!({
        "type": "message", "team": heard.team, "channel": heard.channel, "user": heard.user, "ts": heard.ts,
        "thread_ts": heard.thread, "text": heard.text,
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// One bad message must not take the listener along; it is not acknowledged, and comes again.
async fn survived<T>(work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        Err(StoreError::Failed(
            "the Slack listener stumbled over this; the log has the panic".to_owned(),
        ))
    })
}

impl SlackListener {
    /// Looks for what was said while nobody listened, and hears it like everything else.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.looking {
            self.look_again = true;
            return;
        }
        self.looking = true;
        self.look_again = false;
        let room = Rc::clone(&self.room);
        let work = async move {
            let me = &room.identity;
            let hear = async |heard: Heard| room.hear(heard, false).await;
            let looked = room.missed.look(&me.team, &me.user, hear);
            AssertUnwindSafe(looked).catch_unwind().await.unwrap_or_else(|_| {
                tracing::warn!("the look for missed messages stumbled; the log has the panic");
                None
            })
        };
        ctx.spawn(work.into_actor(self).map(|again_at, listener, ctx| {
            listener.looking = false;
            if listener.room.closed.get() {
                return;
            }
            if listener.look_again {
                listener.look(ctx);
            } else if let Some(at) = again_at {
                let wait = (at - listener.room.clock.now()).to_std().unwrap_or_default();
                let alarm = listener.room.clock.sleep(wait).into_actor(listener);
                ctx.spawn(alarm.map(|(), listener, ctx| listener.look(ctx)));
            }
        }));
    }

    /// Looks after the sockets: silence is death.
    fn watch(&mut self, ctx: &mut Context<Self>) {
        let room = Rc::clone(&self.room);
        let ears = room.ears(&ctx.address());
        let round = async move {
            room.clock.sleep(ROUND).await;
            if room.closed.get() || room.clock.now() - room.heard_at.get() < SILENCE {
                return;
            }
            room.heard_at.set(room.clock.now());
            if let Err(fault) = room.web.app_token_works().await {
                tracing::warn!(error = %fault, "nothing is heard of Slack, and it does not open a socket");
                room.lines.broken(NAME, fault.to_string(), room.clock.now());
                return;
            }
            tracing::info!("nothing was heard of Slack for {SILENCE}; its sockets are opened anew");
            if let Err(error) = room.open(ears).await {
                tracing::warn!(%error, "the sockets to Slack cannot be opened anew; this is tried again");
                room.lines.broken(NAME, error.to_string(), room.clock.now());
            }
        };
        let round = AssertUnwindSafe(round).catch_unwind().into_actor(self);
        ctx.spawn(round.map(|_, listener, ctx| {
            if !listener.room.closed.get() {
                listener.watch(ctx);
            }
        }));
    }

    fn noticed(&self) {
        let now = self.room.clock.now();
        self.room.heard_at.set(now);
        self.room.lines.open(NAME, now);
    }
}

impl Actor for SlackListener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.watch(ctx);
    }
}

impl Handler<HearMessage> for SlackListener {
    type Result = ResponseFuture<StoreResult<()>>;

    fn handle(&mut self, order: HearMessage, _: &mut Context<Self>) -> Self::Result {
        self.noticed();
        let room = Rc::clone(&self.room);
        Box::pin(async move { survived(room.hear(order.heard, order.read_again)).await })
    }
}

impl Handler<HearCommand> for SlackListener {
    type Result = ResponseFuture<StoreResult<String>>;

    fn handle(&mut self, order: HearCommand, _: &mut Context<Self>) -> Self::Result {
        self.noticed();
        let room = Rc::clone(&self.room);
        Box::pin(async move { survived(async { Ok(room.obey(order.0).await) }).await })
    }
}

impl Handler<HearPress> for SlackListener {
    type Result = ResponseFuture<StoreResult<()>>;

    fn handle(&mut self, order: HearPress, _: &mut Context<Self>) -> Self::Result {
        self.noticed();
        let room = Rc::clone(&self.room);
        Box::pin(async move { survived(room.press(order.0)).await })
    }
}

impl Handler<SocketOpened> for SlackListener {
    type Result = ();

    fn handle(&mut self, _: SocketOpened, ctx: &mut Context<Self>) {
        self.noticed();
        tracing::debug!("a socket to Slack is open");
        let room = Rc::clone(&self.room);
        ctx.spawn(async move { room.retire().await }.into_actor(self));
        self.look(ctx);
    }
}
