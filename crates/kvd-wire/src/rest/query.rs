//! The part of a URL after `?`, both directions. Fields are percent-decoded once, `+` is a plus; a field that a route does
//! not know, or that comes twice, is refused. Knows the fields of a list page, and `enc`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kvd_types::{Cursor, Epoch, Key, KeyTooLong, LIST_ITEMS_DEFAULT, List, ListValues};
use percent_encoding::utf8_percent_encode;

use super::code::{BAD_CURSOR, BAD_QUERY, UNSUPPORTED};
use super::path::{RESERVED, decode_base64url, unescape};
use super::problem::Problem;

/// More than any route knows; keeps the search for duplicates short.
const FIELDS_MAX: usize = 16;

/// Fields of the contract that this version does not have yet.
const UNBUILT: &[&str] = &["ttl", "return", "delimiter", "sort"];

/// The path and query of a list page, for clients. `cursor` is what the page before gave.
pub fn for_list(prefix: &[u8], limit: Option<usize>, cursor: Option<&str>, values: ListValues) -> String {
    let mut url = format!("/v1/keys?values={}", values_name(values));
    match std::str::from_utf8(prefix) {
        Ok("") => {}
        Ok(text) => url.extend(["&prefix=", &utf8_percent_encode(text, RESERVED).to_string()]),
        Err(_) => url.extend(["&prefix_b64=", &URL_SAFE_NO_PAD.encode(prefix)]),
    }
    if let Some(limit) = limit {
        url.extend(["&limit=", &limit.to_string()]);
    }
    if let Some(cursor) = cursor {
        url.extend(["&cursor=", &utf8_percent_encode(cursor, RESERVED).to_string()]);
    }
    url
}

/// The fields of a query, decoded. Each is taken by who understands it; [`finish`](Query::finish) refuses the rest.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    fields: Vec<(Text<'a>, Text<'a>)>,
}

type Text<'a> = Cow<'a, [u8]>;

impl<'a> Query<'a> {
    pub(crate) fn parse(query: Option<&'a str>) -> Result<Self, Problem> {
        let mut parsed = Query::default();
        for field in query.unwrap_or_default().split('&').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let decode = |text| {
                unescape(text).map_err(|why| Problem::new(BAD_QUERY, format!("query field `{}`: {why}", brief(name))))
            };
            let (name, value) = (decode(name)?, decode(value)?);
            if parsed.fields.iter().any(|(other, _)| *other == name) {
                return Err(Problem::new(BAD_QUERY, format!("query field `{}` comes twice", lossy(&name))));
            }
            if parsed.fields.len() == FIELDS_MAX {
                return Err(Problem::new(BAD_QUERY, format!("a query has at most {FIELDS_MAX} fields")));
            }
            parsed.fields.push((name, value));
        }
        Ok(parsed)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Text<'a>> {
        let position = self.fields.iter().position(|(field, _)| **field == *name.as_bytes())?;
        Some(self.fields.swap_remove(position).1)
    }

    /// Whether `enc=base64` is asked for.
    pub(crate) fn take_base64(&mut self) -> Result<bool, Problem> {
        match self.take("enc").as_deref() {
            None => Ok(false),
            Some(b"base64") => Ok(true),
            Some(_) => Err(Problem::new(BAD_QUERY, "`enc` can only be base64")),
        }
    }

    pub(crate) fn take_list(&mut self) -> Result<List<'a>, Problem> {
        Ok(List {
            prefix: self.take_prefix()?,
            limit: self.take("limit").as_deref().map_or(Ok(LIST_ITEMS_DEFAULT), parse_limit)?,
            cursor: self.take("cursor").as_deref().map(parse_cursor).transpose()?,
            values: self.take("values").as_deref().map_or(Ok(ListValues::default()), parse_values)?,
        })
    }

    fn take_prefix(&mut self) -> Result<Key<'a>, Problem> {
        match (self.take("prefix"), self.take("prefix_b64")) {
            (None, None) => Ok(Key::empty()),
            (Some(prefix), None) => {
                Key::new(prefix).map_err(|why: KeyTooLong| Problem::new(BAD_QUERY, format!("`prefix`: {why}")))
            }
            (None, Some(base64)) => {
                let text = String::from_utf8_lossy(&base64);
                decode_base64url(&text).map_err(|why| Problem::new(BAD_QUERY, format!("`prefix_b64`: {why}")))
            }
            (Some(_), Some(_)) => Err(Problem::new(BAD_QUERY, "`prefix` and `prefix_b64` exclude each other")),
        }
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let Some((name, _)) = self.fields.first() else { return Ok(()) };
        let name = lossy(name);
        if UNBUILT.contains(&name.as_str()) {
            return Err(Problem::new(UNSUPPORTED, format!("query field `{name}` is not built in this version")));
        }
        Err(Problem::new(BAD_QUERY, format!("this route has no query field `{name}`")))
    }
}

fn parse_limit(text: &[u8]) -> Result<usize, Problem> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()) {
        Some(limit) if limit > 0 => Ok(limit),
        _ => Err(Problem::new(BAD_QUERY, "`limit` is a decimal number, at least 1")),
    }
}

const VALUES: [(ListValues, &str); 3] =
    [(ListValues::None, "none"), (ListValues::Meta, "meta"), (ListValues::Full, "full")];

fn parse_values(text: &[u8]) -> Result<ListValues, Problem> {
    match VALUES.iter().find(|(_, name)| name.as_bytes() == text) {
        Some((values, _)) => Ok(*values),
        None => Err(Problem::new(BAD_QUERY, "`values` is none, meta or full")),
    }
}

fn values_name(wanted: ListValues) -> &'static str {
    VALUES.iter().find(|(values, _)| *values == wanted).map(|(_, name)| *name).expect("the table has all three")
}

/// The text of a cursor: epoch, order and position, thirteen bytes as base64url.
pub(crate) fn cursor_text(cursor: &Cursor) -> String {
    let mut bytes = [0; 13];
    bytes[..4].copy_from_slice(&cursor.epoch.0.to_be_bytes());
    bytes[4] = u8::from(cursor.is_keyed);
    bytes[5..].copy_from_slice(&cursor.next_hash.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn parse_cursor(text: &[u8]) -> Result<Cursor, Problem> {
    let bytes: Option<[u8; 13]> = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    let Some([e0, e1, e2, e3, is_keyed @ 0..=1, hash @ ..]) = bytes else {
        return Err(Problem::new(BAD_CURSOR, "`cursor` is not one that this server gave; send it as it came"));
    };
    let epoch = Epoch(u32::from_be_bytes([e0, e1, e2, e3]));
    Ok(Cursor { epoch, next_hash: u64::from_be_bytes(hash), is_keyed: is_keyed == 1 })
}

/// A field's name for an error message.
fn lossy(name: &[u8]) -> String {
    brief(&String::from_utf8_lossy(name))
}

/// Enough of a stranger's text to recognise it by.
fn brief(text: &str) -> String {
    text.chars().take(64).collect()
}
