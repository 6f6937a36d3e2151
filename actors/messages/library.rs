//! What the librarian is told and asked. Knows the domain only.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::prelude::*;

use crate::domain::{Mistake, Workflow};

/// Something in the overlay folder may have changed. A nudge: the librarian reads the files and sees for itself.
///
/// Sender: the watch on the overlay folder. Handler: the librarian. Answer: nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct FilesChanged;

/// Read the workflows as they are now.
///
/// Sender: API, dashboard. Handler: the librarian. Answer: what new runs are started with, and what was refused.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Shelf")]
pub struct ReadWorkflows;

/// Read the prompts of a workflow, by the paths that its file names them by.
///
/// Sender: API, dashboard. Handler: the librarian. Answer: path and text of each, as new runs get it; nothing if there is no
/// such workflow.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Option<BTreeMap<String, Arc<str>>>")]
pub struct ReadPrompts {
    /// The workflow's name, as it was asked for.
    pub workflow: String,
}

/// The workflows of one moment.
#[derive(Debug, Clone, Default, MessageResponse)]
pub struct Shelf {
    /// What new runs are started with, sorted by name.
    pub workflows: Vec<Arc<Workflow>>,
    /// Every mistake because of which a changed file was not taken up; empty when all were.
    pub refused: Vec<Mistake>,
}
