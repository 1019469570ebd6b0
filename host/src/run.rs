//! From a configuration to a serving host, and down again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use daemon::audit::{AuditError, AuditWriter};
use daemon::clock::Clock;
use daemon::limit::Limiter;
use daemon::listener::{Activated, ListenError};
use daemon::rules::RuleBook;
use daemon::sandbox::{Limits, Network, Reached, Sandbox, Unix};
use daemon::shutdown::Reloads;
use daemon::trust::{LockError, TrustError};
use daemon::{audit, http, listener, notify, process, shutdown, trust};
use wire::api::Verdict;
use wire::audit::{Checkpoint, Kind, Record, read_line};
use wire::name::{KeyName, ProviderName};

use crate::config::{Config, load_rules};
use crate::front::http::Native;
use crate::front::keyd::{self, Keyd};
use crate::pipeline::Host;
use crate::plugin::Spawner;
use crate::registry::{Counter, REGISTRY_ID_BYTES, Registry, RegistryError, Version};
use crate::router::{RecoveryLog, Router, StartError};

/// How long the workers of a host that was killed are waited for: longer than their grace.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// The registry's file in the state directory.
const REGISTRY_FILE: &str = "registry.db";

/// Why the host does not start, or ends early. Each message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file or directory is not to be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Another host has the state directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The audit cannot be used.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The providers do not allow a start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The socket cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There are keys, but the audit that saw them made is gone.
    #[error(
        "there are keys in the registry, but the audit {} is empty; restore registry and audit \
         from one backup, or accept its loss, docs/config.md \"Backup\"",
        .0.display()
    )]
    AuditIsGone(PathBuf),
    /// A checkpoint of the audit is not of this host.
    #[error(
        "the checkpoint at sequence {0} of the audit was not made by this host: lines were added \
         by somebody else; find out who, then restore registry and audit from one backup, \
         docs/config.md \"Backup\""
    )]
    CheckpointForged(u64),
    /// The registry is older than the audit.
    #[error(
        "the registry is of generation {registry}, the audit has seen {audit}: an older registry \
         was put in its place; restore registry and audit from one backup, docs/config.md \
         \"Backup\""
    )]
    RegistryIsOlder {
        /// The registry's generation.
        registry: u64,
        /// The audit's last one.
        audit: u64,
    },
    /// The system refused something at the start.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

/// What the host is left. It passes what it gives up on to its workers, and so keeps the files and
/// networks that one of them may need; its service unit says which those are on its machine.
#[must_use]
pub fn sandbox() -> Sandbox {
    Sandbox {
        paths: None,
        network: Network::Any,
        unix: Unix::Any,
        programs: true,
        administers: true,
        limits: Limits::default(),
    }
}

/// What a registry without its audit comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostAudit {
    /// The host does not start.
    Refused,
    /// A new audit is begun, and says so: the operator has looked.
    Accepted,
}

/// Runs the host until it is asked to stop, or cannot start.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    config: Config,
    config_path: &Path,
    lost: LostAudit,
    mut activated: Activated,
    confined: Reached,
) -> Result<(), RunError> {
    let clock = Clock::system();
    let running = config.clone();
    let state_dir = trust::private_dir(&config.state_dir)?;
    let lock = trust::lock_dir(&state_dir, LOCK_PATIENCE)?;
    // A worker that outlives us finishes its call before the next host asks its device.
    lock.share_with_children().map_err(|error| RunError::System("lock", error))?;
    let (mut shutdown, _trigger, reloads) =
        shutdown::listen().map_err(|error| RunError::System("signals", error))?;

    let mut tail = audit::open(&config.audit)?;
    let mut new_id = [0; REGISTRY_ID_BYTES];
    fill(&mut new_id)?;
    let registry = Arc::new(Registry::open(&state_dir.join(REGISTRY_FILE), &new_id)?);
    let mark = registry.audit_mark().filter(|_| tail.last_generation().is_some());
    match tail.last_generation() {
        None if !registry.is_empty() => match lost {
            LostAudit::Refused => return Err(RunError::AuditIsGone(config.audit.path)),
            LostAudit::Accepted => tail.note_loss(),
        },
        Some(audit) if audit > registry.generation() => {
            return Err(RunError::RegistryIsOlder { registry: registry.generation(), audit });
        }
        Some(_) | None => {}
    }
    let unproven = mark.map_or(Ok(None), |mark| tail.check(mark))?;
    let audit = Arc::new(tail.start(registry.generation(), clock.clone())?);

    let spawner = Spawner::start(&[&state_dir, &config.audit.path, config_path])
        .map_err(|error| RunError::System("threads", error))?;
    let router = Arc::new(Router::new(
        config.providers,
        config.selection,
        Arc::clone(&registry),
        Arc::new(spawner),
        clock.clone(),
        state_dir,
    ));
    let recovery: Arc<dyn RecoveryLog> =
        Arc::new(AuditedRecovery { audit: Arc::clone(&audit), clock: clock.clone() });
    tokio::select! {
        started = router.start(&recovery) => started?,
        () = shutdown.requested() => {
            router.close().await;
            return Ok(audit.close()?);
        }
    }

    if let Some(line) = unproven {
        require_own(&registry, &line)?;
    }
    tokio::task::block_in_place(|| audit.witnessed_by(Arc::clone(&registry) as _));

    let mut first_request = [0; 8];
    fill(&mut first_request)?;
    let host = Arc::new(Host::new(
        registry,
        Arc::clone(&router),
        RuleBook::new(config.rules),
        Arc::clone(&audit),
        clock.clone(),
        confined,
        u64::from_be_bytes(first_request),
    ));
    let (listener, _socket_file) = listener::open(&mut activated, ACTIVATED_NAME, &config.listen)?;
    let keyd = match config.keyd {
        Some(settings) => {
            let (listener, file) = listener::open(&mut activated, KEYD_NAME, &settings.listen)?;
            tracing::info!(socket = %settings.listen.path.display(), "the keyd dialect is switched on");
            Some((settings, listener, file))
        }
        None => None,
    };
    notify::ready(&summary(&router));
    tracing::info!(socket = %config.listen.path.display(), "sealhost is ready: {}", summary(&router));
    tokio::spawn(notify::feed_watchdog());
    let reloading =
        tokio::spawn(reload_rules(Arc::clone(&host), config_path.to_owned(), running, reloads));

    let limiter = Limiter::for_process(config.limits, clock.clone());
    let native = Native(Arc::clone(&host));
    let serving = http::serve(listener, native, limiter.clone(), config.timeouts, shutdown.clone());
    match keyd {
        Some((settings, listener, _socket_file)) => {
            let keyd = Keyd { host: Arc::clone(&host), settings: Arc::new(settings) };
            let timeouts = keyd::timeouts(config.timeouts);
            tokio::join!(serving, http::serve(listener, keyd, limiter, timeouts, shutdown));
        }
        None => serving.await,
    }

    notify::stopping();
    reloading.abort();
    // Ended by the abort, or before: nothing reads the rules after the audit says stop.
    let _ = reloading.await;
    router.close().await;
    process::record_stop(&audit, &clock, host.registry.generation())?;
    tracing::info!("sealhost has stopped");
    Ok(())
}

/// Demands that a checkpoint which is not on record is not of somebody else.
fn require_own(registry: &Registry, line: &[u8]) -> Result<(), RunError> {
    let Ok(entry) = read_line(line) else { return Ok(()) };
    let Some((checkpoint, macs)) = Checkpoint::of(&entry) else { return Ok(()) };
    match registry.verify_checkpoint(&checkpoint, macs) {
        (Verdict::Invalid, _) => Err(RunError::CheckpointForged(checkpoint.sequence)),
        (Verdict::Valid | Verdict::Unknown, _) => Ok(()),
    }
}

/// The names that our sockets have among those of the service manager.
const ACTIVATED_NAME: &str = "api";
const KEYD_NAME: &str = "keyd";

fn fill(bytes: &mut [u8]) -> Result<(), RunError> {
    rand::fill(bytes).map_err(|_unspecified| {
        RunError::System("no randomness", std::io::Error::other("getrandom failed"))
    })
}

fn summary(router: &Router) -> String {
    let word =
        |status: wire::api::ProviderStatus| format!("{} {}", status.name, status.state.as_str());
    router.statuses().into_iter().map(word).collect::<Vec<_>>().join(", ")
}

/// Reads the rules again at each SIGHUP; keeps the last good ones.
async fn reload_rules(host: Arc<Host>, path: PathBuf, running: Config, mut reloads: Reloads) {
    loop {
        reloads.next().await;
        notify::reloading();
        let outcome = process::take_over(load_rules(&path, &running), &host.rules);
        let generation = host.registry.generation();
        process::record_reload(&host.audit, &host.clock, generation, outcome);
        notify::ready(&summary(&host.router));
    }
}

/// Records what opening an instance completed.
#[derive(Debug)]
struct AuditedRecovery {
    audit: Arc<AuditWriter>,
    clock: Clock,
}

impl RecoveryLog for AuditedRecovery {
    fn recovered(&self, key: &KeyName, version: &Version, generation: u64) -> Result<(), String> {
        let time = self.clock.now_text();
        let record = Record {
            key: Some(key.as_str()),
            version: Some(version.number),
            provider: Some(ProviderName::as_str(&version.provider)),
            ..Record::new(Kind::Recovered, &time, generation)
        };
        let recorded = tokio::task::block_in_place(|| self.audit.append_synced(&record));
        recorded.map(drop).map_err(|error| error.to_string())
    }

    fn recovered_counter(&self, counter: &Counter, generation: u64) -> Result<(), String> {
        let time = self.clock.now_text();
        let provider = counter.device().map(|home| home.provider.as_str());
        let record = Record {
            key: Some(counter.name.as_str()),
            provider,
            ..Record::new(Kind::Recovered, &time, generation)
        };
        let recorded = tokio::task::block_in_place(|| self.audit.append_synced(&record));
        recorded.map(drop).map_err(|error| error.to_string())
    }
}
