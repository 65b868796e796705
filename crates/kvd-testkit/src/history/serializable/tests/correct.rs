//! Histories of a correct store that look like anomalies, most of all where something is not known.

use super::*;

#[test]
fn what_only_looks_like_an_anomaly_is_accepted() {
    let cases: Vec<(&str, Vec<Record<Transaction>>)> = vec![
        ("nothing", vec![]),
        ("readers of an empty store", vec![tx(1, 1, 2).absent(1), tx(1, 3, 4).mode(Mode::View).claims(0).absent(1)]),
        (
            "overlapping reads of either state",
            vec![
                both(2),
                tx(1, 3, 90).write(1, 11).write(2, 21).commit(2),
                tx(2, 4, 80).read(1, 11).read(2, 21),
                tx(3, 5, 81).read(1, 10).read(2, 20),
            ],
        ),
        (
            "a read-modify-write after another",
            vec![
                both(2),
                tx(1, 3, 90).read(1, 10).write(1, 11).commit(2),
                tx(2, 4, 91).read(1, 11).write(1, 12).commit(3),
            ],
        ),
        (
            "an absence that can be the first, the second or the third",
            vec![
                tx(0, 1, 90).write(1, 10).commit(1),
                tx(0, 2, 91).delete(1).commit(2),
                tx(0, 3, 92).write(1, 11).commit(3),
                tx(0, 4, 93).delete(1).commit(4),
                tx(1, 5, 80).absent(1),
                tx(2, 6, 81).read(1, 11),
                tx(2, 82, 83).absent(1),
            ],
        ),
        (
            "two absences that only the last state has in common",
            vec![
                tx(0, 1, 90).write(1, 10).commit(1),
                tx(0, 2, 91).delete(1).write(2, 20).commit(2),
                tx(0, 3, 92).write(1, 11).delete(2).commit(3),
                tx(0, 4, 93).delete(1).commit(4),
                tx(1, 5, 80).absent(1).absent(2),
                tx(2, 6, 7).read(1, 10),
                tx(2, 8, 9).absent(1).absent(2),
            ],
        ),
        (
            "absent, created, deleted is absent for a commit",
            vec![
                tx(0, 1, 2).write(1, 10).commit(1),
                tx(0, 3, 4).delete(1).commit(2),
                tx(1, 1, 90).absent(1).write(2, 20).commit(3),
            ],
        ),
        (
            "a delete of nothing does not end an absence",
            vec![
                tx(0, 1, 2).delete(1).write(2, 20).commit(1),
                tx(1, 3, 90).mode(Mode::View).claims(1).absent(1).read(2, 20),
                tx(0, 3, 4).delete(1).write(2, 21).commit(2),
            ],
        ),
        ("a lost commit that nobody saw", vec![both(2), tx(1, 3, 4).write(1, 11).lost(), tx(2, 5, 6).read(1, 10)]),
        (
            "a lost commit that came late",
            vec![both(2), tx(1, 3, 4).write(1, 11).unknown(), tx(2, 5, 6).read(1, 10), tx(2, 7, 8).read_at(1, 11, 2)],
        ),
        (
            "a lost delete that came late, or never",
            vec![
                both(2),
                tx(1, 3, 4).delete(1).lost(),
                tx(2, 5, 6).read(1, 10),
                tx(2, 7, 8).absent(1),
                tx(2, 9, 10).mode(Mode::View).claims(7).absent(1),
            ],
        ),
        (
            "a commit whose revision nobody told",
            vec![
                both(2),
                tx(1, 3, 4).read(1, 10).write(1, 11),
                tx(2, 5, 6).read(1, 11).write(2, 21).commit(3),
                tx(2, 7, 8).read(1, 11).read(2, 21),
            ],
        ),
        (
            "an absence that a commit of unknown revision makes ambiguous",
            vec![
                tx(1, 3, 90).write(1, 10).commit(1),
                tx(1, 4, 91).delete(1).write(2, 20).commit(2),
                // It comes after the delete, by what it read; its reader comes after it, but was invoked before.
                tx(2, 6, 92).read(2, 20).write(3, 30),
                tx(3, 5, 93).absent(1).read(3, 30),
            ],
        ),
        (
            "optimistic reads that don't fit, and no commit",
            vec![
                both(2),
                tx(1, 3, 90).write(1, 11).write(2, 21).commit(2),
                tx(2, 4, 80).mode(Mode::Optimistic).read(1, 10).read(2, 21).write(3, 30).aborted(),
            ],
        ),
        (
            "an aborted update of one state",
            vec![both(2), tx(1, 3, 4).mode(Mode::Update).read(1, 10).write(1, 11).aborted()],
        ),
        (
            "the past",
            vec![
                both(2),
                tx(1, 3, 4).write(1, 11).commit(2),
                tx(2, 5, 6).mode(Mode::Historic).claims(1).read_at(1, 10, 1),
                tx(2, 7, 8).mode(Mode::Historic).claims(0).absent(1),
            ],
        ),
        (
            "a multi-get with the revision of its newest record",
            vec![
                both(2),
                tx(1, 3, 4).write(3, 30).commit(2),
                tx(2, 5, 6).claims(1).read_at(1, 10, 1).read_at(2, 20, 1),
            ],
        ),
        (
            "a view beside a commit",
            vec![
                both(2),
                tx(1, 3, 90).write(1, 11).commit(2),
                tx(2, 5, 6).mode(Mode::View).claims(2).read(1, 11),
                tx(3, 4, 91).mode(Mode::View).claims(1).read(1, 10),
            ],
        ),
        (
            "an update whose reads held until it committed",
            vec![
                both(2),
                tx(1, 4, 5).write(1, 11).commit(2),
                tx(2, 3, 6).mode(Mode::Update).claims(1).read(2, 20).write(2, 21).commit(3),
            ],
        ),
        (
            "a pipeline that sees its own writes",
            vec![
                tx(1, 1, 90).write(1, 10).commit(1),
                tx(1, 2, 91).read(1, 10),
                tx(1, 3, 92).write(1, 11).commit(2),
                tx(1, 4, 93).read(1, 11),
            ],
        ),
        (
            "a pipeline over the absences of a key",
            vec![
                tx(0, 1, 90).write(1, 10).commit(1),
                tx(0, 2, 91).delete(1).commit(2),
                tx(0, 3, 92).write(1, 11).commit(3),
                tx(0, 4, 93).delete(1).commit(4),
                tx(1, 5, 80).read(1, 11),
                tx(1, 6, 81).absent(1),
            ],
        ),
        ("a transaction that says what it read of its own", vec![tx(1, 1, 2).write(1, 10).read(1, 10).commit(1)]),
    ];
    for (story, history) in cases {
        check(&history).unwrap_or_else(|found| panic!("{story}:\n{found}"));
    }
}
