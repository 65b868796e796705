//! Keys moving to the table of the keyed hash beside everything else: none is lost, none comes twice, what a reader sees stays
//! one state, and older versions are let go of by the new hash as they were by the old. Knows nothing of how buckets move.

use kvd_engine::{Bug, Engine, Visibility};
use kvd_types::{Command, Cursor, Error, Key, List, ListValues, Reply};

use crate::client::{Client, Journal, open, put, put_until, spawn};
use crate::run::{catches, passes};

const X: u64 = 1;
const Y: u64 = 2;
const STABLE: [u64; 6] = [1, 2, 3, 4, 5, 6];
const END_MS: u64 = 10;

fn open_with_stable_keys(visibility: Visibility) -> Engine {
    let engine = open(visibility, 1);
    Client::new(&engine).multi_set(&STABLE.map(|number| (number, 1)));
    engine
}

/// Commits of every kind, of keys that have moved, that are moving and that have not.
fn writes_beside_rekeying(visibility: Visibility) {
    let engine = open_with_stable_keys(visibility);
    let rekeyer = spawn(&engine, |client| client.rekey());
    let writer = spawn(&engine, |client| {
        client.set(X, 2);
        client.set(10, 1);
        client.delete(Y);
        client.multi_set(&[(3, 2), (11, 2), (Y, 2)]);
        client.multi_delete(&[4, 10, 99]);
    });
    let updater = spawn(&engine, |client| {
        let mut update = client.engine.update().unwrap();
        let read = client.read(&mut update, X);
        update.set(put(5, 5)).unwrap();
        let committed = client.commit(update);
        client.set(12, 5);
        committed.map(|revision| (read, revision))
    });
    rekeyer.join().unwrap();
    writer.join().unwrap();
    let updated = updater.join().unwrap();
    let journal = Journal::of(&engine);
    if let Some((read, revision)) = updated {
        assert_eq!(read, journal.state(revision - 1).get(&X).copied(), "what an update has read held at its commit");
    }
}

fn writes_beside_rekeying_seen_at_once() {
    writes_beside_rekeying(Visibility::Immediate);
}

fn writes_beside_rekeying_seen_when_durable() {
    writes_beside_rekeying(Visibility::WhenDurable);
}

/// A key that always exists is always found, and only gets newer.
fn gets_beside_rekeying() {
    let engine = open_with_stable_keys(Visibility::Immediate);
    let rekeyer = spawn(&engine, |client| client.rekey());
    let writer = spawn(&engine, |client| (client.set(X, 2), client.multi_set(&[(X, 3), (10, 3)])));
    let reader = spawn(&engine, |client| {
        let x = [client.get_once(X), client.get_once(X), client.multi_get(&[Y, X]).of(X)];
        assert!(x.iter().all(Option::is_some), "a key that always exists was missing");
        assert!(x.is_sorted(), "a key went back: {x:?}");
        for number in STABLE {
            assert!(client.get_once(number).is_some(), "k{number} always exists, and was missing");
        }
    });
    rekeyer.join().unwrap();
    writer.join().unwrap();
    reader.join().unwrap();
    Journal::of(&engine);
}

/// Views and multi-gets of keys that come and go while they move.
fn states_beside_rekeying(visibility: Visibility) {
    let engine = open_with_stable_keys(visibility);
    let mut client = Client::new(&engine);
    let begun = engine.view().unwrap();
    client.set(X, 2);
    client.delete(Y);
    let rekeyer = spawn(&engine, |client| client.rekey());
    let writer = spawn(&engine, |client| {
        client.multi_set(&[(X, 3), (Y, 3), (10, 3)]);
        client.multi_delete(&[X, 3]);
    });
    let reader = spawn(&engine, move |client| {
        let view = client.engine.view().unwrap();
        let seen = [
            client.look(&begun, &[X, Y, 3, 10]),
            client.multi_get(&[X, Y, 3, 10]),
            client.look(&view, &[10, 3, Y, X]),
            client.look(&begun, &[10, Y, X]),
        ];
        let pages = [client.page(Some(&view)), client.page(Some(&begun)), client.page(None)];
        drop((view, begun));
        client.maintain();
        (seen, pages)
    });
    rekeyer.join().unwrap();
    writer.join().unwrap();
    let (seen, pages) = reader.join().unwrap();
    drop(client);
    let journal = Journal::of(&engine);
    seen.iter().for_each(|seen| journal.check(seen));
    pages.iter().for_each(|page| journal.check_page(page));
}

fn states_beside_rekeying_seen_at_once() {
    states_beside_rekeying(Visibility::Immediate);
}

fn states_beside_rekeying_seen_when_durable() {
    states_beside_rekeying(Visibility::WhenDurable);
}

/// A walk in small pages. A cursor of the old order is refused, or goes on in it: nothing is missed and nothing comes twice.
fn walk(client: &mut Client) -> Result<Vec<Key<'static>>, Error> {
    let (mut keys, mut cursor): (Vec<_>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let list = List { prefix: Key::new(b"").unwrap(), limit: 2, cursor, values: ListValues::None };
        let Reply::Page(page) = client.execute(&Command::List(list))? else { panic!("no answer to a list") };
        keys.extend(page.items.into_iter().map(|item| item.key));
        let Some(next) = page.cursor else { return Ok(keys) };
        cursor = Some(next);
    }
}

fn walks_beside_rekeying() {
    let engine = open_with_stable_keys(Visibility::Immediate);
    let rekeyer = spawn(&engine, |client| client.rekey());
    let writer = spawn(&engine, |client| {
        client.multi_set(&[(10, 1), (11, 1)]);
        client.multi_delete(&[10, 11]);
    });
    let reader = spawn(&engine, |client| [walk(client), walk(client)]);
    rekeyer.join().unwrap();
    writer.join().unwrap();
    for walked in reader.join().unwrap() {
        match walked {
            Ok(mut keys) => {
                keys.sort();
                let stable = STABLE.map(crate::client::key);
                assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "a key came twice: {keys:?}");
                assert!(stable.iter().all(|key| keys.contains(key)), "a key that stays was missed: {keys:?}");
            }
            Err(error) => assert_eq!(error, Error::StaleCursor),
        }
    }
    Journal::of(&engine);
}

/// Segments split and merge in both tables while keys move from one to the other.
fn splits_beside_rekeying() {
    let engine = open_with_stable_keys(Visibility::Immediate);
    let rekeyer = spawn(&engine, |client| client.rekey());
    let writer = spawn(&engine, |client| {
        client.multi_set(&[(10, 1), (11, 1), (12, 1), (13, 1), (14, 1), (15, 1)]);
        client.multi_delete(&[10, 11, 12, 1, 2, 3]);
    });
    let reader = spawn(&engine, |client| {
        for number in [4, 5, 6] {
            assert!(client.get_once(number).is_some(), "k{number} always exists, and was missing");
        }
    });
    rekeyer.join().unwrap();
    writer.join().unwrap();
    reader.join().unwrap();
    Journal::of(&engine);
}

/// Keys that are deleted and let go of just before their bucket moves.
fn deletes_beside_rekeying() {
    let engine = open_with_stable_keys(Visibility::WhenDurable);
    let writer = spawn(&engine, |client| {
        client.delete(X);
        client.set(X, 2);
        client.delete(Y);
    });
    let flusher = spawn(&engine, |client| {
        let (sealed, batches) = client.engine.seal();
        client.engine.make_visible(sealed);
        client.maintain();
        batches
    });
    let rekeyer = spawn(&engine, |client| client.rekey());
    writer.join().unwrap();
    let batches = flusher.join().unwrap();
    rekeyer.join().unwrap();
    Journal::after(&engine, batches);
}

/// Keys that end, beside the clock, the sweep and writes that renew them: at last all are gone that had ended.
fn ends_beside_rekeying() {
    let engine = open_with_stable_keys(Visibility::Immediate);
    let mut client = Client::new(&engine);
    for number in [X, Y, 3, 10] {
        client.try_set(put_until(number, 2, END_MS)).unwrap();
    }
    let rekeyer = spawn(&engine, |client| client.rekey());
    let clock = spawn(&engine, |client| {
        client.engine.tick(END_MS);
        client.sweep();
    });
    let writer = spawn(&engine, |client| {
        client.try_set(put_until(Y, 3, 2 * END_MS)).unwrap();
        client.set(3, 3);
        client.try_set(put_until(11, 3, 2 * END_MS)).unwrap();
    });
    rekeyer.join().unwrap();
    clock.join().unwrap();
    writer.join().unwrap();
    engine.tick(2 * END_MS);
    client.maintain();
    client.sweep();
    for number in [X, Y, 10, 11] {
        assert_eq!(client.get(number), None, "k{number} has ended");
    }
    drop(client);
    Journal::of(&engine);
}

/// What is kept for readers is counted sensibly all the time.
fn counts_beside_rekeying() {
    let engine = open_with_stable_keys(Visibility::Immediate);
    let view = engine.view().unwrap();
    Client::new(&engine).multi_set(&[(X, 2), (Y, 2)]);
    let rekeyer = spawn(&engine, |client| client.rekey());
    let writer = spawn(&engine, move |client| {
        client.set(3, 2);
        drop(view);
        client.maintain();
    });
    let counter = spawn(&engine, |client| {
        for _ in 0..3 {
            let totals = client.engine.stats().totals;
            assert!(totals.history_bytes < 1 << 20, "{} bytes of older versions", totals.history_bytes);
        }
    });
    rekeyer.join().unwrap();
    writer.join().unwrap();
    counter.join().unwrap();
    Journal::of(&engine);
}

#[test]
fn memory_is_the_journal_after_writes_beside_rekeying() {
    passes(writes_beside_rekeying_seen_at_once);
}

#[test]
fn memory_is_the_journal_after_writes_beside_rekeying_that_are_seen_later() {
    passes(writes_beside_rekeying_seen_when_durable);
}

#[test]
fn a_get_finds_what_moves() {
    passes(gets_beside_rekeying);
}

#[test]
fn readers_see_one_state_beside_rekeying() {
    passes(states_beside_rekeying_seen_at_once);
}

#[test]
fn readers_see_one_state_beside_rekeying_and_a_journal() {
    passes(states_beside_rekeying_seen_when_durable);
}

#[test]
fn a_walk_is_whole_or_refused() {
    passes(walks_beside_rekeying);
}

#[test]
fn splits_and_moves_do_not_disturb_each_other() {
    passes(splits_beside_rekeying);
}

#[test]
fn deletes_and_moves_do_not_disturb_each_other() {
    passes(deletes_beside_rekeying);
}

#[test]
fn what_has_ended_goes_wherever_it_is() {
    passes(ends_beside_rekeying);
}

#[test]
fn what_is_kept_is_counted_while_it_moves() {
    passes(counts_beside_rekeying);
}

#[test]
fn a_reader_that_stops_at_a_bucket_that_moved_is_caught() {
    catches(Bug::MovedTakenForMissing, gets_beside_rekeying);
}

#[test]
fn a_bucket_marked_before_its_keys_are_stored_is_caught() {
    catches(Bug::MovedBeforeStored, gets_beside_rekeying);
}
