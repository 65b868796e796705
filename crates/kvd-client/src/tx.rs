//! Interactive transactions: begun, used by the methods that the client itself has, then committed or rolled back. Here is what
//! is tried again and what is not; how requests are made and sent is not known.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderValue, StatusCode};
use kvd_types::Revision;
use kvd_wire::rest::batch::{BeginAnswer, CommitAnswer};
use kvd_wire::rest::transaction::{Mode, TransactionId};

use crate::retry::{Attempts, Policy};
use crate::{Client, Error, answer, verbs};

/// An open transaction: a client whose every request runs inside it. Cheap to clone.
///
/// Reads see the state at its begin and what it has written itself; others see its writes when it is committed, all at once.
/// Nothing is locked meanwhile. It takes one request at a time. One that is dropped without an end is ended by the server, some
/// 30 s after its last request.
#[derive(Clone, Debug)]
pub struct Tx {
    /// Carries the id with every request.
    client: Client,
    scope: Arc<Scope>,
    /// What the server said of it; none where it was begun elsewhere.
    begun: Option<BeginAnswer>,
}

/// What makes a client one of a transaction.
#[derive(Debug)]
pub(crate) struct Scope {
    id: TransactionId,
    /// Set once the server refused a request because another commit was in the way.
    conflicted: AtomicBool,
}

impl Scope {
    /// The value of `Kvd-Tx`.
    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::try_from(self.id.to_string()).expect("an id is digits")
    }

    /// Learns from an error what it means for the transaction.
    pub(crate) fn note(&self, error: &Error) {
        if error.is_conflict() {
            // Relaxed: read by whoever awaited the request that set it.
            self.conflicted.store(true, Ordering::Relaxed);
        }
    }
}

/// All that a client does, inside the transaction. What can't be done there the server refuses by name: 422
/// `scan-in-transaction` for lists inside a read-write transaction, 400 `unsupported` for others.
impl Deref for Tx {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Client {
    /// Begins a transaction.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 429 when as many are open as there may be.
    pub async fn begin(&self, mode: Mode) -> Result<Tx, Error> {
        let begun: BeginAnswer = self.unscoped(verbs::begin(mode), answer::document).await?;
        Ok(Tx { begun: Some(begun.clone()), ..self.within(&begun.id)? })
    }

    /// The transaction with this id, which was begun elsewhere.
    ///
    /// # Errors
    /// [`Error::BadTransactionId`] when no transaction can have it. Whether one has it is said by the first request.
    pub fn within(&self, id: &str) -> Result<Tx, Error> {
        let id = id.parse().map_err(|()| Error::BadTransactionId { id: id.to_owned() })?;
        let scope = Arc::new(Scope { id, conflicted: AtomicBool::new(false) });
        Ok(Tx { client: self.scoped(Arc::clone(&scope)), scope, begun: None })
    }

    /// Reads in a transaction of its own: everything `body` asks is answered of one revision, however many requests it makes.
    ///
    /// ```no_run
    /// # async fn example(client: kvd_client::Client) -> Result<(), kvd_client::Error> {
    /// let sum = client
    ///     .view(|tx| async move {
    ///         let mut sum = 0;
    ///         let mut pages = tx.pages(kvd_client::ListOptions::of_prefix("order/"));
    ///         while let Some(page) = pages.next_page().await? {
    ///             sum += page.items.len();
    ///         }
    ///         Ok::<_, kvd_client::Error>(sum)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `body`, and those of [`begin`](Client::begin). [`Error::Refused`] with status 410 when the state is no longer
    /// kept, since the transaction took too long.
    pub async fn view<T, E, F>(&self, body: impl FnOnce(Tx) -> F) -> Result<T, E>
    where
        E: From<Error>,
        F: Future<Output = Result<T, E>>,
    {
        let tx = self.begin_patiently(Mode::ReadOnly, &mut Attempts::new(Policy::CONFLICT)).await?;
        let outcome = body(tx.clone()).await;
        tx.abandon().await;
        outcome
    }

    /// Reads and writes in a transaction of its own, and commits it: all of it happens, at one revision, or nothing.
    ///
    /// ```no_run
    /// # async fn example(client: kvd_client::Client) -> Result<(), kvd_client::Error> {
    /// let left = client
    ///     .update(|tx| async move {
    ///         let stock = tx.get("stock").await?.map_or(0, |value| value.bytes.len());
    ///         if stock > 0 {
    ///             tx.set("stock", vec![b'x'; stock - 1]).await?;
    ///             tx.set("sold/1", "me").await?;
    ///         }
    ///         Ok::<_, kvd_client::Error>(stock)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Retries
    /// **`body` may run again:** when a key that it has read was changed by somebody else, nothing has happened, and it runs in
    /// a new transaction, up to 20 times, after pauses that grow and are random. So what it does besides must bear repetition.
    /// When the answer to the commit gets lost, the same commit is asked for again, which the server answers as it did at
    /// first; `body` does not run again for that.
    ///
    /// # Errors
    /// Those of `body`, after which nothing has happened. Those of the commit: [`Error::is_conflict`] when every attempt
    /// met a conflict; [`Error::outcome_is_unknown`] when no answer could be had.
    pub async fn update<T, E, F>(&self, mut body: impl FnMut(Tx) -> F) -> Result<T, E>
    where
        E: From<Error>,
        F: Future<Output = Result<T, E>>,
    {
        let mut attempts = Attempts::new(Policy::CONFLICT);
        loop {
            let tx = self.begin_patiently(Mode::ReadWrite, &mut attempts).await?;
            let outcome = body(tx.clone()).await;
            if let Conclusion::Ended(outcome) = tx.conclude(outcome, &mut attempts).await {
                return outcome;
            }
        }
    }

    /// Begins a transaction, also when the server is too busy at first.
    pub(crate) async fn begin_patiently(&self, mode: Mode, attempts: &mut Attempts) -> Result<Tx, Error> {
        loop {
            match self.begin(mode).await {
                Err(error @ Error::Refused { .. }) if error.is_retryable() => {
                    if !attempts.again().await {
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
    }
}

/// What became of one attempt at an update.
pub(crate) enum Conclusion<T, E> {
    /// The update has ended.
    Ended(Result<T, E>),
    /// Nothing has happened, and it is to be tried again.
    Again,
}

impl Tx {
    /// Its id, by which another process can go on with it: see [`Client::within`].
    pub fn id(&self) -> String {
        self.scope.id.to_string()
    }

    /// What the server said of it when it was begun: the revision that it reads, and how long it may be idle. None where it was
    /// begun elsewhere.
    pub fn begun(&self) -> Option<&BeginAnswer> {
        self.begun.as_ref()
    }

    /// Makes all that was written visible, at the revision that is returned. Asks again when the answer gets lost: the server
    /// keeps it for a minute, and commits nothing twice.
    ///
    /// # Errors
    /// [`Error::is_conflict`] when a key that was read has been changed since; then nothing has happened, and a new transaction
    /// may succeed. Status 410 when the transaction has ended already. [`Error::outcome_is_unknown`] when no answer could be
    /// had.
    pub async fn commit(&self) -> Result<Revision, Error> {
        let mut attempts = Attempts::new(Policy::LOST_ANSWER);
        let mut lost: Option<Error> = None;
        loop {
            let error = match self.client.unscoped(verbs::commit(self.scope.id), answer::document).await {
                Ok(CommitAnswer { revision }) => return Ok(revision),
                Err(error) => error,
            };
            let again = match &error {
                // The first request may be on its way still.
                Error::NotReachable { .. } => lost.is_some(),
                _ if error.code() == Some("tx-busy") => lost.is_some(),
                // That a failed disk leaves it open is an answer.
                _ => error.outcome_is_unknown() && error.code() != Some("outcome-unknown"),
            };
            if !again {
                return Err(match lost {
                    // A server that knows nothing of it any more can't say how it ended.
                    Some(lost) if error.status() == Some(StatusCode::GONE) => lost,
                    _ => error,
                });
            }
            let first = lost.take().unwrap_or(error);
            if !attempts.again().await {
                return Err(first);
            }
            lost = Some(first);
        }
    }

    /// Ends it without a trace.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 410 when it has ended already.
    pub async fn abort(&self) -> Result<(), Error> {
        self.client.unscoped(verbs::abandon(self.scope.id), answer::success).await
    }

    /// Ends it when nobody wants its outcome any more.
    pub(crate) async fn abandon(&self) {
        // Where this fails the server ends it by itself; what the caller is told of matters more.
        let _ = self.abort().await;
    }

    /// Commits or rolls back by the outcome of a body, and says whether the body is to run again.
    pub(crate) async fn conclude<T, E: From<Error>>(
        &self,
        outcome: Result<T, E>,
        attempts: &mut Attempts,
    ) -> Conclusion<T, E> {
        match outcome {
            Ok(value) => match self.commit().await {
                Ok(_) => Conclusion::Ended(Ok(value)),
                Err(error) if error.is_conflict() && attempts.again().await => Conclusion::Again,
                Err(error) => Conclusion::Ended(Err(error.into())),
            },
            Err(error) => {
                self.abandon().await;
                // Relaxed: set by a request that the body has awaited.
                let conflicted = self.scope.conflicted.load(Ordering::Relaxed);
                if conflicted && attempts.again().await { Conclusion::Again } else { Conclusion::Ended(Err(error)) }
            }
        }
    }
}
