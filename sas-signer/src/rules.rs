//! Who may have which token: templates by field, policies, the longest life.
//!
//! Who a caller is, and which keys it may use at all, is decided by `daemon::rules`; the templates
//! of the rules that let it are asked here. Only [`grant`] makes a [`Grant`], and the signer takes
//! nothing else, so that no token is signed that no rule allows.

use wire::code::{Code, Fault};
use wire::sas::{Encoder, FieldError, Order, Profile, ProfileKind, SasKeyName, TokenRequest};

use crate::resource::lowered;

mod pattern;
mod raw;

use pattern::Pattern;

pub use raw::{RawTemplate, TemplateFault};

/// Life of a token where none is asked for, in seconds, and where the rule allows as much.
pub const TTL_DEFAULT_SECONDS: u64 = 3600;

/// Tokens that a rule allows.
#[derive(Clone, Debug)]
pub struct Template {
    kind: ProfileKind,
    /// One for each field of the profile, in the order of [`fields`].
    fields: Vec<Pattern>,
    /// Of names of policies; empty for profiles that have none, or always the same.
    policies: Vec<Pattern>,
    longest_ttl_seconds: u64,
    over: Over,
}

/// What becomes of a request for a longer life than a rule allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// It is refused, when the rule says nothing.
    #[default]
    Refuse,
    /// The token gets the longest life.
    Clamp,
}

/// The proof that a rule allows a token: what will be signed, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    profile: Profile,
    key: SasKeyName,
    ttl_seconds: u64,
    encoder: Encoder,
    order: Order,
    fresh: bool,
}

/// Why there is no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No template is for this resource and policy.
    #[error("permission denied")]
    Denied,
    /// Templates are, and none allows so long a life.
    #[error("ttl of {asked} s exceeds the {longest} s that rules allow for this")]
    Ttl {
        /// What was asked for.
        asked: u64,
        /// The most that any of them allows.
        longest: u64,
    },
    /// The resource cannot be written in lower case, as the encoder does.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl From<Refused> for Fault {
    fn from(error: Refused) -> Self {
        let code = match error {
            Refused::Denied => Code::Denied,
            Refused::Ttl { .. } | Refused::Field(_) => Code::Invalid,
        };
        Self::new(code, error.to_string())
    }
}

/// Asks whether one of the templates allows the token.
///
/// What is signed is what is asked about: an encoder that lowers the resource is granted by
/// templates for the lowered one.
///
/// # Errors
/// [`Refused`]. Which life would be allowed is told only to who may have the token at all.
pub fn grant<'a>(
    templates: impl IntoIterator<Item = &'a Template>,
    request: &TokenRequest,
) -> Result<Grant, Refused> {
    let encoder = request.encoder.unwrap_or_default();
    let profile =
        if encoder.lowers() { lowered(&request.resource)? } else { request.resource.clone() };
    let mut longest = None;
    let mut clamped = None;
    for template in templates.into_iter().filter(|template| template.is_for(&profile)) {
        let allowed = Some(template.longest_ttl_seconds);
        longest = longest.max(allowed);
        if template.over == Over::Clamp {
            clamped = clamped.max(allowed);
        }
    }
    let longest = longest.ok_or(Refused::Denied)?;
    let ttl_seconds = match (request.ttl, clamped) {
        (None, _) => TTL_DEFAULT_SECONDS.min(longest),
        (Some(asked), _) if asked <= longest => asked,
        (Some(_), Some(clamped)) => clamped,
        (Some(asked), None) => return Err(Refused::Ttl { asked, longest }),
    };
    Ok(Grant {
        profile,
        key: request.key.clone(),
        ttl_seconds,
        encoder,
        order: request.order.unwrap_or_default(),
        fresh: request.fresh == Some(true),
    })
}

impl Grant {
    /// What is signed.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The key that signs.
    #[must_use]
    pub fn key(&self) -> &SasKeyName {
        &self.key
    }

    /// How long the token lives.
    #[must_use]
    pub fn ttl_seconds(&self) -> u64 {
        self.ttl_seconds
    }

    /// How it is written.
    #[must_use]
    pub fn encoder(&self) -> Encoder {
        self.encoder
    }

    /// The order of its parameters.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// Whether it must not come from the cache.
    #[must_use]
    pub fn fresh(&self) -> bool {
        self.fresh
    }
}

impl Template {
    fn is_for(&self, profile: &Profile) -> bool {
        let values = values(profile);
        let policy_fits = match names_a_policy(self.kind) {
            true => profile.policy().is_some_and(|it| self.policies.iter().any(|p| p.matches(it))),
            false => true,
        };
        self.kind == profile.kind()
            && policy_fits
            && values.len() == self.fields.len()
            && self.fields.iter().zip(values).all(|(pattern, value)| pattern.matches(value))
    }
}

/// The fields of a profile that a template has patterns for. The scheme is not among them: it
/// names no other resource.
fn fields(kind: ProfileKind) -> &'static [&'static str] {
    match kind {
        ProfileKind::EventHubsEntity => &["namespace", "entity"],
        ProfileKind::EventHubsPublisher => &["namespace", "entity", "publisher"],
        ProfileKind::IotHubDevice => &["hub", "device"],
        ProfileKind::IotHubModule => &["hub", "device", "module"],
        ProfileKind::IotHubService => &["hub", "scope"],
        ProfileKind::DpsRegistration => &["id_scope", "registration"],
    }
}

fn names_a_policy(kind: ProfileKind) -> bool {
    match kind {
        ProfileKind::EventHubsEntity
        | ProfileKind::EventHubsPublisher
        | ProfileKind::IotHubService => true,
        ProfileKind::IotHubDevice | ProfileKind::IotHubModule | ProfileKind::DpsRegistration => {
            false
        }
    }
}

/// The values of [`fields`].
fn values(profile: &Profile) -> Vec<&str> {
    match profile {
        Profile::EventHubsEntity { namespace, entity, .. } => {
            vec![namespace.as_str(), entity.as_str()]
        }
        Profile::EventHubsPublisher { namespace, entity, publisher, .. } => {
            vec![namespace.as_str(), entity.as_str(), publisher.as_str()]
        }
        Profile::IotHubDevice { hub, device } => vec![hub.as_str(), device.as_str()],
        Profile::IotHubModule { hub, device, module } => {
            vec![hub.as_str(), device.as_str(), module.as_str()]
        }
        Profile::IotHubService { hub, scope, .. } => vec![hub.as_str(), scope.as_str()],
        Profile::DpsRegistration { id_scope, registration } => {
            vec![id_scope.as_str(), registration.as_str()]
        }
    }
}

#[cfg(test)]
mod tests;
