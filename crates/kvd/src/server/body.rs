//! Bytes of bodies on their way in and out, in bounded amounts: what comes in is counted against a budget of the whole
//! server while it is in memory; what goes out is handed to the socket piece by piece, without a copy.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use kvd_engine::Buffers;
use kvd_types::{Limit, LimitExceeded, Limits};
use kvd_wire::rest::problem::Problem;
use tokio::time::timeout;

/// Memory for all request bodies of a server together.
pub(super) struct Budget {
    bytes_max: usize,
    used: AtomicUsize,
    /// Where it is counted once more, with what is on its way out.
    buffers: Buffers,
}

/// Part of the budget, given back when dropped.
pub(super) struct Reserved<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes_max: usize, buffers: Buffers) -> Budget {
        Budget { bytes_max, used: AtomicUsize::new(0), buffers }
    }

    /// Whether a request of so many bytes is too much even when there is no other.
    fn never_fits(&self, bytes: u64) -> bool {
        bytes > self.bytes_max as u64
    }

    /// Nothing yet: it grows.
    pub(super) fn reserve(&self) -> Reserved<'_> {
        Reserved { budget: self, bytes: 0 }
    }
}

impl Reserved<'_> {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// 503 when the budget is spent; the client may try again.
    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        if self.hold(self.bytes + bytes) { Ok(()) } else { Err(Problem::busy()) }
    }

    /// Takes as much as makes it `bytes`, or gives back what is more. Returns whether the budget has that much.
    pub(super) fn hold(&mut self, bytes: usize) -> bool {
        let used = &self.budget.used;
        if let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) {
            // No partner, see `used`.
            if used.fetch_add(more, Ordering::Relaxed) + more > self.budget.bytes_max {
                // What one can't have must not be missing to others.
                used.fetch_sub(more, Ordering::Relaxed); // as above
                return false;
            }
            self.budget.buffers.add(more as u64);
        } else {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed); // as above
            self.budget.buffers.remove((self.bytes - bytes) as u64);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed); // no partner, as in `grow`
        self.budget.buffers.remove(self.bytes as u64);
    }
}

/// Reads a whole body of at most as many bytes as `limit` allows.
///
/// The result owns exactly its bytes: no part of a socket's buffer is kept alive by a value.
///
/// # Errors
/// 413, or 507 for what is more than the whole budget, before anything is read when the announced length is too much, or as soon
/// as too much has come; 408 when the client pauses for too long; 503 when others have spent the budget; 400 when the client
/// went away.
pub(super) async fn read<'a>(
    body: &mut Incoming,
    limit: Limit,
    limits: &Limits,
    budget: &'a Budget,
) -> Result<(Bytes, Reserved<'a>), Problem> {
    let bytes_max = if limit == Limit::ValueBytes { limits.value_bytes_max } else { limits.batch_bytes_max };
    let too_large = |actual| Problem::from(LimitExceeded { limit, max: bytes_max as u64, actual, item: None });
    let announced = body.size_hint().exact();
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large(announced));
    }
    if announced.is_some_and(|length| budget.never_fits(length)) {
        return Err(Problem::body_without_room(announced, budget.bytes_max));
    }

    let mut reserved = budget.reserve();
    let mut read = Vec::new();
    while let Some(frame) =
        timeout(limits.body_idle_timeout, body.frame()).await.map_err(|_| Problem::request_timeout())?
    {
        // Trailers say nothing to us.
        let Ok(data) = frame.map_err(|_| Problem::incomplete_body())?.into_data() else { continue };
        let length = read.len() + data.len();
        if length > bytes_max {
            return Err(too_large(None));
        }
        if budget.never_fits(length as u64) {
            return Err(Problem::body_without_room(None, budget.bytes_max));
        }
        reserved.grow(data.len())?;
        if read.is_empty() && body.is_end_stream() {
            return Ok((Bytes::copy_from_slice(&data), reserved));
        }
        if read.capacity() == 0 {
            // The pages of what never comes are never touched.
            read.reserve_exact(announced.map_or(0, |length| length as usize));
        }
        read.extend_from_slice(&data);
    }
    read.shrink_to_fit();
    Ok((Bytes::from(read), reserved))
}

/// Reads the rest of a refused request's body and throws it away, so that the client gets to read the answer instead of an
/// error about the connection. A client that goes on for more than a batch may be, or pauses, is cut off.
pub(super) async fn discard(mut body: Incoming, limits: Limits) {
    let mut left = limits.batch_bytes_max;
    while let Ok(Some(Ok(frame))) = timeout(limits.body_idle_timeout, body.frame()).await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// An answer's body that leaves in pieces: one big reader doesn't hold up its neighbours.
pub(super) struct Pieces {
    rest: Bytes,
    /// Memory that is this answer's alone.
    _counted: Option<Counted>,
}

/// Bytes counted among the buffers until this is dropped.
pub(super) struct Counted {
    buffers: Buffers,
    bytes: u64,
}

impl Counted {
    pub(super) fn new(buffers: &Buffers, bytes: usize) -> Counted {
        let bytes = bytes as u64;
        buffers.add(bytes);
        Counted { buffers: buffers.clone(), bytes }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.buffers.remove(self.bytes);
    }
}

/// Longest piece. Of the order of a socket's buffer, so that more would wait anyway.
const PIECE_BYTES_MAX: usize = 256 << 10;

/// From this size on, in bytes, an answer is counted: a shorter one is not worth a store that all workers share.
const COUNTED_BYTES_MIN: usize = 16 << 10;

impl Pieces {
    pub(super) fn new(whole: Bytes, buffers: &Buffers) -> Pieces {
        // A value that lies in the store is counted there.
        let is_counted = whole.len() >= COUNTED_BYTES_MIN && whole.is_unique();
        let counted = is_counted.then(|| Counted::new(buffers, whole.len()));
        Pieces { rest: whole, _counted: counted }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(PIECE_BYTES_MAX);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
