//! What single fields of a body hold. The name of a field tells how a key or value is written in it: `key` and `value` hold
//! it as it is (in JSON only UTF-8 can be), `key_b64` and `value_b64` hold base64. Which fields go together is not known here.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::{STANDARD, STANDARD_PAD_INDIFFERENT, URL_SAFE_PAD_INDIFFERENT};
use kvd_types::{ContentType, Etag, Revision, Ttl};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Format;
use super::request::NoBatchForm;
use crate::rest::ttl;

/// Bytes as they are: text in JSON, a byte string in CBOR (where text is understood too).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plain<'a> {
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

/// Bytes in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base64<'a>(Cow<'a, [u8]>);

/// A string of bytes as two fields, of which one is there.
pub(super) type Pair<'a> = (Option<Plain<'a>>, Option<Base64<'a>>);

/// `bytes` in the field that `format` can write them in; always in base64 if so `forced`.
pub(super) fn pair(bytes: &[u8], format: Format, forced: bool) -> Pair<'_> {
    let plain = match format {
        _ if forced => None,
        Format::Cbor => Some(Plain::Bytes(Cow::Borrowed(bytes))),
        Format::Json => std::str::from_utf8(bytes).ok().map(|text| Plain::Text(Cow::Borrowed(text))),
    };
    match plain {
        Some(plain) => (Some(plain), None),
        None => (None, Some(Base64(Cow::Borrowed(bytes)))),
    }
}

/// The bytes of a pair; none unless exactly one of its fields is there.
pub(super) fn unpair((plain, base64): Pair<'_>) -> Option<Cow<'_, [u8]>> {
    match (plain, base64) {
        (Some(plain), None) => Some(plain.into_bytes()),
        (None, Some(base64)) => Some(base64.into_bytes()),
        _ => None,
    }
}

impl<'a> Plain<'a> {
    pub(super) fn into_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Plain::Text(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
            Plain::Text(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
            Plain::Bytes(bytes) => bytes,
        }
    }
}

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Plain::Text(text) => serializer.serialize_str(text),
            Plain::Bytes(bytes) => serializer.serialize_bytes(bytes),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Plain<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Plain<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Plain::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Plain::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Plain::Bytes(Cow::Borrowed(bytes)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A value as it is, or one that is a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PlainOrNumber<'a> {
    Plain(Plain<'a>),
    Number(i64),
}

impl<'a> PlainOrNumber<'a> {
    pub(super) fn plain(self) -> Option<Plain<'a>> {
        match self {
            PlainOrNumber::Plain(plain) => Some(plain),
            PlainOrNumber::Number(_) => None,
        }
    }
}

impl Serialize for PlainOrNumber<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            PlainOrNumber::Plain(plain) => plain.serialize(serializer),
            PlainOrNumber::Number(number) => serializer.serialize_i64(*number),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for PlainOrNumber<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = PlainOrNumber<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a number")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(PlainOrNumber::Number(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                i64::try_from(number).map(PlainOrNumber::Number).map_err(E::custom)
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(PlainOrNumber::Plain(Plain::Text(Cow::Borrowed(text))))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(PlainOrNumber::Plain(Plain::Text(Cow::Owned(text.to_owned()))))
            }

            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(PlainOrNumber::Plain(Plain::Bytes(Cow::Borrowed(bytes))))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'a> Base64<'a> {
    pub(super) fn into_bytes(self) -> Cow<'a, [u8]> {
        self.0
    }
}

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(&self.0, &STANDARD))
    }
}

impl<'de> Deserialize<'de> for Base64<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, "base64 text", |text| {
            // Both alphabets are read, each by itself, with and without padding.
            let url_safe = text.bytes().any(|byte| matches!(byte, b'-' | b'_'));
            let engine = if url_safe { &URL_SAFE_PAD_INDIFFERENT } else { &STANDARD_PAD_INDIFFERENT };
            engine.decode(text).map(|bytes| Base64(Cow::Owned(bytes))).map_err(|why| format!("not base64: {why}"))
        })
    }
}

/// An entity tag, bare: without the quotes that headers put around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EtagText(pub(super) Etag);

impl Serialize for EtagText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EtagText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, "an entity tag", |text| {
            text.parse().map(EtagText).map_err(|()| "an entity tag looks like e1b2c3d4-42, without quotes")
        })
    }
}

/// A revision, for types that carry one as it is.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Revision")]
pub(super) struct RevisionDef(u64);

/// A content type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MediaType(Option<ContentType>);

impl MediaType {
    pub(super) fn new(content_type: &Option<ContentType>) -> MediaType {
        MediaType(content_type.clone())
    }

    /// None for the default, which is not stored.
    pub(super) fn stored(self) -> Option<ContentType> {
        self.0
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_ref().map_or(ContentType::DEFAULT, ContentType::as_str))
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, "a content type", |text| match text {
            ContentType::DEFAULT => Ok(MediaType(None)),
            _ => ContentType::new(text.as_bytes()).map(|given| MediaType(Some(given))),
        })
    }
}

/// A time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TtlText(pub(super) Ttl);

impl TtlText {
    /// None for the store's default, which is asked for by saying nothing.
    pub(super) fn of(ttl: Ttl) -> Result<Option<TtlText>, NoBatchForm> {
        match ttl {
            Ttl::Default => Ok(None),
            Ttl::At(_) => Err(NoBatchForm),
            Ttl::None | Ttl::Keep | Ttl::Ms(_) => Ok(Some(TtlText(ttl))),
        }
    }
}

impl Serialize for TtlText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&ttl::to_text(self.0).expect("one that can be written, by `of`"))
    }
}

impl<'de> Deserialize<'de> for TtlText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, "a time to live, such as \"30s\"", |text| ttl::parse(text).map(TtlText))
    }
}

/// The only value that a flag can have: to ask for the opposite is to leave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct True;

impl Serialize for True {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(true)
    }
}

impl<'de> Deserialize<'de> for True {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if bool::deserialize(deserializer)? { Ok(True) } else { Err(D::Error::custom("this can only be true")) }
    }
}

/// For a field of a request: what is there must be of its type, also `null` is not.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// As [`present`], for a field that holds a map.
pub(super) fn present_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| Some(value))
}

/// Something with named fields, written as a map: what serde derives would take the fields in an array as well.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// For a plain value of a request: CBOR has a type for bytes, so text is not taken for them there.
pub(super) fn present_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Plain<'de>>, D::Error> {
    if deserializer.is_human_readable() {
        return present(deserializer);
    }
    <&[u8]>::deserialize(deserializer).map(|bytes| Some(Plain::Bytes(Cow::Borrowed(bytes))))
}

/// A string that `parse` makes something of.
pub(super) fn parsed<'de, D: Deserializer<'de>, T, E: fmt::Display>(
    deserializer: D,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    struct Text<F> {
        expected: &'static str,
        parse: F,
    }
    impl<T, E: fmt::Display, F: FnOnce(&str) -> Result<T, E>> Visitor<'_> for Text<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.expected)
        }

        fn visit_str<G: Error>(self, text: &str) -> Result<T, G> {
            (self.parse)(text).map_err(G::custom)
        }
    }
    deserializer.deserialize_str(Text { expected, parse })
}
