//! `[provider.sandbox]`: what a worker is left.

use daemon::config::value::{self, absolute, any_text, truth};
use daemon::config::{Read, Section};
use toml::Value;

use crate::plugin::{Confinement, Connection, Isolation};

use super::fault::Problem;

/// Memory of a worker, MiB.
const MEMORY_MIB: (i64, i64) = (32, 65_536);
/// Open descriptors of a worker.
const FILES: (i64, i64) = (32, 65_536);
const MIB: u64 = 1024 * 1024;

pub(super) fn confinement(
    section: &mut Section<'_>,
    isolation: Read<Isolation>,
) -> Read<Confinement> {
    let given = section.has("sandbox");
    let mut section = section.table("sandbox")?;
    if given && isolation? == Isolation::InProcess {
        return Err(section.fault_here(Problem::SandboxInProcess));
    }
    let default = Confinement::default();
    let paths = "a list of absolute paths";
    let level = section.defaulted("level", default.level, value::demand);
    let read = section.list("read", paths, value::path);
    let write = section.list("write", paths, value::path);
    let devices = section.list("devices", paths, value::path);
    let connect = section.list("connect", "a list of sockets", connection);
    let network = section.defaulted("network", default.network, truth);
    let programs = section.defaulted("programs", default.programs, truth);
    let memory_mib =
        section.optional("memory_mib", value::number::<u64>(MEMORY_MIB.0, MEMORY_MIB.1));
    let files = section.defaulted("files", default.files, value::number(FILES.0, FILES.1));
    section.finish();
    Ok(Confinement {
        level: level?,
        read: read?.unwrap_or_default(),
        write: write?.unwrap_or_default(),
        devices: devices?.unwrap_or_default(),
        connect: connect?.unwrap_or_default(),
        network: network?,
        programs: programs?,
        memory_bytes: memory_mib?.map_or(default.memory_bytes, |mib| mib.saturating_mul(MIB)),
        files: files?,
    })
}

fn connection(value: &Value) -> Result<Connection, Problem> {
    let text = any_text(value)?;
    let foreign = || Problem::Connection(text.to_owned());
    match text.split_once(':') {
        Some(("tcp", port)) => {
            let port = port.parse().ok().filter(|port| *port > 0);
            port.map(Connection::Tcp).ok_or_else(foreign)
        }
        Some(("unix", name)) if name.len() > 1 && name.starts_with('@') => {
            Ok(Connection::Unix(name.to_owned()))
        }
        Some(("unix", path)) => absolute(path)
            .map(|_path| Connection::Unix(path.to_owned()))
            .map_err(|_other| foreign()),
        Some(_) | None => Err(foreign()),
    }
}
