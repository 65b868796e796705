//! One shard: a table of records and the sizes of what it holds, kept exact at every change. Its caller holds its lock.

use kvd_types::{Effect, Revision};

use super::Record;
use super::table::Table;

/// The records of one shard.
pub(crate) struct Shard {
    table: Table,
    totals: Totals,
}

/// Sizes of what is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Keys that have a value.
    pub keys: u64,
    /// Lengths of their keys together.
    pub key_bytes: u64,
    /// Lengths of their values together.
    pub value_bytes: u64,
    /// What the records take beside keys and values, without what the allocator adds.
    pub record_bytes: u64,
    /// Size of the index itself.
    pub index_bytes: u64,
}

impl Totals {
    /// Everything together.
    pub fn memory_bytes(&self) -> u64 {
        self.key_bytes + self.value_bytes + self.record_bytes + self.index_bytes
    }

    pub(crate) fn add(&mut self, other: &Totals) {
        self.keys += other.keys;
        self.key_bytes += other.key_bytes;
        self.value_bytes += other.value_bytes;
        self.record_bytes += other.record_bytes;
        self.index_bytes += other.index_bytes;
    }

    fn count(&mut self, record: &Record) {
        self.key_bytes += record.key().len() as u64;
        self.value_bytes += record.value().len() as u64;
        self.record_bytes += record.overhead_bytes() as u64;
    }

    fn discount(&mut self, record: &Record) {
        self.key_bytes -= record.key().len() as u64;
        self.value_bytes -= record.value().len() as u64;
        self.record_bytes -= record.overhead_bytes() as u64;
    }
}

impl Shard {
    pub(super) fn new(shard_bits: u32) -> Shard {
        Shard { table: Table::new(shard_bits), totals: Totals::default() }
    }

    /// The record with this key, whose hash is `hash`.
    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Option<&Record> {
        self.table.get(hash, key)
    }

    /// Carries out one effect of the commit `revision`. The one place where what is stored changes.
    ///
    /// Returns the record that went, so that its memory is freed when no lock is held any more.
    pub(crate) fn apply(&mut self, hash: u64, effect: Effect<'_>, revision: Revision) -> Option<Box<Record>> {
        let gone = match effect {
            Effect::Put { key, value, content_type } => {
                let record = Box::new(Record::new(&key, value, content_type, revision));
                self.totals.count(&record);
                self.table.insert(hash, record)
            }
            Effect::Delete { key } => self.table.remove(hash, key.as_bytes()),
        };
        if let Some(gone) = &gone {
            self.totals.discount(gone);
        }
        gone
    }

    /// All records whose hash is `hash` or higher, in order of hash.
    pub(crate) fn records_from(&self, hash: u64) -> impl Iterator<Item = (u64, &Record)> {
        self.table.records_from(hash)
    }

    /// Sizes of what the shard holds now.
    pub(crate) fn totals(&self) -> Totals {
        Totals { keys: self.table.len() as u64, index_bytes: self.table.slot_bytes() as u64, ..self.totals }
    }
}
