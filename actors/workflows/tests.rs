//! The room as its users see it: shipped workflows, overlay folders, bad files, and the grammar's page.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::load::load_without;
use super::not_yet::NOT_YET;
use super::reader::{Asset, Assets};
use super::schema::{self, Source};
use super::template::{self, CONTEXT_KEYS, Facts, UNTRUSTED_KEYS};
use super::{Catalog, Route, Setup, SharedCatalog, check, json_schema, keys, load};
use crate::domain::{Mistake, Phase, PhaseKind, Reaction, Workflow};
use crate::yaml;

const README: &str = include_str!("../../workflows/README.md");

/// An overlay folder with these files.
fn overlay(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test");
    fs::create_dir_all(folder.path().join("workflows")).expect("an empty folder takes another");
    for (path, text) in files {
        write(folder.path(), path, text.as_bytes());
    }
    folder
}

fn write(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("the folder can be made");
    fs::write(path, bytes).expect("the file can be written");
}

fn mistakes_of(files: &[(&str, &str)]) -> Vec<Mistake> {
    let folder = overlay(files);
    let mut mistakes = load_without(&[], Some(folder.path())).err().unwrap_or_default();
    assert!(!mistakes.is_empty(), "no mistake was found in {files:?}");
    for mistake in &mut mistakes {
        let root = format!("{}/", folder.path().display());
        mistake.file = mistake.file.replace(&root, "");
        mistake.problem = mistake.problem.replace(&root, "");
    }
    mistakes
}

fn shipped() -> Catalog {
    load(None).unwrap_or_else(|mistakes| panic!("{}", told(&mistakes)))
}

fn told(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|m| format!("{m}\n")).collect()
}

fn one_reply() -> &'static str {
    "name: a\nphases:\n  - name: answer\n    type: reply\n    message: hello\n"
}

// ---- what is shipped ----

#[test]
fn the_binary_holds_every_shipped_workflow() {
    let catalog = shipped();
    let names: Vec<_> = catalog.names().map(|name| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "build",
            "chat",
            "explore",
            "issue-comment",
            "issue-triage",
            "pr-comment",
            "pr-fix",
            "pr-review",
            "repo-health",
            "security-feedback",
            "security-review"
        ]
    );
    assert_eq!(catalog.bundles().len(), 11);
    for (hash, name, bundle) in catalog.bundles() {
        let back = Workflow::from_bundle(&bundle).expect("a bundle is read back");
        assert_eq!((back.hash, back.name), (hash, name));
    }
}

#[test]
fn every_shipped_workflow_comes_to_its_end_without_a_runtime() {
    let mut agents = 0;
    for workflow in shipped().iter() {
        let last = workflow.phases.last().expect("there are phases");
        assert_eq!(last.kind, PhaseKind::Reply, "{}", workflow.name);
        for phase in workflow.phases.iter().filter(|phase| phase.kind == PhaseKind::Agent) {
            agents += 1;
            assert!(phase.optional, "{}: {}", workflow.name, phase.name);
        }
        let message = render_reply(workflow, &sample_context(), &BTreeMap::new());
        assert!(message.contains("`runtimes.default`"), "{}: {message}", workflow.name);
    }
    assert!(agents >= 11, "{agents}");
}

fn sample_context() -> Map<String, Value> {
    let Value::Object(mut context) = json!({
        "owner": "acme", "repo": "site", "issueNumber": 7, "prNumber": 8, "title": "It broke", "body": "one two\nthree",
        "sender": "ann", "labels": ["bug"], "commentBody": "why?", "branch": "lastlight/7-it-broke", "message": "hi",
        "_triggerType": "webhook",
    }) else {
        panic!("an object")
    };
    template::spell_both_ways(&mut context);
    context
}

fn render_reply(workflow: &Workflow, context: &Map<String, Value>, outputs: &BTreeMap<String, String>) -> String {
    let message = workflow.phases.last().and_then(|phase| phase.message.as_deref());
    template::render_comment(message.expect("the last phase replies"), &Facts { context, outputs })
}

#[test]
fn every_shipped_template_is_filled_in_whole() {
    let context = sample_context();
    let (mut prompts, mut texts) = (0, 0);
    for workflow in shipped().iter() {
        let all: BTreeMap<String, String> = workflow
            .phases
            .iter()
            .map(|phase| (phase.name.as_str().to_owned(), format!("<{} says>\n", phase.name)))
            .collect();
        let scripts: BTreeMap<String, String> = workflow
            .phases
            .iter()
            .filter(|phase| phase.kind == PhaseKind::Script)
            .map(|phase| (phase.name.as_str().to_owned(), "seen\n".to_owned()))
            .collect();
        for outputs in [&scripts, &all] {
            let facts = Facts {
                context: &context,
                outputs,
            };
            for phase in &workflow.phases {
                let mut rendered: Vec<String> = Vec::new();
                if let Some(prompt) = &phase.prompt {
                    prompts += 1;
                    let text = template::render_prompt(prompt, &facts);
                    let outside = template::names(prompt)
                        .iter()
                        .any(|name| UNTRUSTED_KEYS.contains(&name.path.as_str()));
                    assert!(outside, "{}: a prompt shows what was written", phase.name);
                    let explained = prompt.find("untrusted-content").expect("the markers are explained");
                    let shown = text.find("<untrusted-content").expect("the markers are there");
                    assert!(explained < shown, "{}: explained before they are used", phase.name);
                    rendered.push(text);
                }
                rendered.extend(phase.message.iter().map(|text| template::render_comment(text, &facts)));
                // A gate asks only behind a phase that was done.
                if outputs.contains_key(phase.name.as_str()) {
                    let question = phase.approval_gate_message.iter();
                    rendered.extend(question.map(|text| template::render_comment(text, &facts)));
                }
                rendered.extend(phase.env.values().map(|text| template::render_env(text, &facts)));
                for text in rendered {
                    texts += 1;
                    for left in ["{{", "}}", "${"] {
                        assert!(!text.contains(left), "{}/{}: {text}", workflow.name, phase.name);
                    }
                    let gaps = text.contains("\n\n\n\n") && phase.kind == PhaseKind::Reply;
                    assert!(!gaps, "{}/{}: {text}", workflow.name, phase.name);
                }
            }
        }
        let said = render_reply(workflow, &context, &all);
        assert!(
            !said.contains("runtimes.default"),
            "{}: with an agent, nobody is told to set one: {said}",
            workflow.name
        );
        assert!(said.contains("says>"), "{}: {said}", workflow.name);
    }
    assert!(prompts >= 22 && texts >= 50, "{prompts} {texts}");
}

// ---- the scripts of shipped workflows ----

/// Runs a script phase as the service does: the command as it is, values through the environment.
fn run_script(phase: &Phase, context: &Map<String, Value>, folder: &Path) -> String {
    let outputs = BTreeMap::new();
    let facts = Facts {
        context,
        outputs: &outputs,
    };
    let mut command = Command::new("sh");
    command
        .args(["-c", phase.run.as_deref().expect("a script has a command")])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(folder)
        .stdin(Stdio::null());
    for (name, value) in &phase.env {
        command.env(name, template::render_env(value, &facts));
    }
    let done = command.output().expect("a shell runs");
    assert!(
        done.status.success(),
        "{}: {}",
        phase.name,
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&done.stderr), "", "{}", phase.name);
    String::from_utf8(done.stdout).expect("scripts print UTF-8")
}

const HOSTILE: &[&str] = &[
    "\"; touch pwned; \"",
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned #",
    "-n -e \\x41 %s%n%d",
    "a\n$(touch pwned)\n- [ ] @acme/everyone\n",
    "${IFS}touch${IFS}pwned & touch pwned | touch pwned > pwned",
    "*",
    "../../../etc/passwd",
    "\u{202e}\u{feff}日本\u{1}",
    "{{title}} ${look.output} {{#if x}}",
    "[x](https://evil.test) ![x](https://evil.test) <img src=x> @acme/everyone closes #1",
];

#[test]
fn a_hostile_title_does_nothing_to_a_shipped_script_and_shows_in_none_of_its_words() {
    let catalog = shipped();
    let scripts: Vec<_> = catalog
        .iter()
        .flat_map(|workflow| workflow.phases.iter().filter(|phase| phase.kind == PhaseKind::Script))
        .collect();
    assert!(scripts.len() >= 2, "{}", scripts.len());
    for phase in scripts {
        for text in HOSTILE {
            let folder = tempfile::tempdir().expect("a folder for the test");
            let Value::Object(context) = json!({"title": text, "body": text}) else {
                panic!("an object")
            };
            let said = run_script(phase, &context, folder.path());
            assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "{text:?}");
            for bad in ["evil", "acme", "pwned", "passwd", "日本", "@", "{{"] {
                assert!(!said.contains(bad), "{text:?} made it say {said:?}");
            }
        }
        let folder = tempfile::tempdir().expect("a folder for the test");
        assert_eq!(
            run_script(phase, &Map::new(), folder.path()),
            "",
            "nothing is known, nothing is said"
        );
        let long = "word error `x` 1. @x\n".repeat(20_000);
        let Value::Object(context) = json!({"title": "t\0t", "body": long}) else {
            panic!("an object")
        };
        assert!(run_script(phase, &context, folder.path()).len() < 2_000);
    }
}

#[test]
fn triage_tells_what_it_found_and_what_is_missing() {
    let catalog = shipped();
    let triage = catalog.get("issue-triage").expect("it is shipped");
    let look = triage.phase(&"look".parse().expect("a name")).expect("it looks first");
    let folder = tempfile::tempdir().expect("a folder for the test");
    for (title, body, expected, not) in [
        ("It broke", "", vec!["no text yet"], vec!["❔"]),
        (
            "Crash on save",
            "It fails with an error.",
            vec![
                "bug report** of 5 words",
                "- ✅ what happened",
                "- ❔ steps to reproduce",
                "- ❔ version",
                "Adding what is marked",
            ],
            vec!["Thank you"],
        ),
        (
            "Crash on save",
            "Version 1.2.0\n\n1. Press save\n\nExpected: saved. Instead: `error`",
            vec![
                "bug report",
                "- ✅ what was expected",
                "- ✅ steps to reproduce",
                "- ✅ version",
                "Thank you",
            ],
            vec!["❔"],
        ),
        (
            "Please add a dark mode",
            "It would be nice, because my eyes hurt at night.",
            vec![
                "feature request** of 10 words",
                "- ✅ what it is needed for",
                "- ❔ what it could look like",
            ],
            vec!["bug"],
        ),
        (
            "How do I deploy this?",
            "I see no manual",
            vec!["question** of 4 words"],
            vec!["❔"],
        ),
        ("Hello", "just this", vec!["2 words; I could not tell"], vec!["❔"]),
    ] {
        let Value::Object(context) = json!({"title": title, "body": body}) else {
            panic!("an object")
        };
        let said = run_script(look, &context, folder.path());
        for words in expected {
            assert!(said.contains(words), "{title}: {words:?} is missing in {said}");
        }
        for words in not {
            assert!(!said.contains(words), "{title}: {words:?} is in {said}");
        }
    }
}

#[test]
fn the_first_comment_a_newcomer_sees_reads_well() {
    let catalog = shipped();
    let triage = catalog.get("issue-triage").expect("it is shipped");
    let outputs = BTreeMap::from([(
        "look".to_owned(),
        "It reads like a **question** of 4 words.\n".to_owned(),
    )]);
    let Value::Object(context) = json!({"title": "Ask `me` @all", "sender": "ann", "labels": [], "body": "x"}) else {
        panic!("an object")
    };
    assert_eq!(
        render_reply(triage, &context, &outputs),
        "Thanks for this issue! I read it as soon as it arrived.\n\n\
         - **Issue:** ``Ask `me` @all``\n\
         - **From:** `ann`\n\
         - **Labels:** none yet\n\n\
         It reads like a **question** of 4 words.\n\n\
         ### What happens next\n\n\
         A maintainer takes it from here. No agent is configured, so this was only a look at the text. With one, I would now also \
         look for duplicates, find the code that is concerned, and propose labels and a priority. \
         To turn that on, set `runtimes.default` in `firstlight.yaml` to a command that reads a prompt and prints an answer.\n\n\
         *Firstlight, workflow `issue-triage`*\n"
    );
}

// ---- overlay ----

#[test]
fn an_overlay_wins_by_name() {
    let folder = overlay(&[
        (
            "workflows/mine.yml",
            "name: chat\nphases: [{name: answer, type: reply, message: mine}]\n",
        ),
        (
            "workflows/new.yaml",
            "name: new\nphases: [{name: p, prompt: prompts/chat.md, skill: triage}]\n",
        ),
        ("workflows/prompts/chat.md", "mine: {{title}}"),
        ("skills/triage/SKILL.md", "my triage"),
        ("workflows/notes.txt", "not read"),
        ("workflows/.hidden.yaml", "not: read"),
        ("workflows/cron-x.yaml", "schedule: '* * * * *'\nworkflow: chat\n"),
        ("workflows/nightly.yaml", "kind: cron\nschedule: '* * * * *'\n"),
        ("workflows/sub/deep.yaml", "not: read"),
    ]);
    let catalog = load(Some(folder.path())).unwrap_or_else(|mistakes| panic!("{}", told(&mistakes)));
    assert_eq!(catalog.names().count(), 12);
    let chat = catalog.get("chat").expect("replaced");
    assert_eq!(chat.phases[0].message.as_deref(), Some("mine"));
    assert!(chat.file.ends_with("/workflows/mine.yml"), "{}", chat.file);
    let new = catalog.get("new").expect("added");
    assert_eq!(new.phases[0].prompt.as_deref(), Some("mine: {{title}}"));
    assert_eq!(
        (&*new.phases[0].skills[0].name, &*new.phases[0].skills[0].text),
        ("triage", "my triage")
    );
    let triage = catalog.get("issue-triage").expect("shipped");
    assert_eq!(
        &*triage.phases[1].skills[0].text, "my triage",
        "shipped workflows use the overlay's texts"
    );
    assert_ne!(triage.hash, shipped().get("issue-triage").expect("shipped").hash);
}

#[test]
fn an_overlay_that_is_not_there_is_a_mistake() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("file");
    fs::write(&file, "x").expect("writable");
    for (path, words) in [
        (folder.path().join("nowhere"), "cannot be read as overlay folder"),
        (file, "is no folder"),
        (folder.path().to_owned(), "holds neither"),
    ] {
        let mistakes = load(Some(&path)).expect_err("no overlay");
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].problem.contains(words), "{}", mistakes[0]);
        assert_eq!(mistakes[0].file, path.display().to_string());
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_out_of_its_folder_is_not_followed() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().expect("a folder for the test");
    write(outside.path(), "secret.md", b"secret");
    write(outside.path(), "w.yaml", one_reply().as_bytes());
    let folder = overlay(&[
        (
            "workflows/w.yaml",
            "name: w\nphases:\n  - {name: a, prompt: prompts/out.md}\n  - {name: b, skill: out}\n  - {name: c, prompt: prompts/in.md}\n",
        ),
        ("workflows/prompts/real.md", "fine"),
        ("skills/x/SKILL.md", "fine"),
    ]);
    let at = |path: &str| folder.path().join(path);
    symlink(outside.path().join("secret.md"), at("workflows/prompts/out.md")).expect("a link");
    symlink("real.md", at("workflows/prompts/in.md")).expect("a link");
    symlink(outside.path().join("w.yaml"), at("workflows/linked.yaml")).expect("a link");
    symlink(outside.path(), at("skills/out")).expect("a link");
    fs::write(outside.path().join("SKILL.md"), "secret").expect("writable");
    symlink("nowhere.yaml", at("workflows/dangling.yaml")).expect("a link");
    fs::create_dir(at("workflows/folder.yaml")).expect("a folder");
    let mistakes = load(Some(folder.path())).expect_err("links out");
    let text = told(&mistakes).replace(&format!("{}/", folder.path().display()), "");
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.split_once(": ").expect("a place first"))
        .collect();
    let expected = [
        ("workflows/dangling.yaml", "cannot be read"),
        ("workflows/folder.yaml", "is no file"),
        ("workflows/linked.yaml", "is a link that leads out of its folder"),
        (
            "workflows/w.yaml:3:23",
            "phases[0].prompt: workflows/prompts/out.md: is a link that leads out",
        ),
        (
            "workflows/w.yaml:4:22",
            "phases[1].skill: skills/out/SKILL.md: is a link that leads out",
        ),
    ];
    assert_eq!(lines.len(), expected.len(), "{text}");
    for ((place, problem), (file, words)) in lines.iter().zip(expected) {
        assert!(*place == file && problem.starts_with(words), "{place}: {problem}");
    }
    assert!(!text.contains("secret\n"));
}

#[test]
fn a_shared_catalog_changes_as_a_whole() {
    let shared = SharedCatalog::new(shipped());
    let (other, before) = (shared.clone(), shared.current());
    let folder = overlay(&[("workflows/a.yaml", one_reply())]);
    let old = shared.replace(load(Some(folder.path())).expect("good files"));
    assert!(std::sync::Arc::ptr_eq(&old, &before));
    assert!(before.get("a").is_none() && other.current().get("a").is_some());
}

// ---- bad files ----

/// Text of the file; line, column and key of its first mistake; words of it.
#[rustfmt::skip]
const BAD: &[(&str, usize, usize, &str, &str)] = &[
    ("", 0, 0, "", "is empty; write a workflow, which begins with \"name: bad\""),
    ("# nothing\n", 0, 0, "", "is empty"),
    ("- a\n", 1, 1, "", "must be a map, found a list"),
    ("name: x\nphases: [\n", 3, 1, "", ""),
    ("name: x\nname: y\nphases: [{name: a, type: context}]\n", 2, 1, "name", ""),
    ("phases: [{name: a, type: context}]\n", 1, 1, "name", "is missing; give the workflow one, for instance \"name: bad\""),
    ("name: x\n", 1, 1, "phases", "is missing"),
    ("name: x\nphases: {}\n", 2, 9, "phases", "must be a list of phases, found a map"),
    ("name: x\nphases: []\n", 2, 9, "phases", "is empty"),
    ("name: x\nphases:\n  - hello\n", 3, 5, "phases[0]", "must be a map with the keys of a phase, found a text"),
    ("name: a b\nphases: [{name: a, type: context}]\n", 1, 7, "name", "workflow name \"a b\" must be 1 to 64"),
    ("name: [x]\nphases: [{name: a, type: context}]\n", 1, 7, "name", "must be a text, found a list"),
    ("name: x\nphase: []\nphases: [{name: a, type: context}]\n", 2, 1, "phase", "unknown key; did you mean \"phases\"? (known here: name, kind"),
    ("name: x\nkind:\nphases: [{name: a, type: context}]\n", 2, 5, "kind", "must be a text, found nothing"),
    ("name: x\ndescription: {a: b}\nphases: [{name: a, type: context}]\n", 2, 14, "description", "must be a text, found a map"),
    ("name: x\ntrigger: [a, '']\nphases: [{name: a, type: context}]\n", 2, 14, "trigger[1]", "is empty"),
    ("name: x\nvariables: {a b: c}\nphases: [{name: a, type: context}]\n", 2, 13, "variables.a b", "is no name of a variable"),
    ("name: x\nvariables: {a: [c]}\nphases: [{name: a, type: context}]\n", 2, 16, "variables.a", "must be a text, found a list"),
    ("name: x\nphases:\n  - type: context\n", 3, 5, "phases[0].name", "is missing; give the phase a name"),
    ("name: x\nphases:\n  - name: ../a\n    type: context\n", 3, 11, "phases[0].name", "phase name \"../a\" must be"),
    ("name: x\nphases:\n  - name: a\n    type: contxt\n", 4, 11, "phases[0].type", "no such type \"contxt\"; did you mean \"context\"? (there are context, agent, script, reply, notify, emit, approval)"),
    ("name: x\nphases:\n  - name: a\n    type: context\n  - name: b\n    type: context\n  - type: context\n    name: a\n", 8, 11, "phases[2].name", "\"a\" is taken already, in line 3"),
    ("name: x\nphases:\n  - {name: a, type: script, run: ls, output_var: b}\n  - {name: b, type: context}\n", 4, 12, "phases[1].name", "\"b\" is taken already, in line 3"),
    ("name: x\nphases:\n  - {name: a, type: script, run: ls, output_var: title}\n", 3, 50, "phases[0].output_var", "is a key of the context already"),
    ("name: x\nphases:\n  - name: a\n", 3, 5, "phases[0].prompt", "an agent phase needs \"prompt\", \"skill\" or \"skills\""),
    ("name: x\nphases:\n  - name: a\n    run: ls\n", 4, 5, "phases[0].run", "belongs to script phases, and this one is of type agent (the type of a phase that names none); add \"type: script\""),
    ("name: x\nphases:\n  - name: a\n    type: script\n", 3, 5, "phases[0].run", "a script phase needs \"run\""),
    ("name: x\nphases:\n  - name: a\n    type: reply\n", 3, 5, "phases[0].message", "a reply phase needs \"message\""),
    ("name: x\nphases:\n  - name: a\n    type: reply\n    message: '  '\n", 5, 14, "phases[0].message", "is empty"),
    ("name: x\nphases:\n  - name: a\n    type: reply\n    message: m\n    timeout: 5m\n", 6, 5, "phases[0].timeout", "belongs to agent and script phases, and this one is of type reply; take it out"),
    ("name: x\nphases:\n  - name: a\n    type: context\n    optional: true\n", 5, 5, "phases[0].optional", "belongs to agent phases"),
    ("name: x\nphases:\n  - name: a\n    prompt: prompts/chat.md\n    optional: yes\n", 5, 15, "phases[0].optional", "must be true or false, without quotes, found a text"),
    ("name: x\nphases:\n  - name: a\n    prompt: prompts/chat.md\n    timeout: 90\n", 5, 14, "phases[0].timeout", "\"90\" is no length of time; write it with units"),
    ("name: x\nphases:\n  - name: a\n    prompt: prompts/chat.md\n    timeout: 0s\n", 5, 14, "phases[0].timeout", "not between 1ms and 24h"),
    ("name: x\nphases:\n  - name: a\n    prompt: prompts/chat.md\n    timeout: 25h\n", 5, 14, "phases[0].timeout", "not between 1ms and 24h"),
    ("name: x\nphases:\n  - name: a\n    prompt: prompts/chat.md\n    timout: 5m\n", 5, 5, "phases[0].timout", "unknown key; did you mean \"timeout\"?"),
    ("name: x\nphases:\n  - name: a\n    type: context\n    messages:\n      on_sucess: x\n", 6, 7, "phases[0].messages.on_sucess", "did you mean \"on_success\"?"),
    ("name: x\nphases:\n  - name: a\n    type: context\n    messages: hello\n", 5, 15, "phases[0].messages", "must be a map, found a text"),
    ("name: x\nphases:\n  - name: a\n    type: context\n    on_success: {react: rokcet}\n", 5, 25, "phases[0].on_success.react", "no such reaction \"rokcet\"; did you mean \"rocket\"?"),
    ("name: x\nphases:\n  - name: a\n    type: context\n    on_success: {add_labels: bug}\n", 5, 30, "phases[0].on_success.add_labels", "must be a list, found a text"),
    ("name: x\nphases:\n  - name: a\n    type: context\n    on_success: {set_phase: a b}\n", 5, 29, "phases[0].on_success.set_phase", "phase name \"a b\" must be"),
    ("name: x\nphases:\n  - name: a\n    type: context\n    approval_gate_message: ok?\n", 5, 28, "phases[0].approval_gate_message", "needs \"approval_gate\" beside it"),
    ("name: x\nphases:\n  - name: a\n    prompt: prompts/chta.md\n", 4, 13, "phases[0].prompt", "there is no prompt \"prompts/chta.md\""),
    ("name: x\nphases:\n  - name: a\n    prompt: prompts/../chat.yaml\n", 4, 13, "phases[0].prompt", "does not stay in the folder of prompts"),
    ("name: x\nphases:\n  - name: a\n    prompt: /etc/passwd\n", 4, 13, "phases[0].prompt", "does not stay in the folder of prompts"),
    ("name: x\nphases:\n  - name: a\n    prompt: chat.yaml\n", 4, 13, "phases[0].prompt", "does not stay in the folder of prompts"),
    ("name: x\nphases:\n  - name: a\n    prompt: \"prompts/a\\0b\"\n", 4, 13, "phases[0].prompt", "does not stay in the folder of prompts"),
    ("name: x\nphases:\n  - name: a\n    skill: traige\n", 4, 12, "phases[0].skill", "there is no skill \"traige\""),
    ("name: x\nphases:\n  - name: a\n    skill: ../../x\n", 4, 12, "phases[0].skill", "skill \"../../x\" must be"),
    ("name: x\nphases:\n  - name: a\n    skills: [triage, nope]\n", 4, 22, "phases[0].skills[1]", "there is no skill \"nope\""),
    ("name: x\nphases:\n  - name: a\n    skill: triage\n    skills: [triage]\n", 4, 12, "phases[0].skill", "cannot stand beside \"skills\""),
    ("name: x\nphases:\n  - name: a\n    type: script\n    run: echo {{title}}\n", 5, 10, "phases[0].run", "a command is never a template, because what people write in issues would become code; set a variable under \"env\", for instance \"VALUE: '{{title}}'\""),
    ("name: x\nphases:\n  - name: a\n    type: script\n    run: echo ${HOME} ${b.output}\n", 5, 10, "phases[0].run", "'${b.output}'"),
    ("name: x\nphases:\n  - name: a\n    type: script\n    run: ls\n    env: {1A: x}\n", 6, 11, "phases[0].env.1A", "is no name of a variable"),
    ("name: x\nphases:\n  - name: a\n    type: script\n    run: ls\n    env: {FIRSTLIGHT_REPO: x}\n", 6, 11, "phases[0].env.FIRSTLIGHT_REPO", "which Firstlight sets itself"),
    ("name: x\nphases:\n  - name: a\n    type: reply\n    message: |\n      hello\n      é {{titel}} x\n", 7, 9, "phases[0].message", "{{titel}}: nothing is called \"titel\"; did you mean \"title\"?"),
    ("name: x\nphases:\n  - {name: look, type: context}\n  - name: a\n    type: reply\n    message: ${look.output} ${lok.output}\n", 6, 29, "phases[1].message", "${lok.output}: there is no phase \"lok\"; did you mean \"look\"?"),
    ("name: x\nphases:\n  - {name: a, type: reply, message: \"{{b.output}}\"}\n  - {name: b, type: context}\n", 3, 38, "phases[0].message", "phase \"b\" comes later"),
    ("name: x\nphases:\n  - {name: a, type: reply, message: \"{{a.output}}\"}\n", 3, 38, "phases[0].message", "phase \"a\" has no output yet"),
    ("name: x\nphases:\n  - {name: a, type: reply, message: \"{{variables.tnoe}}\"}\nvariables: {tone: x}\n", 3, 38, "phases[0].message", "the workflow has no variable \"tnoe\"; did you mean \"tone\"?"),
    ("name: x\nphases:\n  - {name: a, type: reply, message: \"{{#if title}}x{{else}}y{{/if}}\"}\n", 3, 52, "phases[0].message", "there is no else"),
    ("name: x\nphases:\n  - {name: a, type: reply, message: \"{{#if title}}x\"}\n", 3, 38, "phases[0].message", "this {{#if}} has no {{/if}}"),
    ("name: x\nphases:\n  - {name: a, type: reply, message: m, on_success: {add_labels: ['{{upper title}}']}}\n", 3, 67, "phases[0].on_success.add_labels[0]", "{{upper title}}: no such tag"),
];

/// What follows belongs to phase `a` of a workflow `x`, whose first two lines are `name: x` and `phases:`. Lines are
/// counted from that phase's first one, which is line 3.
#[rustfmt::skip]
const BAD_PHASES: &[(&str, usize, usize, &str, &str)] = &[
    // expressions
    ("type: context\nwhen: \"titel == 'x'\"", 5, 12, "when", "nothing is called \"titel\"; did you mean \"title\"?"),
    ("type: context\nwhen: title = 'x'", 5, 17, "when", "a comparison is written \"==\""),
    ("type: context\nwhen: \"title.contans('x')\"", 5, 12, "when", "did you mean \"contains\"?"),
    ("type: context\nwhen: ''", 5, 11, "when", "is empty"),
    ("type: context\nwhen: [title]", 5, 11, "when", "must be a text, found a list"),
    ("type: context\nwhen: output", 5, 11, "when", "nothing is called \"output\""),
    ("type: context\nwhen: a.output == 'x'", 5, 11, "when", "phase \"a\" has no output yet"),
    ("type: context\nwhen: \"{{title}} == 'x'\"", 5, 12, "when", "an expression is no template"),
    ("type: context\nskip_if: title", 5, 5, "skip_if", "write the opposite under \"when\""),
    // graphs
    ("type: context\ndepends_on: [a]", 5, 18, "depends_on[0]", "is this phase itself"),
    ("type: context\ndepends_on: [bb]", 5, 18, "depends_on[0]", "there is no phase \"bb\""),
    ("type: context\ndepends_on: b", 5, 17, "depends_on", "must be a list, found a text"),
    ("type: context\ndepends_on: []", 5, 17, "depends_on", "is empty"),
    ("type: context\ntrigger_rule: all_done", 5, 19, "trigger_rule", "needs \"depends_on\" beside it"),
    ("type: context\ntrigger_rule: all_sucess\ndepends_on: [z]", 5, 19, "trigger_rule", "did you mean \"all_success\"?"),
    ("type: context\ndepends_on: [z, z]", 5, 21, "depends_on[1]", "stands in the list twice"),
    // retries
    ("type: script\nrun: ls\nretry: 3", 6, 12, "retry", "must be a map, found a number"),
    ("type: script\nrun: ls\nretry: {backoff: 3s}", 6, 12, "retry.max", "is missing; say how many tries"),
    ("type: script\nrun: ls\nretry: {max: 0}", 6, 18, "retry.max", "must be a whole number from 1 to 20, without quotes, found \"0\""),
    ("type: script\nrun: ls\nretry: {max: 1.5}", 6, 18, "retry.max", "found \"1.5\""),
    ("type: script\nrun: ls\nretry: {max: '2'}", 6, 18, "retry.max", "without quotes"),
    ("type: script\nrun: ls\nretry: {max: 2, backoff: 2h}", 6, 30, "retry.backoff", "is longer than 1h"),
    ("type: context\nretry: {max: 2}", 5, 5, "retry", "belongs to agent and script phases"),
    // tokens and files
    ("type: script\nrun: ls\nprofile: write", 6, 14, "profile", "no such profile \"write\" (there are read, issues-write, review-write, repo-write)"),
    ("type: script\nrun: ls\ncheckout: \"{{brnch}}\"", 6, 16, "checkout", "did you mean \"branch\"?"),
    ("type: script\nrun: ls\ncheckout: []", 6, 15, "checkout", "must be a text, found a list"),
    // notify and emit
    ("type: notify\nmessage: x", 3, 5, "channel", "a notify phase needs \"channel\""),
    ("type: notify\nchannel: slack", 3, 5, "message", "a notify phase needs \"message\""),
    ("type: notify\nchannel: slak\nmessage: x", 5, 14, "channel", "did you mean \"slack\"?"),
    ("type: notify\nchannel: slack\nmessage: x\npriority: urgent", 7, 15, "priority", "no such priority \"urgent\""),
    ("type: notify\nchannel: slack\nmessage: x\nwebhook_url: hooks.test/x", 7, 18, "webhook_url", "is no address"),
    ("type: notify\nchannel: slack\nmessage: x\nwebhook_url: 'https://{{title}}/'", 7, 18, "webhook_url", "is no address"),
    ("type: notify\nchannel: email\nmessage: x\nwebhook_url: https://x.test", 7, 18, "webhook_url", "means nothing for mail"),
    ("type: emit\npayload: {}", 3, 5, "event", "an emit phase needs \"event\""),
    ("type: emit\nevent: task.complete", 5, 12, "event", "did you mean \"task.completed\"?"),
    ("type: emit\nevent: error\npayload: [1]", 6, 14, "payload", "must be a map, found a list"),
    ("type: emit\nevent: error\npayload: {a: [{b: '{{titel}}'}]}", 6, 24, "payload.a[0].b", "{{titel}}: nothing is called \"titel\""),
    // gates
    ("type: approval\nmessage: x", 3, 5, "gate", "an approval phase needs \"gate\""),
    ("type: approval\ngate: g", 3, 5, "message", "an approval phase needs \"message\""),
    ("type: approval\ngate: g\nmessage: x\ngate_kind: aprove", 7, 16, "gate_kind", "did you mean \"approve\"?"),
    ("type: approval\ngate: g\nmessage: x\napproval_gate: h", 7, 5, "approval_gate", "belongs to context and agent"),
    ("type: context\ngate_policy: {approvals: 2}", 5, 18, "gate_policy", "needs a gate of this phase"),
    ("type: context\napproval_gate: g\ngate_policy: {logins: ['@ann']}", 6, 28, "gate_policy.logins[0]", "\"@ann\" is no login"),
    ("type: context\napproval_gate: g\ngate_policy: {logins: []}", 6, 27, "gate_policy.logins", "is empty"),
    ("type: context\napproval_gate: g\ngate_policy: {associations: [member]}", 6, 34, "gate_policy.associations[0]", "did you mean \"MEMBER\"?"),
    ("type: context\napproval_gate: g\ngate_policy: {slack_ids: [ann]}", 6, 31, "gate_policy.slack_ids[0]", "is no Slack user id"),
    ("type: context\napproval_gate: g\ngate_policy: {approvals: 0}", 6, 30, "gate_policy.approvals", "from 1 to 20"),
    ("type: context\napproval_gate: g\ngate_policy: {approvals: 3, logins: [ann, ben]}", 6, 30, "gate_policy.approvals", "asks for 3 people, and only 2 may answer"),
    ("type: context\napproval_gate: g\ngate_policy: {deadline: 400d}", 6, 29, "gate_policy.deadline", "not between 1ms and 365 days"),
    ("type: context\napproval_gate: g\ngate_policy: {on_deadline: approved}", 6, 32, "gate_policy.on_deadline", "needs \"deadline\" beside it"),
    ("type: context\napproval_gate: g\ngate_policy: {deadline: 1h, on_deadline: approve}", 6, 46, "gate_policy.on_deadline", "did you mean \"approved\"?"),
    ("type: context\napproval_gate: g\ngate_policy: {deadline: 1h, escalate_after: 2h}", 6, 49, "gate_policy.escalate_after", "is not before the deadline"),
    ("type: context\napproval_gate: g\ngate_policy: {escalate_message: x}", 6, 37, "gate_policy.escalate_message", "needs \"escalate_after\" beside it"),
    ("type: context\napproval_gate: g\ngate_policy: {bind_to: sha}", 6, 28, "gate_policy.bind_to", "(there are head_sha, shown)"),
    ("type: context\napproval_gate: g\ngate_policy: {login: [x]}", 6, 19, "gate_policy.login", "did you mean \"logins\"?"),
    // outputs
    ("type: script\nrun: ls\non_output: {BLOCKED: {action: fail}}", 6, 17, "on_output.BLOCKED", "write \"contains_\" and the word"),
    ("type: script\nrun: ls\non_output: {contains_: {action: fail}}", 6, 17, "on_output.contains_", "write \"contains_\" and the word"),
    ("type: script\nrun: ls\non_output: [x]", 6, 16, "on_output", "must be a map of words and rules"),
    ("type: script\nrun: ls\non_output: {contains_X: {message: no}}", 6, 29, "on_output.contains_X.action", "is missing; say what the word leads to"),
    ("type: script\nrun: ls\non_output: {contains_X: {action: stop}}", 6, 38, "on_output.contains_X.action", "no such action \"stop\" (there are fail, continue, pause)"),
    ("type: script\nrun: ls\non_output: {contains_X: {action: fail, unless_title_matches: '('}}", 6, 66, "on_output.contains_X.unless_title_matches", "is no pattern: unclosed group"),
    ("type: script\nrun: ls\non_output: {contains_X: {action: fail, bypass_message: x}}", 6, 60, "on_output.contains_X.bypass_message", "needs \"unless_label\""),
    // loops
    ("prompt: prompts/chat.md\nloop: {on_request_changes: {fix_prompt: prompts/chat.md}}", 5, 11, "loop.max_cycles", "is missing; a loop says how often"),
    ("prompt: prompts/chat.md\nloop: {max_cycles: 2}", 5, 11, "loop.on_request_changes", "is missing; a loop says how changes are made"),
    ("prompt: prompts/chat.md\nloop: {max_cycles: 2, on_request_changes: {}}", 5, 47, "loop.on_request_changes.fix_prompt", "is missing"),
    ("prompt: prompts/chat.md\nloop: {max_cycles: 2, on_request_changes: {fix_prompt: prompts/nope.md}}", 5, 60, "loop.on_request_changes.fix_prompt", "there is no prompt \"prompts/nope.md\""),
    ("prompt: prompts/chat.md\nloop: {max_cycles: 0, on_request_changes: {fix_prompt: prompts/chat.md}}", 5, 24, "loop.max_cycles", "from 1 to 100"),
    ("prompt: prompts/chat.md\nloop: {max_cycle: 2, max_cycles: 2, on_request_changes: {fix_prompt: prompts/chat.md}}", 5, 12, "loop.max_cycle", "did you mean \"max_cycles\"?"),
    ("prompt: prompts/chat.md\nloop: {max_cycles: 2, gate_policy: {approvals: 2}, on_request_changes: {fix_prompt: prompts/chat.md}}", 5, 40, "loop.gate_policy", "needs \"approval_gate\" beside it"),
    ("prompt: prompts/chat.md\ngeneric_loop: {until: \"output.contains('x')\"}", 5, 19, "generic_loop.max_iterations", "is missing; a loop says how often"),
    ("prompt: prompts/chat.md\ngeneric_loop: {max_iterations: 101, until: output}", 5, 36, "generic_loop.max_iterations", "from 1 to 100"),
    ("prompt: prompts/chat.md\ngeneric_loop: {max_iterations: many, until: output}", 5, 36, "generic_loop.max_iterations", "found \"many\""),
    ("prompt: prompts/chat.md\ngeneric_loop: {max_iterations: 3}", 5, 19, "generic_loop.until", "needs \"until\" or \"until_bash\""),
    ("prompt: prompts/chat.md\ngeneric_loop: {max_iterations: 3, until: 'outpt'}", 5, 47, "generic_loop.until", "did you mean \"output\"?"),
    ("prompt: prompts/chat.md\ngeneric_loop: {max_iterations: 3, until_bash: 'test {{title}}'}", 5, 51, "generic_loop.until_bash", "a command is never a template"),
    ("prompt: prompts/chat.md\ngeneric_loop: {max_iterations: 3, until: output, gate_message: x}", 5, 68, "generic_loop.gate_message", "needs \"interactive: true\" beside it"),
    ("prompt: prompts/chat.md\ngeneric_loop: []", 5, 19, "generic_loop", "must be a map, found a list"),
    ("prompt: prompts/chat.md\nloop: {max_cycles: 2, on_request_changes: {fix_prompt: prompts/chat.md}}\ngeneric_loop: {max_iterations: 3, until: output}", 5, 11, "loop", "cannot stand beside \"generic_loop\""),
    ("type: reply\nmessage: x\ngeneric_loop: {max_iterations: 3, until: output}", 6, 5, "generic_loop", "belongs to agent and script phases"),
];

#[test]
fn every_mistake_in_a_phase_has_its_place() {
    let mut wrong = String::new();
    for (lines, line, column, key, words) in BAD_PHASES {
        let phase = lines.replace('\n', "\n    ");
        let other = if lines.contains("[z") {
            "  - {name: z, type: context}\n"
        } else {
            ""
        };
        let text = format!("name: x\nphases:\n  - name: a\n    {phase}\n{other}");
        let folder = overlay(&[("workflows/bad.yaml", &text)]);
        let mistakes = load_without(&[], Some(folder.path())).err().unwrap_or_default();
        let good = mistakes.len() == 1
            && (mistakes[0].line, mistakes[0].column) == (*line, *column)
            && mistakes[0].key == format!("phases[0].{key}")
            && mistakes[0].problem.contains(words);
        if !good {
            wrong.push_str(&format!(
                "---\n{text}\nexpected {line}:{column}: {key}: {words}\nfound\n{}",
                told(&mistakes)
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(BAD_PHASES.len() > 70);
}

#[test]
fn a_secret_address_is_never_told() {
    let phase = "type: notify\n    channel: slack\n    message: x\n    webhook_url: 'ftp://hooks.test/T0P5ECRET'";
    let mistakes = mistakes_of(&[(
        "workflows/x.yaml",
        &format!("name: x\nphases:\n  - name: a\n    {phase}\n"),
    )]);
    assert!(!told(&mistakes).contains("T0P5ECRET"), "{}", told(&mistakes));
}

#[test]
fn every_kind_of_mistake_has_its_place() {
    let mut wrong = String::new();
    for (text, line, column, key, words) in BAD {
        let mistakes = mistakes_of(&[("workflows/bad.yaml", text)]);
        let first = &mistakes[0];
        let place = (first.file.as_str(), first.line, first.column, first.key.as_str());
        let good = place == ("workflows/bad.yaml", *line, *column, *key) && first.problem.contains(words);
        let well_put = !first.problem.ends_with('.') && !first.problem.contains('\n');
        if !good || !well_put || mistakes.len() != 1 {
            wrong.push_str(&format!(
                "---\n{text}\nexpected {line}:{column}: {key}: {words}\nfound\n{}",
                told(&mistakes)
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(BAD.len() > 60);
}

#[test]
fn a_mistake_in_a_prompt_is_told_where_the_prompt_is() {
    let mistakes = mistakes_of(&[
        (
            "workflows/w.yaml",
            "name: w\nphases:\n  - name: a\n    prompt: prompts/p.md\n",
        ),
        ("workflows/prompts/p.md", "one\ntwo {{titel}}\n{{#if body}}"),
    ]);
    assert_eq!(
        told(&mistakes),
        "workflows/prompts/p.md:2:5: {{titel}}: nothing is called \"titel\"; did you mean \"title\"? (as phases[0].prompt in workflows/w.yaml)\n\
         workflows/prompts/p.md:3:1: {{#if body}}: this {{#if}} has no {{/if}} (as phases[0].prompt in workflows/w.yaml)\n"
    );
}

#[test]
fn a_name_is_taken_once_in_a_layer() {
    let mistakes = mistakes_of(&[
        ("workflows/a.yaml", one_reply()),
        ("workflows/b.yaml", "# b\nname: a\nphases: [{name: p, type: context}]\n"),
    ]);
    assert_eq!(
        told(&mistakes),
        "workflows/b.yaml:2:7: name: \"a\" is taken already, by workflows/a.yaml; choose another name\n"
    );
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once() {
    let mistakes = mistakes_of(&[
        (
            "workflows/a.yaml",
            "nam: a\nphases:\n  - name: x\n    type: scrpt\n    timout: 5\n    run: ls\n",
        ),
        (
            "workflows/b.yaml",
            "name: b\nphases:\n  - {name: p, type: reply, message: '{{nobody}}'}\n  - {name: p, type: reply}\n",
        ),
        ("workflows/c.yaml", "name: [\n"),
        ("workflows/good.yaml", one_reply()),
    ]);
    let places: Vec<_> = mistakes
        .iter()
        .map(|m| {
            format!(
                "{}:{}:{} {}",
                m.file.trim_start_matches("workflows/"),
                m.line,
                m.column,
                m.key
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            "a.yaml:1:1 nam",
            "a.yaml:1:1 name",
            "a.yaml:4:11 phases[0].type",
            "a.yaml:5:5 phases[0].timout",
            "b.yaml:3:38 phases[0].message",
            "b.yaml:4:5 phases[1].message",
            "b.yaml:4:12 phases[1].name",
            "c.yaml:2:1 ",
        ],
        "{}",
        told(&mistakes)
    );
}

#[test]
fn a_file_that_is_too_much_is_refused_quickly() {
    let phases: String = (0..1_001)
        .map(|n| format!("  - {{name: p{n}, type: context}}\n"))
        .collect();
    let lines: String = (0..9)
        .map(|n| format!("b{}: &b{} [{}]\n", n + 1, n + 1, vec![format!("*b{n}"); 9].join(",")))
        .collect();
    let bomb = format!("b0: &b0 [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n{lines}name: *b9\n");
    let deep = format!("name: {}", "[".repeat(100_000));
    let large = format!("{}\n# {}", one_reply(), "x".repeat(256 * 1024));
    let references: String = "{{nobody}}".repeat(20_000);
    let many = format!("name: x\nphases:\n  - {{name: a, type: reply, message: \"{references}\"}}\n");
    let unclosed = format!(
        "name: x\nphases:\n  - {{name: a, type: reply, message: \"{}\"}}\n",
        "{{#if a}}".repeat(20_000)
    );
    for (what, text, words, most) in [
        (
            "phases",
            format!("name: x\nphases:\n{phases}"),
            "has 1001 phases; at most 1000",
            1,
        ),
        ("bomb", bomb, "", 1),
        ("deep", deep, "", 1),
        ("large", large, "is larger than 256 KiB", 1),
        ("references", many, "nothing is called \"nobody\"", 100),
        ("unclosed", unclosed, "", 100),
    ] {
        let mistakes = mistakes_of(&[("workflows/bad.yaml", &text)]);
        assert!(mistakes.len() <= most, "{what}: {}", mistakes.len());
        assert!(mistakes[0].problem.contains(words), "{what}: {}", mistakes[0]);
        assert!(told(&mistakes).len() < 200 * 100, "{what}");
    }
    let thousand: String = (0..1_000)
        .map(|n| format!("  - {{name: p{n}, type: context}}\n"))
        .collect();
    let folder = overlay(&[("workflows/long.yaml", &format!("name: x\nphases:\n{thousand}"))]);
    assert_eq!(
        load(Some(folder.path()))
            .expect("a long one")
            .get("x")
            .expect("there")
            .phases
            .len(),
        1_000
    );
}

#[test]
fn a_file_that_is_no_text_is_a_mistake() {
    let folder = overlay(&[(
        "workflows/a.yaml",
        "name: a\nphases: [{name: p, prompt: prompts/b.md}]\n",
    )]);
    write(folder.path(), "workflows/bad.yaml", b"name: x\n# \xff\n");
    write(folder.path(), "workflows/prompts/b.md", b"\xff");
    write(
        folder.path(),
        "workflows/mark.yaml",
        format!("\u{feff}{}", one_reply().replace("name: a\n", "name: m\n")).as_bytes(),
    );
    let text =
        told(&load(Some(folder.path())).expect_err("not text")).replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(
        text,
        "workflows/a.yaml:2:28: phases[0].prompt: workflows/prompts/b.md: is not UTF-8 text, first in line 1; save it as UTF-8\n\
         workflows/bad.yaml: is not UTF-8 text, first in line 2; save it as UTF-8\n"
    );
}

/// Texts that are there whatever they are called.
struct AnyText;

impl Assets for AnyText {
    fn prompt(&self, path: &str) -> Result<Asset, String> {
        Ok(Asset {
            text: "{{title}} ${count.output}".into(),
            file: path.to_owned(),
        })
    }

    fn skill(&self, name: &str) -> Result<Asset, String> {
        self.prompt(name)
    }
}

fn source(text: &str) -> Source<'_> {
    Source {
        file: "x.yaml",
        stem: "x",
        text,
    }
}

proptest! {
    /// Whatever is torn out of a good file or put into it: it is read, or told where it is wrong.
    #[test]
    fn no_file_makes_the_reader_panic(
        which in 0..EXAMPLES.len(),
        cuts in prop::collection::vec((0..4_000usize, 0..40usize, prop::sample::select(vec![
            "", " ", "\n", ":", "- ", "{", "}", "[", "]", "'", "\"", "|", "{{", "}}", "{{#if a}}", "${x.output}", "é", "null", "&a ", "*a", "!x ", "#", "\t", "\0",
            "type: script\n", "kind: cron", "prompt: ../x",
        ])), 1..8),
    ) {
        let mut text = examples()[which].to_owned();
        for (at, length, piece) in cuts {
            let start = text.floor_char_boundary(at % (text.len() + 1));
            let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
            text.replace_range(start..end, piece);
        }
        if let Ok(Some(root)) = yaml::parse("x.yaml", &text)
            && let Err(mistakes) = schema::read(source(&text), &root, &AnyText, &[])
        {
            let lines = text.lines().count();
            prop_assert!(!mistakes.is_empty());
            for mistake in mistakes {
                prop_assert!(mistake.file != "x.yaml" || (1..=lines).contains(&mistake.line) && mistake.column > 0, "{}", mistake);
            }
        }
    }
}

// ---- settings against workflows ----

#[test]
fn a_route_leads_to_a_workflow_or_to_the_service_itself() {
    let catalog = shipped();
    let route = |workflow: &str| Route {
        key: "routes.github.issue_opened".into(),
        workflow: workflow.into(),
        file: "firstlight.yaml".into(),
        line: 4,
        column: 9,
    };
    let check_routes = |routes: &[Route]| {
        let runtimes = BTreeSet::new();
        told(&check(
            &catalog,
            &Setup {
                routes,
                runtimes: &runtimes,
            },
        ))
    };
    assert_eq!(
        check_routes(&[route("issue-triage"), route("chat-reset"), route("github-orchestrator")]),
        ""
    );
    let text = check_routes(&[route("issue-traige"), route("../x"), route("")]);
    assert_eq!(text.lines().count(), 3);
    assert!(
        text.contains(
            "firstlight.yaml:4:9: routes.github.issue_opened: leads to no workflow, \"issue-traige\" is unknown; did you mean \"issue-triage\"? (known: build, "
        ),
        "{text}"
    );
}

#[test]
fn a_runtime_that_is_needed_is_configured() {
    let folder = overlay(&[(
        "workflows/a.yaml",
        "name: a\nphases:\n  - {name: p, prompt: prompts/chat.md, runtime: locl}\n  - {name: q, prompt: prompts/chat.md, runtime: gone, optional: true}\n  - {name: r, prompt: prompts/chat.md}\n  - {name: s, prompt: prompts/chat.md, runtime: local}\n",
    )]);
    let catalog = load(Some(folder.path())).expect("good files");
    let runtimes = BTreeSet::from(["local".to_owned()]);
    let mistakes = check(
        &catalog,
        &Setup {
            routes: &[],
            runtimes: &runtimes,
        },
    );
    assert_eq!(mistakes.len(), 1, "{}", told(&mistakes));
    assert!(
        mistakes[0].to_string().ends_with(
            "a.yaml:3:49: phases[0].runtime: no runtime \"locl\" is configured; set \"runtimes.locl\" in the settings, or mark the phase \"optional: true\"; did you mean \"local\"?"
        ),
        "{}",
        mistakes[0]
    );
}

// ---- the grammar's page ----

/// The cells of the table rows between two headings whose first cell is in backticks; the backticks are taken off it.
fn rows(from: &str, to: &str) -> Vec<Vec<String>> {
    let start = README.find(from).unwrap_or_else(|| panic!("the page has {from:?}"));
    let end = README[start..].find(to).map_or(README.len(), |at| start + at);
    let lines = README[start..end].lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| {
            line.trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn the_page_explains_every_key_and_no_other() {
    let rows = rows("\n## Keys", "\n### Not supported yet");
    let known = keys();
    assert!(known.len() > 80, "{}", known.len());
    let written: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let expected: Vec<_> = known.iter().map(|key| key.path.as_str()).collect();
    assert_eq!(written, expected);
    for (key, row) in known.iter().zip(&rows) {
        let path = &key.path;
        let names: Vec<_> = key.kinds.iter().map(|kind| kind.as_str()).collect();
        let kinds = if names.len() == PhaseKind::ALL.len() {
            "all".to_owned()
        } else {
            names.join(", ")
        };
        assert_eq!((row.len(), &row[1], row[3].as_str()), (4, &kinds, key.doc), "{path}");
        let example = row[2].trim_matches('`');
        let tree = yaml::parse("example", example).unwrap_or_else(|e| panic!("{path}: {}", told(&e)));
        let mut shown = BTreeSet::new();
        gather(&tree.expect("an example says something"), "", &mut shown);
        let last = path.rsplit('.').next().expect("a key has a last part");
        assert!(shown.contains(last), "{path}: {example}");
    }
}

#[test]
fn the_page_names_every_key_that_is_to_come() {
    let start = README.find("### Not supported yet").expect("the page has it");
    let end = README[start..].find("\n## ").expect("the page goes on");
    let written: BTreeSet<_> = README[start..start + end]
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.strip_suffix('`'))
        .collect();
    assert_eq!(written, NOT_YET.iter().copied().collect());
}

#[test]
fn the_schema_for_editors_is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/workflow.schema.json");
    if std::env::var_os("WRITE_SCHEMA").is_some() {
        fs::write(&path, json_schema()).expect("the file can be written");
    }
    let written = fs::read_to_string(&path).expect("the file is there");
    // Not `assert_eq`: it would print both, 45 kB each.
    assert!(
        written == json_schema(),
        "the grammar has changed; write the file anew with `WRITE_SCHEMA=1 cargo test -p actors the_schema_for_editors`"
    );
    let schema: Value = serde_json::from_str(&written).expect("it is JSON");
    let phase = &schema["properties"]["phases"]["items"];
    let mut inspected = 0;
    for key in keys() {
        let mut at = &schema;
        for step in key.path.split('.') {
            at = match step {
                "phases[]" => phase,
                "contains_*" => &at["patternProperties"]["^contains_[A-Za-z0-9_-]+$"],
                step => &at["properties"][step],
            };
        }
        inspected += 1;
        assert!(
            at["description"] == key.doc || key.path.ends_with("contains_*"),
            "{}: {at}",
            key.path
        );
    }
    assert!(inspected > 80, "{inspected}");
}

#[test]
fn the_page_explains_the_context_and_marks_what_comes_from_outside() {
    let rows = rows("\n### What the context holds", "\n## Text from outside");
    let expected: Vec<Vec<String>> = CONTEXT_KEYS
        .iter()
        .map(|(key, meaning)| {
            let mark = if UNTRUSTED_KEYS.contains(key) { " †" } else { "" };
            vec![format!("`{key}`{mark}"), (*meaning).to_owned()]
        })
        .collect();
    assert!(rows.len() > 20);
    assert_eq!(rows, expected);
}

#[test]
fn the_pages_examples_are_workflows_that_use_every_key() {
    let mut used = BTreeSet::new();
    let files: Vec<_> = EXAMPLES.iter().zip(examples()).collect();
    let folder = overlay(&[]);
    for (name, text) in &files {
        write(folder.path(), &format!("workflows/{name}.yaml"), text.as_bytes());
        let tree = yaml::parse("example", text)
            .expect("it parses")
            .expect("it is not empty");
        gather(&tree, "", &mut used);
    }
    for prompt in ["ask", "fix", "re-review", "review", "write"] {
        write(
            folder.path(),
            &format!("workflows/prompts/{prompt}.md"),
            b"{{previousOutput}}",
        );
    }
    let catalog = load_without(&[], Some(folder.path())).unwrap_or_else(|mistakes| panic!("{}", told(&mistakes)));
    for key in keys() {
        assert!(used.contains(&key.path), "no example shows {}", key.path);
    }
    let greet = catalog.get("greet").expect("it is there");
    assert_eq!(greet.phases.len(), 5);
    assert_eq!(greet.phases[0].on_success.react, Some(Reaction::Eyes));
    assert_eq!(greet.phases[2].timeout, Some(std::time::Duration::from_secs(600)));
    assert_eq!(greet.phases[2].skills.len(), 2);
}

const EXAMPLES: &[&str] = &["greet", "release", "shape"];

/// The workflows that the page shows.
fn examples() -> Vec<&'static str> {
    let blocks: Vec<_> = README
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(blocks.len(), EXAMPLES.len());
    blocks
}

fn gather(node: &yaml::Node, path: &str, into: &mut BTreeSet<String>) {
    match &node.value {
        yaml::Value::Map(entries) => {
            for (key, value) in entries {
                let word = if key.text.starts_with("contains_") {
                    "contains_*"
                } else {
                    &key.text
                };
                let path = format!("{path}{word}");
                gather(value, &format!("{path}."), into);
                into.insert(path);
            }
        }
        yaml::Value::Seq(items) => {
            let path = format!("{}[].", path.trim_end_matches('.'));
            for item in items {
                gather(item, &path, into);
            }
        }
        _ => {}
    }
}
