//! Which workflow an event deserves, and whether it may start. Knows the workflows; never a connector or the store.
