//! A child process with a log of its own, that ends with us.

use std::fs::OpenOptions;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// A running program. Dropping it kills it and what it started in its process group.
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts it in a process group of its own, so that Ctrl-C reaches only the harness; what it says goes
    /// to the end of `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let out = OpenOptions::new().create(true).append(true).open(log)?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .map_err(|e| format!("{name} does not start: {e}"))?;
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child })
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether it ended itself by `abort`, as it was told to.
    pub fn was_aborted(&mut self) -> bool {
        const SIGABRT: i32 = 6;
        matches!(self.child.try_wait(), Ok(Some(status)) if status.signal() == Some(SIGABRT))
    }

    /// Sends a signal: `KILL`, `TERM`, `STOP`, `CONT`, `QUIT`. One that has ended is left alone.
    pub fn signal(&mut self, signal: &str) {
        if self.is_running() {
            send(signal, &[self.child.id().to_string()]);
        }
    }

    /// The same to it and to its children, whatever groups they are in.
    pub fn signal_family(&mut self, signal: &str) {
        if self.is_running() {
            let mut family = vec![self.child.id().to_string()];
            family.extend(children_of(self.child.id()));
            send(signal, &family);
        }
    }

    /// How much of it is in memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim_end_matches("kB").trim().parse().unwrap_or_default()
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Waits for its end; false when it takes longer.
    pub async fn ends_within(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while self.is_running() {
            if Instant::now() > until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// Waits until `answers`, at most a minute; else its last words are the error.
    pub async fn until<F: AsyncFnMut() -> bool>(&mut self, mut answers: F) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(60);
        while !answers().await {
            if !self.is_running() || Instant::now() > until {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(8).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                return Err(format!("{} does not come up: {}", self.name, last.join("\n")).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            send("KILL", &[format!("-{}", self.child.id())]);
        }
        self.kill();
    }
}

fn send(signal: &str, to: &[String]) {
    // `--`: a negative number is a group. Who ended in between is no trouble.
    let mut kill = Command::new("kill");
    kill.args(["-s", signal, "--"]).args(to).stdout(Stdio::null()).stderr(Stdio::null());
    kill.status().ok();
}

fn children_of(id: u32) -> Vec<String> {
    let list = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    list.split_whitespace().map(str::to_owned).collect()
}

/// A command that runs as `user` when we are root: database servers refuse to be root.
pub fn as_user(user: &str, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut lent = Command::new("setpriv");
    lent.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--init-groups"]).arg(program);
    lent
}

/// Gives a directory to `user` when we are root.
pub fn give_to(user: &str, directory: &Path) -> Result<()> {
    if is_root() && !Command::new("chown").arg("-R").arg(user).arg(directory).status()?.success() {
        return Err(format!("chown {user} {}", directory.display()).into());
    }
    Ok(())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// A port of 127.0.0.1 that is free now, below the range that the system hands out by itself, and given to
/// nobody else in this run.
pub fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 37;
        let port = 20_000 + (step % 10_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
