//! The first packet each way: what a worker is asked and left, and what it answers.

use daemon::sandbox::{Demand, Limits, Reached, Sandbox};
use provider_core::abi::{KIND_BYTES, NAME_BYTES, NOTES_BYTES};
use provider_core::call::CONCURRENCY_MAX;
use provider_core::key::{DETAIL_MAX_BYTES, IDENTITY_MAX_BYTES, SUBJECT_MAX_BYTES};
use provider_core::{
    AuthSubject, Capabilities, ErrorKind, Identity, Info, Needs, Protection, ProviderError,
    SecretBytes, Secrets, Settings,
};
use serde::{Deserialize, Serialize};

use super::super::opening::{Description, OpenFailure};
use super::super::{CallError, OpenRequest, PluginFileError, PluginSource};
use super::{Decoded, Malformed, bytes, decode, encode, line};

/// The first packet to a worker.
#[derive(Serialize, Deserialize)]
struct QuestionMessage {
    plugin: String,
    sha256: Option<[u8; 32]>,
    parent: i32,
    settings: Vec<(String, String)>,
    sandbox: Option<Sandbox>,
    /// Whether all of the sandbox must be reached.
    required: bool,
    limits: Limits,
    /// `None` where only the needs are asked for.
    open: Option<OpenMessage>,
}

/// What a device is opened with, on its way.
#[derive(Serialize, Deserialize)]
struct OpenMessage {
    secrets: Vec<(String, Vec<u8>)>,
    known: Option<Vec<u8>>,
    refused: Vec<Vec<u8>>,
}

/// The first packet from a worker that opened its device; else it is a [`FailureMessage`].
#[derive(Serialize, Deserialize)]
struct OpenedMessage {
    info: InfoMessage,
    identity: Vec<u8>,
    subject: Option<Vec<u8>>,
    sandbox: Option<Reached>,
}

/// Why there is no answer to the first question.
#[derive(Serialize, Deserialize)]
enum FailureMessage {
    /// The provider failed.
    Failed { kind: u32, detail: String, subject: Option<Vec<u8>> },
    /// The device refused our PIN before, and was not shown it.
    Withheld { subject: Vec<u8> },
    /// The plugin was not loaded.
    NotLoaded(PluginFileMessage),
}

/// [`PluginFileError`] on its way.
#[derive(Serialize, Deserialize)]
struct PluginFileMessage {
    kind: u8,
    path: String,
    text: String,
}

/// [`Info`] on its way.
#[derive(Serialize, Deserialize)]
struct InfoMessage {
    kind: String,
    manufacturer: String,
    firmware: String,
    notes: String,
    protection: u32,
    capabilities: u64,
    concurrency: u32,
}

/// Everything that a worker needs to answer.
pub(in super::super) struct Asked {
    pub(in super::super) plugin: std::path::PathBuf,
    pub(in super::super) sha256: Option<[u8; 32]>,
    pub(in super::super) parent: i32,
    pub(in super::super) settings: Settings,
    pub(in super::super) sandbox: Option<Sandbox>,
    pub(in super::super) required: bool,
    pub(in super::super) limits: Limits,
    /// `None` where only the needs are asked for.
    pub(in super::super) open: Option<ToOpen>,
}

/// What a device is opened with.
pub(in super::super) struct ToOpen {
    pub(in super::super) secrets: Secrets,
    pub(in super::super) known: Option<Identity>,
    pub(in super::super) refused: Vec<AuthSubject>,
}

/// Asks what a provider needs; there are no secrets in it.
pub(in super::super) fn encode_question(
    source: &PluginSource,
    settings: &Settings,
    sandbox: &Sandbox,
    parent: i32,
) -> Decoded<Vec<u8>> {
    encode(&question(source, settings, Some(sandbox), sandbox.limits, parent)?)
}

/// Has a device opened; in a worker with nothing but limits where there is no sandbox.
pub(in super::super) fn encode_open(
    source: &PluginSource,
    request: &OpenRequest,
    sandbox: Option<&Sandbox>,
    limits: Limits,
    parent: i32,
) -> Decoded<Vec<u8>> {
    let OpenRequest { settings, needs: _, secrets, known, refused } = request;
    let open = OpenMessage {
        secrets: secrets.iter().map(|(key, value)| (key.into(), value.expose().into())).collect(),
        known: known.as_ref().map(|identity| identity.0.clone()),
        refused: refused.iter().map(|subject| subject.0.clone()).collect(),
    };
    let question = question(source, settings, sandbox, limits, parent)?;
    encode(&QuestionMessage { open: Some(open), ..question })
}

fn question(
    source: &PluginSource,
    settings: &Settings,
    sandbox: Option<&Sandbox>,
    limits: Limits,
    parent: i32,
) -> Decoded<QuestionMessage> {
    Ok(QuestionMessage {
        plugin: source.path.to_str().ok_or(Malformed)?.to_owned(),
        sha256: source.sha256,
        parent,
        settings: settings.iter().map(|(key, value)| (key.into(), value.into())).collect(),
        sandbox: sandbox.cloned(),
        required: source.confinement.level == Demand::Required,
        limits,
        open: None,
    })
}

pub(in super::super) fn decode_question(packet: &[u8]) -> Decoded<Asked> {
    let message: QuestionMessage = decode(packet)?;
    let secret = |(name, bytes)| (name, SecretBytes::new(zeroize::Zeroizing::new(bytes)));
    let open = message.open.map(|open| ToOpen {
        secrets: Secrets::new(open.secrets.into_iter().map(secret)),
        known: open.known.map(Identity),
        refused: open.refused.into_iter().map(AuthSubject).collect(),
    });
    Ok(Asked {
        plugin: message.plugin.into(),
        sha256: message.sha256,
        parent: message.parent,
        settings: Settings::new(message.settings),
        sandbox: message.sandbox,
        required: message.required,
        limits: message.limits,
        open,
    })
}

pub(in super::super) fn encode_opened(
    opened: &Result<Description, OpenFailure>,
) -> Decoded<Vec<u8>> {
    let message = |opened: &Description| {
        let Description { info, identity, subject, sandbox } = opened;
        OpenedMessage {
            info: InfoMessage {
                kind: info.kind.clone(),
                manufacturer: info.manufacturer.clone(),
                firmware: info.firmware.clone(),
                notes: info.notes.clone(),
                protection: info.protection.number(),
                capabilities: info.capabilities.0,
                concurrency: info.concurrency,
            },
            identity: identity.0.clone(),
            subject: subject.as_ref().map(|subject| subject.0.clone()),
            sandbox: *sandbox,
        }
    };
    encode(&opened.as_ref().map(message).map_err(failure_to_message))
}

pub(in super::super) fn decode_opened(packet: &[u8]) -> Decoded<Result<Description, OpenFailure>> {
    let OpenedMessage { info, identity, subject, sandbox } = match decode(packet)? {
        Ok(opened) => opened,
        Err(failure) => return Ok(Err(failure_from_message(failure)?)),
    };
    Ok(Ok(Description {
        info: info_from_message(info)?,
        identity: Identity(bytes(identity, IDENTITY_MAX_BYTES)?),
        subject: subject.map(subject_from_bytes).transpose()?,
        sandbox,
    }))
}

fn info_from_message(info: InfoMessage) -> Decoded<Info> {
    let of_a_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_word = !info.kind.is_empty() && info.kind.bytes().all(of_a_word);
    if !is_word || !(1..=CONCURRENCY_MAX).contains(&info.concurrency) {
        return Err(Malformed);
    }
    Ok(Info {
        kind: line(info.kind, KIND_BYTES - 1)?,
        manufacturer: line(info.manufacturer, NAME_BYTES - 1)?,
        firmware: line(info.firmware, NAME_BYTES - 1)?,
        notes: line(info.notes, NOTES_BYTES - 1)?,
        protection: Protection::from_number(info.protection).ok_or(Malformed)?,
        capabilities: Capabilities(info.capabilities),
        concurrency: info.concurrency,
    })
}

fn subject_from_bytes(subject: Vec<u8>) -> Decoded<AuthSubject> {
    bytes(subject, SUBJECT_MAX_BYTES).map(AuthSubject)
}

pub(in super::super) fn encode_needs(needs: &Result<Needs, OpenFailure>) -> Decoded<Vec<u8>> {
    encode(&needs.as_ref().map(ToString::to_string).map_err(failure_to_message))
}

pub(in super::super) fn decode_needs(packet: &[u8]) -> Decoded<Result<Needs, CallError>> {
    let answered: Result<String, FailureMessage> = decode(packet)?;
    let failure = match answered {
        Ok(text) => return Needs::parse(&text).map(Ok).map_err(|_invalid| Malformed),
        Err(failure) => failure_from_message(failure)?,
    };
    match failure {
        OpenFailure::Failed { error, .. } => Ok(Err(error)),
        // It was not to show anything to anything.
        OpenFailure::Withheld(_) => Err(Malformed),
    }
}

fn failure_to_message(failure: &OpenFailure) -> FailureMessage {
    let (error, subject) = match failure {
        OpenFailure::Withheld(subject) => {
            return FailureMessage::Withheld { subject: subject.0.clone() };
        }
        OpenFailure::Failed { error, subject } => (error, subject),
    };
    match error {
        CallError::Provider(error) => FailureMessage::Failed {
            kind: error.kind.number(),
            detail: error.detail.clone(),
            subject: subject.as_ref().map(|subject| subject.0.clone()),
        },
        CallError::Plugin(error) => FailureMessage::NotLoaded(plugin_to_message(error)),
        CallError::Busy | CallError::Timeout(_) | CallError::Gone(_) => FailureMessage::Failed {
            kind: ErrorKind::Internal.number(),
            detail: error.to_string(),
            subject: None,
        },
    }
}

fn failure_from_message(message: FailureMessage) -> Decoded<OpenFailure> {
    Ok(match message {
        FailureMessage::Failed { kind, detail, subject } => {
            let kind = ErrorKind::from_number(kind).ok_or(Malformed)?;
            let detail = line(detail, DETAIL_MAX_BYTES)?;
            let error = CallError::Provider(ProviderError::new(kind, detail));
            OpenFailure::Failed { error, subject: subject.map(subject_from_bytes).transpose()? }
        }
        FailureMessage::Withheld { subject } => OpenFailure::Withheld(subject_from_bytes(subject)?),
        FailureMessage::NotLoaded(message) => {
            CallError::Plugin(plugin_from_message(message)?).into()
        }
    })
}

fn plugin_to_message(error: &PluginFileError) -> PluginFileMessage {
    use PluginFileError as E;
    let (kind, path, text) = match error {
        E::Unreadable { path, reason } => (1, path, reason),
        E::Untrusted { path, reason } => (2, path, reason),
        E::Digest { path, found } => (3, path, found),
        E::Unloadable { path, reason } => (4, path, reason),
        E::Foreign { path, reason } => (5, path, reason),
    };
    PluginFileMessage { kind, path: path.display().to_string(), text: text.clone() }
}

fn plugin_from_message(message: PluginFileMessage) -> Decoded<PluginFileError> {
    use PluginFileError as E;
    let path = std::path::PathBuf::from(message.path);
    Ok(match message.kind {
        1 => E::Unreadable { path, reason: message.text },
        2 => E::Untrusted { path, reason: message.text },
        3 => E::Digest { path, found: message.text },
        4 => E::Unloadable { path, reason: message.text },
        5 => E::Foreign { path, reason: message.text },
        _ => return Err(Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the host reads an opening with these two changed.
    fn check(identity_bytes: usize, change: fn(&mut Info)) -> bool {
        let mut info = Info {
            kind: "tpm".into(),
            manufacturer: "IFX".into(),
            firmware: "7.2".into(),
            notes: String::new(),
            protection: Protection::Hardware,
            capabilities: Capabilities(0),
            concurrency: 1,
        };
        change(&mut info);
        let identity = Identity(vec![7; identity_bytes]);
        let opened = Description { info, identity, subject: None, sandbox: None };
        decode_opened(&encode_opened(&Ok(opened)).unwrap()).is_ok()
    }

    #[test]
    fn opening_at_the_limits_is_read_and_past_them_malformed() {
        assert!(check(1, |_| {}) && check(IDENTITY_MAX_BYTES, |_| {}));
        assert!(!check(0, |_| {}) && !check(IDENTITY_MAX_BYTES + 1, |_| {}));
        assert!(check(1, |info| info.concurrency = CONCURRENCY_MAX));
        assert!(!check(1, |info| info.concurrency = CONCURRENCY_MAX + 1));
        assert!(!check(1, |info| info.concurrency = 0));
        assert!(check(1, |info| info.notes = "n".repeat(256)));
        assert!(!check(1, |info| info.notes = "n".repeat(257)));
    }

    #[test]
    fn opening_whose_texts_are_no_lines_is_malformed() {
        assert!(!check(1, |info| info.notes = "a\nb".into()));
        assert!(!check(1, |info| info.kind = "T P".into()));
        assert!(!check(1, |info| info.kind = String::new()));
    }
}
