//! The async client: its address and timeouts, and a method for each thing a server does with values, keys and itself; what else
//! it does stands in `modify`, `txn`, `tx`, `versions` and `watch`. Requests are made in `request` and `verbs`, answers read in
//! `answer`, and carried by `transport`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Response, Uri};
use hyper::body;
use kvd_types::{Command, Delete, Etag, Key, KeyTooLong, ListValues, Revision, Set};
use kvd_wire::rest::batch::{
    DeletePrefixAnswer, InfoAnswer, ItemMeta, ListAnswer, MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer,
    StatsAnswer,
};
use kvd_wire::rest::transaction::KVD_TX;

use crate::Error;
use crate::address::Address;
use crate::answer::{self, Misread};
use crate::request::{self, OneKey};
use crate::transport::{Incoming, Outgoing, Transport};
use crate::tx::Scope;

/// How a client is made; see [`Client::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    url: String,
    connect_timeout: Duration,
    request_timeout: Duration,
}

impl Builder {
    pub(crate) fn new(url: &str) -> Self {
        Builder {
            url: url.to_owned(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(60),
        }
    }

    /// How long a connection may take to come about; 5 s unless said otherwise.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a call may take, from its start to the last byte of its answer; 60 s unless said otherwise.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The client. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::BadUrl`] unless the URL has the form `http://host:port`.
    pub fn build(self) -> Result<Client, Error> {
        let address = Address::parse(&self.url)?;
        let transport = Transport::new(address, self.connect_timeout, self.request_timeout);
        Ok(Client { transport, scope: None })
    }
}

/// A client of one server. Cheap to clone; clones share their connections.
///
/// Keys are anything that is bytes: `&str`, `String`, `&[u8]`, `Vec<u8>`, [`Key`]. A key above 64 KiB is
/// [`Error::KeyTooLong`] before anything is sent.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
    /// The transaction that requests run in, if any.
    scope: Option<Arc<Scope>>,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Entity tag, size and content type.
    pub meta: ItemMeta,
    /// The value itself.
    pub bytes: Bytes,
}

/// The outcome of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The key's new version; none inside a transaction, where it has no revision yet.
    pub etag: Option<Etag>,
    /// Whether the key had no value before.
    pub created: bool,
}

/// The outcome of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The commit's; where nothing was deleted, the one at which the key was missing.
    pub revision: Revision,
    /// Whether the key had a value.
    pub found: bool,
}

/// Which keys a list tells of, and how much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Only keys that begin with these bytes.
    pub prefix: Vec<u8>,
    /// Most keys on a page, at most 10,000; without it the server decides.
    pub limit: Option<usize>,
    /// How much is told of each key.
    pub values: ListValues,
    /// Whether keys come in the order of their bytes. The server then looks at all keys for each page.
    pub sorted: bool,
    /// Keys that have this behind the prefix are put together as what they begin with, up to there and with it. Sorts.
    pub delimiter: Option<Vec<u8>>,
}

impl ListOptions {
    /// Keys that begin with `prefix`, and nothing else is asked for.
    pub fn of_prefix(prefix: impl Into<Vec<u8>>) -> Self {
        ListOptions { prefix: prefix.into(), ..ListOptions::default() }
    }
}

impl Client {
    /// A client of the server at `url`, `http://host:port`. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::BadUrl`] unless the URL has this form.
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// A client whose timeouts are to be chosen.
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    /// The value of `key`; none when it is missing.
    ///
    /// # Errors
    /// Any [`Error`], as of all methods below; what can't happen is said by each variant.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>, Error> {
        match request::get(Method::GET, named(&key)?)? {
            OneKey::Direct(request) => self.call(request, answer::value).await,
            OneKey::Batch(request) => self.call(request, answer::value_of_batch).await,
        }
    }

    /// Entity tag, size and content type of `key` without its value; none when it is missing.
    pub async fn head(&self, key: impl AsRef<[u8]>) -> Result<Option<ItemMeta>, Error> {
        match request::get(Method::HEAD, named(&key)?)? {
            OneKey::Direct(request) => self.call(request, answer::head).await,
            OneKey::Batch(request) => Ok(self.call(request, answer::value_of_batch).await?.map(|value| value.meta)),
        }
    }

    /// Gives `key` a value, whatever it held before.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<Written, Error> {
        self.set_with(Set::new(named(&key)?, value)).await
    }

    /// Gives a key a value with a content type, with a time to live, or under a condition.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 412 when the condition does not hold; then nothing has changed.
    pub async fn set_with(&self, set: Set<'_>) -> Result<Written, Error> {
        match request::set(set)? {
            OneKey::Direct(request) => self.call(request, answer::written).await,
            OneKey::Batch(request) => self.call(request, answer::written_of_batch).await,
        }
    }

    /// Removes `key`, if it is there.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Deleted, Error> {
        self.delete_with(Delete::new(named(&key)?)).await
    }

    /// Removes a key under a condition.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 412 when the condition does not hold; then nothing has changed.
    pub async fn delete_with(&self, delete: Delete<'_>) -> Result<Deleted, Error> {
        match request::delete(delete)? {
            OneKey::Direct(request) => self.call(request, answer::deleted).await,
            OneKey::Batch(request) => self.call(request, answer::deleted_of_batch).await,
        }
    }

    /// The values of many keys, all of one revision, in the order asked.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<MultiGetAnswer<'static>, Error> {
        let keys = keys.iter().map(named).collect::<Result<_, _>>()?;
        self.call(request::many(&Command::MultiGet { keys, require_all: false })?, answer::document).await
    }

    /// Gives many keys a value, all or none, in one change.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 412 when one condition does not hold, 422 when a key occurs twice.
    pub async fn set_many(&self, sets: Vec<Set<'_>>) -> Result<MultiSetAnswer<'static>, Error> {
        self.call(request::many(&Command::MultiSet { sets })?, answer::document).await
    }

    /// Removes many keys in one change.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 412 when one condition does not hold, 404 when `require_all` and one key is missing; then
    /// nothing has changed.
    pub async fn delete_many(&self, deletes: Vec<Delete<'_>>, require_all: bool) -> Result<MultiDeleteAnswer, Error> {
        self.call(request::many(&Command::MultiDelete { deletes, require_all })?, answer::document).await
    }

    /// Removes all keys that begin with `prefix`, which is not empty. Many keys go in several changes, one after the other.
    pub async fn delete_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<DeletePrefixAnswer, Error> {
        match prefix.as_ref() {
            [] => Err(Error::EmptyPrefix),
            prefix => self.call(request::delete_all(prefix)?, answer::document).await,
        }
    }

    /// Removes all keys, in one change.
    pub async fn delete_all(&self) -> Result<DeletePrefixAnswer, Error> {
        self.call(request::delete_all(b"")?, answer::document).await
    }

    /// One page of the list of keys; `cursor` is that of the page before.
    pub async fn page(&self, options: &ListOptions, cursor: Option<&str>) -> Result<ListAnswer, Error> {
        self.call(request::page(options, cursor)?, answer::document).await
    }

    /// All pages of the list of keys. A key that is there all the time comes exactly once.
    pub fn pages(&self, options: ListOptions) -> Pages {
        Pages { client: self.clone(), options, next: Next::First }
    }

    /// The server's counters and sizes.
    pub async fn stats(&self) -> Result<StatsAnswer, Error> {
        self.unscoped(request::report(Uri::from_static("/v1/stats")), answer::document).await
    }

    /// The server's version, limits and features.
    pub async fn info(&self) -> Result<InfoAnswer, Error> {
        self.unscoped(request::report(Uri::from_static("/v1/info")), answer::document).await
    }

    /// Whether the server is ready to serve.
    pub async fn ping(&self) -> Result<(), Error> {
        self.unscoped(request::report(Uri::from_static("/readyz")), answer::success).await
    }

    /// Has the server make a snapshot, which shortens its next start. Returns when it has begun.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 400 when the server keeps nothing on disk.
    pub async fn snapshot(&self) -> Result<(), Error> {
        self.unscoped(request::order(Uri::from_static("/v1/admin/snapshot")), answer::success).await
    }

    /// Whether requests run inside a transaction.
    pub(crate) fn is_scoped(&self) -> bool {
        self.scope.is_some()
    }

    /// The same client with every request inside a transaction.
    pub(crate) fn scoped(&self, scope: Arc<Scope>) -> Client {
        Client { transport: self.transport.clone(), scope: Some(scope) }
    }

    /// A request about data, inside the transaction if there is one.
    pub(crate) async fn call<T>(
        &self,
        outgoing: Outgoing,
        read: impl FnOnce(Incoming) -> Result<T, Misread>,
    ) -> Result<T, Error> {
        let Some(scope) = &self.scope else { return self.unscoped(outgoing, read).await };
        let outcome = self.unscoped(in_scope(outgoing, scope), read).await;
        outcome.inspect_err(|error| scope.note(error))
    }

    /// A request that no transaction has a part in.
    pub(crate) async fn unscoped<T>(
        &self,
        outgoing: Outgoing,
        read: impl FnOnce(Incoming) -> Result<T, Misread>,
    ) -> Result<T, Error> {
        let is_write = outgoing.is_write;
        read(self.transport.send(outgoing).await?).map_err(|misread| self.error(is_write, misread))
    }

    /// A request whose answer comes bit by bit.
    pub(crate) async fn open(&self, outgoing: Outgoing) -> Result<Response<body::Incoming>, Error> {
        let outgoing = match &self.scope {
            Some(scope) => in_scope(outgoing, scope),
            None => outgoing,
        };
        match self.transport.open(outgoing).await? {
            Ok(answer) => Ok(answer),
            Err(refused) => match answer::success(refused) {
                Err(misread) => Err(self.error(false, misread)),
                Ok(()) => Err(self.not_understood("a success that is none".to_owned())),
            },
        }
    }

    /// A stream of answers that broke.
    pub(crate) fn lost(&self, why: String) -> Error {
        Error::ConnectionLost { address: self.transport.address().to_string(), is_write: false, source: why.into() }
    }

    /// A part of a stream that is none of kvd's.
    pub(crate) fn not_understood(&self, reason: String) -> Error {
        self.error(false, Misread::NotUnderstood(reason))
    }

    /// A stream of `watched` can't go on: it is `found` that is there.
    pub(crate) fn other_store(&self, watched: String, found: String) -> Error {
        Error::OtherStore { address: self.transport.address().to_string(), watched, found }
    }

    pub(crate) fn error(&self, is_write: bool, misread: Misread) -> Error {
        match misread {
            Misread::Refused { status, problem } => Error::Refused { status, is_write, problem },
            Misread::NotUnderstood(reason) => {
                Error::BadAnswer { address: self.transport.address().to_string(), is_write, reason }
            }
        }
    }
}

fn in_scope(mut outgoing: Outgoing, scope: &Scope) -> Outgoing {
    outgoing.request.headers_mut().insert(HeaderName::from_static(KVD_TX), scope.header());
    outgoing
}

/// A walk over all pages of a list; see [`Client::pages`].
#[derive(Clone, Debug)]
pub struct Pages {
    client: Client,
    options: ListOptions,
    next: Next,
}

#[derive(Clone, Debug)]
enum Next {
    First,
    At(String),
    Ended,
}

impl Pages {
    /// The next page; none after the last. A page may be empty although more follow.
    ///
    /// # Errors
    /// Any [`Error`]; the same page is asked for again by the next call.
    pub async fn next_page(&mut self) -> Result<Option<ListAnswer>, Error> {
        let cursor = match &self.next {
            Next::First => None,
            Next::At(cursor) => Some(cursor.as_str()),
            Next::Ended => return Ok(None),
        };
        let page = self.client.page(&self.options, cursor).await?;
        self.next = page.cursor.clone().map_or(Next::Ended, Next::At);
        Ok(Some(page))
    }
}

pub(crate) fn named<K: AsRef<[u8]>>(key: &K) -> Result<Key<'_>, KeyTooLong> {
    Key::new(key.as_ref())
}
