//! The real binary as a child process: no environment of ours, no configuration file that happens to lie about, and a deadline
//! on everything, so that a hang is a failure and not a hung test.

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Longer than any command of the tests takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// A command of `pilaster` that is being put together. It runs in an empty folder that is also its home.
pub(crate) struct Pilaster {
    command: Command,
    home: TempDir,
}

impl Pilaster {
    /// `pilaster` with these arguments.
    pub(crate) fn command(arguments: &[&str]) -> Self {
        let home = tempfile::Builder::new().prefix("pilaster-home-").tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilaster"));
        command.args(arguments).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home.path());
        command.current_dir(home.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, home }
    }

    /// `pilaster snapshot` of a source into a store.
    pub(crate) fn snapshot(source: &str, store: &Path) -> Self {
        Self::command(&["snapshot", "--postgres", source, "--store", store.to_str().unwrap()])
    }

    /// One more variable in its environment, for example `PILASTER__SNAPSHOT__PART_BYTES`.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// What `pilaster.toml` says; it is read from the working folder.
    pub(crate) fn config(self, toml: &str) -> Self {
        std::fs::write(self.home.path().join("pilaster.toml"), toml).unwrap();
        self
    }

    /// Starts it; it is killed when what this returns is dropped.
    pub(crate) fn spawn(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Running { child, stdout: Some(stdout), stderr: Some(stderr), memory_bytes_max: 0, _home: self.home }
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Finished {
        self.spawn().wait()
    }
}

/// A `pilaster` that runs.
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    memory_bytes_max: u64,
    _home: TempDir,
}

impl Running {
    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name, such as `STOP` or `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -s {name}");
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills it with SIGKILL, unless it has ended already; says what it was.
    pub(crate) fn kill(mut self) -> Finished {
        drop(self.child.kill());
        self.wait()
    }

    /// Waits for its end; panics when it hangs.
    pub(crate) fn wait(mut self) -> Finished {
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            self.measure();
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                drop(self.child.kill());
                drop(self.child.wait());
                let (stdout, stderr) = self.output();
                panic!("pilaster hangs\n{stdout}\n{stderr}");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let (stdout, stderr) = self.output();
        Finished { status, stdout, stderr, memory_bytes_max: self.memory_bytes_max }
    }

    fn output(&mut self) -> (String, String) {
        let text = |reader: &mut Option<JoinHandle<String>>| reader.take().unwrap().join().unwrap();
        (text(&mut self.stdout), text(&mut self.stderr))
    }

    /// The kernel's own high-water mark, which is gone once the process is.
    fn measure(&mut self) {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", self.id())) else { return };
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        self.memory_bytes_max = self.memory_bytes_max.max(kib.unwrap_or(0) << 10);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The most memory that it had resident.
    pub(crate) memory_bytes_max: u64,
}

impl Finished {
    /// Panics unless it succeeded.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert!(self.status.success(), "{}\n{}\n{}", self.status, self.stdout, self.stderr);
        self
    }

    /// Panics unless it failed with exit code 1 and said nothing on standard output; returns its standard error.
    #[track_caller]
    pub(crate) fn failure(self) -> String {
        assert_eq!(self.status.code(), Some(1), "{}\n{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "", "{}", self.stderr);
        assert!(self.stderr.contains("error: ") && !self.stderr.contains("panicked"), "{}", self.stderr);
        self.stderr
    }
}

/// Reads to the end on a thread of its own, so that a full pipe never stops the child.
fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(from.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
