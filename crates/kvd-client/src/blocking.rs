//! The same client for programs without an async runtime: each call drives a runtime on the calling thread until its answer is
//! there. Starts no thread, but one while a host name is looked up.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kvd_types::{Delete, Revision, Set};
use kvd_wire::rest::batch::{
    BeginAnswer, DeletePrefixAnswer, HistoryAnswer, IncrementAnswer, InfoAnswer, ItemMeta, ListAnswer,
    MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer, SetItem, StatsAnswer, TransactionAnswer, TtlAnswer,
};
use kvd_wire::rest::transaction::Mode;
use tokio::runtime::Runtime;

use crate::retry::{Attempts, Policy};
use crate::tx::Conclusion;
use crate::{Deleted, Error, ListOptions, Txn, Value, WatchOptions, Watched, Written};

/// A blocking client of one server. Must not be used inside an async runtime; that is what [`crate::Client`] is for.
///
/// Methods and errors are those of [`crate::Client`].
#[derive(Debug)]
pub struct Client {
    client: crate::Client,
    /// Shared with the transactions that are begun here.
    runtime: Arc<Runtime>,
}

/// An open transaction; see [`crate::Tx`].
#[derive(Debug)]
pub struct Tx {
    client: Client,
    tx: crate::Tx,
}

impl Client {
    /// A blocking client with the address and the timeouts of `client`. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::NoRuntime`].
    pub fn new(client: crate::Client) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::NoRuntime)?;
        Ok(Client { client, runtime: Arc::new(runtime) })
    }

    /// See [`crate::Client::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>, Error> {
        self.runtime.block_on(self.client.get(key))
    }

    /// See [`crate::Client::head`].
    pub fn head(&self, key: impl AsRef<[u8]>) -> Result<Option<ItemMeta>, Error> {
        self.runtime.block_on(self.client.head(key))
    }

    /// See [`crate::Client::set`].
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<Written, Error> {
        self.runtime.block_on(self.client.set(key, value))
    }

    /// See [`crate::Client::set_with`].
    pub fn set_with(&self, set: Set<'_>) -> Result<Written, Error> {
        self.runtime.block_on(self.client.set_with(set))
    }

    /// See [`crate::Client::delete`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Deleted, Error> {
        self.runtime.block_on(self.client.delete(key))
    }

    /// See [`crate::Client::delete_with`].
    pub fn delete_with(&self, delete: Delete<'_>) -> Result<Deleted, Error> {
        self.runtime.block_on(self.client.delete_with(delete))
    }

    /// See [`crate::Client::get_many`].
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<MultiGetAnswer<'static>, Error> {
        self.runtime.block_on(self.client.get_many(keys))
    }

    /// See [`crate::Client::set_many`].
    pub fn set_many(&self, sets: Vec<Set<'_>>) -> Result<MultiSetAnswer<'static>, Error> {
        self.runtime.block_on(self.client.set_many(sets))
    }

    /// See [`crate::Client::delete_many`].
    pub fn delete_many(&self, deletes: Vec<Delete<'_>>, require_all: bool) -> Result<MultiDeleteAnswer, Error> {
        self.runtime.block_on(self.client.delete_many(deletes, require_all))
    }

    /// See [`crate::Client::delete_prefix`].
    pub fn delete_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<DeletePrefixAnswer, Error> {
        self.runtime.block_on(self.client.delete_prefix(prefix))
    }

    /// See [`crate::Client::delete_all`].
    pub fn delete_all(&self) -> Result<DeletePrefixAnswer, Error> {
        self.runtime.block_on(self.client.delete_all())
    }

    /// See [`crate::Client::increment`].
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<IncrementAnswer<'static>, Error> {
        self.runtime.block_on(self.client.increment(key, by))
    }

    /// See [`crate::Client::append`].
    pub fn append(&self, key: impl AsRef<[u8]>, bytes: impl Into<Bytes>) -> Result<u64, Error> {
        self.runtime.block_on(self.client.append(key, bytes))
    }

    /// See [`crate::Client::ttl`].
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<TtlAnswer<'static>>, Error> {
        self.runtime.block_on(self.client.ttl(key))
    }

    /// See [`crate::Client::expire`].
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool, Error> {
        self.runtime.block_on(self.client.expire(key, ttl))
    }

    /// See [`crate::Client::persist`].
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.runtime.block_on(self.client.persist(key))
    }

    /// See [`crate::Client::get_at`].
    pub fn get_at(&self, key: impl AsRef<[u8]>, revision: Revision) -> Result<Option<Value>, Error> {
        self.runtime.block_on(self.client.get_at(key, revision))
    }

    /// See [`crate::Client::history`].
    pub fn history(&self, key: impl AsRef<[u8]>) -> Result<Option<HistoryAnswer<'static>>, Error> {
        self.runtime.block_on(self.client.history(key))
    }

    /// See [`crate::Client::rollback`].
    pub fn rollback(&self, key: impl AsRef<[u8]>, to: Revision) -> Result<SetItem<'static>, Error> {
        self.runtime.block_on(self.client.rollback(key, to))
    }

    /// See [`crate::Client::transaction`].
    pub fn transaction(&self, txn: &Txn) -> Result<TransactionAnswer<'static>, Error> {
        self.runtime.block_on(self.client.transaction(txn))
    }

    /// See [`crate::Client::begin`].
    pub fn begin(&self, mode: Mode) -> Result<Tx, Error> {
        self.runtime.block_on(self.client.begin(mode)).map(|tx| self.of(tx))
    }

    /// See [`crate::Client::within`].
    pub fn within(&self, id: &str) -> Result<Tx, Error> {
        self.client.within(id).map(|tx| self.of(tx))
    }

    /// See [`crate::Client::view`].
    pub fn view<T, E: From<Error>>(&self, body: impl FnOnce(&Tx) -> Result<T, E>) -> Result<T, E> {
        let mut attempts = Attempts::new(Policy::CONFLICT);
        let tx = self.of(self.runtime.block_on(self.client.begin_patiently(Mode::ReadOnly, &mut attempts))?);
        let outcome = body(&tx);
        self.runtime.block_on(tx.tx.abandon());
        outcome
    }

    /// See [`crate::Client::update`]. `body` may run again.
    ///
    /// ```no_run
    /// # fn example(client: kvd_client::blocking::Client) -> Result<(), kvd_client::Error> {
    /// client.update(|tx| {
    ///     if let Some(draft) = tx.get("draft")? {
    ///         tx.set("published", draft.bytes)?;
    ///         tx.delete("draft")?;
    ///     }
    ///     Ok::<_, kvd_client::Error>(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn update<T, E: From<Error>>(&self, mut body: impl FnMut(&Tx) -> Result<T, E>) -> Result<T, E> {
        let mut attempts = Attempts::new(Policy::CONFLICT);
        loop {
            let begun = self.runtime.block_on(self.client.begin_patiently(Mode::ReadWrite, &mut attempts))?;
            let tx = self.of(begun);
            let outcome = body(&tx);
            if let Conclusion::Ended(outcome) = self.runtime.block_on(tx.tx.conclude(outcome, &mut attempts)) {
                return outcome;
            }
        }
    }

    /// The changes of keys as they happen, without an end; after an error the next one tries to go on. See
    /// [`crate::Client::watch`].
    pub fn watch(&self, options: WatchOptions) -> impl Iterator<Item = Result<Watched, Error>> {
        let mut watch = self.client.watch(options);
        std::iter::from_fn(move || Some(self.runtime.block_on(watch.next())))
    }

    fn of(&self, tx: crate::Tx) -> Tx {
        let client = Client { client: crate::Client::clone(&tx), runtime: Arc::clone(&self.runtime) };
        Tx { client, tx }
    }

    /// See [`crate::Client::page`].
    pub fn page(&self, options: &ListOptions, cursor: Option<&str>) -> Result<ListAnswer, Error> {
        self.runtime.block_on(self.client.page(options, cursor))
    }

    /// All pages of the list of keys; ends after the first error. See [`crate::Client::pages`].
    pub fn pages(&self, options: ListOptions) -> impl Iterator<Item = Result<ListAnswer, Error>> {
        let mut pages = Some(self.client.pages(options));
        std::iter::from_fn(move || {
            let page = self.runtime.block_on(pages.as_mut()?.next_page()).transpose();
            if !matches!(page, Some(Ok(_))) {
                pages = None;
            }
            page
        })
    }

    /// See [`crate::Client::stats`].
    pub fn stats(&self) -> Result<StatsAnswer, Error> {
        self.runtime.block_on(self.client.stats())
    }

    /// See [`crate::Client::info`].
    pub fn info(&self) -> Result<InfoAnswer, Error> {
        self.runtime.block_on(self.client.info())
    }

    /// See [`crate::Client::snapshot`].
    pub fn snapshot(&self) -> Result<(), Error> {
        self.runtime.block_on(self.client.snapshot())
    }

    /// See [`crate::Client::ping`].
    pub fn ping(&self) -> Result<(), Error> {
        self.runtime.block_on(self.client.ping())
    }
}

impl Tx {
    /// See [`crate::Tx::id`].
    pub fn id(&self) -> String {
        self.tx.id()
    }

    /// See [`crate::Tx::begun`].
    pub fn begun(&self) -> Option<&BeginAnswer> {
        self.tx.begun()
    }

    /// See [`crate::Tx::commit`].
    pub fn commit(&self) -> Result<Revision, Error> {
        self.client.runtime.block_on(self.tx.commit())
    }

    /// See [`crate::Tx::abort`].
    pub fn abort(&self) -> Result<(), Error> {
        self.client.runtime.block_on(self.tx.abort())
    }
}

/// All that a client does, inside the transaction.
impl Deref for Tx {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}
