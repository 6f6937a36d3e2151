//! Which processes of runs are alive, as the system's own list tells it. Knows a run's id and its phase and no more of them.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::domain::{PhaseName, ProcessGroup, RunId};

/// Every group whose leader we started for a phase, by name. Works where there is a `/proc`; elsewhere it finds nobody.
pub(super) async fn take() -> Vec<ProcessGroup> {
    tokio::task::spawn_blocking(|| count(Path::new("/proc"), std::process::id()))
        .await
        .unwrap_or_default()
}

/// Kills the group of this name, and says whether there was one. Whatever else a name may say reaches nobody: it is
/// compared with those that there are.
pub(super) async fn kill(name: String) -> bool {
    let found = take().await.into_iter().find(|group| group.name == name);
    let pid = found.and_then(|group| Pid::from_raw(group.pid));
    pid.is_some_and(|pid| kill_process_group(pid, Signal::KILL).is_ok())
}

fn count(proc: &Path, ours: u32) -> Vec<ProcessGroup> {
    let Ok(entries) = std::fs::read_dir(proc) else {
        return Vec::new();
    };
    let mut groups: BTreeMap<i32, ProcessGroup> = BTreeMap::new();
    let mut members: Vec<Process> = Vec::new();
    for entry in entries.flatten() {
        let Some(process) = Process::read(&entry.path()) else {
            continue;
        };
        // Whoever sets these variables by themselves is not our child, or does not lead a group.
        if process.parent == i64::from(ours)
            && process.pid == process.group
            && let Some((run, phase)) = marks(&entry.path())
        {
            let pid = process.pid;
            groups.insert(
                pid,
                ProcessGroup {
                    name: format!("{}{run}-{phase}-{pid}", ProcessGroup::PREFIX),
                    pid,
                    run,
                    phase,
                    command: process.command.clone(),
                    processes: 0,
                    memory_bytes: 0,
                    cpu_ms: 0,
                },
            );
        }
        members.push(process);
    }
    for member in members {
        if let Some(group) = groups.get_mut(&member.group) {
            group.processes += 1;
            group.memory_bytes += member.memory_bytes;
            group.cpu_ms += member.cpu_ms;
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

struct Process {
    pid: i32,
    parent: i64,
    group: i32,
    command: String,
    memory_bytes: u64,
    cpu_ms: u64,
}

impl Process {
    /// Out of `/proc/<pid>/stat`, whose fields proc(5) lists.
    fn read(folder: &Path) -> Option<Self> {
        let pid = folder.file_name()?.to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        // The name stands in parentheses and may hold some of its own.
        let (front, rest) = stat.rsplit_once(')')?;
        let command = front.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |n: usize| fields.get(n).and_then(|field| field.parse::<i64>().ok());
        let ticks = number(11)?.saturating_add(number(12)?);
        let pages = number(21)?;
        Some(Self {
            pid,
            parent: number(1)?,
            group: i32::try_from(number(2)?).ok()?,
            command,
            memory_bytes: u64::try_from(pages)
                .ok()?
                .saturating_mul(rustix::param::page_size() as u64),
            cpu_ms: u64::try_from(ticks).ok()?.saturating_mul(1_000) / rustix::param::clock_ticks_per_second().max(1),
        })
    }
}

/// Of which run and phase a process is.
fn marks(folder: &Path) -> Option<(RunId, PhaseName)> {
    let environment = std::fs::read(folder.join("environ")).ok()?;
    let value = |name: &[u8]| {
        let found = environment
            .split(|byte| *byte == 0)
            .find_map(|var| var.strip_prefix(name))?;
        std::str::from_utf8(found).ok().map(str::to_owned)
    };
    let run = value(b"FIRSTLIGHT_RUN_ID=")?.parse().ok()?;
    let phase = value(b"FIRSTLIGHT_PHASE=")?.parse().ok()?;
    Some((run, phase))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[actix::test]
    async fn a_phase_at_work_is_found_with_its_children_and_can_be_killed_by_its_name() {
        let run = RunId::new(uuid::Uuid::now_v7());
        let mut child = Command::new("sh")
            .args(["-c", "sleep 600 & sleep 600"])
            .env("FIRSTLIGHT_RUN_ID", run.to_string())
            .env("FIRSTLIGHT_PHASE", "build")
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("it starts");
        // The shell has to read its own command before its children are there.
        let mine = loop {
            let found = take().await.into_iter().find(|group| group.run == run);
            if let Some(group) = found.filter(|group| group.processes == 3) {
                break group;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(mine.name, format!("firstlight-{run}-build-{}", child.id()));
        assert_eq!((mine.command.as_str(), mine.phase.as_str()), ("sh", "build"));
        assert!(mine.memory_bytes > 0);
        for other in ["", "firstlight-", "1", "../1", &mine.name[..mine.name.len() - 1]] {
            assert!(!kill(other.to_owned()).await, "{other:?}");
        }
        assert!(kill(mine.name.clone()).await);
        child.wait().expect("it is dead");
        assert!(!kill(mine.name).await);
    }
}
