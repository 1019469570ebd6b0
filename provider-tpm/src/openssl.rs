//! Spares libtss2 its own OpenSSL library context for every digest, HMAC and cipher.
//!
//! ESYS makes and frees such a context about six times for each command with a session, 0.35 ms
//! each, twenty times the cost of all else. This library defines the two functions itself, and
//! because a library's own definitions come before those of its dependencies, libtss2 finds
//! these. They hand out one private context for ever, so ESYS stays as far from the providers
//! that others load into the default context as before.
//!
//! The setting `openssl_context = "stock"` makes them pass every call on. Statics are against the
//! house rules; here nothing else works, because C functions have no other place for state.
#![expect(unsafe_code, reason = "C functions are defined and called here, and nowhere else")]

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// Whether contexts are shared; off until a provider is opened with the default setting.
static SHARED: AtomicBool = AtomicBool::new(false);
/// The one context, once made.
static CONTEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

type New = unsafe extern "C" fn() -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);

unsafe extern "C" {
    /// dlsym(3).
    fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
}

/// RTLD_NEXT of dlfcn.h: the definition after the caller's own.
const RTLD_NEXT: *mut c_void = ptr::without_provenance_mut(usize::MAX);

/// Sets whether libtss2 shares one context from now on. Contexts given out before stay good.
pub(crate) fn share(shared: bool) {
    SHARED.store(shared, Ordering::SeqCst);
}

/// Stands before OpenSSL's function of this name (OSSL_LIB_CTX(3)).
#[unsafe(no_mangle)]
pub(crate) extern "C" fn OSSL_LIB_CTX_new() -> *mut c_void {
    if !SHARED.load(Ordering::SeqCst) {
        return real_new();
    }
    let made = CONTEXT.load(Ordering::SeqCst);
    if !made.is_null() {
        return made;
    }
    let new = real_new();
    match CONTEXT.compare_exchange(ptr::null_mut(), new, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => new,
        Err(first) => {
            real_free(new);
            first
        }
    }
}

/// Stands before OpenSSL's function of this name.
///
/// # Safety
/// 1. `context` is NULL or came from [`OSSL_LIB_CTX_new`] and is not used afterwards.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn OSSL_LIB_CTX_free(context: *mut c_void) {
    if context != CONTEXT.load(Ordering::SeqCst) {
        real_free(context);
    }
}

fn real_new() -> *mut c_void {
    static NEW: OnceLock<Option<New>> = OnceLock::new();
    let new = NEW.get_or_init(|| {
        let found = next(c"OSSL_LIB_CTX_new");
        // SAFETY: 1. a pointer and an `Option` of a function pointer have one layout, NULL being
        // `None`; 2. the symbol is OpenSSL's function, whose C type is this one.
        unsafe { std::mem::transmute::<*mut c_void, Option<New>>(found) }
    });
    match new {
        // SAFETY: it takes nothing and is safe to call from any thread (OSSL_LIB_CTX(3)).
        Some(new) => unsafe { new() },
        // NULL is what OpenSSL itself returns when it cannot make one; ESYS reports that.
        None => ptr::null_mut(),
    }
}

fn real_free(context: *mut c_void) {
    static FREE: OnceLock<Option<Free>> = OnceLock::new();
    let free = FREE.get_or_init(|| {
        let found = next(c"OSSL_LIB_CTX_free");
        // SAFETY: as in `real_new`.
        unsafe { std::mem::transmute::<*mut c_void, Option<Free>>(found) }
    });
    if let Some(free) = free {
        // SAFETY: only contexts of `real_new` that nobody else has come here: from the exported
        // function by its duty 1, from `OSSL_LIB_CTX_new` one that it made and gave to nobody.
        unsafe { free(context) };
    }
}

fn next(symbol: &CStr) -> *mut c_void {
    // SAFETY: the symbol is NUL-terminated, and RTLD_NEXT is a handle that dlsym knows; it finds
    // the definition that libtss2 would use if ours were not there, or gives NULL.
    unsafe { dlsym(RTLD_NEXT, symbol.as_ptr()) }
}
