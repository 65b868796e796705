//! Proof that both servers do the same work: one GET of one key, whole answers side by side. Headers must have the same
//! names, and the bodies must be equal; a difference stops the run, since its figures would mislead.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::VALUE_BYTES;
use super::server::Server;

/// The headers of one answer, names in lower case.
pub(super) type Headers = BTreeMap<String, String>;

/// The headers that each server answers with, by its name.
pub(super) fn same(servers: &[Server]) -> anyhow::Result<BTreeMap<&'static str, Headers>> {
    let answers: BTreeMap<&'static str, Headers> =
        servers.iter().map(|server| Ok((server.name, fetch(server)?))).collect::<anyhow::Result<_>>()?;
    let names = |headers: &Headers| headers.keys().cloned().collect::<Vec<_>>();
    let mut all = answers.values().map(names);
    let first = all.next().unwrap_or_default();
    ensure!(
        all.all(|names| names == first),
        "the servers answer with different headers; make bench/http/fasthttp/main.go send what kvd sends: {answers:#?}"
    );
    Ok(answers)
}

fn fetch(server: &Server) -> anyhow::Result<Headers> {
    let mut stream = TcpStream::connect(server.address).with_context(|| format!("cannot reach {}", server.name))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET /v1/keys/key:00000001 HTTP/1.1\r\nHost: {}\r\n\r\n", server.address)?;
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).with_context(|| format!("{} does not answer", server.name))?;
        ensure!(read > 0, "{} closed the connection inside its answer", server.name);
        bytes.extend_from_slice(&part[..read]);
        if let Some((headers, body)) = parse(&bytes)?
            && body.len() >= VALUE_BYTES
        {
            ensure!(body == "v".repeat(VALUE_BYTES).as_bytes(), "{} answers with another value", server.name);
            return Ok(headers);
        }
    }
}

/// Headers and what there is of the body; none while the head is not complete.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(Headers, &[u8])>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = response.parse(bytes)? else { return Ok(None) };
    ensure!(response.code == Some(200), "answered with status {:?}", response.code);
    let pair = |header: &httparse::Header<'_>| {
        (header.name.to_lowercase(), String::from_utf8_lossy(header.value).into_owned())
    };
    Ok(Some((response.headers.iter().map(pair).collect(), &bytes[head_bytes..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_its_head_is_complete() {
        let answer = b"HTTP/1.1 200 OK\r\nETag: \"a-1\"\r\nContent-Length: 2\r\n\r\nhi";
        assert!(parse(&answer[..30]).unwrap().is_none());
        let (headers, body) = parse(answer).unwrap().unwrap();
        assert_eq!(headers["etag"], "\"a-1\"");
        assert_eq!(headers["content-length"], "2");
        assert_eq!(body, b"hi");
    }

    #[test]
    fn an_error_is_no_answer_to_compare() {
        assert!(parse(b"HTTP/1.1 404 Not Found\r\n\r\n").is_err());
    }
}
