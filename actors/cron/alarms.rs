//! When somebody is told of a schedule, once per episode, and when that it is over. Pure.

use crate::domain::{CronAlarm, CronState, Effect, EffectKey, NewEffect, Priority};

/// How a firing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Went<'a> {
    /// Something was done, and well.
    Well,
    /// Something failed, in words.
    Wrong(&'a str),
    /// There was nothing to do where work was expected.
    Nowhere,
    /// Its workflow is switched off, so nobody knows.
    Unseen,
}

/// What is told of a schedule, and how.
#[derive(Debug)]
pub(super) struct Teller<'a> {
    /// Its name.
    pub(super) cron: &'a str,
    /// Unique for the firing that is told of.
    pub(super) mark: String,
    /// Where the schedule stands.
    pub(super) state: CronState,
    /// What is to be said.
    pub(super) effects: Vec<NewEffect>,
}

impl Teller<'_> {
    /// A firing is over.
    pub(super) fn ended(&mut self, went: Went<'_>, max_failures: u32) {
        match went {
            Went::Unseen => return,
            Went::Wrong(why) => {
                self.state.failures = self.state.failures.saturating_add(1);
                if self.state.failures >= max_failures {
                    let text = format!(
                        "{} failed {}; the last time: {why}. `firstlight crons history {}` shows more.",
                        self.called(),
                        times(self.state.failures),
                        self.cron
                    );
                    self.raise(CronAlarm::Failing, text, Priority::High);
                }
            }
            Went::Nowhere => {
                let text = format!(
                    "{} fired and found no repository to work on: name some under `context.repos` of its file or in \
                     `managed_repos`.",
                    self.called()
                );
                self.raise(CronAlarm::Idle, text, Priority::Normal);
            }
            Went::Well => {
                self.state.failures = 0;
                let text = format!("{} works again.", self.called());
                self.lower(CronAlarm::Failing, text);
            }
        }
        if went != Went::Nowhere {
            let text = format!("{} has repositories to work on again.", self.called());
            self.lower(CronAlarm::Idle, text);
        }
    }

    /// Instants passed that nobody was there for; `which` says which.
    pub(super) fn missed(&mut self, which: &str) {
        let text = format!(
            "{} did not fire {which}: the service was not running, or the machine was asleep.",
            self.called()
        );
        self.raise(CronAlarm::Missed, text, Priority::High);
    }

    /// It fired at its time.
    pub(super) fn on_time(&mut self) {
        let text = format!("{} fires at its times again.", self.called());
        self.lower(CronAlarm::Missed, text);
    }

    fn called(&self) -> String {
        format!("The schedule `{}`", self.cron)
    }

    fn raise(&mut self, alarm: CronAlarm, text: String, priority: Priority) {
        if self.state.alarms.insert(alarm) {
            self.say(alarm, "raised", text, priority);
        }
    }

    fn lower(&mut self, alarm: CronAlarm, text: String) {
        if self.state.alarms.remove(&alarm) {
            self.say(alarm, "resolved", text, Priority::Normal);
        }
    }

    fn say(&mut self, alarm: CronAlarm, what: &str, text: String, priority: Priority) {
        let key: EffectKey = format!("cron:{}/{alarm}/{what}/{}", self.cron, self.mark)
            .parse()
            .expect("a name of at most 64 characters and a short mark");
        let about = format!("cron:{}", self.cron);
        self.effects.push(NewEffect {
            key,
            effect: Effect::Notice { about, text, priority },
            run: None,
            event: None,
        });
    }
}

fn times(n: u32) -> String {
    match n {
        1 => "once".to_owned(),
        2 => "twice in a row".to_owned(),
        n => format!("{n} times in a row"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told over a row of firings.
    fn told(max: u32, rows: &[Went<'_>]) -> Vec<String> {
        let mut state = CronState::default();
        let mut said = Vec::new();
        for (n, went) in rows.iter().enumerate() {
            let mut teller = Teller {
                cron: "nightly",
                mark: n.to_string(),
                state,
                effects: Vec::new(),
            };
            teller.ended(*went, max);
            state = teller.state;
            said.extend(teller.effects.into_iter().map(|effect| effect.key.as_str().to_owned()));
        }
        said
    }

    #[test]
    fn an_episode_is_told_once_and_its_end_once() {
        use Went::{Nowhere, Well, Wrong};
        let (failing, works) = ("cron:nightly/failing/raised", "cron:nightly/failing/resolved");
        let no = Wrong("no");
        assert!(told(3, &[no, no, Well, no, no]).is_empty());
        assert_eq!(
            told(3, &[no, no, no, no, Well, no, no, no]),
            [format!("{failing}/2"), format!("{works}/4"), format!("{failing}/7")]
        );
        assert_eq!(told(1, &[no, no]), [format!("{failing}/0")]);
        assert_eq!(
            told(3, &[Nowhere, Nowhere, Well, Nowhere]),
            [
                "cron:nightly/idle/raised/0",
                "cron:nightly/idle/resolved/2",
                "cron:nightly/idle/raised/3"
            ]
        );
    }

    #[test]
    fn a_missed_firing_is_told_until_one_comes_in_time() {
        let mut teller = Teller {
            cron: "nightly",
            mark: "1".into(),
            state: CronState::default(),
            effects: Vec::new(),
        };
        teller.on_time();
        teller.missed("at 09:00");
        teller.missed("at 10:00");
        teller.on_time();
        teller.on_time();
        let said: Vec<_> = teller.effects.iter().map(|effect| effect.key.as_str()).collect();
        assert_eq!(said, ["cron:nightly/missed/raised/1", "cron:nightly/missed/resolved/1"]);
    }
}
