//! Where a provider's secrets come from: files, credentials of the service manager, envelopes,
//! and files that the host itself makes.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use provider_core::{SecretBytes, Secrets};
use wire::envelope::Envelope;
use wire::name::{KeyName, ProviderName};
use zeroize::Zeroizing;

use super::Router;
use super::provider::Provider;
use crate::config::SecretSource;
use crate::ops::unwrap_envelope;
use crate::plugin::Account;

/// Longest secret, bytes.
const SECRET_MAX_BYTES: u64 = 64 * 1024;
/// Bytes of a secret that the host makes.
const MADE_BYTES: usize = 32;

/// Why a secret is not there; each message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error("secret {name}: {reason}")]
    Unreadable { name: String, reason: String },
    #[error("secret {name} is sealed by key {key}, which is not usable now: {reason}")]
    Sealed { name: String, key: KeyName, reason: String },
    #[error(
        "secret {name} is sealed by a key of {provider}, whose own secrets lead back here; seal \
         it by a key of another provider"
    )]
    Cycle { name: String, provider: ProviderName },
    #[error(
        "{path} is gone, but this provider was opened before; restore it from a backup: without \
         it the provider's keys are lost",
        path = path.display()
    )]
    MadeSecretIsGone { path: PathBuf },
}

impl Router {
    /// Reads every secret of a provider.
    ///
    /// # Secrets
    /// The result; wiped when dropped.
    pub(super) async fn secrets_of(&self, provider: &Provider) -> Result<Secrets, SecretError> {
        let mut secrets = Vec::new();
        for (name, source) in &provider.config.secrets {
            let unreadable =
                |reason: String| SecretError::Unreadable { name: name.clone(), reason };
            let bytes = match source {
                SecretSource::File(path) => trimmed(read_secret(path).map_err(unreadable)?),
                SecretSource::Credential(credential) => {
                    let path = credential_path(credential).map_err(unreadable)?;
                    trimmed(read_secret(&path).map_err(unreadable)?)
                }
                SecretSource::Sealed(path) => {
                    let text = read_secret(path).map_err(unreadable)?;
                    self.unseal_secret(provider, name, &text).await?
                }
                SecretSource::Generated => self.made_secret(provider, name)?,
            };
            secrets.push((name.clone(), SecretBytes::new(bytes)));
        }
        Ok(Secrets::new(secrets))
    }

    /// The secret that the host made for this provider, made now if it was never opened.
    fn made_secret(
        &self,
        provider: &Provider,
        name: &str,
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let unreadable = |reason: String| SecretError::Unreadable { name: name.to_owned(), reason };
        let path = self.state_dir.join(format!("{}.{name}", provider.name()));
        if fs::exists(&path).map_err(|error| unreadable(error.to_string()))? {
            return read_secret(&path).map_err(unreadable);
        }
        if self.registry.instance(provider.name()).is_some() {
            return Err(SecretError::MadeSecretIsGone { path });
        }
        let mut secret = Zeroizing::new(vec![0; MADE_BYTES]);
        rand::fill(&mut secret).map_err(|_unspecified| unreadable("no randomness".into()))?;
        daemon::trust::create_secret(&path, &secret)
            .map_err(|error| unreadable(error.to_string()))?;
        Ok(secret)
    }

    /// Opens a secret that is an envelope under one of our own keys, with an empty context.
    async fn unseal_secret(
        &self,
        provider: &Provider,
        name: &str,
        text: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let unreadable = |reason: String| SecretError::Unreadable { name: name.to_owned(), reason };
        let text = std::str::from_utf8(text).map_err(|error| unreadable(error.to_string()))?;
        let envelope =
            Envelope::parse_text(text.trim_end()).map_err(|fault| unreadable(fault.detail))?;
        let key = self.registry.key(envelope.key_name());
        let sealed = |reason: String| SecretError::Sealed {
            name: name.to_owned(),
            key: envelope.key_name().clone(),
            reason,
        };
        let key = key.ok_or_else(|| sealed("there is no such key".into()))?;
        for recipient in envelope.recipients() {
            let Some(version) = key.live(recipient.version) else { continue };
            if self.leads_to(&version.provider, provider.name(), &mut Vec::new()) {
                return Err(SecretError::Cycle {
                    name: name.to_owned(),
                    provider: version.provider.clone(),
                });
            }
            if let Some(opener) = self.providers.get(&version.provider) {
                opener.first_try().await;
            }
        }
        let context = wire::context::EncryptionContext::default();
        let opened = unwrap_envelope(self, Account::Host, &key, &envelope)
            .await
            .and_then(|(data_key, _)| Ok(wire::envelope::open(&envelope, &data_key, &context)?));
        opened.map_err(|error| sealed(error.to_string()))
    }

    /// Whether a provider is the one sought, or its sealed secrets need it.
    fn leads_to(
        &self,
        from: &ProviderName,
        sought: &ProviderName,
        seen: &mut Vec<ProviderName>,
    ) -> bool {
        if from == sought {
            return true;
        }
        if seen.contains(from) {
            return false;
        }
        seen.push(from.clone());
        let Some(provider) = self.providers.get(from) else { return false };
        provider.config.secrets.iter().any(|(_, source)| {
            let SecretSource::Sealed(path) = source else { return false };
            let text = read_secret(path).ok();
            let text = text.as_deref().and_then(|text| std::str::from_utf8(text).ok());
            let envelope = text.and_then(|text| Envelope::parse_text(text.trim_end()).ok());
            let key = envelope.as_ref().and_then(|it| self.registry.key(it.key_name()));
            key.is_some_and(|key| {
                key.live_versions().any(|version| self.leads_to(&version.provider, sought, seen))
            })
        })
    }
}

/// Reads a file that only its owner can read.
fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = daemon::trust::open_secret(path).map_err(|error| error.to_string())?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let read = file.take(SECRET_MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= SECRET_MAX_BYTES) {
        return Ok(bytes);
    }
    Err(format!("{} exceeds limit of {SECRET_MAX_BYTES} bytes", path.display()))
}

/// Without the line end that editors leave.
fn trimmed(mut bytes: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    bytes
}

#[expect(clippy::disallowed_methods, reason = "the service manager names its credentials so")]
fn credential_path(name: &str) -> Result<PathBuf, String> {
    let directory = std::env::var("CREDENTIALS_DIRECTORY").map_err(|_absent| {
        format!("there is no credential {name}; set LoadCredential={name}:… in the unit")
    })?;
    Ok(Path::new(&directory).join(name))
}
