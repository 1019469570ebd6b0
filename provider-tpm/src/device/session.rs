//! Sessions: one for authorization and encryption, one for policies (TPM 2.0 Part 1, 17 to 19).

use tss_esapi::Context;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::{CapabilityType, SessionType};
use tss_esapi::handles::{KeyHandle, ObjectHandle, SessionHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{CapabilityData, SymmetricDefinition};

use super::{Outcome, command, fault, unexpected};

/// First handles of loaded sessions and transient objects (TPM 2.0 Part 2, 7.2).
const FIRST_LOADED: [u32; 2] = [0x0200_0000, 0x8000_0000];
/// Handles asked for at a time.
const HANDLES_MAX: u32 = 64;

/// The kept sessions.
pub(super) struct Sessions {
    auth: AuthSession,
    policy: Option<PolicySession>,
    encrypts: bool,
    salt: KeyHandle,
}

impl Sessions {
    /// Starts the authorization session. With `encrypts` it is salted by the storage root key and
    /// encrypts the first parameter both ways; without, the empty password stands in its place.
    pub(super) fn start(context: &mut Context, encrypts: bool, salt: KeyHandle) -> Outcome<Self> {
        let auth = if encrypts {
            start(context, SessionType::Hmac, Some(salt))?
        } else {
            AuthSession::Password
        };
        Ok(Self { auth, policy: None, encrypts, salt })
    }

    /// The session that authorizes the use of a key.
    pub(super) const fn authorizing(&self) -> Option<AuthSession> {
        Some(self.auth)
    }

    /// The session for commands that need no authorization.
    pub(super) fn protecting(&self) -> Option<AuthSession> {
        self.encrypts.then_some(self.auth)
    }

    /// Runs one command that only reads, with its answer authenticated by the kept session.
    pub(super) fn audited<T>(
        &self,
        context: &mut Context,
        run: impl FnMut(&mut Context) -> tss_esapi::Result<T>,
    ) -> Outcome<T> {
        let Some(session) = self.protecting() else { return command(context, None, run) };
        set_audit(context, session, true)?;
        let outcome = command(context, Some(session), run);
        set_audit(context, session, false)?;
        outcome
    }

    /// The policy session, reset: the TPM resets it whenever it authorized a command.
    pub(super) fn policy(&mut self, context: &mut Context) -> Outcome<PolicySession> {
        if let Some(session) = self.policy {
            return Ok(session);
        }
        let salt = self.encrypts.then_some(self.salt);
        let session = start(context, SessionType::Policy, salt)?;
        let session = PolicySession::try_from(session).map_err(fault)?;
        self.policy = Some(session);
        Ok(session)
    }

    /// Ends the policy session after a failure that left it half way.
    pub(super) fn drop_policy(&mut self, context: &mut Context) -> Outcome<()> {
        let Some(session) = self.policy.take() else { return Ok(()) };
        let handle = ObjectHandle::from(SessionHandle::from(session));
        command(context, None, |tpm| tpm.flush_context(handle))
    }
}

/// A session that neither authorizes nor encrypts must audit (TPM 2.0 Part 1, 17.2).
fn set_audit(context: &mut Context, session: AuthSession, audit: bool) -> Outcome<()> {
    let (attributes, mask) = SessionAttributesBuilder::new().with_audit(audit).build();
    context.tr_sess_set_attributes(session, attributes, mask).map_err(fault)
}

fn start(
    context: &mut Context,
    kind: SessionType,
    salt: Option<KeyHandle>,
) -> Outcome<AuthSession> {
    let cipher =
        if salt.is_some() { SymmetricDefinition::AES_128_CFB } else { SymmetricDefinition::Null };
    let session = command(context, None, |tpm| {
        tpm.start_auth_session(salt, None, None, kind, cipher, HashingAlgorithm::Sha256)
    })?;
    let session = session.ok_or_else(|| unexpected("the TPM gave no session"))?;
    if salt.is_some() {
        let both = SessionAttributesBuilder::new().with_decrypt(true).with_encrypt(true);
        let (attributes, mask) = both.build();
        context.tr_sess_set_attributes(session, attributes, mask).map_err(fault)?;
    }
    Ok(session)
}

/// Flushes sessions and objects that programs before us left loaded. Only where no resource
/// manager keeps programs apart, and so nobody else can be using them.
pub(super) fn flush_stale(context: &mut Context) -> Outcome<()> {
    for first in FIRST_LOADED {
        for handle in handles(context, first, HANDLES_MAX)? {
            let object = command(context, None, |tpm| tpm.tr_from_tpm_public(handle))?;
            command(context, None, |tpm| match tpm.flush_context(object) {
                // It was flushed; the library only did not expect a policy session to be.
                Err(tss_esapi::Error::WrapperError(_)) => Ok(()),
                outcome => outcome,
            })?;
        }
    }
    Ok(())
}

/// The handles of one type that the TPM has, from `first` on.
pub(super) fn handles(context: &mut Context, first: u32, most: u32) -> Outcome<Vec<TpmHandle>> {
    let (data, _) =
        command(context, None, |tpm| tpm.get_capability(CapabilityType::Handles, first, most))?;
    let CapabilityData::Handles(list) = data else {
        return Err(unexpected("the TPM answered with another capability"));
    };
    Ok(list.into_inner())
}
