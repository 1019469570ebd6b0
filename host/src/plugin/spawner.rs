//! Starts and reaps workers. All are started from one thread, because starting a process takes
//! long enough to hold up requests.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// The first argument that makes this executable a worker.
pub const WORKER_ARGUMENT: &str = "worker";

/// How long a worker may take to end by itself, so that it can leave its device in order.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// How long the end of the host waits for workers and instances: the grace, and then as long as
/// the kernel needs to end what was killed, unless it keeps it in a device call.
const PATIENCE: Duration = Duration::from_secs(5);
const REAP_POLL: Duration = Duration::from_millis(5);

/// Overwrites freed memory of the C library and switches off its per-thread cache, which would
/// keep it; the fast bins go too, because without that cache they cost more than they save
/// (glibc manual, "Memory Allocation Tunables").
const ALLOCATOR: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0",
);

struct Job {
    provider: String,
    socket: OwnedFd,
    environment: Vec<(String, String)>,
    done: oneshot::Sender<io::Result<Child>>,
}

/// The thread that starts workers.
#[derive(Debug)]
pub struct Spawner {
    jobs: mpsc::Sender<Job>,
    ending: Arc<Ending>,
    /// The host's files and directories, links resolved.
    own: Vec<PathBuf>,
}

/// How many workers and instances are being ended.
#[derive(Debug, Default)]
struct Ending {
    count: Mutex<usize>,
    fewer: Condvar,
}

/// One of them, for as long as it has not ended.
#[derive(Debug)]
#[must_use = "the end of the host waits for as long as this is kept"]
pub(super) struct Counted(Arc<Ending>);

impl Spawner {
    /// Starts the thread. `own` are the host's files and directories, which no worker gets for
    /// the asking.
    ///
    /// # Errors
    /// The system's, when it gives no thread.
    pub fn start(own: &[&Path]) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new().name("spawner".into()).spawn(move || {
            for job in queue {
                // A host that stopped waiting drops the child unreaped only when it is ending.
                let _ = job.done.send(spawn(&job.provider, job.socket, &job.environment));
            }
        })?;
        // One that is not there has no links to resolve.
        let resolved = |path: &&Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let own = own.iter().map(resolved).collect();
        Ok(Self { jobs, ending: Arc::default(), own })
    }

    /// What no worker gets for the asking.
    pub(super) fn own(&self) -> &[PathBuf] {
        &self.own
    }

    /// Starts a worker with `socket` as its standard input and nothing of our environment; the
    /// provider's name is its argument, for people who look at the processes.
    pub(super) async fn spawn(
        &self,
        provider: String,
        socket: OwnedFd,
        environment: Vec<(String, String)>,
    ) -> io::Result<Child> {
        let (done, started) = oneshot::channel();
        let ended = || io::Error::other("the spawner thread has ended");
        self.jobs.send(Job { provider, socket, environment, done }).map_err(|_closed| ended())?;
        started.await.map_err(|_closed| ended())?
    }

    /// Has the end of the host wait for something that is being ended.
    pub(super) fn count(&self) -> Counted {
        *self.ending.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Counted(Arc::clone(&self.ending))
    }

    /// Takes a worker whose socket was closed and sees to its end: by itself within two seconds,
    /// then by SIGKILL. However long the kernel keeps it, it is taken off the process table then.
    pub(super) fn reap(&self, mut child: Child) {
        let counted = self.count();
        let reaper = std::thread::Builder::new().name("reaper".into()).spawn(move || {
            let _counted = counted;
            let patience = Instant::now() + GRACE;
            while matches!(child.try_wait(), Ok(None)) {
                if Instant::now() >= patience {
                    tracing::warn!(pid = child.id(), "worker did not end by itself; killed");
                    let _ = child.kill();
                    let _ = child.wait();
                    return;
                }
                std::thread::sleep(REAP_POLL);
            }
        });
        // Without a thread the kernel ends the worker with the host.
        drop(reaper);
    }

    /// Runs the end of an instance in this process on a thread of its own, and gives up on it
    /// after two seconds; the thread then stays until the process ends.
    pub(super) fn end(&self, ending: impl FnOnce() + Send + 'static) {
        let counted = self.count();
        let waiter = std::thread::Builder::new().name("reaper".into()).spawn(move || {
            let _counted = counted;
            let (done, ended) = mpsc::channel::<()>();
            let ending = std::thread::Builder::new().name("closing".into()).spawn(move || {
                ending();
                drop(done);
            });
            let hangs = mpsc::RecvTimeoutError::Timeout;
            if ending.is_ok() && ended.recv_timeout(GRACE) == Err(hangs) {
                tracing::warn!("an in-process provider did not close; left as it is");
            }
        });
        drop(waiter);
    }

    /// Waits until every worker that was given up has ended, and every instance in this process
    /// too; those that have not after five seconds are left behind, and the log says so.
    pub fn wait_for_workers(&self) {
        let count = self.ending.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ending.fewer.wait_timeout_while(count, PATIENCE, |count| *count > 0);
        let left = *waited.unwrap_or_else(PoisonError::into_inner).0;
        if left > 0 {
            tracing::error!(
                left,
                "workers did not end though killed: the kernel keeps them in a device call; they \
                 are left as they are; look after the device"
            );
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.fewer.notify_all();
    }
}

fn spawn(provider: &str, socket: OwnedFd, environment: &[(String, String)]) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("sealhost")
        .args([WORKER_ARGUMENT, provider])
        .env_clear()
        .envs([ALLOCATOR])
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
}
