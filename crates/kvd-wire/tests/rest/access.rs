//! A server on loopback trusts whoever connects, and a browser connects for whatever page it shows. So a page of another
//! site must not get in: not by our address, not by a name of its own that points to us, not by any method.

use http::{Method, Uri};
use kvd_wire::rest::access::Access;

use crate::support::{headers, status_and_code};

/// 0 when the request is let in, else the status.
fn check(access: &Access, method: &str, target: &str, lines: &[(&str, &str)]) -> u16 {
    let uri: Uri = target.parse().unwrap();
    let method: Method = method.parse().unwrap();
    match access.check(&method, &uri, &headers(lines)) {
        Ok(()) => 0,
        Err(problem) => {
            let expected = [(421, "unknown-host"), (403, "cross-site")];
            assert!(expected.contains(&status_and_code(&problem)), "{problem:?}");
            problem.status().as_u16()
        }
    }
}

fn access() -> Access {
    Access::new(["127.0.0.1:7480", "10.0.0.5:7480", "DB.example:80", "[fd00::5]:7480", "fd00::6"]).unwrap()
}

#[test]
fn only_hosts_that_are_ours_are_answered() {
    let table = [
        ("localhost", 0),
        ("localhost:7480", 0),
        ("LocalHost:9999", 0),
        ("127.0.0.1", 0),
        ("127.0.0.1:7480", 0),
        ("127.8.9.10:1", 0),
        ("[::1]:7480", 0),
        ("[0:0:0:0:0:0:0:1]", 0),
        ("[::ffff:127.0.0.1]:7480", 0),
        ("10.0.0.5:7480", 0),
        ("10.0.0.5", 0),
        ("db.example", 0),
        ("Db.Example:7480", 0),
        ("[fd00:0::5]:7480", 0),
        ("[fd00::6]", 0),
        ("localhost:", 0),
        // DNS rebinding: the page's own name, pointing here.
        ("evil.example:7480", 421),
        ("evil.example", 421),
        ("localhost.evil.example:7480", 421),
        ("127.0.0.1.evil.example:7480", 421),
        ("db.example.evil.example", 421),
        ("evil-localhost", 421),
        ("x.localhost", 421),
        ("localhost.", 421),
        ("10.0.0.6:7480", 421),
        ("0.0.0.0:7480", 421),
        ("[::]:7480", 421),
        ("[::2]:7480", 421),
        ("192.168.0.1", 421),
        // What is no host at all.
        ("", 421),
        (":7480", 421),
        ("::1", 421),
        ("[::1", 421),
        ("[::1]x:7480", 421),
        ("localhost:7480:7480", 421),
        ("localhost:x", 421),
        ("user@localhost:7480", 421),
        ("localhost:7480@evil.example", 421),
        ("localhost/", 421),
        ("localhost evil.example", 421),
        ("127.1", 421),
        ("0x7f.0.0.1", 421),
        ("2130706433", 421),
    ];
    for (host, status) in table {
        for method in ["GET", "PUT", "DELETE", "POST", "OPTIONS"] {
            assert_eq!(check(&access(), method, "/v1/keys/a", &[("host", host)]), status, "{method} Host: {host}");
        }
    }
}

#[test]
fn a_request_names_exactly_one_host() {
    let access = access();
    assert_eq!(check(&access, "GET", "/", &[]), 421);
    assert_eq!(check(&access, "GET", "/", &[("host", "localhost"), ("host", "localhost")]), 421);
    assert_eq!(check(&access, "GET", "/", &[("host", "localhost"), ("host", "evil.example")]), 421);
    let absolute = "http://127.0.0.1:7480/v1/keys/a";
    assert_eq!(check(&access, "GET", absolute, &[]), 0);
    assert_eq!(check(&access, "GET", absolute, &[("host", "127.0.0.1:7480")]), 0);
    assert_eq!(check(&access, "GET", absolute, &[("host", "127.0.0.1:7480"), ("host", "127.0.0.1:7480")]), 421);
    assert_eq!(check(&access, "GET", absolute, &[("host", "127.0.0.1")]), 421);
    assert_eq!(check(&access, "GET", absolute, &[("host", "localhost:7480")]), 421);
    assert_eq!(check(&access, "GET", absolute, &[("host", "evil.example")]), 421);
    assert_eq!(check(&access, "GET", "http://evil.example/", &[("host", "127.0.0.1")]), 421);
    assert_eq!(check(&access, "GET", "http://evil.example/", &[]), 421);
    assert_eq!(check(&access, "GET", "http://user@127.0.0.1/", &[]), 421);
}

#[test]
fn a_page_of_another_site_is_kept_out() {
    let host = ("host", "127.0.0.1:7480");
    type Lines = &'static [(&'static str, &'static str)];
    let table: &[(&str, Lines, u16)] = &[
        ("GET", &[], 0),
        ("PUT", &[], 0),
        ("GET", &[("sec-fetch-site", "none")], 0),
        ("HEAD", &[("sec-fetch-site", "none")], 0),
        ("PUT", &[("sec-fetch-site", "none")], 403),
        ("DELETE", &[("sec-fetch-site", "none")], 403),
        ("POST", &[("sec-fetch-site", "none")], 403),
        ("GET", &[("sec-fetch-site", "same-origin")], 0),
        ("PUT", &[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:7480")], 0),
        ("GET", &[("sec-fetch-site", "same-site")], 403),
        ("GET", &[("sec-fetch-site", "cross-site")], 403),
        ("GET", &[("sec-fetch-site", "Same-Origin")], 403),
        ("GET", &[("sec-fetch-site", "")], 403),
        ("GET", &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], 403),
        ("OPTIONS", &[("sec-fetch-site", "cross-site"), ("origin", "http://evil.example")], 403),
        ("PUT", &[("origin", "http://127.0.0.1:7480")], 0),
        ("PUT", &[("origin", "https://127.0.0.1:7480")], 0),
        ("PUT", &[("origin", "http://127.0.0.1")], 403),
        ("PUT", &[("origin", "http://127.0.0.1:3000")], 403),
        ("PUT", &[("origin", "http://localhost:7480")], 403),
        ("GET", &[("origin", "http://evil.example")], 403),
        ("POST", &[("origin", "http://127.0.0.1:7480.evil.example")], 403),
        ("POST", &[("origin", "null")], 403),
        ("POST", &[("origin", "")], 403),
        ("POST", &[("origin", "127.0.0.1:7480")], 403),
        ("POST", &[("origin", "chrome-extension://127.0.0.1:7480")], 403),
        ("POST", &[("origin", "http://127.0.0.1:7480"), ("origin", "http://evil.example")], 403),
    ];
    for (method, lines, status) in table {
        let lines = [&[host], *lines].concat();
        assert_eq!(check(&access(), method, "/v1/keys/a", &lines), *status, "{method} {lines:?}");
    }
}

#[test]
fn a_configured_host_that_is_none_is_an_error() {
    for host in ["", "http://db.example", "db.example/", "a b", "[::1", "db.example:port", "*", "*.example"] {
        assert_eq!(Access::new([host]).unwrap_err().host, host);
    }
}
