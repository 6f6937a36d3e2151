//! Socket Mode: hands what comes over the sockets to the connector, and acknowledges what it took. Knows no store and no rule.
//!
//! The library's callbacks are plain functions and serve one connection in turn; the acknowledgement leaves when the callback
//! returns. So a callback waits for exactly one thing: that what it heard is durable. What could not be made durable is not
//! acknowledged, and Slack sends it again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix::Recipient;
use futures_util::FutureExt;
use slack_morphism::prelude::{
    HttpStatusCode, SlackClientEventsListenerEnvironment, SlackClientEventsUserState, SlackClientSocketModeConfig,
    SlackClientSocketModeListener, SlackCommandEvent, SlackCommandEventResponse, SlackHyperClient,
    SlackHyperHttpsConnector, SlackInteractionEvent, SlackMessageContent, SlackMessageResponseType,
    SlackPushEventCallback, SlackSocketModeListenerCallbacks,
};

use super::hear;
use super::web::SlackWeb;
use crate::messages::slack::{HearCommand, HearMessage, HearPress, SocketOpened};

/// Each socket hears one thing at a time, until that is on disk, and Slack gives each event to one of them: four take a burst of
/// a thousand messages in within Slack's three seconds, and while Slack renews one, the others hear on. Slack allows ten, and
/// while they are opened anew there are twice as many.
const SOCKETS: u32 = 4;
/// Seconds between two tries to open a socket that was refused.
const RETRY: u64 = 2;
/// Seconds between two pings.
const PING: u64 = 5;
/// So many pings without an answer, and a socket is given up and opened anew.
const SILENCE: u64 = 3;

type Listener =
    SlackClientSocketModeListener<slack_morphism::prelude::SlackClientHyperConnector<SlackHyperHttpsConnector>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;
type CallbackResult<T> = Result<T, BoxError>;

/// To whom the sockets hand what they hear.
#[derive(Clone)]
pub(super) struct Ears {
    /// Our user id.
    pub(super) bot: String,
    pub(super) message: Recipient<HearMessage>,
    pub(super) command: Recipient<HearCommand>,
    pub(super) press: Recipient<HearPress>,
    pub(super) opened: Recipient<SocketOpened>,
}

/// Open sockets. Closed by [`Sockets::close`].
pub(super) struct Sockets {
    listener: Arc<Listener>,
}

impl Sockets {
    /// Opens the sockets and keeps them open. What is heard goes to `ears`.
    ///
    /// # Errors
    /// When the library refuses the token's shape.
    pub(super) async fn open(web: &SlackWeb, ears: Ears) -> anyhow::Result<Self> {
        let environment = Arc::new(
            SlackClientEventsListenerEnvironment::new(web.client())
                .with_error_handler(on_error)
                .with_user_state(ears),
        );
        let callbacks = SlackSocketModeListenerCallbacks::new()
            // The library does not name the type of a hello in public, so this one cannot be a function of its own.
            .with_hello_events(|_, _, state| on_hello(state))
            .with_command_events(on_command)
            .with_interaction_events(on_interaction)
            .with_push_events(on_push);
        let config = SlackClientSocketModeConfig::new()
            .with_max_connections_count(SOCKETS)
            .with_initial_backoff_in_seconds(1)
            .with_reconnect_timeout_in_seconds(RETRY)
            .with_ping_interval_in_seconds(PING)
            .with_ping_failure_threshold_times(SILENCE);
        let listener = Arc::new(SlackClientSocketModeListener::new(&config, environment, callbacks));
        listener.listen_for(web.app_token()).await?;
        listener.start().await;
        Ok(Self { listener })
    }

    /// Closes them; what is being heard is acknowledged or comes again.
    pub(super) async fn close(&self) {
        self.listener.shutdown().await;
    }
}

/// Whoever listens; absent only if the library lost it.
async fn ears(state: &SlackClientEventsUserState) -> Result<Ears, BoxError> {
    let state = state.read().await;
    state
        .get_user_state::<Ears>()
        .cloned()
        .ok_or_else(|| "nobody listens".into())
}

/// A callback that panics would leave its socket open, pinging and deaf; so it fails instead, and Slack sends the event again.
async fn unharmed<T>(work: impl Future<Output = CallbackResult<T>>) -> CallbackResult<T> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err("a panic while hearing; the log has it".into()))
}

async fn on_hello(state: SlackClientEventsUserState) {
    if let Ok(ears) = ears(&state).await {
        // A full mailbox has one of these in it already.
        let _ = ears.opened.try_send(SocketOpened);
    }
}

async fn on_push(
    event: SlackPushEventCallback,
    _: Arc<SlackHyperClient>,
    state: SlackClientEventsUserState,
) -> CallbackResult<()> {
    unharmed(async {
        let ears = ears(&state).await?;
        let order = match hear::message(&event, &ears.bot) {
            hear::Event::Message(heard) => HearMessage {
                heard,
                read_again: false,
            },
            hear::Event::Unread(heard) => HearMessage {
                heard,
                read_again: true,
            },
            hear::Event::Passed => return Ok(()),
        };
        Ok(ears.message.send(order).await??)
    })
    .await
}

async fn on_command(
    event: SlackCommandEvent,
    _: Arc<SlackHyperClient>,
    state: SlackClientEventsUserState,
) -> CallbackResult<SlackCommandEventResponse> {
    unharmed(async {
        let ears = ears(&state).await?;
        let answer = ears.command.send(HearCommand(hear::command(&event))).await??;
        Ok(
            SlackCommandEventResponse::new(SlackMessageContent::new().with_text(answer))
                .with_response_type(SlackMessageResponseType::Ephemeral),
        )
    })
    .await
}

async fn on_interaction(
    event: SlackInteractionEvent,
    _: Arc<SlackHyperClient>,
    state: SlackClientEventsUserState,
) -> CallbackResult<()> {
    unharmed(async {
        let Some(pressed) = hear::press(&event) else {
            return Ok(());
        };
        let ears = ears(&state).await?;
        Ok(ears.press.send(HearPress(pressed)).await??)
    })
    .await
}

/// Says that nothing was taken. The error's own words are not written: they hold events and addresses with tickets.
fn on_error(error: BoxError, _: Arc<SlackHyperClient>, _: SlackClientEventsUserState) -> HttpStatusCode {
    let kind = match error.downcast_ref::<slack_morphism::errors::SlackClientError>() {
        Some(slack_morphism::errors::SlackClientError::ProtocolError(_)) => "it is nothing that this version can read",
        Some(_) => "the socket failed",
        None => "it could not be made durable; Slack sends it again",
    };
    metrics::counter!("firstlight_slack_refused_total").increment(1);
    tracing::warn!(reason = kind, "an event of Slack was not taken");
    HttpStatusCode::SERVICE_UNAVAILABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_panic_while_hearing_is_an_error_and_its_words_stay_here() {
        let failed = unharmed::<()>(async { panic!("the words of a person") }).await;
        let error = failed.expect_err("it fails");
        assert!(!error.to_string().contains("person"), "{error}");
        assert_eq!(unharmed(async { Ok(7) }).await.ok(), Some(7));
    }
}
