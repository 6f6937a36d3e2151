//! What words in an output lead to (`on_output`). Pure: knows no run.

use serde_json::Value;

use crate::domain::{OutputAction, OutputRule};
use crate::workflows::Pattern;
use crate::workflows::template::Facts;

/// What the rules of a phase say about an output.
#[derive(Debug, Default)]
pub(crate) struct Found<'r> {
    /// The first rule that stops something, if there is any.
    pub(crate) acts: Option<&'r OutputRule>,
    /// Rules that only say something.
    pub(crate) says: Vec<&'r OutputRule>,
    /// Rules that would have counted but for a label or a title.
    pub(crate) passed_by: Vec<&'r OutputRule>,
}

/// Finds the rules whose word is in the output.
pub(crate) fn find<'r>(rules: &'r [OutputRule], output: &str, facts: &Facts<'_>) -> Found<'r> {
    let mut found = Found::default();
    if rules.is_empty() {
        return found;
    }
    let upper = output.to_uppercase();
    for rule in rules
        .iter()
        .filter(|rule| upper.contains(&rule.contains.to_uppercase()))
    {
        if is_passed_by(rule, facts) {
            found.passed_by.push(rule);
        } else if rule.action == OutputAction::Continue {
            found.says.push(rule);
        } else if found.acts.is_none() {
            found.acts = Some(rule);
        }
    }
    found
}

fn is_passed_by(rule: &OutputRule, facts: &Facts<'_>) -> bool {
    let of = |keys: [&str; 2]| {
        keys.into_iter()
            .filter_map(|key| facts.context.get(key))
            .collect::<Vec<&Value>>()
    };
    let labelled = rule.unless_label.as_ref().is_some_and(|wanted| {
        let lists = of(["labels", "issueLabels"]);
        let labels = lists.into_iter().filter_map(Value::as_array).flatten();
        labels
            .filter_map(Value::as_str)
            .any(|label| label.eq_ignore_ascii_case(wanted))
    });
    let titled = rule.unless_title_matches.as_ref().is_some_and(|pattern| {
        // A pattern that cannot be read lets nothing pass by: the rule is the careful one.
        let titles = of(["title", "issueTitle"]);
        let mut titles = titles.into_iter().filter_map(Value::as_str);
        Pattern::parse(pattern).is_ok_and(|pattern| titles.any(|title| pattern.is_in(title)))
    });
    labelled || titled
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_word_in_any_case_counts_unless_a_label_or_a_title_says_otherwise() {
        let rule = |more: Value| {
            let mut rule = json!({"contains": "BLOCKED", "action": "fail"});
            rule.as_object_mut()
                .expect("a map")
                .extend(more.as_object().expect("a map").clone());
            serde_json::from_value::<OutputRule>(rule).expect("a rule")
        };
        let Value::Object(context) = json!({"labels": ["Bootstrap", "bug"], "issueTitle": "Set up CI for the site"})
        else {
            panic!("a map")
        };
        let outputs = BTreeMap::new();
        let facts = Facts {
            context: &context,
            outputs: &outputs,
        };
        for (more, output, expected) in [
            (json!({}), "all is well", "-"),
            (json!({}), "I am Blocked by it", "acts"),
            (json!({"action": "continue"}), "BLOCKED", "says"),
            (json!({"action": "pause"}), "BLOCKED", "acts"),
            (json!({"unless_label": "bootstrap"}), "BLOCKED", "passed by"),
            (json!({"unless_label": "other"}), "BLOCKED", "acts"),
            (json!({"unless_title_matches": "^set up\\b"}), "BLOCKED", "passed by"),
            (json!({"unless_title_matches": "^up"}), "BLOCKED", "acts"),
            (json!({"unless_title_matches": "("}), "BLOCKED", "acts"),
            (json!({"unless_title_matches": "(a*)*b"}), "BLOCKED", "acts"),
        ] {
            let rules = [rule(more.clone())];
            let found = find(&rules, output, &facts);
            let what = match (&found.acts, &found.says[..], &found.passed_by[..]) {
                (Some(_), [], []) => "acts",
                (None, [_], []) => "says",
                (None, [], [_]) => "passed by",
                _ => "-",
            };
            assert_eq!(what, expected, "{more} {output}");
        }
    }
}
