//! The catalogue of everything one actor says to another, one file per listener. Knows the domain; never an actor.
//!
//! Each message says who sends it (`Sender:`), who handles it (`Handler:`) and what comes back (`Answer:`); a test holds that.
//! Messages carry ids and small facts. There is no closure in them and no sender: answers go through the result.

pub mod cron;
pub mod dispatch;
pub mod github;
pub mod house;
pub mod integrations;
pub mod library;
pub mod outbound;
pub mod runs;
pub mod slack;
pub mod store;
