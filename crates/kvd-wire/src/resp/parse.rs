//! Bytes to requests: arrays of bulk strings, and lines that people type. Owns how far it has come in a request of which part
//! has arrived, so that no byte is looked at twice; knows nothing of sockets or of what a request means.
//!
//! | what comes | where it goes |
//! |---|---|
//! | a short argument | stays in the read buffer, and is named by its place there |
//! | one of [`LARGE_BYTES`] or more | into memory of its own, which the store shares: most of it straight from the socket |
//! | a line with quotes | its arguments are copied |

use std::ops::Range;

use bytes::buf::Limit;
use bytes::{BufMut, Bytes, BytesMut};
use kvd_types::Limits;

use super::inline;
use super::number;

/// From this length on, in bytes, an argument gets memory of its own: what the store shares instead of copying must not hold a
/// whole read buffer.
pub const LARGE_BYTES: usize = 16 << 10;

/// Memory for a large argument, in bytes, before anything of it has come.
const FIRST_BYTES: usize = 64 << 10;

/// The same before this much of it has come: the system may back all of a large area's first pages, of 2 MiB, at the first byte.
const SECOND_BYTES: usize = 512 << 10;

/// Most arguments of a request, as in Redis.
const ARGUMENTS_MAX: usize = 1 << 20;

/// Longest line, in bytes, as in Redis: a request that was typed, or a length.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Arguments for which memory is kept from one read to the next.
const KEPT_ARGUMENTS: usize = 4 << 10;

/// What can't be a request. The connection has no way to go on: it is answered, where there is an answer, and closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// In Redis' words.
    #[error("ERR Protocol error: {0}")]
    Malformed(String),
    /// HTTP or TLS: someone was led here who means another protocol. Not answered.
    #[error("this is no Redis protocol")]
    OtherProtocol,
}

fn malformed(what: impl Into<String>) -> ProtocolError {
    ProtocolError::Malformed(what.into())
}

/// Reads the requests of one connection.
pub struct Parser {
    /// Longest argument, in bytes.
    bulk_bytes_max: usize,
    /// Most bytes of one request.
    request_bytes_max: usize,
    /// The place in the input of the next byte.
    at: usize,
    /// How far the end of the line that begins at `at` was looked for.
    searched: usize,
    /// Arguments that the request under way still lacks; 0 between requests.
    missing: usize,
    /// The length of the argument under way, once it is known.
    bulk: Option<usize>,
    /// The argument under way, if it is a large one.
    large: Option<Vec<u8>>,
    /// Bytes of the arguments that the request under way has announced so far.
    announced: usize,
    /// Bytes of its large arguments that are whole.
    kept: usize,
    /// The end of the last whole request in the input.
    consumed: usize,
    /// Of whole requests, then of the one under way.
    arguments: Vec<Argument>,
    /// Where each whole request ends in `arguments`.
    ends: Vec<usize>,
}

/// How many bytes a large argument of `len` bytes can take now. Only when much of it has come is there memory for all of it.
fn room(large: &mut Vec<u8>, len: usize) -> usize {
    if large.len() == large.capacity() && large.len() < len {
        let wanted = if large.len() < SECOND_BYTES { len.min(SECOND_BYTES) } else { len };
        large.reserve_exact(wanted - large.len());
    }
    large.capacity().min(len) - large.len()
}

/// Where an argument is.
#[derive(Clone, Debug)]
enum Argument {
    /// In the input.
    Here(Range<usize>),
    /// In memory of its own.
    Own(Bytes),
}

impl Parser {
    /// For a connection that begins.
    pub fn new(limits: &Limits) -> Parser {
        Parser {
            bulk_bytes_max: limits.value_bytes_max.max(limits.key_bytes_max),
            request_bytes_max: limits.batch_bytes_max,
            at: 0,
            searched: 0,
            missing: 0,
            bulk: None,
            large: None,
            announced: 0,
            kept: 0,
            consumed: 0,
            arguments: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Whether part of a request has come.
    pub fn is_amid_request(&self, input: &[u8]) -> bool {
        self.missing > 0 || self.at < input.len()
    }

    /// Room for the rest of a large argument, to be filled before anything else is read.
    pub fn large(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        let (large, len) = (self.large.as_mut()?, self.bulk?);
        let missing = room(large, len);
        (missing > 0).then(|| large.limit(missing))
    }

    /// Bytes that are kept outside of the input for the request under way.
    pub fn kept_bytes(&self) -> usize {
        self.kept + self.large.as_ref().map_or(0, Vec::len) + self.arguments.len() * size_of::<Argument>()
    }

    /// Goes on where it stopped in `input`, which is what was there the last time and what has come since, until `requests_max`
    /// requests are whole. Returns whether more bytes are needed for one more.
    ///
    /// # Errors
    /// [`ProtocolError`]; requests before it are whole all the same.
    pub fn parse(&mut self, input: &[u8], requests_max: usize) -> Result<bool, ProtocolError> {
        while self.ends.len() < requests_max {
            if !self.request(input)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hands the whole requests over, with their part of the input.
    pub fn take(&mut self, input: &mut BytesMut, requests: &mut Requests) {
        requests.input = input.split_to(self.consumed).freeze();
        requests.arguments.clear();
        requests.arguments.extend(self.arguments.drain(..self.ends.last().copied().unwrap_or(0)));
        requests.ends.clear();
        std::mem::swap(&mut self.ends, &mut requests.ends);
        // What is left belongs to the request under way.
        for argument in &mut self.arguments {
            if let Argument::Here(range) = argument {
                *range = range.start - self.consumed..range.end - self.consumed;
            }
        }
        if self.arguments.is_empty() && self.arguments.capacity() > KEPT_ARGUMENTS {
            self.arguments = Vec::new();
        }
        self.at -= self.consumed;
        self.searched = self.searched.saturating_sub(self.consumed);
        self.consumed = 0;
    }

    /// One request. Returns whether it, or a line without one, is whole.
    fn request(&mut self, input: &[u8]) -> Result<bool, ProtocolError> {
        if self.missing == 0 {
            match input.get(self.at) {
                None => return Ok(false),
                Some(b'*') => {
                    let Some(line) = self.line(input, "too big mbulk count string")? else { return Ok(false) };
                    let count = number::integer(&input[line]).filter(|count| *count <= ARGUMENTS_MAX as i64);
                    let count = count.ok_or_else(|| malformed("invalid multibulk length"))?;
                    // None, or less, is no request.
                    self.missing = usize::try_from(count).unwrap_or(0);
                    if self.missing == 0 {
                        self.consumed = self.at;
                        return Ok(true);
                    }
                }
                // The first byte of a TLS handshake.
                Some(0x16) => return Err(ProtocolError::OtherProtocol),
                Some(_) => return self.typed(input),
            }
        }
        while self.missing > 0 {
            if !self.argument(input)? {
                return Ok(false);
            }
            self.missing -= 1;
        }
        self.end_request();
        Ok(true)
    }

    fn end_request(&mut self) {
        self.ends.push(self.arguments.len());
        self.consumed = self.at;
        (self.announced, self.kept) = (0, 0);
    }

    fn argument(&mut self, input: &[u8]) -> Result<bool, ProtocolError> {
        let len = match self.bulk {
            Some(len) => len,
            None => {
                match input.get(self.at) {
                    None => return Ok(false),
                    Some(b'$') => {}
                    Some(other) => return Err(malformed(format!("expected '$', got '{}'", other.escape_ascii()))),
                }
                let Some(line) = self.line(input, "too big bulk count string")? else { return Ok(false) };
                let len = number::integer(&input[line]).and_then(|len| usize::try_from(len).ok());
                let len = len.filter(|len| *len <= self.bulk_bytes_max);
                let len = len.ok_or_else(|| malformed("invalid bulk length"))?;
                self.announced += len;
                if self.announced > self.request_bytes_max {
                    return Err(malformed("too big request"));
                }
                self.bulk = Some(len);
                self.large = (len >= LARGE_BYTES).then(|| Vec::with_capacity(len.min(FIRST_BYTES)));
                len
            }
        };
        let end = match &mut self.large {
            Some(large) => {
                while self.at < input.len() {
                    let some = room(large, len).min(input.len() - self.at);
                    if some == 0 {
                        break;
                    }
                    large.extend_from_slice(&input[self.at..self.at + some]);
                    self.at += some;
                }
                if large.len() < len {
                    return Ok(false);
                }
                self.at
            }
            None => self.at + len,
        };
        match input.get(end..end + 2) {
            None => return Ok(false),
            Some(b"\r\n") => {}
            Some(_) => return Err(malformed("expected CRLF after a bulk string")),
        }
        self.arguments.push(match self.large.take() {
            Some(large) => {
                self.kept += large.len();
                Argument::Own(Bytes::from(large))
            }
            None => Argument::Here(self.at..end),
        });
        self.bulk = None;
        self.at = end + 2;
        Ok(true)
    }

    /// A request typed into a line, as into telnet.
    fn typed(&mut self, input: &[u8]) -> Result<bool, ProtocolError> {
        let Some(end) = self.line_end(input, "too big inline request")? else { return Ok(false) };
        let line = self.at..end - usize::from(input[..end].ends_with(b"\r") && end > self.at);
        let words = inline::words(&input[line.clone()]).ok_or_else(|| malformed("unbalanced quotes in request"))?;
        if inline::is_http(&words) {
            return Err(ProtocolError::OtherProtocol);
        }
        self.at = end + 1;
        if words.is_empty() {
            self.consumed = self.at;
            return Ok(true);
        }
        self.arguments.extend(words.into_iter().map(|word| Argument::Own(word.into())));
        self.end_request();
        Ok(true)
    }

    /// What stands behind the first byte of a line, and goes past the line.
    fn line(&mut self, input: &[u8], too_long: &str) -> Result<Option<Range<usize>>, ProtocolError> {
        let Some(end) = self.line_end(input, too_long)? else { return Ok(None) };
        let text = self.at + 1..end;
        self.at = end + 1;
        // Without its carriage return it is no number either.
        Ok(Some(if input[text.clone()].ends_with(b"\r") { text.start..text.end - 1 } else { text.start..text.start }))
    }

    /// Where the line that begins at `at` has its newline.
    fn line_end(&mut self, input: &[u8], too_long: &str) -> Result<Option<usize>, ProtocolError> {
        let from = self.searched.max(self.at);
        let found = input[from..].iter().position(|byte| *byte == b'\n').map(|offset| from + offset);
        self.searched = found.unwrap_or(input.len());
        if self.searched - self.at > LINE_BYTES_MAX {
            return Err(malformed(too_long));
        }
        Ok(found)
    }
}

/// Whole requests, in the order in which they came.
#[derive(Debug, Default)]
pub struct Requests {
    /// Where their short arguments are.
    input: Bytes,
    arguments: Vec<Argument>,
    /// Where each ends in `arguments`.
    ends: Vec<usize>,
}

impl Requests {
    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The one at this position.
    pub fn get(&self, index: usize) -> Request<'_> {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Request { input: &self.input, arguments: &self.arguments[begin..self.ends[index]] }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Request<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Gives their memory back, so that the next read can use it.
    pub fn clear(&mut self) {
        self.input = Bytes::new();
        self.arguments.clear();
        self.arguments.shrink_to(KEPT_ARGUMENTS);
        self.ends.clear();
    }

    /// Adds a request, copied but for its large arguments, which are shared: it holds no read buffer.
    pub fn push(&mut self, request: &Request<'_>) {
        let own = |index| match &request.arguments[index] {
            Argument::Own(bytes) => Argument::Own(bytes.clone()),
            Argument::Here(range) => Argument::Own(Bytes::copy_from_slice(&request.input[range.clone()])),
        };
        self.arguments.extend((0..request.len()).map(own));
        self.ends.push(self.arguments.len());
    }
}

/// One request: a command's name and its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    input: &'r Bytes,
    arguments: &'r [Argument],
}

impl<'r> Request<'r> {
    /// Arguments, the name included; at least one.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.arguments.len()
    }

    /// The argument at this position; 0 is the name.
    pub fn get(&self, index: usize) -> &'r [u8] {
        match &self.arguments[index] {
            Argument::Here(range) => &self.input[range.clone()],
            Argument::Own(bytes) => bytes,
        }
    }

    /// The same, shared with the request.
    pub fn value(&self, index: usize) -> Bytes {
        match &self.arguments[index] {
            Argument::Here(range) => self.input.slice(range.clone()),
            Argument::Own(bytes) => bytes.clone(),
        }
    }

    /// The arguments from this position on.
    pub fn from(&self, index: usize) -> impl ExactSizeIterator<Item = &'r [u8]> + use<'r> {
        let request = *self;
        (index.min(self.len())..self.len()).map(move |index| request.get(index))
    }

    /// Bytes of all its arguments.
    pub fn bytes(&self) -> usize {
        self.from(0).map(<[u8]>::len).sum()
    }

    /// Bytes of the short ones.
    pub fn short_bytes(&self) -> usize {
        let short = |argument: &Argument| match argument {
            Argument::Here(range) => range.len(),
            Argument::Own(bytes) => {
                if bytes.len() < LARGE_BYTES {
                    bytes.len()
                } else {
                    0
                }
            }
        };
        self.arguments.iter().map(short).sum()
    }
}
