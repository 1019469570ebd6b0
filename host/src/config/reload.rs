//! What a reload takes over, and what it leaves for a restart.

use daemon::rules::Rules;

use crate::plugin::{Deadlines, PluginSource};

use super::{Config, ProviderConfig, Selection};

/// What came of reading the file again.
#[derive(Debug)]
pub struct Reload {
    /// The rules of the file, to be put in force.
    pub rules: Rules,
    /// The other sections that differ from the running configuration, as the file heads them:
    /// `[listen]`, `[[provider]]`. They wait for a restart; the log should say so.
    pub waiting: Vec<&'static str>,
}

impl Reload {
    pub(super) fn of(new: Config, running: &Config) -> Self {
        // Taken apart by name, so that a new section cannot be forgotten here.
        let Config { listen, state_dir, providers, selection, rules, audit_path, limits } = new;
        let differing = [
            ("[listen]", listen != running.listen),
            ("[state]", state_dir != running.state_dir),
            ("[[provider]]", !same_providers(&providers, &running.providers)),
            ("[selection]", !same_selection(&selection, &running.selection)),
            ("[audit]", audit_path != running.audit_path),
            ("[limits]", limits != running.limits),
        ];
        let waiting = differing.into_iter().filter(|(_, differs)| *differs);
        Self { rules, waiting: waiting.map(|(section, _)| section).collect() }
    }
}

fn same_providers(new: &[ProviderConfig], running: &[ProviderConfig]) -> bool {
    new.len() == running.len() && new.iter().zip(running).all(|(new, old)| same_provider(new, old))
}

fn same_provider(new: &ProviderConfig, running: &ProviderConfig) -> bool {
    let ProviderConfig { name, source, protection, settings, secrets, deadlines } = new;
    *name == running.name
        && same_source(source, &running.source)
        && *protection == running.protection
        && settings.iter().eq(running.settings.iter())
        && *secrets == running.secrets
        && same_deadlines(*deadlines, running.deadlines)
}

fn same_source(new: &PluginSource, running: &PluginSource) -> bool {
    let PluginSource { provider, path, sha256, isolation, environment } = new;
    *provider == running.provider
        && *path == running.path
        && *sha256 == running.sha256
        && *isolation == running.isolation
        && *environment == running.environment
}

fn same_deadlines(new: Deadlines, running: Deadlines) -> bool {
    let Deadlines { open, queue, generate, mac, queue_length } = new;
    open == running.open
        && queue == running.queue
        && generate == running.generate
        && mac == running.mac
        && queue_length == running.queue_length
}

fn same_selection(new: &Selection, running: &Selection) -> bool {
    let Selection { order, floor, fallback_after } = new;
    *order == running.order && *floor == running.floor && *fallback_after == running.fallback_after
}
