//! The bodies of `/v1/txn` and `/v1/tx` to commands and back: checks, operations, and what is done instead. Which fields an
//! operation takes is known here; what it does is the store's business.

use std::fmt;

use kvd_types::{Check, Command, Delete, ExpiryCondition, Limit, Modify, OnFailure, Rule, Set, Transaction, Ttl};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::Format;
use super::bounded::{Room, once};
use super::codec::decode_seed;
use super::field::{
    Base64, EtagText, MediaType, Object, Plain, True, TtlText, pair, present, present_object, present_value,
};
use super::item::{ConditionWire, Place};
use super::request::{Bounds, NoBatchForm, convert};
use crate::rest::code::EMPTY_BATCH;
use crate::rest::problem::{ItemProblem, Problem};
use crate::rest::transaction::Mode;

/// The arrays of a transaction's body.
pub(in crate::rest) const OPS: &str = "ops";
pub(in crate::rest) const ELSE: &str = "else";
pub(in crate::rest) const CHECKS: &str = "checks";

/// The body of `POST /v1/tx`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BeginWire {
    mode: Mode,
}

/// The body that opens a transaction.
pub fn encode_begin(mode: Mode, format: Format) -> Vec<u8> {
    super::codec::encode(format, &BeginWire { mode })
}

/// The mode of a transaction that is to be opened.
pub(in crate::rest) fn decode_begin(format: Format, body: &[u8]) -> Result<Mode, Problem> {
    let Object(BeginWire { mode }) = super::codec::decode(format, body)?;
    Ok(mode)
}

/// What an operation does with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
enum Name {
    Get,
    Set,
    Delete,
    Incr,
    Append,
    Expire,
}

impl From<Name> for &'static str {
    fn from(name: Name) -> Self {
        name.as_str()
    }
}

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let named = Name::ALL.into_iter().find(|name| text == name.as_str());
        named.ok_or("an operation is `get`, `set`, `delete`, `incr`, `append` or `expire`")
    }
}

impl Name {
    const ALL: [Name; 6] = [Name::Get, Name::Set, Name::Delete, Name::Incr, Name::Append, Name::Expire];

    fn as_str(self) -> &'static str {
        match self {
            Name::Get => "get",
            Name::Set => "set",
            Name::Delete => "delete",
            Name::Incr => "incr",
            Name::Append => "append",
            Name::Expire => "expire",
        }
    }

    /// The fields it takes besides its key.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Name::Get => &[],
            Name::Set => &["value", "value_b64", "content_type", "ttl", "if"],
            Name::Delete => &["if"],
            Name::Incr => &["by", "if"],
            Name::Append => &["value", "value_b64", "if"],
            Name::Expire => &["ttl", "if"],
        }
    }
}

/// One operation: of these fields those that its name takes.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct OpWire<'a> {
    op: Name,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    key: Option<Plain<'a>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    key_b64: Option<Base64<'a>>,
    #[serde(borrow, default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    value: Option<Plain<'a>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    value_b64: Option<Base64<'a>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    content_type: Option<MediaType>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    ttl: Option<TtlText>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    by: Option<i64>,
    #[serde(
        borrow,
        default,
        deserialize_with = "present_object",
        skip_serializing_if = "Option::is_none",
        rename = "if"
    )]
    condition: Option<ConditionWire<'a>>,
}

impl<'a> OpWire<'a> {
    fn new(op: Name, key: &'a [u8], format: Format) -> OpWire<'a> {
        let (key, key_b64) = pair(key, format, false);
        let (value, value_b64, content_type, ttl, by, condition) = (None, None, None, None, None, None);
        OpWire { op, key, key_b64, value, value_b64, content_type, ttl, by, condition }
    }

    fn with_value(self, bytes: &'a [u8], format: Format) -> OpWire<'a> {
        let (value, value_b64) = pair(bytes, format, false);
        OpWire { value, value_b64, ..self }
    }

    fn of(command: &'a Command<'_>, format: Format) -> Result<OpWire<'a>, NoBatchForm> {
        let new = |op, key: &'a kvd_types::Key<'_>| OpWire::new(op, key.as_bytes(), format);
        match command {
            Command::Get { key } => Ok(new(Name::Get, key)),
            Command::Set(Set { key, value, content_type, ttl, condition }) => Ok(OpWire {
                content_type: content_type.is_some().then(|| MediaType::new(content_type)),
                ttl: TtlText::of(*ttl)?,
                condition: ConditionWire::of(condition, format)?,
                ..new(Name::Set, key).with_value(value, format)
            }),
            Command::Delete(Delete { key, condition }) => {
                Ok(OpWire { condition: ConditionWire::of(condition, format)?, ..new(Name::Delete, key) })
            }
            Command::Modify(Modify { key, rule, condition }) => {
                let wire = match rule {
                    Rule::Increment { by } => OpWire { by: Some(*by), ..new(Name::Incr, key) },
                    Rule::Append { bytes } => new(Name::Append, key).with_value(bytes, format),
                    Rule::Expire { ttl, only: ExpiryCondition::Always } => {
                        OpWire { ttl: Some(TtlText::of(*ttl)?.ok_or(NoBatchForm)?), ..new(Name::Expire, key) }
                    }
                    Rule::Expire { .. } | Rule::IncrementFloat { .. } | Rule::SetRange { .. } => {
                        return Err(NoBatchForm);
                    }
                };
                Ok(OpWire { condition: ConditionWire::of(condition, format)?, ..wire })
            }
            _ => Err(NoBatchForm),
        }
    }

    fn into_command(self, mode: Mode, place: Place) -> Result<Command<'a>, Problem> {
        self.check_fields(mode, place)?;
        let key = place.key(self.key, self.key_b64)?;
        let condition = place.condition(self.condition)?;
        let modify = |key, rule| Ok(Command::Modify(Modify { key, rule, condition: condition.clone() }));
        match self.op {
            Name::Get => Ok(Command::Get { key }),
            Name::Delete => Ok(Command::Delete(Delete { key, condition })),
            Name::Incr => modify(key, Rule::Increment { by: self.by.unwrap_or(1) }),
            Name::Append => modify(key, Rule::Append { bytes: place.value(self.value, self.value_b64)? }),
            Name::Expire => match self.ttl {
                Some(TtlText(ttl @ (Ttl::Ms(_) | Ttl::None))) => {
                    modify(key, Rule::Expire { ttl, only: ExpiryCondition::Always })
                }
                Some(_) => Err(Problem::invalid_item(place.pointer("/ttl"), "`expire` takes a duration or `none`")),
                None => Err(Problem::invalid_item(place.pointer(""), "`expire` needs a `ttl`")),
            },
            Name::Set => Ok(Command::Set(Set {
                key,
                value: place.value(self.value, self.value_b64)?,
                content_type: self.content_type.and_then(MediaType::stored),
                ttl: self.ttl.map_or(Ttl::Default, |TtlText(ttl)| ttl),
                condition,
            })),
        }
    }

    fn check_fields(&self, mode: Mode, place: Place) -> Result<(), Problem> {
        let name = self.op.as_str();
        if mode == Mode::ReadOnly && self.op != Name::Get {
            let detail = format!("a read-only transaction takes no `{name}`");
            return Err(Problem::invalid_item(place.pointer("/op"), detail));
        }
        let given = [
            ("value", self.value.is_some()),
            ("value_b64", self.value_b64.is_some()),
            ("content_type", self.content_type.is_some()),
            ("ttl", self.ttl.is_some()),
            ("by", self.by.is_some()),
            ("if", self.condition.is_some()),
        ];
        match given.iter().find(|(field, is_given)| *is_given && !self.op.fields().contains(field)) {
            None => Ok(()),
            Some((field, _)) => {
                let pointer = place.pointer(&format!("/{field}"));
                Err(Problem::invalid_item(pointer, format!("`{name}` takes no `{field}`")))
            }
        }
    }
}

/// A key and what must be true of it, in one map.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct CheckWire<'a> {
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    key: Option<Plain<'a>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    key_b64: Option<Base64<'a>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    etag: Option<EtagText>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    absent: Option<True>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    exists: Option<True>,
    #[serde(borrow, default, deserialize_with = "present_value", skip_serializing_if = "Option::is_none")]
    value: Option<Plain<'a>>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    value_b64: Option<Base64<'a>>,
}

impl<'a> CheckWire<'a> {
    fn of(check: &'a Check<'_>, format: Format) -> Result<CheckWire<'a>, NoBatchForm> {
        let (key, key_b64) = pair(check.key.as_bytes(), format, false);
        let condition = ConditionWire::of(&check.condition, format)?.ok_or(NoBatchForm)?;
        let ConditionWire { etag, revision, absent, exists, value, value_b64 } = condition;
        Ok(CheckWire { key, key_b64, etag, revision, absent, exists, value, value_b64 })
    }

    fn into_check(self, place: Place) -> Result<Check<'a>, Problem> {
        let CheckWire { key, key_b64, etag, revision, absent, exists, value, value_b64 } = self;
        let condition = ConditionWire { etag, revision, absent, exists, value, value_b64 };
        Ok(Check { key: place.key(key, key_b64)?, condition: place.condition_at("", condition)? })
    }
}

/// A body to write.
#[derive(Serialize)]
struct BodyWire<'a> {
    mode: Mode,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<CheckWire<'a>>,
    ops: Vec<OpWire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#else: Option<Vec<OpWire<'a>>>,
}

/// A transaction as the body of `/v1/txn`.
pub(super) fn encode(
    mode: Mode,
    checks: &[Check<'_>],
    commands: &[Command<'_>],
    otherwise: Option<&[Command<'_>]>,
    format: Format,
) -> Result<Vec<u8>, NoBatchForm> {
    let checks = checks.iter().map(|check| CheckWire::of(check, format)).collect::<Result<_, _>>()?;
    let wire = BodyWire {
        mode,
        checks,
        ops: branch(commands, format)?,
        r#else: otherwise.map(|commands| branch(commands, format)).transpose()?,
    };
    Ok(super::codec::encode(format, &wire))
}

fn branch<'c>(commands: &'c [Command<'_>], format: Format) -> Result<Vec<OpWire<'c>>, NoBatchForm> {
    commands.iter().map(|command| OpWire::of(command, format)).collect()
}

/// The transaction in a body.
pub(super) fn decode(format: Format, body: &[u8], bounds: Bounds) -> Result<Command<'_>, Problem> {
    let room = Room::new(Limit::TransactionOps, bounds.ops_max);
    let body = decode_seed(format, body, || BodySeed { room: &room }).map_err(|why| room.refusal(why))?;
    let mode = body.mode.unwrap_or_default();
    let ops = body.ops.ok_or_else(|| Problem::invalid_item("#", "`ops` is missing"))?;
    let checks = body.checks.unwrap_or_default();
    if ops.is_empty() && checks.is_empty() {
        let error = ItemProblem { pointer: Some(format!("#/{OPS}")), ..ItemProblem::default() };
        return Err(
            Problem::new(EMPTY_BATCH, "a transaction needs at least one check or operation").with_errors(vec![error])
        );
    }
    let otherwise = body.otherwise.map(|ops| commands(bounds, ELSE, ops, mode));
    Ok(Command::Transaction(Transaction {
        checks: convert(bounds, CHECKS, checks, |Object(check), place| check.into_check(place))?,
        commands: commands(bounds, OPS, ops, mode)?,
        otherwise: otherwise.transpose()?,
        on_failure: OnFailure::Abort,
    }))
}

fn commands<'b>(
    bounds: Bounds,
    array: &'static str,
    ops: Vec<Object<OpWire<'b>>>,
    mode: Mode,
) -> Result<Vec<Command<'b>>, Problem> {
    convert(bounds, array, ops, |Object(op), place| op.into_command(mode, place))
}

/// A body as it was read.
#[derive(Default)]
struct Body<'b> {
    mode: Option<Mode>,
    checks: Option<Vec<Object<CheckWire<'b>>>>,
    ops: Option<Vec<Object<OpWire<'b>>>>,
    otherwise: Option<Vec<Object<OpWire<'b>>>>,
}

struct BodySeed<'r> {
    room: &'r Room,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Mode,
    Checks,
    Ops,
    Else,
}

impl<'de> DeserializeSeed<'de> for BodySeed<'_> {
    type Value = Body<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BodySeed<'_> {
    type Value = Body<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with `ops`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut body = Body::default();
        while let Some(field) = map.next_key()? {
            match field {
                Field::Mode => once(&mut body.mode, "mode", map.next_value()?)?,
                Field::Checks => once(&mut body.checks, CHECKS, map.next_value_seed(self.room.array())?)?,
                Field::Ops => once(&mut body.ops, OPS, map.next_value_seed(self.room.array())?)?,
                Field::Else => once(&mut body.otherwise, ELSE, map.next_value_seed(self.room.array())?)?,
            }
        }
        Ok(body)
    }
}
