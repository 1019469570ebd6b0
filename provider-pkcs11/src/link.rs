//! The link to a token: a session that keeps the login, a pool of sessions that work, and
//! connecting again when any of it is lost.
//!
//! Locks are taken in the order state, then module, then what is known of keys. Nobody holds the
//! module while waiting for the state, so that whoever initializes the module anew (state held) gets
//! it as soon as the running calls end.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::Session;
use provider_core::{ErrorKind, ProviderError, Result};

use crate::config::Config;
use crate::desk::{Desk, Known};
use crate::error::{Fault, Step};
use crate::identity::IdentityRecord;
use crate::marker;
use crate::module::ModuleUser;
use crate::token::Token;

/// An instance's way to its token.
pub(crate) struct Link {
    config: Config,
    /// Set once, before the link is used for keys.
    identity: OnceLock<IdentityRecord>,
    state: Mutex<State>,
    /// A session was given back or given up.
    freed: Condvar,
    known: Known,
    /// Last, so that sessions are closed before the module is finalized.
    module: ModuleUser,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    epochs: u64,
    /// The sessions of a fresh connection failed too: next time initialize the module first.
    reinitialize: bool,
    /// The token refused our PIN, which is therefore not shown to it again.
    refused: Option<ProviderError>,
}

/// One login epoch: from a login until something of it is lost. Sessions are closed by hand, and
/// only under the initialization of the module that they are of: under a later one their numbers
/// may be those of other sessions.
struct Connection {
    epoch: u64,
    generation: u64,
    token: Arc<Token>,
    keeper: Session,
    idle: Vec<Session>,
    /// Sessions that are idle or lent.
    open: u32,
    limit: u32,
}

impl Link {
    /// Loads the module and connects to the token; `identity` is the recorded one.
    pub(crate) fn open(config: Config, identity: Option<IdentityRecord>) -> Result<Self> {
        let module = ModuleUser::open(&config.module, config.init_args.clone())?;
        let link = Self {
            config,
            identity: identity.map_or_else(OnceLock::new, OnceLock::from),
            state: Mutex::default(),
            freed: Condvar::new(),
            known: Known::new(),
            module,
        };
        let mut state = link.state();
        let connected = link.connect(&mut state).map(drop);
        let refused = state.refused.take();
        drop(state);
        match (connected, refused) {
            (Ok(()), _) => Ok(link),
            (Err(_), Some(refused)) => Err(refused),
            (Err(error), None) => Err(error),
        }
    }

    /// Records the identity of a token that had none. From here on each connection checks it.
    pub(crate) fn adopt(&self, identity: IdentityRecord) -> &IdentityRecord {
        self.identity.get_or_init(|| identity)
    }

    /// How many sessions may work at a time.
    pub(crate) fn sessions(&self) -> u32 {
        self.state().connection.as_ref().map_or(1, |connection| connection.limit)
    }

    /// The token as it shows itself now, without a session.
    ///
    /// # Errors
    /// `DeviceGone`: it is away.
    pub(crate) fn token(&self) -> Result<Token> {
        let found = self.module.call(|pkcs11, _| Token::find(pkcs11, &self.config.token));
        found.map_err(Fault::into_error)
    }

    /// Runs a step in a pooled session. When it loses the session, the login or the token, it
    /// connects again and runs the step once more.
    ///
    /// # Errors
    /// Those of the step; `DeviceGone` when the token is away. The next call tries again.
    pub(crate) fn run<T>(&self, step: impl Fn(&Desk<'_>) -> Step<T>) -> Result<T> {
        match self.attempt(&step, false) {
            Err((epoch, Fault::Lost(_))) => self.disconnect(epoch, false),
            outcome => return outcome.map_err(|(_, fault)| fault.into_error()),
        }
        let outcome = self.attempt(&step, true);
        if let Err((epoch, Fault::Lost(_))) = &outcome {
            self.disconnect(*epoch, true);
        }
        outcome.map_err(|(_, fault)| fault.into_error())
    }

    /// Tries what a device need not have. A session in which it failed is closed, and with it goes
    /// what the step left there.
    ///
    /// Some modules answer what they have not as if the device were gone (CKR_GENERAL_ERROR). Where
    /// `needed` works after such an answer, and the trial fails again, the device is there and
    /// lacks it.
    ///
    /// # Errors
    /// Those that the step found itself, and those of `needed`.
    pub(crate) fn works(
        &self,
        trial: impl Fn(&Desk<'_>) -> Step<()>,
        needed: impl Fn(&Desk<'_>) -> Step<()>,
    ) -> Result<bool> {
        let mut outcome = self.attempt(&trial, false);
        if let Err((_, Fault::Lost(_))) = outcome {
            self.run(needed)?;
            outcome = self.attempt(&trial, true);
        }
        match outcome {
            Ok(()) => Ok(true),
            Err((_, Fault::Refused(_) | Fault::Lost(_))) => Ok(false),
            Err((_, fault)) => Err(fault.into_error()),
        }
    }

    fn attempt<T>(
        &self,
        step: &impl Fn(&Desk<'_>) -> Step<T>,
        again: bool,
    ) -> std::result::Result<T, (u64, Fault)> {
        let lease = self.lease()?;
        let epoch = lease.epoch;
        let outcome = self.module.call(|pkcs11, generation| {
            let session = lease.session.as_ref().filter(|_| generation == lease.generation);
            let session = session.ok_or_else(|| gone("the module was initialized anew"))?;
            let token = lease.token.as_ref();
            step(&Desk { pkcs11, session, token, again, known: &self.known, epoch })
        });
        match outcome {
            Ok(value) => {
                lease.give_back();
                Ok(value)
            }
            Err(fault @ Fault::Found(_)) => {
                lease.give_back();
                Err((epoch, fault))
            }
            // The session may hold a half-done operation: the lease closes it.
            Err(fault) => Err((epoch, fault)),
        }
    }

    /// Takes an idle session, opens another, or waits for one.
    fn lease(&self) -> std::result::Result<Lease<'_>, (u64, Fault)> {
        let mut state = self.state();
        loop {
            // Connecting has tried all there is to try: its failure is not retried here.
            let connection = self.connect(&mut state).map_err(|error| (0, Fault::Found(error)))?;
            let epoch = connection.epoch;
            if connection.idle.is_empty() && connection.open < connection.limit {
                match self.open_session(connection) {
                    Ok(session) => {
                        connection.idle.push(session);
                        connection.open = connection.open.saturating_add(1);
                    }
                    // Others use up the token's sessions: make do with those we have.
                    Err(Fault::Refused(error))
                        if error.kind == ErrorKind::Exhausted && connection.open > 0 =>
                    {
                        connection.limit = connection.open;
                    }
                    Err(fault) => return Err((epoch, fault)),
                }
            }
            if let Some(session) = connection.idle.pop() {
                return Ok(Lease {
                    link: self,
                    session: Some(session),
                    epoch,
                    generation: connection.generation,
                    token: Arc::clone(&connection.token),
                });
            }
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn open_session(&self, connection: &Connection) -> Step<Session> {
        self.module.call(|pkcs11, generation| {
            if generation != connection.generation {
                return Err(gone("the module was initialized anew"));
            }
            Ok(pkcs11.open_rw_session_no_drop(connection.token.slot)?)
        })
    }

    /// Connects where there is no connection. A token that is not seen is looked for once more
    /// after initializing the module, because some modules see only what was there at that time.
    fn connect<'a>(&self, state: &'a mut State) -> Result<&'a mut Connection> {
        if state.connection.is_none() {
            if let Some(refused) = &state.refused {
                return Err(refused.clone());
            }
            let seen = self.module.call(|_, generation| Ok(generation)).unwrap_or_default();
            let epoch = state.epochs.wrapping_add(1);
            state.epochs = epoch;
            let first = if state.reinitialize { None } else { Some(self.establish(epoch)) };
            let outcome = match first {
                None | Some(Err(Fault::Lost(_))) => self
                    .module
                    .reinitialize(seen)
                    .map_err(Fault::Found)
                    .and_then(|()| self.establish(epoch)),
                Some(outcome) => outcome,
            };
            if let Err(Fault::PinRefused(error)) = &outcome {
                // Whoever finds the PIN locked is told so. From then on it counts as refused, so that
                // the host shows it to nobody until somebody has unlocked it and says so.
                let detail = error.detail.clone();
                state.refused = Some(ProviderError::new(ErrorKind::DeviceAuth, detail));
            }
            state.reinitialize = false;
            state.connection = Some(outcome.map_err(Fault::into_error)?);
        }
        state.connection.as_mut().ok_or_else(|| gone("there is no connection").into_error())
    }

    fn establish(&self, epoch: u64) -> Step<Connection> {
        self.module.call(|pkcs11, generation| {
            let token = Token::find(pkcs11, &self.config.token)?;
            if let Some(identity) = self.identity.get() {
                marker::check_texts(&token, identity)?;
            }
            let limit = token.session_limit(self.config.sessions);
            if limit == 0 {
                let detail = "the token allows one session only; two are needed";
                return Err(Fault::Found(ProviderError::new(ErrorKind::Exhausted, detail)));
            }
            let keeper = pkcs11.open_ro_session_no_drop(token.slot)?;
            if let Err(fault) = self.enter(pkcs11, &token, &keeper) {
                close(keeper);
                return Err(fault);
            }
            let token = Arc::new(token);
            Ok(Connection { epoch, generation, token, keeper, idle: Vec::new(), open: 0, limit })
        })
    }

    /// Logs in, and makes sure that it is the token that we know.
    fn enter(&self, pkcs11: &Pkcs11, token: &Token, keeper: &Session) -> Step<()> {
        token.log_in(pkcs11, keeper, self.config.pin.as_ref())?;
        let Some(identity) = self.identity.get() else { return Ok(()) };
        marker::check_answer(keeper, identity).or_else(|fault| {
            // A token that went away meanwhile is not another token.
            token.check_health(pkcs11, keeper)?;
            Err(fault)
        })
    }

    /// Ends a login epoch, unless somebody did already. Lent sessions are closed when they come
    /// back.
    fn disconnect(&self, epoch: u64, reinitialize: bool) {
        let mut state = self.state();
        let Some(connection) = state.connection.take_if(|connection| connection.epoch == epoch)
        else {
            return;
        };
        state.reinitialize = reinitialize;
        self.known.end(epoch);
        for session in connection.idle {
            self.close_session(session, connection.generation);
        }
        self.close_session(connection.keeper, connection.generation);
        drop(state);
        self.freed.notify_all();
    }

    fn close_session(&self, session: Session, of_generation: u64) {
        let _ = self.module.call(|_, generation| {
            if generation == of_generation {
                close(session);
            }
            Ok(())
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let epoch = self.state().connection.as_ref().map(|connection| connection.epoch);
        if let Some(epoch) = epoch {
            self.disconnect(epoch, false);
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Link").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A session on loan. Dropped without being given back, it is closed.
struct Lease<'a> {
    link: &'a Link,
    session: Option<Session>,
    epoch: u64,
    generation: u64,
    token: Arc<Token>,
}

impl Lease<'_> {
    fn give_back(mut self) {
        let mut state = self.link.state();
        if let Some(connection) = state.connection.as_mut()
            && connection.epoch == self.epoch
        {
            connection.idle.extend(self.session.take());
        }
        drop(state);
        self.link.freed.notify_one();
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        self.link.close_session(session, self.generation);
        let mut state = self.link.state();
        if let Some(connection) = state.connection.as_mut()
            && connection.epoch == self.epoch
        {
            connection.open = connection.open.saturating_sub(1);
        }
        drop(state);
        self.link.freed.notify_one();
    }
}

/// Closes a session. One that is gone already needs no closing, and one that cannot be closed
/// leaves nothing to do about it.
fn close(session: Session) {
    match session.close() {
        Ok(()) | Err(Error::Pkcs11(RvError::SessionClosed | RvError::SessionHandleInvalid, _)) => {}
        Err(_refused) => {}
    }
}

fn gone(why: &str) -> Fault {
    Fault::Lost(ProviderError::new(ErrorKind::DeviceGone, why))
}
