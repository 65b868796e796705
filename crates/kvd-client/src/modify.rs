//! Changes that follow from what a key holds, and its expiry: one request each, judged on the server, so that none is lost when
//! several clients make them at once.

use std::time::Duration;

use bytes::Bytes;
use kvd_types::{Key, Rule, Set, Ttl};
use kvd_wire::rest::batch::{IncrementAnswer, TtlAnswer};

use crate::client::named;
use crate::request::OneKey;
use crate::txn::ttl_of;
use crate::{Client, Error, answer, verbs};

impl Client {
    /// Adds `by` to a value that is a decimal number of 64 bits; a missing one counts as 0.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 409 when the value is no such number, or the sum does not fit.
    pub async fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<IncrementAnswer<'static>, Error> {
        match verbs::increment(named(&key)?, by)? {
            OneKey::Direct(request) => self.call(request, answer::document).await,
            OneKey::Batch(request) => self.call(request, answer::incremented_of_batch).await,
        }
    }

    /// Adds `bytes` at the end of a value; a missing one counts as empty. Returns the new length. Inside an interactive
    /// transaction the value is read and written again.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 413 when the value would grow beyond the limit.
    pub async fn append(&self, key: impl AsRef<[u8]>, bytes: impl Into<Bytes>) -> Result<u64, Error> {
        if self.is_scoped() {
            return self.append_by_writing(named(&key)?, &bytes.into()).await;
        }
        let request = verbs::modify(named(&key)?, Rule::Append { bytes: bytes.into() })?;
        self.call(request, answer::appended_of_batch).await
    }

    /// Nothing can come between where there is a transaction around it.
    async fn append_by_writing(&self, key: Key<'_>, bytes: &[u8]) -> Result<u64, Error> {
        let (mut value, content_type, ttl) = match self.get(&key).await? {
            Some(value) => (value.bytes.to_vec(), value.meta.content_type, Ttl::Keep),
            None => (Vec::new(), None, Ttl::Default),
        };
        value.extend_from_slice(bytes);
        let size = value.len() as u64;
        self.set_with(Set { content_type, ttl, ..Set::new(key, value) }).await?;
        Ok(size)
    }

    /// When a value goes by itself; none when the key is missing.
    pub async fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<TtlAnswer<'static>>, Error> {
        self.call(verbs::ttl(&named(&key)?)?, answer::document_if_found).await
    }

    /// Has a value go by itself after `ttl`, from whole milliseconds on. False when the key is missing.
    pub async fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool, Error> {
        self.change_expiry(key, ttl_of(ttl)).await
    }

    /// Has a value stay that was to go by itself. False when the key is missing.
    pub async fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.change_expiry(key, Ttl::None).await
    }

    async fn change_expiry(&self, key: impl AsRef<[u8]>, ttl: Ttl) -> Result<bool, Error> {
        match verbs::expire(named(&key)?, ttl)? {
            OneKey::Direct(request) => self.call(request, answer::found).await,
            OneKey::Batch(request) => self.call(request, answer::found_of_batch).await,
        }
    }
}
