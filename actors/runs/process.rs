//! One child process in its own process group: fed, listened to, and ended with all its children. Knows no workflow and no store.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::log::PhaseLog;
use super::veil::Veil;
use crate::clock::SharedClock;
use crate::domain::Secret;

/// How long a process group has between SIGTERM and SIGKILL once its time is up.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// How long children may go on holding the pipes once the group's leader has exited.
const LINGER: Duration = Duration::from_secs(2);

/// How long we wait for a killed group to let go of its pipes; what left the group holds them for ever.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// Whether a run may go on. Told through a watch, so that whoever is at work hears it at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Go on.
    No,
    /// The service is going down: put down what is in hand, to be taken up again at the next start.
    PutDown,
    /// Somebody cancelled the run: kill at once. The reason.
    Abort(String),
}

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Order {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// The setting or key that a person changes when the program cannot be started.
    pub(crate) setting: String,
    /// The whole environment.
    pub(crate) env: BTreeMap<String, OsString>,
    /// Where it starts. Created when it is missing.
    pub(crate) folder: PathBuf,
    /// What it may read; nothing: its input is empty.
    pub(crate) input: Option<String>,
    /// Ends it.
    pub(crate) timeout: Duration,
    /// How long it may take to end by itself when the service stops.
    pub(crate) finish_grace: Duration,
    /// Bytes of its standard output that are kept.
    pub(crate) keep: usize,
    /// What it was told and must not repeat: neither its log nor its output shows it.
    pub(crate) secrets: Vec<Secret>,
}

/// How a process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// Its time was up.
    TimedOut,
    /// It was killed because its run was cancelled.
    Aborted,
    /// It was stopped because the service stops.
    PutDown,
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How it ended.
    pub(crate) end: End,
    /// Its standard output, cut to the limit.
    pub(crate) output: String,
}

/// Runs a process to its end. When this returns, and also when it is dropped or panics, its whole group is dead.
///
/// # Errors
/// When it could not be started: in words, with the command and the setting to change.
pub(crate) async fn run(
    order: Order,
    log: &mut PhaseLog,
    stop: &mut watch::Receiver<Stop>,
    clock: &SharedClock,
) -> Result<Outcome, String> {
    if let Some(end) = asked_to_stop(stop) {
        return Ok(Outcome {
            end,
            output: String::new(),
        });
    }
    if let Err(error) = tokio::fs::create_dir_all(&order.folder).await {
        let folder = order.folder.display();
        return Err(format!(
            "cannot make the work folder {folder}: {error}; check the state folder"
        ));
    }
    let mut child = spawn(&order)?;
    let group = Group::of(&child);
    let mut output = Kept::new(order.keep);
    let (mut out_veil, mut err_veil) = (Veil::over(&order.secrets), Veil::over(&order.secrets));

    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    let mut feed = pin!(feed(child.stdin.take(), order.input));
    let (mut out_buf, mut err_buf) = (vec![0; CHUNK], vec![0; CHUNK]);

    let mut fed = false;
    let mut exit: Option<ExitStatus> = None;
    let mut ours: Option<End> = None;
    let mut stage = Stage::Running;
    let mut timer = clock.sleep(order.timeout);

    // Until the leader is gone and nobody holds its pipes, or until patience with a killed group is over.
    while exit.is_none() || stdout.is_some() || stderr.is_some() {
        tokio::select! {
            // In this order, so that a flood of output can never keep us from ending it.
            biased;
            end = told_to_stop(stop, ours), if stage != Stage::Killed => {
                if end == End::Aborted || exit.is_none() {
                    ours = Some(end);
                }
                if end == End::PutDown && exit.is_none() {
                    group.signal(Signal::TERM);
                    (stage, timer) = (Stage::Asked, clock.sleep(order.finish_grace));
                } else {
                    // Cancelled, or only stragglers are left of a phase that is done.
                    group.signal(Signal::KILL);
                    (stage, timer) = (Stage::Killed, clock.sleep(LAST_WAIT));
                }
            }
            () = &mut timer => match stage {
                Stage::Running => {
                    ours = Some(End::TimedOut);
                    group.signal(Signal::TERM);
                    (stage, timer) = (Stage::Asked, clock.sleep(TERM_GRACE));
                }
                Stage::Asked | Stage::Lingering => {
                    group.signal(Signal::KILL);
                    (stage, timer) = (Stage::Killed, clock.sleep(LAST_WAIT));
                }
                Stage::Killed => break,
            },
            status = child.wait(), if exit.is_none() => {
                // An error here means that somebody else reaped it; what matters is that it is gone.
                exit = Some(status.unwrap_or_default());
                if stage == Stage::Running {
                    (stage, timer) = (Stage::Lingering, clock.sleep(LINGER));
                }
            }
            () = &mut feed, if !fed && exit.is_none() => fed = true,
            read = read_some(&mut stdout, &mut out_buf), if stdout.is_some() => match read {
                0 => stdout = None,
                n => {
                    let shown = out_veil.pass(&out_buf[..n]);
                    output.take(&shown);
                    log.write(&shown).await;
                }
            },
            read = read_some(&mut stderr, &mut err_buf), if stderr.is_some() => match read {
                0 => stderr = None,
                n => log.write(&err_veil.pass(&err_buf[..n])).await,
            },
        }
    }
    let last = out_veil.rest();
    output.take(&last);
    log.write(&last).await;
    log.write(&err_veil.rest()).await;
    // A phase's processes end with it, those that run quietly in the background too.
    drop(group);
    let end = ours.unwrap_or_else(|| exit.map_or(End::Signalled(Signal::KILL.as_raw()), by_itself));
    Ok(Outcome {
        end,
        output: output.into_text(),
    })
}

/// How far the end of a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody asked it to end; the timer is its timeout.
    Running,
    /// It was sent SIGTERM; the timer is its grace.
    Asked,
    /// The leader has exited, children hold the pipes; the timer is their grace.
    Lingering,
    /// It was sent SIGKILL; the timer is our patience.
    Killed,
}

/// A process group that dies with this value.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // The only error that can be is that nobody is left, which is what we want.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn spawn(order: &Order) -> Result<Child, String> {
    let Some((program, arguments)) = order.argv.split_first() else {
        return Err(format!("no command: set {}", order.setting));
    };
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&order.env)
        .current_dir(&order.folder)
        .process_group(0)
        .stdin(if order.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start {program:?} ({}): {}", order.setting, why_not(&error)))
        .inspect(step_back)
}

/// Whatever a phase computes can wait; a sender that knocks cannot.
fn step_back(child: &Child) {
    const NICE: i32 = 10;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    // It may be over already, and it runs at the usual priority where this is not allowed.
    let _ = rustix::process::setpriority_process(pid, NICE);
}

fn why_not(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "command not found; install it, or give its full path".into(),
        io::ErrorKind::PermissionDenied => "permission denied; make the file executable".into(),
        io::ErrorKind::ArgumentListTooLong => {
            "its arguments and environment are too large together; pass long texts through a file or the prompt".into()
        }
        _ => error.to_string(),
    }
}

/// Gives a process its input and closes the pipe. A process that does not want all of it is none of our business.
async fn feed(stdin: Option<tokio::process::ChildStdin>, input: Option<String>) {
    if let (Some(mut stdin), Some(input)) = (stdin, input) {
        let _ = stdin.write_all(input.as_bytes()).await;
    }
}

/// Reads what there is; 0 at the end. A pipe that fails has come to its end, too.
async fn read_some<R: AsyncRead + Unpin>(pipe: &mut Option<R>, buffer: &mut [u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.read(buffer).await.unwrap_or(0),
        None => 0,
    }
}

fn asked_to_stop(stop: &watch::Receiver<Stop>) -> Option<End> {
    match *stop.borrow() {
        Stop::No => None,
        Stop::PutDown => Some(End::PutDown),
        Stop::Abort(_) => Some(End::Aborted),
    }
}

/// Completes when the process is to end for another reason than it already is. Being cancelled outranks everything.
async fn told_to_stop(stop: &mut watch::Receiver<Stop>, already: Option<End>) -> End {
    loop {
        match (asked_to_stop(stop), already) {
            (Some(End::Aborted), Some(End::Aborted)) => {}
            (Some(End::Aborted), _) => return End::Aborted,
            (Some(end), None) => return end,
            _ => {}
        }
        if stop.changed().await.is_err() {
            // The runner is gone, and with it whoever could tell us anything.
            return std::future::pending().await;
        }
    }
}

fn by_itself(status: ExitStatus) -> End {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signalled(signal),
        (None, None) => End::Signalled(0),
    }
}

/// The first bytes of an output, up to a limit.
pub(crate) struct Kept {
    bytes: Vec<u8>,
    limit: usize,
    cut: bool,
}

impl Kept {
    /// Keeps at most so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            cut: false,
        }
    }

    /// Takes what still fits.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let room = self.limit - self.bytes.len();
        self.cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// There was more that did not even come here.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    /// The output as text: what is no UTF-8, and NUL, which not every store can hold, becomes U+FFFD.
    pub(crate) fn into_text(self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).replace('\0', "\u{fffd}");
        if text.len() > self.limit || self.cut {
            text.truncate(text.floor_char_boundary(self.limit));
            // A character that the limit cut in two.
            let whole = text.trim_end_matches('\u{fffd}').len();
            if self.cut && text.len() - whole <= '\u{fffd}'.len_utf8() {
                text.truncate(whole);
            }
            text.push_str(&format!("\n[output cut after {} bytes]\n", self.limit));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use chrono::{DateTime, Utc};
    use futures_util::FutureExt;
    use futures_util::future::{BoxFuture, join};

    use super::*;
    use crate::clock::{Clock, SystemClock};

    /// How long a process of these tests may take; on the clock of the bench this passes when the test says so.
    const TIMEOUT: Duration = Duration::from_secs(3_600);

    /// The system's clock, but [`TIMEOUT`] passes by hand.
    #[derive(Debug)]
    struct HandClock(watch::Sender<bool>);

    impl Clock for HandClock {
        fn now(&self) -> DateTime<Utc> {
            SystemClock.now()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            if duration != TIMEOUT {
                return SystemClock.sleep(duration);
            }
            let mut passed = self.0.subscribe();
            async move { drop(passed.wait_for(|passed| *passed).await) }.boxed()
        }

        fn chance(&self) -> f64 {
            0.5
        }
    }

    struct Bench {
        folder: tempfile::TempDir,
        stop: watch::Sender<Stop>,
        time_is_up: watch::Sender<bool>,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().expect("temp folder"),
                stop: watch::Sender::new(Stop::No),
                time_is_up: watch::Sender::new(false),
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn order(&self, script: &str) -> Order {
            Order {
                argv: vec!["sh".into(), "-c".into(), script.into()],
                setting: "phases.test.run".into(),
                env: BTreeMap::from([("PATH".into(), std::env::var_os("PATH").expect("PATH"))]),
                folder: self.path("work"),
                input: None,
                timeout: TIMEOUT,
                finish_grace: Duration::from_secs(60),
                keep: 1024 * 1024,
                secrets: Vec::new(),
            }
        }

        async fn run(&self, order: Order) -> Result<Outcome, String> {
            let mut log = PhaseLog::open(&self.path("phase.log"), 1024 * 1024, 1).await;
            let clock: SharedClock = std::sync::Arc::new(HandClock(self.time_is_up.clone()));
            let done = run(order, &mut log, &mut self.stop.subscribe(), &clock).await;
            log.close().await;
            done
        }

        async fn script(&self, script: &str) -> Outcome {
            self.run(self.order(script)).await.expect("sh starts")
        }

        fn log(&self) -> String {
            String::from_utf8_lossy(&std::fs::read(self.path("phase.log")).expect("log")).into_owned()
        }

        /// The number that a script wrote into its work folder.
        fn pid_in(&self, file: &str) -> i32 {
            let text = std::fs::read_to_string(self.path("work").join(file)).expect("pid file");
            text.trim().parse().expect("a number")
        }
    }

    /// Whether a process runs; one that is dead and only waits to be reaped does not.
    fn runs(pid: i32) -> bool {
        std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).is_ok_and(|stat| {
            !stat
                .rsplit(')')
                .next()
                .is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
        })
    }

    /// Waits until a process is gone: it has been sent SIGKILL, so this takes no longer than the kernel.
    async fn gone(pid: i32) {
        while runs(pid) {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for a file that a script makes.
    async fn appears(path: &Path) {
        while !path.exists() {
            tokio::task::yield_now().await;
        }
    }

    #[actix::test]
    async fn output_is_kept_and_both_streams_are_logged() {
        let bench = Bench::new();
        let done = bench.script("echo one; echo two >&2; printf three").await;
        assert_eq!((done.end, done.output.as_str()), (End::Exited(0), "one\nthree"));
        let log = bench.log();
        for word in ["one\n", "two\n", "three"] {
            assert!(log.contains(word), "{log}");
        }
    }

    #[actix::test]
    async fn an_end_by_status_and_an_end_by_signal_are_told_apart() {
        let bench = Bench::new();
        assert_eq!(bench.script("exit 3").await.end, End::Exited(3));
        assert_eq!(bench.script("kill -9 $$").await.end, End::Signalled(9));
    }

    #[actix::test]
    async fn a_timeout_kills_grandchildren_too() {
        let bench = Bench::new();
        let order =
            bench.order("trap '' TERM; sh -c 'echo $$ > child; touch up; while :; do sleep 5; done' & wait; wait");
        let up = bench.path("work/up");
        let wait = appears(&up).map(|()| bench.time_is_up.send_replace(true));
        let (done, _) = join(bench.run(order), wait).await;
        assert_eq!(done.expect("sh starts").end, End::TimedOut);
        gone(bench.pid_in("child")).await;
    }

    #[actix::test]
    async fn a_polite_process_ends_with_sigterm() {
        let bench = Bench::new();
        let order = bench.order("trap 'echo bye; exit 0' TERM; touch up; while :; do sleep 0.05; done");
        let up = bench.path("work/up");
        let wait = appears(&up).map(|()| bench.time_is_up.send_replace(true));
        let (done, _) = join(bench.run(order), wait).await;
        let done = done.expect("sh starts");
        assert_eq!((done.end, done.output.as_str()), (End::TimedOut, "bye\n"));
    }

    #[actix::test]
    async fn children_that_hold_the_pipe_are_killed_after_their_parent() {
        let bench = Bench::new();
        let done = bench.script("sleep 600 & echo $! > child; echo done").await;
        assert_eq!((done.end, done.output.as_str()), (End::Exited(0), "done\n"));
        gone(bench.pid_in("child")).await;
    }

    #[actix::test]
    async fn children_in_the_background_end_with_the_phase() {
        let bench = Bench::new();
        let done = bench.script("sleep 600 >/dev/null 2>&1 & echo $! > child").await;
        assert_eq!(done.end, End::Exited(0));
        gone(bench.pid_in("child")).await;
    }

    #[actix::test]
    async fn a_process_that_left_its_group_cannot_hold_us() {
        let bench = Bench::new();
        let done = bench
            .script("setsid sh -c 'echo $$ > child; exec sleep 600' & until [ -s child ]; do :; done")
            .await;
        assert_eq!(done.end, End::Exited(0));
        let pid = Pid::from_raw(bench.pid_in("child")).expect("a process");
        rustix::process::kill_process(pid, Signal::KILL).expect("it runs");
    }

    #[actix::test]
    async fn a_cancelled_process_that_ignores_sigterm_is_dead_at_once() {
        let bench = Bench::new();
        let mut order = bench.order("trap '' TERM; echo $$ > self; touch up; while :; do sleep 5; done");
        order.finish_grace = Duration::from_secs(3600);
        let up = bench.path("work/up");
        let cancel = async {
            appears(&up).await;
            // First told to finish, which it ignores for an hour; being cancelled outranks that.
            bench.stop.send_replace(Stop::PutDown);
            tokio::task::yield_now().await;
            bench.stop.send_replace(Stop::Abort("cancelled by ann".into()));
        };
        let (done, ()) = join(bench.run(order), cancel).await;
        assert_eq!(done.expect("sh starts").end, End::Aborted);
        gone(bench.pid_in("self")).await;
    }

    #[actix::test]
    async fn a_service_that_stops_gives_a_process_its_grace() {
        let bench = Bench::new();
        let order = bench.order("trap 'echo saved > state; exit 0' TERM; touch up; while :; do sleep 0.05; done");
        let up = bench.path("work/up");
        let finish = async {
            appears(&up).await;
            bench.stop.send_replace(Stop::PutDown);
        };
        let (done, ()) = join(bench.run(order), finish).await;
        assert_eq!(done.expect("sh starts").end, End::PutDown);
        assert!(bench.path("work/state").exists());
    }

    #[actix::test]
    async fn nothing_is_started_once_a_stop_was_asked_for() {
        let bench = Bench::new();
        bench.stop.send_replace(Stop::Abort("cancelled by ann".into()));
        assert_eq!(bench.script("touch ran").await.end, End::Aborted);
        assert!(!bench.path("work/ran").exists());
    }

    #[actix::test]
    async fn a_dropped_process_leaves_nobody_behind() {
        let bench = Bench::new();
        let up = bench.path("work/up");
        let order = bench.order("sleep 600 & echo $! > child; touch up; wait");
        tokio::select! {
            _ = bench.run(order) => panic!("it sleeps for ten minutes"),
            () = appears(&up) => {}
        }
        gone(bench.pid_in("child")).await;
    }

    #[actix::test]
    async fn a_prompt_that_is_never_read_hurts_nobody() {
        let bench = Bench::new();
        for script in ["exec 0<&-; echo ok", "echo ok"] {
            let mut order = bench.order(script);
            order.input = Some("x".repeat(1024 * 1024));
            let done = bench.run(order).await.expect("sh starts");
            assert_eq!((done.end, done.output.as_str()), (End::Exited(0), "ok\n"));
        }
    }

    #[actix::test]
    async fn a_prompt_arrives_whole() {
        let bench = Bench::new();
        let mut order = bench.order("wc -c");
        order.input = Some("x".repeat(1024 * 1024));
        let done = bench.run(order).await.expect("sh starts");
        assert_eq!(done.output.trim(), "1048576");
    }

    #[actix::test]
    async fn binary_output_is_kept_lossily() {
        let bench = Bench::new();
        let done = bench.script(r"printf 'a\377\000b'").await;
        assert_eq!(done.output, "a\u{fffd}\u{fffd}b");
    }

    #[actix::test]
    async fn a_flood_is_read_to_its_end_and_kept_within_bounds() {
        let bench = Bench::new();
        let before = resident();
        let done = bench.script("head -c 200000000 /dev/zero; echo end >&2").await;
        assert_eq!(done.end, End::Exited(0));
        assert!(done.output.len() < 1024 * 1024 + 100, "{}", done.output.len());
        let size = std::fs::metadata(bench.path("phase.log")).expect("log").len();
        assert!(size < 1024 * 1024 + 200, "{size}");
        assert!(bench.log().contains("[firstlight] log cut after 1048576 bytes"));
        let grown = resident().saturating_sub(before);
        // Other tests run in this process, too; what was printed is far more.
        assert!(grown < 120 * 1024 * 1024, "grew by {grown} bytes");
    }

    /// Bytes of memory that this process has in use.
    fn resident() -> u64 {
        let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
        let pages: u64 = text.split(' ').nth(1).expect("resident").parse().expect("a number");
        pages * 4096
    }

    #[actix::test]
    async fn a_process_that_cannot_be_started_names_the_command_and_the_setting() {
        let bench = Bench::new();
        std::fs::create_dir_all(bench.path("work")).expect("folder");
        std::fs::write(bench.path("work/plain"), "no program").expect("write");
        std::fs::write(bench.path("file"), "").expect("write");
        let start = |argv: &[&str]| {
            let mut order = bench.order("");
            order.argv = argv.iter().map(|word| (*word).to_owned()).collect();
            order.setting = "runtimes.default.command".into();
            order
        };
        let plain = bench.path("work/plain").display().to_string();
        let huge = "x".repeat(3 * 1024 * 1024);
        let mut nowhere = start(&["sh"]);
        nowhere.folder = bench.path("file/work");
        for (order, words) in [
            (
                start(&["no-such-agent"]),
                &["\"no-such-agent\"", "runtimes.default.command", "not found"][..],
            ),
            (
                start(&[&plain]),
                &["plain", "runtimes.default.command", "executable"][..],
            ),
            (
                start(&["sh", &huge]),
                &["\"sh\"", "runtimes.default.command", "too large"][..],
            ),
            (start(&[]), &["runtimes.default.command"][..]),
            (nowhere, &["work folder", "file/work"][..]),
        ] {
            let problem = bench.run(order).await.expect_err("cannot start");
            for word in words {
                assert!(problem.contains(word), "{problem}");
            }
        }
    }

    #[test]
    fn a_kept_output_is_cut_between_characters() {
        let mut kept = Kept::new(4);
        kept.take("aaaä".as_bytes());
        assert_eq!(kept.into_text(), "aaa\n[output cut after 4 bytes]\n");
        let mut kept = Kept::new(4);
        kept.take(b"abcd");
        assert_eq!(kept.into_text(), "abcd");
        let mut kept = Kept::new(4);
        kept.take(&[0xff; 4]);
        assert_eq!(kept.into_text(), "\u{fffd}\n[output cut after 4 bytes]\n");
    }
}
