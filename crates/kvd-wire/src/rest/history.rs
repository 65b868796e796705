//! The routes of a key's history: an old version of it, the versions that are kept, and an old value made new. Reads no body: a
//! rollback waits as [`Rollback`] until the session has it.

use kvd_types::{Command, Condition, Key, Revision};

use super::batch::{self, Format};
use super::code::BAD_QUERY;
use super::problem::Problem;
use super::query::Query;

/// The revision in `?rev=`, if one is named.
pub(crate) fn take_revision(query: &mut Query<'_>) -> Result<Option<Revision>, Problem> {
    let Some(text) = query.take("rev") else { return Ok(None) };
    let digits = std::str::from_utf8(&text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(revision) => Ok(Some(Revision(revision))),
        None => Err(Problem::new(BAD_QUERY, "`rev` is a revision, a decimal number")),
    }
}

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
