//! HTTP/1.1 as bytes, for requests that no HTTP library would send: broken, hostile, or exact to the byte. Understands
//! of answers only their framing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer of a test takes; a server that is silent for so long hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Most headers of an answer.
const HEADERS_MAX: usize = 64;

/// A connection to a server.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    /// Received and not yet part of an answer that was given out.
    received: Vec<u8>,
}

/// A socket on which every test ends, whatever the server does.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("can't connect to {address}: {error}"));
    stream.set_nodelay(true).expect("a TCP option can be set");
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a timeout can be set");
    stream.set_write_timeout(Some(ANSWER_TIMEOUT)).expect("a timeout can be set");
    stream
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawResponse {
    /// The status code.
    pub status: u16,
    /// Names as they were sent, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl RawConnection {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens there.
    pub fn open(address: SocketAddr) -> RawConnection {
        RawConnection { stream: connect(address), received: Vec::new() }
    }

    /// Sends these bytes and nothing else.
    ///
    /// # Panics
    /// When the connection is closed.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server takes the bytes");
    }

    /// Sends these bytes to a server that may close the connection while they are on their way.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent; answers can still be read.
    ///
    /// # Panics
    /// When the connection is closed.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Reads the answer to any request but HEAD. Answers of pipelined requests are read one by one; interim ones (1xx)
    /// are answers without a body.
    ///
    /// # Panics
    /// When the server closes the connection before the end of the answer, is silent for a minute, or frames the answer
    /// in a way that this client does not know (chunks).
    pub fn read_response(&mut self) -> RawResponse {
        self.read(false)
    }

    /// Reads the answer to HEAD, which has no body whatever its headers say.
    ///
    /// # Panics
    /// As [`read_response`](RawConnection::read_response).
    pub fn read_head_response(&mut self) -> RawResponse {
        self.read(true)
    }

    /// Whether the server closes the connection without another byte.
    ///
    /// # Panics
    /// When the server is silent for a minute.
    pub fn is_closed(&mut self) -> bool {
        self.received.is_empty() && self.receive() == 0
    }

    /// Waits until the server closes the connection, and returns what it sent before, answer or not.
    ///
    /// # Panics
    /// When the server is silent for a minute.
    pub fn wait_until_closed(&mut self) -> Vec<u8> {
        self.take_rest()
    }

    fn read(&mut self, to_head: bool) -> RawResponse {
        let mut response = self.read_head();
        let bodyless = to_head || response.status < 200 || matches!(response.status, 204 | 304);
        assert!(bodyless || response.header("transfer-encoding").is_none(), "the answer comes in chunks: {response:?}");
        let length = response.header("content-length").map(|length| length.parse().expect("a length is a number"));
        response.body = match length {
            _ if bodyless => Vec::new(),
            Some(length) => self.take(length),
            None => self.take_rest(),
        };
        response
    }

    /// The status line and the headers of an answer, whose body is still to be read.
    pub(crate) fn read_head(&mut self) -> RawResponse {
        loop {
            if let Some(response) = self.take_head() {
                return response;
            }
            assert!(self.receive() > 0, "the connection closed after {:?}", self.received.escape_ascii().to_string());
        }
    }

    /// The next chunk of a body that comes in chunks: empty for the last one. None when the connection closes before.
    pub(crate) fn read_chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            let parsed = httparse::parse_chunk_size(&self.received).expect("chunks have sizes");
            if let httparse::Status::Complete((begin, size)) = parsed {
                let end = begin + usize::try_from(size).expect("a chunk fits memory");
                // It ends with an empty line.
                if self.received.len() >= end + 2 {
                    let chunk = self.received[begin..end].to_vec();
                    self.received.drain(..end + 2);
                    return Some(chunk);
                }
            }
            if self.receive() == 0 {
                return None;
            }
        }
    }

    /// The status line and the headers, once they are there.
    fn take_head(&mut self) -> Option<RawResponse> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let parsed = head
            .parse(&self.received)
            .unwrap_or_else(|error| panic!("no HTTP answer ({error}): {:?}", self.received.escape_ascii().to_string()));
        let httparse::Status::Complete(length) = parsed else { return None };
        let response = RawResponse {
            status: head.code.expect("a complete head has a status"),
            headers: head.headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect(),
            body: Vec::new(),
        };
        self.received.drain(..length);
        Some(response)
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length {
            let missing = length - self.received.len();
            assert!(self.receive() > 0, "the connection closed {missing} bytes before the end of the body");
        }
        self.received.drain(..length).collect()
    }

    fn take_rest(&mut self) -> Vec<u8> {
        while self.receive() > 0 {}
        std::mem::take(&mut self.received)
    }

    /// Waits for further bytes; 0 when there will be none.
    fn receive(&mut self) -> usize {
        let mut buffer = [0; 64 << 10];
        let count = match self.stream.read(&mut buffer) {
            Ok(count) => count,
            // A server that closes with our bytes unread resets the connection.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("no answer: {error}"),
        };
        self.received.extend_from_slice(&buffer[..count]);
        count
    }
}

impl RawResponse {
    /// The first header of this name, as text.
    ///
    /// # Panics
    /// When it isn't UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
        Some(std::str::from_utf8(value).expect("our headers are text"))
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it isn't UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A connection to somebody who answers with these bytes, whatever is asked, and closes.
    fn answered(bytes: &'static [u8]) -> RawConnection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = RawConnection::open(listener.local_addr().unwrap());
        thread::spawn(move || listener.accept().unwrap().0.write_all(bytes).unwrap());
        connection
    }

    #[test]
    fn answers_in_a_row_are_told_apart_by_their_framing() {
        let mut connection = answered(
            b"HTTP/1.1 100 Continue\r\n\r\n\
              HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: \"x\"\r\n\r\nabc\
              HTTP/1.1 204 No Content\r\n\r\n\
              HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\
              HTTP/1.1 400 Bad Request\r\n\r\nto the end",
        );
        assert_eq!(connection.read_response().status, 100);
        let whole = connection.read_response();
        assert_eq!((whole.status, whole.header("etag"), whole.text()), (200, Some("\"x\""), "abc"));
        assert_eq!(connection.read_response().status, 204);
        assert_eq!(connection.read_head_response().header("content-length"), Some("9"));
        let last = connection.read_response();
        assert_eq!((last.status, last.text()), (400, "to the end"));
        assert!(connection.is_closed());
    }

    #[test]
    #[should_panic(expected = "the connection closed 2 bytes before the end of the body")]
    fn a_body_that_is_cut_short_is_no_answer() {
        answered(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc").read_response();
    }
}
