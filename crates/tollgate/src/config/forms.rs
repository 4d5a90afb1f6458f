//! The forms that values take in a configuration, beside what serde knows: a text or a section, a list with gaps, a
//! mapping in the order of the file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{self, MapAccessDeserializer};
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// What can be said by a text alone.
pub(super) trait FromText {
    /// The JSON types that stand for the text.
    const TYPES: &'static [&'static str] = &["string"];

    fn from_text(text: String) -> Self;
}

/// A section, or the text that says the same in short.
#[derive(Debug)]
pub(super) struct Short<T>(pub(super) T);

impl<T: JsonSchema + FromText> JsonSchema for Short<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let types = match T::TYPES {
            [one] => serde_json::json!(one),
            several => serde_json::json!(several),
        };
        json_schema!({ "anyOf": [{ "type": types }, generator.subschema_for::<T>()] })
    }
}

impl<'de, T: Deserialize<'de> + FromText> Deserialize<'de> for Short<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + FromText> Visitor<'de> for Either<T> {
            type Value = Short<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a mapping")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Short(T::from_text(text.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Short)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// Any JSON; read from the tree itself, where numbers keep their digits.
#[derive(Debug, Deserialize)]
pub(super) struct AnyJson(IgnoredAny);

impl JsonSchema for AnyJson {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AnyJson".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

/// A text that may be written as a number or a truth value.
#[derive(Debug, Deserialize)]
pub(super) struct Scalar(pub(super) String);

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// A list in which a refused item has left its place empty, so that the others keep their numbers.
#[derive(Debug, Deserialize)]
pub(super) struct Items<T>(Vec<Option<T>>);

impl<T> Items<T> {
    /// The items and their numbers.
    pub(super) fn iter(list: Option<&Self>) -> impl Iterator<Item = (usize, &T)> {
        list.into_iter()
            .flat_map(|list| list.0.iter().enumerate())
            .filter_map(|(index, item)| Some((index, item.as_ref()?)))
    }
}

impl<T: JsonSchema> JsonSchema for Items<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Vec::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<T>::json_schema(generator)
    }
}

/// A text, or a list of texts.
#[derive(Debug)]
pub(super) struct Several(Vec<Option<String>>);

impl Several {
    /// The texts and, of a list, their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.iter().enumerate().filter_map(|(index, text)| Some((index, text.as_deref()?)))
    }
}

impl JsonSchema for Several {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Several".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

impl<'de> Deserialize<'de> for Several {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(String),
            List(Vec<Option<String>>),
        }

        Ok(Self(match Either::deserialize(deserializer)? {
            Either::One(text) => vec![Some(text)],
            Either::List(texts) => texts,
        }))
    }
}

/// A mapping with free keys, in the order of the file.
#[derive(Debug)]
pub(super) struct Keyed<T>(Vec<(String, T)>);

impl<T> Keyed<T> {
    pub(super) fn iter(map: Option<&Self>) -> impl Iterator<Item = (&str, &T)> {
        map.into_iter().flat_map(|map| map.0.iter()).map(|(key, value)| (key.as_str(), value))
    }
}

impl<T: JsonSchema> JsonSchema for Keyed<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        BTreeMap::<String, T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Keyed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Keyed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Keyed(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// Under which key a schema lists its keys in the order of the type. JSON objects have none of their own.
pub(super) const ORDER_KEY: &str = "x-order";

/// The keys of a section in the order of its type, as serde knows them.
pub(super) fn keys<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    struct Listener<'l>(&'l mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Listener<'_> {
        type Error = value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(value::Error::custom("only listens"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields: &'static [&'static str] = &[];
    // It always fails: only what serde asks for is of interest.
    let _ = T::deserialize(Listener(&mut fields));
    fields
}
