//! The connector contract (name, start, stop, one sink for envelopes) and the registry. Knows no connector by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::prelude::*;
use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;

use crate::domain::{NewEvent, Recorded};
use crate::house::Knock;
use crate::messages::dispatch::EventArrived;
use crate::messages::store::{RecordEvent, StoreError, StoreResult};

/// A source of events: authenticates, normalizes and hands envelopes to its sink, and nothing else.
pub trait Connector {
    /// Unique in a registry; what `/health`, logs and the dashboard call it.
    fn name(&self) -> &'static str;

    /// Begins to take events in. Complete when events can arrive.
    ///
    /// # Errors
    /// When the source cannot be reached or its credentials are refused; the text names the cause and what to do.
    fn start(&mut self, sink: SinkMaker) -> LocalBoxFuture<'_, anyhow::Result<()>>;

    /// Takes nothing more in. Complete when what was being taken in is answered.
    fn stop(&mut self) -> LocalBoxFuture<'_, ()>;
}

/// How the line of a connector to its platform stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineState {
    /// Why nothing is heard; none while something can be.
    pub trouble: Option<String>,
    /// Since when it is so.
    pub since: DateTime<Utc>,
}

/// How lines stand, by the names of their connectors: told by those who hold them, for whoever looks after the house.
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<Mutex<BTreeMap<&'static str, LineState>>>);

impl Lines {
    /// The line is open.
    pub fn open(&self, connector: &'static str, at: DateTime<Utc>) {
        self.tell(connector, None, at);
    }

    /// Nothing is heard over the line, for this reason.
    pub fn broken(&self, connector: &'static str, trouble: impl Into<String>, at: DateTime<Utc>) {
        self.tell(connector, Some(trouble.into()), at);
    }

    /// How a line stands; nothing for a connector that has said nothing yet.
    #[must_use]
    pub fn read(&self, connector: &str) -> Option<LineState> {
        self.lock().get(connector).cloned()
    }

    /// Trouble for another reason is still the same trouble.
    fn tell(&self, connector: &'static str, trouble: Option<String>, at: DateTime<Utc>) {
        let mut lines = self.lock();
        let line = lines.entry(connector).or_insert(LineState {
            trouble: trouble.clone(),
            since: at,
        });
        if line.trouble.is_some() != trouble.is_some() {
            line.since = at;
        }
        line.trouble = trouble;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, LineState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one way of an envelope into the house: durable first, then the dispatcher is told.
#[derive(Clone)]
pub struct EnvelopeSink {
    record: Recipient<RecordEvent>,
    arrived: Recipient<EventArrived>,
    knock: Knock,
}

impl EnvelopeSink {
    /// Hands an event over. Answered when it is on disk; routing has not been waited for.
    ///
    /// # Errors
    /// When the store could not take it; nothing was accepted then.
    pub async fn take(&self, event: NewEvent) -> StoreResult<Recorded> {
        let recorded = self
            .record
            .send(RecordEvent(event))
            .await
            .map_err(|mailbox| match mailbox {
                MailboxError::Closed => StoreError::Closed,
                MailboxError::Timeout => StoreError::Busy,
            })??;
        self.announce(recorded);
        Ok(recorded)
    }

    /// Tells the dispatcher of an event that became durable together with something else, in an order of its own.
    pub fn announce(&self, recorded: Recorded) {
        if let Recorded::Fresh(seq) = recorded
            && self.knock.first()
        {
            // A full mailbox loses the nudge and nothing else: the next one knocks again, and the dispatcher looks by itself
            // now and then. A closed one means that the house goes down and takes the event up at its next start.
            if self.arrived.try_send(EventArrived { seq }).is_err() {
                self.knock.answer();
            }
        }
    }
}

/// Makes sinks. A connector that lives in several threads makes one in each, so that no event crosses a thread twice.
#[derive(Clone)]
pub struct SinkMaker {
    record: Arc<dyn Fn() -> Recipient<RecordEvent> + Send + Sync>,
    arrived: Recipient<EventArrived>,
    knock: Knock,
}

impl SinkMaker {
    /// `record` opens a door to the store in the thread that calls it; `arrived` is the dispatcher's, and so is `knock`.
    #[must_use]
    pub fn new(
        record: impl Fn() -> Recipient<RecordEvent> + Send + Sync + 'static,
        arrived: Recipient<EventArrived>,
        knock: Knock,
    ) -> Self {
        Self {
            record: Arc::new(record),
            arrived,
            knock,
        }
    }

    /// A sink for this thread.
    #[must_use]
    pub fn sink_here(&self) -> EnvelopeSink {
        EnvelopeSink {
            record: (self.record)(),
            arrived: self.arrived.clone(),
            knock: self.knock.clone(),
        }
    }
}

/// The connectors of this house, started and stopped together.
#[derive(Default)]
pub struct ConnectorRegistry {
    connectors: Vec<Box<dyn Connector>>,
}

impl ConnectorRegistry {
    /// Adds a connector.
    ///
    /// # Errors
    /// When there is one of the same name already.
    pub fn register(&mut self, connector: Box<dyn Connector>) -> anyhow::Result<()> {
        let name = connector.name();
        anyhow::ensure!(
            self.connectors.iter().all(|known| known.name() != name),
            "two connectors are called \"{name}\"; each needs a name of its own"
        );
        self.connectors.push(connector);
        Ok(())
    }

    /// The names, in the order of registration.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.connectors.iter().map(|connector| connector.name()).collect()
    }

    /// Starts all, in the order of registration. If one fails, those before it are stopped again.
    ///
    /// # Errors
    /// The first failure, with the connector's name.
    pub async fn start_all(&mut self, sink: &SinkMaker) -> anyhow::Result<()> {
        for index in 0..self.connectors.len() {
            let connector = &mut self.connectors[index];
            let name = connector.name();
            if let Err(failure) = connector.start(sink.clone()).await {
                for started in self.connectors[..index].iter_mut().rev() {
                    started.stop().await;
                }
                return Err(failure.context(format!("connector \"{name}\" did not start")));
            }
        }
        Ok(())
    }

    /// Stops all, in reverse order.
    pub async fn stop_all(&mut self) {
        for connector in self.connectors.iter_mut().rev() {
            connector.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    struct Probe {
        name: &'static str,
        fails: bool,
        log: Rc<RefCell<Vec<String>>>,
    }

    impl Connector for Probe {
        fn name(&self) -> &'static str {
            self.name
        }

        fn start(&mut self, _sink: SinkMaker) -> LocalBoxFuture<'_, anyhow::Result<()>> {
            Box::pin(async move {
                anyhow::ensure!(!self.fails, "token refused");
                self.log.borrow_mut().push(format!("start {}", self.name));
                Ok(())
            })
        }

        fn stop(&mut self) -> LocalBoxFuture<'_, ()> {
            Box::pin(async move { self.log.borrow_mut().push(format!("stop {}", self.name)) })
        }
    }

    struct Deaf;
    impl Actor for Deaf {
        type Context = Context<Self>;
    }
    impl Handler<RecordEvent> for Deaf {
        type Result = StoreResult<Recorded>;
        fn handle(&mut self, _: RecordEvent, _: &mut Self::Context) -> Self::Result {
            Err(StoreError::Closed)
        }
    }
    impl Handler<EventArrived> for Deaf {
        type Result = ();
        fn handle(&mut self, _: EventArrived, _: &mut Self::Context) {}
    }

    fn nowhere() -> SinkMaker {
        let deaf = Deaf.start();
        let arrived = deaf.clone().recipient();
        SinkMaker::new(move || deaf.clone().recipient(), arrived, Knock::default())
    }

    #[actix_rt::test]
    async fn two_connectors_of_one_name_are_refused() {
        let log = Rc::default();
        let mut registry = ConnectorRegistry::default();
        let probe = |name| {
            Box::new(Probe {
                name,
                fails: false,
                log: Rc::clone(&log),
            })
        };
        registry.register(probe("github")).expect("the first of its name");
        registry.register(probe("slack")).expect("another name");
        let refused = registry.register(probe("github")).expect_err("the second of its name");
        assert!(refused.to_string().contains("\"github\""), "{refused}");
        assert_eq!(registry.names(), ["github", "slack"]);
    }

    #[actix_rt::test]
    async fn all_start_in_order_and_stop_in_reverse() {
        let log: Rc<RefCell<Vec<String>>> = Rc::default();
        let mut registry = ConnectorRegistry::default();
        for name in ["a", "b"] {
            registry
                .register(Box::new(Probe {
                    name,
                    fails: false,
                    log: Rc::clone(&log),
                }))
                .expect("unique");
        }
        registry.start_all(&nowhere()).await.expect("both start");
        registry.stop_all().await;
        assert_eq!(*log.borrow(), ["start a", "start b", "stop b", "stop a"]);
    }

    #[actix_rt::test]
    async fn a_failed_start_stops_those_before_it_and_names_the_connector() {
        let log: Rc<RefCell<Vec<String>>> = Rc::default();
        let mut registry = ConnectorRegistry::default();
        for (name, fails) in [("a", false), ("b", true)] {
            registry
                .register(Box::new(Probe {
                    name,
                    fails,
                    log: Rc::clone(&log),
                }))
                .expect("unique");
        }
        let failure = registry.start_all(&nowhere()).await.expect_err("b fails");
        assert_eq!(format!("{failure:#}"), "connector \"b\" did not start: token refused");
        assert_eq!(*log.borrow(), ["start a", "stop a"]);
    }
}
