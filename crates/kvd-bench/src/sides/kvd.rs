//! kvd's engine, and all that this program knows of its interface. A batch needs nothing: each call pins by a plain store, and
//! each write frees its share of what was retired. Knows nothing of what is measured.

use std::hint::black_box;

use bytes::Bytes;
use kvd_engine::{Config, Engine, Found, Worker};
use kvd_types::{Command, Delete, Key, Revision, Set};

use super::{Access, Handle, Side};

pub(super) struct Kvd(Engine);

pub(super) struct Session<'a> {
    engine: &'a Engine,
    worker: Worker,
}

impl Side for Kvd {
    type Handle<'a> = Session<'a>;

    fn empty(_keys: usize, _value_bytes: usize) -> Self {
        Kvd(Engine::open(Config::default()))
    }

    fn handle(&self) -> Session<'_> {
        Session { engine: &self.0, worker: self.0.worker() }
    }
}

impl<'s> Handle for Session<'s> {
    type Access<'a>
        = &'a mut Session<'s>
    where
        Self: 'a;

    fn batch(&mut self) -> &mut Session<'s> {
        self
    }
}

impl Session<'_> {
    fn execute(&mut self, command: &Command<'_>) {
        self.engine.execute(&mut self.worker, command).expect("keys and values are within the limits");
    }
}

impl Access for &mut Session<'_> {
    #[inline]
    fn get(&mut self, key: &[u8], out: &mut [u8]) -> Option<usize> {
        self.engine.get_with(&mut self.worker, key, |found| copy(found, out))
    }

    fn insert(&mut self, key: &[u8], value: &Bytes) {
        self.set(key, value);
    }

    fn set(&mut self, key: &[u8], value: &Bytes) {
        self.execute(&Command::Set(Set::new(borrowed(key), value.clone())));
    }

    fn remove(&mut self, key: &[u8]) {
        self.execute(&Command::Delete(Delete::new(borrowed(key))));
    }

    fn get_many(&mut self, keys: &[&[u8]], out: &mut [u8]) -> usize {
        let mut count = 0;
        self.engine.get_many(&mut self.worker, keys, |_, found| {
            count += usize::from(copy(found, out).is_some());
            black_box(&*out);
        });
        count
    }

    fn set_each(&mut self, keys: &[&[u8]], value: &Bytes) {
        let sets: Vec<_> = keys.iter().map(|key| Command::Set(Set::new(borrowed(key), value.clone()))).collect();
        self.engine.execute_batch(&mut self.worker, &sets, Revision(0), |_, reply, _| {
            reply.expect("keys and values are within the limits");
        });
    }

    fn set_many(&mut self, keys: &[&[u8]], value: &Bytes) {
        let sets = keys.iter().map(|key| Set::new(borrowed(key), value.clone())).collect();
        self.execute(&Command::MultiSet { sets });
    }
}

#[inline]
fn copy(found: Option<Found<'_>>, out: &mut [u8]) -> Option<usize> {
    let value = found?.value();
    out[..value.len()].copy_from_slice(value);
    Some(value.len())
}

fn borrowed(key: &[u8]) -> Key<'_> {
    Key::new(key).expect("keys are short")
}
