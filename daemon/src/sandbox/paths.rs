//! Files and connections, by Landlock.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Level, Network, Sandbox, SandboxError, Unix};

/// The files that a process may use: each with all beneath it. Those that are not there when the
/// sandbox is entered are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// To be read.
    pub read: Vec<PathBuf>,
    /// To be read, written, made and removed.
    pub write: Vec<PathBuf>,
    /// To be read, written and controlled, as devices are.
    pub devices: Vec<PathBuf>,
}

/// What [`Paths::base`] reads: libraries and programs, and of `/etc`, `/proc` and `/sys` what the
/// C library, OpenSSL and the like look at. Nothing here holds a secret or another process.
pub const BASE_READ: &[&str] = &[
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/machine-id",
    "/etc/nsswitch.conf",
    "/etc/opensc",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pkcs11",
    "/etc/pki/tls/openssl.cnf",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/tpm2-tss",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/meminfo",
    "/proc/self",
    "/proc/stat",
    "/proc/sys/crypto",
    "/proc/sys/kernel",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/fs/cgroup",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
];

/// What is written to and keeps nothing.
const BASE_WRITE: &str = "/dev/null";

/// Name resolution falls back to TCP.
const DNS_PORT: u16 = 53;

/// The newest Landlock that is known here; an older kernel does what it can of it.
const KNOWN: ABI = ABI::V9;

/// Enters the part that Landlock has, and tells how far files and connections are restricted.
pub(super) fn restrict(sandbox: &Sandbox) -> Result<(Level, Level), SandboxError> {
    let failed = |error: landlock::RulesetError| SandboxError::new("Landlock", error);
    let mut rules = Ruleset::default();
    if sandbox.paths.is_some() {
        rules = rules.handle_access(AccessFs::from_all(KNOWN)).map_err(failed)?;
    }
    if sandbox.network != Network::Any {
        rules = rules.handle_access(AccessNet::from_all(KNOWN)).map_err(failed)?;
    }
    // Of itself it makes the process unable to trace any outside, too.
    rules = rules.scope(Scope::Signal).map_err(failed)?;
    if sandbox.unix != Unix::Any {
        rules = rules.scope(Scope::AbstractUnixSocket).map_err(failed)?;
    }
    let mut rules = rules.create().map_err(failed)?;
    if let Some(paths) = &sandbox.paths {
        rules = allow(rules, paths, sandbox).map_err(failed)?;
    }
    let ports = match &sandbox.network {
        Network::None | Network::Any => &[][..],
        Network::Tcp(ports) | Network::Named(ports) => ports,
    };
    let resolving = matches!(sandbox.network, Network::Named(_)).then_some(DNS_PORT);
    for port in ports.iter().copied().chain(resolving) {
        rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp)).map_err(failed)?;
    }
    let abi = match rules.restrict_self().map_err(failed)?.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => ABI::Unsupported,
    };
    Ok((filesystem(sandbox, abi), connections(sandbox, abi)))
}

fn allow(
    mut rules: RulesetCreated,
    paths: &Paths,
    sandbox: &Sandbox,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let mut read = AccessFs::ReadFile | AccessFs::ReadDir;
    if sandbox.programs {
        read |= AccessFs::Execute;
    }
    let device = read | AccessFs::WriteFile | AccessFs::IoctlDev;
    let mut write = read | AccessFs::from_write(KNOWN);
    write.remove(AccessFs::IoctlDev | AccessFs::MakeChar | AccessFs::MakeBlock);
    let base = [PathBuf::from(BASE_WRITE)];
    let stated = [
        (&paths.read[..], read),
        (&paths.write[..], write),
        (&paths.devices[..], device),
        (&base[..], write),
    ];
    for (paths, access) in stated {
        for path in paths {
            rules = allow_one(rules, path, access)?;
        }
    }
    let sockets = match &sandbox.unix {
        Unix::None => &[][..],
        Unix::At(paths) => paths,
        Unix::Any => &[PathBuf::from("/")],
    };
    for path in sockets {
        rules = allow_one(rules, path, AccessFs::ResolveUnix.into())?;
    }
    Ok(rules)
}

fn allow_one(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let is_dir = path.metadata().is_ok_and(|found| found.is_dir());
    let access = if is_dir { access } else { access & AccessFs::from_file(KNOWN) };
    match PathFd::new(path) {
        Ok(opened) => rules.add_rule(PathBeneath::new(opened, access)),
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "not there, so not allowed");
            Ok(rules)
        }
    }
}

/// Truncation is controlled from the third, devices from the fifth on.
fn filesystem(sandbox: &Sandbox, abi: ABI) -> Level {
    match &sandbox.paths {
        Some(paths) if abi >= ABI::V5 && is_in_force(paths) => Level::Full,
        Some(paths) if abi >= ABI::V1 && is_in_force(paths) => Level::Partial,
        Some(_) | None => Level::None,
    }
}

/// Asks the kernel for what nobody needs: the root directory, where it was not allowed.
fn is_in_force(paths: &Paths) -> bool {
    let root = Path::new("/");
    let allowed = [&paths.read, &paths.write, &paths.devices];
    if allowed.into_iter().flatten().any(|path| path == root) {
        return true;
    }
    let opened = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
    opened.err() == Some(Errno::ACCESS)
}

/// TCP is controlled from the fourth, where a Unix socket leads from the ninth on.
fn connections(sandbox: &Sandbox, abi: ABI) -> Level {
    let needed = if matches!(sandbox.unix, Unix::At(_)) { ABI::V9 } else { ABI::V4 };
    // What there is of it is the kinds of sockets.
    if abi >= needed { Level::Full } else { Level::Partial }
}
