//! The Redis protocol as bytes, for requests that no client library would send, and scripts of commands with their answers.
//! Understands of answers their shapes alone.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::raw_http::connect;

/// A connection to a server.
#[derive(Debug)]
pub struct RespConnection {
    stream: TcpStream,
    /// Received and not yet part of an answer that was given out.
    received: Vec<u8>,
}

/// An answer, in RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A word such as OK.
    Simple(String),
    /// An error, with its code.
    Error(String),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// Text that people read, with its format.
    Verbatim(Vec<u8>),
    /// Nothing.
    Null,
    /// Some things.
    Array(Vec<Answer>),
    /// Some things in no order.
    Set(Vec<Answer>),
    /// Some pairs, one after the other.
    Map(Vec<Answer>),
}

impl fmt::Display for Answer {
    /// In a line: `OK`, `(error) ERR ..`, `(integer) 1`, `"text"`, `(nil)`, `[..]`, `{..}`, `~[..]`, `=".."`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = |open: &str, items: &[Answer], close: &str| {
            let items: Vec<_> = items.iter().map(ToString::to_string).collect();
            write!(f, "{open}{}{close}", items.join(", "))
        };
        match self {
            Answer::Array(items) => all("[", items, "]"),
            Answer::Set(items) => all("~[", items, "]"),
            Answer::Map(items) => all("{", items, "}"),
            Answer::Simple(text) => f.write_str(text),
            Answer::Error(text) => write!(f, "(error) {text}"),
            Answer::Integer(number) => write!(f, "(integer) {number}"),
            Answer::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Answer::Verbatim(bytes) => write!(f, "=\"{}\"", bytes.escape_ascii()),
            Answer::Null => f.write_str("(nil)"),
        }
    }
}

impl RespConnection {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens there.
    pub fn open(address: SocketAddr) -> RespConnection {
        RespConnection { stream: connect(address), received: Vec::new() }
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

    /// Another end of the same connection, to send by while this one reads.
    ///
    /// # Panics
    /// The system gives no handle.
    pub fn clone_writer(&self) -> RespConnection {
        RespConnection { stream: self.stream.try_clone().expect("a socket can be shared"), received: Vec::new() }
    }

    /// Sends one command and reads its answer.
    ///
    /// # Panics
    /// When the connection is closed.
    pub fn ask<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Answer {
        self.send(&request(arguments));
        self.read()
    }

    /// The same of a line of words, as it is shown.
    ///
    /// # Panics
    /// When the connection is closed.
    pub fn tell(&mut self, line: &str) -> String {
        self.ask(&words(line)).to_string()
    }

    /// Reads one answer.
    ///
    /// # Panics
    /// When the server closes the connection before its end, is silent for a minute, or sends what is no answer.
    pub fn read(&mut self) -> Answer {
        let answer = self.wait_for_answer();
        answer.unwrap_or_else(|| panic!("the connection closed after {:?}", self.received.escape_ascii().to_string()))
    }

    /// Reads one answer, if the server does not close the connection instead.
    ///
    /// # Panics
    /// As [`read`](RespConnection::read).
    pub fn wait_for_answer(&mut self) -> Option<Answer> {
        loop {
            if let Some((answer, len)) = parse(&self.received) {
                self.received.drain(..len);
                return Some(answer);
            }
            if self.receive() == 0 {
                return None;
            }
        }
    }

    /// Whether the server closes the connection without another byte.
    ///
    /// # Panics
    /// When the server is silent for a minute.
    pub fn is_closed(&mut self) -> bool {
        self.received.is_empty() && self.receive() == 0
    }

    /// Waits until the server closes the connection, and returns what it sent before.
    ///
    /// # Panics
    /// When the server is silent for a minute.
    pub fn wait_until_closed(&mut self) -> Vec<u8> {
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

/// The bytes of one command.
pub fn request<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// An answer and its length, once it is whole.
fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let text = String::from_utf8_lossy(&bytes[1..end]).into_owned();
    let mut at = end + 2;
    let number = || text.parse::<i64>().unwrap_or_else(|_| panic!("no number in an answer: {text:?}"));
    let answer = match bytes[0] {
        b'+' => Answer::Simple(text),
        b'-' => Answer::Error(text),
        b':' => Answer::Integer(number()),
        b'_' => Answer::Null,
        kind @ (b'$' | b'=') => match usize::try_from(number()) {
            Err(_) => Answer::Null,
            Ok(len) => {
                let content = bytes.get(at..at + len)?.to_vec();
                assert_eq!(bytes.get(at + len..at + len + 2)?, b"\r\n", "a string is longer than it says");
                at += len + 2;
                if kind == b'$' { Answer::Bulk(content) } else { Answer::Verbatim(content) }
            }
        },
        kind @ (b'*' | b'~' | b'%') => match usize::try_from(number()) {
            Err(_) => Answer::Null,
            Ok(len) => {
                let mut items = Vec::new();
                for _ in 0..if kind == b'%' { 2 * len } else { len } {
                    let (item, len) = parse(&bytes[at..])?;
                    items.push(item);
                    at += len;
                }
                match kind {
                    b'*' => Answer::Array(items),
                    b'~' => Answer::Set(items),
                    _ => Answer::Map(items),
                }
            }
        },
        other => panic!("no answer of RESP begins with {:?}", char::from(other)),
    };
    Some((answer, at))
}

/// A line split at spaces; in double quotes `\xHH`, `\n`, `\r`, `\"` and `\\` stand for a byte.
fn words(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<Vec<u8>>, false);
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            b' ' if !is_quoted => words.extend(word.take()),
            b'\\' if is_quoted => {
                let mut next = || rest.next().expect("a backslash has something behind it");
                let escaped = match next() {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b'x' => {
                        let digits = [next(), next()];
                        let digits = std::str::from_utf8(&digits).expect("digits are ASCII");
                        u8::from_str_radix(digits, 16).expect("two hexadecimal digits follow \\x")
                    }
                    other => other,
                };
                word.get_or_insert_default().push(escaped);
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    assert!(!is_quoted, "a quote is not closed: {line}");
    words.extend(word);
    words
}

/// Runs a script against a server: each line that begins with a name and `>` is a command that the connection of this name sends,
/// the next line is what it is answered, or `...` for whatever. `#` begins a comment. Where `is_redis`, commands of names with a
/// capital are left out: there we differ, and say so.
///
/// # Panics
/// An answer is another one. All such are shown.
pub fn run_script(address: SocketAddr, script: &str, is_redis: bool) {
    let mut connections = std::collections::BTreeMap::new();
    let mut wrong = String::new();
    let mut lines = (1..).zip(script.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    while let Some((number, line)) = lines.next() {
        let (name, command) = line.split_once("> ").unwrap_or_else(|| panic!("line {number} is no command: {line}"));
        let (_, expected) = lines.next().unwrap_or_else(|| panic!("line {number} has no answer"));
        if is_redis && name.contains(|c: char| c.is_ascii_uppercase()) {
            continue;
        }
        let name = name.to_ascii_lowercase();
        let connection = connections.entry(name).or_insert_with(|| RespConnection::open(address));
        let shown = connection.tell(command);
        if shown != expected && expected != "..." {
            wrong += &format!("line {number}: {command}\n  expected {expected}\n  answered {shown}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
