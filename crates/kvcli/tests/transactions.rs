//! Interactive transactions from a shell: several processes work in one by its id, others see nothing before it is committed, and
//! who was slower is told so.

use std::process::{Command, Stdio};

use kvd_testkit::{Server, binary};

/// Runs kvcli in a transaction, if one is given; returns its exit code, standard output and standard error.
fn kvcli(server: &Server, tx: Option<&str>, line: &str) -> (i32, String, String) {
    let mut command = Command::new(binary("kvcli"));
    command.args(line.split(' ')).env("KVD_URL", server.url()).env_remove("KVD_TX").stdin(Stdio::null());
    if let Some(tx) = tx {
        command.env("KVD_TX", tx);
    }
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn ok(server: &Server, tx: Option<&str>, line: &str) -> String {
    let (code, stdout, stderr) = kvcli(server, tx, line);
    assert_eq!(code, 0, "{line}: {stderr}");
    stdout
}

fn begin(server: &Server) -> String {
    ok(server, None, "tx begin").trim_end().to_owned()
}

#[test]
fn others_see_what_a_transaction_wrote_when_it_is_committed_and_not_before() {
    let server = Server::start();
    ok(&server, None, "set balance=100");
    let id = begin(&server);
    assert_eq!(ok(&server, Some(&id), "get balance"), "100");
    ok(&server, Some(&id), "set balance=90,note=paid");
    assert_eq!(ok(&server, Some(&id), "incr balance -1"), "89\n");
    assert_eq!(ok(&server, Some(&id), "append note .!"), "6\n");
    assert_eq!(ok(&server, Some(&id), "set balance=88 --get"), "89");
    assert_eq!(ok(&server, Some(&id), "get balance,note"), "balance\t88\nnote\tpaid.!\n");
    assert_eq!(ok(&server, None, "get balance"), "100");
    let (code, _, stderr) = kvcli(&server, Some(&id), "tx commit");
    assert!(code == 0 && stderr.starts_with("committed at revision "), "{stderr}");
    assert_eq!(ok(&server, None, "get balance,note"), "balance\t88\nnote\tpaid.!\n");
    let (code, _, stderr) = kvcli(&server, Some(&id), "get balance");
    assert!(code == 5 && stderr.contains("hint: begin another one"), "{code}: {stderr}");
}

#[test]
fn who_was_slower_is_told_and_nothing_has_happened() {
    let server = Server::start();
    ok(&server, None, "set a=1,b=1");
    let id = begin(&server);
    ok(&server, Some(&id), "get a");
    ok(&server, Some(&id), "set b=2");
    ok(&server, None, "set a=9");
    let (code, _, stderr) = kvcli(&server, Some(&id), "tx commit");
    assert!(code == 5 && stderr.contains("hint: begin the transaction again"), "{code}: {stderr}");
    assert_eq!(ok(&server, None, "get b"), "1");
}

#[test]
fn a_rollback_leaves_no_trace() {
    let server = Server::start();
    let id = begin(&server);
    ok(&server, Some(&id), "set a=1");
    ok(&server, Some(&id), "tx rollback");
    assert_eq!(kvcli(&server, None, "get a").0, 1);
}

#[test]
fn a_read_only_transaction_sees_one_revision_and_can_list_it() {
    let server = Server::start();
    ok(&server, None, "set a=1");
    let id = ok(&server, None, "tx begin --read-only").trim_end().to_owned();
    ok(&server, None, "set a=2,b=2");
    assert_eq!(ok(&server, Some(&id), "get a"), "1");
    assert_eq!(ok(&server, Some(&id), "list"), "a\n");
    assert_eq!(kvcli(&server, Some(&id), "set a=3").0, 2);
}

#[test]
fn what_has_no_place_in_a_transaction_says_so() {
    let server = Server::start();
    let (code, _, stderr) = kvcli(&server, None, "tx commit");
    assert!(code == 2 && stderr.contains("KVD_TX=$(kvcli tx begin)"), "{stderr}");
    let (code, _, stderr) = kvcli(&server, Some("nonsense"), "get a");
    assert!(code == 2 && stderr.contains("`nonsense` is no id"), "{stderr}");
    let id = begin(&server);
    // What tells of the server as a whole has nothing to do with it.
    ok(&server, Some(&id), "ping");
    assert_eq!(kvcli(&server, Some(&id), "list").0, 2);
    // What a failed `tx begin` leaves in KVD_TX: nothing is done outside of the transaction that there is not.
    for line in ["set a=1", "get a", "tx commit", "tx rollback"] {
        let (code, _, stderr) = kvcli(&server, Some(""), line);
        let says = ["KVD_TX is set and empty", "unset KVD_TX"].iter().all(|text| stderr.contains(text));
        assert!(code == 2 && says, "{line}: {stderr}");
    }
    assert_eq!(kvcli(&server, None, "get a").0, 1, "nothing was set");
    let again = ok(&server, Some(""), "tx begin");
    ok(&server, Some(again.trim_end()), "tx rollback");
    for line in ["watch", "delete --all --yes", "delete --prefix a --yes"] {
        let (code, _, stderr) = kvcli(&server, Some(&id), line);
        assert!(code == 2 && stderr.contains("unset KVD_TX"), "{line}: {stderr}");
    }
}
