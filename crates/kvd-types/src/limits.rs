//! Every bound on what comes from outside, in one place, with their relations checked at compile time.
//! Knows the numbers; who enforces them is said with each.

use std::fmt;
use std::time::Duration;

use crate::{Command, Key, Rule, Transaction};

/// Longest key that any configuration allows, in bytes. Enforced by [`Key::new`].
pub const KEY_BYTES_CEILING: usize = 65_536;

/// Longest URL, in bytes. Enforced by the HTTP parser; longer keys travel in batch bodies.
pub const URL_BYTES_MAX: usize = 65_534;

/// Items on a page when the client names no number.
pub const LIST_ITEMS_DEFAULT: usize = 1_000;

/// Most items on a page.
pub const LIST_ITEMS_MAX: usize = 10_000;

/// The configurable limits; [`Default`] gives what README and /v1/info document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest key, in bytes. Checked by [`Limits::check`].
    pub key_bytes_max: usize,
    /// Longest value, in bytes. Checked by [`Limits::check`], and before a body is read.
    pub value_bytes_max: usize,
    /// Most items in one batch. Checked by [`Limits::check`], and while a batch is parsed.
    pub batch_items_max: usize,
    /// Most checks and commands in one transaction, both branches together; a command of many keys counts each. Checked by
    /// [`Limits::check`].
    pub transaction_ops_max: usize,
    /// Longest batch body, in bytes, and most bytes of values in a batch's answer. Checked while a body is read, and before an
    /// answer is built.
    pub batch_bytes_max: usize,
    /// All request bodies in memory together, in bytes. Kept by the server's inbound budget.
    pub inbound_bytes_max: usize,
    /// Headers together, in bytes. Enforced by the HTTP parser, which grants the request line `URL_BYTES_MAX` beside it.
    pub header_bytes_max: usize,
    /// Open connections. Kept by the listener.
    pub connections_max: usize,
    /// Open transactions. Kept by the server's table of them, and by the engine.
    pub transactions_max: usize,
    /// What all open transactions remember together, in bytes. Kept by the server's table of them.
    pub transactions_bytes_max: usize,
    /// How long a transaction may stay open between two requests.
    pub transaction_idle_timeout: Duration,
    /// How long a transaction may stay open at all: what it reads is kept for it.
    pub transaction_age_max: Duration,
    /// How long a client may take to send a request's headers.
    pub header_timeout: Duration,
    /// How long a client may pause inside a body, and leave an answer unread.
    pub body_idle_timeout: Duration,
    /// How long a connection may stay open between requests.
    pub keep_alive_timeout: Duration,
}

impl Limits {
    /// The documented defaults.
    pub const DEFAULT: Limits = Limits {
        key_bytes_max: KEY_BYTES_CEILING,
        value_bytes_max: 64 << 20,
        batch_items_max: 10_000,
        transaction_ops_max: 10_000,
        batch_bytes_max: 128 << 20,
        inbound_bytes_max: 1 << 30,
        header_bytes_max: 64 << 10,
        connections_max: 16_384,
        transactions_max: 1_024,
        transactions_bytes_max: 1 << 30,
        transaction_idle_timeout: Duration::from_secs(30),
        transaction_age_max: Duration::from_secs(600),
        header_timeout: Duration::from_secs(10),
        body_idle_timeout: Duration::from_secs(30),
        keep_alive_timeout: Duration::from_secs(300),
    };

    /// Whether `command` keeps to the limits on keys, values and items.
    ///
    /// # Errors
    /// [`LimitExceeded`] names the first limit that is broken, and the item that broke it.
    #[inline]
    pub fn check(&self, command: &Command<'_>) -> Result<(), LimitExceeded> {
        match command {
            Command::Get { key } => self.check_key(key, None),
            _ => self.check_other(command),
        }
    }

    /// A function of its own, so that a get has next to none.
    #[inline(never)]
    fn check_other(&self, command: &Command<'_>) -> Result<(), LimitExceeded> {
        match command {
            Command::Get { key } | Command::Peek { key } => self.check_key(key, None),
            Command::MultiGet { keys, .. } => {
                self.check_items(keys.len())?;
                keys.iter().enumerate().try_for_each(|(item, key)| self.check_key(key, Some(item)))
            }
            Command::Set(set) => {
                self.check_key(&set.key, None)?;
                self.check_value(set.value.len(), None)
            }
            Command::MultiSet { sets } => {
                self.check_items(sets.len())?;
                sets.iter().enumerate().try_for_each(|(item, set)| {
                    self.check_key(&set.key, Some(item))?;
                    self.check_value(set.value.len(), Some(item))
                })
            }
            Command::Delete(delete) => self.check_key(&delete.key, None),
            Command::MultiDelete { deletes, .. } => {
                self.check_items(deletes.len())?;
                deletes.iter().enumerate().try_for_each(|(item, delete)| self.check_key(&delete.key, Some(item)))
            }
            Command::Modify(modify) => {
                self.check_key(&modify.key, None)?;
                match &modify.rule {
                    Rule::Append { bytes } => self.check_value(bytes.len(), None),
                    Rule::SetRange { offset, bytes } => self.check_value(offset.saturating_add(bytes.len()), None),
                    Rule::Increment { .. } | Rule::IncrementFloat { .. } | Rule::Expire { .. } => Ok(()),
                }
            }
            Command::Transfer(transfer) => {
                self.check_key(&transfer.from, None)?;
                self.check_key(&transfer.to, None)
            }
            Command::Transaction(transaction) => self.check_transaction(transaction),
            Command::List(list) => {
                self.check_key(&list.prefix, None)?;
                at_most(Limit::ListItems, LIST_ITEMS_MAX, list.limit, None)
            }
            Command::ListSorted(list) => {
                self.check_key(&list.prefix, None)?;
                at_most(Limit::ListItems, LIST_ITEMS_MAX, list.limit, None)
            }
            Command::Clear => Ok(()),
            Command::GetAt { key, .. } | Command::History { key } => self.check_key(key, None),
            Command::Rollback(rollback) => self.check_key(&rollback.key, None),
        }
    }

    fn check_transaction(&self, transaction: &Transaction<'_>) -> Result<(), LimitExceeded> {
        let Transaction { checks, commands, otherwise, .. } = transaction;
        let otherwise = otherwise.as_deref().unwrap_or_default();
        let ops = checks.len() + commands.iter().chain(otherwise).map(keys_named).sum::<usize>();
        at_most(Limit::TransactionOps, self.transaction_ops_max, ops, None)?;
        checks.iter().try_for_each(|check| self.check_key(&check.key, None))?;
        let at_item = |(item, command)| {
            self.check(command).map_err(|error| LimitExceeded { item: error.item.or(Some(item)), ..error })
        };
        commands.iter().chain(otherwise).enumerate().try_for_each(at_item)
    }

    /// Whether a value that was made of several comes to no more than the limit.
    ///
    /// # Errors
    /// [`LimitExceeded`] otherwise.
    pub fn check_value_bytes(&self, actual: usize) -> Result<(), LimitExceeded> {
        self.check_value(actual, None)
    }

    /// Whether a batch of `actual` bytes, asked for or sent, keeps to the limit.
    ///
    /// # Errors
    /// [`LimitExceeded`] otherwise.
    pub fn check_batch_bytes(&self, actual: usize) -> Result<(), LimitExceeded> {
        at_most(Limit::BatchBytes, self.batch_bytes_max, actual, None)
    }

    /// Whether a batch or a transaction of `actual` items keeps to the limit.
    ///
    /// # Errors
    /// [`LimitExceeded`] otherwise.
    pub fn check_batch_items(&self, actual: usize) -> Result<(), LimitExceeded> {
        self.check_items(actual)
    }

    #[inline]
    fn check_key(&self, key: &Key<'_>, item: Option<usize>) -> Result<(), LimitExceeded> {
        at_most(Limit::KeyBytes, self.key_bytes_max, key.len(), item)
    }

    fn check_value(&self, actual: usize, item: Option<usize>) -> Result<(), LimitExceeded> {
        at_most(Limit::ValueBytes, self.value_bytes_max, actual, item)
    }

    fn check_items(&self, actual: usize) -> Result<(), LimitExceeded> {
        at_most(Limit::BatchItems, self.batch_items_max, actual, None)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}

const _: () = {
    let limits = Limits::DEFAULT;
    assert!(limits.key_bytes_max <= KEY_BYTES_CEILING);
    assert!(limits.value_bytes_max <= limits.batch_bytes_max, "one value must fit a batch");
    assert!(limits.batch_bytes_max <= limits.inbound_bytes_max, "one batch must fit the budget");
    assert!(limits.batch_bytes_max <= limits.transactions_bytes_max, "one transaction must fit the budget");
    assert!(LIST_ITEMS_DEFAULT <= LIST_ITEMS_MAX);
};

/// What a command counts for in a transaction.
fn keys_named(command: &Command<'_>) -> usize {
    match command {
        Command::MultiGet { keys, .. } => keys.len(),
        Command::MultiSet { sets } => sets.len(),
        Command::MultiDelete { deletes, .. } => deletes.len(),
        _ => 1,
    }
    .max(1)
}

#[inline]
fn at_most(limit: Limit, max: usize, actual: usize, item: Option<usize>) -> Result<(), LimitExceeded> {
    if actual <= max {
        Ok(())
    } else {
        Err(LimitExceeded { limit, max: max as u64, actual: Some(actual as u64), item })
    }
}

/// A limit by the name it has in the configuration and in /v1/info.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `key_bytes_max`
    KeyBytes,
    /// `value_bytes_max`
    ValueBytes,
    /// `batch_items_max`
    BatchItems,
    /// `transaction_ops_max`
    TransactionOps,
    /// `batch_bytes_max`
    BatchBytes,
    /// `transactions_bytes_max`
    TransactionsBytes,
    /// `list_items_max`, which is fixed
    ListItems,
}

impl Limit {
    /// The name users know it by.
    pub fn name(self) -> &'static str {
        match self {
            Limit::KeyBytes => "key_bytes_max",
            Limit::ValueBytes => "value_bytes_max",
            Limit::BatchItems => "batch_items_max",
            Limit::TransactionOps => "transaction_ops_max",
            Limit::BatchBytes => "batch_bytes_max",
            Limit::TransactionsBytes => "transactions_bytes_max",
            Limit::ListItems => "list_items_max",
        }
    }
}

/// Something from outside is larger than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitExceeded {
    /// Which limit.
    pub limit: Limit,
    /// What it allows.
    pub max: u64,
    /// What was sent; none when it was refused before its size was known.
    pub actual: Option<u64>,
    /// Position in the batch of the item that is too large; in a transaction, `otherwise` counts on after `commands`.
    pub item: Option<usize>,
}

impl std::error::Error for LimitExceeded {}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.limit.name(), self.max)?;
        if let Some(actual) = self.actual {
            write!(f, ", this request comes to {actual}")?;
        }
        if let Some(item) = self.item {
            write!(f, " in item {item}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Check, Condition, OnFailure, Set};

    fn set(key: &'static [u8], value: &'static [u8]) -> Set<'static> {
        Set::new(Key::new(key).unwrap(), Bytes::from_static(value))
    }

    #[test]
    fn the_item_over_the_limit_is_named() {
        let limits = Limits { key_bytes_max: 2, value_bytes_max: 3, batch_items_max: 2, ..Limits::DEFAULT };
        let check = |sets| limits.check(&Command::MultiSet { sets });
        assert_eq!(check(vec![set(b"ab", b"123"), set(b"", b"")]), Ok(()));
        let error = check(vec![set(b"ab", b"123"), set(b"abc", b"")]).unwrap_err();
        assert_eq!(error.to_string(), "key_bytes_max is 2, this request comes to 3 in item 1");
        let error = check(vec![set(b"ab", b"1234")]).unwrap_err();
        assert_eq!((error.limit, error.item), (Limit::ValueBytes, Some(0)));
        let error = check(vec![set(b"a", b""), set(b"b", b""), set(b"c", b"")]).unwrap_err();
        assert_eq!((error.limit, error.item, error.actual), (Limit::BatchItems, None, Some(3)));
    }

    #[test]
    fn a_transaction_counts_the_keys_of_both_branches() {
        let limits = Limits { transaction_ops_max: 4, value_bytes_max: 3, ..Limits::DEFAULT };
        let check = |commands, otherwise| {
            let checks = vec![Check { key: Key::empty(), condition: Condition::Absent }];
            let (otherwise, on_failure) = (Some(otherwise), OnFailure::Abort);
            limits.check(&Command::Transaction(Transaction { checks, commands, otherwise, on_failure }))
        };
        let many = || Command::MultiSet { sets: vec![set(b"a", b""), set(b"b", b"")] };
        let one = |value| Command::Set(set(b"c", value));
        assert_eq!(check(vec![many()], vec![one(b"")]), Ok(()));
        let error = check(vec![many()], vec![one(b""), one(b"")]).unwrap_err();
        assert_eq!((error.limit, error.actual, error.item), (Limit::TransactionOps, Some(5), None));
        let error = check(vec![one(b""), one(b"1234")], vec![]).unwrap_err();
        assert_eq!((error.limit, error.item), (Limit::ValueBytes, Some(1)));
    }
}
