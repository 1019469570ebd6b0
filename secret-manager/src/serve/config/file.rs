//! The whole file: from its top to a [`Config`], and the sections that are read nowhere else.

use std::path::PathBuf;

use daemon::config::{Read, Section, sections, value};

use super::{Config, HostConfig, OPERATIONS, credential, source, store};

const HOST_SOCKET: &str = "/run/sealhost/sealhost.sock";

pub(super) fn whole(mut root: Section<'_>) -> Read<Config> {
    let listen =
        sections::listen(&mut root, "socket = \"/run/secret-manager/secret-manager.sock\"");
    let state_dir = sections::state_dir(&mut root, "dir = \"/var/lib/secret-manager\"");
    let audit = sections::audit(&mut root, "path = \"/var/log/secret-manager/audit.log\"");
    let limits = sections::limits(&mut root);
    let host = root.table("host").and_then(host);
    let stores = store::all(&mut root);
    let source = root.table("source").and_then(source::source);
    let rules = sections::rules(&mut root, OPERATIONS);
    let credentials = credential::all(&mut root);
    let sandbox = sections::sandbox(&mut root);
    root.finish();
    let (limits, timeouts) = limits?;
    let (source, negative_ttl) = source?;
    Ok(Config {
        listen: listen?,
        state_dir: state_dir?,
        audit: audit?,
        limits,
        timeouts,
        host: host?,
        stores: stores?,
        source,
        negative_ttl,
        rules: rules?,
        credentials: credentials?,
        sandbox: sandbox?,
    })
}

fn host(mut section: Section<'_>) -> Read<HostConfig> {
    let socket = section.defaulted("socket", PathBuf::from(HOST_SOCKET), value::path);
    let uid = section.optional("uid", value::number(0, u32::MAX.into()));
    section.finish();
    Ok(HostConfig { socket: socket?, uid: uid? })
}
