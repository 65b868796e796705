//! The part of a URL after `?`, both directions. Fields are percent-decoded once, `+` is a plus; a field that a route does
//! not know, or that comes twice, is refused. Knows the fields of lists, and how keys and revisions are written; those of single
//! keys are read in `one_key`.

use std::borrow::Cow;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kvd_types::{Command, Cursor, Epoch, Key, KeyTooLong, LIST_ITEMS_DEFAULT, List, ListSorted, ListValues, Revision};
use percent_encoding::{percent_encode, utf8_percent_encode};

use super::code::{BAD_CURSOR, BAD_QUERY};
use super::path::{RESERVED, decode_base64url, unescape};
use super::problem::Problem;

/// More than any route knows; keeps the search for duplicates short.
const FIELDS_MAX: usize = 16;

/// Fields of the contract that this version does not have yet.
/// What a cursor of a sorted list begins with; no other holds it.
const SORTED_CURSOR: u8 = b'~';

/// The path and query of a list page, for clients. `cursor` is what the page before gave.
pub fn for_list(prefix: &[u8], limit: Option<usize>, cursor: Option<&str>, values: ListValues) -> String {
    let mut url = format!("/v1/keys?values={}", values_name(values));
    push_page(&mut url, prefix, limit, cursor);
    url
}

/// As [`for_list`], sorted; with a delimiter, keys that have one behind the prefix come as what they begin with.
pub fn for_sorted_list(
    prefix: &[u8],
    delimiter: Option<&[u8]>,
    limit: Option<usize>,
    cursor: Option<&str>,
    values: ListValues,
) -> String {
    let mut url = format!("/v1/keys?sort=key&values={}", values_name(values));
    if let Some(delimiter) = delimiter {
        url.extend(["&delimiter=", &percent_encode(delimiter, RESERVED).to_string()]);
    }
    push_page(&mut url, prefix, limit, cursor);
    url
}

/// The path and query that delete all keys with a prefix, for clients; all keys there are with the empty one.
pub fn for_deletion(prefix: &[u8]) -> String {
    let mut url = String::from("/v1/keys?");
    match prefix {
        [] => url.push_str("all=true"),
        _ => url.extend(["prefix=", &percent_encode(prefix, RESERVED).to_string()]),
    }
    url
}

fn push_page(url: &mut String, prefix: &[u8], limit: Option<usize>, cursor: Option<&str>) {
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
}

/// The fields of a query, decoded. Each is taken by who understands it; [`finish`](Query::finish) refuses the rest.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    fields: Vec<(Text<'a>, Text<'a>)>,
}

pub(super) type Text<'a> = Cow<'a, [u8]>;

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

    /// The list that is asked for: sorted if it says so, and with a delimiter.
    pub(crate) fn take_list(&mut self) -> Result<Command<'a>, Problem> {
        let prefix = self.take_key("prefix", "prefix_b64")?.unwrap_or(Key::empty());
        let limit = self.take("limit").as_deref().map_or(Ok(LIST_ITEMS_DEFAULT), parse_limit)?;
        let values = self.take("values").as_deref().map_or(Ok(ListValues::default()), parse_values)?;
        let cursor = self.take("cursor");
        let is_sorted = match self.take("sort").as_deref() {
            None => false,
            Some(b"key") => true,
            Some(_) => return Err(Problem::new(BAD_QUERY, "`sort` can only be key")),
        };
        let delimiter = self.take("delimiter").map(|text| key_of(text, "delimiter")).transpose()?;
        if delimiter.as_ref().is_some_and(Key::is_empty) {
            return Err(Problem::new(BAD_QUERY, "`delimiter` is at least one byte"));
        }
        if !is_sorted && delimiter.is_none() {
            let cursor = cursor.as_deref().map(parse_cursor).transpose()?;
            return Ok(Command::List(List { prefix, limit, cursor, values }));
        }
        let after = cursor.as_deref().map(parse_sorted_cursor).transpose()?;
        Ok(Command::ListSorted(ListSorted { prefix, delimiter, limit, after, values }))
    }

    /// What is to be deleted: the keys with a prefix, or none for all there are. One of both must be said, so that a variable
    /// that was not set empties no store.
    pub(crate) fn take_deletion(&mut self) -> Result<Option<Key<'a>>, Problem> {
        let all = match self.take("all").as_deref() {
            None => false,
            Some(b"true") => true,
            Some(_) => return Err(Problem::new(BAD_QUERY, "`all` can only be true")),
        };
        match (self.take_key("prefix", "prefix_b64")?, all) {
            (Some(prefix), false) if !prefix.is_empty() => Ok(Some(prefix)),
            (None, true) => Ok(None),
            _ => Err(Problem::new(BAD_QUERY, "say what to delete: `prefix`, not empty, or `all=true` for every key")),
        }
    }

    /// A key, or a part of one, that is given as it is or in base64url.
    pub(crate) fn take_key(&mut self, plain: &str, base64: &str) -> Result<Option<Key<'a>>, Problem> {
        match (self.take(plain), self.take(base64)) {
            (None, None) => Ok(None),
            (Some(key), None) => {
                let refuse = |why: KeyTooLong| Problem::new(BAD_QUERY, format!("`{plain}`: {why}"));
                Key::new(key).map(Some).map_err(refuse)
            }
            (None, Some(text)) => {
                let text = String::from_utf8_lossy(&text);
                let refuse = |why| Problem::new(BAD_QUERY, format!("`{base64}`: {why}"));
                decode_base64url(&text).map(Some).map_err(refuse)
            }
            (Some(_), Some(_)) => Err(Problem::new(BAD_QUERY, format!("`{plain}` and `{base64}` exclude each other"))),
        }
    }

    /// A revision, in decimal.
    pub(crate) fn take_revision(&mut self, name: &str) -> Result<Option<Revision>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        match digits(&text) {
            Some(revision) => Ok(Some(Revision(revision))),
            None => Err(Problem::new(BAD_QUERY, format!("`{name}` is a revision, a decimal number"))),
        }
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let Some((name, _)) = self.fields.first() else { return Ok(()) };
        let name = lossy(name);
        Err(Problem::new(BAD_QUERY, format!("this route has no query field `{name}`")))
    }
}

fn key_of<'a>(text: Text<'a>, field: &str) -> Result<Key<'a>, Problem> {
    Key::new(text).map_err(|why: KeyTooLong| Problem::new(BAD_QUERY, format!("`{field}`: {why}")))
}

fn parse_limit(text: &[u8]) -> Result<usize, Problem> {
    match digits(text) {
        Some(limit) if limit > 0 => Ok(limit),
        _ => Err(Problem::new(BAD_QUERY, "`limit` is a decimal number, at least 1")),
    }
}

/// A number that is written with digits alone.
pub(super) fn digits<T: FromStr>(text: &[u8]) -> Option<T> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
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
        return Err(bad_cursor());
    };
    let epoch = Epoch(u32::from_be_bytes([e0, e1, e2, e3]));
    Ok(Cursor { epoch, next_hash: u64::from_be_bytes(hash), is_keyed: is_keyed == 1 })
}

/// The text of a sorted list's cursor: the bytes that the page ended with, as base64url behind a mark.
pub(crate) fn sorted_cursor_text(after: &Key<'_>) -> String {
    let mut text = String::from(char::from(SORTED_CURSOR));
    URL_SAFE_NO_PAD.encode_string(after.as_bytes(), &mut text);
    text
}

fn parse_sorted_cursor(text: &[u8]) -> Result<Key<'static>, Problem> {
    let bytes = text.strip_prefix(&[SORTED_CURSOR]).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    bytes.and_then(|bytes| Key::new(bytes).ok()).ok_or_else(bad_cursor)
}

fn bad_cursor() -> Problem {
    Problem::new(BAD_CURSOR, "`cursor` is not one that this server gave for such a list; send it as it came")
}

/// A field's name for an error message.
fn lossy(name: &[u8]) -> String {
    brief(&String::from_utf8_lossy(name))
}

/// Enough of a stranger's text to recognise it by.
fn brief(text: &str) -> String {
    text.chars().take(64).collect()
}
