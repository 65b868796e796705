//! Older versions of a key, where the server keeps some (`history.versions`): reading one, listing them, and bringing one back.

use kvd_types::Revision;
use kvd_wire::rest::batch::{HistoryAnswer, SetItem};

use crate::client::named;
use crate::{Client, Error, Value, answer, verbs};

impl Client {
    /// What a key held at a revision; none when it held nothing then.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 410 when versions of that time are no longer kept.
    pub async fn get_at(&self, key: impl AsRef<[u8]>, revision: Revision) -> Result<Option<Value>, Error> {
        self.call(verbs::get_at(&named(&key)?, revision)?, answer::value).await
    }

    /// The versions that are kept of a key, newest first, the current one included; none when there is no trace of it.
    ///
    /// # Errors
    /// [`Error::Refused`] with code `history-off` when the server keeps no versions.
    pub async fn history(&self, key: impl AsRef<[u8]>) -> Result<Option<HistoryAnswer<'static>>, Error> {
        self.call(verbs::history(&named(&key)?)?, answer::document_if_found).await
    }

    /// Makes what a key held at revision `to` its newest version, without an expiry.
    ///
    /// # Errors
    /// [`Error::Refused`]: status 404 when it held nothing then, 410 when that version is no longer kept.
    pub async fn rollback(&self, key: impl AsRef<[u8]>, to: Revision) -> Result<SetItem<'static>, Error> {
        self.call(verbs::rollback(&named(&key)?, to)?, answer::document).await
    }
}
