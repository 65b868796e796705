//! How sizes, durations and addresses are spelt in the configuration. The parsing itself is done by libraries; this
//! file fits them to serde.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

use serde::de::Unexpected;
use serde::{Deserialize, Deserializer, de};

/// Bytes: an integer, or text such as `64MiB` (1024s) and `64MB` (1000s).
pub(super) mod size {
    use bytesize::ByteSize;
    use serde::{Deserializer, Serializer};

    use super::Whole;

    pub(crate) fn serialize<S: Serializer>(bytes: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*bytes as u64)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(Whole {
            expected: "a size: bytes, or a number with a unit such as \"64MiB\" or \"64MB\"",
            from_text: |text| usize::try_from(text.parse::<ByteSize>().ok()?.as_u64()).ok(),
        })
    }
}

/// A size that is left out by default.
pub(super) fn size_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    size::deserialize(deserializer).map(Some)
}

/// A number of things.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    deserializer.deserialize_any(Whole { expected: "a whole number", from_text: |_| None })
}

/// Reads what is written as a number, or as a text that stands for one.
struct Whole {
    /// For the error.
    expected: &'static str,
    from_text: fn(&str) -> Option<usize>,
}

impl de::Visitor<'_> for Whole {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<usize, E> {
        usize::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<usize, E> {
        (self.from_text)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// A number with a unit, such as `500ms`, `10s` or `5m`.
pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| {
            de::Error::custom(format_args!("{text:?} is no duration such as \"10s\" or \"5m\": {error}"))
        })
    }
}

/// As `duration`, or `none`.
pub(super) mod duration_or_none {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// What stands for no duration.
    const NONE: &str = "none";

    pub(crate) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            None => serializer.serialize_str(NONE),
            Some(duration) => super::duration::serialize(duration, serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == NONE {
            return Ok(None);
        }
        humantime::parse_duration(&text).map(Some).map_err(|error| {
            de::Error::custom(format_args!(
                "{text:?} is neither \"none\" nor a duration such as \"10s\" or \"1h\": {error}"
            ))
        })
    }
}

/// A list of HOST:PORT. A name stands for all its addresses.
pub(super) fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let mut addresses = Vec::new();
    for text in Vec::<String>::deserialize(deserializer)? {
        addresses.extend(resolve(&text)?);
    }
    Ok(addresses)
}

/// HOST:PORT, or `off` for none.
pub(super) mod address_or_off {
    use std::net::SocketAddr;

    use serde::{Deserialize, Deserializer, Serializer};

    const OFF: &str = "off";

    pub(crate) fn serialize<S: Serializer>(addresses: &[SocketAddr], serializer: S) -> Result<S::Ok, S::Error> {
        match addresses.first() {
            Some(address) => serializer.collect_str(address),
            None => serializer.serialize_str(OFF),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == OFF { Ok(Vec::new()) } else { super::resolve(&text) }
    }
}

fn resolve<E: de::Error>(text: &str) -> Result<Vec<SocketAddr>, E> {
    if text.starts_with("unix:") {
        return Err(E::custom(format_args!(
            "{text:?}: Unix sockets are not supported by this version; give HOST:PORT"
        )));
    }
    text.to_socket_addrs()
        .map(Iterator::collect)
        .map_err(|error| E::custom(format_args!("{text:?} is no address HOST:PORT that can be listened on: {error}")))
}
