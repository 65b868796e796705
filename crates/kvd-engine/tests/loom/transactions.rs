//! Views and updates beside commits: each reads one state, and an update commits only if that still holds.

use kvd_engine::{Bug, Config, Engine};
use kvd_types::Set;

use super::{Client, Verdict, catches, holds, key, promise, store};

/// A view begun after a get, beside an overwrite.
fn a_get_and_then_a_view() -> Verdict {
    let (_engine, [reader, mut main]) = store(Config::default());
    let reader = reader.spawn(|client| {
        let seen = client.get("x");
        let view = client.engine.view().unwrap();
        let entries = [(); 2].map(|()| view.get(&client.engine, &mut client.worker, &key("x")).unwrap());
        (seen, view.revision().0, entries.map(|entry| entry.map_or(0, |entry| entry.revision.0)))
    });
    let new = main.set("x");
    let (_reader, (seen, at, [first, second])) = reader.join().unwrap();
    let state = if at < new { 1 } else { new };
    promise(first == state && second == state, || format!("x at {first} and {second} in a view of {at}"))?;
    promise(seen <= first, || format!("x at {seen}, then at {first} in a view"))
}

#[test]
fn a_view_is_one_state_and_none_before_what_was_seen() {
    holds(3, a_get_and_then_a_view);
    catches(Bug::PinWithoutSeq, 3, a_get_and_then_a_view);
}

/// An update that reads two keys which are only written together.
fn an_update_beside_a_commit_of_two_keys() -> Verdict {
    let (_engine, [reader, mut main]) = store(Config::default());
    let reader = reader.spawn(|client| {
        let mut update = client.engine.update().unwrap();
        let mut read = |name| update.get(&client.engine, &mut client.worker, &key(name)).unwrap();
        [read("x"), read("y")].map(|entry| entry.map_or(0, |entry| entry.revision.0))
    });
    let both = main.multi_set(&["x", "y"]);
    let (_reader, seen) = reader.join().unwrap();
    promise(seen == [1, 2] || seen == [both, both], || format!("x and y at {seen:?} in one transaction"))
}

#[test]
fn an_update_reads_one_state() {
    holds(2, an_update_beside_a_commit_of_two_keys);
    catches(Bug::UpdateReadsNewest, 2, an_update_beside_a_commit_of_two_keys);
}

/// Two updates: each finds the other's key absent and creates its own.
fn two_updates_that_exclude_each_other() -> Verdict {
    fn create(client: &mut Client, own: &'static str, other: &str) -> bool {
        let engine = client.engine.clone();
        let mut update = engine.update().unwrap();
        let is_free = update.get(&engine, &mut client.worker, &key(other)).unwrap().is_none();
        if is_free {
            update.set(Set::new(key(own), "v")).unwrap();
        }
        update.commit(&engine, &mut client.worker).is_ok() && is_free
    }
    let engine = Engine::open(Config::default());
    let [one, other] = std::array::from_fn(|_| Client::new(&engine));
    let one = one.spawn(|client| create(client, "x", "y"));
    let other = other.spawn(|client| create(client, "y", "x"));
    let (_one, x) = one.join().unwrap();
    let (_other, y) = other.join().unwrap();
    promise(!(x && y), || "both were created, each because the other was absent".to_owned())
}

#[test]
fn updates_that_exclude_each_other_do() {
    holds(2, two_updates_that_exclude_each_other);
    catches(Bug::AbsentNotRead, 2, two_updates_that_exclude_each_other);
}
