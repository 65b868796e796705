//! papaya's map, which readers use without a lock. A batch is a pin, which its documentation advises to reuse within reason.
//! Knows nothing of what is measured.

use bytes::Bytes;
use papaya::{HashMap, HashMapRef, LocalGuard};

use super::{Access, Handle, Hasher, Side};

pub(super) struct Papaya(HashMap<Box<[u8]>, Box<[u8]>, Hasher>);

type Pinned<'a> = HashMapRef<'a, Box<[u8]>, Box<[u8]>, Hasher, LocalGuard<'a>>;

impl Side for Papaya {
    type Handle<'a> = &'a Papaya;

    fn empty(_keys: usize, _value_bytes: usize) -> Self {
        Papaya(HashMap::with_hasher(Hasher::default()))
    }

    fn handle(&self) -> &Papaya {
        self
    }
}

impl Handle for &Papaya {
    type Access<'a>
        = Pinned<'a>
    where
        Self: 'a;

    fn batch(&mut self) -> Pinned<'_> {
        self.0.pin()
    }
}

impl Access for Pinned<'_> {
    #[inline]
    fn get(&mut self, key: &[u8], out: &mut [u8]) -> Option<usize> {
        let value = HashMapRef::get(self, key)?;
        out[..value.len()].copy_from_slice(value);
        Some(value.len())
    }

    fn insert(&mut self, key: &[u8], value: &Bytes) {
        HashMapRef::insert(self, key.into(), value[..].into());
    }

    fn set(&mut self, key: &[u8], value: &Bytes) {
        HashMapRef::insert(self, key.into(), value[..].into());
    }

    fn remove(&mut self, key: &[u8]) {
        HashMapRef::remove(self, key);
    }
}
