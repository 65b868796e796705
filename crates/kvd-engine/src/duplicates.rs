//! Batches that name a key more than once. Knows nothing of what is to happen to the keys.

use kvd_types::Error;

use crate::index::Hashed;
use crate::item::Item;

/// The lowest pair of items that name one key, if there is one.
pub(crate) fn refuse(items: &[Item<'_>]) -> Result<(), Error> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_unstable_by_key(|item| (items[*item].key, *item));
    let twice = |pair: &&[usize]| items[pair[0]].key == items[pair[1]].key;
    let lowest = order.windows(2).filter(twice).map(|pair| (pair[1], pair[0])).min();
    lowest.map_or(Ok(()), |(second, first)| Err(Error::DuplicateKey { first, second }))
}

/// For each item whether one before it names the same key.
pub(crate) fn earlier(items: &[Item<'_>], keys: &[Hashed<'_>]) -> Vec<bool> {
    let hashes: Vec<u64> = keys.iter().map(Hashed::fast).collect();
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_unstable_by_key(|item| (hashes[*item], *item));
    let mut earlier = vec![false; items.len()];
    for (at, item) in order.iter().enumerate() {
        let same_hash = order[..at].iter().rev().take_while(|other| hashes[**other] == hashes[*item]);
        earlier[*item] = same_hash.into_iter().any(|other| items[*other].key == items[*item].key);
    }
    earlier
}
