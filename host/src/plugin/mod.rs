//! The plugin room: loading provider plugins, calling them, and keeping their faults away from
//! the host. It knows nothing of rules or requests.
//!
//! A plugin runs in a worker process (`process`, `worker`) or, for trusted code, in this one
//! (`inline`). Both show the same face, [`Link`]: one [`Call`] in, one [`Answer`] out.

mod check;
mod confine;
mod ffi;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod inline;
mod message;
mod opening;
mod process;
mod queue;
mod spawner;
mod start;
pub mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use daemon::sandbox::{Demand, Reached};
use provider_core::{
    AuthSubject, Condition, ErrorKind, Identity, Info, KeyBlob, KeyId, KeySpec, Mac, Needs,
    ProviderError, PublicKey, RsaModulus, RsaResult, SecretBytes, Secrets, Settings, Signature,
    Usage,
};

pub use check::PluginFileError;
pub use confine::{Confinement, Connection};
pub use opening::OpenFailure;
pub use queue::Account;
pub use spawner::{Spawner, WORKER_ARGUMENT};

/// Where a plugin is and how it is run.
#[derive(Clone, Debug)]
pub struct PluginSource {
    /// The provider that it is for, as the configuration names it.
    pub provider: String,
    /// Absolute path of the library.
    pub path: PathBuf,
    /// SHA-256 that the file must have, when the operator pinned one.
    pub sha256: Option<[u8; 32]>,
    /// In which process it runs.
    pub isolation: Isolation,
    /// Environment of the worker, for vendor modules that are configured so.
    pub environment: Vec<(String, String)>,
    /// What the worker is left.
    pub confinement: Confinement,
}

impl PluginSource {
    /// Whether it runs in a worker that has a sandbox.
    #[must_use]
    pub fn is_confined(&self) -> bool {
        self.isolation == Isolation::Process && self.confinement.level != Demand::Off
    }
}

/// In which process a plugin runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// A worker process of its own: a crash or hang costs the calls in flight, not the host.
    Process,
    /// This process: for trusted code only.
    InProcess,
}

/// How long things may take, and how many may wait.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From starting the plugin to its first answer, and as long again for its self test.
    pub open: Duration,
    /// Waiting for a turn at the device; past it the call is `Busy`.
    pub queue: Duration,
    /// One `generate` or `import`, or making or removing a counter, at the device.
    pub generate: Duration,
    /// Any other verb at the device.
    pub mac: Duration,
    /// Calls that may wait for a turn; one more is `Busy` at once.
    pub queue_length: usize,
    /// Calls of one user that may wait for a turn; one more is `Busy` at once.
    pub queue_length_per_uid: usize,
}

/// One call to an opened instance.
#[derive(Debug)]
pub enum Call {
    /// Run the known answers.
    SelfTest,
    /// Make a key.
    Generate(KeySpec),
    /// Import a key.
    Import(KeySpec, SecretBytes),
    /// Remove what the device keeps of a key.
    Destroy(DeviceKey),
    /// HMAC of an input.
    Mac(DeviceKey, Vec<u8>),
    /// Random bytes.
    Random(usize),
    /// The public half of a sign key.
    PublicKey(DeviceKey),
    /// Sign a digest.
    Sign(DeviceKey, [u8; 32]),
    /// Encrypt a text with an aead key.
    AeadEncrypt(DeviceKey, AeadText),
    /// Decrypt a ciphertext and its tag with an aead key.
    AeadDecrypt(DeviceKey, AeadText),
    /// The modulus of an rsa key.
    RsaPublic(DeviceKey),
    /// Raise a number to the private exponent of an rsa key.
    RsaPrivate(DeviceKey, SecretBytes),
    /// Make a counter.
    CounterCreate(KeyId),
    /// Raise a counter.
    CounterIncrement(DeviceCounter),
    /// Read a counter.
    CounterRead(DeviceCounter),
    /// Remove a counter.
    CounterDestroy(DeviceCounter),
    /// Read the device's memory of failed authorizations.
    Condition,
}

impl Call {
    /// Whether its success shows that the device is there: not of what a provider may do, or
    /// answer from its memory, without it.
    #[must_use]
    pub const fn shows_life(&self) -> bool {
        match self {
            Self::SelfTest
            | Self::Generate(_)
            | Self::Import(..)
            | Self::Mac(..)
            | Self::Random(_)
            | Self::Sign(..)
            | Self::AeadEncrypt(..)
            | Self::AeadDecrypt(..)
            | Self::RsaPrivate(..)
            | Self::CounterCreate(_)
            | Self::CounterIncrement(_)
            | Self::CounterRead(_) => true,
            Self::Destroy(_)
            | Self::PublicKey(_)
            | Self::RsaPublic(_)
            | Self::CounterDestroy(_)
            | Self::Condition => false,
        }
    }
}

/// A key as a call names it; the owned form of [`provider_core::KeyRef`].
#[derive(Clone, Debug)]
pub struct DeviceKey {
    /// What the key is for.
    pub usage: Usage,
    /// Its id on the device.
    pub id: KeyId,
    /// Its blob.
    pub blob: Arc<[u8]>,
}

/// What an aead key is given; the owned form of [`provider_core::AeadInput`].
///
/// # Secrets
/// The text of an encryption; it is wiped when dropped.
#[derive(Debug)]
pub struct AeadText {
    /// The initialization vector.
    pub iv: Vec<u8>,
    /// What is authenticated beside the text.
    pub aad: Vec<u8>,
    /// The plaintext, or the ciphertext and its tag.
    pub text: SecretBytes,
}

/// A counter as a call names it; the owned form of [`provider_core::CounterRef`].
#[derive(Clone, Debug)]
pub struct DeviceCounter {
    /// Its id on the device.
    pub id: KeyId,
    /// Its blob.
    pub blob: Arc<[u8]>,
}

/// What a call came back with; the variant follows from the call.
#[derive(Debug)]
pub enum Answer {
    /// `SelfTest`, `Destroy`, `CounterDestroy`.
    Done,
    /// `Generate`, `Import`.
    Blob(KeyBlob),
    /// `Mac`.
    Mac(Mac),
    /// `Random`.
    Random(SecretBytes),
    /// `PublicKey`.
    PublicKey(PublicKey),
    /// `Sign`.
    Signature(Signature),
    /// `AeadEncrypt`: the ciphertext and its tag.
    AeadCiphertext(Vec<u8>),
    /// `AeadDecrypt`: the plaintext.
    AeadPlaintext(SecretBytes),
    /// `RsaPublic`.
    RsaModulus(RsaModulus),
    /// `RsaPrivate`.
    Rsa(RsaResult),
    /// `CounterCreate`: its blob and its value.
    Counter(KeyBlob, u64),
    /// `CounterIncrement`, `CounterRead`.
    Value(u64),
    /// `Condition`.
    Condition(Condition),
}

/// Why a call came back with nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The provider failed it.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// It waited for a turn too long, or too many were waiting.
    #[error("the provider has too much to do")]
    Busy,
    /// The device did not answer in time; the worker was ended.
    #[error("the device did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The worker ended while the call was with it, or is not there.
    #[error("the worker is gone: {0}")]
    Gone(String),
    /// The plugin cannot be loaded.
    #[error(transparent)]
    Plugin(#[from] PluginFileError),
}

impl CallError {
    /// Whether it says that the device or its worker is not there, as opposed to refusing.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_)) || matches!(self.kind(), Some(ErrorKind::DeviceGone))
    }

    /// Whether the provider says that its device is not there.
    #[must_use]
    pub const fn is_device_gone(&self) -> bool {
        matches!(self.kind(), Some(ErrorKind::DeviceGone))
    }

    /// Whether it says that another device is in the place of the one that is recorded.
    #[must_use]
    pub const fn is_wrong_device(&self) -> bool {
        matches!(self.kind(), Some(ErrorKind::WrongDevice))
    }

    /// Whether it says that the device refused our PIN or password.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        matches!(self.kind(), Some(ErrorKind::DeviceAuth))
    }

    /// Whether it says that the device is in lockout.
    #[must_use]
    pub const fn is_locked_out(&self) -> bool {
        matches!(self.kind(), Some(ErrorKind::LockedOut))
    }

    /// What the provider said, if it was asked.
    const fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Provider(error) => Some(error.kind),
            Self::Busy | Self::Timeout(_) | Self::Gone(_) | Self::Plugin(_) => None,
        }
    }
}

/// What a device is opened with.
#[derive(Debug)]
pub struct OpenRequest {
    /// The operator's settings.
    pub settings: Settings,
    /// What its provider said that it needs; see [`Link::needs`].
    pub needs: Needs,
    /// Its secrets, read.
    pub secrets: Secrets,
    /// What it is known by from an earlier opening.
    pub known: Option<Identity>,
    /// What refused a PIN before: it is not shown one.
    pub refused: Vec<AuthSubject>,
}

/// An opened instance, wherever it runs.
#[derive(Debug)]
pub struct Link {
    end: End,
    description: opening::Description,
}

/// How a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// What happened, for the operator.
    pub reason: String,
    /// Whether the device or its worker is gone, as opposed to not answering in time.
    pub gone: bool,
}

#[derive(Debug)]
enum End {
    Process(Arc<process::WorkerLink>),
    Inline(Arc<inline::InlineLink>),
}

impl Link {
    /// Loads a plugin in a process of its own that gets no secret, and asks what opening its device
    /// needs. Nothing where it is not to be confined.
    ///
    /// # Errors
    /// As [`open`](Self::open), of a provider that was shown nothing.
    pub async fn needs(
        source: &PluginSource,
        spawner: &Arc<Spawner>,
        settings: &Settings,
        deadlines: Deadlines,
    ) -> Result<Needs, CallError> {
        if source.is_confined() {
            start::needs(source, spawner, settings, deadlines.open).await
        } else {
            Ok(Needs::default())
        }
    }

    /// Loads a plugin and opens its device.
    ///
    /// # Errors
    /// `Withheld`: the device refused a PIN before. `Failed`, by `Plugin`: the file is missing,
    /// not to be trusted, or no plugin; `Provider`: the provider refused; `Timeout`, `Gone`: the
    /// worker did not get as far.
    ///
    /// # Secrets
    /// Those of the request; they reach a worker over its socket, and are wiped here afterwards.
    pub async fn open(
        source: &PluginSource,
        spawner: &Arc<Spawner>,
        request: OpenRequest,
        deadlines: Deadlines,
    ) -> Result<Self, OpenFailure> {
        match source.isolation {
            Isolation::Process => {
                let opened = process::open(source, spawner, &request, deadlines).await?;
                let (link, description) = opened;
                Ok(Self { end: End::Process(link), description })
            }
            Isolation::InProcess => {
                let spawner = Arc::clone(spawner);
                let (link, description) = inline::open(source, spawner, request, deadlines).await?;
                Ok(Self { end: End::Inline(link), description })
            }
        }
    }

    /// What the provider said of its device at opening.
    #[must_use]
    pub const fn info(&self) -> &Info {
        &self.description.info
    }

    /// What the device is to be recognized by.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.description.identity
    }

    /// What it shows its PIN to, where the plugin can name it.
    #[must_use]
    pub const fn subject(&self) -> Option<&AuthSubject> {
        self.description.subject.as_ref()
    }

    /// How far its worker is confined; `None` where it has none, or none that is.
    #[must_use]
    pub const fn sandbox(&self) -> Option<&Reached> {
        self.description.sandbox.as_ref()
    }

    /// Makes one call of the host's own.
    ///
    /// # Errors
    /// As [`Self::call_for`].
    pub async fn call(&self, call: Call) -> Result<Answer, CallError> {
        self.call_for(Account::Host, call).await
    }

    /// Makes one call on somebody's account: those who wait for the device take turns.
    ///
    /// # Errors
    /// Those of [`CallError`]; after `Gone` and `Timeout` of a worker the link is dead.
    pub async fn call_for(&self, account: Account, call: Call) -> Result<Answer, CallError> {
        match &self.end {
            End::Process(link) => link.call(account, call).await,
            End::Inline(link) => link.call(account, call).await,
        }
    }

    /// Completes when the link is dead. An in-process link dies only by a panic or a hang of its
    /// provider.
    pub async fn died(&self) -> Death {
        let mut death = match &self.end {
            End::Process(link) => link.death(),
            End::Inline(link) => link.death(),
        };
        let told = death.wait_for(Option::is_some).await;
        let told = told.ok().and_then(|death| death.clone());
        told.unwrap_or_else(|| Death { reason: "the link was closed".into(), gone: true })
    }

    /// Calls that wait for a turn now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        match &self.end {
            End::Process(link) => link.waiting(),
            End::Inline(link) => link.waiting(),
        }
    }

    /// Process id of the worker, if there is one.
    #[must_use]
    pub fn worker_pid(&self) -> Option<u32> {
        match &self.end {
            End::Process(link) => Some(link.pid()),
            End::Inline(_) => None,
        }
    }
}

/// Makes a call on an instance in this process. Both ends of the room use it.
fn perform(instance: &provider_core::call::Instance, call: &Call) -> provider_core::Result<Answer> {
    match call {
        Call::SelfTest => instance.self_test().map(|()| Answer::Done),
        Call::Generate(spec) => instance.generate(spec).map(Answer::Blob),
        Call::Import(spec, key) => instance.import(spec, key).map(Answer::Blob),
        Call::Destroy(key) => instance.destroy(key.as_ref()).map(|()| Answer::Done),
        Call::Mac(key, input) => instance.mac(key.as_ref(), input).map(Answer::Mac),
        Call::Random(length) => instance.random(*length).map(Answer::Random),
        Call::PublicKey(key) => instance.public_key(key.as_ref()).map(Answer::PublicKey),
        Call::Sign(key, digest) => instance.sign(key.as_ref(), digest).map(Answer::Signature),
        Call::AeadEncrypt(key, input) => {
            instance.aead_encrypt(key.as_ref(), input.as_ref()).map(Answer::AeadCiphertext)
        }
        Call::AeadDecrypt(key, input) => {
            instance.aead_decrypt(key.as_ref(), input.as_ref()).map(Answer::AeadPlaintext)
        }
        Call::RsaPublic(key) => instance.rsa_public(key.as_ref()).map(Answer::RsaModulus),
        Call::RsaPrivate(key, input) => {
            instance.rsa_private(key.as_ref(), input.expose()).map(Answer::Rsa)
        }
        Call::CounterCreate(id) => {
            instance.counter_create(*id).map(|(blob, value)| Answer::Counter(blob, value))
        }
        Call::CounterIncrement(counter) => {
            instance.counter_increment(counter.as_ref()).map(Answer::Value)
        }
        Call::CounterRead(counter) => instance.counter_read(counter.as_ref()).map(Answer::Value),
        Call::CounterDestroy(counter) => {
            instance.counter_destroy(counter.as_ref()).map(|()| Answer::Done)
        }
        Call::Condition => instance.condition().map(Answer::Condition),
    }
}

impl DeviceKey {
    fn as_ref(&self) -> provider_core::KeyRef<'_> {
        provider_core::KeyRef { usage: self.usage, id: self.id, blob: &self.blob }
    }
}

impl AeadText {
    fn as_ref(&self) -> provider_core::AeadInput<'_> {
        let text = self.text.expose();
        provider_core::AeadInput { iv: &self.iv, aad: &self.aad, text }
    }
}

impl DeviceCounter {
    fn as_ref(&self) -> provider_core::CounterRef<'_> {
        provider_core::CounterRef { id: self.id, blob: &self.blob }
    }
}

impl Deadlines {
    /// The time that a call may take at the device.
    const fn of(&self, call: &Call) -> Duration {
        match call {
            Call::Generate(_)
            | Call::Import(..)
            | Call::CounterCreate(_)
            | Call::CounterDestroy(_) => self.generate,
            Call::SelfTest => self.open,
            Call::Destroy(_)
            | Call::Mac(..)
            | Call::Random(_)
            | Call::PublicKey(_)
            | Call::Sign(..)
            | Call::AeadEncrypt(..)
            | Call::AeadDecrypt(..)
            | Call::RsaPublic(_)
            | Call::RsaPrivate(..)
            | Call::CounterIncrement(_)
            | Call::CounterRead(_)
            | Call::Condition => self.mac,
        }
    }
}
