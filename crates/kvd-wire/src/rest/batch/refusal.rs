//! The body of a problem, RFC 9457. Always JSON on the way to a client, whatever the request was written in.

use std::borrow::Cow;

use http::StatusCode;
use kvd_types::Key;
use serde::{Deserialize, Serialize};

use super::codec::{InvalidMessage, decode, encode};
use super::field::{Base64, EtagText, Plain, pair, present, unpair};
use super::{Format, Message};
use crate::rest::problem::{ItemProblem, LimitHit, Parts, Problem};

/// What stands before the code in a problem's type.
const TYPE_PREFIX: &str = "urn:kvd:problem:";

#[derive(Serialize, Deserialize)]
struct ProblemWire<'a> {
    r#type: String,
    title: Cow<'a, str>,
    status: u16,
    code: Cow<'a, str>,
    retryable: bool,
    detail: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ItemWire<'a>>,
}

#[derive(Serialize, Deserialize)]
struct ItemWire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Plain<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_b64: Option<Base64<'a>>,
    /// `null` says that the key is absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    have: Option<Option<EtagText>>,
}

/// The body that is sent: with the name that the server's log has for the request.
pub(in crate::rest) fn encode_problem(problem: &Parts, format: Format, request_id: Option<&str>) -> Vec<u8> {
    encode(
        format,
        &ProblemWire {
            r#type: format!("{TYPE_PREFIX}{}", problem.code),
            title: Cow::Borrowed(&problem.title),
            status: problem.status.as_u16(),
            code: Cow::Borrowed(&problem.code),
            retryable: problem.retryable,
            detail: Cow::Borrowed(&problem.detail),
            request_id: request_id.map(Cow::Borrowed),
            limit_name: problem.limit.as_ref().map(|limit| Cow::Borrowed(&*limit.name)),
            limit: problem.limit.as_ref().map(|limit| limit.max),
            actual: problem.limit.as_ref().and_then(|limit| limit.actual),
            errors: problem.errors.iter().map(|item| ItemWire::new(item, format)).collect(),
        },
    )
}

impl Message for Problem {
    fn encode(&self, format: Format, _base64: bool) -> Vec<u8> {
        encode_problem(self.parts(), format, self.request_id())
    }

    fn decode(format: Format, body: &[u8]) -> Result<Self, InvalidMessage> {
        let wire: ProblemWire<'_> = decode(format, body)?;
        let status =
            StatusCode::from_u16(wire.status).map_err(|why| InvalidMessage::invalid("#/status", why.to_string()))?;
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let limit = match (wire.limit_name, wire.limit) {
            (Some(name), Some(max)) => Some(LimitHit { name: own(name), max, actual: wire.actual }),
            _ => None,
        };
        Ok(Problem::from_parts(Parts {
            status,
            code: own(wire.code),
            title: own(wire.title),
            retryable: wire.retryable,
            detail: own(wire.detail),
            request_id: wire.request_id.map(Cow::into_owned),
            limit,
            errors: wire.errors.into_iter().map(ItemWire::into_problem).collect::<Result<_, _>>()?,
            headers: Vec::new(),
        }))
    }
}

impl<'a> ItemWire<'a> {
    fn new(item: &'a ItemProblem, format: Format) -> ItemWire<'a> {
        let (key, key_b64) = item.key.as_ref().map(|key| pair(key.as_bytes(), format, false)).unwrap_or_default();
        ItemWire {
            pointer: item.pointer.as_deref().map(Cow::Borrowed),
            detail: item.detail.as_deref().map(Cow::Borrowed),
            key,
            key_b64,
            have: item.have.map(|have| have.map(EtagText)),
        }
    }

    fn into_problem(self) -> Result<ItemProblem, InvalidMessage> {
        let key = unpair((self.key, self.key_b64)).map(|bytes| Key::new(bytes.into_owned())).transpose();
        Ok(ItemProblem {
            pointer: self.pointer.map(Cow::into_owned),
            detail: self.detail.map(Cow::into_owned),
            key: key.map_err(|why| InvalidMessage::invalid("#/errors", why.to_string()))?,
            have: self.have.map(|have| have.map(|EtagText(tag)| tag)),
        })
    }
}
