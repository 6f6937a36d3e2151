//! Which file of a workflow each of its prompts came from. Pure; opens no file: the texts are those that were loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::Workflow;
use crate::yaml::{self, Value};

/// The prompts of a workflow, by the paths that its file names them by.
#[must_use]
pub fn prompts(workflow: &Workflow) -> BTreeMap<String, Arc<str>> {
    let mut found = BTreeMap::new();
    // It was read without a mistake when it was loaded.
    let Ok(Some(file)) = yaml::parse(&workflow.file, &workflow.text) else {
        return found;
    };
    let Some(Value::Seq(phases)) = file.get("phases").map(|phases| &phases.value) else {
        return found;
    };
    for (node, phase) in phases.iter().zip(&workflow.phases) {
        let review = node.get("loop").zip(phase.review_loop.as_ref());
        let named = [
            (node.get("prompt"), phase.prompt.as_ref()),
            (
                review.and_then(|(node, _)| node.get("fix_prompt")),
                review.map(|(_, review)| &review.fix_prompt),
            ),
            (
                review.and_then(|(node, _)| node.get("re_review_prompt")),
                review.and_then(|(_, review)| review.re_review_prompt.as_ref()),
            ),
        ];
        for (path, text) in named {
            if let Some((path, text)) = path.and_then(yaml::Node::as_str).zip(text) {
                found.insert(path.to_owned(), Arc::clone(text));
            }
        }
    }
    found
}
