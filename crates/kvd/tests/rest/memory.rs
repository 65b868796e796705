//! A server with a memory limit: what does not fit is refused whole and says what to do, deletes go on, and the server stays
//! ready; or, told to evict, it takes every write that can fit and counts what went. What is evicted stays away after a crash.

use kvd_client::blocking::Client;
use kvd_client::{Key, Set, StatsAnswer};
use kvd_testkit::{RawConnection, Server};

use crate::support::{ask, client, code, json};

const LIMIT: u64 = 4 << 20;

/// Sets keys from 0 on until one is refused, or there are `most`. Returns how many were taken.
fn fill(server: &Server, most: usize) -> usize {
    let client = client(server);
    for number in 0..most {
        if let Err(error) = client.set(format!("k{number}"), vec![b'v'; 10_000]) {
            assert_eq!(error.code(), Some("memory-full"), "{error}");
            return number;
        }
    }
    most
}

#[test]
fn a_full_server_refuses_whole_takes_deletes_and_stays_ready() {
    let server = Server::start_with(&["--max-memory", "4MiB"]);
    let stored = fill(&server, 1_000);
    assert!((300..420).contains(&stored), "{stored} values of 10 kB fit 4 MiB");

    let refused = ask(server.address(), "PUT /v1/keys/large", &[b'v'; 50_000]);
    assert_eq!((refused.status, code(&refused)), (507, "memory-full".to_owned()));
    let problem: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("nothing was changed") && detail.contains("memory.max"), "says what to do: {detail}");

    let client = client(&server);
    let key = |name: &str| Key::new(name.as_bytes().to_vec()).unwrap();
    let sets = vec![Set::new(key("k0"), "replaced"), Set::new(key("new"), vec![0; 60_000])];
    let error = client.set_many(sets).unwrap_err();
    assert_eq!(error.code(), Some("memory-full"), "{error}");
    assert_eq!(client.get("k0").unwrap().unwrap().bytes.len(), 10_000, "nothing was applied");
    assert!(client.get("new").unwrap().is_none());
    assert_eq!(ask(server.address(), "GET /readyz", b"").status, 200);

    let stats = client.stats().unwrap();
    assert_eq!((stats.keys, stats.evicted, stats.memory.limit), (stored as u64, 0, Some(LIMIT)));
    assert!(stats.rejected >= 4 && stats.memory.used <= LIMIT, "{stats:?}");
    let info = client.info().unwrap();
    assert_eq!(info.limits.memory_bytes_max, Some(LIMIT));
    assert_eq!(info.limits.memory_policy.as_deref(), Some("reject"));

    for number in 0..20 {
        client.delete(format!("k{number}")).unwrap();
    }
    client.set("large", vec![b'v'; 50_000]).unwrap();
}

/// The stats when nothing is evicted ahead any more: the part of the limit that is kept free is free, and each key that went is
/// counted.
fn settled(client: &Client) -> StatsAnswer {
    loop {
        let stats = client.stats().unwrap();
        if stats.memory.used <= LIMIT - LIMIT / 128 && stats.keys + stats.evicted == stats.ops.set {
            return stats;
        }
    }
}

/// Sends the head of a request that sets a key to a value of so many bytes.
fn begin_put(server: &Server, length: usize) -> RawConnection {
    let mut connection = RawConnection::open(server.address());
    let head = format!("PUT /v1/keys/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    connection.send(head.as_bytes());
    connection
}

#[test]
fn a_server_that_evicts_takes_every_write_that_fits() {
    let args = ["--max-memory", "4MiB", "--set", "memory.policy=evict", "--fsync", "always"];
    let mut server = Server::start_with(&args);
    assert_eq!(fill(&server, 1_000), 1_000);
    let client = client(&server);
    // What one worker has retired and not handed over is not counted.
    let used = client.stats().unwrap().memory.used;
    assert!(used <= LIMIT + (1 << 20), "{used}");
    let stats = settled(&client);
    assert!((250..420).contains(&stats.keys), "{} keys are left", stats.keys);
    assert_eq!((stats.keys + stats.evicted, stats.rejected), (1_000, 0));
    assert_eq!(client.info().unwrap().limits.memory_policy.as_deref(), Some("evict"));

    // Nothing is evicted for what can never fit.
    let refused = ask(server.address(), "PUT /v1/keys/large", &vec![b'v'; 5 << 20]);
    assert_eq!((refused.status, code(&refused)), (507, "memory-full".to_owned()));
    assert_eq!(client.stats().unwrap().keys, stats.keys);

    // Each absence was shown to a client, and holds.
    let is_there = |client: &Client| -> Vec<bool> {
        (0..1_000).map(|number| client.get(format!("k{number}")).unwrap().is_some()).collect()
    };
    let before = is_there(&client);
    server.kill();
    server.restart();
    let after = is_there(&crate::support::client(&server));
    assert!(before.iter().zip(&after).all(|(before, after)| *before || !after), "an evicted key came back");
    assert!(after.iter().filter(|there| **there).count() >= 250);
}

#[test]
fn bodies_under_way_leave_a_cache_at_least_half() {
    let server = Server::start_with(&["--in-memory", "--max-memory", "4MiB", "--set", "memory.policy=evict"]);
    assert_eq!(fill(&server, 1_000), 1_000);
    let client = client(&server);
    let keys = settled(&client).keys;

    // What never fits is refused before it comes.
    let refused = begin_put(&server, 6_000_000).read_response();
    assert_eq!((refused.status, code(&refused)), (507, "memory-full".to_owned()));
    let mut unannounced = RawConnection::open(server.address());
    unannounced.send(b"PUT /v1/keys/slow HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3D0900\r\n");
    drop(unannounced.try_send(&[b'v'; 2_200_000]));
    assert_eq!(unannounced.read_response().status, 507);
    drop(unannounced);

    // One that fits is waited for, and has room; others beside it have not.
    let mut slow = begin_put(&server, 2_000_000);
    slow.send(&[b'v'; 1_500_000]);
    while client.stats().unwrap().memory.buffers < 1_500_000 {}
    let busy = ask(server.address(), "PUT /v1/keys/other", &[b'v'; 1_000_000]);
    assert_eq!((busy.status, code(&busy)), (503, "busy".to_owned()));
    client.set("small", "value").unwrap();
    let left = settled(&client).keys;
    assert!(left >= keys * 2 / 5 && left < keys, "{left} of {keys}");
    slow.send(&[b'v'; 500_000]);
    assert!(slow.read_response().status < 300);
    assert_eq!(client.get("slow").unwrap().unwrap().bytes.len(), 2_000_000);
}

#[test]
fn bodies_and_answers_under_way_are_inside_the_limit() {
    let server = Server::start_with(&["--in-memory", "--max-memory", "4MiB"]);
    let client = client(&server);
    for number in 0..20 {
        client.set(format!("k{number}"), vec![b'v'; 100_000]).unwrap();
    }
    // The begin of a body that never ends.
    let mut slow = RawConnection::open(server.address());
    slow.send(b"PUT /v1/keys/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n");
    slow.send(&vec![b'v'; 1_500_000]);
    let buffers = || json(&ask(server.address(), "GET /v1/stats", b""))["memory"]["buffers"].as_u64().unwrap();
    while buffers() < 1_500_000 {}
    let refused = client.set("one more", vec![b'v'; 1_000_000]).unwrap_err();
    assert_eq!(refused.code(), Some("memory-full"), "{refused}");
    drop(slow);
    while buffers() > 0 {}
    client.set("one more", vec![b'v'; 1_000_000]).unwrap();
}
