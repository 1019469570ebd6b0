//! Bringing a P-256 private number into the TPM.
//!
//! TPM2_Create takes no private number of an asymmetric key, TPM2_Import does. The number goes
//! there inside an inner wrapper (TPM 2.0 Part 1, 23.3.2.3), an AES key that is used once. That key is
//! the first parameter of the command, which the session encrypts for the storage root key. The
//! session's HMAC covers the command, so an outer wrapper would add nothing.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use provider_core::{ProviderError, SecretBytes};
use tss_esapi::structures::{
    Auth, Data, Digest, EccParameter, EccPoint, EncryptedSecret, Private, Public, Sensitive,
    SymmetricDefinitionObject,
};
use tss_esapi::traits::Marshall;
use zeroize::Zeroizing;

use super::{Device, Outcome, command, fault, template, unexpected};
use crate::binding::sha256;
use crate::blob::{Blob, Purpose, name, push};

/// Bytes of the key of an inner wrapper, AES-128: as strong as the curve and as the sessions.
const WRAPPER_BYTES: usize = 16;

impl Device {
    /// TPM2_Import (TPM 2.0 Part 3, 13.3) of a private number of P-256.
    ///
    /// # Errors
    /// `InvalidParameter`: the number is none of P-256.
    pub(super) fn import_sign(&mut self, purpose: Purpose, number: &SecretBytes) -> Outcome<Blob> {
        let public = with_point(template::key(&purpose, false)?, point_of(number)?);
        let marshalled = public.marshall().map_err(fault)?;
        let mut wrapper = Zeroizing::new([0; WRAPPER_BYTES]);
        self.random(&mut wrapper[..])?;
        let duplicate = inner_wrapped(&wrapper, &name(&marshalled), number)?;
        let duplicate = Private::try_from(&duplicate[..]).map_err(fault)?;
        let wrapper = Data::try_from(&wrapper[..]).map_err(fault)?;
        let (parent, session) = (self.srk.handle, self.sessions.authorizing());
        let private = self.slots.with_room(&mut self.context, |context| {
            command(context, session, |tpm| {
                tpm.import(
                    parent.into(),
                    Some(wrapper.clone()),
                    public.clone(),
                    duplicate.clone(),
                    EncryptedSecret::default(),
                    SymmetricDefinitionObject::AES_128_CFB,
                )
            })
        })?;
        Ok(Blob {
            purpose,
            parent: self.srk.name.clone(),
            public: marshalled,
            private: private.to_vec(),
            wrapped: None,
        })
    }
}

/// The point of a private number, which is checked by it.
fn point_of(number: &SecretBytes) -> Outcome<EccPoint> {
    let not_one = || ProviderError::invalid("the key is no private number of P-256");
    let key = PrivateKey::from_private_key(&ECDH_P256, number.expose());
    let key = key.map_err(|_rejected| not_one())?;
    let point = key.compute_public_key().map_err(|_unspecified| not_one())?;
    let coordinates =
        point.as_ref().split_first().map(|(_form, both)| both.split_at(both.len() / 2));
    let (x, y) = coordinates.ok_or_else(|| unexpected("a public key without a point"))?;
    let coordinate = |bytes: &[u8]| EccParameter::try_from(bytes).map_err(fault);
    Ok(EccPoint::new(coordinate(x)?, coordinate(y)?))
}

fn with_point(mut public: Public, point: EccPoint) -> Public {
    if let Public::Ecc { unique, .. } = &mut public {
        *unique = point;
    }
    public
}

/// The sensitive area behind its integrity value, encrypted by AES-128-CFB with an IV of zeros.
fn inner_wrapped(
    wrapper: &[u8; WRAPPER_BYTES],
    name: &[u8],
    number: &SecretBytes,
) -> Outcome<Zeroizing<Vec<u8>>> {
    let sensitive = Sensitive::Ecc {
        auth_value: Auth::default(),
        seed_value: Digest::default(),
        sensitive: EccParameter::try_from(number.expose()).map_err(fault)?,
    };
    let sensitive = Zeroizing::new(sensitive.marshall().map_err(fault)?);
    let mut sized = Zeroizing::new(Vec::with_capacity(sensitive.len() + name.len() + 2));
    push(&mut sized, &sensitive)?;
    let length = sized.len();
    sized.extend(name);
    let integrity = sha256(&sized);
    let mut bytes = Zeroizing::new(Vec::with_capacity(integrity.len() + length + 2));
    push(&mut bytes, &integrity)?;
    bytes.extend(sized.get(..length).unwrap_or_default());
    let refused = |_unspecified| unexpected("AES-128-CFB failed");
    let key = UnboundCipherKey::new(&AES_128, wrapper).map_err(refused)?;
    let key = EncryptingKey::cfb128(key).map_err(refused)?;
    let zeros = EncryptionContext::Iv128(FixedLength::from([0; 16]));
    key.less_safe_encrypt(&mut bytes, zeros).map_err(refused)?;
    Ok(bytes)
}
