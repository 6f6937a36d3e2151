//! What the tests of behaviour stand on: a clock that is moved by hand and doors that remember. Knows no single test.

pub(crate) mod clock;
pub(crate) mod outbox;
