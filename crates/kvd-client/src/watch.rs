//! Changes as they happen: a stream of commits over server-sent events (`/v1/watch`), resumed where it broke off. The events'
//! text is read by `sse-stream`, their data by `kvd-wire`.

use futures_util::StreamExt as _;
use hyper::body::Incoming;
use kvd_types::Revision;
use kvd_wire::rest::batch::{Format, Message, WatchCommit, WatchLagged};
use sse_stream::{Sse, SseStream};

use crate::retry::{Attempts, Policy};
use crate::{Client, Error, answer, verbs};

/// Which changes a [`Watch`] tells of, and from when on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// Only keys that begin with these bytes.
    pub prefix: Vec<u8>,
    /// The first revision wanted; without it, those after the begin of the watch.
    pub from: Option<Revision>,
}

/// What a [`Watch`] brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// What one commit did to the keys that are watched, all of it together.
    Commit(WatchCommit),
    /// We were too slow, and the server has dropped commits that we had not seen. The next call goes on with the oldest that it
    /// still has.
    Lagged(WatchLagged),
}

/// A stream of changes; see [`Client::watch`].
pub struct Watch {
    client: Client,
    prefix: Vec<u8>,
    /// The epoch of the store that is watched; none before the first connection.
    store: Option<String>,
    /// The first revision wanted, once it is known; then `last_seen` says more.
    from: Option<Revision>,
    /// `Last-Event-ID`: the newest revision that the server said it has looked at.
    last_seen: Option<Revision>,
    /// None until the first call, and after the stream broke.
    stream: Option<SseStream<Incoming>>,
    /// What is left of patience since the last event; none before the first connection.
    attempts: Option<Attempts>,
}

impl Client {
    /// Watches changes of keys as they happen.
    ///
    /// ```no_run
    /// use kvd_client::{Watched, WatchOptions};
    ///
    /// # async fn example(client: kvd_client::Client) -> Result<(), kvd_client::Error> {
    /// let mut watch = client.watch(WatchOptions { prefix: b"order/".to_vec(), from: None });
    /// loop {
    ///     match watch.next().await? {
    ///         Watched::Commit(commit) => println!("{} changes at {}", commit.events.len(), commit.revision),
    ///         Watched::Lagged(lagged) => println!("nothing is known of what came before {}", lagged.oldest),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn watch(&self, options: WatchOptions) -> Watch {
        let WatchOptions { prefix, from } = options;
        Watch { client: self.clone(), prefix, store: None, from, last_seen: None, stream: None, attempts: None }
    }
}

impl Watch {
    /// The next event. Waits for it, as long as it takes; when the connection breaks, goes on where it broke off, without loss
    /// and without anything twice. May be dropped before it is done: nothing gets lost by that.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 410 when what comes next is no longer kept: read the state anew, and watch from there on.
    /// [`Error::OtherStore`] when there is another store now where this one was: its revisions say nothing of what was missed.
    /// Errors of the connection: of the first one at once, later when it can't be made again within a minute. The next call tries
    /// again.
    pub async fn next(&mut self) -> Result<Watched, Error> {
        loop {
            if self.stream.is_none() {
                self.stream = Some(self.open().await?);
            }
            let Some(stream) = &mut self.stream else { continue };
            let why = match stream.next().await {
                Some(Ok(event)) => match self.read(event)? {
                    Some(event) => return Ok(event),
                    None => continue,
                },
                Some(Err(error)) => error.to_string(),
                None => "the server ended the stream".to_owned(),
            };
            self.stream = None;
            self.wait_before_another(self.client.lost(why)).await?;
        }
    }

    /// Connects, again if need be.
    async fn open(&mut self) -> Result<SseStream<Incoming>, Error> {
        loop {
            let request = verbs::watch(&self.prefix, self.from, self.last_seen)?;
            match self.client.open(request).await {
                Ok(answer) => {
                    let found = answer::store(answer.headers()).map_err(|misread| self.client.error(false, misread))?;
                    let watched = self.store.get_or_insert_with(|| found.clone());
                    if *watched != found {
                        return Err(self.client.other_store(watched.clone(), found));
                    }
                    self.attempts.get_or_insert_with(|| Attempts::new(Policy::LOST_STREAM));
                    // Known from here on, so that a stream that breaks before its first event is resumed too.
                    if self.from.is_none() {
                        self.from = answer::revision(answer.headers()).map(|revision| Revision(revision.0 + 1));
                    }
                    return Ok(SseStream::new(answer.into_body()));
                }
                Err(error) if error.is_retryable() => self.wait_before_another(error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until it is time to connect again; fails with `error` when it is time to give up.
    async fn wait_before_another(&mut self, error: Error) -> Result<(), Error> {
        let Some(attempts) = &mut self.attempts else { return Err(error) };
        if attempts.again().await {
            return Ok(());
        }
        self.attempts = Some(Attempts::new(Policy::LOST_STREAM));
        Err(error)
    }

    /// What an event tells, if it is one for the caller.
    fn read(&mut self, event: Sse) -> Result<Option<Watched>, Error> {
        self.attempts = Some(Attempts::new(Policy::LOST_STREAM));
        let id = event.id.as_deref().and_then(|id| id.parse().ok()).map(Revision);
        let told = match (event.event.as_deref(), event.data) {
            (Some("lagged"), Some(data)) => {
                let lagged: WatchLagged = self.decode(&data)?;
                (self.stream, self.last_seen, self.from) = (None, None, Some(lagged.oldest));
                return Ok(Some(Watched::Lagged(lagged)));
            }
            (Some("commit"), Some(data)) => Some(Watched::Commit(self.decode(&data)?)),
            // Cut off before its data: it comes again.
            (Some("lagged" | "commit"), None) => return Ok(None),
            // An id alone tells how far the server has looked; what a newer server says besides is passed over.
            _ => None,
        };
        self.last_seen = id.or(self.last_seen);
        Ok(told)
    }

    fn decode<M: Message>(&self, data: &str) -> Result<M, Error> {
        M::decode(Format::Json, data.as_bytes()).map_err(|error| self.client.not_understood(error.to_string()))
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("prefix", &self.prefix)
            .field("last_seen", &self.last_seen)
            .finish_non_exhaustive()
    }
}
