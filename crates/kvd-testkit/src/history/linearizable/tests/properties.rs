//! Random histories of one key: those of a correct store are accepted, damaged ones are rejected, and small ones are judged
//! as by a search through all orders that knows no short cut.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// What a random client asks: which operation, whether the answer says the revision, whether it is lost, and how far its
/// interval reaches before and after the instant of its effect.
type Draft = (u8, bool, bool, u64, u64);

/// A correct store's history of these, each taking effect at a multiple of 10.
fn execute(drafts: &[Draft]) -> Vec<Record<KeyOperation>> {
    let (mut current, mut last): (Option<(u64, u64)>, u64) = (None, 0);
    let mut history = Vec::new();
    for (&(kind, says, is_lost, before, after), at) in drafts.iter().zip((0..).map(|turn| 1_000 + turn * 10)) {
        let value = at;
        let mut commit = || {
            last += 1;
            Answer::Done { revision: says.then_some(last) }
        };
        let operation = match (kind % 8, current) {
            (0..4, _) => {
                let found = current.map(|(value, revision)| Version { value, revision: says.then_some(revision) });
                Operation::Get { found, at_least: (kind > 127).then_some(last) }
            }
            (4, Some(_)) => Operation::Set { value, condition: Condition::Absent, answer: Answer::Refused },
            (4, None) => Operation::Set { value, condition: Condition::Absent, answer: commit() },
            (5, Some((_, revision))) => {
                Operation::Set { value, condition: Condition::Revision(revision), answer: commit() }
            }
            (6, None) => Operation::Delete { condition: Condition::Always, answer: Answer::Refused },
            (6, Some(_)) => Operation::Delete { condition: Condition::Always, answer: commit() },
            _ => Operation::Set { value, condition: Condition::Always, answer: commit() },
        };
        match operation {
            Operation::Set { value, answer: Answer::Done { .. }, .. } => current = Some((value, last)),
            Operation::Delete { answer: Answer::Done { .. }, .. } => current = None,
            _ => {}
        }
        history.push(op(at - before, if is_lost { LOST } else { at + after }, operation));
    }
    history
}

fn drafts(count: std::ops::Range<usize>, reach: u64) -> impl Strategy<Value = Vec<Draft>> {
    vec((any::<u8>(), any::<bool>(), proptest::bool::weighted(0.03), 0..reach, 0..reach), count)
}

/// Whether some order explains the history, by trying them all. Conditions on revisions are not among its operations.
fn brute_force(history: &[Record<KeyOperation>]) -> bool {
    fn extend(history: &[Record<KeyOperation>], order: &mut Vec<usize>) -> bool {
        let is_left = |index: &usize| !order.contains(index);
        let left: Vec<usize> = (0..history.len()).filter(is_left).collect();
        if left.iter().all(|&index| history[index].responded.is_none()) && explains(history, order) {
            return true;
        }
        let first_end = left.iter().filter_map(|&index| history[index].responded).min().unwrap_or(u64::MAX);
        left.into_iter().filter(|&index| history[index].invoked <= first_end).any(|index| {
            order.push(index);
            let found = extend(history, order);
            order.pop();
            found
        })
    }
    extend(history, &mut Vec::new())
}

fn explains(history: &[Record<KeyOperation>], order: &[usize]) -> bool {
    // First what each read saw; by that the revisions of all versions; then whether these grow.
    let mut current = None;
    let mut revisions: HashMap<usize, u64> = HashMap::new();
    for &index in order {
        let is_lost = history[index].responded.is_none();
        let mut learn = |writer, revision: Option<u64>| {
            revision.is_none_or(|revision| *revisions.entry(writer).or_insert(revision) == revision)
        };
        let is_right = match history[index].operation.operation {
            Operation::Get { .. } if is_lost => true,
            Operation::Get { found, .. } => match (found, current) {
                (Some(version), Some((value, writer))) => version.value == value && learn(writer, version.revision),
                (found, current) => found.is_none() && current.is_none(),
            },
            Operation::Set { value, condition, answer } => {
                let holds = match condition {
                    Condition::Absent => current.is_none(),
                    Condition::Exists => current.is_some(),
                    _ => true,
                };
                current = if holds { Some((value, index)) } else { current };
                match answer {
                    _ if is_lost => true,
                    Answer::Done { revision } => holds && learn(index, revision),
                    Answer::Refused => !holds,
                }
            }
            Operation::Delete { answer, .. } => {
                let holds = current.is_some();
                current = None;
                match answer {
                    _ if is_lost => true,
                    Answer::Done { revision } => holds && learn(index, revision),
                    Answer::Refused => !holds,
                }
            }
        };
        if !is_right {
            return false;
        }
    }
    let mut floor = 0;
    order.iter().all(|&index| match history[index].operation.operation {
        Operation::Get { at_least, .. } => {
            floor = floor.max(at_least.filter(|_| history[index].responded.is_some()).unwrap_or(0));
            true
        }
        _ => {
            let revision = revisions.get(&index).copied().unwrap_or(floor + 1);
            let is_later = revision > floor;
            floor = if revisions.contains_key(&index) { revision } else { floor };
            is_later
        }
    })
}

/// Any answers at all, of few values and revisions, so that many are right.
fn arbitrary_operation() -> impl Strategy<Value = Operation> {
    let revision = || proptest::option::weighted(0.3, 1..5u64);
    let answer =
        || prop_oneof![3 => revision().prop_map(|revision| Answer::Done { revision }), 1 => Just(Answer::Refused)];
    let condition =
        prop_oneof![4 => Just(Condition::Always), 1 => Just(Condition::Absent), 1 => Just(Condition::Exists)];
    let version = (1..4u64, revision()).prop_map(|(value, revision)| Version { value, revision });
    let found = proptest::option::weighted(0.7, version);
    prop_oneof![
        4 => (found, revision()).prop_map(|(found, at_least)| Operation::Get { found, at_least }),
        3 => (1..4u64, condition, answer()).prop_map(|(value, condition, answer)| {
            Operation::Set { value, condition, answer }
        }),
        1 => answer().prop_map(|answer| Operation::Delete { condition: Condition::Always, answer }),
    ]
}

proptest! {
    #[test]
    fn what_a_correct_store_answers_is_accepted(drafts in drafts(0..120, 60)) {
        let history = execute(&drafts);
        prop_assert!(check(&history).is_ok(), "{}", check(&history).unwrap_err());
    }

    #[test]
    fn a_value_that_was_overwritten_before_the_read_began_is_rejected(drafts in drafts(20..60, 40), pick in any::<Index>()) {
        let mut history = execute(&drafts);
        let writes: Vec<_> = history.iter().filter_map(|record| match record.operation.operation {
            Operation::Set { value, answer: Answer::Done { .. }, .. } => Some((record.invoked, record.responded?, value)),
            _ => None,
        }).collect();
        let is_overwritten = |end: u64| writes.iter().any(|&(invoked, ..)| invoked > end);
        let stale: Vec<_> = writes.iter().filter(|&&(_, responded, _)| is_overwritten(responded)).collect();
        prop_assume!(!stale.is_empty());
        let &&(_, _, value) = pick.get(&stale);
        history.push(op(90_000, 90_001, get(value)));
        prop_assert!(check(&history).is_err());
    }

    #[test]
    fn a_right_answer_with_a_wrong_revision_is_rejected(drafts in drafts(20..60, 40), pick in any::<Index>()) {
        let mut history = execute(&drafts);
        let written: Vec<u64> = history.iter().filter_map(|record| match record.operation.operation {
            Operation::Set { value, answer: Answer::Done { revision: Some(_) }, .. } if record.responded.is_some() => Some(value),
            _ => None,
        }).collect();
        let mut versions: Vec<&mut Version> = history.iter_mut().filter(|record| record.responded.is_some()).filter_map(|record| {
            match &mut record.operation.operation {
                Operation::Get { found: Some(version), .. } => Some(version),
                _ => None,
            }
        }).filter(|version| version.revision.is_some() && written.contains(&version.value)).collect();
        prop_assume!(!versions.is_empty());
        let at = pick.index(versions.len());
        *versions[at].revision.as_mut().unwrap() += 1;
        prop_assert!(check(&history).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_search_agrees_with_trying_all_orders(
        drafts in vec((arbitrary_operation(), proptest::bool::weighted(0.15), 0..30u64, 0..30u64), 0..7),
    ) {
        let turns = drafts.into_iter().zip((0..).map(|turn| 100 + turn * 10));
        let history: Vec<_> = turns.map(|((operation, is_lost, before, after), at)| {
            op(at - before, if is_lost { LOST } else { at + after }, operation)
        }).collect();
        prop_assert_eq!(check(&history).is_ok(), brute_force(&history), "{}", history.iter().map(|record| {
            format!("{record}\n")
        }).collect::<String>());
    }
}
