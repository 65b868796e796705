//! A stream of server-sent events, read block by block as slowly as a test likes. Understands the stream's framing; what events
//! say is the test's business.

use std::net::SocketAddr;

use crate::raw_http::{RawConnection, RawResponse};

/// An answer that is a stream of events.
#[derive(Debug)]
pub struct EventStream {
    connection: RawConnection,
    head: RawResponse,
    /// Received and not yet part of a block that was given out.
    text: Vec<u8>,
    /// So many bytes of it have no end of a block.
    searched: usize,
    /// The stream has ended; whether in order.
    ended: Option<bool>,
}

/// What stands between two empty lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The comments, one after the other.
    pub comment: String,
    /// The place to come back to.
    pub id: Option<u64>,
    /// What kind of event it is.
    pub event: Option<String>,
    /// What it tells. Without it there is no event.
    pub data: Option<String>,
}

impl EventStream {
    /// Asks for a stream. `headers` are lines, each ended by a newline.
    ///
    /// # Panics
    /// When the answer is something else.
    pub fn open(address: SocketAddr, target: &str, headers: &str) -> EventStream {
        let mut connection = RawConnection::open(address);
        let headers = headers.replace('\n', "\r\n");
        connection.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes());
        let head = connection.read_head();
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{head:?}");
        assert_eq!(head.header("transfer-encoding"), Some("chunked"), "its end can be told from a broken connection");
        EventStream { connection, head, text: Vec::new(), searched: 0, ended: None }
    }

    /// The head of the answer.
    pub fn head(&self) -> &RawResponse {
        &self.head
    }

    /// The next block; none at the end of the stream. What is left of a block that was cut is thrown away.
    ///
    /// # Panics
    /// When the server is silent for a minute, or sends what is no such block.
    pub fn next_block(&mut self) -> Option<Block> {
        loop {
            let end = self.text[self.searched..].windows(2).position(|pair| pair == b"\n\n");
            if let Some(end) = end.map(|end| self.searched + end) {
                self.searched = 0;
                let block = std::str::from_utf8(&self.text[..end])
                    .expect("a stream is text")
                    .lines()
                    .fold(Block::default(), |block, line| block.with_line(line));
                self.text.drain(..end + 2);
                return Some(block);
            }
            if self.ended.is_some() {
                return None;
            }
            // An end may begin with the last byte.
            self.searched = self.text.len().saturating_sub(1);
            match self.connection.read_chunk() {
                Some(chunk) if chunk.is_empty() => self.ended = Some(true),
                Some(chunk) => self.text.extend(chunk),
                None => self.ended = Some(false),
            }
        }
    }

    /// The next block with data.
    ///
    /// # Panics
    /// When the stream ends before.
    pub fn next_event(&mut self) -> Block {
        loop {
            let block = self.next_block().expect("an event follows");
            if block.data.is_some() {
                return block;
            }
        }
    }

    /// Whether the end, which was reached, was told, and nothing was left of a block.
    ///
    /// # Panics
    /// When it was not reached.
    pub fn has_ended_in_order(&self) -> bool {
        self.ended.expect("the end was reached") && self.text.is_empty()
    }
}

impl Block {
    fn with_line(mut self, line: &str) -> Block {
        match line.split_once(": ").expect("a name, a colon and a space, or a comment") {
            ("", comment) => self.comment.push_str(comment),
            ("id", id) => self.id = Some(id.parse().expect("an id is a revision")),
            ("event", event) => self.event = Some(event.to_owned()),
            ("data", data) => assert!(self.data.replace(data.to_owned()).is_none(), "data is one line"),
            (name, _) => panic!("no such field: {name}"),
        }
        self
    }
}
