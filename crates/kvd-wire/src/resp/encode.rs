//! Answers as bytes, in the shapes of RESP2 and RESP3: one buffer of what is short, with the store's own memory of large values
//! between its parts, so that these are never copied. Knows nothing of commands.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// From this length on, in bytes, a value is handed to the socket as it lies in the store.
const SHARED_BYTES: usize = 16 << 10;

/// Which shapes a client understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Every connection begins with it.
    #[default]
    Resp2,
    /// Asked for by HELLO 3.
    Resp3,
}

impl Protocol {
    /// As HELLO and CLIENT LIST have it.
    pub fn number(self) -> i64 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }
}

/// What is to be sent on one connection. As a [`Buf`] it is what was not sent yet.
#[derive(Debug, Default)]
pub struct Output {
    /// What comes before `tail`: none of them is empty.
    parts: VecDeque<Bytes>,
    /// What is written to.
    tail: BytesMut,
    /// Bytes in `parts`.
    parts_bytes: usize,
    protocol: Protocol,
}

impl Output {
    /// Nothing yet, to be written in these shapes.
    pub fn new(protocol: Protocol) -> Output {
        Output { protocol, ..Output::default() }
    }

    /// The shapes in which it is written.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes what follows in other shapes.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Bytes that it can take without asking for memory.
    pub fn capacity(&self) -> usize {
        self.tail.capacity()
    }

    /// Bytes that were not sent yet.
    pub fn len(&self) -> usize {
        self.parts_bytes + self.tail.len()
    }

    /// Whether all was sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes back what was written beyond the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        while self.parts_bytes > len {
            self.tail.clear();
            let mut part = self.parts.pop_back().expect("their bytes are counted");
            self.parts_bytes -= part.len();
            part.truncate(len.saturating_sub(self.parts_bytes));
            self.push(part);
        }
        self.tail.truncate(len - self.parts_bytes);
    }

    fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.parts_bytes += part.len();
            self.parts.push_back(part);
        }
    }

    /// A line: what kind it is, and its text.
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.tail.extend_from_slice(&[kind]);
        self.tail.extend_from_slice(text);
        self.tail.extend_from_slice(b"\r\n");
    }

    fn number(&mut self, kind: u8, number: usize) {
        self.line(kind, itoa::Buffer::new().format(number).as_bytes());
    }

    /// A word such as OK.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// What went wrong; the first word is a code. Line breaks would end it early: they become spaces.
    pub fn error(&mut self, text: &str) {
        if text.bytes().any(|byte| matches!(byte, b'\r' | b'\n')) {
            self.line(b'-', text.replace(['\r', '\n'], " ").as_bytes());
        } else {
            self.line(b'-', text.as_bytes());
        }
    }

    /// A number.
    pub fn integer(&mut self, number: i64) {
        self.line(b':', itoa::Buffer::new().format(number).as_bytes());
    }

    /// A number that is spelt already.
    pub fn integer_text(&mut self, digits: &[u8]) {
        self.line(b':', digits);
    }

    /// How much there is of something.
    pub fn count(&mut self, count: usize) {
        self.number(b':', count);
    }

    /// Bytes, copied.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.number(b'$', bytes.len());
        self.tail.extend_from_slice(bytes);
        self.tail.extend_from_slice(b"\r\n");
    }

    /// Bytes, shared if they are many.
    pub fn value(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES {
            return self.bulk(bytes);
        }
        self.number(b'$', bytes.len());
        let before = self.tail.split().freeze();
        self.push(before);
        self.push(bytes.clone());
        self.tail.extend_from_slice(b"\r\n");
    }

    /// Text that people read.
    pub fn verbatim(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                const FORMAT: &str = "txt:";
                self.number(b'=', FORMAT.len() + text.len());
                self.tail.extend_from_slice(FORMAT.as_bytes());
                self.tail.extend_from_slice(text.as_bytes());
                self.tail.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Nothing, where a string is asked for.
    pub fn null(&mut self) {
        self.tail.extend_from_slice(if self.protocol == Protocol::Resp2 { b"$-1\r\n" } else { b"_\r\n" });
    }

    /// Nothing, where an array is asked for.
    pub fn null_array(&mut self) {
        self.tail.extend_from_slice(if self.protocol == Protocol::Resp2 { b"*-1\r\n" } else { b"_\r\n" });
    }

    /// So many things follow.
    pub fn array(&mut self, len: usize) {
        self.number(b'*', len);
    }

    /// So many different things follow, in no order.
    pub fn set(&mut self, len: usize) {
        self.number(if self.protocol == Protocol::Resp2 { b'*' } else { b'~' }, len);
    }

    /// So many pairs follow.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.number(b'*', 2 * len),
            Protocol::Resp3 => self.number(b'%', len),
        }
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&self.tail[..], |part| &part[..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = self.parts.iter().map(|part| &part[..]).chain((!self.tail.is_empty()).then_some(&self.tail[..]));
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(part) = self.parts.front_mut() {
            let some = bytes.min(part.len());
            part.advance(some);
            self.parts_bytes -= some;
            bytes -= some;
            if !part.is_empty() {
                return;
            }
            self.parts.pop_front();
        }
        self.tail.advance(bytes);
        if self.tail.is_empty() {
            // The whole of its memory again.
            self.tail.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(mut output: Output) -> Vec<u8> {
        output.copy_to_bytes(output.len()).to_vec()
    }

    #[test]
    fn each_shape_in_each_protocol() {
        let write = |protocol| {
            let mut output = Output { protocol, ..Output::default() };
            output.simple("OK");
            output.error("ERR a\r\nb");
            output.integer(-7);
            output.integer_text(b"42");
            output.bulk(b"a\0b");
            output.null();
            output.null_array();
            output.array(1);
            output.set(2);
            output.map(3);
            output.verbatim("hi");
            bytes(output)
        };
        let same = "+OK\r\n-ERR a  b\r\n:-7\r\n:42\r\n$3\r\na\0b\r\n";
        let resp2 = format!("{same}$-1\r\n*-1\r\n*1\r\n*2\r\n*6\r\n$2\r\nhi\r\n");
        let resp3 = format!("{same}_\r\n_\r\n*1\r\n~2\r\n%3\r\n=6\r\ntxt:hi\r\n");
        assert_eq!(write(Protocol::Resp2), resp2.as_bytes());
        assert_eq!(write(Protocol::Resp3), resp3.as_bytes());
    }

    #[test]
    fn large_values_are_shared_and_leave_in_order() {
        let large = Bytes::from(vec![7; 3 * SHARED_BYTES]);
        let mut output = Output::default();
        let mut expected = Vec::new();
        for round in 0..3 {
            output.integer(round);
            output.value(&large);
            output.value(&Bytes::from_static(b"small"));
            expected.extend_from_slice(format!(":{round}\r\n${}\r\n", large.len()).as_bytes());
            expected.extend_from_slice(&large);
            expected.extend_from_slice(b"\r\n$5\r\nsmall\r\n");
        }
        assert_eq!(output.len(), expected.len());
        assert!(output.parts.iter().any(|part| part.as_ptr() == large.as_ptr()), "copied");
        let mut sent = Vec::new();
        while output.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 2];
            let filled = output.chunks_vectored(&mut slices);
            let some: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).take(5_000).collect();
            output.advance(some.len());
            sent.extend(some);
        }
        assert_eq!(sent, expected);
    }

    #[test]
    fn what_was_written_can_be_taken_back_to_any_place() {
        let large = Bytes::from(vec![7; SHARED_BYTES]);
        let write = || {
            let mut output = Output::default();
            output.simple("OK");
            output.value(&large);
            output.integer(1);
            output.value(&large);
            output.null();
            output
        };
        let whole = bytes(write());
        for len in [0, 3, 5, 10, 100, SHARED_BYTES + 12, SHARED_BYTES + 20, whole.len() - 1, whole.len()] {
            let mut output = write();
            output.truncate(len);
            assert_eq!(output.len(), len);
            output.simple("END");
            assert_eq!(bytes(output), [&whole[..len], b"+END\r\n"].concat());
        }
    }
}
