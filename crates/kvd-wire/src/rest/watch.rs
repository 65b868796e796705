//! `/v1/watch`: which commits a request asks for, and commits as server-sent events, written piece by piece: no piece is long and
//! none takes long to make, whatever the size of a value. Knows nothing of where commits come from or who reads the pieces.
//!
//! # Source
//! The HTML standard, section 9.2 "Server-sent events": lines of fields, ended by an empty line; an `id` without data moves a
//! client's place and is no event.

use std::io::Write;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use kvd_types::{Effect, Epoch, Etag, Key, Revision};
use percent_encoding::utf8_percent_encode;

use super::batch::{EventWire, Format, Message, WatchEvent, WatchLagged, encode};
use super::code::{BAD_HEADER, BAD_QUERY};
use super::negotiate;
use super::path::RESERVED;
use super::problem::Problem;
use super::query::{Query, digits};
use super::response::{KVD_REVISION, KVD_STORE};

/// The media type of server-sent events.
const EVENT_STREAM: &str = "text/event-stream";

/// Bytes of a value that are written at once. A multiple of three, so that base64 can go on after each.
const PIECE_BYTES: usize = 48 << 10;

/// Bytes of a value that are looked at at once, before it is known how it is to be written.
const CHECKED_BYTES: usize = 256 << 10;

/// Tells reverse proxies to hand every event on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What a request wants to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch<'a> {
    /// On which keys.
    pub filter: Filter<'a>,
    /// The first commit wanted; none for those to come.
    pub from: Option<Revision>,
    /// Values always as `value_b64`.
    pub base64: bool,
}

/// Keys that are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter<'a> {
    /// Those that begin so.
    Prefix(Key<'a>),
    /// This one.
    Key(Key<'a>),
}

impl Filter<'_> {
    /// Whether `key` is one of them.
    pub fn matches(&self, key: &[u8]) -> bool {
        match self {
            Filter::Prefix(prefix) => key.starts_with(prefix.as_bytes()),
            Filter::Key(watched) => key == watched.as_bytes(),
        }
    }

    /// The same, outliving its request.
    pub fn into_owned(self) -> Filter<'static> {
        match self {
            Filter::Prefix(prefix) => Filter::Prefix(prefix.into_owned()),
            Filter::Key(key) => Filter::Key(key.into_owned()),
        }
    }
}

impl<'a> Watch<'a> {
    /// The path and query that ask for this, for clients.
    pub fn url(&self) -> String {
        let (plain, base64, key) = match &self.filter {
            Filter::Prefix(prefix) => ("prefix", "prefix_b64", prefix),
            Filter::Key(key) => ("key", "key_b64", key),
        };
        let mut url = match key.as_text() {
            Some(text) => format!("/v1/watch?{plain}={}", utf8_percent_encode(text, RESERVED)),
            None => format!("/v1/watch?{base64}={}", URL_SAFE_NO_PAD.encode(key.as_bytes())),
        };
        if let Some(from) = self.from {
            url.push_str(&format!("&from={from}"));
        }
        if self.base64 {
            url.push_str("&enc=base64");
        }
        url
    }

    pub(super) fn read(query: &mut Query<'a>, headers: &HeaderMap) -> Result<Watch<'a>, Problem> {
        negotiate::check_accepts(headers, EVENT_STREAM)?;
        let key = query.take_key("key", "key_b64")?;
        let prefix = query.take_key("prefix", "prefix_b64")?;
        let filter = match (key, prefix) {
            (Some(key), None) => Filter::Key(key),
            (None, prefix) => Filter::Prefix(prefix.unwrap_or(Key::empty())),
            (Some(_), Some(_)) => return Err(Problem::new(BAD_QUERY, "`key` and `prefix` exclude each other")),
        };
        let base64 = query.take_base64()?;
        let from = query.take_revision("from")?;
        // Who comes back asks the same URL again, and says how far it had come.
        let from = last_event_id(headers)?.map(|seen| Revision(seen.0.saturating_add(1))).or(from);
        Ok(Watch { filter, from, base64 })
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Revision>, Problem> {
    let mut values = headers.get_all("last-event-id").iter();
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else { return Ok(None) };
    match digits(value.as_bytes()) {
        Some(revision) if second.is_none() => Ok(Some(Revision(revision))),
        _ => Err(Problem::new(BAD_HEADER, "Last-Event-ID is the `id` of an event of this stream: one revision")),
    }
}

/// The head of the answer. What follows are the commits after `place` of the store `epoch`.
///
/// # Panics
/// Never: hexadecimal digits are a header's value.
pub fn head(epoch: Epoch, place: Revision) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(KVD_STORE, epoch.to_string().parse().expect("hexadecimal digits are a header's value"));
    headers.insert(KVD_REVISION, HeaderValue::from(place.0));
    response
}

/// A comment, and the place: who comes back with it goes on after the commit `place`.
pub fn write_place(comment: &str, place: Revision, to: &mut Vec<u8>) {
    write(to, format_args!(": {comment}\nid: {place}\n\n"));
}

/// The event that a watch ends with when it was too slow.
pub fn write_lagged(lagged: WatchLagged, to: &mut Vec<u8>) {
    to.extend_from_slice(b"event: lagged\ndata: ");
    to.extend_from_slice(&lagged.encode(Format::Json, false));
    to.extend_from_slice(b"\n\n");
}

/// One commit on its way to becoming an event.
#[derive(Clone, Debug)]
pub struct CommitText {
    /// The commit's.
    etag: Etag,
    base64: bool,
    /// Something was written: there is an event to end.
    has_begun: bool,
    /// The value that is being written.
    value: Option<Value>,
}

/// A value of which some is written.
#[derive(Clone, Copy, Debug)]
struct Value {
    spelling: Spelling,
    /// Bytes of it that are written.
    written: usize,
}

/// How a value is written.
#[derive(Clone, Copy, Debug)]
enum Spelling {
    /// It depends on what it holds; so many bytes are known to be UTF-8.
    Unknown {
        checked: usize,
    },
    Text,
    Base64,
}

impl CommitText {
    /// A commit of which nothing is written yet; with `base64` values are never written as text.
    pub fn new(etag: Etag, base64: bool) -> CommitText {
        CommitText { etag, base64, has_begun: false, value: None }
    }

    /// Whether something was written.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Writes the next effect, or some more of it. Returns whether it is written; if not, go on with the same one.
    pub fn write(&mut self, effect: &Effect<'_>, to: &mut Vec<u8>) -> bool {
        let begun = self.value.take();
        if begun.is_none() {
            self.begin(effect, to);
        }
        let Effect::Put { value, .. } = effect else { return true };
        let spelling = if self.base64 { Spelling::Base64 } else { Spelling::Unknown { checked: 0 } };
        let mut unfinished = begun.unwrap_or(Value { spelling, written: 0 });
        let is_written = unfinished.write(value, to);
        self.value = (!is_written).then_some(unfinished);
        is_written
    }

    /// Ends the event. A commit of which nothing was written is none.
    pub fn end(self, to: &mut Vec<u8>) {
        if self.has_begun {
            to.extend_from_slice(b"]}\n\n");
        }
    }

    /// All of an effect but its value.
    fn begin(&mut self, effect: &Effect<'_>, to: &mut Vec<u8>) {
        let revision = self.etag.revision;
        if self.has_begun {
            to.push(b',');
        } else {
            self.has_begun = true;
            write(to, format_args!("id: {revision}\nevent: commit\ndata: {{\"revision\":{revision},\"events\":["));
        }
        let event = WatchEvent::new(effect, self.etag);
        to.extend_from_slice(&encode(Format::Json, &EventWire::without_value(&event, Format::Json)));
        if matches!(effect, Effect::Put { .. }) {
            // Its last brace comes after the value.
            to.pop();
        }
    }
}

impl Value {
    fn write(&mut self, value: &[u8], to: &mut Vec<u8>) -> bool {
        if self.written == 0 {
            self.choose(value);
            match self.spelling {
                Spelling::Unknown { .. } => return false,
                Spelling::Text => to.extend_from_slice(b",\"value\":\""),
                Spelling::Base64 => to.extend_from_slice(b",\"value_b64\":\""),
            }
        }
        let mut end = value.len().min(self.written + PIECE_BYTES);
        if let Spelling::Text = self.spelling {
            // Not within a character.
            while value.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
                end -= 1;
            }
            let text = std::str::from_utf8(&value[self.written..end]).expect("it was checked");
            let quoted = serde_json::to_vec(text).expect("text can be written");
            to.extend_from_slice(&quoted[1..quoted.len() - 1]);
        } else {
            write(to, format_args!("{}", Base64Display::new(&value[self.written..end], &STANDARD)));
        }
        self.written = end;
        let is_written = end == value.len();
        if is_written {
            to.extend_from_slice(b"\"}");
        }
        is_written
    }

    /// Looks at some more of the value.
    fn choose(&mut self, value: &[u8]) {
        let Spelling::Unknown { checked } = self.spelling else { return };
        let end = value.len().min(checked + CHECKED_BYTES);
        let checked = match std::str::from_utf8(&value[checked..end]) {
            Ok(_) => end,
            // A character may go on after what was looked at.
            Err(error) if error.error_len().is_none() && end < value.len() => checked + error.valid_up_to(),
            Err(_) => {
                self.spelling = Spelling::Base64;
                return;
            }
        };
        self.spelling = if checked == value.len() { Spelling::Text } else { Spelling::Unknown { checked } };
    }
}

fn write(to: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    to.write_fmt(text).expect("writing to memory");
}
