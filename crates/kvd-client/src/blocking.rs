//! The same client for programs without an async runtime: each call drives a runtime on the calling thread until its answer is
//! there. Starts no thread, but one while a host name is looked up.

use bytes::Bytes;
use kvd_types::{Delete, Set};
use kvd_wire::rest::batch::{
    InfoAnswer, ItemMeta, ListAnswer, MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer, StatsAnswer,
};
use tokio::runtime::Runtime;

use crate::{Deleted, Error, ListOptions, Value, Written};

/// A blocking client of one server. Must not be used inside an async runtime; that is what [`crate::Client`] is for.
///
/// Methods and errors are those of [`crate::Client`].
#[derive(Debug)]
pub struct Client {
    client: crate::Client,
    runtime: Runtime,
}

impl Client {
    /// A blocking client with the address and the timeouts of `client`. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::NoRuntime`].
    pub fn new(client: crate::Client) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::NoRuntime)?;
        Ok(Client { client, runtime })
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
