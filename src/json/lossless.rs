//! A serializer that refuses values that cannot be read back from JSON unchanged.
//!
//! It wraps another serializer and passes everything on, except numbers that are not finite
//! (serde_json writes them as `null`) and values that are nested deeper than serde_json reads. So a
//! value that refers to itself is refused too, before the stack overflows.

use std::cell::Cell;
use std::fmt::Display;

use serde::Serialize;
use serde::ser::{self, Serializer};

/// The deepest nesting of lists and maps that serde_json reads.
pub(super) const MAX_DEPTH: usize = 127;

/// Struct names with this prefix are serde_json's own (raw values, numbers), and are written
/// without a bracket.
const PRIVATE: &str = "$serde_json::private";

/// Why a value cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    NotFinite,
    TooDeep,
}

/// What was refused: why, and in which field of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub why: Why,
    /// The innermost field, as its type declares it.
    pub field: Option<&'static str>,
}

/// A value to serialize through [`Strict`].
pub(super) struct Strictly<'a, T: ?Sized> {
    value: &'a T,
    /// Brackets that are open around it.
    depth: usize,
    refused: &'a Cell<Option<Refused>>,
}

impl<'a, T: ?Sized> Strictly<'a, T> {
    /// A whole value. A refusal is stored in `refused`; the error that serializing returns then has
    /// no details.
    pub(super) fn new(value: &'a T, refused: &'a Cell<Option<Refused>>) -> Strictly<'a, T> {
        Strictly { value, depth: 0, refused }
    }
}

impl<T: Serialize + ?Sized> Serialize for Strictly<'_, T> {
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Strict { inner, depth: self.depth, refused: self.refused })
    }
}

/// The wrapper of a serializer, or of the writer of a list or map.
pub(super) struct Strict<'a, S> {
    inner: S,
    depth: usize,
    refused: &'a Cell<Option<Refused>>,
}

impl<'a, S> Strict<'a, S> {
    fn within<'v, T: ?Sized>(&self, value: &'v T) -> Strictly<'v, T>
    where
        'a: 'v,
    {
        Strictly { value, depth: self.depth, refused: self.refused }
    }

    fn refuse<E: ser::Error>(&self, why: Why) -> E {
        self.refused.set(Some(Refused { why, field: None }));
        E::custom("it cannot be kept as JSON")
    }

    /// Goes this many brackets deeper.
    fn open<E: ser::Error>(&mut self, brackets: usize) -> Result<(), E> {
        self.depth += brackets;
        if self.depth > MAX_DEPTH { Err(self.refuse(Why::TooDeep)) } else { Ok(()) }
    }

    /// Stores the field of a refusal that has none yet.
    fn in_field<R, E>(&self, field: &'static str, written: Result<R, E>) -> Result<R, E> {
        if written.is_err()
            && let Some(Refused { why, field: None }) = self.refused.get()
        {
            self.refused.set(Some(Refused { why, field: Some(field) }));
        }
        written
    }
}

macro_rules! plain {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        })*
    };
}

impl<'a, S: Serializer> Serializer for Strict<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Strict<'a, S::SerializeSeq>;
    type SerializeTuple = Strict<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Strict<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Strict<'a, S::SerializeTupleVariant>;
    type SerializeMap = Strict<'a, S::SerializeMap>;
    type SerializeStruct = Strict<'a, S::SerializeStruct>;
    type SerializeStructVariant = Strict<'a, S::SerializeStructVariant>;

    plain! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_char(char);
        serialize_str(&str);
        serialize_unit_struct(&'static str);
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        if value.is_finite() { self.inner.serialize_f32(value) } else { Err(self.refuse(Why::NotFinite)) }
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        if value.is_finite() { self.inner.serialize_f64(value) } else { Err(self.refuse(Why::NotFinite)) }
    }

    fn serialize_bytes(mut self, value: &[u8]) -> Result<S::Ok, S::Error> {
        self.open(1)?;
        self.inner.serialize_bytes(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.within(value);
        self.inner.serialize_some(&value)
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = self.within(value);
        self.inner.serialize_newtype_struct(name, &value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.open(1)?;
        let value = self.within(value);
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    fn serialize_seq(mut self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.open(1)?;
        let Strict { inner, depth, refused } = self;
        Ok(Strict { inner: inner.serialize_seq(len)?, depth, refused })
    }

    fn serialize_tuple(mut self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.open(1)?;
        let Strict { inner, depth, refused } = self;
        Ok(Strict { inner: inner.serialize_tuple(len)?, depth, refused })
    }

    fn serialize_tuple_struct(
        mut self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.open(1)?;
        let Strict { inner, depth, refused } = self;
        Ok(Strict { inner: inner.serialize_tuple_struct(name, len)?, depth, refused })
    }

    fn serialize_tuple_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.open(2)?;
        let Strict { inner, depth, refused } = self;
        Ok(Strict { inner: inner.serialize_tuple_variant(name, index, variant, len)?, depth, refused })
    }

    fn serialize_map(mut self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.open(1)?;
        let Strict { inner, depth, refused } = self;
        Ok(Strict { inner: inner.serialize_map(len)?, depth, refused })
    }

    fn serialize_struct(mut self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        self.open(usize::from(!name.starts_with(PRIVATE)))?;
        let Strict { inner, depth, refused } = self;
        Ok(Strict { inner: inner.serialize_struct(name, len)?, depth, refused })
    }

    fn serialize_struct_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.open(2)?;
        let Strict { inner, depth, refused } = self;
        Ok(Strict { inner: inner.serialize_struct_variant(name, index, variant, len)?, depth, refused })
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! elements {
    ($($trait:ident: $method:ident;)*) => {
        $(impl<C: ser::$trait> ser::$trait for Strict<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                let value = self.within(value);
                self.inner.$method(&value)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        })*
    };
}

elements! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

macro_rules! fields {
    ($($trait:ident)*) => {
        $(impl<C: ser::$trait> ser::$trait for Strict<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                field: &'static str,
                value: &T,
            ) -> Result<(), C::Error> {
                let value = self.within(value);
                let written = self.inner.serialize_field(field, &value);
                self.in_field(field, written)
            }

            fn skip_field(&mut self, field: &'static str) -> Result<(), C::Error> {
                self.inner.skip_field(field)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        })*
    };
}

fields!(SerializeStruct SerializeStructVariant);

impl<C: ser::SerializeMap> ser::SerializeMap for Strict<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        let key = self.within(key);
        self.inner.serialize_key(&key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let value = self.within(value);
        self.inner.serialize_value(&value)
    }

    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), C::Error> {
        let (key, value) = (self.within(key), self.within(value));
        self.inner.serialize_entry(&key, &value)
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}
