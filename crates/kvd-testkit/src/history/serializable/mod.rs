//! Strict serializability of transactions, in the order of their revisions: finds anomalies by name. Owns the vocabulary
//! and the walk through the steps; each step is a file below. Knows no scans: a read names its key.
//!
//! The store gives each commit a store-wide revision and promises that their order is *the* order: what comes before in a
//! dependency, in one process or in real time has the lower one. So the checker knows the order of the versions of each
//! key, and what is left to find is a contradiction: a cycle.
//!
//! | edge | from | to |
//! |---|---|---|
//! | `ww` | writer of a version | writer of the key's next version |
//! | `wr` | writer of a version | who read it |
//! | `rw` | who read a version, or an absence | writer of the next version |
//! | `process` | a transaction | the next that its process invoked |
//! | `realtime` | a transaction | those invoked after its response |
//! | `revision` | a commit | those with higher revisions; also to and from views that claim one |
//!
//! **Absences** have no number, so which one a read saw is to be found out. For that, transactions are given positions in
//! the order of revisions: a commit has its own, a reader with a claim has that, and any other gets, in the order of
//! invocations, the lowest at which all that it read held and that is not before the position of whoever had responded.
//! If the store kept its promises, these positions are all right at once, since each is the lowest possible: edges that are
//! drawn by them accuse nobody wrongly. If there is no such position, every choice closes a cycle.
//!
//! **What is not known accuses nobody.** A transaction of unknown outcome takes part as a writer when somebody read a value
//! of it; its revision is what readers were told. A commit whose revision nobody told has `wr` edges only; and where such
//! a one may have deleted a key, absences of that key say nothing. A version is known by its value: a test writes each
//! value once for each key.
//!
//! ```
//! use kvd_testkit::history::serializable::{Kind, Mode, Outcome, Transaction, check};
//! use kvd_testkit::history::{LogicalClock, Process, Version, merge};
//!
//! let clock = LogicalClock::new();
//! let (mut writer, mut reader) = (Process::new(1, || clock.tick()), Process::new(2, || clock.tick()));
//! let transaction = |revision, reads, writes| {
//!     let outcome = Outcome::Committed { revision };
//!     Transaction { mode: Mode::OneShot, outcome, read_revision: None, reads, writes }
//! };
//! let invocation = writer.invoke();
//! writer.respond(invocation, transaction(Some(1), vec![], vec![(7, Some(10)), (8, Some(11))]));
//! let invocation = reader.invoke();
//! let torn = vec![(7, Some(Version { value: 10, revision: Some(1) })), (8, None)];
//! reader.respond(invocation, transaction(None, torn, vec![]));
//! let found = check(&merge([writer.into_records(), reader.into_records()])).unwrap_err();
//! assert_eq!(found.0[0].kind, Kind::ReadSkew);
//! ```
//!
//! # Source
//! A. Adya, Weak Consistency, 1999, for the anomalies; K. Kingsbury and P. Alvaro, Elle, 2020, for finding them as cycles.

mod anomaly;
mod cycles;
mod graph;
mod placement;
#[cfg(test)]
mod tests;
mod versions;

use std::fmt;

pub use anomaly::{Anomalies, Anomaly, Kind, Order};
use graph::Graph;
use placement::place;
use versions::Versions;

use super::{Record, Version, at};

/// What a transaction asked and was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// What the store promises for its reads.
    pub mode: Mode,
    /// How it ended.
    pub outcome: Outcome,
    /// The revision that its reads are said to be of.
    pub read_revision: Option<u64>,
    /// Keys and what was found there; none for an absent key. Reads of the transaction's own writes don't belong here.
    pub reads: Vec<(u64, Option<Version>)>,
    /// Keys and their new values, none for a delete, in the order of the program: the last of a key is what it commits. A
    /// delete that found nothing belongs here only if it got a revision with the others.
    pub writes: Vec<(u64, Option<u64>)>,
}

/// What the store promises for the reads of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Read-only, over several requests. Its reads are of one state, which is that of `read_revision` and not older than
    /// its begin.
    View,
    /// Reads and writes over several requests. Its reads are of one state, also when it is aborted in the end, and hold
    /// when it commits. `read_revision` as for a view.
    Update,
    /// One request that does all: a command, a batch, a multi-get. As [`Mode::Update`], but `read_revision` is only one at
    /// which its reads held: there may be newer ones, of other keys.
    OneShot,
    /// Reads request by request, and a commit that is refused if they no longer hold, as `WATCH` and `EXEC`: nothing is
    /// promised of its reads unless it commits.
    Optimistic,
    /// A read of the past at `read_revision`, which is all that is promised.
    Historic,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Committed {
        /// The commit's revision, if it wrote and the answer said it.
        revision: Option<u64>,
    },
    /// It was refused or given up, and changed nothing.
    Aborted,
    /// Nobody knows, and it may still commit. The same holds for every record without response.
    Unknown,
}

/// Looks for anomalies; of cycles that hang together the one that needs the least to be seen. Cost: about linear.
///
/// # Errors
/// The anomalies, at least one and not all.
///
/// # Panics
/// When two transactions write the same value to the same key, or an instant of response lies before its invocation.
pub fn check(history: &[Record<Transaction>]) -> Result<(), Anomalies> {
    let (versions, mut found) = Versions::of(history);
    // The order of versions means nothing when two commits have the same place in it.
    if found.iter().all(|anomaly| anomaly.kind != Kind::RevisionReused) {
        found.extend(versions.wrong_states(history));
        let graph = Graph::of(history, &versions, &place(history, &versions));
        found.extend(graph.cycles().iter().map(|cycle| Anomaly::of_cycle(history, &versions, cycle)));
    }
    if found.is_empty() { Ok(()) } else { Err(Anomalies(found)) }
}

/// As [`check`], for tests.
///
/// # Panics
/// When there is an anomaly; shows what was found. Also as [`check`].
pub fn assert_serializable(history: &[Record<Transaction>]) {
    check(history).unwrap_or_else(|anomalies| panic!("{anomalies}"));
}

/// The outcome, as far as the record supports it.
fn outcome(record: &Record<Transaction>) -> Outcome {
    if record.responded.is_some() { record.operation.outcome } else { Outcome::Unknown }
}

/// When it was over; none when it may not be.
fn response(record: &Record<Transaction>) -> Option<u64> {
    record.responded.filter(|_| outcome(record) != Outcome::Unknown)
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::View => "view",
            Mode::Update => "update",
            Mode::OneShot => "one-shot",
            Mode::Optimistic => "optimistic",
            Mode::Historic => "historic",
        };
        match self.outcome {
            Outcome::Committed { revision } => write!(f, "{mode}, committed{}", at(revision))?,
            Outcome::Aborted => write!(f, "{mode}, aborted")?,
            Outcome::Unknown => write!(f, "{mode}, outcome unknown")?,
        }
        if let Some(revision) = self.read_revision {
            write!(f, ", reads of revision {revision}")?;
        }
        for (key, found) in &self.reads {
            match found {
                Some(version) => write!(f, "; read {key} = {version}")?,
                None => write!(f, "; read {key} absent")?,
            }
        }
        for (key, value) in &self.writes {
            match value {
                Some(value) => write!(f, "; wrote {key} = {value}")?,
                None => write!(f, "; deleted {key}")?,
            }
        }
        Ok(())
    }
}
