//! What every long-lived actor understands: being asked for quiet and being told to finish. Knows no particular actor.

use actix::prelude::*;

/// Asks an actor to answer once it has nothing in hand and nothing waiting.
///
/// Sender: shutdown, and whoever waits for the house to settle. Handler: dispatcher, librarian, run supervisor, gate keeper, cron ticker, sweeper, replier, delivery retrier, git committer, state writer.
/// Answer: how many items the actor has finished since it started, so that two equal answers in a row mean quiet.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "u64")]
pub struct AwaitQuiet;

/// Asks an actor to answer when it comes to this message, whatever it has in hand: so long does a message wait in its mailbox now.
///
/// Sender: API, dashboard. Handler: dispatcher, librarian, run supervisor, gate keeper, cron ticker, sweeper, replier, delivery retrier, git committer, state writer.
/// Answer: nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Ping;

/// Tells an actor to begin nothing new and to answer when what it has in hand is done or safely put down.
///
/// Sender: boot, on SIGINT and SIGTERM; the run supervisor, to its runners. Handler: dispatcher, librarian, run supervisor, gate keeper, cron ticker, sweeper, runner, replier, delivery retrier, git committer, state writer.
/// Answer: nothing; what was put down is taken up again at the next start.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Finish;
