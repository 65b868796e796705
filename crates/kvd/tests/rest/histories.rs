//! What many clients see together, over the network: each notes what it asked and what it was told, and a checker looks for one
//! order of all of it that explains every answer. Single keys must be linearizable, transactions strictly serialisable, whichever
//! way they are asked: batches, one request for all, or request by request.

use std::net::SocketAddr;
use std::thread;

use kvd_testkit::history::linearizable::{self, Answer, Condition, KeyOperation, Operation};
use kvd_testkit::history::serializable::{self, Mode, Outcome, Transaction};
use kvd_testkit::history::{LogicalClock, Process, Record, Version, merge};
use kvd_testkit::{RawResponse, Server};
use serde_json::{Value, json};

use crate::support::{Session, code, json as json_of};

const CLIENTS: u64 = 4;

/// A walk through numbers that look random, different for each seed and the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % bound
    }
}

/// Runs one client per thread and gives back what they recorded.
fn record<T: Send>(
    address: SocketAddr,
    client: impl Fn(u64, &mut Session, &LogicalClock) -> Vec<Record<T>> + Sync,
) -> Vec<Record<T>> {
    let clock = LogicalClock::new();
    let (client, clock) = (&client, &clock);
    thread::scope(|scope| {
        let run = move |id| client(id, &mut Session::open(address), clock);
        let threads: Vec<_> = (1..=CLIENTS).map(|id| scope.spawn(move || run(id))).collect();
        merge(threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>())
    })
}

fn revision(response: &RawResponse) -> u64 {
    response.header("kvd-revision").expect("every answer has a revision").parse().unwrap()
}

/// Single keys with conditions, under `always` too, where an answer waits for the disk and readers see less than was committed.
fn one_key(session: &mut Session, numbers: &mut Numbers, key: u64, unique: u64) -> Operation {
    let (header, condition) = match numbers.below(4) {
        0 => ("If-None-Match: *\n", Condition::Absent),
        1 => ("If-Match: *\n", Condition::Exists),
        _ => ("", Condition::Always),
    };
    let answer = |response: &RawResponse| match response.status {
        201 | 204 => Answer::Done { revision: Some(revision(response)) },
        404 | 412 => Answer::Refused,
        status => panic!("{status} {}", response.text()),
    };
    match numbers.below(4) {
        0 => {
            let put = session.ask(&format!("PUT /v1/keys/{key}\n{header}"), unique.to_string().as_bytes());
            Operation::Set { value: unique, condition, answer: answer(&put) }
        }
        1 => {
            let deleted = session.ask(&format!("DELETE /v1/keys/{key}"), b"");
            Operation::Delete { condition: Condition::Always, answer: answer(&deleted) }
        }
        _ => {
            let got = session.ask(&format!("GET /v1/keys/{key}"), b"");
            let found = (got.status == 200)
                .then(|| Version { value: got.text().parse().unwrap(), revision: Some(revision(&got)) });
            Operation::Get { found, at_least: Some(revision(&got)) }
        }
    }
}

#[test]
fn single_keys_are_linearizable_over_the_network() {
    const OPERATIONS: u64 = 4_000;
    for fsync in ["always", "off"] {
        let server = Server::start_with(&["--fsync", fsync]);
        let records = record(server.address(), |id, session, clock| {
            let mut numbers = Numbers(id);
            let mut process = Process::new(id as u32, || clock.tick());
            for n in 0..OPERATIONS {
                let key = numbers.below(5);
                let invocation = process.invoke();
                let operation = one_key(session, &mut numbers, key, id << 32 | n);
                process.respond(invocation, KeyOperation { key, operation });
            }
            process.into_records()
        });
        assert_eq!(records.len() as u64, CLIENTS * OPERATIONS);
        linearizable::assert_linearizable(&records);
    }
}

/// What an item of an answer says that a key held.
fn version(item: &Value) -> Option<Version> {
    let value = item["value"].as_str()?.parse().unwrap();
    Some(Version { value, revision: Some(item["revision"].as_u64().unwrap()) })
}

fn reads_in(answer: &Value, keys: &[u64]) -> Vec<(u64, Option<Version>)> {
    keys.iter().copied().zip(answer["items"].as_array().unwrap().iter().map(version)).collect()
}

fn names(keys: &[u64]) -> Vec<String> {
    keys.iter().map(u64::to_string).collect()
}

fn one_shot(
    revision: Option<u64>,
    read_revision: Option<u64>,
    reads: Vec<(u64, Option<Version>)>,
    writes: Vec<(u64, Option<u64>)>,
) -> Transaction {
    Transaction { mode: Mode::OneShot, outcome: Outcome::Committed { revision }, read_revision, reads, writes }
}

fn mset(session: &mut Session, keys: &[u64], unique: u64) -> Transaction {
    let items: Vec<_> = keys.iter().map(|key| json!({"key": key.to_string(), "value": unique.to_string()})).collect();
    let answer = session.ask("POST /v1/mset", json!({ "items": items }).to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    one_shot(Some(revision(&answer)), None, vec![], keys.iter().map(|key| (*key, Some(unique))).collect())
}

fn mget(session: &mut Session, keys: &[u64]) -> Transaction {
    let answer = session.ask("POST /v1/mget", json!({ "keys": names(keys) }).to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    one_shot(None, Some(revision(&answer)), reads_in(&json_of(&answer), keys), vec![])
}

/// Reads some keys and writes another in one request.
fn txn(session: &mut Session, keys: &[u64], unique: u64) -> Transaction {
    let (written, read) = keys.split_first().unwrap();
    let mut ops: Vec<_> = read.iter().map(|key| json!({"op": "get", "key": key.to_string()})).collect();
    ops.push(json!({"op": "set", "key": written.to_string(), "value": unique.to_string()}));
    let answer = session.ask("POST /v1/txn", json!({ "ops": ops }).to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = json_of(&answer);
    let reads = read.iter().copied().zip(body["results"].as_array().unwrap().iter().map(version)).collect();
    one_shot(body["revision"].as_u64(), None, reads, vec![(*written, Some(unique))])
}

/// Deletes a key if another is as it was read before; the read itself promises nothing.
fn checked_delete(session: &mut Session, keys: &[u64]) -> Option<Transaction> {
    let [deleted, read, ..] = keys else { return None };
    let got = session.ask(&format!("GET /v1/keys/{read}"), b"");
    let (check, found) = match got.status {
        200 => {
            let found = Version { value: got.text().parse().unwrap(), revision: Some(revision(&got)) };
            (json!({"key": read.to_string(), "revision": found.revision}), Some(found))
        }
        _ => (json!({"key": read.to_string(), "absent": true}), None),
    };
    let body = json!({"checks": [check, {"key": deleted.to_string(), "exists": true}],
        "ops": [{"op": "delete", "key": deleted.to_string()}]});
    let answer = session.ask("POST /v1/txn", body.to_string().as_bytes());
    let (outcome, writes) = match answer.status {
        200 => (Outcome::Committed { revision: json_of(&answer)["revision"].as_u64() }, vec![(*deleted, None)]),
        412 => (Outcome::Aborted, vec![(*deleted, None)]),
        status => panic!("{status} {}", answer.text()),
    };
    Some(Transaction { mode: Mode::Optimistic, outcome, read_revision: None, reads: vec![(*read, found)], writes })
}

/// Reads in one mode or the other, request by request, and writes in the second.
fn interactive(session: &mut Session, numbers: &mut Numbers, keys: &[u64], unique: u64) -> Transaction {
    let mode = if numbers.below(2) == 0 { Mode::View } else { Mode::Update };
    let name = if mode == Mode::View { "read-only" } else { "read-write" };
    let begun = json_of(&session.ask("POST /v1/tx", json!({ "mode": name }).to_string().as_bytes()));
    let id = begun["id"].as_str().unwrap();
    let header = format!("Kvd-Tx: {id}\n");
    let (written, read) = keys.split_first().unwrap();
    let mut reads = Vec::new();
    for key in read {
        let got = session.ask(&format!("GET /v1/keys/{key}\n{header}"), b"");
        let found =
            (got.status == 200).then(|| Version { value: got.text().parse().unwrap(), revision: Some(revision(&got)) });
        reads.push((*key, found));
    }
    let mut writes = Vec::new();
    if mode == Mode::Update {
        let put = session.ask(&format!("PUT /v1/keys/{written}\n{header}"), unique.to_string().as_bytes());
        assert!(matches!(put.status, 201 | 204), "{}", put.text());
        writes.push((*written, Some(unique)));
    }
    let outcome = if numbers.below(8) == 0 {
        assert_eq!(session.ask(&format!("DELETE /v1/tx/{id}"), b"").status, 204);
        Outcome::Aborted
    } else {
        let answer = session.ask(&format!("POST /v1/tx/{id}/commit"), b"");
        match answer.status {
            200 if writes.is_empty() => Outcome::Committed { revision: None },
            200 => Outcome::Committed { revision: json_of(&answer)["revision"].as_u64() },
            _ => {
                assert_eq!((answer.status, code(&answer).as_str()), (409, "conflict"));
                Outcome::Aborted
            }
        }
    };
    Transaction { mode, outcome, read_revision: begun["revision"].as_u64(), reads, writes }
}

#[test]
fn transactions_are_strictly_serialisable_over_the_network() {
    const TRANSACTIONS: u64 = 2_000;
    const KEYS: u64 = 5;
    for fsync in ["always", "off"] {
        let server = Server::start_with(&["--fsync", fsync]);
        let records = record(server.address(), |id, session, clock| {
            let mut numbers = Numbers(id);
            let mut process = Process::new(id as u32, || clock.tick());
            for n in 0..TRANSACTIONS {
                let mut keys = vec![numbers.below(KEYS), numbers.below(KEYS), numbers.below(KEYS)];
                keys.sort_unstable();
                keys.dedup();
                let (kind, unique) = (numbers.below(6), id << 32 | n);
                let invocation = process.invoke();
                let transaction = match kind {
                    0 => mset(session, &keys, unique),
                    1 => mget(session, &keys),
                    2 => txn(session, &keys, unique),
                    3 => match checked_delete(session, &keys) {
                        Some(transaction) => transaction,
                        None => mget(session, &keys),
                    },
                    _ => interactive(session, &mut numbers, &keys, unique),
                };
                process.respond(invocation, transaction);
            }
            process.into_records()
        });
        let conflicts = records.iter().filter(|record| record.operation.outcome == Outcome::Aborted).count();
        assert!(conflicts > 0, "the clients never met");
        serializable::assert_serializable(&records);
    }
}
