//! `[credentials]` and `[[credential]]`: which unit of systemd gets which secret.

use daemon::config::{Noted, Read, Section, sections, value};
use daemon::listener::Endpoint;
use toml::Value;
use wire::secrets::{SecretName, SecretVersion};

use super::fault::Problem;

/// What systemd gets, and where it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The socket that `LoadCredential=` names.
    pub listen: Endpoint,
    /// One for each unit and credential.
    pub all: Vec<Credential>,
}

/// One credential of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The unit, by its full name.
    pub unit: String,
    /// The credential, by its name in the unit.
    pub credential: String,
    /// The secret.
    pub secret: SecretName,
    /// Its version; the preferred one when there is none.
    pub version: Option<SecretVersion>,
}

pub(super) fn all(root: &mut Section<'_>) -> Read<Option<Credentials>> {
    let tables = root.tables("credential")?;
    let example = "socket = \"/run/secret-manager/credentials.sock\"";
    let listen = sections::optional_listen(root, "credentials", example);
    let mut noted: Option<Noted> = None;
    let mut all: Vec<Credential> = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let mut section =
            root.inner(format!("[[credential]] #{} ", index.saturating_add(1)), table);
        match one(&mut section, &all) {
            Ok(credential) => all.push(credential),
            Err(fault) => noted = Some(fault),
        }
        section.finish();
    }
    if let Some(noted) = noted {
        return Err(noted);
    }
    match (listen?, all.is_empty()) {
        (Some(listen), _) => Ok(Some(Credentials { listen, all })),
        (None, true) => Ok(None),
        (None, false) => Err(root.fault("credentials", Problem::NoCredentialSocket)),
    }
}

fn one(section: &mut Section<'_>, before: &[Credential]) -> Read<Credential> {
    let unit = section.required("unit", "unit = \"web.service\"", unit);
    let credential = section.required("credential", "credential = \"db-password\"", name);
    let secret = section.required("secret", "secret = \"web/db\"", secret);
    let version = section.optional("version", version);
    let found =
        Credential { unit: unit?, credential: credential?, secret: secret?, version: version? };
    let same =
        |other: &Credential| (&other.unit, &other.credential) == (&found.unit, &found.credential);
    match before.iter().position(same) {
        None => Ok(found),
        Some(taken) => {
            Err(section.fault("credential", Problem::CredentialTaken(taken.saturating_add(1))))
        }
    }
}

/// systemd.unit(5): a name of 1 to 255 bytes with its type after the last dot.
fn unit(value: &Value) -> Result<String, Problem> {
    let text = value::text(value)?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    let typed = text.rsplit_once('.').is_some_and(|(stem, kind)| {
        !stem.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase()) && !kind.is_empty()
    });
    if text.len() <= 255 && text.bytes().all(fits) && typed {
        Ok(text)
    } else {
        Err(Problem::Unit(text))
    }
}

fn name(value: &Value) -> Result<String, Problem> {
    let text = value::text(value)?;
    if text.len() > 255 || text.contains('/') || text == "." || text == ".." {
        return Err(Problem::CredentialName(text));
    }
    Ok(text)
}

fn secret(value: &Value) -> Result<SecretName, Problem> {
    SecretName::parse(&value::text(value)?).map_err(|error| Problem::Secret(error.to_string()))
}

fn version(value: &Value) -> Result<SecretVersion, Problem> {
    SecretVersion::parse(&value::text(value)?).map_err(|error| Problem::Secret(error.to_string()))
}
