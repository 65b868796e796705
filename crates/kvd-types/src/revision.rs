//! The order of commits: revisions, the epoch of the store that gave them, and the entity tag made of both.

use std::fmt;
use std::str::FromStr;

/// The number of a commit. Every commit gets the next one, whatever keys it changes; 0 is the empty store.
///
/// # Units
/// Commits since the store began. Fits 53 bits, so that JSON readers keep it exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which store gave a revision: random, drawn once when a store is created. Two stores with the same revision of the same key
/// are told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A strong entity tag: the version of one key in one store.
///
/// # Shape
/// `e1b2c3d4-42`: the epoch as eight lower-case hex digits, a dash, the revision in decimal. HTTP wraps it in double quotes;
/// bodies carry it bare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Etag {
    /// The store.
    pub epoch: Epoch,
    /// The key's revision in it.
    pub revision: Revision,
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.revision)
    }
}

impl FromStr for Etag {
    type Err = ();

    /// Reads exactly what [`Display`](fmt::Display) writes. Anything else is no tag of ours, and so matches nothing.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, revision) = text.split_once('-').ok_or(())?;
        let tag = Etag {
            epoch: Epoch(u32::from_str_radix(epoch, 16).map_err(drop)?),
            revision: Revision(revision.parse().map_err(drop)?),
        };
        if tag.to_string() == text { Ok(tag) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_has_one_spelling() {
        let tag = Etag { epoch: Epoch(0x0b2c3d4), revision: Revision(42) };
        assert_eq!(tag.to_string(), "00b2c3d4-42");
        assert_eq!("00b2c3d4-42".parse(), Ok(tag));
        for other in ["b2c3d4-42", "00B2C3D4-42", "00b2c3d4-042", "00b2c3d4-+42", "00b2c3d4-", "-42", "x", ""] {
            assert_eq!(other.parse::<Etag>(), Err(()), "{other}");
        }
    }
}
