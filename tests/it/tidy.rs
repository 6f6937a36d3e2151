//! The walls of the house, held as plain tests over its own text. Each counts what it saw and fails at zero. Runs nothing of the house
//! but the README's walkthrough.

mod catalogue;
mod documents;
mod numbers;
mod source;
mod walkthrough;
mod walls;

/// What a gate saw, and what it did not like.
#[derive(Default)]
struct Gate {
    seen: usize,
    faults: Vec<String>,
}

impl Gate {
    /// Looks at one thing.
    fn see(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        self.seen += 1;
        if !holds {
            self.faults.push(fault());
        }
    }

    /// Passes if all was well and there was no less to look at than this.
    fn close(self, at_least: usize) {
        assert!(
            self.seen >= at_least.max(1),
            "only {} of at least {at_least} were inspected: this gate is blind",
            self.seen
        );
        assert!(self.faults.is_empty(), "\n{}\n", self.faults.join("\n"));
    }
}
