//! Ends processes that a killed service left behind, before their phase is begun anew. Knows a run's id and no more of it.

use rustix::process::{Pid, Signal, kill_process};

use crate::domain::RunId;

/// A process that is found may have started another in that moment; nobody does so more often than this.
const MOST_ROUNDS: usize = 10;

/// Kills every process that carries this run's id in its environment, and says how many there were.
///
/// A service that is killed cannot take its children along, and two executions of one phase at the same time would undo
/// each other's work. Works where there is a `/proc`; elsewhere it finds nobody.
pub(crate) async fn end_of(run: RunId) -> usize {
    let mark = format!("FIRSTLIGHT_RUN_ID={run}");
    let found = tokio::task::spawn_blocking(move || {
        let mut ended = 0;
        for _ in 0..MOST_ROUNDS {
            match kill_marked(mark.as_bytes()) {
                0 => break,
                found => ended += found,
            }
        }
        ended
    });
    found.await.unwrap_or(0)
}

fn kill_marked(mark: &[u8]) -> usize {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let marked = processes.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        environment
            .split(|byte| *byte == 0)
            .any(|var| var == mark)
            .then_some(pid)
    });
    marked.filter(|pid| kill_process(*pid, Signal::KILL).is_ok()).count()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[actix::test]
    async fn only_the_processes_of_that_run_are_ended() {
        let sleeper = |id: &str| {
            Command::new("sleep")
                .arg("600")
                .env("FIRSTLIGHT_RUN_ID", id)
                .stdout(Stdio::null())
                .spawn()
                .expect("sleep starts")
        };
        let (mine, other) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
        let (mut left, mut stays) = (sleeper(&mine.to_string()), sleeper(&other.to_string()));
        // A process that was born this instant shows its environment a moment later.
        let mut ended = 0;
        while ended == 0 {
            ended = end_of(RunId::new(mine)).await;
        }
        assert!(!left.wait().expect("it ends").success());
        assert!(stays.try_wait().expect("asked").is_none());
        stays.kill().expect("it runs");
        stays.wait().expect("it ends");
    }
}
