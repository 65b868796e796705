//! Where a server is: a URL of the form `http://host:port`, checked once. Knows nothing of connections.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::Error;

/// A checked address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(Authority);

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let bad = |reason| Error::BadUrl { url: url.to_owned(), reason };
        if url.starts_with("unix:") {
            return Err(bad("unix sockets are not supported yet, write http://HOST:PORT"));
        }
        if url.starts_with("https:") {
            return Err(bad("https is not supported yet, write http://HOST:PORT"));
        }
        if !url.starts_with("http://") {
            return Err(bad("write http://HOST:PORT"));
        }
        if url.contains('#') {
            return Err(bad("nothing may follow the port, write http://HOST:PORT"));
        }
        let uri: Uri = url.parse().map_err(|_| bad("this is no URL, write http://HOST:PORT"))?;
        let authority = uri.authority().ok_or_else(|| bad("it names no host, write http://HOST:PORT"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a user name or password has no place in it, write http://HOST:PORT"));
        }
        if authority.host().is_empty() {
            return Err(bad("it names no host, write http://HOST:PORT"));
        }
        if authority.port_u16().is_none_or(|port| port == 0) {
            return Err(bad("it needs a port from 1 to 65535, write http://HOST:PORT"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(bad("nothing may follow the port, write http://HOST:PORT"));
        }
        Ok(Address(authority.clone()))
    }

    /// The URL of a path on this server.
    pub(crate) fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.0.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).expect("scheme, authority and path are all there")
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_host_and_port_is_an_address() {
        for (url, shown) in [
            ("http://127.0.0.1:7480", "http://127.0.0.1:7480"),
            ("http://127.0.0.1:7480/", "http://127.0.0.1:7480"),
            ("http://[::1]:7480", "http://[::1]:7480"),
            ("http://db.example:80", "http://db.example:80"),
        ] {
            assert_eq!(Address::parse(url).unwrap().to_string(), shown);
        }
        for (url, reason) in [
            ("", "write http://HOST:PORT"),
            ("127.0.0.1:7480", "write http://HOST:PORT"),
            ("localhost:7480", "write http://HOST:PORT"),
            ("ftp://localhost:7480", "write http://HOST:PORT"),
            ("https://localhost:7480", "https is not supported yet, write http://HOST:PORT"),
            ("unix:///run/kvd.sock", "unix sockets are not supported yet, write http://HOST:PORT"),
            ("http://", "this is no URL, write http://HOST:PORT"),
            ("http://:7480", "it names no host, write http://HOST:PORT"),
            ("http://localhost", "it needs a port from 1 to 65535, write http://HOST:PORT"),
            ("http://localhost:0", "it needs a port from 1 to 65535, write http://HOST:PORT"),
            ("http://localhost:99999", "it needs a port from 1 to 65535, write http://HOST:PORT"),
            ("http://a:b@localhost:7480", "a user name or password has no place in it, write http://HOST:PORT"),
            ("http://localhost:7480/v1", "nothing may follow the port, write http://HOST:PORT"),
            ("http://localhost:7480/?a=b", "nothing may follow the port, write http://HOST:PORT"),
            ("http://localhost:7480/#a", "nothing may follow the port, write http://HOST:PORT"),
            ("http://local host:7480", "this is no URL, write http://HOST:PORT"),
        ] {
            match Address::parse(url) {
                Err(Error::BadUrl { reason: actual, .. }) => assert_eq!(actual, reason, "{url}"),
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}
