//! What a secret is, and which of its versions a lookup finds (`docs/secrets.md` sections 1 and
//! 2). Pure values: nothing here is stored, sealed or sent.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use wire::code::{Code, Fault};
use wire::secrets::{
    Author, ContentType, Date, SECRET_VALUE_MAX_BYTES, SecretName, SecretVersion, Tags,
};
use zeroize::Zeroizing;

/// The value of a secret: bytes, or text as its bytes.
///
/// # Limits
/// 0 to 1,048,576 bytes.
///
/// # Secrets
/// Wiped when dropped. `Debug` shows the length.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Zeroizing<Vec<u8>>);

impl Value {
    /// Takes the bytes over.
    ///
    /// # Errors
    /// `too_large`: more than 1 MiB.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, Fault> {
        let length = bytes.len();
        if length > SECRET_VALUE_MAX_BYTES {
            let detail =
                format!("value of {length} bytes exceeds limit of {SECRET_VALUE_MAX_BYTES}");
            return Err(Fault::new(Code::TooLarge, detail));
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the bytes away, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

/// Everything about one version of a secret but its value. Not secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The name.
    pub name: SecretName,
    /// The version.
    pub version: SecretVersion,
    /// From when it is active.
    pub activation: Date,
    /// From when it is no longer active.
    pub expiration: Date,
    /// What the value is.
    pub content_type: Option<ContentType>,
    /// Notes.
    pub tags: Tags,
    /// When this version was first stored here.
    pub created_at: Date,
    /// Who first stored it.
    pub created_by: Author,
    /// When it was last stored; no two changes of one store have the same.
    pub updated_at: Date,
    /// Who last stored it.
    pub updated_by: Author,
    /// Whether it was offered, or came because somebody asked for just this version.
    pub standing: Standing,
    /// As of when it is so: when a caller put it, when the source was asked for it, or the date
    /// of the delivery that it came with. What is as of an earlier date does not replace it.
    pub as_of: Date,
}

impl Metadata {
    /// Whether it is active at a date: not before its activation, and before its expiration.
    #[must_use]
    pub fn is_active(&self, at: Date) -> bool {
        self.activation <= at && at < self.expiration
    }

    /// Which of two versions a lookup without a version prefers: the greater one.
    pub(crate) fn preference(&self, other: &Self) -> Ordering {
        let by_activation = self.activation.cmp(&other.activation);
        by_activation
            .then_with(|| self.standing.cmp(&other.standing))
            .then_with(|| self.created_at.cmp(&other.created_at))
            .then_with(|| self.version.as_str().as_bytes().cmp(other.version.as_str().as_bytes()))
    }
}

/// One version of a secret.
#[derive(Clone, Debug)]
pub struct Secret {
    /// What is known of it.
    pub metadata: Arc<Metadata>,
    /// Its value.
    pub value: Value,
}

/// A secret before it is stored: from a caller or a source.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The name.
    pub name: SecretName,
    /// The version; `default` when there is none.
    pub version: Option<SecretVersion>,
    /// The value.
    pub value: Value,
    /// From when it is active.
    pub activation: Date,
    /// From when it is no longer active.
    pub expiration: Date,
    /// What the value is.
    pub content_type: Option<ContentType>,
    /// Notes.
    pub tags: Tags,
}

impl Draft {
    /// A secret that is active since ever and never expires.
    #[must_use]
    pub fn new(name: SecretName, version: Option<SecretVersion>, value: Value) -> Self {
        Self {
            name,
            version,
            value,
            activation: Date::MIN,
            expiration: Date::NEVER,
            content_type: None,
            tags: Tags::default(),
        }
    }

    /// Whether there is a date at which it is active.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.activation < self.expiration
    }

    /// The version under which it will be stored.
    #[must_use]
    pub fn stored_version(&self) -> SecretVersion {
        self.version.clone().unwrap_or_else(SecretVersion::unnamed)
    }

    /// The secret as it is stored: `before` is the version that it replaces.
    #[must_use]
    pub fn into_secret(self, before: Option<&Metadata>, stamp: &Stamp<'_>) -> Secret {
        let Stamp { standing, at, by, as_of } = *stamp;
        let version = self.stored_version();
        let metadata = Metadata {
            name: self.name,
            version,
            activation: self.activation,
            expiration: self.expiration,
            content_type: self.content_type,
            tags: self.tags,
            created_at: before.map_or(at, |before| before.created_at),
            created_by: before.map_or_else(|| by.clone(), |before| before.created_by.clone()),
            updated_at: at,
            updated_by: by.clone(),
            standing: before.map_or(standing, |before| before.standing.max(standing)),
            as_of,
        };
        Secret { metadata: Arc::new(metadata), value: self.value }
    }
}

/// How a version came to be known. An old version that somebody asked the source for by name is
/// the one created last here, and must not pass for the newest for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It came because it was asked for.
    AskedFor,
    /// A caller put it, or the source offered it among all versions or of its own accord.
    Offered,
}

impl Standing {
    /// The word in contexts and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AskedFor => "asked-for",
            Self::Offered => "offered",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::AskedFor, Self::Offered].into_iter().find(|standing| standing.as_str() == text)
    }
}

/// When something is stored, by whom, how it came, and as of when it is so.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// How it came; a version that was offered once stays so.
    pub standing: Standing,
    /// When it is stored.
    pub at: Date,
    /// Who stores it.
    pub by: &'a Author,
    /// As of when it is so.
    pub as_of: Date,
}

/// The trace of a deleted secret, which keeps older copies of it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The name.
    pub name: SecretName,
    /// The version; all of them when there is none.
    pub version: Option<SecretVersion>,
    /// When it was deleted.
    pub deleted_at: Date,
    /// Who deleted it.
    pub deleted_by: Author,
}

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The name.
    pub name: SecretName,
    /// The version, and no other; the preferred one when there is none.
    pub version: Option<SecretVersion>,
    /// The date at which it must be active; any when there is none.
    pub at: Option<Date>,
}

/// Finds the version that a query means: the one it names, or of the active ones that with the
/// latest activation, then one that was offered, then the latest creation, then the greatest
/// version text.
pub fn select<'a, M: AsRef<Metadata>>(
    versions: impl IntoIterator<Item = &'a M>,
    query: &Query,
) -> Option<&'a M> {
    let fits = |candidate: &&M| {
        let candidate = candidate.as_ref();
        candidate.name == query.name
            && query.version.as_ref().is_none_or(|version| candidate.version == *version)
            && query.at.is_none_or(|at| candidate.is_active(at))
    };
    let fitting = versions.into_iter().filter(fits);
    fitting.max_by(|one, other| one.as_ref().preference(other.as_ref()))
}

impl AsRef<Self> for Metadata {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsRef<Metadata> for Secret {
    fn as_ref(&self) -> &Metadata {
        &self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "2026-01-01T00:00:00Z";
    const SECOND: &str = "2026-02-01T00:00:00Z";
    const THIRD: &str = "2026-03-01T00:00:00Z";

    fn date(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    fn stamp(at: Date, by: &Author) -> Stamp<'_> {
        Stamp { standing: Standing::Offered, at, by, as_of: at }
    }

    fn version(version: &str, activation: &str, expiration: &str, created: &str) -> Arc<Metadata> {
        let value = Value::new(Zeroizing::default()).unwrap();
        let draft = Draft {
            activation: date(activation),
            expiration: date(expiration),
            ..Draft::new("a".parse().unwrap(), Some(version.parse().unwrap()), value)
        };
        draft.into_secret(None, &stamp(date(created), &Author::user(0))).metadata
    }

    #[track_caller]
    fn check(versions: &[Arc<Metadata>], asked: Option<&str>, at: &str, found: Option<&str>) {
        let query = Query {
            name: "a".parse().unwrap(),
            version: asked.map(|version| version.parse().unwrap()),
            at: (!at.is_empty()).then(|| date(at)),
        };
        let selected = select(versions, &query).map(|metadata| metadata.version.as_str());
        assert_eq!(selected, found);
    }

    #[test]
    fn m4_newest_activation_is_found_whatever_the_order() {
        let one = version("v1", FIRST, THIRD, SECOND);
        let two = version("v2", SECOND, THIRD, FIRST);
        check(&[Arc::clone(&one), Arc::clone(&two)], None, SECOND, Some("v2"));
        check(&[two, one], None, SECOND, Some("v2"));
    }

    #[test]
    fn m4_version_that_is_not_yet_active_is_passed_over() {
        let versions = [version("v1", FIRST, THIRD, FIRST), version("v2", SECOND, THIRD, FIRST)];
        check(&versions, None, "2026-01-15T00:00:00Z", Some("v1"));
    }

    #[test]
    fn m4_same_activation_is_decided_by_creation_then_by_version_text() {
        let later = version("v1", FIRST, THIRD, SECOND);
        check(&[later, version("v2", FIRST, THIRD, FIRST)], None, SECOND, Some("v1"));
        let equal = [version("v1", FIRST, THIRD, FIRST), version("v2", FIRST, THIRD, FIRST)];
        check(&equal, None, SECOND, Some("v2"));
    }

    #[test]
    fn m4_version_that_was_asked_for_is_behind_those_that_were_offered() {
        let asked = version("v1", FIRST, THIRD, SECOND);
        let asked = Metadata { standing: Standing::AskedFor, ..Metadata::clone(&asked) };
        check(&[asked.into(), version("v2", FIRST, THIRD, FIRST)], None, SECOND, Some("v2"));
    }

    #[test]
    fn m5_activation_hits_and_expiration_misses() {
        let versions = [version("v1", FIRST, SECOND, FIRST)];
        check(&versions, None, FIRST, Some("v1"));
        check(&versions, None, "2025-12-31T23:59:59.999999999Z", None);
        check(&versions, None, SECOND, None);
        check(&versions, None, "2026-01-31T23:59:59.999999999Z", Some("v1"));
    }

    #[test]
    fn m6_version_asked_for_is_that_one_or_nothing() {
        let versions = [version("v1", FIRST, SECOND, FIRST), version("v2", FIRST, THIRD, FIRST)];
        check(&versions, Some("v1"), FIRST, Some("v1"));
        check(&versions, Some("v1"), SECOND, None);
        check(&versions, Some("v3"), FIRST, None);
    }

    #[test]
    fn query_without_a_date_takes_every_version_as_active() {
        let versions = [version("v1", FIRST, SECOND, FIRST)];
        check(&versions, None, "", Some("v1"));
        check(&versions, Some("v1"), "", Some("v1"));
    }

    #[test]
    fn m11_draft_without_a_version_is_stored_as_default() {
        let value = Value::new(Zeroizing::default()).unwrap();
        let draft = Draft::new("a".parse().unwrap(), None, value);
        let secret = draft.into_secret(None, &stamp(Date::MIN, &Author::user(0)));
        assert_eq!(secret.metadata.version.as_str(), "default");
    }

    #[test]
    fn replacing_a_version_keeps_who_created_it() {
        let before = version("v1", FIRST, SECOND, FIRST);
        let value = Value::new(Zeroizing::default()).unwrap();
        let draft = Draft::new("a".parse().unwrap(), Some("v1".parse().unwrap()), value);
        let after =
            draft.into_secret(Some(&before), &stamp(date(THIRD), &Author::user(7))).metadata;
        assert_eq!((after.created_at, after.created_by.as_str()), (date(FIRST), "uid:0"));
        assert_eq!((after.updated_at, after.updated_by.as_str()), (date(THIRD), "uid:7"));
    }

    #[test]
    fn value_at_limit_is_accepted() {
        assert!(Value::new(vec![0; SECRET_VALUE_MAX_BYTES].into()).is_ok());
    }

    #[test]
    fn value_one_past_limit_is_too_large() {
        let fault = Value::new(vec![0; SECRET_VALUE_MAX_BYTES + 1].into()).unwrap_err();
        assert_eq!(fault.to_string(), "too_large: value of 1048577 bytes exceeds limit of 1048576");
    }

    #[test]
    fn debug_shows_no_value() {
        let value = Value::new(b"marker".to_vec().into()).unwrap();
        let draft = Draft::new("a".parse().unwrap(), None, value);
        let secret = draft.clone().into_secret(None, &stamp(Date::MIN, &Author::user(0)));
        let shown = format!("{draft:?} {secret:?}");
        assert!(!shown.contains("marker") && !shown.contains("109, 97"), "{shown}");
    }
}
