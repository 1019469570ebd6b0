//! The functions of counters at the caller's end.

use super::{Instance, absent, broken, cut, struct_bytes};
use crate::abi;
use crate::error::Result;
use crate::key::{BLOB_MAX_BYTES, CounterRef, KeyBlob, KeyId};

/// All four functions; a plugin that lacks one has no counters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Functions {
    create: CreateFn,
    increment: ValueFn,
    read: ValueFn,
    destroy: unsafe extern "C" fn(*mut abi::Instance, *const abi::CounterRef) -> i32,
}

type CreateFn =
    unsafe extern "C" fn(*mut abi::Instance, *const u8, *mut u8, *mut usize, *mut u64) -> i32;
type ValueFn = unsafe extern "C" fn(*mut abi::Instance, *const abi::CounterRef, *mut u64) -> i32;

impl Functions {
    pub(super) fn of(table: &abi::Table) -> Option<Self> {
        Some(Self {
            create: table.counter_create?,
            increment: table.counter_increment?,
            read: table.counter_read?,
            destroy: table.counter_destroy?,
        })
    }
}

impl Instance {
    /// See [`Provider::counter_create`](crate::Provider::counter_create).
    ///
    /// # Errors
    /// Those of the provider; `Internal` when it broke the contract.
    pub fn counter_create(&self, id: KeyId) -> Result<(KeyBlob, u64)> {
        let function = self.counters()?.create;
        let mut blob = vec![0; BLOB_MAX_BYTES];
        let (mut blob_len, mut value) = (usize::MAX, 0);
        // SAFETY: ABI rules 1 and 2: every pointer is valid for its length or capacity.
        let status = unsafe {
            function(
                self.pointer.as_ptr(),
                id.0.as_ptr(),
                blob.as_mut_ptr(),
                &raw mut blob_len,
                &raw mut value,
            )
        };
        self.table.check_status(status)?;
        Ok((KeyBlob(cut(blob, blob_len, "blob")?), given(value)?))
    }

    /// See [`Provider::counter_increment`](crate::Provider::counter_increment).
    ///
    /// # Errors
    /// Those of the provider; `Internal` when it gave no value.
    pub fn counter_increment(&self, counter: CounterRef<'_>) -> Result<u64> {
        self.value(self.counters()?.increment, counter)
    }

    /// See [`Provider::counter_read`](crate::Provider::counter_read).
    ///
    /// # Errors
    /// Those of the provider; `Internal` when it gave no value.
    pub fn counter_read(&self, counter: CounterRef<'_>) -> Result<u64> {
        self.value(self.counters()?.read, counter)
    }

    /// See [`Provider::counter_destroy`](crate::Provider::counter_destroy).
    ///
    /// # Errors
    /// Those of the provider.
    pub fn counter_destroy(&self, counter: CounterRef<'_>) -> Result<()> {
        let function = self.counters()?.destroy;
        let counter = counter_to_c(counter);
        // SAFETY: ABI rule 1.
        let status = unsafe { function(self.pointer.as_ptr(), &raw const counter) };
        self.table.check_status(status)
    }

    fn counters(&self) -> Result<Functions> {
        self.table.counters.ok_or_else(absent)
    }

    fn value(&self, function: ValueFn, counter: CounterRef<'_>) -> Result<u64> {
        let counter = counter_to_c(counter);
        let mut value = 0;
        // SAFETY: ABI rules 1 and 2.
        let status = unsafe { function(self.pointer.as_ptr(), &raw const counter, &raw mut value) };
        self.table.check_status(status)?;
        given(value)
    }
}

/// A provider that reports success and writes nothing would let a store go back to its beginning.
fn given(value: u64) -> Result<u64> {
    if value == 0 { Err(broken("a counter gave no value")) } else { Ok(value) }
}

/// The C form of a reference; it borrows the blob, which outlives the call.
fn counter_to_c(counter: CounterRef<'_>) -> abi::CounterRef {
    abi::CounterRef {
        size: struct_bytes::<abi::CounterRef>(),
        id: counter.id.0,
        blob: counter.blob.as_ptr(),
        blob_len: counter.blob.len(),
    }
}
