//! `[[provider]]`: one configured use of a plugin.

use std::path::{Path, PathBuf};

use daemon::config::value::{self, kind};
use daemon::config::{self, Noted, Read, Section};
use provider_core::Settings;
use toml::{Table, Value};
use wire::name::ProviderName;

use crate::plugin::{Deadlines, Isolation, PluginSource};

use super::confinement::confinement;
use super::fault::Problem;
use super::value::{digest, name, protection, source};
use super::{
    CONDITION_EVERY, GENERATE_DEADLINE, MAC_DEADLINE, OPEN_DEADLINE, ProviderConfig,
    QUEUE_DEADLINE, QUEUE_LENGTH, QUEUE_LENGTH_MAX, SecretSource,
};

/// The keys of `[provider.settings]` that end so are secrets.
const SOURCE_SUFFIX: &str = "_source";

/// Variables with these beginnings steer the loader or the allocator of the worker: the first
/// would load code that nobody checked, the others undo the wiping of freed memory.
const REFUSED_VARIABLES: [&str; 3] = ["LD_", "GLIBC_TUNABLES", "MALLOC_"];

/// All providers of the file.
#[derive(Debug)]
pub(super) struct Providers {
    /// The names that are names, whatever else may be wrong.
    pub(super) names: Vec<ProviderName>,
    /// The providers, in the order of the file.
    pub(super) configs: Read<Vec<ProviderConfig>>,
}

pub(super) fn read_all(root: &mut Section<'_>, plugin_dir: Read<Option<&Path>>) -> Providers {
    let tables = match root.tables("provider") {
        Ok(tables) => tables,
        Err(noted) => return Providers { names: Vec::new(), configs: Err(noted) },
    };
    if tables.is_empty() {
        let noted = root.inner("[[provider]]".into(), Table::new()).fault_here(Problem::NoProvider);
        return Providers { names: Vec::new(), configs: Err(noted) };
    }
    let mut names: Vec<Option<ProviderName>> = Vec::with_capacity(tables.len());
    let mut configs = Ok(Vec::with_capacity(tables.len()));
    for (index, table) in tables.into_iter().enumerate() {
        let mut section = root.inner(prefix(index.saturating_add(1), &table), table);
        let name = read_name(&mut section, &names);
        names.push(name.as_ref().ok().cloned());
        match (read(section, name, plugin_dir), &mut configs) {
            (Ok(config), Ok(configs)) => configs.push(config),
            (Ok(_), Err(_)) => {}
            (Err(noted), _) => configs = Err(noted),
        }
    }
    Providers { names: names.into_iter().flatten().collect(), configs }
}

/// The number of the provider, from 1, and its name where it has one.
fn prefix(number: usize, table: &Table) -> String {
    match table.get("name").and_then(|value| name(value).ok()) {
        Some(name) => format!("[[provider]] #{number} (\"{name}\") "),
        None => format!("[[provider]] #{number} "),
    }
}

fn read_name(section: &mut Section<'_>, taken: &[Option<ProviderName>]) -> Read<ProviderName> {
    let name = section.required("name", "name = \"soft\"", name)?;
    match taken.iter().position(|other| other.as_ref() == Some(&name)) {
        Some(other) => Err(section.fault("name", Problem::NameTaken(other.saturating_add(1)))),
        None => Ok(name),
    }
}

fn read(
    mut section: Section<'_>,
    name: Read<ProviderName>,
    plugin_dir: Read<Option<&Path>>,
) -> Read<ProviderConfig> {
    let path = section.required("plugin", "plugin = \"provider_soft\"", plugin);
    let path = path.and_then(|plugin| locate(&mut section, plugin, plugin_dir));
    let isolation = section.defaulted("isolation", Isolation::Process, isolation);
    let sha256 = section.optional("sha256", digest);
    let protection = section.optional("protection", protection);
    let settings = section.table("settings").and_then(settings);
    let environment = environment(&mut section, isolation);
    let confinement = confinement(&mut section, isolation);
    let deadlines = section.table("deadlines").and_then(deadlines);
    let condition_every = section.defaulted("condition_every", CONDITION_EVERY, value::duration);
    section.finish();
    let (settings, mut secrets) = settings?;
    let (name, path) = (name?, path?);
    add_root(&path, &mut secrets);
    Ok(ProviderConfig {
        source: PluginSource {
            provider: name.to_string(),
            path,
            sha256: sha256?,
            isolation: isolation?,
            environment: environment?,
            confinement: confinement?,
        },
        name,
        protection: protection?,
        settings,
        secrets,
        deadlines: deadlines?,
        condition_every: condition_every?,
    })
}

/// Our own software provider needs a root key; unless told where to read it, the host makes one.
fn add_root(plugin: &Path, secrets: &mut Vec<(String, SecretSource)>) {
    const ROOT: &str = "root";
    let is_soft = plugin.file_name().is_some_and(|name| name == "libprovider_soft.so");
    if is_soft && !secrets.iter().any(|(name, _)| name == ROOT) {
        secrets.push((ROOT.to_owned(), SecretSource::Generated));
        secrets.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
}

/// How a file names a plugin.
#[derive(Debug)]
enum Plugin {
    Bare(String),
    At(PathBuf),
}

fn plugin(value: &Value) -> Result<Plugin, Problem> {
    let text = value::text(value)?;
    if Path::new(&text).is_absolute() {
        return Ok(Plugin::At(text.into()));
    }
    // Nothing that could lead out of the directory.
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.chars().all(bare) { Ok(Plugin::Bare(text)) } else { Err(Problem::Plugin(text)) }
}

fn locate(section: &mut Section<'_>, plugin: Plugin, dir: Read<Option<&Path>>) -> Read<PathBuf> {
    match (plugin, dir?) {
        (Plugin::At(path), _) => Ok(path),
        (Plugin::Bare(name), Some(dir)) => Ok(dir.join(format!("lib{name}.so"))),
        (Plugin::Bare(_), None) => Err(section.fault("plugin", Problem::NoPluginDir)),
    }
}

fn isolation(value: &Value) -> Result<Isolation, config::Problem> {
    match value::any_text(value)? {
        "process" => Ok(Isolation::Process),
        "in-process" => Ok(Isolation::InProcess),
        other => Err(config::Problem::Word {
            found: other.into(),
            known: "\"process\" or \"in-process\"",
        }),
    }
}

fn settings(mut section: Section<'_>) -> Read<(Settings, Vec<(String, SecretSource)>)> {
    let entries = section.entries();
    let mut plain = Vec::new();
    let mut secrets = Vec::new();
    let mut noted = None;
    for (key, value) in &entries {
        let read = match key.strip_suffix(SOURCE_SUFFIX) {
            None if entries.contains_key(&format!("{key}{SOURCE_SUFFIX}")) => {
                Err(Problem::SettingAndSource(format!("{key}{SOURCE_SUFFIX}")))
            }
            None => {
                setting(value).map(|text| plain.push((key.clone(), text))).map_err(Problem::from)
            }
            Some("") => Err(Problem::NamelessSource),
            Some(name) => source(value).map(|source| secrets.push((name.to_owned(), source))),
        };
        if let Err(problem) = read {
            noted = Some(section.fault(key, problem));
        }
    }
    noted.map_or_else(|| Ok((Settings::new(plain), secrets)), Err)
}

/// A setting as the text that the provider gets.
fn setting(value: &Value) -> Result<String, config::Problem> {
    match value {
        Value::String(_) => value::any_text(value).map(str::to_owned),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            let wanted = "a text in quotes, a whole number, true or false";
            Err(config::Problem::Type { found: kind(value), wanted })
        }
    }
}

fn environment(
    section: &mut Section<'_>,
    isolation: Read<Isolation>,
) -> Read<Vec<(String, String)>> {
    let mut section = section.table("env")?;
    let entries = section.entries();
    match isolation? {
        Isolation::InProcess if !entries.is_empty() => {
            return Err(section.fault_here(Problem::EnvironmentInProcess));
        }
        Isolation::Process | Isolation::InProcess => {}
    }
    let mut variables = Vec::with_capacity(entries.len());
    let mut noted: Option<Noted> = None;
    for (name, value) in &entries {
        let text = variable_name(name).and_then(|()| Ok(value::any_text(value)?));
        match text {
            Ok(text) => variables.push((name.clone(), text.to_owned())),
            Err(problem) => noted = Some(section.fault(name, problem)),
        }
    }
    noted.map_or(Ok(variables), Err)
}

fn variable_name(name: &str) -> Result<(), Problem> {
    let letter = |b: u8| b.is_ascii_uppercase() || b == b'_';
    let starts = name.bytes().next().is_some_and(letter);
    if !starts || !name.bytes().all(|b| letter(b) || b.is_ascii_digit()) {
        return Err(Problem::VariableName);
    }
    if REFUSED_VARIABLES.iter().any(|refused| name.starts_with(refused)) {
        return Err(Problem::VariableRefused);
    }
    Ok(())
}

fn deadlines(mut section: Section<'_>) -> Read<Deadlines> {
    let open = section.defaulted("open", OPEN_DEADLINE, value::duration);
    let queue = section.defaulted("queue", QUEUE_DEADLINE, value::duration);
    let generate = section.defaulted("generate", GENERATE_DEADLINE, value::duration);
    let mac = section.defaulted("mac", MAC_DEADLINE, value::duration);
    let length = value::number(1, QUEUE_LENGTH_MAX);
    let queue_length = section.defaulted("queue_length", QUEUE_LENGTH, length);
    let per_uid = value::number(1, QUEUE_LENGTH_MAX);
    let per_uid = section.optional("queue_length_per_uid", per_uid);
    section.finish();
    let queue_length = queue_length?;
    // Two thirds, so that a second user finds room.
    let share = queue_length.saturating_mul(2).div_ceil(3);
    let per_uid = per_uid.map(|given| given.unwrap_or(share));
    Ok(Deadlines {
        open: open?,
        queue: queue?,
        generate: generate?,
        mac: mac?,
        queue_length,
        queue_length_per_uid: per_uid?,
    })
}
