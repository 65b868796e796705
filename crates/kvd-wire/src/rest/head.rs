//! The request headers that mean something here, read in one pass; all others are left alone. Which of them a route cares for
//! is the route's business.

use http::{HeaderMap, HeaderValue};

use super::code::BAD_HEADER;
use super::condition::TagList;
use super::problem::Problem;

#[derive(Debug, Default)]
pub(crate) struct Head<'h> {
    pub(crate) content_type: Option<&'h HeaderValue>,
    pub(crate) content_encoding: Option<&'h HeaderValue>,
    /// Of a partial PUT, which is refused.
    pub(crate) content_range: Option<&'h HeaderValue>,
    pub(crate) if_match: Option<TagList>,
    pub(crate) if_none_match: Option<TagList>,
    pub(crate) range: Option<&'h HeaderValue>,
    pub(crate) if_range: Option<&'h HeaderValue>,
    pub(crate) ttl: Option<&'h HeaderValue>,
    /// The open transaction that the request runs in.
    pub(crate) transaction: Option<&'h HeaderValue>,
    /// Whether `Prefer: return=representation` asks for the new state of what is written.
    pub(crate) wants_representation: bool,
    /// Whether a body follows that is not known to be empty.
    pub(crate) has_body: bool,
}

impl<'h> Head<'h> {
    pub(crate) fn read(headers: &'h HeaderMap) -> Result<Self, Problem> {
        let mut head = Head::default();
        for (name, value) in headers {
            match name.as_str() {
                "if-match" => head.if_match.get_or_insert_default().add_strong(value)?,
                "if-none-match" => head.if_none_match.get_or_insert_default().add_weak(value)?,
                "range" => once(&mut head.range, value, "Range")?,
                "if-range" => once(&mut head.if_range, value, "If-Range")?,
                "content-type" => once(&mut head.content_type, value, "Content-Type")?,
                "content-encoding" => head.content_encoding = Some(value),
                "content-range" => head.content_range = Some(value),
                "content-length" => head.has_body |= value != "0",
                "transfer-encoding" => head.has_body = true,
                "kvd-ttl" => once(&mut head.ttl, value, "Kvd-TTL")?,
                "kvd-tx" => once(&mut head.transaction, value, "Kvd-Tx")?,
                "prefer" => head.wants_representation |= wants_representation(value),
                _ => {}
            }
        }
        Ok(head)
    }
}

fn once<'h>(slot: &mut Option<&'h HeaderValue>, value: &'h HeaderValue, header: &str) -> Result<(), Problem> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Problem::new(BAD_HEADER, format!("{header} comes twice"))),
    }
}

fn wants_representation(value: &HeaderValue) -> bool {
    let is_return = |preference: &str| {
        preference.split(';').next().and_then(|preference| preference.split_once('=')).is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("return")
                && value.trim().trim_matches('"').eq_ignore_ascii_case("representation")
        })
    };
    value.to_str().is_ok_and(|value| value.split(',').any(is_return))
}
