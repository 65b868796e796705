//! The chain of roots that clears leave: what readers take of it beside a clear, and beside who cuts it. Knows nothing of keys
//! that move from one root to the next: their buckets are locked by address, in memory that lies elsewhere in each execution, and
//! the checker needs the same order in all of them. That is for shuttle.

use kvd_engine::{Bug, Config, Visibility};
use kvd_types::{Command, Reply};

use super::{Client, Verdict, catches, catches_apart, holds, promise, store};

fn clear(client: &mut Client) -> u64 {
    match client.execute(&Command::Clear) {
        Ok(Reply::Cleared { revision, .. }) => revision.0,
        other => panic!("a clear is not refused: {other:?}"),
    }
}

/// A clear that cuts its predecessor off at once, a key that comes after it, and gets of both keys.
fn a_clear_and_gets() -> Verdict {
    let (_engine, [reader, mut main]) = store(Config::default());
    let reader = reader.spawn(|client| client.get_each(["x", "y", "x"]));
    clear(&mut main);
    let new = main.set("y");
    let (_reader, [x, y, x_again]) = reader.join().unwrap();
    promise(x == 1 || y != 2, || format!("x was cleared, then y at {y} was there"))?;
    promise(y == 2 || x_again == 0, || format!("y at {y} of 2 and {new}, then x at {x_again} was there"))
}

/// A clear, who cuts off what nobody reads when the view on it is given up, and a reader beside.
fn a_clear_a_cut_and_a_view() -> Verdict {
    let (engine, [reader, mut main]) = store(Config::default());
    let reader = reader.spawn(|client| {
        let view = client.engine.view().unwrap();
        let mut read = |name| view.get(&client.engine, &mut client.worker, &super::key(name)).unwrap();
        let seen = [read("x"), read("y")].map(|entry| entry.map_or(0, |entry| entry.revision.0));
        let at = view.revision().0;
        drop(view);
        client.engine.maintain(&mut client.worker);
        (at, seen, client.get("x"))
    });
    let cleared = clear(&mut main);
    engine.maintain(&mut main.worker);
    let (_reader, (at, seen, last)) = reader.join().unwrap();
    let state = if at < cleared { [1, 2] } else { [0, 0] };
    promise(seen == state, || format!("{seen:?} in a view of {at}, cleared at {cleared}"))?;
    promise(last == 0 || last == 1 && at < cleared, || format!("x at {last} after a view of {at}"))
}

/// A clear that becomes visible later, who makes it so and cuts, and a get.
fn a_clear_that_becomes_visible_later() -> Verdict {
    let config = Config { visibility: Visibility::WhenDurable, ..Config::default() };
    let (engine, [reader, mut main]) = store(config);
    clear(&mut main);
    let reader = reader.spawn(|client| [client.engine.revision().0, client.get("x"), client.engine.revision().0]);
    let (sealed, _) = engine.seal();
    engine.make_visible(sealed);
    engine.maintain(&mut main.worker);
    let (_reader, [before, seen, after]) = reader.join().unwrap();
    promise(seen == 1 || after == 3, || format!("x was missing while {after} was visible"))?;
    promise(seen == 0 || before < 3, || format!("x at {seen} was there while {before} was visible"))
}

/// A set that is under way while the store is cleared: it comes before or after.
fn a_clear_and_a_set() -> Verdict {
    let (_engine, [writer, mut main]) = store(Config::default());
    let writer = writer.spawn(|client| client.set("x"));
    let cleared = clear(&mut main);
    let (_writer, new) = writer.join().unwrap();
    let x = main.get("x");
    promise(x == if new < cleared { 0 } else { new }, || format!("x at {x}, of {new}, cleared at {cleared}"))
}

#[test]
fn gets_see_a_clear_as_a_whole() {
    holds(2, a_clear_and_gets);
}

#[test]
fn a_view_is_one_state_beside_a_clear_and_a_cut() {
    holds(3, a_clear_a_cut_and_a_view);
}

#[test]
fn a_get_is_of_what_is_visible_beside_a_clear() {
    holds(4, a_clear_that_becomes_visible_later);
}

#[test]
fn a_set_comes_before_a_clear_or_after_it() {
    holds(3, a_clear_and_a_set);
    catches(Bug::RootNotChecked, 2, a_clear_and_a_set);
}

#[test]
fn roots_that_are_not_published_are_found() {
    catches_apart("roots::roots_that_are_not_published_are_found", 2, a_clear_a_cut_and_a_view);
}
