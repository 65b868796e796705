//! A key: any string of bytes up to [`KEY_BYTES_CEILING`]. Never normalised, never case-folded.
//! Knows nothing of how a key is written in a URL, a JSON body or a command line.

use std::borrow::{Borrow, Cow};
use std::fmt;

use crate::KEY_BYTES_CEILING;

/// A key, borrowed from the request that named it or owned.
///
/// A get borrows its key from the connection's buffer, so that looking a key up allocates nothing.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key<'a>(Cow<'a, [u8]>);

/// The bytes offered as a key are more than [`KEY_BYTES_CEILING`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has at most {KEY_BYTES_CEILING} bytes, this one has {actual}")]
pub struct KeyTooLong {
    /// Length of what was offered, in bytes.
    pub actual: usize,
}

impl<'a> Key<'a> {
    /// Takes `bytes` as a key; the empty string is a key like any other.
    ///
    /// # Errors
    /// [`KeyTooLong`] above [`KEY_BYTES_CEILING`].
    pub fn new(bytes: impl Into<Cow<'a, [u8]>>) -> Result<Self, KeyTooLong> {
        let bytes = bytes.into();
        if bytes.len() > KEY_BYTES_CEILING {
            return Err(KeyTooLong { actual: bytes.len() });
        }
        Ok(Key(bytes))
    }

    /// The empty key.
    pub const fn empty() -> Self {
        Key(Cow::Borrowed(&[]))
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key as text, if it is UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this is the empty key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same key, borrowed from this one.
    pub fn borrow(&self) -> Key<'_> {
        Key(Cow::Borrowed(&self.0))
    }

    /// The same key, owning its bytes.
    pub fn into_owned(self) -> Key<'static> {
        Key(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// A key in a map is found by its bytes: they are ordered and hashed alike.
impl Borrow<[u8]> for Key<'_> {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Key<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_is_inclusive() {
        assert_eq!(Key::new(vec![b'k'; KEY_BYTES_CEILING]).unwrap().len(), KEY_BYTES_CEILING);
        assert_eq!(Key::new(vec![b'k'; KEY_BYTES_CEILING + 1]), Err(KeyTooLong { actual: KEY_BYTES_CEILING + 1 }));
    }
}
