//! C_Initialize with a parameter string, as NSS softokn wants it. The binding passes the standard
//! argument struct only, and NSS reads one field past its end; so this call is made here.
#![expect(unsafe_code, reason = "a C call with a struct that the binding does not have")]

use std::ffi::{CStr, c_char, c_ulong, c_void};
use std::path::Path;
use std::ptr;

use cryptoki::context::Function;
use cryptoki::error::{Error, Result, Rv};
use libloading::os::unix::Library;

/// CKF_OS_LOCKING_OK.
const OS_LOCKING_OK: c_ulong = 2;

/// CK_C_INITIALIZE_ARGS of PKCS#11, and one pointer more. Where the standard has `pReserved`, NSS
/// has `LibraryParameters` and puts `pReserved` behind it: both layouts read within this struct.
#[repr(C)]
struct InitializeArgs {
    mutex_functions: [*const c_void; 4],
    flags: c_ulong,
    library_parameters: *const c_char,
    reserved: *const c_void,
}

/// How every CK_FUNCTION_LIST begins: CK_VERSION, then C_Initialize.
#[repr(C)]
struct FunctionListHead {
    version: [u8; 2],
    initialize: Option<unsafe extern "C" fn(*mut c_void) -> c_ulong>,
}

type GetFunctionList = unsafe extern "C" fn(*mut *const FunctionListHead) -> c_ulong;

/// Initializes the module at `path`, which the caller has loaded already, with `parameters`.
///
/// # Errors
/// The module's status, or that it has no function list.
///
/// # Spec
/// PKCS#11 3.0 section 5.4; NSS `pkcs11n.h`.
pub(crate) fn initialize(path: &Path, parameters: &CStr) -> Result<()> {
    // SAFETY: the caller holds this library loaded, so that no initializer runs here: this only
    // adds to its reference count, and dropping it takes that off again.
    let library = unsafe { Library::new(path) }.map_err(|_loaded_before| Error::NotSupported)?;
    // SAFETY: PKCS#11 fixes the type of a function of this name (section 5.4, C_GetFunctionList);
    // the library outlives the symbol, being dropped at the end of this function.
    let get_function_list = unsafe { library.get::<GetFunctionList>(b"C_GetFunctionList\0") }
        .map_err(|_missing| Error::MissingSymbol("C_GetFunctionList"))?;
    let mut list = ptr::null();
    // SAFETY: the function writes one pointer to where `list` is; it may be called before
    // C_Initialize.
    let status = unsafe { get_function_list(&raw mut list) };
    Rv::from(status).into_result(Function::GetFunctionList)?;
    // SAFETY: after success the pointer is NULL (checked by as_ref) or that of a list which the
    // module keeps as long as it is loaded; each list begins with the two fields read here.
    let list = unsafe { list.as_ref() }.ok_or(Error::NullFunctionPointer)?;
    let initialize = list.initialize.ok_or(Error::NullFunctionPointer)?;
    let mut args = InitializeArgs {
        mutex_functions: [ptr::null(); 4],
        flags: OS_LOCKING_OK,
        library_parameters: parameters.as_ptr(),
        reserved: ptr::null(),
    };
    // SAFETY: the argument points to a struct that is at least as long as either layout, with NULL
    // mutex functions and a terminated string, all of which live until the call returns.
    let status = unsafe { initialize((&raw mut args).cast()) };
    Rv::from(status).into_result(Function::Initialize)
}
