//! dashmap: shards behind reader-writer locks, as many as it makes by default. Knows nothing of what is measured.

use bytes::Bytes;
use dashmap::DashMap;

use super::{Access, Handle, Hasher, Side};

pub(super) struct Dashmap(DashMap<Box<[u8]>, Box<[u8]>, Hasher>);

impl Side for Dashmap {
    type Handle<'a> = &'a Dashmap;

    fn empty(_keys: usize, _value_bytes: usize) -> Self {
        Dashmap(DashMap::with_hasher(Hasher::default()))
    }

    fn handle(&self) -> &Dashmap {
        self
    }
}

impl Handle for &Dashmap {
    type Access<'a>
        = &'a Dashmap
    where
        Self: 'a;

    fn batch(&mut self) -> &Dashmap {
        self
    }
}

impl Access for &Dashmap {
    #[inline]
    fn get(&mut self, key: &[u8], out: &mut [u8]) -> Option<usize> {
        let value = self.0.get(key)?;
        out[..value.len()].copy_from_slice(&value);
        Some(value.len())
    }

    fn insert(&mut self, key: &[u8], value: &Bytes) {
        self.0.insert(key.into(), value[..].into());
    }

    /// Replaces the value alone, which spares allocating the key again.
    fn set(&mut self, key: &[u8], value: &Bytes) {
        *self.0.get_mut(key).expect("a key that is set again is there") = value[..].into();
    }

    fn remove(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}
