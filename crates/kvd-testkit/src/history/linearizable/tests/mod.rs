//! Which histories of one key are linearizable: small ones by name, and random ones beside a search through all orders
//! that knows no short cut. A checker that accepts too much would hide a broken store, one that accuses a correct store
//! would be switched off.

mod properties;

use super::*;

const LOST: u64 = 0;

/// An operation with its interval; `LOST` is the end of one without response.
fn op(invoked: u64, responded: u64, operation: Operation) -> Record<KeyOperation> {
    let responded = (responded != LOST).then_some(responded);
    Record { process: 0, invoked, responded, operation: KeyOperation { key: 7, operation } }
}

fn get(value: u64) -> Operation {
    Operation::Get { found: Some(Version { value, revision: None }), at_least: None }
}

fn get_at(value: u64, revision: u64) -> Operation {
    Operation::Get { found: Some(Version { value, revision: Some(revision) }), at_least: None }
}

fn miss() -> Operation {
    Operation::Get { found: None, at_least: None }
}

fn miss_at_least(revision: u64) -> Operation {
    Operation::Get { found: None, at_least: Some(revision) }
}

fn set(value: u64) -> Operation {
    Operation::Set { value, condition: Condition::Always, answer: Answer::Done { revision: None } }
}

fn set_at(value: u64, revision: u64) -> Operation {
    Operation::Set { value, condition: Condition::Always, answer: Answer::Done { revision: Some(revision) } }
}

fn set_if(value: u64, condition: Condition, is_done: bool) -> Operation {
    let answer = if is_done { Answer::Done { revision: None } } else { Answer::Refused };
    Operation::Set { value, condition, answer }
}

fn delete(is_done: bool) -> Operation {
    let answer = if is_done { Answer::Done { revision: None } } else { Answer::Refused };
    Operation::Delete { condition: Condition::Always, answer }
}

fn delete_at(revision: u64) -> Operation {
    Operation::Delete { condition: Condition::Always, answer: Answer::Done { revision: Some(revision) } }
}

#[test]
fn histories_that_some_order_explains_are_accepted() {
    use Condition::{Absent, Exists, Revision};
    let cases: &[(&str, &[Record<KeyOperation>])] = &[
        ("nothing", &[]),
        ("one after the other", &[op(1, 2, miss()), op(3, 4, set(1)), op(5, 6, get(1)), op(7, 8, delete(true))]),
        (
            "a read beside a write may see either",
            &[op(1, 9, set(1)), op(2, 3, miss()), op(4, 5, get(1)), op(6, 7, get(1))],
        ),
        ("two writes in either order", &[op(1, 9, set(1)), op(2, 8, set(2)), op(10, 11, get(1)), op(12, 13, get(1))]),
        ("instants that are equal overlap", &[op(1, 5, set(1)), op(5, 6, miss())]),
        ("a lost write that was done", &[op(1, LOST, set(1)), op(2, 3, miss()), op(4, 5, get(1))]),
        ("a lost write that was not", &[op(1, LOST, set(1)), op(2, 3, miss()), op(4, 5, miss())]),
        ("a lost write that came late", &[op(1, LOST, set(1)), op(2, 3, set(2)), op(4, 5, get(2)), op(6, 7, get(1))]),
        (
            "a lost delete that came late",
            &[op(1, LOST, delete(true)), op(2, 3, set(2)), op(4, 5, get(2)), op(6, 7, miss())],
        ),
        ("a lost read says nothing", &[op(1, LOST, get(5)), op(2, 3, set(2))]),
        (
            "a lost write that nobody read explains a refusal",
            &[op(1, LOST, set(1)), op(2, 3, set_if(2, Absent, false))],
        ),
        (
            "two lost writes explain two deletes",
            &[
                op(1, LOST, set(1)),
                op(2, LOST, set(2)),
                op(3, 4, delete(true)),
                op(5, 6, delete(true)),
                op(7, 8, delete(false)),
            ],
        ),
        (
            "writes on conditions",
            &[
                op(1, 2, set_if(1, Exists, false)),
                op(3, 4, set_if(2, Absent, true)),
                op(5, 6, set_if(3, Absent, false)),
                op(7, 8, get_at(2, 10)),
                op(9, 10, set_if(4, Revision(9), false)),
                op(11, 12, set_if(5, Revision(10), true)),
                op(13, 14, delete(true)),
                op(15, 16, set_if(6, Revision(10), false)),
                op(17, 18, delete(false)),
            ],
        ),
        (
            "a write on a condition takes the only turn that fits",
            &[op(1, 9, set_if(1, Absent, true)), op(2, 8, delete(true)), op(3, 7, set_at(3, 5)), op(10, 11, get(1))],
        ),
        ("revisions along the order", &[op(1, 9, set_at(1, 20)), op(2, 8, set_at(2, 10)), op(10, 11, get_at(1, 20))]),
        (
            "a revision that only reads say",
            &[
                op(1, 2, set_at(1, 4)),
                op(3, 4, set(2)),
                op(5, 6, get(2)),
                op(7, 8, get_at(2, 5)),
                op(9, 10, set_at(3, 6)),
            ],
        ),
        (
            "an absence not older than a commit of another key",
            &[op(1, 2, set_at(1, 4)), op(3, 4, delete_at(5)), op(5, 6, miss_at_least(9)), op(7, 8, set_at(2, 10))],
        ),
        (
            "a version may be older than the reader's claim",
            &[
                op(1, 2, set(1)),
                op(3, 4, Operation::Get { found: Some(Version { value: 1, revision: None }), at_least: Some(9) }),
                op(5, 6, get_at(1, 3)),
            ],
        ),
        (
            "a lost write of a value that another wrote before",
            &[op(1, 2, set(1)), op(3, LOST, set(1)), op(4, 5, get(1)), op(6, 7, set(2)), op(8, 9, get(1))],
        ),
        (
            "a lost write that may have been done before the last write, but was after it",
            &[
                op(1, LOST, set(1)),
                op(2, 9, set(4)),
                op(3, 8, delete(true)),
                op(10, 11, set(3)),
                op(12, 13, delete(true)),
                op(14, 15, delete(true)),
            ],
        ),
        ("equal values", &[op(1, 2, set(1)), op(3, 4, set(2)), op(5, 6, set(1)), op(7, 8, get(1))]),
    ];
    for (name, history) in cases {
        check(history).unwrap_or_else(|violation| panic!("{name}: {violation}"));
    }
}

#[test]
fn histories_that_no_order_explains_are_found() {
    use Condition::{Absent, Exists, Revision};
    let cases: &[(&str, &[Record<KeyOperation>])] = &[
        ("a value from nowhere", &[op(1, 2, set(1)), op(3, 4, get(2))]),
        ("a value from the future", &[op(1, 2, get(1)), op(3, 4, set(1))]),
        ("a lost value from the future", &[op(1, 2, get(1)), op(3, LOST, set(1))]),
        ("a stale read", &[op(1, 2, set(1)), op(3, 4, set(2)), op(5, 6, get(1))]),
        ("a stale read of a lost write", &[op(1, LOST, set(1)), op(2, 3, get(1)), op(4, 5, set(2)), op(6, 7, get(1))]),
        ("a lost update", &[op(1, 2, set(1)), op(3, 4, miss())]),
        ("a delete undone", &[op(1, 2, set(1)), op(3, 4, delete(true)), op(5, 6, get(1))]),
        ("a write seen, then not", &[op(1, 9, set(1)), op(2, 3, get(1)), op(4, 5, miss())]),
        (
            "two readers disagree on the order",
            &[op(1, 20, set(1)), op(2, 19, set(2)), op(3, 4, get(1)), op(5, 6, get(2)), op(7, 8, get(1))],
        ),
        ("two created it", &[op(1, 9, set_if(1, Absent, true)), op(2, 8, set_if(2, Absent, true))]),
        ("two deleted it", &[op(1, 2, set(1)), op(3, 9, delete(true)), op(4, 8, delete(true))]),
        ("nothing to delete", &[op(1, 2, set(1)), op(3, 4, delete(false))]),
        ("deleted from nothing", &[op(1, 2, delete(true))]),
        ("one lost write for two deletes", &[op(1, LOST, set(1)), op(3, 4, delete(true)), op(5, 6, delete(true))]),
        ("refused without a reason", &[op(1, 2, set_if(1, Absent, false))]),
        ("done without what it asked", &[op(1, 2, set_if(1, Exists, true))]),
        (
            "two changed one revision",
            &[op(1, 2, set_at(1, 5)), op(3, 9, set_if(2, Revision(5), true)), {
                op(4, 8, set_if(3, Revision(5), true))
            }],
        ),
        ("refused at the right revision", &[op(1, 2, set_at(1, 5)), op(3, 4, set_if(2, Revision(5), false))]),
        ("a revision given twice", &[op(1, 9, set_at(1, 5)), op(2, 8, set_at(2, 5))]),
        ("a revision that shrinks", &[op(1, 2, set_at(1, 5)), op(3, 4, set_at(2, 4))]),
        (
            "a revision that shrinks over a delete",
            &[op(1, 2, set_at(1, 5)), op(3, 4, delete_at(6)), op(5, 6, set_at(2, 6))],
        ),
        (
            "a value with the revision of another",
            &[op(1, 2, set_at(1, 5)), op(3, 4, set_at(2, 6)), op(5, 6, get_at(2, 5))],
        ),
        ("one value with two revisions", &[op(1, 2, set(1)), op(3, 4, get_at(1, 5)), op(5, 6, get_at(1, 6))]),
        ("an absence older than it claims", &[op(1, 9, set_at(1, 5)), op(2, 3, miss_at_least(5)), op(10, 11, get(1))]),
    ];
    for (name, history) in cases {
        assert!(check(history).is_err(), "{name} was accepted");
    }
}

#[test]
fn a_violation_shows_what_the_key_was_and_what_ran_beside_it() {
    let mut history = vec![op(1, 2, set_at(1, 1)), op(90, 99, get(3))];
    history.extend((2..30).map(|value| op(value * 2, value * 2 + 1, set_at(value, value))));
    history.extend([op(80, 95, set_at(40, 40)), op(97, 120, set_at(41, 41)), op(130, 131, get(41))]);
    let other = Record { operation: KeyOperation { key: 6, operation: set(1) }, ..op(91, 92, miss()) };
    history.push(other);
    let shown = check(&history).unwrap_err().to_string();
    let expected = "key 7 is not linearizable; nothing explains
    process 0 [90..99] get -> 3
for before its response the key can only have been
    a value that no read found @ 29
    a value that no read found @ 40
beside it ran
    process 0 [80..95] set 40 -> done @ 40
    process 0 [97..120] set 41 -> done @ 41
earlier
    process 0 [6..7] set 3 -> done @ 3
    process 0 [48..49] set 24 -> done @ 24
    process 0 [50..51] set 25 -> done @ 25
    process 0 [52..53] set 26 -> done @ 26
    process 0 [54..55] set 27 -> done @ 27
    process 0 [56..57] set 28 -> done @ 28
    process 0 [58..59] set 29 -> done @ 29
";
    // After the response of `set 40`, only its value is left.
    assert_eq!(shown, expected.replace("    a value that no read found @ 29\n", ""));
}
