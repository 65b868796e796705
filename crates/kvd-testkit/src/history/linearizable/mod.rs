//! Linearizability of single keys: whether there is one order of a key's operations, in accord with their intervals, in
//! which each answer is right. Owns the vocabulary and the report; the search is below. Knows one key at a time: what
//! holds between keys is for [`serializable`](super::serializable).
//!
//! Revisions count where they were answered: along the order those of writes grow, and a read's is that of the write it
//! saw. A condition on a revision that was refused proves nothing while no answer has said the version's revision. Expiry
//! is not modelled: a key that may expire is none for this checker.

mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use search::{Step, search};

use super::{Record, Version, at};

/// At most so many earlier operations are shown with a violation.
const SHOWN_EARLIER_MAX: usize = 6;

/// An operation on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyOperation {
    /// The key, as a number that the test gives it.
    pub key: u64,
    /// What was asked and answered.
    pub operation: Operation,
}

/// What is asked of a key, and the answer. In a record without a response the answer doesn't count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A read.
    Get {
        /// What was found; none when the key was absent.
        found: Option<Version>,
        /// The answer's claim that it is not older than this revision, if it made one: whatever was committed up to it
        /// comes before the read.
        at_least: Option<u64>,
    },
    /// A write, done exactly if its condition holds.
    Set {
        /// What to write. Values should be written once for each key: then the search is fast.
        value: u64,
        /// When to write.
        condition: Condition,
        /// What was answered.
        answer: Answer,
    },
    /// A removal, done exactly if its condition holds and the key exists.
    Delete {
        /// When to remove.
        condition: Condition,
        /// What was answered; [`Answer::Refused`] also when there was nothing to remove.
        answer: Answer,
    },
}

/// What a write asks of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// The key must be absent.
    Absent,
    /// The key must exist.
    Exists,
    /// The key's version must be of this revision.
    Revision(u64),
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done {
        /// The commit's revision, if the answer said it.
        revision: Option<u64>,
    },
    /// Nothing was changed.
    Refused,
}

/// Operations on one key that no order explains.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The key.
    pub key: u64,
    /// The first operation, by responses, that can't be explained together with all that had responded before.
    pub operation: Record<KeyOperation>,
    /// What the key could be just before that response, after all that had responded.
    pub states: Vec<String>,
    /// The other operations whose intervals meet that operation's.
    pub concurrent: Vec<Record<KeyOperation>>,
    /// The last operations before them, and whatever wrote what the operation saw.
    pub earlier: Vec<Record<KeyOperation>>,
}

/// Looks for an order for each key. Cost: about linear in the operations, and exponential in the writes that overlap each
/// other without a revision and without a read that tells their order.
///
/// # Errors
/// The violation of the first key, by number, that has one.
///
/// # Panics
/// When more than 64 operations on one key are open at once, or more than 128 writes of one key have an unknown outcome
/// and are seen by no read.
pub fn check(history: &[Record<KeyOperation>]) -> Result<(), Box<Violation>> {
    let mut keys: BTreeMap<u64, Vec<Record<KeyOperation>>> = BTreeMap::new();
    for record in history {
        keys.entry(record.operation.key).or_default().push(record.clone());
    }
    for (key, mut records) in keys {
        records.sort_by_key(|record| record.invoked);
        let steps = search::prepare(&records);
        search(&steps).map_err(|dead| report(key, &records, &steps, dead))?;
    }
    Ok(())
}

/// As [`check`], for tests.
///
/// # Panics
/// When there is a violation; shows it. Also as [`check`].
pub fn assert_linearizable(history: &[Record<KeyOperation>]) {
    check(history).unwrap_or_else(|violation| panic!("{violation}"));
}

fn report(key: u64, records: &[Record<KeyOperation>], steps: &[Step], dead: search::DeadEnd) -> Box<Violation> {
    let failed = steps[dead.step].record;
    let operation = records[failed].clone();
    let end = steps[dead.step].responded.expect("the search ends at a response");
    let before = |record: &Record<KeyOperation>| record.responded.is_some_and(|instant| instant < operation.invoked);
    let others = || records.iter().enumerate().filter(|&(index, record)| index != failed && record.invoked <= end);
    let concurrent = others().map(|(_, record)| record).filter(|record| !before(record)).cloned().collect();
    let mut past: Vec<&Record<KeyOperation>> =
        others().map(|(_, record)| record).filter(|record| before(record)).collect();
    past.sort_by_key(|record| record.responded);
    let recent = past.len().saturating_sub(SHOWN_EARLIER_MAX);
    let is_source = |record: &Record<KeyOperation>| match (operation.operation.operation, record.operation.operation) {
        (Operation::Get { found: Some(found), .. }, Operation::Set { value, .. }) => found.value == value,
        _ => false,
    };
    let shown = |&(index, record): &(usize, &Record<KeyOperation>)| index >= recent || is_source(record);
    let earlier = past.into_iter().enumerate().filter(shown).map(|(_, record)| record.clone()).collect();
    Box::new(Violation { key, operation, states: dead.states, concurrent, earlier })
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "key {} is not linearizable; nothing explains\n    {}", self.key, self.operation)?;
        writeln!(f, "for before its response the key can only have been")?;
        self.states.iter().try_for_each(|state| writeln!(f, "    {state}"))?;
        for (title, records) in [("beside it ran", &self.concurrent), ("earlier", &self.earlier)] {
            if !records.is_empty() {
                writeln!(f, "{title}")?;
                records.iter().try_for_each(|record| writeln!(f, "    {record}"))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for KeyOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation {
            Operation::Get { found: Some(version), at_least } => write!(f, "get -> {version}{}", not_older(at_least)),
            Operation::Get { found: None, at_least } => write!(f, "get -> absent{}", not_older(at_least)),
            Operation::Set { value, condition, answer } => write!(f, "set {value}{condition} -> {answer}"),
            Operation::Delete { condition, answer } => write!(f, "delete{condition} -> {answer}"),
        }
    }
}

fn not_older(at_least: Option<u64>) -> String {
    at_least.map(|revision| format!(", not older than {revision}")).unwrap_or_default()
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Always => Ok(()),
            Condition::Absent => f.write_str(" if absent"),
            Condition::Exists => f.write_str(" if it exists"),
            Condition::Revision(revision) => write!(f, " if @ {revision}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Done { revision } => write!(f, "done{}", at(*revision)),
            Answer::Refused => f.write_str("refused"),
        }
    }
}
