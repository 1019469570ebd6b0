//! One item, or `{"items": […]}`. Written by hand, because serde's untagged enums and flattened
//! fields would copy secrets into buffers that nobody wipes.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::decode::{Request, Strict};
use crate::code::{Code, Fault, Problem};
use crate::limits::BATCH_MAX_ITEMS;

const ITEMS: &str = "items";
const ERROR: &str = "error";

/// A request of `seal`, `unseal`, `rewrap` or `mac`: one item, or a batch.
///
/// # Limits
/// A batch has 1 to 256 items: none is `invalid`, one more is `too_large`.
#[derive(Debug)]
pub enum OneOrItems<T> {
    /// The object is the item.
    One(T),
    /// `{"items": […]}`.
    Items(Vec<T>),
}

/// The reply to a [`OneOrItems`], in the same shape and order.
#[derive(Debug)]
pub enum OneOrResults<T> {
    /// The object is the reply.
    One(T),
    /// `{"items": […]}`.
    Items(Vec<ItemResult<T>>),
}

/// The reply to one item of a batch, or `{"error": {…}}`.
#[derive(Debug)]
pub enum ItemResult<T> {
    /// What the item asked for.
    Done(T),
    /// Why it could not be done.
    Failed(Problem),
}

impl<T: Request> Request for OneOrItems<T> {
    fn check(&self) -> Result<(), Fault> {
        match self {
            Self::One(item) => item.check(),
            Self::Items(items) => items.iter().try_for_each(T::check),
        }
    }
}

impl<T: Serialize> Serialize for OneOrItems<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(item) => item.serialize(serializer),
            Self::Items(items) => only_entry(serializer, ITEMS, items),
        }
    }
}

impl<T: Serialize> Serialize for OneOrResults<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(reply) => reply.serialize(serializer),
            Self::Items(items) => only_entry(serializer, ITEMS, items),
        }
    }
}

impl<T: Serialize> Serialize for ItemResult<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Done(reply) => reply.serialize(serializer),
            Self::Failed(problem) => only_entry(serializer, ERROR, problem),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrItems<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_map(EitherVisitor::<Items<Strict<T>>, T>::of(ITEMS))? {
            Either::Named(items) => {
                Self::Items(items.0.into_iter().map(|Strict(item)| item).collect())
            }
            Either::Plain(item) => Self::One(item),
        })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrResults<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Results<T> = Items<ItemResult<T>>;
        Ok(match deserializer.deserialize_map(EitherVisitor::<Results<T>, T>::of(ITEMS))? {
            Either::Named(items) => Self::Items(items.0),
            Either::Plain(reply) => Self::One(reply),
        })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ItemResult<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_map(EitherVisitor::<Problem, T>::of(ERROR))? {
            Either::Named(problem) => Self::Failed(problem),
            Either::Plain(reply) => Self::Done(reply),
        })
    }
}

/// An object with one field of a given name, or an object without a field of that name.
enum Either<N, P> {
    Named(N),
    Plain(P),
}

/// Decides by the first field's name: the named form has no other field.
struct EitherVisitor<N, P> {
    name: &'static str,
    forms: PhantomData<(N, P)>,
}

impl<N, P> EitherVisitor<N, P> {
    fn of(name: &'static str) -> Self {
        Self { name, forms: PhantomData }
    }
}

impl<'de, N: Deserialize<'de>, P: Deserialize<'de>> Visitor<'de> for EitherVisitor<N, P> {
    type Value = Either<N, P>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let first = map.next_key::<String>()?;
        if first.as_deref() != Some(self.name) {
            let resumed = Resumed { first, map };
            return P::deserialize(MapAccessDeserializer::new(resumed)).map(Either::Plain);
        }
        let named = map.next_value()?;
        match map.next_key::<String>()? {
            None => Ok(Either::Named(named)),
            Some(key) => Err(A::Error::unknown_field(&key, &[])),
        }
    }
}

/// A map whose first key has been read already.
struct Resumed<A> {
    first: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Resumed<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(key) => seed.deserialize(StringDeserializer::new(key)).map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// A list within the limits of a batch.
struct Items<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor(PhantomData))
    }
}

struct ItemsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ItemsVisitor<T> {
    type Value = Items<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == BATCH_MAX_ITEMS {
                let detail = format!("batch exceeds limit of {BATCH_MAX_ITEMS} items");
                return Err(A::Error::custom(Fault::new(Code::TooLarge, detail)));
            }
            items.push(item);
        }
        if items.is_empty() {
            return Err(A::Error::custom(Fault::new(Code::Invalid, "batch has no items")));
        }
        Ok(Items(items))
    }
}

fn only_entry<S: Serializer>(
    serializer: S,
    name: &'static str,
    value: &impl Serialize,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(name, value)?;
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{MacItem, decode};

    #[derive(Debug, Serialize, Deserialize)]
    struct Reply {
        version: u32,
    }

    fn macs(body: &str) -> Result<OneOrItems<MacItem>, Fault> {
        decode(body.as_bytes())
    }

    fn refused(body: &str, code: Code) {
        assert_eq!(macs(body).unwrap_err().code, code, "{body}");
    }

    fn batch_of(items: usize) -> String {
        format!(r#"{{"items":[{}]}}"#, vec![r#"{"message":"AA=="}"#; items].join(","))
    }

    #[test]
    fn one_item_is_read() {
        let request = macs(r#"{"version":3,"message":"AAE="}"#).unwrap();
        assert!(matches!(request, OneOrItems::One(MacItem { version: Some(3), .. })));
    }

    #[test]
    fn batch_at_limit_is_read_in_order() {
        let Ok(OneOrItems::Items(items)) = macs(&batch_of(BATCH_MAX_ITEMS)) else {
            panic!("not a batch")
        };
        assert_eq!(items.len(), BATCH_MAX_ITEMS);
        assert!(items.iter().all(|item| item.message.as_bytes() == [0]));
    }

    #[test]
    fn batch_one_past_limit_is_too_large() {
        refused(&batch_of(BATCH_MAX_ITEMS + 1), Code::TooLarge);
    }

    #[test]
    fn batch_without_items_is_invalid() {
        refused(&batch_of(0), Code::Invalid);
    }

    #[test]
    fn batch_with_another_field_is_malformed() {
        refused(r#"{"items":[{"message":""}],"message":""}"#, Code::Malformed);
        refused(r#"{"message":"","items":[]}"#, Code::Malformed);
        refused(r#"{"items":[{"message":""}],"items":[{"message":""}]}"#, Code::Malformed);
    }

    #[test]
    fn item_that_is_not_an_object_is_malformed() {
        refused(r#"{"items":[["AA==",null]]}"#, Code::Malformed);
        refused(r#"{"items":{"message":""}}"#, Code::Malformed);
        refused(r#"["AA==",null]"#, Code::Malformed);
    }

    #[test]
    fn item_with_unknown_or_duplicate_field_is_malformed() {
        refused(r#"{"items":[{"message":"","context":{}}]}"#, Code::Malformed);
        refused(r#"{"message":"","message":""}"#, Code::Malformed);
        refused("{}", Code::Malformed);
    }

    #[test]
    fn results_round_trip() {
        let failed = Problem::new(Fault::new(Code::Integrity, "does not open"), "r");
        let results = OneOrResults::Items(vec![
            ItemResult::Done(Reply { version: 1 }),
            ItemResult::Failed(failed.clone()),
        ]);
        let json = serde_json::to_string(&results).unwrap();
        assert!(json.starts_with(r#"{"items":[{"version":1},{"error":{"type":"#), "{json}");
        let Ok(OneOrResults::Items(read)) = serde_json::from_str::<OneOrResults<Reply>>(&json)
        else {
            panic!("not a batch")
        };
        assert!(
            matches!(&read[..], [ItemResult::Done(Reply { version: 1 }), ItemResult::Failed(problem)] if *problem == failed)
        );
    }
}
