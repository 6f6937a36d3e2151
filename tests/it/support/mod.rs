//! What the tests of behaviour stand on: a whole service, a clock that is moved by hand, doors that remember. Knows no single test.

pub(crate) mod app;
pub(crate) mod clock;
pub(crate) mod inside;
pub(crate) mod integrations;
pub(crate) mod oauth;
pub(crate) mod outbox;
pub(crate) mod payloads;
pub(crate) mod process;
pub(crate) mod receiver;
pub(crate) mod routes;
pub(crate) mod slack;
