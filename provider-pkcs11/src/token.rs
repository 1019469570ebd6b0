//! Finding the token, and logging in to it. A PIN is shown to a token only where a refusal cannot
//! lock it.

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use provider_core::{AuthSubject, Condition, ErrorKind, ProviderError, Result, Standing};

use crate::error::{Fault, Step};
use crate::pin::Pin;
use crate::uri::TokenUri;

/// A token that is there now.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) slot: Slot,
    /// What it says of itself; absent where the slot was named by its number, because the token's
    /// answer cannot be read.
    pub(crate) info: Option<TokenInfo>,
}

impl Token {
    /// Finds the one token that the URI names.
    ///
    /// # Errors
    /// `DeviceGone` (a loss): none is there. `InvalidParameter`: several are, or the slot is named
    /// by its number although the token can be read.
    pub(crate) fn find(pkcs11: &Pkcs11, uri: &TokenUri) -> Step<Self> {
        let slots = pkcs11.get_slots_with_token()?;
        if let Some(number) = uri.slot_id {
            let slot = slots.into_iter().find(|slot| slot.id() == number);
            return Self::by_number(pkcs11, slot.ok_or_else(|| absent(uri, &[]))?);
        }
        let mut named = Vec::new();
        let mut seen = Vec::new();
        for slot in slots {
            match pkcs11.get_token_info(slot) {
                Ok(info) if uri.matches(&info) => named.push((slot, info)),
                Ok(info) if !info.token_initialized() => {
                    seen.push(format!("an uninitialized one in slot {slot}"));
                }
                Ok(info) => seen.push(format!("{:?} ({})", info.label(), info.serial_number())),
                // A token that cannot be read cannot be the named one.
                Err(error) => {
                    let error = Fault::from(error).into_error();
                    seen.push(format!("one in slot {slot} ({})", error.detail));
                }
            }
        }
        // SoftHSM always shows one empty slot more. Not every module sets the flag, so that it only
        // decides between several.
        if named.iter().any(|(_, info): &(Slot, TokenInfo)| info.token_initialized()) {
            named.retain(|(_, info)| info.token_initialized());
        }
        if let [(_, first), (_, second), ..] = named.as_slice() {
            return Err(Fault::Found(ProviderError::invalid(format!(
                "{uri} names several tokens (serial {} and {}); add serial=",
                first.serial_number(),
                second.serial_number()
            ))));
        }
        let (slot, info) = named.pop().ok_or_else(|| absent(uri, &seen))?;
        Ok(Self { slot, info: Some(info) })
    }

    fn by_number(pkcs11: &Pkcs11, slot: Slot) -> Step<Self> {
        match pkcs11.get_token_info(slot) {
            Ok(info) => Err(Fault::Found(ProviderError::invalid(format!(
                "slots are renumbered, so slot-id is only for tokens that cannot be read; \
                 use token={};serial={}",
                info.label(),
                info.serial_number()
            )))),
            Err(error @ Error::Pkcs11(_, _)) => Err(error.into()),
            Err(_unreadable) => Ok(Self { slot, info: None }),
        }
    }

    /// Manufacturer, model, serial number and label; empty where they cannot be read.
    pub(crate) fn texts(&self) -> [&str; 4] {
        self.info.as_ref().map_or([""; 4], |info| {
            [info.manufacturer_id(), info.model(), info.serial_number(), info.label()]
        })
    }

    /// What counts wrong PINs here: the token, by all that it says of itself. Tokens that cannot
    /// be told apart, as the databases of NSS, are taken for one, which costs no try. None where
    /// no login is wanted, or the token cannot be read.
    pub(crate) fn auth_subject(&self) -> Option<AuthSubject> {
        self.info.as_ref().filter(|info| info.login_required())?;
        let texts = self.texts();
        // Each with its length, so that no two lists of texts give the same bytes.
        let parts = texts.iter().map(|text| format!("{}:{text},", text.len()));
        Some(AuthSubject(parts.collect::<String>().into_bytes()))
    }

    /// Whether the token still answers, and a session is still logged in to it: only then does
    /// not finding an object mean that it is not there.
    ///
    /// # Errors
    /// A loss.
    pub(crate) fn check_health(&self, pkcs11: &Pkcs11, session: &Session) -> Step<()> {
        let Some(before) = &self.info else {
            session.get_session_info()?;
            return Ok(());
        };
        let now = pkcs11.get_token_info(self.slot)?;
        let state = session.get_session_info()?.session_state();
        let logged_in = matches!(state, SessionState::RoUser | SessionState::RwUser);
        if now.serial_number() != before.serial_number() || now.label() != before.label() {
            return Err(lost("the slot holds another token"));
        }
        if before.login_required() && !logged_in {
            return Err(lost("the session is not logged in"));
        }
        Ok(())
    }

    /// The most sessions that may work at a time, besides the one that keeps the login; `wanted`
    /// where the token sets no limit.
    pub(crate) fn session_limit(&self, wanted: u32) -> u32 {
        let Some(info) = &self.info else { return wanted };
        let total: Option<u64> = info.max_session_count().into();
        let writing: Option<u64> = info.max_rw_session_count().into();
        // Some tokens say 0 for "not told".
        let total = total.filter(|&most| most > 0).map(|most| most.saturating_sub(1));
        let writing = writing.filter(|&most| most > 0);
        let least = [total, writing].into_iter().flatten().min();
        least.and_then(|most| u32::try_from(most).ok()).map_or(wanted, |most| most.min(wanted))
    }

    /// Logs in, unless the token wants no login.
    ///
    /// # Errors
    /// `PinRefused` when the token refused the PIN; `DeviceAuth` or `LockedOut` when it was not
    /// asked, because its flags say that a wrong PIN would lock it or that it is locked.
    ///
    /// # Secrets
    /// The binding wipes its copy of the PIN.
    pub(crate) fn log_in(&self, pkcs11: &Pkcs11, session: &Session, pin: Option<&Pin>) -> Step<()> {
        let name = self.name();
        if let Some(info) = &self.info {
            if !info.login_required() {
                return Ok(());
            }
            PinFlags::of(info).check(&name)?;
        }
        let Some(pin) = pin else {
            if self.info.is_none() {
                return Ok(());
            }
            return Err(Fault::Found(ProviderError::invalid(format!(
                "pin is missing: {name} wants a login; name the PIN by pin_source"
            ))));
        };
        let copy = RawAuthPin::new(Box::new(pin.reveal().to_vec()));
        match session.login_with_raw(UserType::User, &copy) {
            // Another session of this process is logged in, and by that all are.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => Err(refusal(error.into(), &name, || self.what_is_left(pkcs11))),
        }
    }

    /// What the token says now of the tries that are left, after it refused one.
    fn what_is_left(&self, pkcs11: &Pkcs11) -> &'static str {
        let now = pkcs11.get_token_info(self.slot).ok().filter(|_| self.info.is_some());
        match now.as_ref().map(PinFlags::of) {
            Some(PinFlags { locked: true, .. }) => LOCKED,
            Some(PinFlags { final_try: true, .. }) => "one try is left",
            Some(PinFlags { count_low: true, .. }) => COUNT_LOW,
            Some(_) | None => "",
        }
    }

    /// What it says of wrong PINs: no numbers, and time does not help.
    ///
    /// # Errors
    /// `Unsupported`: it wants no login, or cannot be read.
    pub(crate) fn condition(&self) -> Result<Condition> {
        let info = self.info.as_ref().filter(|info| info.login_required());
        let info = info.ok_or_else(|| {
            let detail = "this token counts no PINs, or cannot be read";
            ProviderError::new(ErrorKind::Unsupported, detail)
        })?;
        let (standing, notes) = match PinFlags::of(info) {
            PinFlags { locked: true, .. } => (Standing::Locked, LOCKED),
            PinFlags { final_try: true, .. } => (Standing::LastTry, FINAL_TRY),
            PinFlags { count_low: true, .. } => (Standing::TriesUsed, COUNT_LOW),
            PinFlags { .. } => (Standing::Calm, ""),
        };
        let (auth_failures, auth_failures_max, recovery) = (None, None, None);
        let notes = notes.to_owned();
        Ok(Condition { standing, auth_failures, auth_failures_max, recovery, notes })
    }

    fn name(&self) -> String {
        match &self.info {
            Some(info) => format!("token {} (serial {})", info.label(), info.serial_number()),
            None => format!("the token in slot {}", self.slot.id()),
        }
    }
}

const COUNT_LOW: &str = "CKF_USER_PIN_COUNT_LOW is set: a wrong PIN was shown to the token since \
                         the last login; few tries may be left";
const FINAL_TRY: &str = "CKF_USER_PIN_FINAL_TRY is set, so that a wrong PIN would lock it; log in by \
                         hand once, then retry";
const LOCKED: &str = "the security officer must reset the PIN";

/// What a token says of its PIN.
struct PinFlags {
    count_low: bool,
    locked: bool,
    final_try: bool,
    to_be_changed: bool,
}

impl PinFlags {
    fn of(info: &TokenInfo) -> Self {
        Self {
            count_low: info.user_pin_count_low(),
            locked: info.user_pin_locked(),
            final_try: info.user_pin_final_try(),
            to_be_changed: info.user_pin_to_be_changed(),
        }
    }

    /// Whether a PIN may be shown to the token.
    ///
    /// # Spec
    /// PKCS#11 3.0 section 3.2, CK_TOKEN_INFO flags.
    fn check(&self, name: &str) -> Step<()> {
        let (kind, why) = if self.locked {
            (
                ErrorKind::LockedOut,
                "CKF_USER_PIN_LOCKED is set; the security officer must reset the PIN",
            )
        } else if self.final_try {
            (ErrorKind::DeviceAuth, FINAL_TRY)
        } else if self.to_be_changed {
            (ErrorKind::DeviceAuth, "CKF_USER_PIN_TO_BE_CHANGED is set; change the PIN")
        } else {
            return Ok(());
        };
        Err(Fault::Found(ProviderError::new(kind, format!("{name}: {why}"))))
    }
}

/// Tells a refused PIN from a login that failed otherwise.
fn refusal(fault: Fault, name: &str, left: impl FnOnce() -> &'static str) -> Fault {
    let Fault::Refused(error) = fault else { return fault };
    if !matches!(error.kind, ErrorKind::DeviceAuth | ErrorKind::LockedOut) {
        return Fault::Refused(error);
    }
    // Some tokens say it by the return value alone.
    let left = if error.kind == ErrorKind::LockedOut { LOCKED } else { left() };
    let between = if left.is_empty() { "" } else { "; " };
    let detail = format!("{}: {name}; this PIN is not tried again{between}{left}", error.detail);
    Fault::PinRefused(ProviderError::new(error.kind, detail))
}

fn absent(uri: &TokenUri, seen: &[String]) -> Fault {
    let seen = if seen.is_empty() { "none".into() } else { seen.join(", ") };
    lost(&format!("C_GetSlotList: no token is {uri}; other tokens there: {seen}"))
}

fn lost(why: &str) -> Fault {
    Fault::Lost(ProviderError::new(ErrorKind::DeviceGone, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: PinFlags =
        PinFlags { count_low: false, locked: false, final_try: false, to_be_changed: false };

    fn check(flags: &PinFlags, expected: Option<(ErrorKind, &str)>) {
        let error = flags.check("token a").err().map(Fault::into_error);
        assert_eq!(error.as_ref().map(|error| error.kind), expected.map(|(kind, _)| kind));
        if let (Some(error), Some((_, flag))) = (error, expected) {
            assert!(error.detail.contains(flag), "{error}");
        }
    }

    #[test]
    fn token_without_a_flag_may_be_shown_a_pin() {
        check(&CLEAR, None);
    }

    #[test]
    fn token_with_few_tries_may_still_be_shown_one() {
        check(&PinFlags { count_low: true, ..CLEAR }, None);
    }

    #[test]
    fn last_try_is_left_to_people() {
        let flags = PinFlags { final_try: true, ..CLEAR };
        check(&flags, Some((ErrorKind::DeviceAuth, "CKF_USER_PIN_FINAL_TRY")));
    }

    #[test]
    fn locked_token_is_locked_out() {
        let flags = PinFlags { locked: true, final_try: true, ..CLEAR };
        check(&flags, Some((ErrorKind::LockedOut, "CKF_USER_PIN_LOCKED")));
    }

    #[test]
    fn pin_that_must_be_changed_is_told() {
        let flags = PinFlags { to_be_changed: true, ..CLEAR };
        check(&flags, Some((ErrorKind::DeviceAuth, "CKF_USER_PIN_TO_BE_CHANGED")));
    }
}
