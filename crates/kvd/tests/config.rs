//! The configuration as its users meet it, on the real binary: what is set where wins over what, and a mistake is found
//! before anything starts, named by the place where it was made, with exit status 2.

use std::path::Path;
use std::process::{Command, Output};

/// A `kvd config check` of its own: no variables and no files of whoever runs the test.
struct Check {
    dir: tempfile::TempDir,
    command: Command,
}

impl Check {
    fn new() -> Check {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvd"));
        command.env_clear().env("HOME", dir.path()).current_dir(dir.path()).args(["config", "check"]);
        Check { dir, command }
    }

    fn file(self, name: &str, text: &str) -> Check {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Check {
        self.command.env(name, value);
        self
    }

    fn args(mut self, args: &[&str]) -> Check {
        self.command.args(args);
        self
    }

    fn run(mut self) -> Output {
        self.command.output().unwrap()
    }

    /// What it prints when all is well.
    fn accepted(self) -> String {
        let output = self.run();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(stdout.ends_with("\nok\n"), "{stdout}");
        stdout
    }

    /// The one mistake it names.
    fn refused(self) -> String {
        let output = self.run();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), stdout.as_str()), (Some(2), ""));
        let stderr = String::from_utf8(output.stderr).unwrap();
        stderr.strip_prefix("kvd: ").unwrap().trim_end().to_owned()
    }
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line_and_column() {
    for (text, error) in [
        ("[server]\nlisen = []\n", "kvd.toml:2:1: unknown key \"server.lisen\"; did you mean \"server.listen\"?"),
        ("\n[sever]\nlisten = []\n", "kvd.toml:2:2: unknown table or key \"sever\"; did you mean \"server\"?"),
        (
            "listen = []\n",
            "kvd.toml:1:1: unknown table or key \"listen\"; did you mean \"resp.listen\" or \"server.listen\"?",
        ),
        ("log.lvel = \"info\"\n", "kvd.toml:1:5: unknown key \"log.lvel\"; did you mean \"log.level\"?"),
        (
            "[resp]\nlisten = []\n",
            "kvd.toml:2:10: invalid type: sequence, expected a string; write it like `resp.listen = \"127.0.0.1:6679\"`",
        ),
        (
            "[storage]\nversions = 3\n",
            "kvd.toml:2:1: unknown key \"storage.versions\"; `kvd config --help` lists all keys",
        ),
        ("server = 3\n", "kvd.toml:1:1: \"server\" is a table; its keys are set one by one, as server.KEY"),
        (
            "[server]\nlisten = \"127.0.0.1:1\"\n",
            "kvd.toml:2:10: invalid type: string \"127.0.0.1:1\", expected a sequence; write it like \
             `server.listen = [\"127.0.0.1:7480\"]`",
        ),
        (
            "[server]\nlisten = [\"unix:/run/kvd.sock\"]\n",
            "kvd.toml:2:10: \"unix:/run/kvd.sock\": Unix sockets are not supported by this version; give HOST:PORT; \
             write it like `server.listen = [\"127.0.0.1:7480\"]`",
        ),
        (
            "[limits]\nvalue_bytes_max = \"64 potatoes\"\n",
            "kvd.toml:2:19: invalid value: string \"64 potatoes\", expected a size: bytes, or a number with a \
             unit such as \"64MiB\" or \"64MB\"; write it like `limits.value_bytes_max = 67108864`",
        ),
        (
            "[limits]\nconnections_max = -1\n",
            "kvd.toml:2:19: invalid value: integer `-1`, expected a whole number; write it like \
             `limits.connections_max = 16384`",
        ),
        (
            "[limits]\nheader_timeout = \"10\"\n",
            "kvd.toml:2:18: \"10\" is no duration such as \"10s\" or \"5m\": time unit needed, for example 10sec or \
             10ms; write it like `limits.header_timeout = \"10s\"`",
        ),
        (
            "[expiry]\ndefault_ttl = \"never\"\n",
            "kvd.toml:2:15: \"never\" is neither \"none\" nor a duration such as \"10s\" or \"1h\": expected number at 0; \
             write it like `expiry.default_ttl = \"none\"`",
        ),
        (
            "[log]\nlevel = \"loud\"\n",
            "kvd.toml:2:9: unknown variant `loud`, expected one of `trace`, `debug`, `info`, `warn`, `error`; write it \
             like `log.level = \"info\"`",
        ),
        ("[log]\nlevel = \"info\"\nlevel = \"warn\"\n", "kvd.toml:3:1: duplicate key"),
        ("[log\n", "kvd.toml:1:5: unclosed table, expected `]`"),
    ] {
        assert_eq!(Check::new().file("kvd.toml", text).refused(), error, "{text}");
    }
}

#[test]
fn a_mistake_outside_of_the_file_names_the_variable_or_the_argument() {
    let unknown = Check::new().env("KVD_LOG__LEVLE", "info").refused();
    assert_eq!(unknown, "environment variable KVD_LOG__LEVLE: unknown key \"log.levle\"; did you mean \"log.level\"?");
    let of_another_version = Check::new().env("KVD_REPLICATION__PEERS", "3").refused();
    assert!(
        of_another_version.starts_with("environment variable KVD_REPLICATION__PEERS: unknown key"),
        "{of_another_version}"
    );
    let wrong = Check::new().env("KVD_SERVER__WORKERS", "many").refused();
    assert_eq!(
        wrong.split("; ").next().unwrap(),
        "environment variable KVD_SERVER__WORKERS: invalid value: string \"many\", expected a whole number"
    );
    let unknown = Check::new().args(&["--set", "log.lvel=info"]).refused();
    assert_eq!(unknown, "--set log.lvel=info: unknown key \"log.lvel\"; did you mean \"log.level\"?");
    let incomplete = Check::new().args(&["--set", "log.level"]).refused();
    assert_eq!(incomplete, "--set log.level: expected section.key=value, such as log.level=debug");
    let small = Check::new().env("KVD_log__level", "info").refused();
    assert_eq!(small, "environment variable KVD_log__level: settings are written in capitals, as KVD_LOG__LEVEL");
    let one_underscore = Check::new().env("KVD_SERVER_LISTEN", "127.0.0.1:0").refused();
    assert_eq!(
        one_underscore,
        "environment variable KVD_SERVER_LISTEN: no setting has this name; did you mean KVD_SERVER__LISTEN?"
    );
    Check::new().file("kvd.toml", "").env("KVD_URL", "http://h:1").env("KVD_TX", "1").accepted();
    let wrong = Check::new().args(&["--listen", "7480"]).refused();
    assert!(wrong.starts_with("--listen: \"7480\" is no address HOST:PORT"), "{wrong}");
}

#[test]
fn a_memory_limit_is_a_size_and_shown_as_given() {
    let shown = Check::new().args(&["--max-memory", "64MiB", "--set", "memory.policy=evict"]).accepted();
    assert!(shown.contains("64MiB") && shown.contains("--max-memory"), "{shown}");
    assert!(shown.contains("evict"), "{shown}");
    let refused = Check::new().args(&["--max-memory", "much"]).refused();
    assert!(refused.starts_with("--max-memory: ") && refused.contains("a size: bytes"), "{refused}");
    let refused = Check::new().args(&["--set", "memory.policy=lru"]).refused();
    assert!(refused.contains("expected `reject` or `evict`"), "{refused}");
}

#[test]
fn a_flag_is_refused_in_our_own_words() {
    let output = Check::new().args(&["--workers", "x"]).run();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("'x'") && stderr.contains("a whole number, such as 4"), "{stderr}");
}

#[test]
fn flags_win_over_set_over_environment_over_file() {
    let file = "[log]\nlevel = \"error\"\nformat = \"json\"\n[server]\nworkers = 1\nstop_timeout = \"1s\"\n";
    let checked = Check::new()
        .file("kvd.toml", file)
        .env("KVD_LOG__LEVEL", "warn")
        .env("KVD_SERVER__WORKERS", "2")
        .env("KVD_SERVER__STOP_TIMEOUT", "2s")
        .args(&["--set", "log.level=info", "--set", "server.workers=3", "--log-level", "trace"])
        .accepted();
    assert_eq!(
        checked,
        "configuration file kvd.toml\n\
         log.format = \"json\"  (kvd.toml:3:1)\n\
         log.level = \"trace\"  (--log-level)\n\
         server.stop_timeout = \"2s\"  (environment variable KVD_SERVER__STOP_TIMEOUT)\n\
         server.workers = 3  (--set server.workers=3)\n\
         ok\n"
    );
}

#[test]
fn text_outside_of_the_file_is_read_as_its_key_demands() {
    let checked = Check::new()
        .file("kvd.toml", "")
        .env("KVD_STORAGE__DIR", "123")
        .env("KVD_LIMITS__VALUE_BYTES_MAX", "1MiB")
        .env("KVD_STORAGE__IN_MEMORY", "true")
        .args(&["--set", "http.allowed_hosts=a.example, b.example", "--set", "limits.batch_items_max=7"])
        .args(&["--listen", "127.0.0.1:1", "--listen", "[::1]:2"])
        .accepted();
    for line in [
        "http.allowed_hosts = [\"a.example\", \"b.example\"]",
        "limits.batch_items_max = 7",
        "limits.value_bytes_max = \"1MiB\"",
        "server.listen = [\"127.0.0.1:1\", \"[::1]:2\"]",
        "storage.dir = \"123\"",
        "storage.in_memory = true",
    ] {
        assert!(checked.contains(&format!("\n{line}  (")), "{line} is not in\n{checked}");
    }
}

#[test]
fn a_default_time_to_live_is_none_or_a_time_that_can_be_kept() {
    for (text, refusal) in [
        ("none", None),
        ("1ms", None),
        ("36500d", None),
        ("0s", Some("at least 1ms and at most 36500d")),
        ("999us", Some("at least 1ms and at most 36500d")),
        ("36501d", Some("at least 1ms and at most 36500d")),
        ("-1s", Some("is neither \"none\" nor a duration")),
    ] {
        let check = Check::new().env("KVD_EXPIRY__DEFAULT_TTL", text);
        match refusal {
            None => assert!(check.accepted().contains(&format!("expiry.default_ttl = \"{text}\"")), "{text}"),
            Some(refusal) => {
                let refused = check.refused();
                assert!(refused.contains(refusal) && refused.contains("KVD_EXPIRY__DEFAULT_TTL"), "{text}: {refused}");
            }
        }
    }
    let transactions = Check::new().args(&["--set", "limits.transactions_bytes_max=1MiB"]).refused();
    assert!(transactions.starts_with("limits.batch_bytes_max (the default): "), "{transactions}");
}

#[test]
fn the_file_that_is_named_is_read_and_else_the_first_well_known_one() {
    let file_in = |checked: String| checked.lines().next().unwrap().to_owned();
    let everywhere = || {
        let check =
            Check::new().file("kvd.toml", "").file("xdg/kvd/kvd.toml", "").file("a.toml", "").file("b.toml", "");
        let xdg = check.dir.path().join("xdg");
        check.env("XDG_CONFIG_HOME", xdg)
    };
    let by_flag = everywhere().env("KVD_CONFIG", "b.toml").args(&["--config", "a.toml"]);
    assert_eq!(file_in(by_flag.accepted()), "configuration file a.toml");
    let by_variable = everywhere().env("KVD_CONFIG", "b.toml");
    assert_eq!(file_in(by_variable.accepted()), "configuration file b.toml");
    assert_eq!(file_in(everywhere().accepted()), "configuration file kvd.toml");
    let of_user = Check::new().file(".config/kvd/kvd.toml", "");
    let path = of_user.dir.path().join(".config/kvd/kvd.toml");
    assert_eq!(file_in(of_user.accepted()), format!("configuration file {}", path.display()));
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let by_flag = Check::new().args(&["--config", "absent.toml"]).refused();
    assert!(by_flag.starts_with("can't read the configuration file absent.toml: No such file"), "{by_flag}");
    assert!(by_flag.ends_with("named by --config"), "{by_flag}");
    let by_variable = Check::new().env("KVD_CONFIG", "absent.toml").refused();
    assert!(by_variable.ends_with("named by KVD_CONFIG"), "{by_variable}");
}

#[test]
fn an_address_that_others_can_reach_needs_a_word_of_consent() {
    for public in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7480", "[::ffff:192.0.2.1]:7480"] {
        let error = Check::new().file("kvd.toml", "").args(&["--listen", "127.0.0.1:0", "--listen", public]).refused();
        assert!(error.starts_with(&format!("server.listen (--listen): {public} can be reached")), "{error}");
        assert!(error.ends_with("--set security.insecure_no_auth=true"), "{error}");
        let consent = "security.insecure_no_auth=true";
        Check::new().file("kvd.toml", "").args(&["--listen", public, "--set", consent]).accepted();
    }
    let resp = Check::new().file("kvd.toml", "").args(&["--resp", "0.0.0.0:0"]).refused();
    assert!(resp.starts_with("resp.listen (--resp): 0.0.0.0:0 can be reached"), "{resp}");
    for private in ["127.0.0.1:0", "127.1.2.3:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        Check::new().file("kvd.toml", "").args(&["--listen", private]).accepted();
    }
}

#[test]
fn the_redis_protocol_has_one_address_or_none() {
    for accepted in ["off", "127.0.0.1:0", "[::1]:6679"] {
        let checked = Check::new().file("kvd.toml", "").args(&["--resp", accepted]).accepted();
        assert!(checked.contains(&format!("resp.listen = \"{accepted}\"  (--resp)")), "{checked}");
    }
    for wrong in ["on", "6679", "unix:/run/kvd.sock", ""] {
        let refused = Check::new().file("kvd.toml", "").args(&["--resp", wrong]).refused();
        assert!(refused.starts_with(&format!("--resp: \"{wrong}\"")), "{refused}");
    }
}

#[test]
fn settings_that_can_not_work_are_refused() {
    for (assignment, error) in [
        ("server.workers=0", "0 is too small, the least is 1"),
        ("server.workers=1025", "1025 is too large, the most is 1024"),
        ("history.versions=1001", "1001 is too large, the most is 1000"),
        ("server.listen=", "there must be at least one address"),
        ("server.stop_timeout=0s", "a time is more than 0 and at most 24h here"),
        ("limits.keep_alive_timeout=25h", "a time is more than 0 and at most 24h here"),
        ("limits.key_bytes_max=65537", "65537 is too large, the most is 65536"),
        ("limits.header_bytes_max=8191", "8191 is too small, the least is 8192"),
        ("limits.batch_items_max=0", "0 is too small, the least is 1"),
        ("limits.connections_max=0", "0 is too small, the least is 1"),
        (
            "limits.value_bytes_max=134217729",
            "134217729 bytes don't fit into limits.batch_bytes_max (the default), which is 134217728",
        ),
        (
            "limits.inbound_bytes_max=100MB",
            "134217728 bytes don't fit into limits.inbound_bytes_max (--set limits.inbound_bytes_max=100MB), which is \
             100000000",
        ),
        (
            "http.allowed_hosts=kv.example.com:80",
            "\"kv.example.com:80\" is no host name; give names alone, such as kv.example.com",
        ),
        ("memory.max=1000000", "1000000 is too small, the least is 1048576"),
        ("memory.policy=evict", "nothing is evicted without a limit; give one with --max-memory, or memory.max"),
        ("http.allowed_hosts=http://a", "\"http://a\" is no host name; give names alone, such as kv.example.com"),
    ] {
        let refused = Check::new().file("kvd.toml", "").args(&["--set", assignment]).refused();
        assert!(refused.ends_with(&format!("): {error}")), "{assignment}: {refused}");
    }
}

#[test]
fn without_a_home_the_data_directory_must_be_named() {
    let homeless = || {
        let mut check = Check::new().file("kvd.toml", "");
        check.command.env_remove("HOME");
        check
    };
    homeless().args(&["--data-dir", "data"]).accepted();
    if rustix::process::geteuid().is_root() {
        // It has /var/lib/kvd.
        homeless().accepted();
    } else {
        assert!(homeless().refused().ends_with("name one with --data-dir"));
    }
}

#[test]
fn the_example_file_is_accepted_by_the_server() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kvd.example.toml");
    Check::new().args(&["--config", example.to_str().unwrap()]).accepted();
}
