//! Anomalies: their names, and how one is told to a person. Knows nothing of how they are found.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::cycles::Hop;
use super::graph::{PROCESS, REALTIME, REVISION, RW, WR, WW};
use super::versions::{Versions, final_writes};
use super::{Record, Transaction};

/// At most so many anomalies of one kind are shown.
const SHOWN_PER_KIND_MAX: usize = 4;

/// What was found in a history; at least one.
#[derive(Clone, Debug)]
pub struct Anomalies(pub Vec<Anomaly>);

/// Something that a store which keeps its promises does not do.
#[derive(Clone, Debug)]
pub struct Anomaly {
    /// What it is.
    pub kind: Kind,
    /// The orders without which it would be none, for cycles: strongest last.
    pub orders: Vec<Order>,
    /// The transactions in question, as places in the history. The explanation calls them T1, T2 and so on.
    pub transactions: Vec<usize>,
    /// What happened, in lines.
    pub explanation: String,
}

/// The kinds of anomalies. Those that are cycles need no order in themselves; an [`Order`] says what else they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// G0: two transactions overwrite each other's writes.
    DirtyWrite,
    /// G1a: a read of what was never committed.
    AbortedRead,
    /// G1b: a read of what its own transaction overwrote.
    IntermediateRead,
    /// G1c: transactions that each depend on the other's writes.
    CircularInformationFlow,
    /// G-single: of two transactions that read a version and overwrote it, both committed.
    LostUpdate,
    /// G-single: one transaction sees some of another's effects, or of what came before them, and not the rest. With
    /// an order: a stale read.
    ReadSkew,
    /// G2: transactions that each overwrite what another read.
    WriteSkew,
    /// G2: readers that see the same writes in different orders.
    LongFork,
    /// No dependency, but revisions that run against real time: a commit with a lower revision than one that had been
    /// seen, or a view of an older state.
    RevisionOrder,
    /// A read of a value that nobody wrote.
    UnwrittenValue,
    /// Two commits of one revision.
    RevisionReused,
    /// A read that was told another revision of a version than its writer or other readers.
    WrongRevision,
    /// A read that is not of the state at the revision it claims.
    WrongState,
}

/// An order that transactions must keep beside their dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// That of one process.
    Process,
    /// That of responses before invocations.
    Realtime,
    /// That of revisions.
    Revision,
}

impl Anomaly {
    /// One that is no cycle.
    pub(super) fn direct(history: &[Record<Transaction>], kind: Kind, transactions: &[usize], text: String) -> Anomaly {
        let transactions = transactions.to_vec();
        let explanation = format!("{}  {text}\n", cast(history, &transactions));
        Anomaly { kind, orders: Vec::new(), transactions, explanation }
    }

    pub(super) fn of_cycle(history: &[Record<Transaction>], versions: &Versions, cycle: &[Hop]) -> Anomaly {
        let orders = [(PROCESS, Order::Process), (REALTIME, Order::Realtime), (REVISION, Order::Revision)];
        let is_needed = |&(kind, _): &(u8, Order)| cycle.iter().any(|hop| hop.kind == kind);
        let mut names: BTreeMap<usize, usize> = BTreeMap::new();
        let mut transactions = Vec::new();
        for hop in cycle {
            names.entry(hop.from).or_insert_with(|| {
                transactions.push(hop.from);
                transactions.len()
            });
        }
        let mut explanation = cast(history, &transactions);
        for hop in cycle {
            let (from, to) = (names[&hop.from], names[&hop.to]);
            explanation += &format!("  T{from} before T{to}: {}\n", reason(history, versions, hop, from, to));
        }
        let orders = orders.into_iter().filter(is_needed).map(|(_, order)| order).collect();
        Anomaly { kind: kind_of(history, cycle), orders, transactions, explanation }
    }

    /// The name in the literature, with the orders it needs: `G-single-realtime`.
    pub fn name(&self) -> String {
        let name = match self.kind {
            Kind::DirtyWrite => "G0",
            Kind::AbortedRead => "G1a",
            Kind::IntermediateRead => "G1b",
            Kind::CircularInformationFlow => "G1c",
            Kind::LostUpdate | Kind::ReadSkew => "G-single",
            Kind::WriteSkew | Kind::LongFork => "G2",
            Kind::RevisionOrder => "order",
            Kind::UnwrittenValue => "unwritten-value",
            Kind::RevisionReused => "revision-reused",
            Kind::WrongRevision => "wrong-revision",
            Kind::WrongState => "wrong-state",
        };
        let orders = self.orders.iter().map(|order| match order {
            Order::Process => "-process",
            Order::Realtime => "-realtime",
            Order::Revision => "-revision",
        });
        std::iter::once(name).chain(orders).collect()
    }

    fn title(&self) -> &'static str {
        match (self.kind, self.orders.is_empty()) {
            (Kind::DirtyWrite, _) => "dirty write",
            (Kind::AbortedRead, _) => "aborted read",
            (Kind::IntermediateRead, _) => "intermediate read",
            (Kind::CircularInformationFlow, _) => "circular information flow",
            (Kind::LostUpdate, _) => "lost update",
            (Kind::ReadSkew, true) => "read skew",
            (Kind::ReadSkew, false) => "stale read",
            (Kind::WriteSkew, _) => "write skew",
            (Kind::LongFork, _) => "long fork",
            (Kind::RevisionOrder, _) => "revisions against real time",
            (Kind::UnwrittenValue, _) => "a value that nobody wrote",
            (Kind::RevisionReused, _) => "a revision given twice",
            (Kind::WrongRevision, _) => "a version with two revisions",
            (Kind::WrongState, _) => "not the state at the revision",
        }
    }
}

fn kind_of(history: &[Record<Transaction>], cycle: &[Hop]) -> Kind {
    let has = |kind| cycle.iter().any(|hop| hop.kind == kind);
    let mut conflicts = cycle.iter().filter(|hop| hop.kind == RW);
    match (conflicts.next(), conflicts.next()) {
        (Some(conflict), None) => {
            let overwrites = |hop: &Hop| hop.kind == WW && hop.key == conflict.key;
            if cycle.len() == 2 && cycle.iter().any(overwrites) { Kind::LostUpdate } else { Kind::ReadSkew }
        }
        (Some(_), Some(_)) => {
            let reads_only = |hop: &Hop| hop.kind != RW || history[hop.from].operation.writes.is_empty();
            if cycle.iter().all(reads_only) { Kind::LongFork } else { Kind::WriteSkew }
        }
        (None, _) if has(WR) => Kind::CircularInformationFlow,
        (None, _) if has(WW) => Kind::DirtyWrite,
        (None, _) => Kind::RevisionOrder,
    }
}

/// The transactions by their names, a line for each.
fn cast(history: &[Record<Transaction>], transactions: &[usize]) -> String {
    let lines = transactions.iter().enumerate();
    lines.map(|(place, &transaction)| format!("  T{} = {}\n", place + 1, history[transaction])).collect()
}

fn reason(history: &[Record<Transaction>], versions: &Versions, hop: &Hop, from: usize, to: usize) -> String {
    let key = hop.key;
    let wrote = |transaction: usize| match final_writes(&history[transaction].operation).get(&key) {
        Some(Some(value)) => format!("wrote {key} = {value}"),
        _ => format!("deleted {key}"),
    };
    let read = || match history[hop.from].operation.reads.iter().find(|(read, _)| *read == key) {
        Some((_, Some(version))) => format!("read {key} = {version}"),
        _ => format!("read {key} absent"),
    };
    match hop.kind {
        WW => format!("T{from} {}, and T{to} {} next (ww)", wrote(hop.from), wrote(hop.to)),
        WR => format!("T{from} {}, which T{to} saw (wr)", wrote(hop.from)),
        RW => format!("T{from} {}, before T{to} {} (rw)", read(), wrote(hop.to)),
        PROCESS => format!("process {} invoked it before (process)", history[hop.from].process),
        REALTIME => {
            let responded = history[hop.from].responded.unwrap_or_default();
            format!("it responded at {responded}, before T{to} was invoked at {} (realtime)", history[hop.to].invoked)
        }
        _ => {
            let place = |transaction: usize| {
                let claim = history[transaction].operation.read_revision;
                versions.revision(transaction).or(claim).map_or("none".to_owned(), |revision| revision.to_string())
            };
            format!("it is of revision {}, T{to} of {} (revision)", place(hop.from), place(hop.to))
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})\n{}", self.name(), self.title(), self.explanation)
    }
}

impl fmt::Display for Anomalies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown: HashMap<Kind, usize> = HashMap::new();
        for anomaly in &self.0 {
            let count = shown.entry(anomaly.kind).or_default();
            *count += 1;
            if *count <= SHOWN_PER_KIND_MAX {
                write!(f, "{anomaly}")?;
            }
        }
        let hidden: usize = shown.values().map(|count| count.saturating_sub(SHOWN_PER_KIND_MAX)).sum();
        if hidden > 0 { writeln!(f, "and {hidden} more of these kinds") } else { Ok(()) }
    }
}
