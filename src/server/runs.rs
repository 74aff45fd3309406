//! Snapshot runs as a server sees them: their state, and a way to ask for one. Whoever takes the runs drives them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, watch};

use crate::{
    error::{Code, Error, Result},
    store::SnapshotVersion,
};

/// What is known of runs on this node.
#[derive(Clone, Debug, Default)]
pub struct RunState {
    /// The run that is under way.
    pub running: Option<RunningRun>,
    /// The last that ended.
    pub last: Option<FinishedRun>,
    /// When the next begins by itself.
    pub next_at: Option<DateTime<Utc>>,
}

/// A run under way.
#[derive(Clone, Debug)]
pub struct RunningRun {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The version that it will publish, once it has its lock.
    pub version: Option<SnapshotVersion>,
    /// Rows that have been copied.
    pub rows: u64,
    /// Tables that are complete.
    pub tables_done: usize,
    /// Tables in all, once they are known.
    pub tables: Option<usize>,
}

/// A run that ended.
#[derive(Clone, Debug)]
pub struct FinishedRun {
    /// When.
    pub ended_at: DateTime<Utc>,
    /// How long it took.
    pub elapsed: Duration,
    /// What it published, or why it did not.
    pub outcome: std::result::Result<SnapshotVersion, Error>,
}

/// The server's end.
#[derive(Clone, Debug)]
pub struct Runs {
    state: watch::Receiver<RunState>,
    requests: Option<mpsc::Sender<()>>,
}

/// The end of whoever takes the runs.
#[derive(Debug)]
pub struct RunsDriver {
    /// What the server tells.
    pub state: watch::Sender<RunState>,
    /// Somebody wants a run. One that is under way is joined.
    pub requests: mpsc::Receiver<()>,
}

/// The two ends. Without `takes_runs`, the server says that runs are taken elsewhere.
#[must_use]
pub fn runs(takes_runs: bool) -> (Runs, RunsDriver) {
    let (state, watched) = watch::channel(RunState::default());
    // One place: a request while one waits would only ask for the same.
    let (sender, requests) = mpsc::channel(1);
    (Runs { state: watched, requests: takes_runs.then_some(sender) }, RunsDriver { state, requests })
}

impl Runs {
    /// What is known now.
    #[must_use]
    pub fn state(&self) -> RunState {
        self.state.borrow().clone()
    }

    /// Asks for a run, or joins the one under way; returns what it will be known by.
    pub async fn start(&self) -> Result<RunState> {
        let Some(requests) = &self.requests else {
            return Err(Error::new(Code::InvalidRequest, "this node takes no snapshots")
                .with_hint("start it with --postgres and without --snapshot=never, or ask the node that takes them"));
        };
        let mut state = self.state.clone();
        if state.borrow().running.is_some() {
            return Ok(self.state());
        }
        match requests.try_send(()) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(())) => {}
            Err(mpsc::error::TrySendError::Closed(())) => {
                return Err(Error::new(Code::ShuttingDown, "the server is stopping"));
            }
        }
        // The run shows at once; a driver that is slow to begin is not waited for.
        let began = state.wait_for(|state| state.running.is_some());
        drop(tokio::time::timeout(Duration::from_millis(500), began).await);
        Ok(self.state())
    }
}
