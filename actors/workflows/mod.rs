//! Workflow files: read, checked, rendered. Pure but for reading folders; knows no actor.

pub mod template;
