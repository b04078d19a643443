//! Says where JSON does not fit a type: it names the type's fields, and never quotes the value.
//!
//! serde's messages quote values, so none of them is used. A text that did not decode is decoded
//! again, with an error type that cannot hold a value: it has only names that the type declares
//! (`&'static str`) and kinds of values.

use std::fmt::{self, Display, Write};

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;

/// How a value does not fit its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Misfit {
    Missing(&'static str),
    Twice(&'static str),
    UnknownField,
    UnknownVariant,
    Kind(&'static str),
    Range,
    Length,
    /// A type with rules of its own, or one that only serde_json itself can read.
    Other,
}

/// A misfit, and the path of fields to it, innermost first.
#[derive(Debug)]
struct Wrong {
    misfit: Misfit,
    path: Vec<&'static str>,
}

impl Wrong {
    fn new(misfit: Misfit) -> Wrong {
        Wrong { misfit, path: Vec::new() }
    }

    fn in_field(mut self, field: Option<&'static str>) -> Wrong {
        self.path.extend(field);
        self
    }

    /// The text for a message; none if nothing is known that names no value.
    fn told(self) -> Option<String> {
        let mut path: Vec<&str> = self.path.into_iter().rev().collect();
        if let Misfit::Missing(field) | Misfit::Twice(field) = self.misfit {
            path.push(field);
        }
        let mut text = match path.is_empty() {
            true => "a value".to_owned(),
            false => format!("the field `{}`", path.join(".")),
        };
        let told = match self.misfit {
            Misfit::Missing(_) => write!(text, " is missing; give new fields a serde default"),
            Misfit::Twice(_) => write!(text, " is there twice"),
            Misfit::UnknownField => write!(text, " has a field that its type does not know"),
            Misfit::UnknownVariant => write!(text, " is none of the variants of its type"),
            Misfit::Kind(found) => write!(text, " is {found}, which its type is not"),
            Misfit::Range => write!(text, " is out of the range of its type"),
            Misfit::Length => write!(text, " is a list of another length"),
            Misfit::Other if path.is_empty() => return None,
            Misfit::Other => write!(text, " is not what its type takes"),
        };
        told.ok().map(|()| text)
    }
}

/// serde's `Error` requires it; it is never printed.
impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of another shape")
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: Display>(_: T) -> Wrong {
        Wrong::new(Misfit::Other)
    }

    fn invalid_type(found: Unexpected<'_>, _: &dyn Expected) -> Wrong {
        Wrong::new(Misfit::Kind(match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
            Unexpected::Float(_) => "a number with a fraction",
            Unexpected::Char(_) | Unexpected::Str(_) => "a text",
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Seq | Unexpected::Bytes(_) => "a list",
            Unexpected::Map => "a map",
            _ => return Wrong::new(Misfit::Other),
        }))
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Wrong {
        Wrong::new(Misfit::Range)
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Wrong {
        Wrong::new(Misfit::Length)
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Wrong {
        Wrong::new(Misfit::UnknownVariant)
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Wrong {
        Wrong::new(Misfit::UnknownField)
    }

    fn missing_field(field: &'static str) -> Wrong {
        Wrong::new(Misfit::Missing(field))
    }

    fn duplicate_field(field: &'static str) -> Wrong {
        Wrong::new(Misfit::Twice(field))
    }
}

/// Why JSON does not decode as a `T`; none if it is not JSON, or nothing can be said without naming
/// a value.
pub(super) fn misfit<T: DeserializeOwned>(json: &str) -> Option<String> {
    let value: Value = serde_json::from_str(json).ok()?;
    T::deserialize(Shape(&value)).err()?.told()
}

/// The deserializer of one value.
#[derive(Clone, Copy)]
struct Shape<'v>(&'v Value);

impl<'de> IntoDeserializer<'de, Wrong> for Shape<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Shape<'_> {
    /// Visits the value; `fields`: those of a struct.
    fn visit<'de, V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(is_so) => visitor.visit_bool(*is_so),
            Value::Number(n) => match (n.as_u64(), n.as_i64(), n.as_f64()) {
                (Some(n), ..) => visitor.visit_u64(n),
                (_, Some(n), _) => visitor.visit_i64(n),
                (.., Some(n)) => visitor.visit_f64(n),
                _ => Err(Wrong::new(Misfit::Other)),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Array(list) => {
                let mut elements = SeqDeserializer::new(list.iter().map(Shape));
                let read = visitor.visit_seq(&mut elements)?;
                elements.end().map(|()| read)
            }
            Value::Object(map) => visitor.visit_map(Entries { left: map.iter(), fields, entry: None }),
        }
    }

    /// A whole number that needs 128 bits, which `Value` holds as a float; its exact value does not
    /// matter here.
    fn wide(self) -> Option<f64> {
        self.0.as_f64().filter(|n| n.fract() == 0.0 && !self.0.is_u64() && !self.0.is_i64())
    }
}

impl<'de> Deserializer<'de> for Shape<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.visit(&[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.visit(fields, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let (variant, content) = match self.0 {
            Value::String(variant) => (variant, None),
            Value::Object(map) if map.len() == 1 => match map.iter().next() {
                Some((variant, content)) => (variant, Some(Shape(content))),
                None => return Err(Wrong::new(Misfit::UnknownVariant)),
            },
            _ => return Err(Wrong::new(Misfit::UnknownVariant)),
        };
        visitor.visit_enum(Variant { variant, content })
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.wide() {
            Some(n) => visitor.visit_i128(n as i128),
            None => self.visit(&[], visitor),
        }
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.wide() {
            Some(n) => visitor.visit_u128(n as u128),
            None => self.visit(&[], visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

/// The entries of a map, or the fields of a struct.
struct Entries<'v> {
    left: serde_json::map::Iter<'v>,
    fields: &'static [&'static str],
    /// The next value, and its field if the type declares it.
    entry: Option<(&'v Value, Option<&'static str>)>,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        let Some((key, value)) = self.left.next() else { return Ok(None) };
        let field = self.fields.iter().copied().find(|field| field == key);
        self.entry = Some((value, field));
        seed.deserialize(MapKey(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        let (value, field) = self.entry.take().ok_or_else(|| Wrong::new(Misfit::Other))?;
        seed.deserialize(Shape(value)).map_err(|wrong| wrong.in_field(field))
    }
}

/// The key of a map: a text, or a type that serde_json writes as text (numbers, bools).
struct MapKey<'v>(&'v str);

macro_rules! keys {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match serde_json::from_str::<Value>(self.0) {
                Ok(value) => Shape(&value).$method(visitor),
                Err(_) => Err(Wrong::new(Misfit::Other)),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for MapKey<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_str(self.0)
    }

    keys! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_enum(Variant { variant: self.0, content: None })
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A variant of an enum.
struct Variant<'v> {
    variant: &'v str,
    content: Option<Shape<'v>>,
}

impl<'de, 'v> de::EnumAccess<'de> for Variant<'v> {
    type Error = Wrong;
    type Variant = Variant<'v>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Wrong> {
        let variant = seed.deserialize(StrDeserializer::new(self.variant))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        self.content.map_or(Ok(()), Deserialize::deserialize)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Wrong> {
        seed.deserialize(self.needed()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.needed()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.needed()?.visit(fields, visitor)
    }
}

impl<'v> Variant<'v> {
    /// The content of a variant that must have some.
    fn needed(&self) -> Result<Shape<'v>, Wrong> {
        self.content.ok_or_else(|| Wrong::new(Misfit::Kind("a text")))
    }
}
