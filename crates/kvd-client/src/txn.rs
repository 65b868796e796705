//! One-shot transactions: what a program writes to make one, and the calls that are one. How it is written on the wire is
//! `kvd-wire`'s business.

use std::time::Duration;

use bytes::Bytes;
use kvd_types::{
    Check, Command, Condition, Delete, ExpiryCondition, Key, KeyTooLong, Modify, OnFailure, Rule, Set, Transaction, Ttl,
};
use kvd_wire::rest::batch::TransactionAnswer;

use crate::{Client, Error, answer, request};

/// Operations that happen together, at one revision, or not at all; if need be only when checks hold.
///
/// ```no_run
/// use kvd_client::{Client, Condition, Revision, Txn};
///
/// # async fn example(client: Client) -> Result<(), kvd_client::Error> {
/// let txn = Txn::new()
///     .check("stock", Condition::Revision(Revision(41)))
///     .increment("stock", -1)
///     .set("order/7", "one")
///     .otherwise()
///     .get("stock");
/// let answer = client.transaction(&txn).await?;
/// if !answer.is_committed() {
///     println!("the stock has changed: {:?}", answer.results[0]);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Txn {
    checks: Vec<Check<'static>>,
    commands: Vec<Command<'static>>,
    /// There from [`otherwise`](Txn::otherwise) on; then operations are added here.
    otherwise: Option<Vec<Command<'static>>>,
    /// The first key that is too long. Told by who sends, so that what is written here reads well.
    too_long: Option<KeyTooLong>,
}

impl Txn {
    /// A transaction of nothing, to which operations are added.
    pub fn new() -> Self {
        Txn::default()
    }

    /// Carries out the operations only if this holds for `key`. Without [`otherwise`](Txn::otherwise) a check that fails is an
    /// error.
    pub fn check(mut self, key: impl AsRef<[u8]>, condition: Condition) -> Self {
        if let Some(key) = self.key(key) {
            self.checks.push(Check { key, condition });
        }
        self
    }

    /// Reads a value; it sees what operations before it wrote.
    pub fn get(self, key: impl AsRef<[u8]>) -> Self {
        self.with(key, |key| Command::Get { key })
    }

    /// Gives a key a value.
    pub fn set(self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Self {
        self.with(key, |key| Command::Set(Set::new(key, value)))
    }

    /// Removes a key.
    pub fn delete(self, key: impl AsRef<[u8]>) -> Self {
        self.with(key, |key| Command::Delete(Delete::new(key)))
    }

    /// Adds to a decimal value; a missing one counts as 0.
    pub fn increment(self, key: impl AsRef<[u8]>, by: i64) -> Self {
        self.modify(key, Rule::Increment { by })
    }

    /// Adds bytes at the end of a value; a missing one counts as empty.
    pub fn append(self, key: impl AsRef<[u8]>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        self.modify(key, Rule::Append { bytes })
    }

    /// Has a value go by itself after `ttl`, from whole milliseconds on.
    pub fn expire(self, key: impl AsRef<[u8]>, ttl: Duration) -> Self {
        self.modify(key, Rule::Expire { ttl: ttl_of(ttl), only: ExpiryCondition::Always })
    }

    /// Has a value stay that was to go by itself.
    pub fn persist(self, key: impl AsRef<[u8]>) -> Self {
        self.modify(key, Rule::Expire { ttl: Ttl::None, only: ExpiryCondition::Always })
    }

    /// Any operation that a transaction can hold: a get, set, delete or modify of one key.
    pub fn op(mut self, command: Command<'static>) -> Self {
        self.otherwise.as_mut().unwrap_or(&mut self.commands).push(command);
        self
    }

    /// What is added from here on is carried out instead, when a check fails.
    pub fn otherwise(mut self) -> Self {
        self.otherwise.get_or_insert_default();
        self
    }

    fn modify(self, key: impl AsRef<[u8]>, rule: Rule) -> Self {
        self.with(key, |key| Command::Modify(Modify { key, rule, condition: Condition::Always }))
    }

    fn with(mut self, key: impl AsRef<[u8]>, command: impl FnOnce(Key<'static>) -> Command<'static>) -> Self {
        match self.key(key) {
            Some(key) => self.op(command(key)),
            None => self,
        }
    }

    fn key(&mut self, key: impl AsRef<[u8]>) -> Option<Key<'static>> {
        match Key::new(key.as_ref().to_vec()) {
            Ok(key) => Some(key),
            Err(too_long) => {
                self.too_long.get_or_insert(too_long);
                None
            }
        }
    }

    pub(crate) fn command(&self) -> Result<Command<'static>, KeyTooLong> {
        match self.too_long {
            Some(too_long) => Err(too_long),
            None => Ok(Command::Transaction(Transaction {
                checks: self.checks.clone(),
                commands: self.commands.clone(),
                otherwise: self.otherwise.clone(),
                on_failure: OnFailure::Abort,
            })),
        }
    }
}

/// On the wire a time to live has whole milliseconds, at least one.
pub(crate) fn ttl_of(ttl: Duration) -> Ttl {
    Ttl::Ms(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1))
}

impl Client {
    /// Carries out a transaction in one request.
    ///
    /// # Errors
    /// [`Error::Refused`]: status 412 when a check fails and nothing is said to be done otherwise; 409 when an operation fails,
    /// such as adding to what is no number. Then nothing has happened. As with every write, [`Error::outcome_is_unknown`] says
    /// when it may have: a transaction whose checks can't hold twice can be repeated without harm.
    pub async fn transaction(&self, txn: &Txn) -> Result<TransactionAnswer<'static>, Error> {
        self.call(request::many(&txn.command()?)?, answer::document).await
    }
}
