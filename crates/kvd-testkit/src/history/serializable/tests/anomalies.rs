//! Each anomaly that a store may show, in the fewest transactions, and the name that it must be given.

use super::*;

fn anomalies() -> Vec<(&'static str, &'static str, Kind, Vec<Record<Transaction>>)> {
    vec![
        (
            "lost update",
            "G-single",
            Kind::LostUpdate,
            vec![
                both(90),
                tx(1, 2, 91).read(1, 10).write(1, 11).commit(2),
                tx(2, 3, 92).read(1, 10).write(1, 12).commit(3),
            ],
        ),
        (
            "lost update of a key that was absent",
            "G-single",
            Kind::LostUpdate,
            vec![tx(1, 2, 91).absent(1).write(1, 11).commit(2), tx(2, 3, 92).absent(1).write(1, 12).commit(3)],
        ),
        (
            "write skew",
            "G2",
            Kind::WriteSkew,
            vec![
                both(90),
                tx(1, 2, 91).read(1, 10).read(2, 20).write(1, 11).commit(2),
                tx(2, 3, 92).read(1, 10).read(2, 20).write(2, 21).commit(3),
            ],
        ),
        (
            "write skew that a third transaction makes a read skew",
            "G-single",
            Kind::ReadSkew,
            vec![
                both(90),
                tx(1, 2, 91).read(1, 10).write(2, 21).write(3, 31).commit(4),
                tx(2, 3, 92).read(2, 20).write(1, 11).commit(2),
                tx(3, 4, 93).read(1, 11).write(3, 30).commit(3),
            ],
        ),
        (
            "write skew by creation",
            "G2",
            Kind::WriteSkew,
            vec![
                tx(1, 2, 91).absent(1).absent(2).write(1, 11).commit(1),
                tx(2, 3, 92).absent(1).absent(2).write(2, 21).commit(2),
            ],
        ),
        (
            "fractured read of a commit of two keys",
            "G-single",
            Kind::ReadSkew,
            vec![both(90), tx(1, 2, 91).write(1, 11).write(2, 21).commit(2), tx(2, 3, 92).read(1, 10).read(2, 21)],
        ),
        ("half of the first commit", "G-single", Kind::ReadSkew, vec![both(90), tx(2, 3, 92).read(1, 10).absent(2)]),
        (
            "read skew over a third transaction",
            "G-single",
            Kind::ReadSkew,
            vec![
                both(90),
                tx(1, 2, 91).write(1, 11).commit(2),
                tx(2, 3, 92).read(1, 11).write(2, 21).commit(3),
                tx(3, 4, 93).read(1, 10).read(2, 21),
            ],
        ),
        (
            "read skew of an update that was aborted",
            "G-single",
            Kind::ReadSkew,
            vec![
                both(90),
                tx(1, 2, 91).write(1, 11).write(2, 21).commit(2),
                tx(2, 3, 92).mode(Mode::Update).read(1, 10).read(2, 21).write(3, 30).aborted(),
            ],
        ),
        (
            "absent although always one of two keys is present",
            "G-single-realtime",
            Kind::ReadSkew,
            vec![
                tx(0, 1, 2).write(1, 10).commit(1),
                tx(1, 3, 91).delete(1).write(2, 20).commit(2),
                tx(2, 4, 92).delete(2).write(1, 11).commit(3),
                tx(3, 5, 93).absent(1).absent(2),
            ],
        ),
        (
            "the same, seen by what else was read",
            "G-single",
            Kind::ReadSkew,
            vec![
                tx(0, 1, 90).write(1, 10).write(3, 30).commit(1),
                tx(1, 3, 91).delete(1).write(2, 20).commit(2),
                tx(2, 4, 92).delete(2).write(1, 11).commit(3),
                tx(3, 5, 93).absent(1).absent(2).read(3, 30),
            ],
        ),
        (
            "absent between two deletes",
            "G-single",
            Kind::ReadSkew,
            vec![
                tx(0, 1, 90).write(1, 10).commit(1),
                tx(1, 2, 91).delete(1).write(2, 20).commit(2),
                tx(2, 3, 92).write(1, 11).write(3, 30).commit(3),
                tx(3, 4, 93).delete(1).write(4, 40).commit(4),
                tx(4, 5, 94).read(3, 30).absent(1).absent(4),
            ],
        ),
        ("aborted read", "G1a", Kind::AbortedRead, vec![tx(1, 1, 90).write(1, 10).aborted(), tx(2, 2, 91).read(1, 10)]),
        (
            "intermediate read",
            "G1b",
            Kind::IntermediateRead,
            vec![tx(1, 1, 90).write(1, 10).write(1, 11).commit(1), tx(2, 2, 91).read(1, 10)],
        ),
        (
            "circular information flow",
            "G1c",
            Kind::CircularInformationFlow,
            vec![tx(1, 1, 90).read(2, 20).write(1, 10).commit(1), tx(2, 2, 91).read(1, 10).write(2, 20).commit(2)],
        ),
        (
            "dirty write",
            "G0",
            Kind::DirtyWrite,
            vec![
                tx(1, 1, 90).write(1, 10).write(2, 20).commit(5),
                tx(2, 2, 91).write(1, 11).write(2, 21).commit(6),
                tx(3, 3, 92).read_at(2, 21, 4),
            ],
        ),
        (
            "long fork",
            "G2",
            Kind::LongFork,
            vec![
                tx(1, 1, 90).write(1, 10).commit(1),
                tx(2, 2, 91).write(2, 20).commit(2),
                tx(3, 3, 92).read(1, 10).absent(2),
                tx(4, 4, 93).absent(1).read(2, 20),
            ],
        ),
        (
            "stale read",
            "G-single-realtime",
            Kind::ReadSkew,
            vec![both(2), tx(1, 3, 4).write(1, 11).commit(2), tx(2, 5, 6).read(1, 10)],
        ),
        ("absent after it was written", "G-single-realtime", Kind::ReadSkew, vec![both(2), tx(2, 5, 6).absent(1)]),
        (
            "stale read by what another reader saw",
            "G-single-realtime",
            Kind::ReadSkew,
            vec![both(2), tx(1, 3, 90).write(1, 11).commit(2), tx(2, 5, 6).read(1, 11), tx(3, 7, 8).read(1, 10)],
        ),
        (
            "stale read of a commit without an answer",
            "G-single-realtime",
            Kind::ReadSkew,
            vec![tx(0, 1, 2).write(1, 10).write(2, 20).lost(), tx(2, 5, 6).read_at(1, 10, 7), tx(3, 7, 8).absent(2)],
        ),
        (
            "reads of one process that go back",
            "G-single-process",
            Kind::ReadSkew,
            vec![both(90), tx(1, 2, 91).write(1, 11).commit(2), tx(2, 3, 4).read(1, 11), tx(2, 5, 6).read(1, 10)],
        ),
        (
            "pipelined reads of one process that go back",
            "G-single-process",
            Kind::ReadSkew,
            vec![both(90), tx(1, 2, 91).write(1, 11).commit(2), tx(2, 3, 20).read(1, 11), tx(2, 4, 21).read(1, 10)],
        ),
        (
            "a read of the future",
            "G1c-realtime",
            Kind::CircularInformationFlow,
            vec![tx(2, 1, 2).read(1, 10), tx(1, 3, 4).write(1, 10).commit(1)],
        ),
        (
            "only the write set is locked",
            "G-single-revision",
            Kind::ReadSkew,
            vec![
                tx(0, 1, 90).write(1, 10).commit(1),
                tx(1, 2, 91).read(1, 10).write(2, 20).commit(3),
                tx(2, 3, 92).write(1, 11).commit(2),
            ],
        ),
        (
            "only the write set is locked, and a reader sees it",
            "G2",
            Kind::WriteSkew,
            vec![
                tx(0, 1, 90).write(1, 10).commit(1),
                tx(1, 2, 91).read(1, 10).write(2, 20).commit(3),
                tx(2, 3, 92).write(1, 11).commit(2),
                tx(3, 4, 93).read(1, 11).absent(2),
            ],
        ),
        (
            "revisions of commits against real time",
            "order-realtime-revision",
            Kind::RevisionOrder,
            vec![tx(0, 1, 2).write(1, 10).commit(5), tx(1, 3, 4).write(2, 20).commit(4)],
        ),
        (
            "a view of an older state than was seen",
            "order-realtime-revision",
            Kind::RevisionOrder,
            vec![
                tx(0, 1, 90).write(1, 10).commit(5),
                tx(1, 3, 4).mode(Mode::View).claims(5),
                tx(2, 5, 6).mode(Mode::View).claims(4).absent(2),
            ],
        ),
        (
            "a commit below the revision of a view before it",
            "order-realtime-revision",
            Kind::RevisionOrder,
            vec![tx(1, 3, 4).mode(Mode::View).claims(5), tx(0, 5, 6).write(1, 10).commit(5)],
        ),
        ("a value that nobody wrote", "unwritten-value", Kind::UnwrittenValue, vec![both(2), tx(1, 3, 4).read(1, 99)]),
        (
            "a revision given twice",
            "revision-reused",
            Kind::RevisionReused,
            vec![tx(0, 1, 2).write(1, 10).commit(5), tx(1, 3, 4).write(2, 20).commit(5)],
        ),
        (
            "a revision given twice, as readers were told",
            "revision-reused",
            Kind::RevisionReused,
            vec![tx(0, 1, 2).write(1, 10).commit(5), tx(1, 3, 4).write(2, 20).lost(), tx(2, 5, 6).read_at(2, 20, 5)],
        ),
        (
            "a version with the revision of another",
            "wrong-revision",
            Kind::WrongRevision,
            vec![both(2), tx(1, 3, 4).read_at(1, 10, 2)],
        ),
        (
            "two revisions of one commit",
            "wrong-revision",
            Kind::WrongRevision,
            vec![tx(0, 1, 2).write(1, 10).write(2, 20), tx(1, 3, 4).read_at(1, 10, 2).read_at(2, 20, 3)],
        ),
        (
            "an older state than claimed",
            "wrong-state",
            Kind::WrongState,
            vec![both(90), tx(1, 2, 91).write(1, 11).commit(2), tx(2, 3, 92).mode(Mode::View).claims(2).read(1, 10)],
        ),
        (
            "a newer state than claimed",
            "wrong-state",
            Kind::WrongState,
            vec![both(90), tx(1, 2, 91).write(1, 11).commit(2), tx(2, 3, 92).claims(1).read(1, 11)],
        ),
        (
            "absent where the claimed state has a value",
            "wrong-state",
            Kind::WrongState,
            vec![both(90), tx(1, 2, 91).delete(1).commit(2), tx(2, 3, 92).mode(Mode::Historic).claims(1).absent(1)],
        ),
        (
            "an update that reads the newest instead of its revision",
            "wrong-state",
            Kind::WrongState,
            vec![
                both(90),
                tx(1, 2, 91).write(1, 11).write(2, 21).commit(2),
                tx(2, 3, 92).mode(Mode::Update).claims(1).read(1, 10).read(2, 21).aborted(),
            ],
        ),
    ]
}

#[test]
fn each_anomaly_is_found_and_named() {
    for (story, name, kind, history) in anomalies() {
        let Err(found) = check(&history) else { panic!("{story}: nothing was found") };
        let is_it = |anomaly: &Anomaly| anomaly.name() == name && anomaly.kind == kind;
        assert!(found.0.iter().any(is_it), "{story}: not {name}, but\n{found}");
    }
}
