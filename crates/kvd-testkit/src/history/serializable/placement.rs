//! Placement: which version, and which absence, each transaction read. Gives readers positions in the order of revisions,
//! as the module above describes; knows nothing of cycles.

use std::collections::HashMap;

use super::versions::{Absence, Sight, Versions};
use super::{Mode, Outcome, Record, Transaction, outcome, response};

/// What a read depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) key: u64,
    /// Who wrote the version, or deleted the key; none for the beginning of the history.
    pub(super) written_by: Option<usize>,
    /// Who wrote the next.
    pub(super) overwritten_by: Option<usize>,
}

/// Whether the store promises anything of a transaction that has a place in the order of all.
pub(super) fn takes_part(record: &Record<Transaction>, is_writer: bool) -> bool {
    let is_committed = is_writer || matches!(outcome(record), Outcome::Committed { .. });
    match record.operation.mode {
        Mode::Historic => false,
        Mode::Optimistic => is_committed,
        Mode::View | Mode::Update | Mode::OneShot => true,
    }
}

/// What each transaction read; nothing for those that take no part.
pub(super) fn place(history: &[Record<Transaction>], versions: &Versions) -> Vec<Vec<Seen>> {
    let mut events = Vec::with_capacity(history.len() * 2);
    for (index, record) in history.iter().enumerate() {
        if takes_part(record, versions.is_writer(index)) {
            events.push((record.invoked, false, index));
            events.extend(response(record).map(|responded| (responded, true, index)));
        }
    }
    events.sort_unstable();
    let mut placement = Placement { history, versions, is_partial: is_partial(history, versions) };
    let mut seen = vec![Vec::new(); history.len()];
    let mut positions = vec![0; history.len()];
    let mut responded = 0;
    let mut processes: HashMap<u32, u64> = HashMap::new();
    for (_, is_response, index) in events {
        if is_response {
            responded = positions[index].max(responded);
            continue;
        }
        let process = processes.entry(history[index].process).or_default();
        (positions[index], seen[index]) = placement.place(index, responded.max(*process));
        if response(&history[index]).is_some() {
            *process = positions[index].max(*process);
        }
    }
    seen
}

/// Whether somebody read a version without a revision: then positions are lower bounds, and no more.
fn is_partial(history: &[Record<Transaction>], versions: &Versions) -> bool {
    history.iter().enumerate().any(|(reader, record)| {
        let mut hits = record.operation.reads.iter().filter_map(|&(key, found)| Some((key, found?.value)));
        hits.any(|(key, value)| matches!(versions.sight(reader, key, value), Sight::Unplaced(_)))
    })
}

struct Placement<'a> {
    history: &'a [Record<Transaction>],
    versions: &'a Versions,
    is_partial: bool,
}

impl<'a> Placement<'a> {
    /// The transaction's position, at least `bound`, and what it saw.
    fn place(&mut self, reader: usize, bound: u64) -> (u64, Vec<Seen>) {
        let record = &self.history[reader];
        let mut seen = Vec::with_capacity(record.operation.reads.len());
        let mut absent: Vec<(u64, &'a [Absence])> = Vec::new();
        // The revisions at which all values that it found were there.
        let (mut begin, mut end) = (0, u64::MAX);
        for &(key, found) in &record.operation.reads {
            let chain = self.versions.chains().get(&key);
            match (found.map(|found| self.versions.sight(reader, key, found.value)), chain) {
                (Some(Sight::Placed(place)), Some(chain)) => {
                    let (version, next) = (chain.versions[place], chain.versions.get(place + 1));
                    (begin, end) = (version.revision.max(begin), next.map_or(end, |next| next.revision.min(end)));
                    let overwritten_by = next.map(|next| next.writer);
                    seen.push(Seen { key, written_by: Some(version.writer), overwritten_by });
                }
                (Some(Sight::Unplaced(writer)), _) => {
                    seen.push(Seen { key, written_by: Some(writer), overwritten_by: None });
                }
                (None, Some(chain)) if !chain.may_be_deleted(record) => absent.push((key, &chain.absences)),
                _ => {}
            }
        }
        // An absence that begins at or before this, for those whose place is known.
        let fixed = match self.versions.revision(reader) {
            Some(revision) => Some(revision.saturating_sub(1)),
            None => record.operation.read_revision,
        };
        let lowest = fixed.unwrap_or(0).max(begin).max(bound);
        let position = if fixed.is_some() { None } else { lowest_common(lowest, end, &absent) };
        for (key, absences) in absent {
            let candidates = absences.iter().filter(|absence| absence.end > lowest && absence.begin < end);
            if self.is_partial && fixed.is_none() && candidates.count() > 1 {
                continue;
            }
            // Without a position any absence will do; the last is what a stale read saw.
            let at = fixed.or(position).unwrap_or(lowest);
            let place = absences.partition_point(|absence| absence.begin <= at).saturating_sub(1);
            let Absence { deleted_by, written_by, .. } = absences[place];
            seen.push(Seen { key, written_by: deleted_by, overwritten_by: written_by });
        }
        let own = self.versions.revision(reader);
        (own.or(position).unwrap_or(lowest).max(bound), seen)
    }
}

/// The lowest revision from `lowest` to before `end` at which all keys are absent.
fn lowest_common(lowest: u64, end: u64, absent: &[(u64, &[Absence])]) -> Option<u64> {
    let mut position = lowest;
    loop {
        let before = position;
        for (_, absences) in absent {
            let next = absences.get(absences.partition_point(|absence| absence.end <= position))?;
            position = next.begin.max(position);
        }
        if position >= end {
            return None;
        }
        if position == before {
            return Some(position);
        }
    }
}
