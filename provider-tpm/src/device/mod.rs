//! The TPM: one ESYS context with its sessions, storage root key and loaded keys.
//!
//! This is the only module that knows tss-esapi. Everything in a [`Device`] is volatile: after a
//! fault that [`Fault::is_lost`] reports, the whole of it is dropped and opened anew.

mod aead;
mod counter;
mod describe;
mod hot;
mod import;
mod key;
mod pcr;
mod places;
mod rsa;
mod session;
mod slots;
mod srk;
mod template;
mod unwrapped;

use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use provider_core::{Condition, ErrorKind, ProviderError};
use tss_esapi::constants::StartupType;
use tss_esapi::constants::response_code::Tss2ResponseCode;
use tss_esapi::handles::NvIndexHandle;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::{Context, TctiNameConf};

use crate::config::Config;
use crate::error::{Code, Fault, RC_INITIALIZE};
use crate::tcti::Reach;
pub(crate) use counter::replaced;
pub(crate) use describe::About;
use places::Places;
use session::Sessions;
use slots::{BlobHash, Slots};
use srk::Srk;
use unwrapped::Unwrapped;

/// The result of a device call.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// How long to wait before each further try of a command that the TPM asks to repeat. libtss2
/// has by then tried five times at once.
const RETRY_AFTER_MS: [u64; 6] = [1, 5, 20, 50, 100, 200];

/// An opened TPM.
pub(crate) struct Device {
    context: Context,
    srk: Srk,
    sessions: Sessions,
    slots: Slots,
    /// Where hot keys are kept, if they are.
    places: Option<Places>,
    /// The counters that were used, by their blobs.
    counters: BTreeMap<BlobHash, NvIndexHandle>,
    /// The aead keys that were used. They go with everything else when the TPM is lost.
    unwrapped: Unwrapped,
}

impl Device {
    /// Connects, clears what earlier programs left, and finds or makes the storage root key,
    /// which must have the Name `known` when one is given.
    ///
    /// # Errors
    /// `DeviceGone`, `DeviceAuth`, `Busy`: the device node is not there, not ours to open, or in
    /// use. `WrongDevice`: no storage root key of that Name.
    pub(crate) fn open(config: &Config, known: Option<&[u8]>) -> Outcome<Self> {
        let mut context = connect(config)?;
        let managed = config.tcti.is_managed();
        if !managed {
            session::flush_stale(&mut context)?;
        }
        let srk = Srk::find_or_make(&mut context, config.persist_srk, known)?;
        let sessions = Sessions::start(&mut context, config.session_encryption, srk.handle)?;
        let slots = if managed {
            Slots::behind_a_manager()
        } else {
            let free = describe::free_slots(&mut context)?;
            // A persistent object takes a slot while it is used; loading uses a parent.
            let passing = srk.is_persistent() || config.persist_keys.is_some();
            Slots::bare(free.saturating_sub(usize::from(passing)))
        };
        let places = config.persist_keys.as_ref();
        let places = places.map(|settings| Places::open(&mut context, settings)).transpose()?;
        let (counters, unwrapped) = (BTreeMap::new(), Unwrapped::default());
        Ok(Self { context, srk, sessions, slots, places, counters, unwrapped })
    }

    /// Describes the TPM.
    pub(crate) fn about(&mut self) -> Outcome<About> {
        describe::about(&mut self.context)
    }

    /// The Name of the storage root key: the TPM's identity.
    pub(crate) fn srk_name(&self) -> &[u8] {
        &self.srk.name
    }

    /// Why the storage root key could not be persisted, if that was wanted.
    pub(crate) fn srk_note(&self) -> Option<&str> {
        self.srk.note.as_deref()
    }

    /// How many of the handles for hot keys are taken, if there are any.
    pub(crate) fn places_note(&self) -> Option<String> {
        let (taken, of) = self.places.as_ref()?.counts();
        Some(format!("persist_keys: {taken} of {of} handles were taken at the opening"))
    }

    /// The sentence about the TPM's lockout, from its own counters.
    pub(crate) fn lockout(&mut self) -> Outcome<String> {
        describe::lockout(&mut self.context)
    }

    /// The TPM's dictionary-attack state.
    pub(crate) fn condition(&mut self) -> Outcome<Condition> {
        describe::condition(&mut self.context)
    }

    /// Fills `out` with random bytes, by as many commands as it takes.
    pub(crate) fn random(&mut self, out: &mut [u8]) -> Outcome<()> {
        let session = self.sessions.protecting();
        let mut rest = out;
        while !rest.is_empty() {
            let wanted = rest.len();
            let bytes = command(&mut self.context, session, |tpm| tpm.get_random(wanted))?;
            let taken = bytes.len().min(wanted);
            if taken == 0 {
                return Err(unexpected("no random bytes"));
            }
            let (filled, left) = rest.split_at_mut(taken);
            filled.copy_from_slice(bytes.get(..taken).unwrap_or_default());
            rest = left;
        }
        Ok(())
    }
}

fn connect(config: &Config) -> Outcome<Context> {
    if let Reach::Device { path } = &config.tcti.reach {
        probe(path)?;
    }
    let name = TctiNameConf::from_str(&config.tcti.text).map_err(fault)?;
    let mut context = Context::new(name).map_err(fault)?;
    match describe::is_there(&mut context) {
        // Firmware and kernel start the TPM of a machine; nobody starts a bare emulator.
        Err(fault) if fault.is(RC_INITIALIZE) => {
            command(&mut context, None, |tpm| tpm.startup(StartupType::Clear))?;
        }
        outcome => outcome?,
    }
    Ok(context)
}

/// Opens the node once to learn why it cannot be, which the library does not tell.
fn probe(path: &str) -> Result<(), ProviderError> {
    let outcome = std::fs::File::options().read(true).write(true).open(path);
    let Err(error) = outcome else { return Ok(()) };
    let (kind, advice) = if error.kind() == io::ErrorKind::PermissionDenied {
        // Not `DeviceGone`: a TPM that is there and refuses us must not pass for an absent one.
        (ErrorKind::DeviceAuth, "; add the daemon's user to the node's group (tss)")
    } else if error.kind() == io::ErrorKind::ResourceBusy {
        (ErrorKind::Busy, "; another program has it alone: use /dev/tpmrm0")
    } else {
        (ErrorKind::DeviceGone, "")
    };
    Err(ProviderError::new(kind, format!("{path}: {error}{advice}")))
}

/// Runs one command with at most one session, and again while the TPM asks for that.
fn command<T>(
    context: &mut Context,
    session: Option<AuthSession>,
    mut run: impl FnMut(&mut Context) -> tss_esapi::Result<T>,
) -> Outcome<T> {
    let mut waits = RETRY_AFTER_MS.into_iter();
    loop {
        let outcome = context.execute_with_session(session, &mut run).map_err(fault);
        match (outcome, waits.next()) {
            (Err(Fault::Code(code)), Some(wait)) if code.is_transient() => {
                thread::sleep(Duration::from_millis(wait));
            }
            (outcome, _) => return outcome,
        }
    }
}

/// The one place where errors of tss-esapi become ours.
fn fault(error: tss_esapi::Error) -> Fault {
    match error {
        tss_esapi::Error::Tss2Error(code) => match raw(code) {
            Some(raw) => Fault::Code(Code(raw)),
            None => unexpected(&format!("a response code that cannot be read: {code:?}")),
        },
        tss_esapi::Error::WrapperError(kind) => unexpected(&format!("tss-esapi: {kind}")),
    }
}

/// The number of a response code, which tss-esapi 7 shows in the text of the inner type only.
fn raw(code: Tss2ResponseCode) -> Option<u32> {
    let text = match code {
        Tss2ResponseCode::Success => return None,
        Tss2ResponseCode::FormatZero(code) => code.to_string(),
        Tss2ResponseCode::FormatOne(code) => code.to_string(),
    };
    u32::from_str_radix(text.rsplit_once("0x")?.1, 16).ok()
}

/// A fault that is ours, the library's or the TPM's, and nobody's to mend from outside.
fn unexpected(what: &str) -> Fault {
    Fault::Final(ProviderError::new(ErrorKind::Internal, what))
}
