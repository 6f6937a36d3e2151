//! Exit bells: how the house learns that a long-lived actor is gone. Knows no actor by name.
//!
//! A supervised actix actor that panics is not revived: its address is dead for ever and says nothing. So each long-lived
//! actor owns a [`Bell`], which rings when the actor is dropped, by a panic too; boot listens and stops the process.

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

#[cfg(test)]
mod tests {
    use super::*;

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
