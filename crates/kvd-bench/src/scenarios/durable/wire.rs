//! One request and its answer in the words of either side: HTTP/1.1 for kvd, RESP for redis. Both get the same keys and
//! values. Knows nothing of connections.

use anyhow::{Context, bail, ensure};

pub(super) const VALUE: [u8; 64] = [b'v'; 64];

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Kvd,
    Redis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Get,
    Set,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Side::Kvd => "kvd",
            Side::Redis => "redis",
        }
    }

    /// Puts a request behind what `out` has.
    pub(super) fn encode(self, request: Request, index: u32, out: &mut Vec<u8>) {
        let key = key(index);
        let head = match (self, request) {
            (Side::Kvd, Request::Get) => format!("GET /v1/keys/{key} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            (Side::Kvd, Request::Set) => {
                format!("PUT /v1/keys/{key} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", VALUE.len())
            }
            (Side::Redis, Request::Get) => format!("*2\r\n$3\r\nGET\r\n$16\r\n{key}\r\n"),
            (Side::Redis, Request::Set) => format!("*3\r\n$3\r\nSET\r\n$16\r\n{key}\r\n${}\r\n", VALUE.len()),
        };
        out.extend_from_slice(head.as_bytes());
        if request == Request::Set {
            out.extend_from_slice(&VALUE);
            if self == Side::Redis {
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The body of a whole answer; none while there is more to come.
    ///
    /// # Errors
    /// It is a refusal, or not an answer at all.
    pub(super) fn decode(self, bytes: &[u8]) -> anyhow::Result<Option<&[u8]>> {
        match self {
            Side::Kvd => http(bytes),
            Side::Redis => resp(bytes),
        }
    }
}

/// 16 bytes.
pub(super) fn key(index: u32) -> String {
    format!("key:{index:012}")
}

fn http(bytes: &[u8]) -> anyhow::Result<Option<&[u8]>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = response.parse(bytes)? else { return Ok(None) };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length: usize = match length {
        Some(header) => std::str::from_utf8(header.value)?.parse().context("a length that is no number")?,
        None => 0,
    };
    let Some(body) = bytes.get(head_bytes..head_bytes + length) else { return Ok(None) };
    let status = response.code.unwrap_or(0);
    ensure!((200..300).contains(&status), "answered {status}: {}", String::from_utf8_lossy(body));
    Ok(Some(body))
}

fn resp(bytes: &[u8]) -> anyhow::Result<Option<&[u8]>> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let line = std::str::from_utf8(&bytes[..end])?;
    let rest = &bytes[end + 2..];
    match line.split_at_checked(1) {
        Some(("+" | ":", _)) => Ok(Some(&bytes[1..end])),
        Some(("$", length)) => {
            let length: usize = length.parse().with_context(|| format!("answered {line}: no such value"))?;
            Ok(rest.get(..length + 2).map(|_| &rest[..length]))
        }
        _ => bail!("answered {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let answers: [(Side, &[u8], &[u8]); 4] = [
            (Side::Kvd, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
            (Side::Kvd, b"HTTP/1.1 204 No Content\r\n\r\n", b""),
            (Side::Redis, b"$2\r\nhi\r\n", b"hi"),
            (Side::Redis, b"+OK\r\n", b"OK"),
        ];
        for (side, answer, body) in answers {
            for length in 0..answer.len() {
                assert_eq!(side.decode(&answer[..length]).unwrap(), None, "{side:?}, {length} bytes");
            }
            assert_eq!(side.decode(answer).unwrap(), Some(body));
        }
    }

    #[test]
    fn a_refusal_is_an_error() {
        for (side, answer) in [
            (Side::Kvd, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
            (Side::Redis, "-LOADING wait\r\n"),
            (Side::Redis, "$-1\r\n"),
        ] {
            assert!(side.decode(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
