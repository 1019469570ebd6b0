//! `secret run`: starts a program that finds secrets where it is told to look.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::str::FromStr;

use clap::Args;
use rustix::fs::{MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, memfd_create, seek};
use sealhost_client::Call;
use wire::api::ItemResult;
use wire::limits::BATCH_MAX_ITEMS;
use wire::secrets::{BatchRequest, GetItem, GetReply, SecretName, SecretVersion};

use super::warn_of_clock;
use crate::command::Session;
use crate::exit::{Exit, Failure};

mod files;

use files::Files;

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Give a secret in memory: NAME_FILE is a path that opens it, NAME_FD the descriptor
    #[arg(long, value_name = "NAME=SECRET[@VERSION]")]
    fd: Vec<Wanted>,
    /// Give a secret as a file in memory, mode 0400, removed at the end: NAME_FILE is its path
    #[arg(long, value_name = "NAME=SECRET[@VERSION]")]
    file: Vec<Wanted>,
    /// Give a secret as the variable NAME, where every process of the same user can read it
    #[arg(long, value_name = "NAME=SECRET[@VERSION]")]
    env: Vec<Wanted>,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// A variable, and the secret that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    variable: String,
    name: SecretName,
    version: Option<SecretVersion>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (variable, secret) =
            text.split_once('=').ok_or("write NAME=SECRET or NAME=SECRET@VERSION")?;
        let begins = variable.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let goes_on = variable.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !(begins && goes_on) {
            return Err("NAME is letters, digits and '_', and begins with no digit".to_owned());
        }
        let (name, version) = match secret.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (secret, None),
        };
        let version = version.map(SecretVersion::parse).transpose();
        Ok(Self {
            variable: variable.to_owned(),
            name: SecretName::parse(name).map_err(|error| error.to_string())?,
            version: version.map_err(|error| error.to_string())?,
        })
    }
}

/// Nothing is started unless every secret is there.
pub(super) fn run(session: &Session, args: RunArgs) -> Result<Exit, Failure> {
    let RunArgs { fd, file, env, command } = args;
    let mut secrets = fetch(session, [&fd, &file, &env])?.into_iter();
    let (program, arguments) = command.split_first().ok_or_else(|| {
        Failure::usage("no program is given", "give it after --, with its arguments")
    })?;
    let mut child = Command::new(program);
    child.args(arguments);

    let mut open = Vec::with_capacity(fd.len());
    for (wanted, secret) in fd.iter().zip(secrets.by_ref()) {
        let memory = in_memory(&wanted.variable, secret.value.as_bytes())
            .map_err(|error| Failure::usage(format!("no memory file: {error}"), "try again"))?;
        let number = memory.as_raw_fd();
        child.env(format!("{}_FD", wanted.variable), number.to_string());
        child.env(format!("{}_FILE", wanted.variable), format!("/dev/fd/{number}"));
        open.push(memory);
    }
    let mut files = Files::default();
    for (wanted, secret) in file.iter().zip(secrets.by_ref()) {
        let path = files.add(&wanted.variable, secret.value.as_bytes())?;
        child.env(format!("{}_FILE", wanted.variable), path);
    }
    for (wanted, secret) in env.iter().zip(secrets) {
        let value = secret.value.as_bytes();
        if value.contains(&0) {
            return Err(Failure::usage(
                format!("{} has a zero byte, which no variable can hold", wanted.name),
                "give it with --fd or --file",
            ));
        }
        child.env(&wanted.variable, OsStr::from_bytes(value));
    }
    if files.is_empty() {
        // Only a failure comes back.
        let error = child.exec();
        drop(open);
        return Err(cannot_run(program, &error));
    }
    files.run(&mut child).map_err(|error| cannot_run(program, &error))
}

fn cannot_run(program: &OsStr, error: &std::io::Error) -> Failure {
    Failure::usage(
        format!("cannot run {}: {error}", program.display()),
        "check the program's path and who may execute it",
    )
}

/// All secrets, in the order of the lists, by one request.
fn fetch(session: &Session, lists: [&[Wanted]; 3]) -> Result<Vec<GetReply>, Failure> {
    let wanted: Vec<_> = lists.into_iter().flatten().collect();
    if wanted.is_empty() {
        return Err(Failure::usage(
            "no secret is given to the program",
            "give --fd, --file or --env; without secrets start the program itself",
        ));
    }
    if wanted.len() > BATCH_MAX_ITEMS {
        return Err(Failure::usage(
            format!("{} secrets exceed limit of {BATCH_MAX_ITEMS}", wanted.len()),
            "give fewer",
        ));
    }
    let item = |wanted: &&Wanted| GetItem {
        name: wanted.name.clone(),
        version: wanted.version.clone(),
        at: None,
    };
    let request = BatchRequest { items: wanted.iter().map(item).collect(), force: None };
    let items = session.ask(&Call::secret_batch(&request)?)?.value.items;
    let mut found = Vec::with_capacity(items.len());
    for (wanted, item) in wanted.iter().zip(items) {
        match item {
            ItemResult::Done(secret) => found.push(secret),
            ItemResult::Failed(problem) => return Err(session.refused(&wanted.name, problem)),
        }
    }
    warn_of_clock(found.iter().any(|secret| secret.clock_behind));
    Ok(found)
}

/// A file without a name that a program started by us can read and nobody can change.
fn in_memory(name: &str, value: &[u8]) -> rustix::io::Result<OwnedFd> {
    let file = memfd_create(name, MemfdFlags::ALLOW_SEALING)?;
    let mut left = value;
    while !left.is_empty() {
        let written = rustix::io::write(&file, left)?;
        left = left.get(written..).unwrap_or_default();
    }
    seek(&file, SeekFrom::Start(0))?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, parts: Option<(&str, &str, Option<&str>)>) {
        let wanted = text.parse::<Wanted>().ok();
        let found = wanted.as_ref().map(|wanted| {
            let version = wanted.version.as_ref().map(SecretVersion::as_str);
            (wanted.variable.as_str(), wanted.name.as_str(), version)
        });
        assert_eq!(found, parts, "{text}");
    }

    #[test]
    fn variable_secret_and_version_are_read() {
        check("DB=web/db", Some(("DB", "web/db", None)));
        check("_d2=web/db@v1.0", Some(("_d2", "web/db", Some("v1.0"))));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["DB", "=web/db", "2D=web/db", "D-B=web/db", "DB=", "DB=a@", "DB=a@b@c"] {
            check(text, None);
        }
    }

    #[test]
    fn file_in_memory_cannot_be_changed() {
        let file = in_memory("x", b"value").unwrap();
        let mut read = [0; 8];
        assert_eq!(rustix::io::read(&file, &mut read).unwrap(), 5);
        assert_eq!(read.get(..5), Some(&b"value"[..]));
        assert_eq!(rustix::io::write(&file, b"x"), Err(rustix::io::Errno::PERM));
    }
}
