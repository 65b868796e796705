//! Reads behind a client's own writes, where readers don't see these yet: by a transaction of one, which looks at the newest
//! commit, and whose answer waits as the write's does. So a pipeline sees what it wrote, and no answer tells of what a power cut
//! can take back.

use kvd_types::{Command, Error, OnFailure, Reply, Revision, Transaction};

use crate::planted::{self, Bug};

/// Whether what readers see at `visible` is not enough for a client that has answers up to `unanswered` to come.
#[inline]
pub(crate) fn needed(visible: Revision, unanswered: Revision, command: &Command<'_>) -> bool {
    visible < unanswered
        && matches!(command, Command::Get { .. } | Command::Peek { .. } | Command::MultiGet { .. })
        && !planted::is_at_disk(Bug::OwnWritesNotSeen)
}

/// Carries out a read as a transaction by `execute`.
pub(crate) fn read(
    command: &Command<'_>,
    execute: impl FnOnce(&Command<'_>) -> Result<Reply, Error>,
) -> Result<Reply, Error> {
    let transaction = Transaction {
        checks: Vec::new(),
        commands: vec![command.clone()],
        otherwise: None,
        on_failure: OnFailure::Continue,
    };
    match execute(&Command::Transaction(transaction))? {
        Reply::Transaction { mut replies, .. } => replies.pop().expect("a transaction has a reply to its command"),
        _ => unreachable!("a transaction is answered as one"),
    }
}
