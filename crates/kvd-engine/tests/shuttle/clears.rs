//! The store emptied beside everything else: a clear is a commit like any other, so what is in memory at the end, and what each
//! reader was shown, is what the journal's replay has. Knows nothing of how a root follows another.

use kvd_engine::{Batch, Bug, Engine, Visibility};
use kvd_types::{Error, Revision};

use crate::client::{Client, Found, Journal, open, open_with_two_far_apart, put, spawn};
use crate::run::{catches, passes};

const X: u64 = 1;
const Y: u64 = 2;

fn open_with_both(visibility: Visibility) -> (Engine, Vec<Batch>) {
    let engine = open(visibility, 1);
    Client::new(&engine).multi_set(&[(X, 1), (Y, 1)]);
    let (sealed, batches) = engine.seal();
    engine.make_visible(sealed);
    (engine, batches)
}

/// What an update found of X, and the revision of its commit.
fn update(client: &mut Client) -> Option<(Found, u64)> {
    let mut update = client.engine.update().unwrap();
    let read = client.read(&mut update, X);
    update.set(put(Y, 5)).unwrap();
    client.commit(update).map(|revision| (read, revision))
}

fn writes_beside_a_clear(visibility: Visibility) {
    let (engine, mut batches) = open_with_both(visibility);
    let writer = spawn(&engine, |client| {
        client.set(X, 2);
        client.multi_set(&[(X, 3), (3, 3), (Y, 3)]);
        client.delete(Y);
    });
    let updater = spawn(&engine, |client| [update(client), update(client)]);
    let clearer = spawn(&engine, |client| {
        let cleared = client.clear();
        client.set(4, 4);
        (cleared, client.engine.seal())
    });
    writer.join().unwrap();
    let updates = updater.join().unwrap();
    let ((at, deleted), (sealed, group)) = clearer.join().unwrap();
    engine.make_visible(sealed);
    batches.extend(group);
    let journal = Journal::after(&engine, batches);
    assert_eq!(deleted, journal.state(at - 1).len() as u64, "how many keys went");
    for (read, revision) in updates.into_iter().flatten() {
        assert_eq!(read, journal.state(revision - 1).get(&X).copied(), "what an update has read held at its commit");
    }
}

fn writes_beside_a_clear_seen_at_once() {
    writes_beside_a_clear(Visibility::Immediate);
}

fn writes_beside_a_clear_seen_when_durable() {
    writes_beside_a_clear(Visibility::WhenDurable);
}

/// A set that is under way when the store is cleared comes before or after, and is where the journal says.
fn a_set_beside_a_clear() {
    let (engine, batches) = open_with_both(Visibility::Immediate);
    let writer = spawn(&engine, |client| (client.set(X, 2), client.multi_set(&[(Y, 3), (3, 3)])));
    let clearer = spawn(&engine, |client| client.clear());
    writer.join().unwrap();
    clearer.join().unwrap();
    Journal::after(&engine, batches);
}

/// Each reader sees one state, before the clear or after it.
fn reads_beside_a_clear(visibility: Visibility) {
    let (engine, mut batches) = open_with_both(visibility);
    let writer = spawn(&engine, |client| {
        client.set(X, 2);
        client.clear();
        let (sealed, group) = client.engine.seal();
        client.multi_set(&[(Y, 3), (3, 3)]);
        client.engine.make_visible(sealed);
        client.maintain();
        group
    });
    let viewer = spawn(&engine, |client| {
        let view = client.engine.view().unwrap();
        let (first, page) = (client.look(&view, &[X, Y, 3]), client.page(Some(&view)));
        let seen = [first, client.look(&view, &[3, Y, X])];
        drop(view);
        client.maintain();
        (seen, page)
    });
    let reader = spawn(&engine, |client| {
        let (before, bound) = client.get_bounded(X);
        let (seen, page) = (client.multi_get(&[X, Y, 3]), client.page(None));
        assert!(bound <= seen.revision && seen.revision <= page.revision.0, "what a client sees only gets newer");
        (before, seen, page)
    });
    batches.extend(writer.join().unwrap());
    let (views, viewed) = viewer.join().unwrap();
    let (x, seen, page) = reader.join().unwrap();
    let journal = Journal::after(&engine, batches);
    views.iter().chain([&seen]).for_each(|seen| journal.check(seen));
    [&viewed, &page].into_iter().for_each(|page| journal.check_page(page));
    assert!(x.is_none_or(|(_, revision)| revision <= seen.revision), "X was newer before");
}

fn reads_beside_a_clear_seen_at_once() {
    reads_beside_a_clear(Visibility::Immediate);
}

fn reads_beside_a_clear_seen_when_durable() {
    reads_beside_a_clear(Visibility::WhenDurable);
}

/// A multi-get of keys that come again after each clear: what is missing is missing at the revision that it says.
fn absences_beside_clears() {
    let (engine, batches) = open_with_both(Visibility::Immediate);
    let writer = spawn(&engine, |client| {
        client.clear();
        client.multi_set(&[(X, 2), (Y, 2)]);
        client.clear();
    });
    let reader = spawn(&engine, |client| [client.multi_get(&[X, Y]), client.multi_get(&[Y, 3, X])]);
    writer.join().unwrap();
    let seen = reader.join().unwrap();
    let journal = Journal::after(&engine, batches);
    seen.iter().for_each(|seen| journal.check(seen));
}

/// Where nothing was deleted, the key was missing at the revision that is told.
fn a_delete_of_nothing_beside_a_clear() {
    let (engine, x, _) = open_with_two_far_apart();
    let writer = spawn(&engine, move |client| {
        client.clear();
        client.set(x, 1);
        client.set(X, 1);
    });
    let deleter = spawn(&engine, move |client| (client.delete(x), client.multi_delete(&[x])));
    writer.join().unwrap();
    let ((one, found), many) = deleter.join().unwrap();
    let journal = Journal::of(&engine);
    if !found {
        assert_eq!(journal.state(one).get(&x), None, "there at revision {one}");
    }
    assert_eq!(journal.state(many).get(&x), None, "there at revision {many}");
}

/// Clears beside each other: every key that went is counted by one of them.
fn clears_beside_each_other() {
    let (engine, batches) = open_with_both(Visibility::Immediate);
    let clear = || {
        spawn(&engine, |client| {
            let view = client.engine.view().unwrap();
            let cleared = client.clear();
            let seen = client.look(&view, &[X, Y, 3]);
            drop(view);
            client.maintain();
            (cleared, seen)
        })
    };
    let clears = [clear(), clear()];
    let writer = spawn(&engine, |client| client.multi_set(&[(Y, 2), (3, 2)]));
    let clears = clears.map(|clear| clear.join().unwrap());
    writer.join().unwrap();
    let journal = Journal::after(&engine, batches);
    for ((at, deleted), seen) in &clears {
        assert_eq!(*deleted, journal.state(at - 1).len() as u64, "how many keys went");
        assert!(journal.state(*at).is_empty(), "a clear leaves nothing");
        journal.check(seen);
    }
}

/// A clear that comes when the store is being closed has happened or not.
fn a_clear_beside_the_close() {
    let (engine, mut batches) = open_with_both(Visibility::Immediate);
    let clearer = spawn(&engine, |client| client.execute(&kvd_types::Command::Clear).map(drop));
    let reader = spawn(&engine, |client| (client.get_once(X), client.get_once(Y)));
    engine.close();
    let cleared = clearer.join().unwrap();
    let (x, y) = reader.join().unwrap();
    batches.extend(engine.seal().1);
    let journal = Journal::replay(&batches);
    match cleared {
        Ok(()) => assert_eq!(engine.revision(), Revision(2)),
        Err(error) => {
            assert_eq!((error, engine.revision()), (Error::Closed, Revision(1)));
            assert!(x.is_some() && y.is_some(), "what was refused was seen");
        }
    }
    assert!(x.is_some() || y.is_none(), "Y was seen after X had gone");
    let (mut client, last) = (Client::new(&engine), engine.revision().0);
    assert_eq!(client.get_once(X), journal.state(last).get(&X).copied());
    assert_eq!(engine.stats().totals.keys, journal.state(last).len() as u64);
    client.maintain();
    assert_eq!(engine.stats().totals.history_bytes, 0);
}

/// A clear while the keys move to the other hash, in both of its orders, with a view on what was before.
fn a_clear_beside_rekeying() {
    let (engine, batches) = open_with_both(Visibility::Immediate);
    Client::new(&engine).multi_set(&[(3, 1), (4, 1), (5, 1), (6, 1), (7, 1)]);
    let rekeyer = spawn(&engine, |client| {
        client.rekey();
        client.set(Y, 2);
    });
    let clearer = spawn(&engine, |client| {
        client.clear();
        client.multi_set(&[(X, 3), (8, 3)]);
    });
    let viewer = spawn(&engine, |client| {
        let view = client.engine.view().unwrap();
        let (first, page) = (client.look(&view, &[X, Y, 3, 8]), client.page(Some(&view)));
        let seen = [first, client.look(&view, &[7, Y, 8, X]), client.multi_get(&[X, 8])];
        drop(view);
        (seen, page)
    });
    rekeyer.join().unwrap();
    clearer.join().unwrap();
    let (seen, page) = viewer.join().unwrap();
    let journal = Journal::after(&engine, batches);
    seen.iter().for_each(|seen| journal.check(seen));
    journal.check_page(&page);
    assert_eq!(engine.stats().rekeyed, 1);
    Client::new(&engine).rekey();
    assert_eq!(engine.stats().rekeyed, 1, "the fast hash does not come back");
}

#[test]
fn memory_is_the_journal_after_writes_beside_a_clear() {
    passes(writes_beside_a_clear_seen_at_once);
}

#[test]
fn memory_is_the_journal_after_writes_beside_a_clear_that_is_seen_later() {
    passes(writes_beside_a_clear_seen_when_durable);
}

#[test]
fn a_set_comes_before_a_clear_or_after_it() {
    passes(a_set_beside_a_clear);
}

#[test]
fn readers_see_one_state_beside_a_clear() {
    passes(reads_beside_a_clear_seen_at_once);
}

#[test]
fn readers_see_one_state_beside_a_clear_that_is_seen_later() {
    passes(reads_beside_a_clear_seen_when_durable);
}

#[test]
fn a_multi_get_says_a_revision_at_which_it_holds_beside_clears() {
    passes(absences_beside_clears);
}

#[test]
fn a_delete_says_a_revision_at_which_its_key_was_missing() {
    passes(a_delete_of_nothing_beside_a_clear);
}

#[test]
fn every_key_that_goes_is_counted_by_one_clear() {
    passes(clears_beside_each_other);
}

#[test]
fn a_clear_that_is_refused_leaves_everything() {
    passes(a_clear_beside_the_close);
}

#[test]
fn a_clear_and_keys_that_move_do_not_disturb_each_other() {
    passes(a_clear_beside_rekeying);
}

#[test]
fn a_root_that_is_not_checked_again_is_caught() {
    catches(Bug::RootNotChecked, a_set_beside_a_clear);
}
