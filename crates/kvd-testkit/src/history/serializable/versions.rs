//! Versions: who wrote what with which revision, and what a read therefore saw. Finds the anomalies that need no cycle.
//! Knows nothing of the order of transactions beside revisions.

use std::collections::{BTreeMap, HashMap};

use super::placement::takes_part;
use super::{Anomaly, Kind, Mode, Outcome, Record, Transaction, outcome};

/// What is known of all versions of a history. Transactions are meant by their places in it.
#[derive(Debug)]
pub(super) struct Versions {
    chains: HashMap<u64, Chain>,
    /// By key and value.
    writes: HashMap<(u64, u64), Write>,
    /// For each transaction, whether it is known to have committed writes.
    is_writer: Vec<bool>,
    /// For each transaction, the revision of its commit as it was answered, or else as readers were told.
    revisions: Vec<Option<u64>>,
    /// By transaction and key: what readers were told instead, which is an anomaly already.
    contradicted: HashMap<(usize, u64), u64>,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    transaction: usize,
    /// Whether the transaction leaves this value in the key.
    is_final: bool,
}

/// The versions of a key in the order of their revisions.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) versions: Vec<KeyVersion>,
    /// Disjoint, in order.
    pub(super) absences: Vec<Absence>,
    /// The first invocation of a delete that may have been committed at any time since.
    pub(super) unplaced_delete: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct KeyVersion {
    pub(super) revision: u64,
    pub(super) writer: usize,
    /// None for a delete.
    pub(super) value: Option<u64>,
}

/// Revisions at which a key is absent: from `begin`, to before `end`. Further deletes don't end it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absence {
    pub(super) begin: u64,
    pub(super) end: u64,
    /// Who deleted the key; none at the beginning of the history.
    pub(super) deleted_by: Option<usize>,
    /// Who wrote it again.
    pub(super) written_by: Option<usize>,
}

/// What a read that found a value saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// A version, by its place in the key's chain.
    Placed(usize),
    /// A version of this transaction, whose revision nobody told.
    Unplaced(usize),
    /// Nothing that orders transactions: a write of its own, or something that is an anomaly by itself.
    Nothing,
}

impl Versions {
    /// The versions, and what is wrong with them.
    pub(super) fn of(history: &[Record<Transaction>]) -> (Versions, Vec<Anomaly>) {
        let mut versions = Versions {
            chains: HashMap::new(),
            writes: writes_of(history),
            is_writer: history.iter().map(is_answered_writer).collect(),
            revisions: vec![None; history.len()],
            contradicted: HashMap::new(),
        };
        for (index, record) in history.iter().enumerate() {
            if let (Outcome::Committed { revision }, true) = (outcome(record), versions.is_writer[index]) {
                versions.revisions[index] = revision;
            }
        }
        let mut found = Vec::new();
        for reader in 0..history.len() {
            found.extend(versions.learn(history, reader));
        }
        found.extend(versions.reused(history));
        versions.build_chains(history);
        (versions, found)
    }

    pub(super) fn is_writer(&self, transaction: usize) -> bool {
        self.is_writer[transaction]
    }

    /// The revision of a transaction's commit.
    pub(super) fn revision(&self, transaction: usize) -> Option<u64> {
        self.revisions[transaction].filter(|_| self.is_writer[transaction])
    }

    pub(super) fn chains(&self) -> &HashMap<u64, Chain> {
        &self.chains
    }

    /// What `reader` saw when it found this value.
    pub(super) fn sight(&self, reader: usize, key: u64, value: u64) -> Sight {
        let Some(&Write { transaction, is_final: true }) = self.writes.get(&(key, value)) else {
            return Sight::Nothing;
        };
        if transaction == reader || !self.is_writer[transaction] {
            return Sight::Nothing;
        }
        let Some(revision) = self.revision_of_key(transaction, key) else { return Sight::Unplaced(transaction) };
        let versions = &self.chains[&key].versions;
        let place = versions.partition_point(|version| version.revision < revision);
        // Two commits of one revision are an anomaly; nothing else is looked for then.
        if versions[place].writer == transaction { Sight::Placed(place) } else { Sight::Nothing }
    }

    fn revision_of_key(&self, transaction: usize, key: u64) -> Option<u64> {
        self.contradicted.get(&(transaction, key)).copied().or(self.revision(transaction))
    }

    /// Takes from a transaction's reads what they say of others.
    fn learn(&mut self, history: &[Record<Transaction>], reader: usize) -> Vec<Anomaly> {
        let mut found = Vec::new();
        for &(key, version) in &history[reader].operation.reads {
            let Some(version) = version else { continue };
            let value = version.value;
            let mut report = |kind, transactions: &[usize], text: String| {
                found.push(Anomaly::direct(history, kind, transactions, text));
            };
            let Some(&Write { transaction, is_final }) = self.writes.get(&(key, value)) else {
                report(Kind::UnwrittenValue, &[reader], format!("T1 read {key} = {value}, which nobody wrote"));
                continue;
            };
            if transaction == reader {
                continue;
            }
            match outcome(&history[transaction]) {
                Outcome::Aborted => {
                    let text = format!("T1 read {key} = {value}, which T2 wrote and did not commit");
                    report(Kind::AbortedRead, &[reader, transaction], text);
                    continue;
                }
                _ if !is_final => {
                    let text = format!("T1 read {key} = {value}, which T2 overwrote before it committed");
                    report(Kind::IntermediateRead, &[reader, transaction], text);
                    continue;
                }
                Outcome::Unknown | Outcome::Committed { .. } => self.is_writer[transaction] = true,
            }
            let Some(told) = version.revision else { continue };
            let own = *self.revisions[transaction].get_or_insert(told);
            if own != told {
                let text = format!("T1 was told that {key} = {value} is of revision {told}, but T2 wrote it at {own}");
                report(Kind::WrongRevision, &[reader, transaction], text);
                self.contradicted.entry((transaction, key)).or_insert(told);
            }
        }
        found
    }

    fn reused(&self, history: &[Record<Transaction>]) -> Vec<Anomaly> {
        let mut owners: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for transaction in 0..history.len() {
            if let Some(revision) = self.revision(transaction) {
                owners.entry(revision).or_default().push(transaction);
            }
        }
        let shared = owners.into_iter().filter(|(_, owners)| owners.len() > 1);
        shared
            .map(|(revision, owners)| {
                Anomaly::direct(history, Kind::RevisionReused, &owners, format!("all were committed as {revision}"))
            })
            .collect()
    }

    fn build_chains(&mut self, history: &[Record<Transaction>]) {
        for (writer, record) in history.iter().enumerate() {
            let may_commit = outcome(record) != Outcome::Aborted;
            for (key, value) in final_writes(&record.operation).into_iter().filter(|_| may_commit) {
                let revision = self.revision_of_key(writer, key);
                let chain = self.chains.entry(key).or_default();
                match revision {
                    Some(revision) => chain.versions.push(KeyVersion { revision, writer, value }),
                    None if value.is_none() => {
                        let first = chain.unplaced_delete.get_or_insert(record.invoked);
                        *first = record.invoked.min(*first);
                    }
                    None => {}
                }
            }
        }
        for chain in self.chains.values_mut() {
            chain.versions.sort_by_key(|version| version.revision);
            chain.absences = absences(&chain.versions);
        }
    }

    /// Reads that are not of the state at the revision they claim.
    pub(super) fn wrong_states(&self, history: &[Record<Transaction>]) -> Vec<Anomaly> {
        let claims =
            history.iter().enumerate().filter_map(|(index, record)| Some((index, record.operation.read_revision?)));
        claims.filter_map(|(reader, revision)| self.wrong_state(history, reader, revision)).collect()
    }

    fn wrong_state(&self, history: &[Record<Transaction>], reader: usize, revision: u64) -> Option<Anomaly> {
        let record = &history[reader];
        let is_promised = record.operation.mode == Mode::Historic || takes_part(record, self.is_writer[reader]);
        record.operation.reads.iter().filter(|_| is_promised).find_map(|&(key, found)| {
            let chain = self.chains.get(&key)?;
            let newest = chain.versions.partition_point(|version| version.revision <= revision).checked_sub(1);
            let newest = newest.map(|place| chain.versions[place]);
            let is_right = match found.map(|version| self.sight(reader, key, version.value)) {
                Some(Sight::Placed(place)) => {
                    newest.is_some_and(|newest| newest.writer == chain.versions[place].writer)
                }
                Some(Sight::Unplaced(_) | Sight::Nothing) => true,
                None => newest.is_none_or(|newest| newest.value.is_none()) || chain.may_be_deleted(record),
            };
            let was = match newest.map(|newest| newest.value) {
                Some(Some(value)) => format!("= {value}"),
                Some(None) | None => "absent".to_owned(),
            };
            let saw = found.map_or("absent".to_owned(), |version| format!("= {version}"));
            let text =
                format!("T1 claims to have read at revision {revision}, when {key} was {was}, but read {key} {saw}");
            let writer = newest.map(|newest| newest.writer).filter(|&writer| writer != reader);
            let transactions: Vec<usize> = std::iter::once(reader).chain(writer).collect();
            (!is_right).then(|| Anomaly::direct(history, Kind::WrongState, &transactions, text))
        })
    }
}

impl Chain {
    /// Whether an absence that this transaction read may come from a delete without a revision.
    pub(super) fn may_be_deleted(&self, reader: &Record<Transaction>) -> bool {
        self.unplaced_delete.is_some_and(|since| reader.responded.is_none_or(|responded| since <= responded))
    }
}

fn is_answered_writer(record: &Record<Transaction>) -> bool {
    matches!(outcome(record), Outcome::Committed { .. }) && !record.operation.writes.is_empty()
}

fn writes_of(history: &[Record<Transaction>]) -> HashMap<(u64, u64), Write> {
    let mut writes: HashMap<(u64, u64), Write> = HashMap::new();
    for (transaction, record) in history.iter().enumerate() {
        let last: HashMap<u64, Option<u64>> = record.operation.writes.iter().copied().collect();
        for &(key, value) in &record.operation.writes {
            let Some(value) = value else { continue };
            let write = Write { transaction, is_final: last[&key] == Some(value) };
            let other = writes.insert((key, value), write).filter(|other| other.transaction != transaction);
            assert!(
                other.is_none(),
                "{value} is written to {key} by two transactions; give each write a value of its own"
            );
        }
    }
    writes
}

/// What a transaction leaves in its keys.
pub(super) fn final_writes(transaction: &Transaction) -> BTreeMap<u64, Option<u64>> {
    transaction.writes.iter().copied().collect()
}

fn absences(versions: &[KeyVersion]) -> Vec<Absence> {
    let mut absences = Vec::new();
    let mut open = Some(Absence { begin: 0, end: u64::MAX, deleted_by: None, written_by: None });
    for version in versions {
        match (version.value, open) {
            (Some(_), Some(absence)) => {
                absences.push(Absence { end: version.revision, written_by: Some(version.writer), ..absence });
                open = None;
            }
            (None, None) => {
                let deleted_by = Some(version.writer);
                open = Some(Absence { begin: version.revision, end: u64::MAX, deleted_by, written_by: None });
            }
            _ => {}
        }
    }
    absences.extend(open);
    absences
}
