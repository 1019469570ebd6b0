//! `import-keyd`: moves the keys of an aziot Key Service into the devices of the host
//! (`docs/keyd.md`).

use std::path::{Path, PathBuf};

use clap::Args;
use sealhost_client::blocking::Client;
use sealhost_client::{Error, KeydUsage};

use super::Session;
use super::key::Place;
use crate::args::{self, Common, Daemon};
use crate::exit::{Exit, Failure};
use crate::screen;

pub(crate) mod config;

mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod host;
mod material;
mod moving;
mod report;
mod sections;

use config::Keyd;
use host::Host;
use moving::{Moving, Stopped};
use report::Row;
use sections::Root;

const HOME: &str = "/var/lib/aziot/keyd";

/// Move the keys of an aziot Key Service into the devices of the host
///
/// Symmetric keys go over the socket of the dialect, P-256 pairs over the native one. Each is
/// proved to be in the host before it counts, and before its file is removed. Standard output gets
/// the sections for the host's configuration, standard error what became of each key. Exit code 1:
/// not everything was moved.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sealctl import-keyd /etc/aziot/keyd/config.toml --dry-run > keyd-sections.toml
  sealctl import-keyd /etc/aziot/keyd/config.toml --usage device-id=sign --default-usage encrypt
  sealctl import-keyd /etc/aziot/keyd/config.toml --default-usage encrypt --remove")]
pub(crate) struct ImportKeydArgs {
    /// Configuration of the service; patches are read from `config.d` beside it
    config: PathBuf,
    /// Directory of the service, with `keys` in it; otherwise what its configuration says
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Socket of the host's dialect
    #[arg(long, value_name = "PATH", default_value = "/run/aziot/keyd.sock")]
    keyd_socket: PathBuf,
    /// An id, so that its file is found; may be repeated
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// What the symmetric key of an id is for, `encrypt` or `sign`; files do not say it
    #[arg(long, value_name = "ID=USAGE", value_parser = of_id)]
    usage: Vec<(String, KeydUsage)>,
    /// What other symmetric keys are for; otherwise they are left where they are
    #[arg(long, value_name = "USAGE", value_parser = args::words([KeydUsage::Encrypt, KeydUsage::Sign], word))]
    default_usage: Option<KeydUsage>,
    /// Say what would be done; nothing is changed, and no host is needed
    #[arg(long, conflicts_with = "remove")]
    dry_run: bool,
    /// Remove the file of each key that is proved to be in the host
    #[arg(long)]
    remove: bool,
    /// Give uid 0 every key of the dialect, as the service does, in the sections
    #[arg(long)]
    root: bool,
    /// Of pairs; for symmetric keys `[keyd]` says it
    #[command(flatten)]
    place: Place,
}

const fn word(usage: KeydUsage) -> &'static str {
    match usage {
        KeydUsage::Encrypt => "encrypt",
        KeydUsage::Sign => "sign",
    }
}

/// The parser of ID=USAGE. An id may have `=` in it.
fn of_id(text: &str) -> Result<(String, KeydUsage), String> {
    match text.rsplit_once('=') {
        Some((id, "encrypt")) if !id.is_empty() => Ok((id.to_owned(), KeydUsage::Encrypt)),
        Some((id, "sign")) if !id.is_empty() => Ok((id.to_owned(), KeydUsage::Sign)),
        Some(_) | None => Err("write ID=encrypt or ID=sign".to_owned()),
    }
}

pub(super) fn run(
    session: impl FnOnce() -> Result<Session, Failure>,
    args: &ImportKeydArgs,
    common: &Common,
) -> Result<Exit, Failure> {
    let keyd = read_config(&args.config)?;
    let home = args.home.as_deref().or(keyd.home.as_deref()).unwrap_or_else(|| Path::new(HOME));
    let directory = home.join("keys");
    let of_usages = args.usage.iter().map(|(id, _)| id.as_str());
    let mut asked: Vec<_> = args.id.iter().map(String::as_str).chain(of_usages).collect();
    asked.sort_unstable();
    asked.dedup();
    let found = files::find(&keyd, &directory, &asked).map_err(|error| {
        let what = format!("cannot read {}: {error}", directory.display());
        Failure::usage(what, "run this as root, or as the user of the service")
    })?;
    let host = if args.dry_run { None } else { Some(reach(session()?, args, common)?) };
    let moving = Moving { host, args };
    let (mut rows, mut stopped) = (Vec::with_capacity(found.len()), None);
    for found in found {
        if stopped.is_some() {
            rows.push(moving::not_tried(found));
            continue;
        }
        match moving.one(found) {
            Ok(row) => rows.push(row),
            Err(Stopped { row, error }) => {
                rows.push(*row);
                stopped = Some(error);
            }
        }
    }
    show(&keyd, &rows, args, common)?;
    match stopped {
        Some(error) => Err(error.into()),
        None if rows.iter().all(|row| row.outcome.is_good()) => Ok(Exit::Done),
        None => Ok(Exit::No),
    }
}

fn reach(native: Session, args: &ImportKeydArgs, common: &Common) -> Result<Host, Failure> {
    let client = Client::new(&args.keyd_socket).map_err(|error| {
        Failure::usage(format!("cannot start: {error}"), "raise the limit of open files")
    })?;
    let client = client.timeout(common.timeout);
    Host::reach(native, client, args.place.providers(), args.place.floor)
}

/// Reads the main file and, where there is one, the directory of patches beside it.
fn read_config(main: &Path) -> Result<Keyd, Failure> {
    let unreadable = |path: &Path, error: &dyn std::fmt::Display| {
        let what = format!("cannot read {}: {error}", path.display());
        Failure::usage(
            what,
            "name the configuration of the aziot Key Service, and run this as root",
        )
    };
    let mut paths = vec![main.to_owned()];
    let patches = main.with_file_name("config.d");
    match std::fs::read_dir(&patches) {
        Ok(entries) => {
            let mut found = Vec::new();
            for entry in entries {
                let entry = entry.map_err(|error| unreadable(&patches, &error))?;
                let path = entry.path();
                let is_file = entry.file_type().is_ok_and(|it| it.is_file());
                if is_file && path.extension().is_some_and(|it| it == "toml") {
                    found.push(path);
                }
            }
            found.sort();
            paths.extend(found);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(&patches, &error)),
    }
    let mut contents = Vec::with_capacity(paths.len());
    for path in &paths {
        // The service follows a link to its configuration.
        let path = path.canonicalize().map_err(|error| unreadable(path, &error))?;
        contents.push(files::read(&path).map_err(|error| unreadable(&path, &error))?);
    }
    let bytes: Vec<_> = contents.iter().map(|content| content.bytes.as_slice()).collect();
    config::parse(&bytes).map_err(|fault| {
        let path = match fault {
            config::Fault::Syntax { file, .. } => paths.get(file).map_or(main, PathBuf::as_path),
            config::Fault::Type { .. } => main,
        };
        let what = format!("{}: {fault}", path.display());
        Failure::usage(what, "mend it as the aziot Key Service wants it")
    })
}

/// The sections on standard output, the rest beside it; with `--json` all in one document.
fn show(keyd: &Keyd, rows: &[Row], args: &ImportKeydArgs, common: &Common) -> Result<(), Failure> {
    let root = if args.root { Root::Everything } else { Root::AsConfigured };
    let socket = std::path::absolute(&args.keyd_socket);
    let socket = socket.as_deref().unwrap_or(&args.keyd_socket);
    let sections = sections::sections(keyd, socket, root);
    if common.json {
        return screen::print_document(report::document(rows, &sections).to_string().as_bytes());
    }
    screen::beside(&report::text(rows));
    for row in rows {
        if let report::Outcome::Left { what, advice } = &row.outcome {
            screen::beside(&format!(
                "sealctl: {}: {}\n  to do: {}\n",
                screen::plain(&row.name()),
                screen::plain(what),
                screen::plain(advice)
            ));
        }
    }
    if keyd.has_token {
        screen::warn(
            "the service keeps keys on a PKCS#11 token too; those that are not preloaded are not \
             listed here, and stay there",
        );
    }
    for file in rows.iter().filter_map(Row::plaintext) {
        screen::warn(&format!("the plaintext is still there: {}", file.display()));
    }
    screen::print(sections.as_bytes())
}

/// A refusal is about one key; everything else is about the host, and ends the run.
fn is_about_one(error: &Error) -> bool {
    match error {
        Error::Refused(_) | Error::Limit(_) => true,
        Error::Connect(_)
        | Error::Unanswered { .. }
        | Error::Timeout { .. }
        | Error::Protocol(_) => false,
    }
}

/// What to do about a refusal.
fn advice(error: &Error) -> String {
    crate::advice::of(Daemon::Sealhost, error)
}
