//! The PKCS#11 module of this process: loaded once, initialized once, and initialized anew when a
//! token is not seen any more.
//!
//! The specification makes a module's state (initialization, login, sessions) one per process, so
//! this is the one place with a static: two instances on one module must know of each other,
//! or one would finalize it while the other is inside a call.

use std::ffi::CString;
use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use provider_core::{ErrorKind, ProviderError, Result};

use crate::error::{Fault, Step};
use crate::init_args;

/// Every module that this process has loaded. None is ever unloaded: vendor modules crash at it.
static LOADED: Mutex<Vec<Arc<Module>>> = Mutex::new(Vec::new());

struct Module {
    path: PathBuf,
    init_args: Option<CString>,
    pkcs11: Pkcs11,
    /// Read for each call into the module, written for initializing and finalizing it.
    state: RwLock<State>,
}

struct State {
    initialized: Initialized,
    /// Counts initializations. Sessions and handles of an earlier one mean nothing.
    generation: u64,
    users: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Initialized {
    No,
    ByUs,
    /// Other code of this process did it, so that we must not finalize.
    ByOthers,
}

/// One instance's share in a module; the last one to go finalizes it.
pub(crate) struct ModuleUser(Arc<Module>);

impl ModuleUser {
    /// Loads and initializes a module, or joins those who use it already.
    ///
    /// # Errors
    /// `Unsupported`: the file is no PKCS#11 module, or cannot be used by several threads.
    /// `InvalidParameter`: the module is in use with other `init_args`. `DeviceGone`: it failed to
    /// initialize now.
    pub(crate) fn open(path: &Path, init_args: Option<CString>) -> Result<Self> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match loaded.iter().find(|module| module.path == path) {
            Some(module) => Arc::clone(module),
            None => {
                let pkcs11 = Pkcs11::new(path).map_err(|error| Fault::from(error).into_error())?;
                let state = State { initialized: Initialized::No, generation: 0, users: 0 };
                let state = RwLock::new(state);
                let module = Module { path: path.to_owned(), init_args, pkcs11, state };
                let module = Arc::new(module);
                loaded.push(Arc::clone(&module));
                return module.join();
            }
        };
        if module.init_args != init_args {
            return Err(ProviderError::invalid(
                "init_args differ from those that this process initialized the module with; \
                 give each instance its own worker process",
            ));
        }
        drop(loaded);
        module.join()
    }

    /// Calls into the module. Calls do not nest: whoever waits to initialize would block the inner
    /// one while the outer one blocks him.
    pub(crate) fn call<T>(&self, work: impl FnOnce(&Pkcs11, u64) -> Step<T>) -> Step<T> {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        work(&self.0.pkcs11, state.generation)
    }

    /// Finalizes and initializes the module, unless somebody did so after `seen`.
    ///
    /// # Errors
    /// `DeviceGone`: the module is not ours to finalize, or failed to initialize.
    pub(crate) fn reinitialize(&self, seen: u64) -> Result<()> {
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation != seen {
            return Ok(());
        }
        self.0.finalize(&mut state);
        if state.initialized == Initialized::ByOthers {
            return Err(ProviderError::new(
                ErrorKind::DeviceGone,
                "the token is not seen, and other code of this process initialized the module",
            ));
        }
        self.0.initialize(&mut state)
    }
}

impl Drop for ModuleUser {
    fn drop(&mut self) {
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        state.users = state.users.saturating_sub(1);
        if state.users == 0 {
            self.0.finalize(&mut state);
        }
    }
}

impl fmt::Debug for ModuleUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ModuleUser").field(&self.0.path).finish()
    }
}

impl Module {
    fn join(self: Arc<Self>) -> Result<ModuleUser> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.initialized == Initialized::No {
            self.initialize(&mut state)?;
        }
        state.users = state.users.saturating_add(1);
        drop(state);
        Ok(ModuleUser(self))
    }

    fn initialize(&self, state: &mut State) -> Result<()> {
        state.generation = state.generation.wrapping_add(1);
        let outcome = match &self.init_args {
            None => self.pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)),
            Some(parameters) => init_args::initialize(&self.path, parameters),
        };
        state.initialized = match outcome {
            Ok(()) => Initialized::ByUs,
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Initialized::ByOthers,
            Err(error) => return Err(Fault::from(error).into_error()),
        };
        Ok(())
    }

    fn finalize(&self, state: &mut State) {
        if state.initialized == Initialized::ByUs {
            // A module that fails to finalize leaves nothing to do; initializing it will tell.
            let _ = self.pkcs11.clone().finalize();
            state.initialized = Initialized::No;
        }
    }
}
