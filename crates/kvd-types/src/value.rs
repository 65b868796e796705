//! What a key holds besides its bytes: the content type stored with a value.
//! The value itself is `bytes::Bytes`: it is shared with the sockets that send it, never copied for them.

use std::fmt;

use bytes::Bytes;

/// Longest content type that is stored, in bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// The media type a client stored with a value; given back as it came, never interpreted.
///
/// # Shape
/// 1 to [`CONTENT_TYPE_BYTES_MAX`] bytes, each a visible ASCII character or a space between two of them: what a header can
/// carry without quoting.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentType(Bytes);

/// The bytes offered as a content type can't be sent back in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a content type is 1 to {CONTENT_TYPE_BYTES_MAX} visible ASCII characters, spaces only between them")]
pub struct InvalidContentType;

impl ContentType {
    /// What a value has when the client said nothing; it costs no byte in the store.
    pub const DEFAULT: &'static str = "application/octet-stream";

    /// Takes `text` as a content type.
    ///
    /// # Errors
    /// [`InvalidContentType`] when it is empty, too long, or could not be sent back.
    pub fn new(text: &[u8]) -> Result<Self, InvalidContentType> {
        let sendable = text.iter().all(|byte| (b' '..=b'~').contains(byte));
        let trimmed = text.first() != Some(&b' ') && text.last() != Some(&b' ');
        if text.is_empty() || text.len() > CONTENT_TYPE_BYTES_MAX || !sendable || !trimmed {
            return Err(InvalidContentType);
        }
        Ok(ContentType(Bytes::copy_from_slice(text)))
    }

    /// The content type as it was given.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked to be ASCII by new")
    }

    /// Its bytes, shared.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_header_can_carry() {
        for good in ["text/plain", "text/plain; charset=utf-8", "x"] {
            assert_eq!(ContentType::new(good.as_bytes()).unwrap().as_str(), good);
        }
        for bad in ["", " text/plain", "text/plain ", "a\nb", "a\u{7f}", "\u{e4}", &"x".repeat(256)] {
            assert_eq!(ContentType::new(bad.as_bytes()), Err(InvalidContentType), "{bad:?}");
        }
    }
}
