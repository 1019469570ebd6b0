//! Counters: NV indices of type counter (TPM 2.0 Part 1, 37.2.4; Part 3, 31).
//!
//! Such an index can only be raised, by one, and a new one begins above the highest value that
//! any counter of this TPM ever had. So whoever removes one and makes another in its place, with
//! the owner's authorization, does not take a value back; and as he does not have the
//! authorization value, his counter is not taken for ours.

use provider_core::{CounterRef, ErrorKind, KeyBlob, KeyId, ProviderError};
use tss_esapi::Context;
use tss_esapi::attributes::NvIndexAttributesBuilder;
use tss_esapi::constants::nv_index_type::NvIndexType;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, ObjectHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, Digest, NvPublic};

use super::{Device, Outcome, command, fault, session, unexpected};
use crate::binding::sha256;
use crate::counter::{Counter, policy};
use crate::range::HandleRange;

/// Bytes of a counter (TPM 2.0 Part 2, 13.2: TPM_NT_COUNTER).
const VALUE_BYTES: u16 = 8;

impl Device {
    /// Makes a counter at a free index of the range and raises it once, before which it has no
    /// value.
    pub(crate) fn counter_create(
        &mut self,
        id: KeyId,
        range: HandleRange,
    ) -> Outcome<(KeyBlob, u64)> {
        let mut free = range.iter();
        let taken = taken(&mut self.context, range)?;
        for index in &taken {
            if self.index_of(id, *index)?.is_some() {
                let detail = "the TPM has a counter of this id";
                return Err(ProviderError::new(ErrorKind::KeyExists, detail).into());
            }
        }
        let Some(index) = free.find(|index| !taken.contains(index)) else {
            let detail = format!("all {} indices of the setting counters are taken", range.len());
            return Err(ProviderError::new(ErrorKind::Exhausted, detail).into());
        };
        let mut authorization = [0; 32];
        self.random(&mut authorization)?;
        let auth = Auth::try_from(&authorization[..]).map_err(fault)?;
        let public = public(id, index)?;
        let handle = command(&mut self.context, Some(AuthSession::Password), |tpm| {
            tpm.nv_define_space(Provision::Owner, Some(auth.clone()), public.clone())
        })?;
        self.context.tr_set_auth(handle.into(), auth).map_err(fault)?;
        match self.begin(id, index, authorization, handle) {
            Err(fault) if !fault.is_lost() => {
                undefine(&mut self.context, handle)?;
                Err(fault)
            }
            outcome => outcome,
        }
    }

    /// Raises a counter: TPM2_NV_Increment and TPM2_NV_Read, because the former tells no value.
    pub(crate) fn counter_increment(&mut self, counter: CounterRef<'_>) -> Outcome<u64> {
        let handle = self.counter(counter)?;
        self.increment(handle)?;
        self.value(handle)
    }

    /// The value of a counter.
    pub(crate) fn counter_read(&mut self, counter: CounterRef<'_>) -> Outcome<u64> {
        let handle = self.counter(counter)?;
        self.value(handle)
    }

    /// Removes the index of a counter: the one that the blob names, or any of the range that has
    /// the id.
    pub(crate) fn counter_destroy(
        &mut self,
        counter: CounterRef<'_>,
        range: HandleRange,
    ) -> Outcome<()> {
        self.counters.remove(&sha256(counter.blob));
        let mut candidates = taken(&mut self.context, range)?;
        if let Ok(decoded) = Counter::decode(counter)
            && !range.contains(decoded.index)
            && is_there(&mut self.context, decoded.index)?
        {
            candidates.push(decoded.index);
        }
        for index in candidates {
            if let Some(handle) = self.index_of(counter.id, index)? {
                undefine(&mut self.context, handle)?;
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        id: KeyId,
        index: u32,
        authorization: [u8; 32],
        handle: NvIndexHandle,
    ) -> Outcome<(KeyBlob, u64)> {
        self.increment(handle)?;
        let value = self.value(handle)?;
        let name = self.context.tr_get_name(handle.into()).map_err(fault)?.value().to_vec();
        let parent = self.srk.name.clone();
        let blob = Counter { id, index, authorization, parent, name }.encode()?;
        self.counters.insert(sha256(&blob), handle);
        Ok((KeyBlob(blob), value))
    }

    fn increment(&mut self, handle: NvIndexHandle) -> Outcome<()> {
        let session = self.sessions.authorizing();
        let auth = NvAuth::NvIndex(handle);
        command(&mut self.context, session, |tpm| tpm.nv_increment(auth, handle))
    }

    fn value(&mut self, handle: NvIndexHandle) -> Outcome<u64> {
        let session = self.sessions.authorizing();
        let auth = NvAuth::NvIndex(handle);
        let bytes =
            command(&mut self.context, session, |tpm| tpm.nv_read(auth, handle, VALUE_BYTES, 0))?;
        let bytes: [u8; 8] = bytes[..]
            .try_into()
            .map_err(|_length| unexpected("the TPM gave a counter of another length"))?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// The index of a counter, which has the Name that it was made with.
    fn counter(&mut self, counter: CounterRef<'_>) -> Outcome<NvIndexHandle> {
        let decoded = Counter::decode(counter)?;
        let hash = sha256(counter.blob);
        if let Some(handle) = self.counters.get(&hash) {
            return Ok(*handle);
        }
        if decoded.parent != self.srk.name {
            let detail =
                "the counter was made by another TPM, or by this one before it was cleared";
            return Err(ProviderError::new(ErrorKind::WrongDevice, detail).into());
        }
        if !is_there(&mut self.context, decoded.index)? {
            let detail = format!("the TPM has no index {:#x}", decoded.index);
            return Err(ProviderError::new(ErrorKind::KeyNotFound, detail).into());
        }
        let mut object = read_public(&mut self.context, decoded.index)?;
        let name = self.context.tr_get_name(object).map_err(fault)?;
        if name.value() != decoded.name {
            self.context.tr_close(&mut object).map_err(fault)?;
            return Err(replaced(decoded.index).into());
        }
        let auth = Auth::try_from(&decoded.authorization[..]).map_err(fault)?;
        self.context.tr_set_auth(object, auth).map_err(fault)?;
        let handle = NvIndexHandle::from(object);
        self.counters.insert(hash, handle);
        Ok(handle)
    }

    /// An index, if it is the one of a counter of this id.
    fn index_of(&mut self, id: KeyId, index: u32) -> Outcome<Option<NvIndexHandle>> {
        let mut object = read_public(&mut self.context, index)?;
        let handle = NvIndexHandle::from(object);
        let ours = command(&mut self.context, None, |tpm| match tpm.nv_read_public(handle) {
            // An index of a kind that the library cannot describe is none of ours.
            Err(tss_esapi::Error::WrapperError(_)) => Ok(false),
            outcome => outcome.map(|(public, _)| public.authorization_policy()[..] == policy(id)),
        })?;
        if ours {
            return Ok(Some(handle));
        }
        self.context.tr_close(&mut object).map_err(fault)?;
        Ok(None)
    }
}

/// What a refused authorization of a counter means.
pub(crate) fn replaced(index: u32) -> ProviderError {
    let detail = format!("another counter is at index {index:#x}, or the blob was altered");
    ProviderError::new(ErrorKind::Integrity, detail)
}

/// The public area of a counter: read and raised by its authorization value alone, removed by
/// the owner's.
fn public(id: KeyId, index: u32) -> Outcome<NvPublic> {
    let attributes = NvIndexAttributesBuilder::new()
        .with_nv_index_type(NvIndexType::Counter)
        .with_auth_read(true)
        .with_auth_write(true)
        .with_no_da(true)
        .build()
        .map_err(fault)?;
    NvPublic::builder()
        .with_nv_index(NvIndexTpmHandle::new(index).map_err(fault)?)
        .with_index_name_algorithm(HashingAlgorithm::Sha256)
        .with_index_attributes(attributes)
        .with_index_auth_policy(Digest::try_from(&policy(id)[..]).map_err(fault)?)
        .with_data_area_size(VALUE_BYTES.into())
        .build()
        .map_err(fault)
}

/// The indices of a range that the TPM has.
fn taken(context: &mut Context, range: HandleRange) -> Outcome<Vec<u32>> {
    let found = session::handles(context, range.first(), range.len())?;
    Ok(found.into_iter().map(u32::from).filter(|index| range.contains(*index)).collect())
}

fn is_there(context: &mut Context, index: u32) -> Outcome<bool> {
    let found = session::handles(context, index, 1)?;
    Ok(found.first().is_some_and(|handle| u32::from(*handle) == index))
}

fn read_public(context: &mut Context, index: u32) -> Outcome<ObjectHandle> {
    let handle = TpmHandle::from(NvIndexTpmHandle::new(index).map_err(fault)?);
    command(context, None, |tpm| tpm.tr_from_tpm_public(handle))
}

fn undefine(context: &mut Context, handle: NvIndexHandle) -> Outcome<()> {
    command(context, Some(AuthSession::Password), |tpm| {
        tpm.nv_undefine_space(Provision::Owner, handle)
    })
}
