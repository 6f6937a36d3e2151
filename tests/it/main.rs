//! Behaviour through real doors: one binary for all of it. Knows the outside of the house only.

mod admin_api;
mod auth;
mod chat;
mod crons;
mod dashboard;
mod deliveries;
mod demo;
mod gates;
mod github;
mod integrations;
mod main_job;
mod openapi;
mod proxy;
mod replies;
mod restart;
mod run_api;
mod runs;
mod runs_flow;
mod runs_stored;
mod settings;
mod sign_in;
mod slack;
mod support;
mod tidy;
mod trust;
mod workflows;
