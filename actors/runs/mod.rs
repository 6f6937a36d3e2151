//! Workflow runs: one actor per live run, started by the supervisor. Knows the workflows; never a connector or the store.
