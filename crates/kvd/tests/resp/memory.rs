//! The limit on memory, as clients of Redis see it: refused in its words with nothing half done, or made room for.

use kvd_testkit::{RespConnection, Server};

const LIMIT: &str = "16MiB";

/// Sets values of a megabyte until one is answered otherwise than by OK, or all are set.
fn fill(connection: &mut RespConnection, count: usize) -> Option<String> {
    let value = "v".repeat(1 << 20);
    (0..count).map(|n| connection.ask(&["SET", &format!("key:{n}"), &value]).to_string()).find(|answer| answer != "OK")
}

#[test]
fn a_write_without_room_is_refused_and_deletes_work() {
    let server = Server::start_with(&["--max-memory", LIMIT, "--in-memory"]);
    let mut connection = RespConnection::open(server.resp_address());
    let full = "(error) OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(fill(&mut connection, 100).as_deref(), Some(full));
    let value = "v".repeat(1 << 20);
    assert_eq!(connection.ask(&["MSET", "small", "1", "large", &value]).to_string(), full);
    connection.tell("MULTI");
    connection.tell("SET small 1");
    connection.ask(&["SET", "large", &value]);
    assert_eq!(connection.tell("EXEC"), full);
    assert_eq!(connection.tell("EXISTS small large"), "(integer) 0");
    assert_eq!(connection.tell("DEL key:0 key:1"), "(integer) 2");
    assert_eq!(
        connection.tell("CONFIG GET maxmemory*"),
        r#"["maxmemory", "16777216", "maxmemory-policy", "noeviction"]"#
    );
    // What was deleted is free when its readers are gone.
    while connection.ask(&["SET", "large", &value]).to_string() != "OK" {
        std::thread::yield_now();
    }
}

#[test]
fn where_keys_may_go_there_is_room() {
    let server = Server::start_with(&["--max-memory", LIMIT, "--in-memory", "--set", "memory.policy=evict"]);
    let mut connection = RespConnection::open(server.resp_address());
    assert_eq!(fill(&mut connection, 100), None);
    let info = connection.tell("INFO");
    assert!(!info.contains("evicted_keys:0") && info.contains("maxmemory_policy:allkeys-lfu"), "{info}");
}
