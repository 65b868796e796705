//! What the tests of this folder share: a client of a server, and requests written in one line.

use std::net::SocketAddr;

use kvd_client::{Client, blocking};
use kvd_testkit::{RawConnection, RawResponse, Server};

/// A client of this server.
pub(crate) fn client(server: &Server) -> blocking::Client {
    blocking::Client::new(Client::new(&server.url()).unwrap()).unwrap()
}

/// A connection that stays open for many requests.
pub(crate) struct Session(RawConnection);

impl Session {
    pub(crate) fn open(address: SocketAddr) -> Session {
        Session(RawConnection::open(address))
    }

    /// As [`ask`].
    pub(crate) fn ask(&mut self, head: &str, body: &[u8]) -> RawResponse {
        self.0.send(&request(head, body));
        if head.starts_with("HEAD ") { self.0.read_head_response() } else { self.0.read_response() }
    }
}

/// Opens a transaction and gives the header line by which requests run in it.
pub(crate) fn begin(address: SocketAddr, mode: &str) -> Transaction {
    let begun = ask(address, "POST /v1/tx", format!(r#"{{"mode":"{mode}"}}"#).as_bytes());
    assert_eq!(begun.status, 201, "{}", begun.text());
    let id = json(&begun)["id"].as_str().unwrap().to_owned();
    assert_eq!(begun.header("location"), Some(&*format!("/v1/tx/{id}")));
    Transaction { address, id }
}

/// An open transaction.
pub(crate) struct Transaction {
    address: SocketAddr,
    pub(crate) id: String,
}

impl Transaction {
    /// Sends one request in it, as [`ask`].
    pub(crate) fn ask(&self, head: &str, body: &[u8]) -> RawResponse {
        ask(self.address, &format!("{head}\nKvd-Tx: {}\n", self.id), body)
    }

    pub(crate) fn commit(&self) -> RawResponse {
        ask(self.address, &format!("POST /v1/tx/{}/commit", self.id), b"")
    }

    pub(crate) fn roll_back(&self) -> RawResponse {
        ask(self.address, &format!("DELETE /v1/tx/{}", self.id), b"")
    }
}

/// Sends one request on a connection of its own and reads the answer. `head` is the request line and the headers but for
/// `Host` and `Content-Length`, each ended by a newline.
pub(crate) fn ask(address: SocketAddr, head: &str, body: &[u8]) -> RawResponse {
    let mut connection = RawConnection::open(address);
    connection.send(&request(head, body));
    if head.starts_with("HEAD ") { connection.read_head_response() } else { connection.read_response() }
}

/// The bytes of a request.
pub(crate) fn request(head: &str, body: &[u8]) -> Vec<u8> {
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers = headers.replace('\n', "\r\n");
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{length}{headers}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The `code` of a problem, and that it is one.
pub(crate) fn code(response: &RawResponse) -> String {
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{}", response.text());
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(problem["status"], response.status, "{problem}");
    problem["code"].as_str().unwrap().to_owned()
}

/// A JSON body.
pub(crate) fn json(response: &RawResponse) -> serde_json::Value {
    assert_eq!(response.header("content-type"), Some("application/json"), "{}", response.text());
    serde_json::from_slice(&response.body).unwrap()
}
