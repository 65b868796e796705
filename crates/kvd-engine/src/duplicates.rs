//! Batches that name a key more than once. Knows nothing of what is to happen to the keys.

use std::collections::BTreeSet;

use kvd_types::{Error, Key};

/// The lowest pair of items that name one key, if there is one.
///
/// # Errors
/// [`Error::DuplicateKey`].
pub(crate) fn refuse(keys: &[&Key<'_>]) -> Result<(), Error> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_unstable_by_key(|item| (keys[*item], *item));
    let twice = |pair: &&[usize]| keys[pair[0]] == keys[pair[1]];
    let lowest = order.windows(2).filter(twice).map(|pair| (pair[1], pair[0])).min();
    lowest.map_or(Ok(()), |(second, first)| Err(Error::DuplicateKey { first, second }))
}

/// For each item whether one before it names the same key.
pub(crate) fn earlier(keys: &[&Key<'_>]) -> Vec<bool> {
    let mut seen = BTreeSet::new();
    keys.iter().map(|key| !seen.insert(key.as_bytes())).collect()
}
