//! Both protocols of Redis on one server, and what clients and dashboards ask for when they begin.

use kvd_testkit::{Answer, RespConnection, Server};

fn open(server: &Server) -> RespConnection {
    RespConnection::open(server.resp_address())
}

#[test]
fn hello_tells_who_answers_and_changes_the_shapes() {
    let server = Server::start();
    let mut connection = open(&server);
    let hello = connection.tell("HELLO");
    assert!(hello.starts_with("[\"server\", \"redis\", \"version\", \"7."), "{hello}");
    assert!(hello.contains("\"proto\", (integer) 2, \"id\", (integer) 1,"), "{hello}");
    let hello = connection.tell("HELLO 3 AUTH default any SETNAME me");
    assert!(hello.starts_with("{\"server\"") && hello.contains("\"proto\", (integer) 3"), "{hello}");
    assert_eq!(connection.tell("CLIENT GETNAME"), "\"me\"");
    assert!(matches!(connection.ask(&["CONFIG", "GET", "save"]), Answer::Map(_)));
    assert!(matches!(connection.ask(&["INFO"]), Answer::Verbatim(_)));
    connection.tell("HELLO 2");
    assert!(matches!(connection.ask(&["INFO"]), Answer::Bulk(_)));
}

#[test]
fn every_connection_is_in_the_list_until_it_ends() {
    let server = Server::start();
    let (mut first, mut second) = (open(&server), open(&server));
    first.tell("CLIENT SETNAME one");
    second.tell("CLIENT SETINFO LIB-NAME lib");
    second.tell("MULTI");
    second.tell("PING");
    let list = first.tell("CLIENT LIST");
    let lines: Vec<_> = list.trim_matches('"').split("\\n").filter(|line| !line.is_empty()).collect();
    let [one, two] = lines[..] else { panic!("{list}") };
    assert!(
        one.starts_with("id=1 addr=127.0.0.1:") && one.contains(" name=one ") && one.contains(" cmd=client|list "),
        "{one}"
    );
    assert!(two.contains(" flags=x ") && two.contains(" multi=1 ") && two.contains(" lib-name=lib "), "{two}");
    assert_eq!(first.tell("CLIENT ID"), "(integer) 1");
    assert!(first.tell("CLIENT INFO").contains("id=1 "));
    assert_eq!(first.tell("CLIENT LIST ID 2").matches("id=").count(), 1);
    second.tell("QUIT");
    assert!(second.is_closed());
    while first.tell("CLIENT LIST").matches("id=").count() > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn info_has_what_dashboards_read() {
    let server = Server::start();
    let mut connection = open(&server);
    connection.tell("SET a 1");
    connection.tell("GET a");
    connection.tell("GET b");
    let info = connection.tell("INFO");
    let port = server.resp_address().port();
    for line in [
        "# Server",
        "redis_version:7.",
        "redis_mode:standalone",
        &format!("tcp_port:{port}"),
        "uptime_in_seconds:",
        "connected_clients:1",
        "maxclients:",
        "used_memory:",
        "used_memory_human:",
        "used_memory_rss:",
        "maxmemory:0",
        "maxmemory_policy:noeviction",
        "loading:0",
        "rdb_bgsave_in_progress:0",
        "rdb_last_bgsave_status:ok",
        "aof_enabled:1",
        "total_connections_received:1",
        "total_commands_processed:3",
        "keyspace_hits:1",
        "keyspace_misses:1",
        "expired_keys:0",
        "evicted_keys:0",
        "role:master",
        "connected_slaves:0",
        "db0:keys=1,",
    ] {
        assert!(
            info.contains(&format!("\\r\\n{line}")) || info.starts_with(&format!("\"{line}")),
            "{line} is not in {info}"
        );
    }
    let memory = connection.tell("INFO memory KEYSPACE");
    assert!(memory.contains("# Memory") && memory.contains("# Keyspace") && !memory.contains("# Server"), "{memory}");
    assert_eq!(connection.tell("INFO nosuch"), "\"\"");
}

#[test]
fn config_tells_of_the_settings_that_clients_ask_for() {
    let server = Server::start_with(&["--fsync", "always"]);
    let mut connection = open(&server);
    assert_eq!(connection.tell("CONFIG GET append*"), r#"["appendfsync", "always", "appendonly", "yes"]"#);
    assert_eq!(connection.tell("CONFIG GET databases MAXMEMORY"), r#"["databases", "1", "maxmemory", "0"]"#);
    assert_eq!(connection.tell("CONFIG SET maxmemory 0 appendonly yes"), "OK");
    let refused = connection.tell("CONFIG SET maxmemory 100mb");
    assert!(
        refused.starts_with("(error) ERR CONFIG SET failed (possibly related to argument 'maxmemory')"),
        "{refused}"
    );
}

#[test]
fn time_passes_and_snapshots_are_made() {
    let server = Server::start();
    let mut connection = open(&server);
    let Answer::Array(time) = connection.ask(&["TIME"]) else { panic!("no array") };
    let Answer::Bulk(seconds) = &time[0] else { panic!("no seconds") };
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now.abs_diff(String::from_utf8(seconds.clone()).unwrap().parse().unwrap()) < 100);
    connection.tell("SET a 1");
    assert_eq!(connection.tell("SAVE"), "OK");
    let snapshots = std::fs::read_dir(server.data_dir())
        .unwrap()
        .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "snapshot"));
    assert_eq!(snapshots.count(), 1);
    assert_eq!(connection.tell("BGSAVE"), "Background saving started");
    let Answer::Integer(saved) = connection.ask(&["LASTSAVE"]) else { panic!("no time") };
    assert!(now.abs_diff(saved as u64) < 100);

    let in_memory = Server::start_with(&["--in-memory"]);
    let refused = open(&in_memory).tell("SAVE");
    assert!(refused.starts_with("(error) ERR kvd keeps everything in memory alone"), "{refused}");
}
