//! Templates as the configuration file has them, and every way in which they can be wrong.

use serde::Deserialize;
use wire::sas::ProfileKind;
use wire::sas::limits::TTL_MAX_SECONDS;

use super::pattern::{PATTERN_MAX_BYTES, Pattern};
use super::{Over, Template, fields, names_a_policy};

/// One `[[rule.token]]` of a configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTemplate {
    /// The profile that it is about.
    pub profile: ProfileKind,
    /// Pattern of the field of this name; needed where the profile has it.
    pub namespace: Option<String>,
    /// As above.
    pub entity: Option<String>,
    /// As above.
    pub publisher: Option<String>,
    /// As above.
    pub hub: Option<String>,
    /// As above.
    pub device: Option<String>,
    /// As above.
    pub module: Option<String>,
    /// As above.
    pub scope: Option<String>,
    /// As above.
    pub id_scope: Option<String>,
    /// As above.
    pub registration: Option<String>,
    /// Patterns of the policies; needed where the profile names one.
    #[serde(default)]
    pub policies: Vec<String>,
    /// The longest life of a token: a whole number and `s`, `m`, `h` or `d`.
    pub longest_ttl: String,
    /// What becomes of a request for a longer one.
    #[serde(default)]
    pub over_ttl: Over,
}

/// One thing that is wrong with one template, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    /// A field of the profile has no pattern.
    #[error("is missing; give a pattern, or \"*\" for any")]
    Missing(&'static str),
    /// A pattern for a field that the profile does not have.
    #[error("is given, and the profile has no such field; remove it")]
    Needless(&'static str),
    /// A pattern that no field matches.
    #[error(
        "has a pattern that nothing matches; give 1 to {PATTERN_MAX_BYTES} bytes without \"/\""
    )]
    Pattern(&'static str),
    /// The life is not one.
    #[error("is not a life of 1 s to 366 d; write it as \"30s\", \"15m\", \"1h\" or \"7d\"")]
    Ttl,
}

impl TemplateFault {
    /// The key that it is about.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Missing(key) | Self::Needless(key) | Self::Pattern(key) => key,
            Self::Ttl => "longest_ttl",
        }
    }
}

impl Template {
    /// Checks a template of a configuration file.
    ///
    /// # Limits
    /// A pattern has 1 to 512 bytes; the longest life is 1 second to 366 days.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn check(raw: &RawTemplate) -> Result<Self, Vec<TemplateFault>> {
        let mut faults = Vec::new();
        let known = fields(raw.profile);
        let mut patterns = Vec::with_capacity(known.len());
        for (field, text) in raw.fields() {
            match (known.contains(&field), text) {
                (true, Some(text)) => match Pattern::parse(text) {
                    Some(pattern) => patterns.push((field, pattern)),
                    None => faults.push(TemplateFault::Pattern(field)),
                },
                (true, None) => faults.push(TemplateFault::Missing(field)),
                (false, Some(_)) => faults.push(TemplateFault::Needless(field)),
                (false, None) => {}
            }
        }
        patterns.sort_by_key(|(field, _)| known.iter().position(|it| it == field));
        match (names_a_policy(raw.profile), raw.policies.is_empty()) {
            (true, true) => faults.push(TemplateFault::Missing("policies")),
            (false, false) => faults.push(TemplateFault::Needless("policies")),
            (true, false) | (false, true) => {}
        }
        let policies: Vec<_> =
            raw.policies.iter().filter_map(|text| Pattern::parse(text)).collect();
        if policies.len() < raw.policies.len() {
            faults.push(TemplateFault::Pattern("policies"));
        }
        let longest = seconds(&raw.longest_ttl);
        match longest {
            Some(longest_ttl_seconds) if faults.is_empty() => Ok(Self {
                kind: raw.profile,
                fields: patterns.into_iter().map(|(_, pattern)| pattern).collect(),
                policies,
                longest_ttl_seconds,
                over: raw.over_ttl,
            }),
            Some(_) => Err(faults),
            None => {
                faults.push(TemplateFault::Ttl);
                Err(faults)
            }
        }
    }
}

impl RawTemplate {
    fn fields(&self) -> [(&'static str, Option<&str>); 9] {
        [
            ("namespace", self.namespace.as_deref()),
            ("entity", self.entity.as_deref()),
            ("publisher", self.publisher.as_deref()),
            ("hub", self.hub.as_deref()),
            ("device", self.device.as_deref()),
            ("module", self.module.as_deref()),
            ("scope", self.scope.as_deref()),
            ("id_scope", self.id_scope.as_deref()),
            ("registration", self.registration.as_deref()),
        ]
    }
}

fn seconds(text: &str) -> Option<u64> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let number = text.get(..text.len().checked_sub(1)?)?;
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=TTL_MAX_SECONDS).contains(&seconds).then_some(seconds)
}
