//! Which sections differ from the running configuration.

use daemon::config::Reload;

use crate::plugin::{Deadlines, PluginSource};

use super::{Config, ProviderConfig, Selection};

/// What `new` changes in the `running` configuration.
pub(super) fn reload(new: Config, running: &Config) -> Reload {
    // Taken apart by name, so that a new section cannot be forgotten here.
    let Config {
        listen,
        keyd,
        state_dir,
        providers,
        selection,
        rules,
        audit,
        limits,
        timeouts,
        sandbox,
    } = new;
    let sections = [
        ("[listen]", listen != running.listen),
        ("[keyd]", keyd != running.keyd),
        ("[state]", state_dir != running.state_dir),
        ("[[provider]]", !same_providers(&providers, &running.providers)),
        ("[selection]", !same_selection(&selection, &running.selection)),
        ("[audit]", audit != running.audit),
        ("[limits]", (limits, timeouts) != (running.limits, running.timeouts)),
        ("[sandbox]", sandbox != running.sandbox),
    ];
    Reload::new(rules, sections)
}

fn same_providers(new: &[ProviderConfig], running: &[ProviderConfig]) -> bool {
    new.len() == running.len() && new.iter().zip(running).all(|(new, old)| same_provider(new, old))
}

fn same_provider(new: &ProviderConfig, running: &ProviderConfig) -> bool {
    let ProviderConfig { name, source, protection, settings, secrets, deadlines, condition_every } =
        new;
    *name == running.name
        && same_source(source, &running.source)
        && *protection == running.protection
        && settings.iter().eq(running.settings.iter())
        && *secrets == running.secrets
        && same_deadlines(*deadlines, running.deadlines)
        && *condition_every == running.condition_every
}

fn same_source(new: &PluginSource, running: &PluginSource) -> bool {
    let PluginSource { provider, path, sha256, isolation, environment, confinement } = new;
    *provider == running.provider
        && *path == running.path
        && *sha256 == running.sha256
        && *isolation == running.isolation
        && *environment == running.environment
        && *confinement == running.confinement
}

fn same_deadlines(new: Deadlines, running: Deadlines) -> bool {
    let Deadlines { open, queue, generate, mac, queue_length, queue_length_per_uid } = new;
    open == running.open
        && queue == running.queue
        && generate == running.generate
        && mac == running.mac
        && queue_length == running.queue_length
        && queue_length_per_uid == running.queue_length_per_uid
}

fn same_selection(new: &Selection, running: &Selection) -> bool {
    let Selection { order, floor, fallback_after } = new;
    *order == running.order && *floor == running.floor && *fallback_after == running.fallback_after
}
