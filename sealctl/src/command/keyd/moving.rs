//! Moves one key: tells what it is, imports it, proves it, removes its file.

use std::path::Path;

use sealhost_client::{Error, KeydUsage};
use wire::keyd::{BadId, Kind, name_of};
use wire::limits::IMPORT_KEY_MAX_BYTES;

use super::files::{self, Content, Found, HANDLE_KEY, Place};
use super::host::{Host, Key};
use super::material::{self, Material};
use super::report::{Outcome, Row};
use super::{ImportKeydArgs, advice, is_about_one};

/// Bytes of an AES-256 key.
const ENCRYPT_BYTES: usize = 32;

const NOT_HERE: &str = "use the socket of the aziot Key Service for it, or make a new key of the \
                        same id here, and encrypt or enrol anew what depends on it";

/// What keys are moved with; no host in a dry run.
pub(super) struct Moving<'a> {
    pub(super) host: Option<Host>,
    pub(super) args: &'a ImportKeydArgs,
}

/// The key at which the run ended, and why.
pub(super) struct Stopped {
    pub(super) row: Box<Row>,
    pub(super) error: Error,
}

/// A key whose turn did not come.
pub(super) fn not_tried(found: Found) -> Row {
    Row { outcome: Outcome::NotTried, ..row(found) }
}

fn row(found: Found) -> Row {
    let file = match found.place {
        Place::File(path) => Some(path),
        Place::Token | Place::Unknown | Place::Nowhere => None,
    };
    let outcome = Outcome::NotTried;
    Row { id: found.id, kind: None, usage: None, file, is_removed: false, outcome }
}

impl Moving<'_> {
    /// Moves a key, or says why it is not moved.
    pub(super) fn one(&self, found: Found) -> Result<Row, Stopped> {
        let place = found.place.clone();
        let mut row = row(found);
        let outcome = match (&place, row.id.clone()) {
            (_, Some(id)) if id == HANDLE_KEY => Ok(Outcome::Needless),
            (Place::File(path), Some(id)) => self.file(path, &id, &mut row),
            (Place::File(_), None) => Ok(Outcome::left(
                "it cannot be told whose key this is, if it is one",
                "give the id with --id; the 64 digits in the name of the file are its SHA-256",
            )),
            (Place::Token, _) => Ok(Outcome::left("it is on a PKCS#11 token", NOT_HERE)),
            (Place::Unknown, _) => Ok(Outcome::left(
                "its place is neither file:///PATH nor pkcs11:",
                "correct [preloaded_keys]",
            )),
            (Place::Nowhere, id) => self.without_file(&id.unwrap_or_default(), &mut row),
        };
        match outcome {
            Ok(outcome) => Ok(Row { outcome, ..row }),
            Err(error) if is_about_one(&error) => {
                let outcome = Outcome::left(error.to_string(), advice(&error));
                Ok(Row { outcome, ..row })
            }
            Err(error) => {
                let again = "run this once more; a key that was imported is found then";
                let outcome = Outcome::left(error.to_string(), again);
                Err(Stopped { row: Box::new(Row { outcome, ..row }), error })
            }
        }
    }

    fn file(&self, path: &Path, id: &str, row: &mut Row) -> Result<Outcome, Error> {
        let content = match files::read(path) {
            Ok(content) => content,
            Err(error) => {
                let what = format!("cannot read {}: {error}", path.display());
                return Ok(Outcome::left(what, "check the file and who may read it"));
            }
        };
        match material::read(&content.bytes) {
            Material::Symmetric(bytes) => {
                row.kind = Some(Kind::Key);
                row.usage = self.usage_of(id);
                match row.usage {
                    None => Ok(Outcome::left(
                        "files do not say what a symmetric key is for",
                        format!("give --usage {id}=encrypt or --usage {id}=sign"),
                    )),
                    Some(usage) => match unfit(usage, bytes.len()) {
                        Some(outcome) => Ok(outcome),
                        None => self.key(path, id, &Key::Symmetric(usage, bytes), &content, row),
                    },
                }
            }
            Material::P256(pair) => {
                row.kind = Some(Kind::Pair);
                self.key(path, id, &Key::P256(&pair), &content, row)
            }
            Material::Rsa => {
                row.kind = Some(Kind::Pair);
                Ok(Outcome::left(
                    "it is an RSA pair, and those cannot be imported",
                    "make a new pair of the same id (POST /keypair, [keyd] rsa = true), and have \
                     what was issued for the old one issued again",
                ))
            }
            Material::Other => Ok(Outcome::left(
                "it is PEM, but no unencrypted P-256 or RSA pair",
                "make a new pair of the same id (POST /keypair)",
            )),
        }
    }

    fn usage_of(&self, id: &str) -> Option<KeydUsage> {
        let named = self.args.usage.iter().rev().find(|(of, _)| of == id);
        named.map(|(_, usage)| *usage).or(self.args.default_usage)
    }

    /// Imports a key unless it is there, and proves it in either case.
    fn key(
        &self,
        path: &Path,
        id: &str,
        key: &Key<'_>,
        content: &Content,
        row: &mut Row,
    ) -> Result<Outcome, Error> {
        let kind = match key {
            Key::Symmetric(..) => Kind::Key,
            Key::P256(_) => Kind::Pair,
        };
        let name = match name_of(kind, id) {
            Ok(name) => name,
            Err(bad) => return Ok(bad_id(bad)),
        };
        let Some(host) = &self.host else { return Ok(Outcome::Would) };
        let there = host.find(kind, id)?;
        let is_new = there.is_none();
        let handle = match there {
            Some(handle) => handle,
            None => host.import(id, &name, key)?,
        };
        if !host.proves(&handle, key)? {
            let advice = format!("look at `sealctl key show {name}`; nothing was removed");
            let what = if is_new {
                "the host computes something else with it than the file's bytes give"
            } else {
                "the host has another key of this id"
            };
            return Ok(Outcome::left(what, advice));
        }
        let Some(lives) = host.lives(&name)? else {
            let advice = format!("look at `sealctl key show {name}`; nothing was removed");
            return Ok(Outcome::left("the host says that it has no active version", advice));
        };
        if self.args.remove {
            if let Err(error) = files::remove(path, content) {
                return Ok(Outcome::left(
                    format!("it is in the host, but its file was not removed: {error}"),
                    format!("remove {} yourself", path.display()),
                ));
            }
            row.is_removed = true;
        }
        Ok(if is_new { Outcome::Imported(lives) } else { Outcome::There(lives) })
    }

    /// An id that somebody named, of which there is no file: the host may have it already.
    fn without_file(&self, id: &str, row: &mut Row) -> Result<Outcome, Error> {
        for kind in [Kind::Key, Kind::Pair] {
            let (Some(host), Ok(name)) = (&self.host, name_of(kind, id)) else { break };
            if host.find(kind, id)?.is_some() {
                row.kind = Some(kind);
                if let Some(lives) = host.lives(&name)? {
                    return Ok(Outcome::Unproved(lives));
                }
            }
        }
        Ok(Outcome::left("there is no file of this id", "check the id, and --home"))
    }
}

/// What the service takes, and what no device does.
fn unfit(usage: KeydUsage, bytes: usize) -> Option<Outcome> {
    match usage {
        KeydUsage::Encrypt if bytes != ENCRYPT_BYTES => Some(Outcome::left(
            format!("it has {bytes} bytes; a key that encrypts has {ENCRYPT_BYTES}"),
            "if it signs, give its --usage; the aziot Key Service cannot encrypt with it either",
        )),
        KeydUsage::Sign if !(1..=IMPORT_KEY_MAX_BYTES).contains(&bytes) => Some(Outcome::left(
            format!("it has {bytes} bytes; a key that signs has 1 to {IMPORT_KEY_MAX_BYTES}"),
            "make a new key of the same id (POST /key)",
        )),
        KeydUsage::Encrypt | KeydUsage::Sign => None,
    }
}

fn bad_id(bad: BadId) -> Outcome {
    let what = match bad {
        BadId::Invalid(why) => format!("its id cannot be kept: {why}"),
        BadId::Reserved => "its id is reserved".to_owned(),
    };
    Outcome::left(what, "give it another id in the aziot Key Service and in its clients")
}
