//! An old value of a key made new: what waits for its body until the session has it. The other routes of history have no body,
//! and stand in `request`.

use kvd_types::{Command, Condition, Key};

use super::batch::{self, Format};
use super::problem::Problem;

/// A rollback of one key that waits for its body.
#[derive(Debug)]
pub struct Rollback<'a> {
    key: Key<'a>,
    condition: Condition,
    format: Format,
}

impl<'a> Rollback<'a> {
    pub(crate) fn new(key: Key<'a>, condition: Condition, format: Format) -> Rollback<'a> {
        Rollback { key, condition, format }
    }

    /// The command, by what `body` says.
    ///
    /// # Errors
    /// 400 when it is not JSON or CBOR at all, 422 when it names no revision.
    pub fn command(self, body: &[u8]) -> Result<Command<'a>, Problem> {
        let to = batch::decode_rollback(self.format, body)?;
        Ok(Command::Rollback(kvd_types::Rollback { key: self.key, to, condition: self.condition }))
    }
}
