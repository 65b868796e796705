//! Web pages can't reach in: not by another site's script, not by a form, not by a name that was rebound to loopback.

use kvd_testkit::{RawConnection, RawResponse, Server};

use crate::support::code;

fn raw(server: &Server, request: &str) -> RawResponse {
    let mut connection = RawConnection::open(server.address());
    connection.send(request.replace('\n', "\r\n").as_bytes());
    connection.read_response()
}

#[test]
fn only_hosts_that_mean_this_server_are_served() {
    let server = Server::start_with(&["--set", "http.allowed_hosts=kvd.example"]);
    let own = format!("Host: {}", server.address());
    for (hosts, status) in [
        ("Host: localhost", 404),
        ("Host: localhost:7480", 404),
        ("Host: 127.0.0.1", 404),
        ("Host: [::1]:80", 404),
        ("Host: kvd.example", 404),
        (own.as_str(), 404),
        ("Host: evil.example", 421),
        ("Host: localhost.evil.example", 421),
        ("Host: 127.0.0.1.evil.example", 421),
        ("Host: ", 421),
        ("X-None: 1", 421),
        ("Host: localhost\nHost: localhost", 421),
        ("Host: localhost\nHost: evil.example", 421),
    ] {
        for method in ["GET", "PUT", "OPTIONS"] {
            let answer = raw(&server, &format!("{method} /v1/keys/k HTTP/1.1\n{hosts}\nContent-Length: 0\n\n"));
            let expected = match (status, method) {
                (404, "PUT") => [201, 204].contains(&answer.status),
                (404, "OPTIONS") => answer.status == 405,
                (404, _) => [200, 404].contains(&answer.status),
                _ => answer.status == status,
            };
            assert!(expected, "{method} {hosts}: {}", answer.status);
        }
    }
    let rebound = raw(&server, "GET http://evil.example/v1/keys/k HTTP/1.1\nHost: localhost\n\n");
    assert_eq!((rebound.status, code(&rebound).as_str()), (421, "unknown-host"));
}

#[test]
fn other_sites_are_turned_away_whatever_they_send() {
    let server = Server::start();
    for (headers, allowed) in [
        ("Sec-Fetch-Site: same-origin", true),
        ("Sec-Fetch-Site: none", true),
        ("Sec-Fetch-Site: cross-site", false),
        ("Sec-Fetch-Site: same-site", false),
        ("Origin: http://evil.example", false),
        ("Origin: null", false),
        ("Origin: http://localhost:1", false),
    ] {
        let answer = raw(&server, &format!("GET /v1/stats HTTP/1.1\nHost: localhost\n{headers}\n\n"));
        assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{headers}");
    }
    let typed = "PUT /v1/keys/k HTTP/1.1\nHost: localhost\nSec-Fetch-Site: none\nContent-Length: 0\n\n";
    assert_eq!(raw(&server, typed).status, 403, "none is for safe methods");
    let form = "POST /v1/mset HTTP/1.1\nHost: localhost\nContent-Type: text/plain\nContent-Length: 2\n\n{}";
    assert_eq!(raw(&server, form).status, 415);
    let answer = raw(&server, "GET /v1/stats HTTP/1.1\nHost: localhost\n\n");
    assert!(answer.header("access-control-allow-origin").is_none());
}
