//! Behaviour through real doors: one binary for all of it. Knows the outside of the house only.

mod chat;
mod demo;
mod github;
mod main_job;
mod replies;
mod restart;
mod runs;
mod runs_stored;
mod settings;
mod slack;
mod support;
mod tidy;
