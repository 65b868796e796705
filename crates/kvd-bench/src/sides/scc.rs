//! scc's map: buckets with a lock each, resized step by step. Knows nothing of what is measured.

use bytes::Bytes;
use scc::HashMap;

use super::{Access, Handle, Hasher, Side};

pub(super) struct Scc(HashMap<Box<[u8]>, Box<[u8]>, Hasher>);

impl Side for Scc {
    type Handle<'a> = &'a Scc;

    fn empty(_keys: usize, _value_bytes: usize) -> Self {
        Scc(HashMap::with_hasher(Hasher::default()))
    }

    fn handle(&self) -> &Scc {
        self
    }
}

impl Handle for &Scc {
    type Access<'a>
        = &'a Scc
    where
        Self: 'a;

    fn batch(&mut self) -> &Scc {
        self
    }
}

impl Access for &Scc {
    #[inline]
    fn get(&mut self, key: &[u8], out: &mut [u8]) -> Option<usize> {
        self.0.read_sync(key, |_, value| {
            out[..value.len()].copy_from_slice(value);
            value.len()
        })
    }

    fn insert(&mut self, key: &[u8], value: &Bytes) {
        let _new: Result<(), _> = self.0.insert_sync(key.into(), value[..].into());
    }

    /// Replaces the value alone, which spares allocating the key again.
    fn set(&mut self, key: &[u8], value: &Bytes) {
        let new: Box<[u8]> = value[..].into();
        // The old value comes out and is freed after the lock is.
        let old = self.0.update_sync(key, |_, old| std::mem::replace(old, new));
        old.expect("a key that is set again is there");
    }

    fn remove(&mut self, key: &[u8]) {
        self.0.remove_sync(key);
    }
}
