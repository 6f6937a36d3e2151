//! Exit bells, the knocker and nudges: how the house learns that an actor is gone, and an actor that something waits. Knows no actor by name.
//!
//! A supervised actix actor that panics is not revived: its address is dead for ever and says nothing. So each long-lived
//! actor owns a [`Bell`], which rings when the actor is dropped, by a panic too; boot listens and stops the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Makes bells that all ring in one place.
#[derive(Debug, Clone)]
pub struct Bells {
    rung: UnboundedSender<&'static str>,
}

/// Hears the bells.
#[derive(Debug)]
pub struct Belfry {
    rung: UnboundedReceiver<&'static str>,
}

impl Bells {
    /// A set of bells and the one who hears them. At most one ring per bell, so the channel is bounded by their number.
    #[must_use]
    pub fn hang() -> (Self, Belfry) {
        let (sender, receiver) = unbounded_channel();
        (Self { rung: sender }, Belfry { rung: receiver })
    }

    /// A bell for the actor of this name.
    #[must_use]
    pub fn bell(&self, actor: &'static str) -> Bell {
        Bell {
            actor,
            rung: self.rung.clone(),
        }
    }
}

impl Belfry {
    /// Waits until an actor is gone, and names it. Never completes while all of them live.
    pub async fn hear(&mut self) -> &'static str {
        match self.rung.recv().await {
            Some(actor) => actor,
            None => std::future::pending().await,
        }
    }
}

/// Rings when it is dropped.
#[derive(Debug)]
pub struct Bell {
    actor: &'static str,
    rung: UnboundedSender<&'static str>,
}

impl Drop for Bell {
    fn drop(&mut self) {
        // Nobody listens any more once the house goes down on purpose.
        let _ = self.rung.send(self.actor);
    }
}

/// Whether somebody was told already that something waits. One nudge wakes it for a whole burst: a wake-up for each
/// of ten thousand events a second costs a tenth of the machine.
#[derive(Debug, Clone, Default)]
pub struct Knock(Arc<AtomicBool>);

impl Knock {
    /// True for the first who knocks since it was [answered](Self::answer).
    pub(crate) fn first(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Called by the listener *before* it reads what waits: whoever knocks after that is heard again.
    pub fn answer(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Doors behind which all listeners of one nudge live.
#[derive(Debug, Clone)]
pub struct Nudges<M>(Vec<Recipient<M>>)
where
    M: Message + Send,
    M::Result: Send;

impl<M> Nudges<M>
where
    M: Message + Copy + Send,
    M::Result: Send,
{
    /// Tells each. One whose mailbox is full is about to look anyway: a nudge carries nothing that is not in the store.
    pub fn nudge(&self, what: M) {
        for door in &self.0 {
            let _ = door.try_send(what);
        }
    }
}

impl<M> FromIterator<Recipient<M>> for Nudges<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn from_iter<T: IntoIterator<Item = Recipient<M>>>(doors: T) -> Self {
        Self(doors.into_iter().collect())
    }
}

impl<M> From<Recipient<M>> for Nudges<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn from(only: Recipient<M>) -> Self {
        Self(vec![only])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_knocks_once_and_whoever_comes_after_the_answer_is_heard_again() {
        let knock = Knock::default();
        assert!(knock.first());
        assert!(!knock.clone().first());
        knock.answer();
        assert!(knock.first());
    }

    #[actix_rt::test]
    async fn a_dropped_bell_names_its_actor() {
        let (bells, mut belfry) = Bells::hang();
        let kept = bells.bell("dispatcher");
        drop(bells.bell("replier"));
        assert_eq!(belfry.hear().await, "replier");
        drop(kept);
        assert_eq!(belfry.hear().await, "dispatcher");
    }
}
