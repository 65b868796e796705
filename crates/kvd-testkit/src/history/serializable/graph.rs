//! The graph of dependencies and orders, drawn in linear size. Knows what an edge means; finding cycles is the file
//! beside it.
//!
//! Orders hold between all pairs, but are drawn through two chains of nodes that are no transactions:
//!
//! ```text
//!   A --> barrier ----------> barrier --> C      A responded before C was invoked; so did B, after A
//!               B ----------^
//!   commit 5 --> mark 5 --> mark 9 --> commit 12   all of revision 5 come before mark 5, and all above it after
//! ```

use std::collections::{BTreeMap, HashMap};

use super::placement::{Seen, takes_part};
use super::versions::Versions;
use super::{Mode, Record, Transaction, response};

/// A set of kinds of edges.
pub(super) type Edges = u8;

pub(super) const WW: Edges = 1;
pub(super) const WR: Edges = 2;
pub(super) const RW: Edges = 4;
pub(super) const PROCESS: Edges = 8;
pub(super) const REALTIME: Edges = 16;
pub(super) const REVISION: Edges = 32;

#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) to: usize,
    pub(super) kind: Edges,
    /// The key that a dependency is about.
    pub(super) key: u64,
}

/// Nodes below `transactions` are transactions, by their places in the history; those above stand in chains.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) transactions: usize,
    pub(super) edges: Vec<Vec<Edge>>,
}

impl Graph {
    pub(super) fn of(history: &[Record<Transaction>], versions: &Versions, seen: &[Vec<Seen>]) -> Graph {
        let mut graph = Graph { transactions: history.len(), edges: vec![Vec::new(); history.len()] };
        graph.draw_dependencies(versions, seen);
        let parties: Vec<usize> = (0..history.len())
            .filter(|&transaction| takes_part(&history[transaction], versions.is_writer(transaction)))
            .collect();
        graph.draw_processes(history, &parties);
        graph.draw_real_time(history, &parties);
        graph.draw_revisions(history, versions, &parties);
        graph
    }

    fn draw(&mut self, from: usize, to: usize, kind: Edges, key: u64) {
        if from != to {
            self.edges[from].push(Edge { to, kind, key });
        }
    }

    fn add_node(&mut self) -> usize {
        self.edges.push(Vec::new());
        self.edges.len() - 1
    }

    fn draw_dependencies(&mut self, versions: &Versions, seen: &[Vec<Seen>]) {
        for (&key, chain) in versions.chains() {
            for pair in chain.versions.windows(2) {
                self.draw(pair[0].writer, pair[1].writer, WW, key);
            }
        }
        for (reader, seen) in seen.iter().enumerate() {
            for &Seen { key, written_by, overwritten_by } in seen {
                if let Some(writer) = written_by {
                    self.draw(writer, reader, WR, key);
                }
                if let Some(writer) = overwritten_by {
                    self.draw(reader, writer, RW, key);
                }
            }
        }
    }

    fn draw_processes(&mut self, history: &[Record<Transaction>], parties: &[usize]) {
        let mut sorted: Vec<usize> = parties.iter().copied().filter(|&one| response(&history[one]).is_some()).collect();
        sorted.sort_by_key(|&transaction| history[transaction].invoked);
        let mut last: HashMap<u32, usize> = HashMap::new();
        for transaction in sorted {
            if let Some(before) = last.insert(history[transaction].process, transaction) {
                self.draw(before, transaction, PROCESS, 0);
            }
        }
    }

    fn draw_real_time(&mut self, history: &[Record<Transaction>], parties: &[usize]) {
        let mut events = Vec::with_capacity(parties.len() * 2);
        for &transaction in parties {
            let invoked = history[transaction].invoked;
            events.push((invoked, false, transaction));
            if let Some(responded) = response(&history[transaction]) {
                assert!(invoked <= responded, "a response lies before its invocation: {}", history[transaction]);
                events.push((responded, true, transaction));
            }
        }
        events.sort_unstable();
        let mut barrier = None;
        for (_, is_response, transaction) in events {
            if is_response {
                let next = self.add_node();
                if let Some(before) = barrier.replace(next) {
                    self.draw(before, next, REALTIME, 0);
                }
                self.draw(transaction, next, REALTIME, 0);
            } else if let Some(barrier) = barrier {
                self.draw(barrier, transaction, REALTIME, 0);
            }
        }
    }

    fn draw_revisions(&mut self, history: &[Record<Transaction>], versions: &Versions, parties: &[usize]) {
        // By revision: its commit, and the readers that claim it.
        let mut levels: BTreeMap<u64, (Option<usize>, Vec<usize>)> = BTreeMap::new();
        for &party in parties {
            match (versions.revision(party), history[party].operation.read_revision) {
                (Some(revision), _) => levels.entry(revision).or_default().0 = Some(party),
                (None, Some(claim)) => levels.entry(claim).or_default().1.push(party),
                (None, None) => {}
            }
        }
        let mut before = None;
        for (commit, readers) in levels.into_values() {
            let mark = self.add_node();
            for party in commit.into_iter().chain(readers.iter().copied()) {
                if let Some(before) = before {
                    self.draw(before, party, REVISION, 0);
                }
                // What another reader claims may have lasted to any later revision.
                if commit == Some(party) || matches!(history[party].operation.mode, Mode::View | Mode::Update) {
                    self.draw(party, mark, REVISION, 0);
                }
            }
            for (commit, &reader) in
                commit.iter().flat_map(|commit| readers.iter().map(move |reader| (*commit, reader)))
            {
                self.draw(commit, reader, REVISION, 0);
            }
            if let Some(before) = before.replace(mark) {
                self.draw(before, mark, REVISION, 0);
            }
        }
    }
}
