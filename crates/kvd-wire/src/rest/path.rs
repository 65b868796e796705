//! A key in a URL, both directions: percent-encoded after `/v1/keys/`, base64url after `/v1/k64/`; after other verbs likewise,
//! `/v1/ttl/` and `/v1/ttl64/`.
//! Knows the two spellings and which of them survives the libraries and proxies between client and server; the rest of a
//! request is not its business.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kvd_types::{Key, KeyTooLong};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// What stands before a percent-encoded key.
pub(crate) const PATH_PREFIX: &str = "/v1/keys/";

/// What stands before a key in base64url.
pub(crate) const BASE64_PREFIX: &str = "/v1/k64/";

/// The empty key in base64url: no base64 is one character long, so nothing else can mean this.
const BASE64_EMPTY: &str = "-";

/// Longest key that is written percent-encoded, in bytes. Above it base64url is shorter for all but plain keys.
const PATH_KEY_BYTES_MAX: usize = 1024;

/// Longest key that is written in a URL at all. In base64url it takes 64,171 bytes; the rest of [`kvd_types::URL_BYTES_MAX`]
/// is for the scheme and host that a proxy wants before it.
pub(crate) const URL_KEY_BYTES_MAX: usize = 47 << 10;

/// Everything but RFC 3986's unreserved characters.
pub(crate) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// In a path, `/` means itself.
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// How a client names a key in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// The whole path, `/v1/keys/a%20b`.
    Path(String),
    /// The whole path, `/v1/k64/YWI`.
    Base64(String),
    /// Too long for a URL: the command travels as a batch of one.
    Body,
}

/// The form of a key that arrives as it was sent, whatever URL library or proxy handles it.
pub fn form_for(key: &Key<'_>) -> KeyForm {
    form_after(PATH_PREFIX, BASE64_PREFIX, key)
}

/// As [`form_for`], for a route that names its verb before the key: `ttl`, `incr`, `history`, `rollback`.
pub fn form_below(verb: &str, key: &Key<'_>) -> KeyForm {
    form_after(&format!("/v1/{verb}/"), &format!("/v1/{verb}64/"), key)
}

fn form_after(path_prefix: &str, base64_prefix: &str, key: &Key<'_>) -> KeyForm {
    if let Some(text) = key.as_text().filter(|text| survives_in_path(text)) {
        return KeyForm::Path(format!("{path_prefix}{}", utf8_percent_encode(text, RESERVED_IN_PATH)));
    }
    if key.len() > URL_KEY_BYTES_MAX {
        return KeyForm::Body;
    }
    let mut path = String::from(base64_prefix);
    if key.is_empty() {
        path.push_str(BASE64_EMPTY);
    } else {
        URL_SAFE_NO_PAD.encode_string(key.as_bytes(), &mut path);
    }
    KeyForm::Base64(path)
}

/// Libraries drop `.` segments, merge slashes, and refuse or cut at control characters.
fn survives_in_path(text: &str) -> bool {
    text.len() <= PATH_KEY_BYTES_MAX
        && !text.bytes().any(|byte| byte.is_ascii_control())
        && text.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// Why text in a URL is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// A percent sign that begins no escape.
    #[error("the % at byte {position} is not followed by two hexadecimal digits; a percent sign itself is written %25")]
    Escape {
        /// Offset in the text that was to be decoded.
        position: usize,
    },
    /// Not the one base64url spelling of any key.
    #[error("not base64url without padding: {0}")]
    Base64(base64::DecodeError),
    /// Nothing where a base64url key should be.
    #[error("no key; the empty key is written {BASE64_EMPTY}")]
    NoBase64,
    /// Longer than any key.
    #[error(transparent)]
    TooLong(#[from] KeyTooLong),
}

/// The key in what follows `/v1/keys/`: percent-decoded exactly once, byte by byte. Borrowed when there is nothing to decode.
///
/// # Errors
/// [`BadKey::Escape`] and [`BadKey::TooLong`].
pub fn decode(raw: &str) -> Result<Key<'_>, BadKey> {
    Ok(Key::new(unescape(raw)?)?)
}

/// The key in what follows `/v1/k64/`.
///
/// # Errors
/// [`BadKey`], but for `Escape`: there are no escapes in base64url.
pub fn decode_base64url(raw: &str) -> Result<Key<'static>, BadKey> {
    match raw {
        "" => Err(BadKey::NoBase64),
        BASE64_EMPTY => Ok(Key::empty()),
        _ => Ok(Key::new(URL_SAFE_NO_PAD.decode(raw).map_err(BadKey::Base64)?)?),
    }
}

/// The key of a route that names `verb` before it, in either form; none if the path is of another.
pub(crate) fn key_below<'a>(path: &'a str, verb: &str) -> Option<Result<Key<'a>, BadKey>> {
    let rest = path.strip_prefix("/v1/")?.strip_prefix(verb)?;
    match rest.strip_prefix('/') {
        Some(raw) => Some(decode(raw)),
        None => rest.strip_prefix("64/").map(decode_base64url),
    }
}

/// Percent-decodes once and refuses what the library would leave as it stands.
pub(crate) fn unescape(raw: &str) -> Result<Cow<'_, [u8]>, BadKey> {
    let raw = raw.as_bytes();
    let begins_no_escape = |position: &usize| match raw.get(position + 1..position + 3) {
        Some(digits) => !digits.iter().all(u8::is_ascii_hexdigit),
        None => true,
    };
    let mut signs = raw.iter().enumerate().filter(|&(_, &byte)| byte == b'%').map(|(position, _)| position);
    match signs.find(begins_no_escape) {
        Some(position) => Err(BadKey::Escape { position }),
        None => Ok(percent_decode(raw).into()),
    }
}
