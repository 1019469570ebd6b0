//! From a configuration to a serving signer, and down again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aws_lc_rs::rand;
use daemon::audit::AuditError;
use daemon::clock::Clock;
use daemon::limit::Limiter;
use daemon::listener::{Activated, ListenError};
use daemon::shutdown::Reloads;
use daemon::trust::{LockError, TrustError};
use daemon::{audit, http, listener, notify, process, shutdown, trust};
use sealhost_client::Client;
use tokio::sync::Mutex;
use wire::audit::Outcome;
use wire::code::Code;

use crate::access::AccessBook;
use crate::config::Config;
use crate::front::Front;
use crate::metrics::Metrics;
use crate::pipeline::Daemon;
use crate::signer::Signer;
use crate::state::{StateError, StateFile};

/// How long another signer that is ending is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// How long the host is waited for: longer than it gives a device to import a key.
const HOST_TIMEOUT: Duration = Duration::from_secs(130);

/// The name that our socket has among those of the service manager.
const ACTIVATED_NAME: &str = "api";

/// Why the signer does not start, or ends early. Each message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file or directory is not to be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Another signer has the state directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The audit cannot be used.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Keys were changed, but the audit that saw it is gone.
    #[error(
        "keys were changed by this signer, but the audit {} is empty; restore state directory and \
         audit from one backup",
        .0.display()
    )]
    AuditIsGone(PathBuf),
    /// The socket cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system refused something at the start.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

/// Runs the signer until it is asked to stop, or cannot start.
///
/// The host need not be there: until it is, requests that need it are `unavailable`.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    config: Config,
    config_path: &Path,
    mut activated: Activated,
) -> Result<(), RunError> {
    let clock = Clock::system();
    let state_dir = trust::private_dir(&config.state_dir)?;
    let _lock = trust::lock_dir(&state_dir, LOCK_PATIENCE)?;
    let (shutdown, _trigger, reloads) =
        shutdown::listen().map_err(|error| RunError::System("signals", error))?;

    let tail = audit::open(&config.audit)?;
    let file = StateFile::new(&state_dir);
    let saved = file.read(tail.last_generation())?;
    if tail.last_generation().is_none() && saved.generation > 0 {
        return Err(RunError::AuditIsGone(config.audit.path));
    }
    let audit = tail.start(saved.generation, clock.clone())?;
    let host = Client::new(&config.host_socket).timeout(HOST_TIMEOUT);
    let signer = Signer::new(
        host.clone(),
        clock.clone(),
        config.renew_at_percent,
        config.skew,
        saved.slots.clone(),
    );
    let mut first_request = [0; 8];
    rand::fill(&mut first_request).map_err(|_unspecified| {
        RunError::System("no randomness", io::Error::other("getrandom failed"))
    })?;
    let daemon = Arc::new(Daemon {
        host,
        signer,
        access: AccessBook::new(config.access.clone()),
        audit,
        metrics: Metrics::new(),
        started_at: clock.now_text(),
        clock,
        generation: AtomicU64::new(saved.generation),
        state: Mutex::new((file, saved)),
        first_request: u64::from_be_bytes(first_request),
        requests: AtomicU64::new(0),
    });

    let (listener, _socket_file) = match activated.take(ACTIVATED_NAME)? {
        Some(listener) => (listener, None),
        None => {
            let (listener, file) = listener::bind(&config.listen)?;
            (listener, Some(file))
        }
    };
    notify::ready(READY);
    tracing::info!(socket = %config.listen.path.display(), "sas-signer is ready");
    tokio::spawn(notify::feed_watchdog());
    let (limits, timeouts) = (config.limits, config.timeouts);
    let reloading =
        tokio::spawn(reload(Arc::clone(&daemon), config_path.to_owned(), config, reloads));
    let front = Front(Arc::clone(&daemon));
    let limiter = Limiter::for_process(limits, daemon.clock.clone());
    http::serve(listener, front, limiter, timeouts, shutdown).await;

    notify::stopping();
    reloading.abort();
    // Ended by the abort, or before: nothing reads the rules after the audit says stop.
    let _ = reloading.await;
    // A change whose caller went away is carried through before the audit closes.
    let _changed = daemon.state.lock().await;
    let stopped = tokio::task::block_in_place(|| {
        process::record_stop(&daemon.audit, &daemon.clock, daemon.generation())
    });
    stopped?;
    tracing::info!("sas-signer has stopped");
    Ok(())
}

const READY: &str = "serving";

/// Reads the rules again at each SIGHUP; keeps the last good ones.
async fn reload(daemon: Arc<Daemon>, path: PathBuf, running: Config, mut reloads: Reloads) {
    loop {
        reloads.next().await;
        notify::reloading();
        let outcome = match Config::load(&path) {
            Ok(new) => {
                for section in new.waiting(&running) {
                    tracing::warn!(%section, "changed, but needs a restart to take effect");
                }
                tracing::info!(rules = new.access.len(), "access rules are read again");
                process::warn_of(new.access.warning());
                daemon.access.replace(new.access);
                Outcome::Ok
            }
            Err(error) => {
                tracing::error!(%error, "access rules are kept as they were");
                Outcome::Failed(Code::Invalid)
            }
        };
        process::record_reload(&daemon.audit, &daemon.clock, daemon.generation(), outcome);
        notify::ready(READY);
    }
}
