//! What a worker is left: what every program reads, what its provider says it needs, and what the
//! operator adds; never the host's own files, unless the operator says so.

use std::fs;
use std::path::{Path, PathBuf};

use daemon::sandbox::{Demand, Limits, Network, Paths, Sandbox, Unix};
use provider_core::{Need, Needs, Settings};

use super::PluginSource;

/// How a worker is confined, as the operator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// How strictly.
    pub level: Demand,
    /// More files and directories to be read.
    pub read: Vec<PathBuf>,
    /// More files and directories to be read, written, made and removed.
    pub write: Vec<PathBuf>,
    /// More devices.
    pub devices: Vec<PathBuf>,
    /// More sockets.
    pub connect: Vec<Connection>,
    /// Whether any network may be reached, by any socket.
    pub network: bool,
    /// Whether programs may be started.
    pub programs: bool,
    /// Most memory, bytes.
    pub memory_bytes: u64,
    /// Most open descriptors.
    pub files: u64,
}

/// A socket that may be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// A TCP port of any machine.
    Tcp(u16),
    /// A Unix socket: its path, or `@` and its abstract name.
    Unix(String),
}

/// Most memory of a worker, where the operator says nothing.
const MEMORY_BYTES: u64 = 512 * 1024 * 1024;
/// Most open descriptors of a worker, where the operator says nothing.
const FILES: u64 = 256;

impl Default for Confinement {
    fn default() -> Self {
        Self {
            level: Demand::Full,
            read: Vec::new(),
            write: Vec::new(),
            devices: Vec::new(),
            connect: Vec::new(),
            network: false,
            programs: false,
            memory_bytes: MEMORY_BYTES,
            files: FILES,
        }
    }
}

/// The sandbox of the process that only asks a provider for its needs.
pub(super) fn to_ask(source: &PluginSource, settings: &Settings) -> Sandbox {
    let mut left = Left::new(source, settings);
    // What is the operator's to be written may have to be looked into, to know what is needed.
    left.paths.read.extend(source.confinement.write.iter().cloned());
    left.sandbox(source)
}

/// The sandbox of a worker; `own` are the host's files.
pub(super) fn to_work(
    source: &PluginSource,
    settings: &Settings,
    needs: &Needs,
    own: &[PathBuf],
) -> Sandbox {
    let Confinement { write, devices, connect, network, programs, .. } = &source.confinement;
    let mut left = Left::new(source, settings);
    needs.0.iter().for_each(|need| left.add(need, &source.provider, own));
    left.paths.write.extend(write.iter().cloned());
    left.paths.devices.extend(devices.iter().cloned());
    for connection in connect {
        match connection {
            Connection::Tcp(port) => left.ports.push(*port),
            Connection::Unix(name) => left.sockets.push(name.clone()),
        }
    }
    left.any_network = *network;
    Sandbox { programs: *programs, ..left.sandbox(source) }
}

/// The limits alone, for a worker that is not confined.
pub(super) fn limits(source: &PluginSource) -> Limits {
    let Confinement { memory_bytes, files, .. } = source.confinement;
    Limits { memory_bytes: Some(memory_bytes), files: Some(files) }
}

/// What is left to a worker, while it is gathered.
struct Left {
    paths: Paths,
    ports: Vec<u16>,
    names: bool,
    sockets: Vec<String>,
    any_network: bool,
}

impl Left {
    /// What every worker has: the base, its plugin, and whatever its settings, its environment and
    /// its operator name.
    fn new(source: &PluginSource, settings: &Settings) -> Self {
        let settings = settings.iter().map(|(_, value)| value);
        let environment = source.environment.iter().map(|(_, value)| value.as_str());
        let named = settings.chain(environment).map(PathBuf::from);
        let mut paths = Paths::base();
        paths.read.push(source.path.clone());
        paths.read.extend(named.filter(|path| path.is_absolute() && path.is_file()));
        paths.read.extend(source.confinement.read.iter().cloned());
        Self { paths, ports: Vec::new(), names: false, sockets: Vec::new(), any_network: false }
    }

    fn add(&mut self, need: &Need, provider: &str, own: &[PathBuf]) {
        let mut path = |to: fn(&mut Paths) -> &mut Vec<PathBuf>, path: &str| {
            // A path that is not there is not left to the worker either.
            let Ok(path) = fs::canonicalize(path) else { return };
            if covers(&path, own) {
                tracing::warn!(
                    provider,
                    path = %path.display(),
                    "asks for what holds the host's own files, and does not get it; state what it \
                     needs of them in [provider.sandbox]"
                );
                return;
            }
            to(&mut self.paths).push(path);
        };
        match need {
            Need::Read(text) => path(|paths| &mut paths.read, text),
            Need::Write(text) => path(|paths| &mut paths.write, text),
            Need::Device(text) => path(|paths| &mut paths.devices, text),
            Need::Tcp(port) => self.ports.push(*port),
            Need::Unix(name) => self.sockets.push(name.clone()),
            Need::Names => self.names = true,
        }
    }

    fn sandbox(self, source: &PluginSource) -> Sandbox {
        let network = match (self.any_network, self.names, self.ports) {
            (true, ..) => Network::Any,
            (false, true, ports) => Network::Named(ports),
            (false, false, ports) if ports.is_empty() => Network::None,
            (false, false, ports) => Network::Tcp(ports),
        };
        let unix = if self.sockets.is_empty() {
            Unix::None
        } else if self.sockets.iter().any(|name| name.starts_with('@')) {
            // Abstract sockets can be left only all together.
            Unix::Any
        } else {
            Unix::At(self.sockets.into_iter().map(PathBuf::from).collect())
        };
        Sandbox {
            paths: Some(self.paths),
            network,
            unix,
            programs: false,
            administers: false,
            limits: limits(source),
        }
    }
}

/// Whether a path leads to one of the host's own files, or into or above one of its directories.
fn covers(path: &Path, own: &[PathBuf]) -> bool {
    own.iter().any(|own| own.starts_with(path) || path.starts_with(own) || is_older(path, own))
}

/// Whether it is an older file of a log, which has the log's name with more behind it.
fn is_older(path: &Path, log: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.as_encoded_bytes().to_vec());
    let (Some(name), Some(log_name)) = (name(path), name(log)) else { return false };
    path.parent() == log.parent() && log.is_file() && name.starts_with(&log_name)
}

#[cfg(test)]
mod tests {
    use super::super::Isolation;
    use super::*;

    fn source(confinement: Confinement) -> PluginSource {
        PluginSource {
            provider: "p".into(),
            path: "/plugins/libp.so".into(),
            sha256: None,
            isolation: Isolation::Process,
            environment: vec![("A".into(), "/etc/passwd".into()), ("B".into(), "/etc".into())],
            confinement,
        }
    }

    /// The sandbox of a provider that says this.
    fn of(needs: &str, change: impl FnOnce(&mut Confinement)) -> Sandbox {
        let mut confinement = Confinement::default();
        change(&mut confinement);
        let settings = Settings::new([("module", "/etc/hosts"), ("token", "x")]);
        let own = [PathBuf::from("/usr/share/misc"), PathBuf::from("/etc/os-release")];
        to_work(&source(confinement), &settings, &Needs::parse(needs).unwrap(), &own)
    }

    fn reads(sandbox: &Sandbox, path: &str) -> bool {
        sandbox.paths.as_ref().unwrap().read.iter().any(|read| read == Path::new(path))
    }

    #[test]
    fn files_that_are_named_are_read_and_directories_are_not() {
        let sandbox = of("", |_| {});
        for path in ["/plugins/libp.so", "/etc/hosts", "/etc/passwd"] {
            assert!(reads(&sandbox, path), "{path}");
        }
        assert!(!reads(&sandbox, "/etc") && !reads(&sandbox, "x"));
    }

    #[test]
    fn nothing_said_is_no_socket_no_program_and_nothing_written() {
        let sandbox = of("", |_| {});
        assert_eq!((&sandbox.network, &sandbox.unix), (&Network::None, &Unix::None));
        assert!(!sandbox.programs && !sandbox.administers);
        let paths = sandbox.paths.unwrap();
        assert!(paths.write.is_empty() && paths.devices.is_empty());
        assert_eq!(sandbox.limits.memory_bytes, Some(512 << 20));
        assert_eq!(sandbox.limits.files, Some(256));
    }

    #[test]
    fn needs_are_left() {
        let sandbox = of("write /tmp\ndevice /dev/null\nconnect tcp 7\nconnect unix /s\n", |_| {});
        assert_eq!(sandbox.network, Network::Tcp(vec![7]));
        assert_eq!(sandbox.unix, Unix::At(vec!["/s".into()]));
        let paths = sandbox.paths.unwrap();
        assert_eq!(paths.write, [Path::new("/tmp")]);
        assert_eq!(paths.devices, [Path::new("/dev/null")]);
        assert_eq!(of("resolve names\n", |_| {}).network, Network::Named(Vec::new()));
        assert_eq!(of("connect unix @a\n", |_| {}).unix, Unix::Any);
    }

    #[test]
    fn needs_for_the_hosts_own_files_are_not_left() {
        for path in ["/", "/usr/share", "/usr/share/misc"] {
            let sandbox = of(&format!("write {path}\n"), |_| {});
            assert!(sandbox.paths.unwrap().write.is_empty(), "{path}");
        }
        assert!(covers(Path::new("/a/b/c"), &[PathBuf::from("/a/b")]));
        // Older files of a log, and not of a directory.
        let (log, dir) = ("/etc/passwd", "/etc/ssl");
        let own = [PathBuf::from(log), PathBuf::from(dir)];
        assert!(covers(Path::new("/etc/passwd.1"), &own));
        assert!(!covers(Path::new("/etc/ssl2"), &own) && !covers(Path::new("/x/passwd.1"), &own));
        assert_eq!(of("write /usr/share/man\n", |_| {}).paths.unwrap().write.len(), 1);
    }

    #[test]
    fn what_the_operator_adds_is_left_whatever_it_is() {
        let sandbox = of("", |add| {
            add.write = vec!["/usr/share/misc".into()];
            add.read = vec!["/vendor".into()];
            add.devices = vec!["/dev/hsm".into()];
            add.connect = vec![Connection::Tcp(9), Connection::Unix("/s".into())];
            add.programs = true;
        });
        assert!(reads(&sandbox, "/vendor") && sandbox.programs);
        assert_eq!(sandbox.network, Network::Tcp(vec![9]));
        assert_eq!(sandbox.unix, Unix::At(vec!["/s".into()]));
        let paths = sandbox.paths.unwrap();
        assert_eq!((paths.write.len(), paths.devices.len()), (1, 1));
        assert_eq!(of("connect tcp 1\n", |add| add.network = true).network, Network::Any);
    }

    #[test]
    fn asking_reads_what_is_to_be_written_and_reaches_nothing() {
        let write = vec![PathBuf::from("/var/tokens")];
        let confinement =
            Confinement { write, network: true, programs: true, ..Confinement::default() };
        let sandbox = to_ask(&source(confinement), &Settings::default());
        assert!(reads(&sandbox, "/var/tokens") && sandbox.paths.as_ref().unwrap().write.is_empty());
        assert_eq!(sandbox.network, Network::None);
        assert!(!sandbox.programs);
    }
}
