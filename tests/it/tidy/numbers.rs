//! The numbers that are counted, the table of them, its page and the example of alert rules: each held against the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use actors::numbers::{NUMBERS, Number};

use super::Gate;
use super::source::{read, rust};

const PAGE: &str = "config/metrics.md";
const RULES: &str = "config/examples/alerts.yml";

/// The first word in quotes after each of these calls.
fn named_by<'a>(text: &'a str, call: &str) -> Vec<&'a str> {
    let after = text.split(call).skip(1).map(str::trim_start);
    after
        .filter_map(|rest| rest.strip_prefix('"')?.split('"').next())
        .collect()
}

/// What the sources count, each with a file where it is counted.
fn counted() -> BTreeMap<String, String> {
    let mut counted = BTreeMap::new();
    for source in rust() {
        if source.flow.is_empty() || ["actors/numbers.rs", "actors/diagnostics.rs"].contains(&source.name.as_str()) {
            continue;
        }
        for call in ["counter!(", "gauge!(", "histogram!("] {
            for name in named_by(&source.text, call) {
                counted.insert(name.to_owned(), source.name.clone());
            }
        }
        if !source.flow.contains("emit_metric") {
            continue;
        }
        // Through the hooks, dots stand for what Prometheus has no dots for.
        let dotted = |name: &&String| {
            let rest = name.strip_prefix("firstlight.").or(name.strip_prefix("integrations."));
            rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_'))
        };
        let errors = named_by(&source.text, "emit_error(");
        let ours = |name: &&String| !errors.contains(&name.as_str()) && !name.ends_with(".json");
        for name in source.literals.iter().filter(dotted).filter(ours) {
            let name = name.replace('.', "_");
            let name = if name.ends_with("_ms") {
                name
            } else {
                format!("{name}_total")
            };
            counted.insert(name, source.name.clone());
        }
    }
    counted
}

#[test]
fn every_number_that_is_counted_is_in_the_table_and_every_number_of_the_table_is_counted() {
    let counted = counted();
    let table: BTreeSet<&str> = NUMBERS.iter().map(|number| number.name).collect();
    let mut gate = Gate::default();
    for (name, file) in &counted {
        gate.see(table.contains(name.as_str()), || {
            format!("{file} counts `{name}`, which is not in actors/numbers.rs")
        });
    }
    for name in table {
        gate.see(counted.contains_key(name), || {
            format!("actors/numbers.rs explains `{name}`, which nobody counts")
        });
    }
    gate.close(80);
}

fn labels(number: &Number) -> String {
    let labels = number.labels.iter().map(|(name, values)| {
        if values.is_empty() {
            format!("`{name}`")
        } else {
            format!("`{name}`: {}", values.join(", "))
        }
    });
    labels.collect::<Vec<_>>().join("; ")
}

#[test]
fn the_page_of_the_numbers_is_their_table() {
    let mut table = String::from("| number | kind | unit | labels | what it means |\n|---|---|---|---|---|\n");
    for number in NUMBERS {
        let (name, kind, unit, help) = (number.name, number.kind.as_str(), number.unit, number.help);
        writeln!(table, "| `{name}` | {kind} | {unit} | {} | {help} |", labels(number)).expect("a string grows");
    }
    let page = read(PAGE);
    let mut gate = Gate::default();
    gate.see(page.contains(&table), || {
        format!("{PAGE} does not have the table of actors/numbers.rs, which is:\n\n{table}")
    });
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    gate.see(rows == NUMBERS.len(), || format!("{PAGE} has {rows} rows"));
    gate.close(2);
}

/// The names of an expression that are ours, each with what stands in its braces.
fn asked(expr: &str) -> Vec<(String, String)> {
    let mut asked = Vec::new();
    let mut rest = expr;
    while let Some(at) = ["firstlight_", "integrations_"]
        .iter()
        .filter_map(|head| rest.find(head))
        .min()
    {
        rest = &rest[at..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        let braces = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        asked.push((name, braces.map_or_else(String::new, |(inside, _)| inside.to_owned())));
    }
    asked
}

#[test]
fn the_example_of_alert_rules_asks_for_numbers_and_labels_that_there_are() {
    let rules = actors::yaml::parse(RULES, &read(RULES)).expect("it is YAML");
    let rules = rules.expect("it is not empty").to_json();
    let mut gate = Gate::default();
    let mut names = BTreeSet::new();
    for rule in rules["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules"))
    {
        let name = rule["alert"].as_str().expect("a name");
        gate.see(names.insert(name), || format!("{RULES}: {name} is there twice"));
        gate.see(rule["annotations"]["summary"].is_string(), || {
            format!("{RULES}: {name} says nothing")
        });
        gate.see(
            matches!(rule["labels"]["severity"].as_str(), Some("page" | "ticket")),
            || format!("{RULES}: {name} wakes nobody and waits for nobody"),
        );
        let expr = rule["expr"].as_str().expect("an expression");
        for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
            let count = |sign| expr.matches(sign).count();
            gate.see(count(open) == count(close), || {
                format!("{RULES}: {name} does not close what it opens")
            });
        }
        let asked = asked(expr);
        gate.see(!asked.is_empty() || expr.starts_with("up{"), || {
            format!("{RULES}: {name} asks for nothing of ours")
        });
        for (number, matchers) in asked {
            let plain = number
                .strip_suffix("_bucket")
                .or(number.strip_suffix("_sum"))
                .or(number.strip_suffix("_count"))
                .unwrap_or(&number);
            let known = NUMBERS.iter().find(|known| known.name == plain);
            gate.see(known.is_some(), || {
                format!("{RULES}: {name} asks for `{number}`, which nobody counts")
            });
            let of_histogram = known.is_some_and(|known| known.kind.as_str() == "histogram");
            gate.see((plain != number) == of_histogram, || {
                format!("{RULES}: {name} asks for `{number}` by another kind")
            });
            for matcher in matchers.split(',').filter(|matcher| !matcher.is_empty()) {
                let (label, values) = matcher.split_once('=').expect("a label and its value");
                let label = label.trim();
                let values = values.trim_start_matches('~').trim_matches('"');
                let there = known.and_then(|known| known.labels.iter().find(|(known, _)| *known == label));
                gate.see(there.is_some(), || {
                    format!("{RULES}: {name}: `{number}` has no label {label}")
                });
                for value in values.split('|') {
                    let fits = there.is_some_and(|(_, known)| known.is_empty() || known.contains(&value));
                    gate.see(fits, || {
                        format!("{RULES}: {name}: `{label}` of `{number}` is never {value}")
                    });
                }
            }
        }
    }
    gate.close(100);
}
