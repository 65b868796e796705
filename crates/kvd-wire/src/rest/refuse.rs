//! An error of the store as the problem that a client is told: with which code, and where in the request it points. Knows
//! nothing of how a problem is written.

use kvd_types::{Command, Error, Etag, Key, LimitExceeded, Revision};

use super::batch::{CHECKS, ELSE, OPS};
use super::code::{
    CLOSED, CONFLICT, DISK_FULL, DUPLICATE_KEY, EMPTY_BATCH, FUTURE_REVISION, HISTORY_OFF, JOURNAL_FAILED, MEMORY_FULL,
    NOT_A_NUMBER, NOT_AN_INTEGER, NOT_FOUND, NOT_IN_TRANSACTION, OPERATION_CONDITION, OUTCOME_UNKNOWN, OVERFLOW,
    PRECONDITION_FAILED, SCAN_IN_TRANSACTION, SNAPSHOT_TOO_OLD, STALE_CURSOR, TOO_MANY_TRANSACTIONS, VERSION_DROPPED,
};
use super::problem::{ItemProblem, Problem};
use super::response::Answer;

/// What a condition has met, where no commit has made it yet.
const OWN_WRITE: &str = "it was set by this transaction";

/// Where there is one key, there is no counting of items.
const ONE_CONDITION_FAILED: &str = "the key's condition does not hold; nothing was changed";

impl Answer {
    /// The answer to a command that was refused.
    pub fn refuse(&self, command: &Command<'_>, error: Error) -> Problem {
        let detail = error.to_string();
        match error {
            Error::Missing { missing, .. } => {
                let errors = missing.into_iter().map(|index| self.item(command, index)).collect();
                Problem::new(NOT_FOUND, detail).with_errors(errors)
            }
            Error::PreconditionFailed { failures, .. } => {
                let failed = |have, index| found(have, self.checked(command, index));
                let errors = failures.iter().map(|failure| failed(failure.have, failure.index)).collect();
                let detail = if is_batch(command) { detail } else { ONE_CONDITION_FAILED.to_owned() };
                Problem::new(PRECONDITION_FAILED, detail).with_errors(errors)
            }
            Error::DuplicateKey { second, .. } => {
                Problem::new(DUPLICATE_KEY, detail).with_errors(vec![self.item(command, second)])
            }
            Error::EmptyBatch => {
                let array = ItemProblem { pointer: Some(format!("#/{}", self.array)), ..ItemProblem::default() };
                Problem::new(EMPTY_BATCH, detail).with_errors(vec![array])
            }
            Error::LimitExceeded(exceeded) => self.limit_exceeded(command, exceeded),
            Error::StaleCursor => Problem::new(STALE_CURSOR, detail),
            Error::SnapshotTooOld { .. } => Problem::new(SNAPSHOT_TOO_OLD, detail),
            Error::HistoryOff => Problem::new(HISTORY_OFF, detail),
            Error::VersionDropped { .. } => Problem::new(VERSION_DROPPED, detail),
            Error::NoVersion { .. } => Problem::new(NOT_FOUND, detail),
            Error::FutureRevision { .. } => Problem::new(FUTURE_REVISION, detail),
            Error::Conflict { keys } => {
                let changed = |key| ItemProblem { key: Some(key), ..ItemProblem::default() };
                Problem::new(CONFLICT, detail).with_errors(keys.into_iter().map(changed).collect())
            }
            Error::NotInTransaction { .. } => {
                let is_scan = matches!(command, Command::List(_) | Command::ListSorted(_));
                Problem::new(if is_scan { SCAN_IN_TRANSACTION } else { NOT_IN_TRANSACTION }, detail)
            }
            Error::NotAnInteger => Problem::new(NOT_AN_INTEGER, detail).with_errors(self.only(command)),
            Error::NotANumber => Problem::new(NOT_A_NUMBER, detail).with_errors(self.only(command)),
            Error::Overflow => Problem::new(OVERFLOW, detail).with_errors(self.only(command)),
            Error::OperationFailed { index, error } => self.operation_failed(command, index, *error),
            Error::TooManyTransactions { .. } => Problem::new(TOO_MANY_TRANSACTIONS, detail),
            Error::MemoryFull { .. } => Problem::new(MEMORY_FULL, detail),
            Error::DiskFull { .. } => Problem::new(DISK_FULL, detail),
            Error::JournalFailed => Problem::new(JOURNAL_FAILED, detail),
            Error::OutcomeUnknown => Problem::new(OUTCOME_UNKNOWN, detail),
            Error::Closed => Problem::new(CLOSED, detail),
        }
    }

    /// The answer where no part of the request is at fault: a transaction can't be opened or committed, work can't go on.
    pub fn refuse_whole(&self, error: Error) -> Problem {
        self.refuse(&Command::Clear, error)
    }

    /// One command of several failed. To who asked for one key, the others are none of their business.
    fn operation_failed(&self, command: &Command<'_>, index: usize, error: Error) -> Problem {
        let Some(failed) = operation_at(command, index) else { return Problem::internal() };
        if self.returning.is_some() {
            return self.refuse(failed, error);
        }
        let (detail, is_condition) =
            (format!("operation {index}: {error}"), matches!(error, Error::PreconditionFailed { .. }));
        let problem = self.refuse(failed, error);
        let at_fault = self.item(command, index);
        let item = match problem.errors().first() {
            Some(inner) => ItemProblem { have: inner.have, detail: inner.detail.clone(), ..at_fault },
            None => at_fault,
        };
        let problem = if is_condition { Problem::new(OPERATION_CONDITION, "") } else { problem };
        problem.with_detail(detail).with_errors(vec![item])
    }

    /// Without the key: it may be what is too long.
    fn limit_exceeded(&self, command: &Command<'_>, mut exceeded: LimitExceeded) -> Problem {
        if self.returning.is_some() {
            exceeded.item = None;
        }
        let pointer = |index| ItemProblem { pointer: Some(self.pointer(command, index)), ..ItemProblem::default() };
        Problem::from(exceeded).with_errors(exceeded.item.map(pointer).into_iter().collect())
    }

    /// The key of a command that has one.
    fn only(&self, command: &Command<'_>) -> Vec<ItemProblem> {
        command.single_key().map(|_| self.item(command, 0)).into_iter().collect()
    }

    /// What a condition was about: in a transaction that is a check.
    fn checked(&self, command: &Command<'_>, index: usize) -> ItemProblem {
        match command {
            Command::Transaction(transaction) => ItemProblem {
                pointer: Some(format!("#/{CHECKS}/{index}")),
                key: transaction.checks.get(index).map(|check| check.key.clone().into_owned()),
                ..ItemProblem::default()
            },
            _ => self.item(command, index),
        }
    }

    fn item(&self, command: &Command<'_>, index: usize) -> ItemProblem {
        let pointer = is_batch(command).then(|| self.pointer(command, index));
        let key = key_at(command, index).map(|key| key.clone().into_owned());
        ItemProblem { pointer, key, ..ItemProblem::default() }
    }

    fn pointer(&self, command: &Command<'_>, index: usize) -> String {
        match command {
            Command::Transaction(transaction) => match index.checked_sub(transaction.commands.len()) {
                None => format!("#/{OPS}/{index}"),
                Some(index) => format!("#/{ELSE}/{index}"),
            },
            _ => format!("#/{}/{index}", self.array),
        }
    }
}

/// A condition that does not hold, and what it has met.
fn found(have: Option<Etag>, item: ItemProblem) -> ItemProblem {
    match have {
        // Revision 0 is no commit's: it stands for the one that was to come of this.
        Some(Etag { revision: Revision(0), .. }) => ItemProblem { detail: Some(OWN_WRITE.to_owned()), ..item },
        _ => ItemProblem { have: Some(have), ..item },
    }
}

fn is_batch(command: &Command<'_>) -> bool {
    matches!(
        command,
        Command::MultiGet { .. } | Command::MultiSet { .. } | Command::MultiDelete { .. } | Command::Transaction(_)
    )
}

/// A command of a transaction; those of `otherwise` count on.
fn operation_at<'c>(command: &'c Command<'_>, index: usize) -> Option<&'c Command<'c>> {
    let Command::Transaction(transaction) = command else { return None };
    transaction.commands.iter().chain(transaction.otherwise.iter().flatten()).nth(index)
}

fn key_at<'c>(command: &'c Command<'_>, index: usize) -> Option<&'c Key<'c>> {
    match command {
        Command::MultiGet { keys, .. } => keys.get(index),
        Command::MultiSet { sets } => sets.get(index).map(|set| &set.key),
        Command::MultiDelete { deletes, .. } => deletes.get(index).map(|delete| &delete.key),
        Command::Transaction(_) => operation_at(command, index).and_then(Command::single_key),
        _ => command.single_key(),
    }
}
