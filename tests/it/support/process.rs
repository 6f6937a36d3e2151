//! The real binary as a child process: started, awaited by its own words, killed. Knows no rule of the service.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

/// The binary under test.
pub(crate) fn firstlight() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstlight"));
    // Nothing of the machine's own settings may leak in.
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// A running `firstlight serve`.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: String,
    lines: Box<dyn Iterator<Item = Value> + Send>,
}

impl Served {
    /// Starts it on a folder and waits for its readiness line.
    pub(crate) fn start(folder: &Path, env: &BTreeMap<String, String>) -> Self {
        let mut child = firstlight()
            .args(["serve", "--listen", "127.0.0.1:0", "--state-dir"])
            .arg(folder.join("state"))
            .current_dir(folder)
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("piped");
        let mut lines = BufReader::new(stderr)
            .lines()
            .map_while(Result::ok)
            .map(|line| serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a JSON line: {line}")));
        let ready = lines
            .find(|line: &Value| line["message"] == "ready")
            .expect("it gets ready");
        let address = ready["address"].as_str().expect("an address").to_owned();
        Self {
            child,
            address,
            lines: Box::new(lines),
        }
    }

    /// The next line that it writes of this kind; whatever comes before is passed over.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.lines.find(|line| wanted(line)).expect("it says so before it ends")
    }

    /// As the kernel does it when memory runs out: no chance to say anything.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it was ours");
    }

    /// Asks it to stop and waits; its exit status and what it said until then.
    pub(crate) fn terminate(mut self) -> (ExitStatus, Vec<Value>) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(id).expect("a process id is not 0"),
            rustix::process::Signal::TERM,
        )
        .expect("it was running");
        let lines = self.lines.by_ref().collect();
        (self.child.wait().expect("it was ours"), lines)
    }
}
