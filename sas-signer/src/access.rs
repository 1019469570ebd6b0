//! Who may ask what: the rules of the configuration, each with the tokens that it allows.

use std::sync::{Arc, PoisonError, RwLock};

use daemon::peer::Principal;
use daemon::rules::{Authorized, Denied, Operation, Rules};
use wire::sas::{SasKeyName, TokenRequest};

use crate::rules::{Grant, Refused, Template, grant};

/// What rules can allow.
pub const OPERATIONS: &[Operation] = &[
    Operation { name: "token", needs_key: true },
    Operation { name: "verify", needs_key: true },
    Operation { name: "import", needs_key: true },
    Operation { name: "rotate", needs_key: true },
    Operation { name: "show", needs_key: true },
    Operation { name: "list", needs_key: false },
    Operation { name: "status", needs_key: false },
    Operation { name: "metrics", needs_key: false },
];

/// A checked set of access rules.
#[derive(Clone, Debug, Default)]
pub struct Access(Vec<AccessRule>);

/// One rule, and the tokens that it allows.
#[derive(Clone, Debug)]
pub struct AccessRule {
    /// The rule, as a set of its own, so that it can be asked alone.
    pub rule: Rules,
    /// Its templates.
    pub templates: Vec<Template>,
}

impl Access {
    /// Takes rules together.
    #[must_use]
    pub fn new(rules: Vec<AccessRule>) -> Self {
        Self(rules)
    }

    /// Asks whether a rule allows `principal` the operation, on `key` where it needs one.
    ///
    /// # Errors
    /// [`Denied`], as for [`Rules::authorize`].
    pub fn authorize<'a>(
        &self,
        principal: &'a Principal,
        operation: &str,
        key: Option<&'a str>,
    ) -> Result<Authorized<'a>, Denied> {
        self.0.iter().find_map(|it| it.rule.authorize(principal, operation, key).ok()).ok_or(Denied)
    }

    /// Tells whether a rule allows `principal` the operation at all, on some key.
    #[must_use]
    pub fn allows_some(&self, principal: &Principal, operation: &str) -> bool {
        self.0.iter().any(|it| it.rule.authorize_some(principal, operation).is_ok())
    }

    /// Tells whether `principal` may know of `key`.
    #[must_use]
    pub fn shows(&self, principal: &Principal, key: &SasKeyName) -> bool {
        self.authorize(principal, "show", Some(key.as_str())).is_ok()
    }

    /// Asks whether a rule that allows `principal` tokens by this key has a template for this one.
    ///
    /// # Errors
    /// As [`grant`].
    pub fn grant(
        &self,
        authorized: &Authorized<'_>,
        request: &TokenRequest,
    ) -> Result<Grant, Refused> {
        let allows = |it: &&AccessRule| {
            let key = Some(request.key.as_str());
            it.rule.authorize(authorized.principal(), authorized.operation(), key).is_ok()
        };
        grant(self.0.iter().filter(allows).flat_map(|it| &it.templates), request)
    }

    /// Tells why rules that name a unit allow nobody anything here, if there are any.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.0.iter().find_map(|it| it.rule.warning())
    }

    /// The number of rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no rule, so that everything is denied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The rules in force, replaced whole on reload.
#[derive(Debug)]
pub struct AccessBook(RwLock<Arc<Access>>);

impl AccessBook {
    /// Puts the first rules in force.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self(RwLock::new(Arc::new(access)))
    }

    /// The rules in force now; a reload does not change what was returned.
    #[must_use]
    pub fn current(&self) -> Arc<Access> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other rules in force for every request that asks from now on.
    pub fn replace(&self, access: Access) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }
}
