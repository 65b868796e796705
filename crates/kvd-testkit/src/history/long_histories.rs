//! Histories as long as those of a real run, of clients that overlap all the time: accepted when they are right, and judged
//! when they are wrong in one place or everywhere. Times of a checker that grow faster than a history would hang these.

use std::collections::HashMap;

use super::linearizable::{self, Answer, Condition, KeyOperation, Operation};
use super::serializable::{self, Kind, Mode, Outcome, Transaction};
use super::{Record, Version};

const PROCESSES: u64 = 8;

/// Numbers that look random and are the same each time (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Operations that take effect one after the other, of processes that mostly have one open each.
fn run<T>(count: u64, dice: &mut Dice, mut take_effect: impl FnMut(&mut Dice, u64) -> T) -> Vec<Record<T>> {
    let mut free = [0; PROCESSES as usize];
    let mut records = Vec::new();
    for turn in 1..=count {
        let process = (turn % PROCESSES) as usize;
        let effect = turn * 100;
        let invoked = effect - dice.below(effect - free[process]);
        let responded = effect + 1 + dice.below(100 * PROCESSES - 2);
        free[process] = responded;
        let operation = take_effect(dice, turn);
        records.push(Record { process: process as u32, invoked, responded: Some(responded), operation });
    }
    records
}

fn key_history(count: u64, keys: u64, tells_revisions: bool) -> Vec<Record<KeyOperation>> {
    let mut state: HashMap<u64, (u64, u64)> = HashMap::new();
    let mut last = 0;
    let mut history = run(count, &mut Dice(1), |dice, turn| {
        let key = dice.below(keys);
        let kind = dice.below(20);
        if kind < 10 {
            let version =
                |&(value, revision): &(u64, u64)| Version { value, revision: tells_revisions.then_some(revision) };
            let found = state.get(&key).map(version);
            return KeyOperation { key, operation: Operation::Get { found, at_least: None } };
        }
        last += 1;
        let answer = Answer::Done { revision: tells_revisions.then_some(last) };
        let condition = Condition::Always;
        let operation = if kind == 10 && state.remove(&key).is_some() {
            Operation::Delete { condition, answer }
        } else {
            state.insert(key, (turn, last));
            Operation::Set { value: turn, condition, answer }
        };
        KeyOperation { key, operation }
    });
    // Now and then an answer is lost.
    history.iter_mut().step_by(1_009).for_each(|record| record.responded = None);
    history
}

fn transactions(count: u64, keys: u64, commits_only_one_key_at_once: bool) -> Vec<Record<Transaction>> {
    let mut state: HashMap<u64, Version> = HashMap::new();
    let mut torn: Vec<(u64, Version)> = Vec::new();
    let mut last = 0;
    run(count, &mut Dice(2), |dice, turn| {
        let mut reads: Vec<(u64, Option<Version>)> = Vec::new();
        for _ in 0..1 + dice.below(4) {
            let key = dice.below(keys);
            if reads.iter().all(|(read, _)| *read != key) {
                reads.push((key, state.get(&key).copied()));
            }
        }
        // The rest of the commit before comes only now, after these reads.
        state.extend(torn.drain(..));
        let is_writer = dice.below(2) == 0;
        let (mut outcome, mut writes, mut read_revision) = (Outcome::Committed { revision: None }, Vec::new(), None);
        if is_writer {
            last += 1;
            outcome = Outcome::Committed { revision: Some(last) };
            writes.extend(reads.iter().skip(1).map(|&(key, _)| (key, (dice.below(8) > 0).then_some(turn))));
            writes.push((dice.below(keys) + keys, Some(turn)));
            for (place, &(key, value)) in writes.iter().enumerate() {
                match value.map(|value| Version { value, revision: Some(last) }) {
                    Some(version) if commits_only_one_key_at_once && place > 0 => torn.push((key, version)),
                    Some(version) => drop(state.insert(key, version)),
                    None => drop(state.remove(&key)),
                }
            }
        } else if turn % 3 == 0 {
            read_revision = Some(last);
        }
        let mode = if read_revision.is_some() && !commits_only_one_key_at_once { Mode::View } else { Mode::OneShot };
        Transaction { mode, outcome, read_revision, reads, writes }
    })
}

#[test]
fn a_hundred_thousand_operations_on_keys_are_judged() {
    let mut history = key_history(100_000, 30, false);
    linearizable::assert_linearizable(&history);
    linearizable::assert_linearizable(&key_history(20_000, 1, true));
    let last = history.iter().rposition(|record| matches!(record.operation.operation, Operation::Get { .. })).unwrap();
    let written = |record: &Record<KeyOperation>| match record.operation.operation {
        Operation::Set { value, .. } if record.operation.key == history[last].operation.key => Some(value),
        _ => None,
    };
    let old = history.iter().filter(|record| record.responded.is_some()).find_map(written).unwrap();
    history[last].operation.operation =
        Operation::Get { found: Some(Version { value: old, revision: None }), at_least: None };
    history[last].responded = Some(history[last].invoked + 1_000);
    assert_eq!(linearizable::check(&history).unwrap_err().operation, history[last]);
}

#[test]
fn twenty_thousand_transactions_are_judged() {
    let mut history = transactions(20_000, 30, false);
    serializable::assert_serializable(&history);
    let two_reads =
        |record: &Record<Transaction>| record.operation.reads.iter().filter(|read| read.1.is_some()).count() > 1;
    let reader = history.iter().rposition(two_reads).unwrap();
    let (key, _) = *history[reader].operation.reads.iter().find(|read| read.1.is_some()).unwrap();
    let wrote = |record: &Record<Transaction>| record.operation.writes.iter().find(|write| write.0 == key)?.1;
    let old = Version { value: history.iter().find_map(wrote).unwrap(), revision: None };
    history[reader].operation.reads.iter_mut().filter(|read| read.0 == key).for_each(|read| read.1 = Some(old));
    assert!(serializable::check(&history).is_err());
}

#[test]
fn a_store_that_is_wrong_all_the_time_is_told_by_short_cycles() {
    let found = serializable::check(&transactions(20_000, 30, true)).unwrap_err();
    let cycles = found.0.iter().filter(|anomaly| anomaly.kind == Kind::ReadSkew || anomaly.kind == Kind::LostUpdate);
    assert!(cycles.clone().count() > 0, "{found}");
    assert!(cycles.map(|anomaly| anomaly.transactions.len()).all(|length| length <= 3), "{found}");
}
