//! Stories of one client alone: mistakes that need no schedule, only the right commands in the right order. Knows nothing of
//! other threads.

use std::hash::Hasher;

use kvd_engine::{Bug, Config, Engine, Visibility};
use kvd_types::{Command, Cursor, Key, List, ListValues, Reply, Set};
use rapidhash::v3::RapidSecrets;
use siphasher::sip::SipHasher13;

use crate::client::{Client, Journal, open, put, put_until};
use crate::run::{catches, passes_once};

const X: u64 = 1;
const Y: u64 = 2;
const END_MS: u64 = 10;

/// A key that comes again while a view keeps what it held before it was deleted.
fn deleted_and_back_under_a_view() {
    let engine = open(Visibility::Immediate, 1);
    let mut client = Client::new(&engine);
    client.set(X, 1);
    let view = engine.view().unwrap();
    client.delete(X);
    client.set(X, 2);
    assert_eq!(client.get_once(X), Some((2, 3)), "the new value is there");
    let seen = client.look(&view, &[X]);
    drop((view, client));
    Journal::of(&engine).check(&seen);
}

/// Commits of one new key and all known ones: the new one finds its bucket full now and then.
fn new_keys_into_full_buckets() {
    let engine = open(Visibility::Immediate, 63);
    let mut client = Client::new(&engine);
    for newest in 0..100 {
        client.multi_set(&(0..=newest).rev().map(|number| (number, newest)).collect::<Vec<_>>());
    }
    drop(client);
    Journal::of(&engine);
}

/// An update that has read a key whose time then comes.
fn an_update_across_a_tick() {
    let engine = open(Visibility::Immediate, 1);
    let mut client = Client::new(&engine);
    client.try_set(put_until(X, 1, END_MS)).unwrap();
    let mut update = engine.update().unwrap();
    assert!(client.read(&mut update, X).is_some());
    engine.tick(END_MS);
    update.set(put(Y, 1)).unwrap();
    assert_eq!(client.commit(update), None, "what it has read has expired since");
    client.sweep();
    drop(client);
    Journal::of(&engine);
}

/// A key that is overwritten after its end, and before the sweep.
fn overwritten_after_its_end() {
    let engine = open(Visibility::Immediate, 1);
    let mut client = Client::new(&engine);
    client.try_set(put_until(X, 1, END_MS)).unwrap();
    engine.tick(END_MS);
    client.set(X, 22);
    drop(client);
    Journal::of(&engine);
}

/// All keys by pages of `limit`, with what is done after the first of them.
fn pages(client: &mut Client, limit: usize, after_first: impl FnOnce(&mut Client)) -> Vec<Key<'static>> {
    let (mut keys, mut cursor, mut after_first): (Vec<_>, Option<Cursor>, _) = (Vec::new(), None, Some(after_first));
    loop {
        let list = List { prefix: Key::new(b"").unwrap(), limit, cursor, values: ListValues::None };
        let Ok(Reply::Page(page)) = client.execute(&Command::List(list)) else { panic!("a list is not refused") };
        keys.extend(page.items.into_iter().map(|item| item.key));
        assert!(keys.len() < 1_000, "the list has no end");
        cursor = page.cursor;
        if cursor.is_none() {
            return keys;
        }
        if let Some(after_first) = after_first.take() {
            after_first(client);
        }
    }
}

/// The directory is doubled between two pages, and halved.
fn pages_of_a_directory_that_changes() {
    let engine = open(Visibility::Immediate, 1);
    let mut client = Client::new(&engine);
    let stable: Vec<u64> = (0..40).collect();
    client.multi_set(&stable.iter().map(|number| (*number, 1)).collect::<Vec<_>>());
    let more: Vec<u64> = (100..400).collect();
    let grow = |client: &mut Client| {
        client.multi_set(&more.iter().map(|number| (*number, 1)).collect::<Vec<_>>());
    };
    let shrink = |client: &mut Client| {
        client.multi_delete(&more);
    };
    let grown = pages(&mut client, 15, grow);
    let shrunk = pages(&mut client, 150, shrink);
    for listed in [grown, shrunk] {
        for number in &stable {
            let times = listed.iter().filter(|key| **key == crate::client::key(*number)).count();
            assert_eq!(times, 1, "k{number} was there all the time");
        }
    }
}

/// So many keys that have one hash, of all 64 bits: the fast hash multiplies by their first half, xor a secret, and here that
/// is 0. Whoever does not know the key of the hash function can't do the same.
fn keys_of_one_hash(hash_key: [u64; 2], count: u64) -> Vec<Key<'static>> {
    let mut seed = SipHasher13::new_with_keys(hash_key[0], hash_key[1]);
    seed.write(b"seed of the fast hash");
    let first_half = RapidSecrets::seed(seed.finish()).secrets[1].to_le_bytes();
    (0..count).map(|number| Key::new([first_half, number.to_le_bytes()].concat()).unwrap()).collect()
}

/// Keys of one hash, in pages shorter than they are many.
fn pages_of_equal_hashes() {
    let engine = Engine::open(Config::default());
    let mut client = Client::new(&engine);
    let mut equal = keys_of_one_hash(Config::default().hash_key, 4);
    for key in equal.iter().cloned().chain([crate::client::key(X), crate::client::key(Y)]) {
        client.execute(&Command::Set(Set::new(key, "v"))).unwrap();
    }
    let mut listed = pages(&mut client, 1, |_| ());
    let first = listed.iter().position(|key| equal.contains(key)).expect("they are there");
    let on_one_page = listed[first..].iter().take(4).all(|key| equal.contains(key));
    listed.sort();
    equal.extend([crate::client::key(X), crate::client::key(Y)]);
    equal.sort();
    assert_eq!(listed, equal, "each comes once");
    assert!(on_one_page, "these keys have one hash no more: see how the fast hash is seeded");
}

#[test]
fn a_key_that_comes_again_is_found_and_its_past_too() {
    passes_once(deleted_and_back_under_a_view);
}

#[test]
fn new_keys_find_room_beside_those_that_change() {
    passes_once(new_keys_into_full_buckets);
}

#[test]
fn an_update_conflicts_with_time() {
    passes_once(an_update_across_a_tick);
}

#[test]
fn an_expired_key_that_is_overwritten_counts_once() {
    passes_once(overwritten_after_its_end);
}

#[test]
fn pages_go_on_where_they_ended_whatever_the_directory_does() {
    passes_once(pages_of_a_directory_that_changes);
}

#[test]
fn a_page_does_not_end_between_keys_of_one_hash() {
    passes_once(pages_of_equal_hashes);
}

#[test]
fn a_second_slot_for_a_key_that_comes_again_is_caught() {
    catches(Bug::SecondSlot, deleted_and_back_under_a_view);
}

#[test]
fn room_that_each_key_makes_for_itself_is_caught() {
    catches(Bug::RoomForEachAlone, new_keys_into_full_buckets);
}

#[test]
fn expiry_that_an_update_does_not_see_is_caught() {
    catches(Bug::ExpiredNotSeen, an_update_across_a_tick);
}

#[test]
fn sizes_by_what_the_reply_says_are_caught() {
    catches(Bug::CountedByReply, overwritten_after_its_end);
}

#[test]
fn a_cursor_that_is_a_place_is_caught() {
    catches(Bug::CursorIsPlace, pages_of_a_directory_that_changes);
}

#[test]
fn a_page_that_ends_between_keys_of_one_hash_is_caught() {
    catches(Bug::PageEndsBetweenEqual, pages_of_equal_hashes);
}
