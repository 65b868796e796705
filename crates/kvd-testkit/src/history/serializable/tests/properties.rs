//! Random histories of transactions: those of a correct store are accepted, damaged ones are rejected, and small ones are
//! judged as by a search through all orders, which knows neither positions nor cycles.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const KEYS: u64 = 4;

/// A random transaction: what it is, which keys it reads, which it writes or deletes, whether revisions are told, and how
/// far its interval reaches before and after the instant of its effect.
type Draft = (u8, u8, u8, u8, bool, u64, u64);

fn drafts(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Draft>> {
    let bits = || 0..1u8 << KEYS;
    vec((any::<u8>(), bits(), bits(), bits(), any::<bool>(), 0..60u64, 0..60u64), count)
}

fn keys_of(bits: u8) -> impl Iterator<Item = u64> {
    (0..KEYS).filter(move |key| bits & 1 << key != 0)
}

/// A correct store's history of these, each taking effect at a multiple of 10. With `is_told` all is answered.
fn execute(drafts: &[Draft], is_told: bool) -> Vec<Record<Transaction>> {
    let mut state: HashMap<u64, (u64, u64)> = HashMap::new();
    let mut last = 0;
    let mut history = Vec::new();
    for (&(kind, reads, writes, deletes, says, before, after), turn) in drafts.iter().zip(100u64..) {
        let says = says || is_told;
        // Each has a process of its own: those of one process must keep their order.
        let mut record = tx(turn as u32, turn * 10 - before, turn * 10 + after);
        for key in keys_of(reads) {
            record = match state.get(&key) {
                Some(&(value, revision)) if says => record.read_at(key, value, revision),
                Some(&(value, _)) => record.read(key, value),
                None => record.absent(key),
            };
        }
        let is_writer = kind % 4 > 0 && writes != 0;
        if is_writer {
            for key in keys_of(writes) {
                let is_delete = deletes & 1 << key != 0;
                record = if is_delete { record.delete(key) } else { record.write(key, turn * KEYS + key) };
            }
        }
        record = match (is_writer, kind / 4 % 16) {
            (false, 0..8) => record.mode(Mode::View).claims(last),
            (false, _) => record,
            (true, 0) => record.aborted(),
            (true, 1) if !is_told => record.lost(),
            (true, 2) if !is_told => record.unknown(),
            (true, 3..8) => record.mode(Mode::Update).claims(last),
            (true, _) => record,
        };
        // Of two that are lost, one was done.
        let is_done =
            is_writer && record.operation.outcome != Outcome::Aborted && (kind < 128 || response(&record).is_some());
        if is_done {
            last += 1;
            for (key, value) in versions::final_writes(&record.operation) {
                match value {
                    Some(value) => state.insert(key, (value, last)),
                    None => state.remove(&key),
                };
            }
            record = if says && response(&record).is_some() { record.commit(last) } else { record };
        }
        history.push(record);
    }
    history
}

/// Commits with what they wrote to a key, in the order of their revisions.
fn writers(history: &[Record<Transaction>], key: u64) -> Vec<(u64, usize, Option<u64>)> {
    let mut writers: Vec<_> = history
        .iter()
        .enumerate()
        .filter_map(|(index, record)| {
            let Outcome::Committed { revision: Some(revision) } = record.operation.outcome else { return None };
            Some((revision, index, *versions::final_writes(&record.operation).get(&key)?))
        })
        .collect();
    writers.sort_unstable();
    writers
}

proptest! {
    #[test]
    fn what_a_correct_store_answers_is_accepted(drafts in drafts(0..80), is_told in any::<bool>()) {
        let history = execute(&drafts, is_told);
        let found = check(&history);
        prop_assert!(found.is_ok(), "{}", found.unwrap_err());
    }

    #[test]
    fn a_version_that_was_overwritten_before_the_read_began_is_rejected(drafts in drafts(30..80), pick in any::<Index>()) {
        let mut history = execute(&drafts, true);
        let mut stale = Vec::new();
        for key in 0..KEYS {
            for pair in writers(&history, key).windows(2) {
                let end = history[pair[1].1].responded;
                let readers = (0..history.len()).filter(|&reader| end < Some(history[reader].invoked));
                let is_change = pair[0].2.is_some() || pair[1].2.is_some();
                stale.extend(readers.filter(|_| is_change).map(|reader| (reader, key, pair[0].2)));
            }
        }
        let &(reader, key, value) = pick.get(&stale);
        // An absence may come back; then the read is not stale.
        prop_assume!(value.is_some());
        let transaction = &mut history[reader].operation;
        transaction.reads.retain(|(read, _)| *read != key);
        transaction.reads.push((key, value.map(|value| Version { value, revision: None })));
        prop_assert!(check(&history).is_err());
    }

    #[test]
    fn a_key_that_is_absent_but_never_was_since_is_rejected(drafts in drafts(30..80), pick in any::<Index>()) {
        let mut history = execute(&drafts, true);
        let mut wrong = Vec::new();
        for key in 0..KEYS {
            let writers = writers(&history, key);
            for (reader, record) in history.iter().enumerate() {
                let before = |&&(_, writer, _): &&(u64, usize, Option<u64>)| history[writer].responded < Some(record.invoked);
                let since = writers.iter().rev().skip_while(|writer| !before(writer)).count();
                // The last write that was over, and all that may have been done since.
                let from = since.saturating_sub(1);
                let is_present = since > 0 && writers[from..].iter().all(|(_, _, value)| value.is_some());
                wrong.extend(is_present.then_some((reader, key)));
            }
        }
        prop_assume!(!wrong.is_empty());
        let &(reader, key) = pick.get(&wrong);
        let transaction = &mut history[reader].operation;
        transaction.reads.retain(|(read, _)| *read != key);
        transaction.reads.push((key, None));
        prop_assert!(check(&history).is_err());
    }

    #[test]
    fn half_of_a_commit_is_rejected(drafts in drafts(30..80), pick in any::<Index>()) {
        let mut history = execute(&drafts, true);
        let mut halves = Vec::new();
        for (writer, record) in history.iter().enumerate() {
            let Outcome::Committed { revision: Some(revision) } = record.operation.outcome else { continue };
            let values: Vec<_> = versions::final_writes(&record.operation).into_iter().collect();
            for (&(new_key, new), &(old_key, _)) in values.iter().flat_map(|new| values.iter().map(move |old| (new, old))) {
                let old = writers(&history, old_key).into_iter().rfind(|(other, ..)| *other < revision);
                if let (Some(new), Some((_, _, Some(old))), true) = (new, old, new_key != old_key) {
                    halves.push((writer, [(new_key, new), (old_key, old)]));
                }
            }
        }
        prop_assume!(!halves.is_empty());
        let &(writer, reads) = pick.get(&halves);
        let reader = tx(0, history[writer].invoked, history[writer].responded.unwrap());
        history.push(reads.iter().fold(reader, |reader, &(key, value)| reader.read(key, value)));
        prop_assert!(check(&history).is_err());
    }

    #[test]
    fn a_revision_that_is_off_by_one_is_rejected(drafts in drafts(30..80), pick in any::<Index>(), at_commit in any::<bool>()) {
        let mut history = execute(&drafts, true);
        let mut revisions: Vec<&mut u64> = Vec::new();
        for record in &mut history {
            let Transaction { outcome, reads, .. } = &mut record.operation;
            match outcome {
                Outcome::Committed { revision: Some(revision) } if at_commit => revisions.push(revision),
                _ if at_commit => {}
                _ => revisions.extend(reads.iter_mut().filter_map(|(_, found)| found.as_mut()?.revision.as_mut())),
            }
        }
        // The last commit may well be given a higher one, if nobody says that he saw it.
        revisions.truncate(revisions.len().saturating_sub(usize::from(at_commit)));
        prop_assume!(!revisions.is_empty());
        let at = pick.index(revisions.len());
        *revisions[at] += 1;
        prop_assert!(check(&history).is_err());
    }
}

/// A transaction of a small history with any answers: which keys it reads and whose writes it is said to have seen there,
/// its writes, whether it has a revision or claims one, whether its outcome is known, whether its reads were told
/// revisions, and how far its interval reaches.
type Guess = (Vec<(u64, usize)>, Vec<(u64, bool)>, bool, bool, bool, u64, u64);

fn guesses(unknown: f64) -> impl Strategy<Value = Vec<Guess>> {
    let weighted = proptest::bool::weighted;
    let reads = vec((0..2u64, 0..7usize), 0..3);
    let writes = vec((0..2u64, weighted(0.3)), 0..3);
    vec(
        (reads, writes, weighted(1.0 - unknown), weighted(1.0 - unknown / 2.0), any::<bool>(), 0..30u64, 0..30u64),
        1..6,
    )
}

fn guessed(guesses: &[Guess]) -> Vec<Record<Transaction>> {
    let mut history: Vec<Record<Transaction>> = Vec::new();
    for (writer, (_, writes, is_told, is_known, _, before, after)) in guesses.iter().enumerate() {
        let turn = writer as u64 * 10 + 100;
        let mut record = tx(writer as u32, turn - before, turn + after);
        let mut written: Vec<u64> = Vec::new();
        for &(key, is_delete) in writes {
            if !written.contains(&key) {
                written.push(key);
                record = if is_delete { record.delete(key) } else { record.write(key, turn + key) };
            }
        }
        record = match (is_told, written.is_empty()) {
            (true, false) => record.commit(writer as u64 + 1),
            (true, true) if after % 3 > 0 => record.mode(Mode::View).claims(before % 7),
            _ => record,
        };
        history.push(if *is_known { record } else { record.lost() });
    }
    for (reader, (reads, .., is_told, _, _)) in guesses.iter().enumerate() {
        let mut read: Vec<u64> = Vec::new();
        for &(key, writer) in reads {
            let written = history.get(writer).filter(|_| writer != reader);
            let written = written.and_then(|record| *versions::final_writes(&record.operation).get(&key)?);
            if !read.contains(&key) {
                read.push(key);
                let revision = is_told.then_some(writer as u64 + 1);
                history[reader].operation.reads.push((key, written.map(|value| Version { value, revision })));
            }
        }
    }
    history
}

/// Whether some order explains the history, by trying them all.
fn brute_force(history: &[Record<Transaction>]) -> bool {
    // Revisions as they were answered or as anybody was told.
    let mut revisions: Vec<Option<u64>> = history
        .iter()
        .map(|record| match outcome(record) {
            Outcome::Committed { revision } => revision,
            _ => None,
        })
        .collect();
    for (key, version) in history.iter().flat_map(|record| &record.operation.reads) {
        let Some(version) = version else { continue };
        let wrote = |record: &Record<Transaction>| record.operation.writes.contains(&(*key, Some(version.value)));
        let writer = history.iter().position(wrote).unwrap();
        if version.revision.is_some_and(|told| *revisions[writer].get_or_insert(told) != told) {
            return false;
        }
    }
    extend(history, &revisions, &mut vec![false; history.len()], &HashMap::new(), 0)
}

fn extend(
    history: &[Record<Transaction>],
    revisions: &[Option<u64>],
    placed: &mut Vec<bool>,
    state: &HashMap<u64, u64>,
    last: u64,
) -> bool {
    let left: Vec<usize> = (0..history.len()).filter(|&index| !placed[index]).collect();
    let first_end = left.iter().filter_map(|&index| response(&history[index])).min().unwrap_or(u64::MAX);
    left.is_empty()
        || left.into_iter().any(|index| {
            let transaction = &history[index].operation;
            let saw =
                |&(key, found): &(u64, Option<Version>)| found.map(|version| version.value) == state.get(&key).copied();
            let is_late = transaction.read_revision.is_some_and(|claim| claim < last);
            if history[index].invoked > first_end || is_late || !transaction.reads.iter().all(saw) {
                return false;
            }
            let last = transaction.read_revision.unwrap_or(last);
            placed[index] = true;
            let may_be_undone = outcome(&history[index]) == Outcome::Unknown;
            let may_be_done = revisions[index].is_none_or(|revision| revision > last);
            let mut after = state.clone();
            for &(key, value) in &transaction.writes {
                match value {
                    Some(value) => after.insert(key, value),
                    None => after.remove(&key),
                };
            }
            let found = (may_be_done && extend(history, revisions, placed, &after, revisions[index].unwrap_or(last)))
                || (may_be_undone && extend(history, revisions, placed, state, last));
            placed[index] = false;
            found
        })
}

fn shown(history: &[Record<Transaction>]) -> String {
    history.iter().map(|record| format!("{record}\n")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_checker_agrees_with_trying_all_orders_when_all_is_known(guesses in guesses(0.0)) {
        let history = guessed(&guesses);
        prop_assert_eq!(check(&history).is_ok(), brute_force(&history), "{}", shown(&history));
    }

    #[test]
    fn the_checker_accuses_nobody_whom_some_order_explains(guesses in guesses(0.3)) {
        let history = guessed(&guesses);
        prop_assert!(check(&history).is_ok() || !brute_force(&history), "{}{}", shown(&history), check(&history).unwrap_err());
    }
}
