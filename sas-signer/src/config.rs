//! The configuration of the daemon: one TOML file, read strictly, once at start and again for its
//! rules on SIGHUP. `docs/sas.md` is its page.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::audit::Settings;
use daemon::config::{self, ConfigError, Noted, Problem, Read, Section, sections, value};
use daemon::http::Timeouts;
use daemon::limit::Limits;
use daemon::listener::Endpoint;
use daemon::rules::{RawRule, Rules};
use daemon::sandbox::{Demand, Network, Paths, Sandbox, Unix};
use toml::{Table, Value};
use wire::sas::ProfileKind;

use crate::access::{Access, AccessRule, OPERATIONS};
use crate::cache::RENEW_AT_PERCENT;
use crate::rules::{Over, RawTemplate, Template};
use crate::verify::{SKEW_DEFAULT, SKEW_MAX};

/// Where the host listens, unless configured.
const HOST_SOCKET: &str = "/run/sealhost/sealhost.sock";

/// The checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the daemon listens.
    pub listen: Endpoint,
    /// Where it keeps which slot of each key signs.
    pub state_dir: PathBuf,
    /// The socket of the host.
    pub host_socket: PathBuf,
    /// The part of a token's life after which it is renewed.
    pub renew_at_percent: u8,
    /// How long after its expiry a token is verified.
    pub skew: Duration,
    /// Who may do what.
    pub access: Access,
    /// The audit log.
    pub audit: Settings,
    /// How many connections and requests there may be.
    pub limits: Limits,
    /// How long peers may take.
    pub timeouts: Timeouts,
    /// How strictly the daemon confines itself.
    pub sandbox: Demand,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Limits
    /// A file of 1 MiB. Those of the keys are in `docs/sas.md`.
    ///
    /// # Errors
    /// [`ConfigError`]; every fault of the content at once, with its key and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load(path, whole)
    }

    /// Tells what is allowed but should be in the log.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let none = "there is no [[rule]], so that nobody may do anything; add one";
        if self.access.is_empty() { vec![none] } else { Vec::new() }
    }

    /// What the daemon is left: its own files, and the host's socket among all Unix sockets.
    #[must_use]
    pub fn sandbox(&self, config: &Path) -> Sandbox {
        let sockets = [self.listen.path.as_path()];
        let paths = Paths::of_daemon(config, &self.state_dir, &self.audit.path, &sockets);
        Sandbox {
            paths: Some(paths),
            network: Network::None,
            unix: Unix::Any,
            programs: false,
            administers: true,
            limits: daemon::sandbox::Limits::default(),
        }
    }

    /// The sections that differ from the `running` configuration and wait for a restart.
    #[must_use]
    pub fn waiting(&self, running: &Self) -> Vec<&'static str> {
        // Taken apart by name, so that a new section cannot be forgotten here.
        let Self {
            listen,
            state_dir,
            host_socket,
            renew_at_percent,
            skew,
            access: _,
            audit,
            limits,
            timeouts,
            sandbox,
        } = self;
        let tokens = (renew_at_percent, skew);
        let sections = [
            ("[listen]", *listen != running.listen),
            ("[state]", *state_dir != running.state_dir),
            ("[host]", *host_socket != running.host_socket),
            ("[tokens]", tokens != (&running.renew_at_percent, &running.skew)),
            ("[audit]", *audit != running.audit),
            ("[limits]", (*limits, *timeouts) != (running.limits, running.timeouts)),
            ("[sandbox]", *sandbox != running.sandbox),
        ];
        sections.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

/// What can be wrong with the keys that only this daemon has.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0:?} is out of range; give a duration up to \"300s\", or remove it for none")]
    Skew(String),
    #[error("{found:?} is no profile; use one of: {}", profiles())]
    Profile { found: String },
    #[error("{0:?} is not known; use refuse or clamp")]
    Over(String),
    #[error("allow token, and no [[rule.token]] says which; add one, or remove token")]
    NoTemplate,
    #[error("are given, and the rule does not allow token; add it to operations, or remove them")]
    NeedlessTemplates,
}

fn profiles() -> String {
    ProfileKind::ALL.map(ProfileKind::as_str).join(", ")
}

fn whole(mut root: Section<'_>) -> Read<Config> {
    let listen = sections::listen(&mut root, "socket = \"/run/sas-signer/sas-signer.sock\"");
    let state_dir = sections::state_dir(&mut root, "dir = \"/var/lib/sas-signer\"");
    let host_socket = root.table("host").and_then(|mut section| {
        let socket = section.defaulted("socket", HOST_SOCKET.into(), value::path);
        section.finish();
        socket
    });
    let tokens = root.table("tokens").and_then(tokens);
    let access = access(&mut root);
    let audit = sections::audit(&mut root, "path = \"/var/log/sas-signer/audit.log\"");
    let limits = sections::limits(&mut root);
    let sandbox = sections::sandbox(&mut root);
    root.finish();
    let ((renew_at_percent, skew), (limits, timeouts)) = (tokens?, limits?);
    Ok(Config {
        listen: listen?,
        state_dir: state_dir?,
        host_socket: host_socket?,
        renew_at_percent,
        skew,
        access: access?,
        audit: audit?,
        limits,
        timeouts,
        sandbox: sandbox?,
    })
}

fn tokens(mut section: Section<'_>) -> Read<(u8, Duration)> {
    let renew_at = value::number(1, 99);
    let renew_at = section.defaulted("renew_at_percent", RENEW_AT_PERCENT, renew_at);
    let skew = section.defaulted("skew", SKEW_DEFAULT, value::duration);
    let skew = match skew {
        Ok(skew) if skew > SKEW_MAX => {
            Err(section.fault("skew", Fault::Skew(format!("{}s", skew.as_secs()))))
        }
        other => other,
    };
    section.finish();
    Ok((renew_at?, skew?))
}

fn access(root: &mut Section<'_>) -> Read<Access> {
    let tables = root.tables("rule")?;
    let mut rules = Vec::with_capacity(tables.len());
    let mut noted = None;
    for (index, table) in tables.into_iter().enumerate() {
        let prefix = format!("[[rule]] #{} ", index.saturating_add(1));
        match rule(root.inner(prefix, table)) {
            Ok(rule) => rules.push(rule),
            Err(fault) => noted = Some(fault),
        }
    }
    noted.map_or_else(|| Ok(Access::new(rules)), Err)
}

fn rule(mut section: Section<'_>) -> Read<AccessRule> {
    let raw = sections::rule(&mut section);
    let templates = section.tables("token").and_then(|tables| templates(&mut section, tables));
    let checked = raw.and_then(|raw| check(&mut section, &raw, templates.as_ref().ok()));
    section.finish();
    Ok(AccessRule { rule: checked?, templates: templates? })
}

fn check(
    section: &mut Section<'_>,
    raw: &RawRule,
    templates: Option<&Vec<Template>>,
) -> Read<Rules> {
    let names = |name: &str| raw.operations.iter().any(|operation| operation == name);
    let mut noted: Option<Noted> = None;
    match templates.map(Vec::is_empty) {
        Some(true) if names("token") => {
            noted = Some(section.fault("operations", Fault::NoTemplate));
        }
        Some(false) if !names("token") && !names("*") => {
            noted = Some(section.fault("token", Fault::NeedlessTemplates));
        }
        Some(_) | None => {}
    }
    match Rules::check(std::slice::from_ref(raw), OPERATIONS) {
        Ok(rules) => noted.map_or(Ok(rules), Err),
        Err(faults) => {
            for fault in faults.0 {
                noted = Some(section.fault(fault.key, Problem::Rule(fault.fault)));
            }
            noted.map_or_else(|| Ok(Rules::none(OPERATIONS)), Err)
        }
    }
}

fn templates(rule: &mut Section<'_>, tables: Vec<Table>) -> Read<Vec<Template>> {
    let mut templates = Vec::with_capacity(tables.len());
    let mut noted = None;
    for (index, table) in tables.into_iter().enumerate() {
        let prefix = format!("{}[[rule.token]] #{} ", rule.prefix(), index.saturating_add(1));
        match template(rule.inner(prefix, table)) {
            Ok(template) => templates.push(template),
            Err(fault) => noted = Some(fault),
        }
    }
    noted.map_or(Ok(templates), Err)
}

fn template(mut section: Section<'_>) -> Read<Template> {
    let owned = |value: &Value| value::any_text(value).map(str::to_owned);
    let kind = section.required("profile", "profile = \"iot-hub-device\"", profile);
    let mut field = |key| section.optional(key, owned);
    let [namespace, entity, publisher] = ["namespace", "entity", "publisher"].map(&mut field);
    let [hub, device, module] = ["hub", "device", "module"].map(&mut field);
    let [scope, id_scope, registration] = ["scope", "id_scope", "registration"].map(&mut field);
    let policies = section.list("policies", "a list of texts in quotes", owned);
    let longest_ttl = section.required("longest_ttl", "longest_ttl = \"1h\"", owned);
    let over_ttl = section.defaulted("over_ttl", Over::default(), over);
    let checked = (|| {
        let raw = RawTemplate {
            profile: kind?,
            namespace: namespace?,
            entity: entity?,
            publisher: publisher?,
            hub: hub?,
            device: device?,
            module: module?,
            scope: scope?,
            id_scope: id_scope?,
            registration: registration?,
            policies: policies?.unwrap_or_default(),
            longest_ttl: longest_ttl?,
            over_ttl: over_ttl?,
        };
        Ok(Template::check(&raw))
    })();
    let template = match checked {
        Ok(Ok(template)) => Ok(template),
        Ok(Err(faults)) => {
            let noted = faults.iter().map(|fault| section.fault(fault.key(), fault)).last();
            noted.map_or_else(|| Err(section.fault_here("has a fault; please report")), Err)
        }
        Err(noted) => Err(noted),
    };
    section.finish();
    template
}

fn profile(value: &Value) -> Result<ProfileKind, String> {
    let text = value::any_text(value).map_err(|problem| problem.to_string())?;
    let known = ProfileKind::ALL.into_iter().find(|kind| kind.as_str() == text);
    known.ok_or_else(|| Fault::Profile { found: text.to_owned() }.to_string())
}

fn over(value: &Value) -> Result<Over, String> {
    match value::any_text(value).map_err(|problem| problem.to_string())? {
        "refuse" => Ok(Over::Refuse),
        "clamp" => Ok(Over::Clamp),
        other => Err(Fault::Over(other.to_owned()).to_string()),
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
