//! Lists in the order of the keys' bytes: the index has no such order, so each page is chosen from all keys. However a walk is
//! cut into pages, each key or folder comes once and in order; what others do meanwhile moves nothing that stays.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kvd_engine::{Config, Engine, Worker};
use kvd_types::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn key(bytes: impl AsRef<[u8]>) -> Key<'static> {
    Key::new(bytes.as_ref().to_vec()).unwrap()
}

fn tiny() -> Config {
    Config { segment_buckets_max: 1, ..Config::default() }
}

fn page(engine: &Engine, worker: &mut Worker, list: ListSorted<'static>) -> SortedPage {
    match engine.execute(worker, &Command::ListSorted(list)) {
        Ok(Reply::SortedPage(page)) => page,
        other => panic!("{other:?}"),
    }
}

/// Names of a page in their order, and whether each is a folder.
fn names(page: &SortedPage) -> Vec<(Vec<u8>, bool)> {
    let items = page.items.iter().map(|item| (item.key.as_bytes().to_vec(), false));
    let mut names: Vec<_> = items.chain(page.prefixes.iter().map(|name| (name.as_bytes().to_vec(), true))).collect();
    assert!(page.items.is_sorted_by_key(|item| &item.key) && page.prefixes.is_sorted(), "{page:?}");
    names.sort();
    names
}

/// All names of a walk in pages of `limit`.
fn walk(
    mut list: ListSorted<'static>,
    mut next: impl FnMut(ListSorted<'static>) -> SortedPage,
) -> Vec<(Vec<u8>, bool)> {
    let mut all = Vec::new();
    loop {
        let page = next(list.clone());
        assert!(page.items.len() + page.prefixes.len() <= list.limit, "{page:?}");
        all.extend(names(&page));
        match page.after {
            Some(after) => {
                assert_eq!(Some(after.as_bytes()), all.last().map(|(name, _)| &**name), "it goes on where it ended");
                list.after = Some(after);
            }
            None => return all,
        }
    }
}

/// What a walk is to show.
fn expected(keys: impl Iterator<Item = Vec<u8>>, prefix: &[u8], delimiter: Option<&[u8]>) -> Vec<(Vec<u8>, bool)> {
    let place = |key: Vec<u8>| {
        let rest = key.strip_prefix(prefix)?;
        let at = delimiter.and_then(|delimiter| (0..rest.len()).find(|at| rest[*at..].starts_with(delimiter)));
        Some(match (at, delimiter) {
            (Some(at), Some(delimiter)) => (key[..prefix.len() + at + delimiter.len()].to_vec(), true),
            _ => (key.clone(), false),
        })
    };
    keys.filter_map(place).collect::<BTreeSet<_>>().into_iter().collect()
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(&b"ab//\xff\0"[..]), 0..6)
}

proptest! {
    #[test]
    fn every_walk_shows_each_name_once_and_in_order(
        keys in btree_map(bytes(), prop::option::of(1_u64..3), 0..60),
        prefix in bytes(),
        delimiter in prop::option::of(vec(prop::sample::select(&b"ab/"[..]), 1..3)),
        limit in 1_usize..10,
        is_rekeyed in any::<bool>(),
    ) {
        let engine = Engine::open(tiny());
        let mut worker = engine.worker();
        for (name, ttl) in &keys {
            // Times to live of 1 have passed, those of 2 have not.
            let ttl = ttl.map_or(Ttl::None, Ttl::Ms);
            engine.execute(&mut worker, &Command::Set(Set { ttl, ..Set::new(key(name), "v") })).unwrap();
        }
        engine.tick(1);
        if is_rekeyed {
            engine.rekey(&mut worker);
        }
        let alive = || keys.iter().filter(|(_, ttl)| **ttl != Some(1)).map(|(name, _)| name.clone());
        let expected = expected(alive(), &prefix, delimiter.as_deref());
        let list = ListSorted {
            prefix: key(&prefix),
            delimiter: delimiter.map(key),
            limit,
            after: None,
            values: ListValues::Meta,
        };
        let view = engine.view().unwrap();
        prop_assert_eq!(&walk(list.clone(), |list| page(&engine, &mut worker, list)), &expected);
        // In a view the walk is of one state, whatever happens meanwhile.
        let mut turn = 0_u32;
        let shown = walk(list, |list| {
            turn += 1;
            let name = key(format!("a{turn}"));
            engine.execute(&mut worker, &Command::Set(Set::new(name, "new"))).unwrap();
            if turn == 2 {
                engine.execute(&mut worker, &Command::Clear).unwrap();
            }
            match view.execute(&engine, &mut worker, &Command::ListSorted(list)) {
                Ok(Reply::SortedPage(page)) => page,
                other => panic!("{other:?}"),
            }
        });
        prop_assert_eq!(shown, expected);
    }
}

#[test]
fn what_stays_comes_once_while_others_come_and_go() {
    let engine = Engine::open(tiny());
    let stable: Vec<Vec<u8>> = (0..300).map(|n| format!("stable/{n:04}").into_bytes()).collect();
    let mut worker = engine.worker();
    for name in &stable {
        engine.execute(&mut worker, &Command::Set(Set::new(key(name), "v"))).unwrap();
    }
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let churn = scope.spawn(|| {
            let mut worker = engine.worker();
            // Relaxed, both sides: only tells when to stop.
            for n in (0_u64..).take_while(|_| !ended.load(Ordering::Relaxed)) {
                let name = key(format!("stable/{:04}-{}", n % 311, n % 7));
                let command =
                    if n % 3 == 0 { Command::Delete(Delete::new(name)) } else { Command::Set(Set::new(name, "x")) };
                engine.execute(&mut worker, &command).unwrap();
            }
        });
        for limit in [7, 50, 1_000] {
            let list =
                ListSorted { prefix: key("stable/"), delimiter: None, limit, after: None, values: ListValues::None };
            let mut last_revision = Revision(0);
            let shown = walk(list, |list| {
                let page = page(&engine, &mut worker, list);
                assert!(page.revision >= last_revision);
                last_revision = page.revision;
                page
            });
            assert!(shown.is_sorted_by(|one, next| one < next), "each once and in order");
            let stayed: Vec<Vec<u8>> =
                shown.into_iter().map(|(name, _)| name).filter(|name| name.len() == stable[0].len()).collect();
            assert_eq!(stayed, stable);
        }
        ended.store(true, Ordering::Relaxed); // only tells when to stop, as the load does
        churn.join().unwrap();
    });
}

#[test]
fn a_page_is_bounded_in_bytes_and_has_at_least_one_item() {
    const MIB: usize = 1 << 20;
    let limits = Limits { value_bytes_max: 100 * MIB, ..Limits::DEFAULT };
    let engine = Engine::open(Config { limits, ..tiny() });
    let mut worker = engine.worker();
    let sizes = BTreeMap::from([("a", 1), ("b", 40 * MIB), ("c", 40 * MIB), ("d", 90 * MIB), ("e", 1), ("f", 1)]);
    // In an order that has to give up what was kept already.
    for name in ["f", "d", "c", "e", "b", "a"] {
        engine.execute(&mut worker, &Command::Set(Set::new(key(name), vec![b'x'; sizes[name]]))).unwrap();
    }
    let pages = |values| {
        let mut worker = engine.worker();
        let list = ListSorted { prefix: Key::empty(), delimiter: None, limit: 100, after: None, values };
        let mut pages = Vec::new();
        walk(list, |list| {
            let page = page(&engine, &mut worker, list);
            pages.push(page.items.iter().map(|item| item.key.as_text().unwrap().to_owned()).collect::<String>());
            page
        });
        pages
    };
    assert_eq!(pages(ListValues::Full), ["ab", "c", "d", "ef"]);
    assert_eq!(pages(ListValues::Meta), ["abcdef"], "large values are shared, and cost a page nothing");
}

#[test]
fn an_update_refuses_them_as_it_does_lists() {
    let engine = Engine::open(tiny());
    let mut worker = engine.worker();
    let list = ListSorted { prefix: Key::empty(), delimiter: None, limit: 1, after: None, values: ListValues::None };
    let mut update = engine.update().unwrap();
    let refused = update.execute(&engine, &mut worker, &Command::ListSorted(list.clone()));
    assert!(matches!(refused, Err(Error::NotInTransaction { .. })), "{refused:?}");
    let too_many = engine.execute(&mut worker, &Command::ListSorted(ListSorted { limit: LIST_ITEMS_MAX + 1, ..list }));
    assert!(matches!(too_many, Err(Error::LimitExceeded(_))), "{too_many:?}");
}
