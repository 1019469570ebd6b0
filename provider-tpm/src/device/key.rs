//! Making, loading and using keys.

use std::hint::black_box;
use std::sync::Arc;

use provider_core::{ErrorKind, KeyBlob, KeyRef, KeySpec, Mac, ProviderError, SecretBytes, Usage};
use tss_esapi::Context;
use tss_esapi::constants::StructureTag;
use tss_esapi::constants::tss::TPM2_RH_NULL;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    HashcheckTicket, MaxBuffer, Private, Public, SensitiveData, Signature, SignatureScheme,
};
use tss_esapi::traits::{Marshall, UnMarshall};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use zeroize::Zeroizing;

use super::slots::{BlobHash, Facts, Half};
use super::{Device, Outcome, command, fault, pcr, template, unexpected};
use crate::binding::{Binding, sha256};
use crate::blob::{Blob, Bound, Purpose};
use crate::error::{Fault, RC_PCR_CHANGED, RC_POLICY_FAIL};

/// Block length of SHA-256, bytes: longer HMAC keys are hashed, shorter ones padded (RFC 2104).
const BLOCK_BYTES: usize = 64;
/// How often a policy is run anew because a PCR changed between it and the command.
const POLICY_ATTEMPTS: u32 = 4;
/// Bytes of stack overwritten after a secret passed by value through the library.
const STACK_BYTES: usize = 64 * 1024;
/// Bytes of a coordinate or scalar of P-256.
const FIELD_BYTES: usize = 32;

impl Device {
    /// Makes a key, from `secret` or inside the TPM, and returns its blob.
    pub(crate) fn create(
        &mut self,
        spec: &KeySpec,
        binding: Option<&Binding>,
        secret: Option<&SecretBytes>,
    ) -> Outcome<KeyBlob> {
        let bound = match binding {
            Some(binding) => {
                let values = pcr::values(&mut self.context, &self.sessions, binding)?;
                Some(Bound { binding: binding.clone(), values })
            }
            None => None,
        };
        let (usage, algorithm, id) = (spec.usage, spec.algorithm, spec.id);
        let purpose = Purpose { usage, algorithm, id, bound };
        match (usage, secret) {
            (Usage::Aead, secret) => self.create_aead(purpose, secret),
            (Usage::Sign, Some(number)) => {
                let blob = self.import_sign(purpose, number)?;
                self.cover(blob)
            }
            (_, Some(secret)) => {
                let blob = self.create_object(purpose, Some(secret))?;
                self.cover(blob)
            }
            (_, None) => Ok(KeyBlob(self.create_object(purpose, None)?.encode()?)),
        }
    }

    /// TPM2_Create (TPM 2.0 Part 3, 12.1); `secret` is of an HMAC key.
    pub(super) fn create_object(
        &mut self,
        purpose: Purpose,
        secret: Option<&SecretBytes>,
    ) -> Outcome<Blob> {
        let template = template::key(&purpose, secret.is_none())?;
        let sensitive = secret.map(hmac_block).map(|block| SensitiveData::try_from(&block[..]));
        let sensitive = sensitive.transpose().map_err(fault)?;
        let (parent, session) = (self.srk.handle, self.sessions.authorizing());
        let made = self.slots.with_room(&mut self.context, |context| {
            command(context, session, |tpm| {
                tpm.create(parent, template.clone(), None, sensitive.clone(), None, None)
            })
        });
        let made = made?;
        Ok(Blob {
            purpose,
            parent: self.srk.name.clone(),
            public: made.out_public.marshall().map_err(fault)?,
            private: made.out_private.to_vec(),
            wrapped: None,
        })
    }

    /// The bytes of an imported key's blob, after what the library still has of the key is gone:
    /// ESYS keeps the last command's input in its context, and that of a load lies over it.
    fn cover(&mut self, blob: Blob) -> Outcome<KeyBlob> {
        let bytes = blob.encode()?;
        let public = public(&blob)?;
        self.load(sha256(&bytes), blob, &public)?;
        if self.sessions.protecting().is_none() {
            overwrite_command_buffer(&mut self.context)?;
        }
        wipe_stack();
        Ok(KeyBlob(bytes))
    }

    /// TPM2_HMAC (TPM 2.0 Part 3, 15.5).
    pub(crate) fn mac(&mut self, key: KeyRef<'_>, input: &[u8]) -> Outcome<Mac> {
        let buffer = MaxBuffer::try_from(input).map_err(fault)?;
        let digest = self.with_key(key, |tpm, handle| {
            tpm.hmac(handle.into(), buffer.clone(), HashingAlgorithm::Sha256)
        })?;
        if matches!(key.usage, Usage::Seal | Usage::Aead) {
            wipe_stack();
        }
        Ok(SecretBytes::copy_of(&digest))
    }

    /// TPM2_Sign (TPM 2.0 Part 3, 20.2), as r and s.
    pub(crate) fn sign(&mut self, key: KeyRef<'_>, digest: [u8; 32]) -> Outcome<[u8; 64]> {
        let digest = tss_esapi::structures::Digest::try_from(&digest[..]).map_err(fault)?;
        let signature = self.with_key(key, |tpm, handle| {
            // The NULL ticket: an unrestricted key signs any digest.
            let ticket = TPMT_TK_HASHCHECK {
                tag: StructureTag::Hashcheck.into(),
                hierarchy: TPM2_RH_NULL,
                digest: Default::default(),
            };
            let ticket = HashcheckTicket::try_from(ticket)?;
            tpm.sign(handle, digest.clone(), SignatureScheme::Null, ticket)
        })?;
        let Signature::EcDsa(signature) = signature else {
            return Err(unexpected("the TPM signed by another scheme"));
        };
        let mut output = [0; 64];
        let (r, s) = output.split_at_mut(FIELD_BYTES);
        right_align(r, signature.signature_r())?;
        right_align(s, signature.signature_s())?;
        Ok(output)
    }

    /// The uncompressed point of a sign key, which the TPM has checked by loading it.
    pub(crate) fn point(&mut self, key: KeyRef<'_>) -> Outcome<[u8; 65]> {
        match self.facts(key)?.half {
            Half::Point(point) => Ok(point),
            Half::None | Half::Modulus(_) => Err(no_half().into()),
        }
    }

    /// The modulus of an RSA key, which the TPM has checked by loading it.
    pub(crate) fn modulus(&mut self, key: KeyRef<'_>) -> Outcome<Vec<u8>> {
        match &self.facts(key)?.half {
            Half::Modulus(modulus) => Ok(modulus.clone()),
            Half::None | Half::Point(_) => Err(no_half().into()),
        }
    }

    /// Takes a key out of the TPM and out of memory, and forgets it.
    pub(crate) fn forget(&mut self, key: KeyRef<'_>) -> Outcome<()> {
        self.unwrapped.forget(key.id);
        self.evict(key.blob)?;
        self.slots.forget(&mut self.context, &sha256(key.blob))
    }

    /// Runs one command with a key: authorized by the kept session, or by the policy of a bound
    /// key in one more command.
    pub(super) fn with_key<T>(
        &mut self,
        key: KeyRef<'_>,
        mut run: impl FnMut(&mut Context, KeyHandle) -> tss_esapi::Result<T>,
    ) -> Outcome<T> {
        let hash = sha256(key.blob);
        if let Some(output) = self.with_persistent(&hash, key, &mut run)? {
            return Ok(output);
        }
        let (handle, facts) = self.loaded(&hash, key)?;
        if let Some(bound) = &facts.purpose.bound {
            return self.with_bound(bound, |tpm| run(tpm, handle));
        }
        let session = self.sessions.authorizing();
        let output = command(&mut self.context, session, |tpm| run(tpm, handle))?;
        self.settle(&hash, key);
        Ok(output)
    }

    fn with_bound<T>(
        &mut self,
        bound: &Bound,
        mut run: impl FnMut(&mut Context) -> tss_esapi::Result<T>,
    ) -> Outcome<T> {
        let mut attempts = 1..POLICY_ATTEMPTS;
        loop {
            let outcome = self.with_policy(bound, &mut run);
            let Err(fault) = outcome else { return outcome };
            // Whatever happened, the session may hold half of a policy.
            if !fault.is_lost() {
                self.sessions.drop_policy(&mut self.context)?;
            }
            if fault.is(RC_POLICY_FAIL) {
                return Err(pcr::mismatch(&mut self.context, &self.sessions, bound)?);
            }
            if !fault.is(RC_PCR_CHANGED) || attempts.next().is_none() {
                return Err(fault);
            }
        }
    }

    fn with_policy<T>(
        &mut self,
        bound: &Bound,
        run: impl FnMut(&mut Context) -> tss_esapi::Result<T>,
    ) -> Outcome<T> {
        let session = self.sessions.policy(&mut self.context)?;
        pcr::satisfy(&mut self.context, &self.sessions, session, bound)?;
        command(&mut self.context, Some(AuthSession::PolicySession(session)), run)
    }

    /// What is known of a key that the TPM has, or had, taken for good.
    fn facts(&mut self, key: KeyRef<'_>) -> Outcome<Arc<Facts>> {
        let hash = sha256(key.blob);
        if let Some((_, _, facts)) = self.places.as_mut().and_then(|places| places.find(&hash)) {
            facts.purpose.check(key)?;
            return Ok(facts);
        }
        Ok(self.loaded(&hash, key)?.1)
    }

    /// The key in the TPM, loaded if it is not, with its usage and id checked.
    pub(super) fn loaded(
        &mut self,
        hash: &BlobHash,
        key: KeyRef<'_>,
    ) -> Outcome<(KeyHandle, Arc<Facts>)> {
        if let Some((handle, facts)) = self.slots.find(&mut self.context, hash)? {
            facts.purpose.check(key)?;
            return Ok((handle, facts));
        }
        let (blob, public) = self.decode(key)?;
        self.load(*hash, blob, &public)
    }

    /// What a blob holds, with its usage and id checked, and that it is a key of this TPM.
    pub(super) fn decode(&self, key: KeyRef<'_>) -> Outcome<(Blob, Public)> {
        let blob = Blob::decode(key.blob)?;
        blob.purpose.check(key)?;
        if blob.parent != self.srk.name {
            let detail = "the key was made by another TPM, or by this one before it was cleared";
            return Err(ProviderError::new(ErrorKind::WrongDevice, detail).into());
        }
        let public = public(&blob)?;
        Ok((blob, public))
    }

    fn load(
        &mut self,
        hash: BlobHash,
        blob: Blob,
        public: &Public,
    ) -> Outcome<(KeyHandle, Arc<Facts>)> {
        let facts = Arc::new(Facts::of(&blob, public)?);
        let private = Private::try_from(blob.private).map_err(|_too_long| altered())?;
        let (parent, session) = (self.srk.handle, self.sessions.authorizing());
        let handle = self.slots.load(&mut self.context, hash, &facts, |context| {
            let load = |tpm: &mut Context| tpm.load(parent, private.clone(), public.clone());
            command(context, session, load).map_err(refused_blob)
        })?;
        Ok((handle, facts))
    }
}

impl Facts {
    /// What a blob and its public area say.
    pub(super) fn of(blob: &Blob, public: &Public) -> Outcome<Self> {
        Ok(Self { purpose: blob.purpose.clone(), half: half(public)? })
    }
}

/// The public area of a blob, which is as [`template`] asks for it.
pub(super) fn public(blob: &Blob) -> Outcome<Public> {
    let public = Public::unmarshall(&blob.public).map_err(|_unreadable| altered())?;
    let same = public.marshall().is_ok_and(|again| again == blob.public);
    if same && template::is_key(&public, &blob.purpose)? {
        Ok(public)
    } else {
        Err(altered().into())
    }
}

pub(super) fn altered() -> ProviderError {
    ProviderError::new(ErrorKind::Integrity, "the key's blob was altered")
}

/// What a TPM says to TPM2_Load about the parameters: they are the blob, and nothing else is.
fn refused_blob(fault: Fault) -> Fault {
    let Fault::Code(code) = fault else { return fault };
    if !code.is_about_parameter() {
        return fault;
    }
    let detail = format!("the key's blob was altered: {}", code.describe());
    ProviderError::new(ErrorKind::Integrity, detail).into()
}

/// An HMAC key in the length of a block, which computes the same MACs (RFC 2104, 2): TPMs refuse
/// longer ones.
fn hmac_block(key: &SecretBytes) -> Zeroizing<[u8; BLOCK_BYTES]> {
    let mut block = Zeroizing::new([0; BLOCK_BYTES]);
    let mut hashed = Zeroizing::new([0; 32]);
    let source = if key.len() > BLOCK_BYTES {
        *hashed = sha256(key.expose());
        &hashed[..]
    } else {
        key.expose()
    };
    for (place, byte) in block.iter_mut().zip(source) {
        *place = *byte;
    }
    block
}

/// The library passes keys and digests by value, and its dead stack frames keep them.
#[inline(never)]
pub(super) fn wipe_stack() {
    black_box(&mut [0_u8; STACK_BYTES]);
}

/// Without encryption the library's command buffer holds the key until a longer command.
fn overwrite_command_buffer(context: &mut Context) -> Outcome<()> {
    let zeros = MaxBuffer::try_from(vec![0; MaxBuffer::MAX_SIZE]).map_err(fault)?;
    command(context, None, |tpm| {
        tpm.hash(zeros.clone(), HashingAlgorithm::Sha256, Hierarchy::Null)
    })?;
    Ok(())
}

fn half(public: &Public) -> Outcome<Half> {
    match public {
        Public::Ecc { unique, .. } => {
            let mut output = [0; 65];
            let (form, coordinates) = output.split_at_mut(1);
            form.fill(0x04);
            let (x, y) = coordinates.split_at_mut(FIELD_BYTES);
            right_align(x, unique.x())?;
            right_align(y, unique.y())?;
            Ok(Half::Point(output))
        }
        Public::Rsa { unique, parameters, .. } => {
            let bits = usize::from(u16::from(parameters.key_bits()));
            // The first bit of a modulus is set, so there are no leading zeros to leave out.
            if unique.len().saturating_mul(8) != bits {
                return Err(altered().into());
            }
            Ok(Half::Modulus(unique.to_vec()))
        }
        Public::KeyedHash { .. } | Public::SymCipher { .. } => Ok(Half::None),
    }
}

fn no_half() -> ProviderError {
    ProviderError::invalid("the key has no public half of this kind")
}

/// TPMs may leave leading zeros out.
pub(super) fn right_align(place: &mut [u8], number: &[u8]) -> Outcome<()> {
    let start = place.len().checked_sub(number.len());
    let place = start.and_then(|start| place.get_mut(start..));
    let place = place.ok_or_else(|| unexpected("the TPM gave a number past its field"))?;
    place.copy_from_slice(number);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_number_gets_its_leading_zeros_and_a_long_one_is_refused() {
        let mut place = [0; 4];
        right_align(&mut place, &[1, 2]).unwrap();
        assert_eq!(place, [0, 0, 1, 2]);
        right_align(&mut place, &[1, 2, 3, 4]).unwrap();
        assert_eq!(place, [1, 2, 3, 4]);
        right_align(&mut place, &[1, 2, 3, 4, 5]).unwrap_err();
    }
}
