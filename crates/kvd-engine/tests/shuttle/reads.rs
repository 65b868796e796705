//! Readers beside writers, where commits are seen at once: a multi-get or a view shows the state of its revision, and what one
//! client sees only gets newer. Knows nothing of durability, time or transactions that write.

use kvd_engine::{Bug, Visibility};

use crate::client::{Client, Journal, open, spawn};
use crate::run::{catches, passes};

const X: u64 = 1;
const Y: u64 = 2;

/// A client gets a key, then begins a view: the view is not older.
fn get_then_view() {
    let engine = open(Visibility::Immediate, 2);
    let writer = spawn(&engine, |client| {
        client.set(X, 1);
        client.set(X, 2);
        client.delete(X);
    });
    let reader = spawn(&engine, |client| {
        let (got, bound) = client.get_bounded(X);
        let view = client.engine.view().unwrap();
        let seen = client.look(&view, &[X]);
        assert!(view.revision().0 >= bound, "got {got:?}, then viewed {}", view.revision());
        seen
    });
    writer.join().unwrap();
    let seen = reader.join().unwrap();
    Journal::of(&engine).check(&seen);
}

/// A view shows the same again and again, whatever is overwritten and deleted meanwhile, and whoever cleans up.
fn view_beside_overwrite_and_delete() {
    let engine = open(Visibility::Immediate, 1);
    let writer = spawn(&engine, |client| {
        client.multi_set(&[(X, 1), (Y, 1)]);
        client.set(X, 2);
        client.delete(X);
        client.set(X, 3);
    });
    let reader = spawn(&engine, |client| {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let view = client.engine.view().unwrap();
            seen.extend([client.look(&view, &[X, Y]), client.look(&view, &[Y, X])]);
            drop(view);
            client.maintain();
        }
        seen
    });
    writer.join().unwrap();
    let seen = reader.join().unwrap();
    let journal = Journal::of(&engine);
    seen.iter().for_each(|seen| journal.check(seen));
}

/// Someone settles a key late, with read points that were looked up before the key's newest versions were written.
fn view_beside_late_settling() {
    let engine = open(Visibility::Immediate, 1);
    let mut client = Client::new(&engine);
    client.set(X, 1);
    let before = engine.view().unwrap();
    client.set(X, 2);
    drop(before);
    let cleaner = spawn(&engine, |client| client.maintain());
    let reader = spawn(&engine, |client| {
        client.set(X, 3);
        let view = client.engine.view().unwrap();
        client.set(X, 4);
        client.look(&view, &[X])
    });
    cleaner.join().unwrap();
    let seen = reader.join().unwrap();
    drop(client);
    Journal::of(&engine).check(&seen);
}

/// Who sees one key of a commit sees them all.
fn multi_set_is_one_step() {
    let engine = open(Visibility::Immediate, 1);
    let writer = spawn(&engine, |client| {
        client.multi_set(&[(X, 1), (Y, 1)]);
        client.multi_set(&[(Y, 2), (X, 2)]);
    });
    let reader = spawn(&engine, |client| {
        let revision = |found: Option<(u64, u64)>| found.map_or(0, |(_, revision)| revision);
        let (x, y) = (revision(client.get(X)), revision(client.get(Y)));
        assert!(x <= y, "X of commit {x} was seen, then Y of {y}");
        let x = revision(client.get(X));
        assert!(y <= x, "Y of commit {y} was seen, then X of {x}");
        client.multi_get(&[X, Y])
    });
    writer.join().unwrap();
    let seen = reader.join().unwrap();
    Journal::of(&engine).check_any(&seen);
}

/// X and Y take turns: a multi-get finds at least one.
fn one_of_two_is_always_there() {
    let engine = open(Visibility::Immediate, 1);
    Client::new(&engine).set(X, 1);
    let writer = spawn(&engine, |client| {
        client.set(Y, 1);
        client.delete(X);
        client.set(X, 2);
        client.delete(Y);
        client.set(Y, 2);
        client.delete(X);
    });
    let reader = spawn(&engine, |client| [client.multi_get(&[Y, X]), client.multi_get(&[Y, X])]);
    writer.join().unwrap();
    let seen = reader.join().unwrap();
    for seen in &seen {
        assert!(seen.of(X).is_some() || seen.of(Y).is_some(), "both are missing");
    }
    let journal = Journal::of(&engine);
    seen.iter().for_each(|seen| journal.check_any(seen));
}

/// The revision that a multi-get says is one at which all it found held, what was missing too.
fn multi_get_says_its_revision() {
    let engine = open(Visibility::Immediate, 1);
    let writer = spawn(&engine, |client| {
        client.set(X, 1);
        client.delete(X);
        client.multi_set(&[(X, 2), (Y, 2)]);
        client.multi_delete(&[X, Y]);
    });
    let reader = spawn(&engine, |client| [client.multi_get(&[X, Y]), client.multi_get(&[Y, X])]);
    writer.join().unwrap();
    let seen = reader.join().unwrap();
    let journal = Journal::of(&engine);
    seen.iter().for_each(|seen| journal.check(seen));
}

/// X comes and goes between two looks at it: that it was absent both times does not say that it was in between.
fn absent_before_and_after() {
    let engine = open(Visibility::Immediate, 1);
    let writer = spawn(&engine, |client| {
        client.multi_set(&[(X, 1), (Y, 1)]);
        client.multi_delete(&[X]);
    });
    let reader = spawn(&engine, |client| client.multi_get(&[X, Y]));
    writer.join().unwrap();
    let seen = reader.join().unwrap();
    Journal::of(&engine).check(&seen);
}

/// Two writers, one reader: gets of one client only get newer, across keys.
fn what_a_client_sees_only_gets_newer() {
    let engine = open(Visibility::Immediate, 1);
    let first = spawn(&engine, |client| {
        client.set(X, 1);
        client.set(X, 2);
    });
    let second = spawn(&engine, |client| {
        client.set(Y, 1);
        client.get(X);
        client.set(Y, 2);
    });
    let reader = spawn(&engine, |client| {
        let (y, x, both) = (client.get(Y), client.get(X), client.multi_get(&[X, Y]));
        (y, x, both)
    });
    first.join().unwrap();
    second.join().unwrap();
    let (y, x, both) = reader.join().unwrap();
    let journal = Journal::of(&engine);
    journal.check(&both);
    assert!(y.is_none_or(|(_, revision)| revision <= both.revision), "Y was newer before");
    assert!(x.is_none_or(|(_, revision)| revision <= both.revision), "X was newer before");
    assert!(y <= both.of(Y) && x <= both.of(X), "a key went back");
}

#[test]
fn a_view_is_as_new_as_the_get_before_it() {
    passes(get_then_view);
}

#[test]
fn a_view_keeps_its_state_beside_overwrites_and_deletes() {
    passes(view_beside_overwrite_and_delete);
}

#[test]
fn a_view_keeps_its_state_beside_late_settling() {
    passes(view_beside_late_settling);
}

#[test]
fn a_commit_of_many_keys_is_one_step() {
    passes(multi_set_is_one_step);
}

#[test]
fn a_multi_get_never_misses_both_of_two_that_take_turns() {
    passes(one_of_two_is_always_there);
}

#[test]
fn a_multi_get_says_a_revision_at_which_it_holds() {
    passes(multi_get_says_its_revision);
}

#[test]
fn a_multi_get_notices_a_key_that_came_and_went() {
    passes(absent_before_and_after);
}

#[test]
fn a_client_never_sees_time_go_back() {
    passes(what_a_client_sees_only_gets_newer);
}

#[test]
fn a_view_begun_outside_seq_is_caught() {
    catches(Bug::PinWithoutSeq, get_then_view);
}

#[test]
fn a_view_begun_outside_seq_is_caught_by_what_it_loses() {
    catches(Bug::PinWithoutSeq, view_beside_overwrite_and_delete);
}

#[test]
fn a_version_that_goes_because_nobody_needed_it_before_is_caught() {
    catches(Bug::NeedNotChecked, view_beside_overwrite_and_delete);
}

#[test]
fn a_single_collect_is_caught() {
    catches(Bug::SingleCollect, one_of_two_is_always_there);
}

#[test]
fn absence_compared_by_emptiness_is_caught() {
    catches(Bug::AbsentByEmptiness, absent_before_and_after);
}

#[test]
fn keys_of_one_commit_that_appear_one_by_one_are_caught() {
    catches(Bug::CommitKeyByKey, multi_set_is_one_step);
}

#[test]
fn a_revision_published_outside_seq_is_caught() {
    catches(Bug::RevisionOutsideSeq, what_a_client_sees_only_gets_newer);
}
