//! Transaction anomalies by name: each script of `scripts/` is a conversation of clients whose transactions run beside each
//! other, with every answer as it must be. A line is who asks (`-` for nobody's transaction), what, and after `->` the answer.
//!
//! | asked | answer |
//! |---|---|
//! | `begin MODE`, `commit`, `rollback` | status |
//! | `get K`, `incr K BY` | status and value |
//! | `put K V`, `delete K`, `mset K=V..`, `mdelete K..` | status |
//! | `mget K..` | status and `K=V`, `-` for an absent key |
//! | `list PREFIX` | status and keys, sorted |
//!
//! A refusal is its status, its code, and the keys that it names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kvd_testkit::{RawResponse, Server};
use serde_json::{Value, json};

use crate::support::{Session, json as json_of};

/// The clients of one script, each with a transaction of its own.
struct Clients {
    session: Session,
    transactions: BTreeMap<String, String>,
}

impl Clients {
    fn answer(&mut self, who: &str, asked: &[&str]) -> String {
        let header = self.transactions.get(who).map(|id| format!("Kvd-Tx: {id}\n")).unwrap_or_default();
        let of_json = |value: Value| value.to_string().into_bytes();
        match asked {
            ["begin", mode] => {
                let begun = self.session.ask("POST /v1/tx", &of_json(json!({ "mode": mode })));
                if begun.status == 201 {
                    let id = json_of(&begun)["id"].as_str().unwrap().to_owned();
                    self.transactions.insert(who.to_owned(), id);
                }
                shown(&begun, |_| String::new())
            }
            ["commit"] => {
                let id = self.transactions.remove(who).expect("a transaction that was begun");
                shown(&self.session.ask(&format!("POST /v1/tx/{id}/commit"), b""), |_| String::new())
            }
            ["rollback"] => {
                let id = self.transactions.remove(who).expect("a transaction that was begun");
                shown(&self.session.ask(&format!("DELETE /v1/tx/{id}"), b""), |_| String::new())
            }
            ["get", key] => {
                let got = self.session.ask(&format!("GET /v1/keys/{key}\n{header}"), b"");
                shown(&got, |got| format!(" {}", got.text()))
            }
            ["incr", key, by] => {
                let sum = self.session.ask(&format!("POST /v1/incr/{key}?by={by}\n{header}"), b"");
                shown(&sum, |sum| format!(" {}", json_of(sum)["value"]))
            }
            ["put", key, value] => {
                let put = self.session.ask(&format!("PUT /v1/keys/{key}\n{header}"), value.as_bytes());
                shown(&put, |_| String::new())
            }
            ["delete", key] => {
                shown(&self.session.ask(&format!("DELETE /v1/keys/{key}\n{header}"), b""), |_| String::new())
            }
            ["mset", pairs @ ..] => {
                let pairs = pairs.iter().map(|pair| pair.split_once('=').expect("KEY=VALUE"));
                let items: Vec<Value> = pairs.map(|(key, value)| json!({ "key": key, "value": value })).collect();
                let body = of_json(json!({ "items": items }));
                shown(&self.session.ask(&format!("POST /v1/mset\n{header}"), &body), |_| String::new())
            }
            ["mdelete", keys @ ..] => {
                let body = of_json(json!({ "keys": keys }));
                shown(&self.session.ask(&format!("POST /v1/mdelete\n{header}"), &body), |_| String::new())
            }
            ["mget", keys @ ..] => {
                let body = of_json(json!({ "keys": keys }));
                let pair = |item: &Value| {
                    format!(" {}={}", item["key"].as_str().unwrap(), item["value"].as_str().unwrap_or("-"))
                };
                shown(&self.session.ask(&format!("POST /v1/mget\n{header}"), &body), |got| {
                    json_of(got)["items"].as_array().unwrap().iter().map(pair).collect()
                })
            }
            ["list", prefix] => {
                let page = self.session.ask(&format!("GET /v1/keys?prefix={prefix}\n{header}"), b"");
                shown(&page, |page| {
                    let page = json_of(page);
                    let mut keys: Vec<_> =
                        page["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap()).collect();
                    keys.sort_unstable();
                    keys.iter().map(|key| format!(" {key}")).collect()
                })
            }
            other => panic!("no such line: {other:?}"),
        }
    }
}

/// The status, and what `more` makes of a success.
fn shown(response: &RawResponse, more: impl FnOnce(&RawResponse) -> String) -> String {
    if response.status < 300 {
        return format!("{}{}", response.status, more(response));
    }
    let problem: Value = serde_json::from_slice(&response.body).unwrap();
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let keys: String = errors.iter().filter_map(|error| error["key"].as_str()).map(|key| format!(" {key}")).collect();
    format!("{} {}{keys}", response.status, problem["code"].as_str().unwrap())
}

/// The script with the answers that are really given.
fn run(script: &str, server: &Server) -> String {
    let mut clients = Clients { session: Session::open(server.address()), transactions: BTreeMap::new() };
    let mut played = String::new();
    for line in script.lines() {
        match line.split_once("->") {
            Some((asked, _)) if !line.starts_with('#') => {
                let words: Vec<&str> = asked.split_whitespace().collect();
                let (who, words) = words.split_first().expect("who asks");
                played.push_str(&format!("{asked}-> {}\n", clients.answer(who, words)));
            }
            _ => played.push_str(&format!("{line}\n")),
        }
    }
    played
}

#[test]
fn every_script_is_answered_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rest/scripts");
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 8, "scripts are missing: {names:?}");
    for fsync in ["always", "off"] {
        for path in &names {
            let script = fs::read_to_string(path).unwrap();
            let server = Server::start_with(&["--fsync", fsync]);
            let played = run(&script, &server);
            assert!(played == script, "{} with --fsync {fsync} was answered otherwise:\n{played}", path.display());
        }
    }
}
