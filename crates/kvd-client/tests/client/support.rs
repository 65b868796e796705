//! A server that says what a test wants it to say, byte for byte, and remembers what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// What a connection does with the next request.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    /// Answers with these bytes.
    Answer(Vec<u8>),
    /// Closes without a word.
    Close,
    /// Says nothing until the test is over.
    Hang,
}

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Which connection it came on, counted from 0.
    pub(crate) connection: usize,
    /// `GET /v1/keys/a HTTP/1.1`
    pub(crate) line: String,
    /// In lower case, `name: value`.
    pub(crate) headers: Vec<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// The server. It ends with the test's process.
#[derive(Debug)]
pub(crate) struct Fake {
    /// `http://127.0.0.1:port`
    pub(crate) url: String,
    /// Requests in the order they came.
    pub(crate) seen: Receiver<Seen>,
    /// A word for each connection that has been closed.
    pub(crate) closed: Receiver<()>,
}

impl Fake {
    /// Serves one connection after the other, each along its script, then closes it and in the end the listener.
    pub(crate) fn start(connections: Vec<Vec<Then>>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, seen) = channel();
        let (closes, closed) = channel();
        thread::spawn(move || {
            for (connection, script) in connections.into_iter().enumerate() {
                serve(&listener.accept().unwrap().0, connection, script, &sender);
                let _ = closes.send(());
            }
        });
        Fake { url, seen, closed }
    }
}

fn serve(stream: &TcpStream, connection: usize, script: Vec<Then>, sender: &Sender<Seen>) {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    for then in script {
        let Some(seen) = read(&mut reader, connection) else { return };
        // The test may have seen enough.
        let _ = sender.send(seen);
        match then {
            Then::Answer(bytes) => writer.write_all(&bytes).unwrap(),
            Then::Close => return,
            Then::Hang => thread::park(),
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>, connection: usize) -> Option<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<String> = lines[1..].iter().map(|line| line.to_lowercase()).collect();
    let length = headers.iter().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { connection, line: lines.remove(0), headers, body })
}

/// An answer with a body and headers.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Then {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    Then::Answer([head.as_bytes(), body.as_bytes()].concat())
}

/// A value at revision 42.
pub(crate) fn value(body: &str) -> Then {
    answer("200 OK", "etag: \"e1b2c3d4-42\"\r\nkvd-revision: 42\r\n", body)
}

/// A set that created a key at revision 42.
pub(crate) fn created() -> Then {
    answer("201 Created", "etag: \"e1b2c3d4-42\"\r\nkvd-revision: 42\r\n", "")
}
