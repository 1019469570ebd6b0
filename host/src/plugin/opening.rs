//! Opening a device, the same in a worker and in this process: what refused our PIN before is not
//! shown it again.

use std::path::Path;

use daemon::sandbox::Reached;
use provider_core::call::{Instance, Plugin};
use provider_core::{AuthSubject, ErrorKind, Identity, Info, Needs, Secrets, Settings};

use super::{CallError, ffi};

/// A device that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) instance: Instance,
    pub(super) description: Description,
}

/// What is known of it from then on.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) info: Info,
    pub(super) identity: Identity,
    pub(super) subject: Option<AuthSubject>,
    /// How far the process that runs it is confined.
    pub(super) sandbox: Option<Reached>,
}

/// Why a device was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenFailure {
    /// It refused our PIN before, and was not shown it again.
    Withheld(AuthSubject),
    /// The opening failed.
    Failed {
        /// How.
        error: CallError,
        /// What refused our PIN, where that is how it failed, and the plugin can name it.
        subject: Option<AuthSubject>,
    },
}

impl<E: Into<CallError>> From<E> for OpenFailure {
    fn from(error: E) -> Self {
        Self::Failed { error: error.into(), subject: None }
    }
}

/// What to open a device with.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    pub(super) plugin: &'a Path,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) settings: &'a Settings,
    pub(super) secrets: &'a Secrets,
    pub(super) known: Option<&'a Identity>,
    /// What is not to be shown a secret.
    pub(super) refused: &'a [AuthSubject],
}

/// Loads a plugin and opens its device.
pub(super) fn open(opening: &Opening<'_>) -> Result<Opened, OpenFailure> {
    let Opening { settings, secrets, known, refused, .. } = *opening;
    let plugin = ffi::load(opening.plugin, opening.sha256)?;
    // Finding the device may take as long as opening it, so it is asked for only where it matters.
    if !refused.is_empty()
        && let Some(subject) = plugin.auth_subject(settings)?
        && refused.contains(&subject)
    {
        return Err(OpenFailure::Withheld(subject));
    }
    match plugin.open(settings, secrets, known) {
        Ok((instance, identity)) => {
            let info = instance.info()?;
            let subject = named(&plugin, settings);
            Ok(Opened {
                instance,
                description: Description { info, identity, subject, sandbox: None },
            })
        }
        Err(error) => {
            let refused = error.kind == ErrorKind::DeviceAuth;
            let subject = if refused { named(&plugin, settings) } else { None };
            Err(OpenFailure::Failed { error: error.into(), subject })
        }
    }
}

/// Loads a plugin and asks what its provider needs.
pub(super) fn ask(
    plugin: &Path,
    sha256: Option<[u8; 32]>,
    settings: &Settings,
) -> Result<Needs, OpenFailure> {
    Ok(ffi::load(plugin, sha256)?.needs(settings)?)
}

/// The device's name; one that cannot be told now is as good as none.
fn named(plugin: &Plugin, settings: &Settings) -> Option<AuthSubject> {
    plugin.auth_subject(settings).ok().flatten()
}
