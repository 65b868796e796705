//! KEYS, SCAN, RANDOMKEY: walks over the keys, on a thread beside where they take long. Owns how a cursor of SCAN is written: a
//! number, whose lowest bit names the order of the walk.

use std::io;

use kvd_engine::{Engine, Worker};
use kvd_types::{Command, Cursor, Error, Key, LIST_ITEMS_MAX, Limits, List, ListValues, Page, Reply, Revision};
use kvd_wire::resp::commands::Scan;
use kvd_wire::resp::error::{Refusal, refusal};
use kvd_wire::resp::glob;

use super::connection::{Awaited, Connection};

/// Keys looked at by a serving thread in one go; more are a matter for a thread beside.
const SHORT_WALK: usize = 1_000;

/// Steps of matching, as many as pattern and keys multiplied, that a serving thread takes in one go.
const SHORT_MATCH: usize = 256 << 10;

/// Bits of a hash that a cursor has not: it must fit a signed integer of 64 bits, since some clients take it for one.
const CURSOR_SHIFT: u32 = 2;

/// The cursor that goes on at `hash`, or a little before it.
fn cursor_of(hash: u64, is_keyed: bool) -> u64 {
    (hash >> CURSOR_SHIFT) << 1 | u64::from(is_keyed)
}

fn hash_of(cursor: u64) -> (u64, bool) {
    ((cursor >> 1) << CURSOR_SHIFT, cursor & 1 == 1)
}

/// Where a walk goes on: at its begin, if the keys were put into another order since.
fn place(engine: &Engine, worker: &mut Worker, cursor: u64) -> Option<Cursor> {
    let (hash, is_keyed) = hash_of(cursor);
    Some(engine.cursor_at(worker, hash)).filter(|place| cursor != 0 && place.is_keyed == is_keyed)
}

fn page(engine: &Engine, worker: &mut Worker, cursor: Option<Cursor>, limit: usize) -> Result<Page, Error> {
    let list = List { prefix: Key::empty(), limit, cursor, values: ListValues::None };
    match engine.execute(worker, &Command::List(list)) {
        Ok(Reply::Page(page)) => Ok(page),
        Ok(_) => unreachable!("a list is answered by a page"),
        Err(error) => Err(error),
    }
}

/// About `count` keys from `cursor` on, and the cursor to go on with; 0 at the end.
fn scan(engine: &Engine, worker: &mut Worker, cursor: u64, count: usize) -> Result<(u64, Vec<Key<'static>>), Error> {
    let mut place = place(engine, worker, cursor);
    let begin = place.map_or(0, |place| cursor_of(place.next_hash, place.is_keyed));
    let mut keys = Vec::new();
    loop {
        let page = match page(engine, worker, place, count.min(LIST_ITEMS_MAX)) {
            // The order has changed just now: all of it again.
            Err(Error::StaleCursor) if place.is_some() => {
                place = None;
                keys.clear();
                continue;
            }
            page => page?,
        };
        keys.extend(page.items.into_iter().map(|item| item.key));
        let Some(next) = page.cursor else { return Ok((0, keys)) };
        let cursor = cursor_of(next.next_hash, next.is_keyed);
        // What a cursor has no bits for must not keep the walk in its place.
        if cursor != begin && cursor != 0 {
            return Ok((cursor, keys));
        }
        place = Some(next);
    }
}

/// Whether it takes long to find the keys among these that a pattern describes.
fn is_long_match(pattern: &[u8], keys: &[Key<'_>]) -> bool {
    let bytes: usize = keys.iter().map(|key| key.len()).sum();
    pattern.len().saturating_mul(bytes) > SHORT_MATCH
}

/// The keys among these that a pattern describes. None when nobody waits for them any more.
fn described<'k>(pattern: &[u8], keys: Vec<Key<'k>>, goes_on: impl Fn() -> bool) -> Option<Vec<Key<'k>>> {
    let mut described = Vec::new();
    for key in keys {
        if glob::matches_while(pattern, key.as_bytes(), &goes_on)? {
            described.push(key);
        }
    }
    Some(described)
}

/// All keys of one revision that a pattern describes; no more are looked for when nobody waits for them.
fn matching(
    engine: &Engine,
    worker: &mut Worker,
    limits: &Limits,
    pattern: &[u8],
    awaited: &Awaited,
) -> Result<Vec<Key<'static>>, Error> {
    let view = engine.view()?;
    let prefix = glob::literal_prefix(pattern);
    let mut list = List {
        // A prefix that is no key is one that no key has.
        prefix: match Key::new(prefix) {
            Ok(prefix) => prefix,
            Err(_) => return Ok(Vec::new()),
        },
        limit: LIST_ITEMS_MAX,
        cursor: None,
        values: ListValues::None,
    };
    let (mut keys, mut bytes) = (Vec::new(), 0);
    loop {
        let page = view.list(engine, worker, &list)?;
        let page_keys = page.items.into_iter().map(|item| item.key).collect();
        let Some(found) = described(pattern, page_keys, || awaited.is_awaited()) else { return Ok(keys) };
        bytes += found.iter().map(|key| key.len()).sum::<usize>();
        keys.extend(found);
        limits.check_batch_bytes(bytes)?;
        list.cursor = page.cursor;
        if list.cursor.is_none() {
            return Ok(keys);
        }
    }
}

/// A key from about anywhere.
fn random(engine: &Engine, worker: &mut Worker, hash: u64) -> Result<Option<Key<'static>>, Error> {
    let mut place = Some(engine.cursor_at(worker, hash));
    loop {
        let page = match page(engine, worker, place, 1) {
            Err(Error::StaleCursor) if place.is_some() => {
                place = None;
                continue;
            }
            page => page?,
        };
        if let Some(item) = page.items.into_iter().next() {
            return Ok(Some(item.key));
        }
        match (place, page.cursor) {
            (_, Some(next)) => place = Some(next),
            // Nothing from there to the end: from the begin.
            (Some(_), None) => place = None,
            (None, None) => return Ok(None),
        }
    }
}

impl Connection<'_> {
    /// Lets a walk see this client's own writes, since it shows what readers see; and others, that it walks.
    async fn before_walk(&mut self) {
        self.note();
        self.reach().await;
    }

    pub(super) async fn scan(&mut self, wanted: &Scan<'_>) -> io::Result<()> {
        self.before_walk().await;
        let session = self.session;
        let Some(engine) = session.shared.engine() else { unreachable!("refused while the store is loading") };
        let (cursor, count) = (wanted.cursor, wanted.count);
        let scanned = if count <= SHORT_WALK {
            Ok(session.executor.with_worker(engine, |worker| scan(engine, worker, cursor, count)))
        } else {
            session.executor.work_beside(engine, move |engine, worker| scan(engine, worker, cursor, count)).await
        };
        let scanned = match scanned {
            Ok(Ok((next, _))) if wanted.is_of_other_type => Ok(Ok((next, Vec::new()))),
            Ok(Ok((next, keys))) => self.choose(engine, wanted.pattern, keys).await?.map(|keys| Ok((next, keys))),
            failed => failed,
        };
        self.begin_answer(Revision(0));
        match scanned {
            Ok(Ok((next, keys))) => {
                self.output.array(2);
                self.output.bulk(next.to_string().as_bytes());
                self.output.array(keys.len());
                keys.iter().for_each(|key| self.output.bulk(key.as_bytes()));
            }
            Ok(Err(error)) => self.output.error(&refusal(&error)),
            Err(failed) => self.output.error(&failed),
        }
        Ok(())
    }

    /// What is left of these keys by a pattern.
    async fn choose(
        &self,
        engine: &Engine,
        pattern: Option<&[u8]>,
        keys: Vec<Key<'static>>,
    ) -> io::Result<Result<Vec<Key<'static>>, Refusal>> {
        let Some(pattern) = pattern else { return Ok(Ok(keys)) };
        if !is_long_match(pattern, &keys) {
            return Ok(Ok(described(pattern, keys, || true).expect("nobody breaks it off")));
        }
        let pattern = pattern.to_vec();
        let choosing = move |_: &Engine, _: &mut Worker, awaited: &Awaited| {
            // What nobody waits for may be anything.
            described(&pattern, keys, || awaited.is_awaited()).unwrap_or_default()
        };
        self.beside(engine, choosing).await
    }

    pub(super) async fn keys(&mut self, pattern: &[u8]) -> io::Result<()> {
        self.before_walk().await;
        let session = self.session;
        let Some(engine) = session.shared.engine() else { unreachable!("refused while the store is loading") };
        let (limits, pattern) = (session.shared.limits.clone(), pattern.to_vec());
        let matching = move |engine: &Engine, worker: &mut Worker, awaited: &Awaited| {
            matching(engine, worker, &limits, &pattern, awaited)
        };
        let found = self.beside(engine, matching).await?;
        self.begin_answer(Revision(0));
        match found {
            Ok(Ok(keys)) => {
                self.output.array(keys.len());
                keys.iter().for_each(|key| self.output.bulk(key.as_bytes()));
            }
            Ok(Err(error)) => self.output.error(&refusal(&error)),
            Err(failed) => self.output.error(&failed),
        }
        Ok(())
    }

    pub(super) async fn random_key(&mut self) -> io::Result<()> {
        self.before_walk().await;
        let session = self.session;
        let Some(engine) = session.shared.engine() else { unreachable!("refused while the store is loading") };
        let found = match getrandom::u64() {
            Ok(hash) => session
                .executor
                .with_worker(engine, |worker| random(engine, worker, hash))
                .map_err(|error| refusal(&error)),
            Err(error) => Err(format!("ERR the system gives no random numbers: {error}").into()),
        };
        self.begin_answer(Revision(0));
        match found {
            Ok(Some(key)) => self.output.bulk(key.as_bytes()),
            Ok(None) => self.output.null(),
            Err(text) => self.output.error(&text),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kvd_engine::Config;
    use kvd_types::Set;

    use super::*;

    /// All that a walk shows from `cursor` on.
    fn rest(engine: &Engine, worker: &mut Worker, mut cursor: u64, shown: &mut BTreeSet<Key<'static>>) {
        loop {
            let (next, keys) = scan(engine, worker, cursor, 10).unwrap();
            shown.extend(keys);
            if next == 0 {
                return;
            }
            cursor = next;
        }
    }

    #[test]
    fn a_walk_begins_again_when_the_keys_are_put_into_another_order() {
        let engine = Engine::open(Config::default());
        let mut worker = engine.worker();
        for n in 0..1_000 {
            let key = Key::new(format!("key:{n}").into_bytes()).unwrap();
            engine.execute(&mut worker, &Command::Set(Set::new(key, "v"))).unwrap();
        }
        let mut cursor = 0;
        for _ in 0..50 {
            cursor = scan(&engine, &mut worker, cursor, 10).unwrap().0;
        }
        let mut half = BTreeSet::new();
        rest(&engine, &mut worker, cursor, &mut half);
        assert!((300..700).contains(&half.len()), "it goes on where it was: {}", half.len());

        engine.rekey(&mut worker);
        while engine.maintain(&mut worker) {}
        let mut all = BTreeSet::new();
        rest(&engine, &mut worker, cursor, &mut all);
        assert_eq!(all.len(), 1_000);
        let places: BTreeSet<_> =
            (0..50_u64).map(|n| random(&engine, &mut worker, n.wrapping_mul(0x0123_4567_89ab_cdef)).unwrap()).collect();
        assert!(places.len() > 25 && !places.contains(&None), "{places:?}");
    }

    #[test]
    fn a_cursor_is_a_number_that_goes_back_by_less_than_four() {
        for hash in [0, 1, 3, 4, u64::MAX, u64::MAX - 4, 1 << 63, 0x1234_5678_9abc_def0] {
            for is_keyed in [false, true] {
                let cursor = cursor_of(hash, is_keyed);
                assert!(i64::try_from(cursor).is_ok());
                let (back, order) = hash_of(cursor);
                assert!(order == is_keyed && back <= hash && hash - back < 4);
            }
        }
    }
}
