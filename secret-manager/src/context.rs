//! The encryption contexts of `docs/secrets.md` sections 4 and 5: what is authenticated beside a
//! value, a tombstone and the state of a store.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use wire::code::Fault;
use wire::context::EncryptionContext;
use wire::secrets::{Date, SecretVersion};

use crate::secret::{Metadata, Tombstone};

/// A SHA-256.
pub(crate) type Digest = [u8; 32];

/// A random number, written as 32 hex digits: the id of a store or of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id([u8; 16]);

impl Id {
    /// Draws an id; `None` when the system gives no randomness.
    pub(crate) fn draw() -> Option<Self> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The context of a value.
pub(crate) fn of_secret(
    store: &Id,
    write: &Id,
    metadata: &Metadata,
) -> Result<EncryptionContext, Fault> {
    // Taken apart by name, so that a new field cannot be left unauthenticated.
    let Metadata {
        name,
        version,
        activation,
        expiration,
        content_type,
        tags,
        created_at,
        created_by,
        updated_at,
        updated_by,
        standing,
        as_of,
    } = metadata;
    let mut entries = entries("secret/1", store);
    let fields = [
        ("write", hex(write.as_bytes())),
        ("name", name.to_string()),
        ("version", version.to_string()),
        ("activation", activation.to_string()),
        ("expiration", expiration.to_string()),
        ("created_at", created_at.to_string()),
        ("created_by", created_by.to_string()),
        ("updated_at", updated_at.to_string()),
        ("updated_by", updated_by.to_string()),
        ("standing", standing.as_str().to_owned()),
        ("as_of", as_of.to_string()),
    ];
    entries.extend(fields.map(|(key, value)| (key.to_owned(), value)));
    if let Some(content_type) = content_type {
        entries.insert("content_type".to_owned(), content_type.to_string());
    }
    let tags = tags.entries().iter();
    entries.extend(tags.map(|(name, value)| (format!("tag.{name}"), value.clone())));
    EncryptionContext::new(entries)
}

/// The context that stands for a tombstone in the digest of a state.
pub(crate) fn of_tombstone(store: &Id, tombstone: &Tombstone) -> Result<EncryptionContext, Fault> {
    let Tombstone { name, version, deleted_at, deleted_by } = tombstone;
    let mut entries = entries("tombstone/1", store);
    let fields = [
        ("name", name.to_string()),
        ("version", version.as_ref().map(SecretVersion::to_string).unwrap_or_default()),
        ("deleted_at", deleted_at.to_string()),
        ("deleted_by", deleted_by.to_string()),
    ];
    entries.extend(fields.map(|(key, value)| (key.to_owned(), value)));
    EncryptionContext::new(entries)
}

/// The context of a state.
pub(crate) fn of_state(
    store: &Id,
    number: u64,
    clock: Date,
    digest: &Digest,
) -> Result<EncryptionContext, Fault> {
    let mut entries = entries("state/1", store);
    let fields =
        [("number", number.to_string()), ("clock", clock.to_string()), ("digest", hex(digest))];
    entries.extend(fields.map(|(key, value)| (key.to_owned(), value)));
    EncryptionContext::new(entries)
}

/// What stands for a context in the digest of a state.
pub(crate) fn digest_of(context: &EncryptionContext) -> Digest {
    sha256(context.canonical())
}

/// The digest of a state: over those of its rows, in their order.
pub(crate) fn digest_of_state<'a>(rows: impl Iterator<Item = &'a Digest>) -> Digest {
    let mut input = b"sealhost.secrets/state/1\0".to_vec();
    rows.for_each(|row| input.extend_from_slice(row));
    sha256(&input)
}

fn sha256(input: &[u8]) -> Digest {
    let mut output = [0; 32];
    output.iter_mut().zip(digest(&SHA256, input).as_ref()).for_each(|(to, from)| *to = *from);
    output
}

fn entries(format: &str, store: &Id) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("sealhost.secrets".to_owned(), format.to_owned()),
        ("store".to_owned(), hex(store.as_bytes())),
    ])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use wire::limits::CONTEXT_MAX_BYTES;
    use wire::secrets::{
        AUTHOR_MAX_BYTES, Author, CONTENT_TYPE_MAX_BYTES, SECRET_NAME_MAX_BYTES,
        TAG_NAME_MAX_BYTES, TAG_VALUE_MAX_BYTES, TAGS_MAX, Tags, VERSION_MAX_BYTES,
    };

    use super::*;
    use crate::secret::Standing;

    fn metadata() -> Metadata {
        Metadata {
            name: "db/password".parse().unwrap(),
            version: "v1".parse().unwrap(),
            activation: Date::MIN,
            expiration: Date::NEVER,
            content_type: None,
            tags: Tags::default(),
            created_at: Date::MIN,
            created_by: Author::user(0),
            updated_at: Date::MIN,
            updated_by: Author::user(0),
            standing: Standing::Offered,
            as_of: Date::MIN,
        }
    }

    /// Each change gives another context.
    fn check(change: impl FnOnce(&mut Metadata)) {
        let (store, write) = (Id([1; 16]), Id([2; 16]));
        let before = of_secret(&store, &write, &metadata()).unwrap();
        let mut changed = metadata();
        change(&mut changed);
        assert!(before != of_secret(&store, &write, &changed).unwrap());
    }

    #[test]
    fn every_field_of_the_metadata_is_in_the_context() {
        let date = Date::MIN.next();
        check(|it| it.name = "db/passwords".parse().unwrap());
        check(|it| it.version = "v2".parse().unwrap());
        check(|it| it.activation = date);
        check(|it| it.expiration = date);
        check(|it| it.content_type = Some("text/plain".parse().unwrap()));
        check(|it| it.tags = Tags::new([("a".to_owned(), "b".to_owned())].into()).unwrap());
        check(|it| it.created_at = date);
        check(|it| it.created_by = Author::user(1));
        check(|it| it.updated_at = date);
        check(|it| it.updated_by = Author::user(1));
        check(|it| it.standing = Standing::AskedFor);
        check(|it| it.as_of = date);
    }

    #[test]
    fn store_and_write_are_in_the_context() {
        let of = |store, write| of_secret(&Id([store; 16]), &Id([write; 16]), &metadata()).unwrap();
        assert!(of(1, 2) != of(2, 2) && of(1, 2) != of(1, 1));
    }

    #[test]
    fn tag_cannot_take_the_place_of_a_field() {
        let tags = Tags::new([("name".to_owned(), "other".to_owned())].into()).unwrap();
        let context =
            of_secret(&Id([1; 16]), &Id([2; 16]), &Metadata { tags, ..metadata() }).unwrap();
        assert_eq!(context.entries()["name"], "db/password");
        assert_eq!(context.entries()["tag.name"], "other");
    }

    #[test]
    fn longest_metadata_fits_into_the_context_of_the_host() {
        let text = |length: usize| "x".repeat(length);
        let tag = |number: usize| {
            let name = format!("{number:02}{}", text(TAG_NAME_MAX_BYTES - 2));
            (name, text(TAG_VALUE_MAX_BYTES))
        };
        let author: Author = text(AUTHOR_MAX_BYTES).parse().unwrap();
        let longest = Metadata {
            name: text(SECRET_NAME_MAX_BYTES).parse().unwrap(),
            version: text(VERSION_MAX_BYTES).parse().unwrap(),
            content_type: Some(text(CONTENT_TYPE_MAX_BYTES).parse().unwrap()),
            tags: Tags::new((0..TAGS_MAX).map(tag).collect()).unwrap(),
            created_by: author.clone(),
            updated_by: author,
            ..metadata()
        };
        let context = of_secret(&Id([1; 16]), &Id([2; 16]), &longest).unwrap();
        assert!(context.canonical().len() <= CONTEXT_MAX_BYTES);
    }

    #[test]
    fn tombstones_of_a_name_and_of_a_version_differ() {
        let store = Id([1; 16]);
        let of = |version: Option<&str>| {
            let tombstone = Tombstone {
                name: "a".parse().unwrap(),
                version: version.map(|version| version.parse().unwrap()),
                deleted_at: Date::MIN,
                deleted_by: Author::user(0),
            };
            of_tombstone(&store, &tombstone).unwrap()
        };
        assert!(of(None) != of(Some("v1")));
    }

    #[test]
    fn digest_of_a_state_depends_on_the_order_and_number_of_rows() {
        let (one, two) = ([1; 32], [2; 32]);
        let of = |rows: &[Digest]| digest_of_state(rows.iter());
        assert!(of(&[one, two]) != of(&[two, one]) && of(&[one]) != of(&[one, one]));
    }
}
