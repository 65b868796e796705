//! Interactive transactions, where things go wrong: a conflict must run the body again, and nothing else may; an answer to a
//! commit that got lost must neither become a second commit nor be called a failure.

use std::cell::Cell;

use crate::support::{Fake, Then, answer, created, value};
use kvd_client::{Client, Error, Mode, blocking};

const ID: &str = "000102030405060708090a0b0c0d0e0f";

fn client(fake: &Fake) -> Client {
    Client::new(&fake.url).unwrap()
}

fn json(status: &str, body: &str) -> Then {
    answer(status, "content-type: application/json\r\nkvd-revision: 7\r\n", body)
}

fn begun() -> Then {
    json("201 Created", &format!(r#"{{"id":"{ID}","mode":"read-write","revision":7,"idle_timeout_ms":30000}}"#))
}

fn committed() -> Then {
    json("200 OK", r#"{"revision":8}"#)
}

fn aborted() -> Then {
    answer("204 No Content", "", "")
}

fn problem(status: u16, code: &str, retryable: bool) -> Then {
    let body = format!(
        r#"{{"type":"about:blank","title":"t","status":{status},"code":"{code}","retryable":{retryable},"detail":"d"}}"#
    );
    answer(&format!("{status} Reason"), "content-type: application/problem+json\r\n", &body)
}

fn conflict() -> Then {
    problem(409, "conflict", true)
}

/// What was asked for, as `METHOD path`, and in which transaction.
fn lines(fake: &Fake) -> Vec<String> {
    let shown = |seen: crate::support::Seen| {
        let line = seen.line.trim_end_matches(" HTTP/1.1").replace(ID, "ID");
        let inside = seen.headers.contains(&format!("kvd-tx: {ID}"));
        if inside { format!("{line} inside") } else { line }
    };
    fake.seen.try_iter().map(shown).collect()
}

/// Copies a key in a transaction, and counts how often it was tried.
async fn copy(client: &Client, runs: &Cell<u32>) -> Result<u32, Error> {
    client
        .update(|tx| async move {
            runs.set(runs.get() + 1);
            let value = tx.get("a").await?.expect("the script has it");
            tx.set("b", value.bytes).await?;
            Ok(runs.get())
        })
        .await
}

#[tokio::test]
async fn an_update_begins_runs_inside_and_commits() {
    let fake = Fake::start(vec![vec![begun(), value("v"), created(), committed()]]);
    let runs = Cell::new(0);
    assert_eq!(copy(&client(&fake), &runs).await.unwrap(), 1);
    let expected = ["POST /v1/tx", "GET /v1/keys/a inside", "PUT /v1/keys/b inside", "POST /v1/tx/ID/commit"];
    assert_eq!(lines(&fake), expected);
}

#[tokio::test]
async fn a_conflict_at_the_commit_or_before_it_runs_the_body_again_in_a_new_transaction() {
    let at_commit = vec![begun(), value("v"), created(), conflict(), begun(), value("v"), created(), committed()];
    let before = vec![begun(), value("v"), conflict(), aborted(), begun(), value("v"), created(), committed()];
    for script in [at_commit, before] {
        let fake = Fake::start(vec![script]);
        assert_eq!(copy(&client(&fake), &Cell::new(0)).await.unwrap(), 2);
        assert_eq!(lines(&fake).iter().filter(|line| *line == "POST /v1/tx").count(), 2);
    }
}

#[tokio::test]
async fn a_conflict_is_not_tried_for_ever() {
    let once = [begun(), value("v"), created(), conflict()];
    let fake = Fake::start(vec![once.iter().cycle().take(4 * 30).cloned().collect()]);
    let runs = Cell::new(0);
    let error = copy(&client(&fake), &runs).await.unwrap_err();
    assert!(error.is_conflict(), "{error:?}");
    assert_eq!(runs.get(), 21);
}

#[tokio::test]
async fn an_error_of_the_body_rolls_back_and_is_not_tried_again() {
    let fake = Fake::start(vec![vec![begun(), problem(413, "limit-exceeded", false), aborted()]]);
    let runs = Cell::new(0);
    let error = copy(&client(&fake), &runs).await.unwrap_err();
    assert_eq!((error.code(), runs.get()), (Some("limit-exceeded"), 1));
    assert_eq!(lines(&fake), ["POST /v1/tx", "GET /v1/keys/a inside", "DELETE /v1/tx/ID"]);
}

#[tokio::test]
async fn a_commit_whose_answer_gets_lost_is_asked_for_again_and_the_body_does_not_run_again() {
    for again in [
        vec![committed()],
        vec![problem(409, "tx-busy", true), committed()],
        vec![problem(409, "tx-busy", true), Then::Close],
    ] {
        let ends_in_a_loss = matches!(again.last(), Some(Then::Close));
        let mut connections = vec![vec![begun(), value("v"), created(), Then::Close], again];
        if ends_in_a_loss {
            connections.push(vec![committed()]);
        }
        let fake = Fake::start(connections);
        let runs = Cell::new(0);
        assert_eq!(copy(&client(&fake), &runs).await.unwrap(), 1);
        assert!(lines(&fake)[3..].iter().all(|line| line == "POST /v1/tx/ID/commit"));
    }
}

#[tokio::test]
async fn a_lost_commit_that_was_a_conflict_runs_the_body_again() {
    let again = vec![conflict(), begun(), value("v"), created(), committed()];
    let fake = Fake::start(vec![vec![begun(), value("v"), created(), Then::Close], again]);
    assert_eq!(copy(&client(&fake), &Cell::new(0)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_commit_that_nobody_knows_of_any_more_has_an_unknown_outcome() {
    let gone = problem(410, "transaction-ended", false);
    let fake = Fake::start(vec![vec![begun(), value("v"), created(), Then::Close], vec![gone.clone()]]);
    let runs = Cell::new(0);
    let error = copy(&client(&fake), &runs).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { is_write: true, .. }) && error.outcome_is_unknown(), "{error:?}");
    assert_eq!(runs.get(), 1);
    // Without a loss before it, it is the answer: the transaction was idle for too long.
    let fake = Fake::start(vec![vec![begun(), value("v"), created(), gone]]);
    let error = copy(&client(&fake), &runs).await.unwrap_err();
    assert_eq!((error.code(), error.outcome_is_unknown()), (Some("transaction-ended"), false));
}

#[tokio::test]
async fn a_server_with_too_many_transactions_is_asked_again() {
    let full = problem(429, "too-many-transactions", true);
    let fake = Fake::start(vec![vec![full.clone(), full, begun(), value("v"), created(), committed()]]);
    assert_eq!(copy(&client(&fake), &Cell::new(0)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_view_reads_inside_and_leaves_nothing_open() {
    let fake = Fake::start(vec![vec![begun(), value("v"), value("w"), aborted()]]);
    let both = client(&fake)
        .view(|tx| async move {
            let (a, b) = (tx.get("a").await?, tx.get("b").await?);
            Ok::<_, Error>((a.map(|value| value.bytes), b.map(|value| value.bytes)))
        })
        .await
        .unwrap();
    assert_eq!(both, (Some("v".into()), Some("w".into())));
    let expected = ["POST /v1/tx", "GET /v1/keys/a inside", "GET /v1/keys/b inside", "DELETE /v1/tx/ID"];
    assert_eq!(lines(&fake), expected);
}

#[tokio::test]
async fn an_append_inside_is_a_read_and_a_write() {
    let fake = Fake::start(vec![vec![begun(), value("ab"), created(), aborted()]]);
    let tx = client(&fake).begin(Mode::ReadWrite).await.unwrap();
    assert_eq!(tx.append("a", "cd").await.unwrap(), 4);
    tx.abort().await.unwrap();
    let seen: Vec<_> = fake.seen.try_iter().collect();
    assert_eq!(seen[2].line, "PUT /v1/keys/a HTTP/1.1");
    assert_eq!(seen[2].body, b"abcd");
    assert!(seen[2].headers.contains(&"kvd-ttl: keep".to_owned()), "{:?}", seen[2].headers);
}

#[tokio::test]
async fn an_update_can_be_spawned() {
    let fake = Fake::start(vec![vec![begun(), value("v"), created(), committed()]]);
    let client = client(&fake);
    let spawned = tokio::spawn(async move {
        client
            .update(|tx| async move {
                let value = tx.get("a").await?.expect("the script has it");
                tx.set("b", value.bytes).await
            })
            .await
    });
    assert!(spawned.await.unwrap().unwrap().created);
}

#[test]
fn the_blocking_client_does_the_same() {
    let script = vec![begun(), value("v"), created(), conflict(), begun(), value("v"), created(), committed()];
    let fake = Fake::start(vec![script]);
    let client = blocking::Client::new(client(&fake)).unwrap();
    let mut runs = 0;
    let outcome: Result<(), Error> = client.update(|tx| {
        runs += 1;
        let value = tx.get("a")?.expect("the script has it");
        tx.set("b", value.bytes).map(drop)
    });
    outcome.unwrap();
    assert_eq!((runs, lines(&fake).len()), (2, 8));
}

#[tokio::test]
async fn a_transaction_goes_on_by_its_id_and_what_is_no_id_is_not_sent() {
    let fake = Fake::start(vec![vec![begun(), value("v"), aborted()]]);
    let client = client(&fake);
    let id = client.begin(Mode::ReadOnly).await.unwrap().id();
    let elsewhere = client.within(&id).unwrap();
    elsewhere.get("a").await.unwrap();
    elsewhere.abort().await.unwrap();
    assert_eq!(lines(&fake), ["POST /v1/tx", "GET /v1/keys/a inside", "DELETE /v1/tx/ID"]);
    for id in ["", "x", "../keys/a", "00"] {
        assert!(matches!(client.within(id), Err(Error::BadTransactionId { .. })), "{id}");
    }
}
