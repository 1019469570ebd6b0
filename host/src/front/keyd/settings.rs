//! What the configuration says of this dialect.

use daemon::listener::Endpoint;
use wire::api::{Algorithm, Protection, Usage};
use wire::name::ProviderName;

use crate::request::HandleTerms;

/// The dialect of the aziot Key Service, as it is switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens.
    pub listen: Endpoint,
    /// The providers that its keys may live in, in order; `None` for the configured order.
    pub providers: Option<Vec<ProviderName>>,
    /// The least protection of its keys.
    pub floor: Protection,
    /// Whether there are RSA keys, whose private operation is bare.
    pub rsa: bool,
    /// Whether an import over a key that is there makes a new version of it, or is refused.
    pub import_over: bool,
    /// Whether an initialization vector that a key had before is refused, or only counted.
    pub refuse_repeated_ivs: bool,
}

impl Settings {
    /// What a new key of the dialect shall be.
    pub(super) fn terms(&self, kinds: Vec<(Usage, Algorithm)>) -> HandleTerms {
        HandleTerms { kinds, providers: self.providers.clone(), floor: self.floor }
    }
}
