//! Keeps web pages away from a server that trusts whoever can connect: checked before routing, for every method.
//!
//! | what a page could try | what stops it |
//! |---|---|
//! | fetch the server by its address | `Sec-Fetch-Site` and `Origin` name the page, and it is another site |
//! | let its own name point to this machine (DNS rebinding) | `Host` is that name, and the name is not ours |
//! | send a form | the same, and batches are JSON or CBOR, which no form sends |
//!
//! A port in `Host` is not compared with ours: rebinding needs a name of the attacker's, whatever the port, while a forwarded
//! port (ssh, containers) is an honest use. A page on another port of the same host is another origin, and its `Origin` says
//! so: that one must equal `Host`, port included. Who the client is, is not decided here.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::code::{CROSS_SITE, UNKNOWN_HOST};
use super::problem::Problem;

/// The names and addresses under which this server may be addressed.
#[derive(Clone, Debug)]
pub struct Access {
    /// Besides localhost and the loopback addresses.
    hosts: Vec<Host>,
}

/// What stands before the port. Names are compared without regard to case, addresses by value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// In lower case.
    Name(String),
}

/// A configured host that no `Host` header can equal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host:?} is no host; write a name or an address, with or without a port")]
pub struct InvalidHost {
    /// What was configured.
    pub host: String,
}

impl Access {
    /// Takes listen addresses and allowed hosts as they are written: `db.example`, `10.0.0.5:7480`, `[::1]:7480`. Localhost and
    /// loopback addresses need no mention.
    ///
    /// # Errors
    /// [`InvalidHost`] names the first that is none.
    pub fn new(hosts: impl IntoIterator<Item: AsRef<str>>) -> Result<Access, InvalidHost> {
        let read = |text: &str| {
            let bare_v6 = text.parse().ok().map(Host::Address);
            let host = bare_v6.or_else(|| split_port(text).and_then(|(host, _)| Host::read(host)));
            host.ok_or_else(|| InvalidHost { host: text.to_owned() })
        };
        Ok(Access { hosts: hosts.into_iter().map(|text| read(text.as_ref())).collect::<Result<_, _>>()? })
    }

    /// Whether a request may come in.
    ///
    /// # Errors
    /// 421 for a host that is not ours, 403 for a page of another site.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let addressed = addressed(uri, headers).filter(|authority| self.is_ours(authority));
        let Some(authority) = addressed else {
            return Err(Problem::new(
                UNKNOWN_HOST,
                "this server is not known by the host the request names; http.allowed_hosts lists more names",
            ));
        };
        if from_other_site(method, headers) || from_other_origin(authority, headers) {
            return Err(Problem::new(CROSS_SITE, "web pages of other origins may not use this server"));
        }
        Ok(())
    }

    fn is_ours(&self, authority: &str) -> bool {
        let Some((host, _)) = split_port(authority) else { return false };
        if host.eq_ignore_ascii_case("localhost") {
            return true;
        }
        match Host::read(host) {
            Some(Host::Address(address)) if address.to_canonical().is_loopback() => true,
            Some(host) => self.hosts.contains(&host),
            None => false,
        }
    }
}

impl Host {
    /// Reads a host without its port. IPv6 stands in brackets.
    fn read(text: &str) -> Option<Host> {
        if let Some(v6) = text.strip_prefix('[') {
            return v6.strip_suffix(']')?.parse().ok().map(|address| Host::Address(IpAddr::V6(address)));
        }
        if let Ok(v4) = text.parse() {
            return Some(Host::Address(IpAddr::V4(v4)));
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let named = !text.is_empty() && text.bytes().all(is_name);
        named.then(|| Host::Name(text.to_ascii_lowercase()))
    }
}

/// The one authority a request names: in its `Host` header, in the target's absolute form, or the same in both.
fn addressed<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    let target = uri.authority().map(Authority::as_str);
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next().map(HeaderValue::to_str), hosts.next(), target) {
        (None, None, Some(target)) => Some(target),
        (Some(Ok(host)), None, None) => Some(host),
        (Some(Ok(host)), None, Some(target)) if host.eq_ignore_ascii_case(target) => Some(host),
        _ => None,
    }
}

/// Host and port of an authority; none when what follows the last colon is no port.
fn split_port(authority: &str) -> Option<(&str, &str)> {
    match authority.rsplit_once(':') {
        Some((_, after)) if after.ends_with(']') => Some((authority, "")),
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some((host, port)),
        Some(_) => None,
        None => Some((authority, "")),
    }
}

/// What a browser says of the page that sends the request. No header means no browser.
fn from_other_site(method: &Method, headers: &HeaderMap) -> bool {
    headers.get_all("sec-fetch-site").iter().any(|site| match site.as_bytes() {
        b"same-origin" => false,
        b"none" => !method.is_safe(),
        _ => true,
    })
}

/// Whether there is an `Origin` other than the server itself. The scheme is left to whoever ends TLS before us.
fn from_other_origin(authority: &str, headers: &HeaderMap) -> bool {
    headers.get_all(ORIGIN).iter().any(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let page = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        page.is_none_or(|page| !page.eq_ignore_ascii_case(authority))
    })
}
