//! Transactions case by case: what a branch sees and answers, what undoes it, what is refused, and what an answer must wait for.

use kvd_engine::{Config, Engine, Visibility, Worker};
use kvd_types::*;

fn key(name: &str) -> Key<'static> {
    Key::new(name.as_bytes().to_vec()).unwrap()
}

fn set(name: &str, value: &'static str) -> Command<'static> {
    Command::Set(Set::new(key(name), value))
}

fn get(name: &str) -> Command<'static> {
    Command::Get { key: key(name) }
}

fn delete(name: &str) -> Command<'static> {
    Command::Delete(Delete::new(key(name)))
}

fn increment(name: &str, by: i64) -> Command<'static> {
    Command::Modify(Modify { key: key(name), rule: Rule::Increment { by }, condition: Condition::Always })
}

fn all(commands: Vec<Command<'static>>) -> Transaction<'static> {
    Transaction { checks: vec![], commands, otherwise: None, on_failure: OnFailure::Abort }
}

fn check(name: &str, condition: Condition) -> Check<'static> {
    Check { key: key(name), condition }
}

struct Client {
    engine: Engine,
    worker: Worker,
}

impl Client {
    fn new(config: Config) -> Client {
        let engine = Engine::open(Config { journal: true, ..config });
        Client { worker: engine.worker(), engine }
    }

    fn execute(&mut self, command: Command<'static>) -> Result<Reply, Error> {
        self.engine.execute(&mut self.worker, &command)
    }

    fn run(&mut self, transaction: Transaction<'static>) -> Result<Reply, Error> {
        self.execute(Command::Transaction(transaction))
    }

    /// The revision, and the answers.
    fn replies(&mut self, commands: Vec<Command<'static>>) -> (u64, Vec<Result<Reply, Error>>) {
        match self.run(all(commands)).unwrap() {
            Reply::Transaction { revision, failed_checks, replies } if failed_checks.is_empty() => {
                (revision.0, replies)
            }
            other => panic!("{other:?}"),
        }
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = |found: Option<kvd_engine::Found<'_>>| Some(String::from_utf8(found?.value().to_vec()).unwrap());
        self.engine.get_with(&mut self.worker, name.as_bytes(), value)
    }
}

fn got(value: Option<&str>, written: u64, revision: u64) -> Result<Reply, Error> {
    let entry = value.map(|value| Entry {
        value: value.to_owned().into(),
        content_type: None,
        expires_at_ms: None,
        revision: Revision(written),
    });
    Ok(Reply::Got { entry, revision: Revision(revision) })
}

#[test]
fn each_command_sees_those_before_it_and_the_commit_has_one_revision() {
    let mut client = Client::new(Config::default());
    client.execute(set("old", "1")).unwrap();
    let (revision, replies) =
        client.replies(vec![get("old"), increment("old", 1), get("old"), set("new", "x"), get("new"), get("none")]);
    assert_eq!(revision, 2);
    assert_eq!(replies[0], got(Some("1"), 1, 2));
    assert_eq!(replies[2], got(Some("2"), 2, 2));
    assert_eq!(replies[3], Ok(Reply::Set { revision: Revision(2), created: true }));
    assert_eq!(replies[4], got(Some("x"), 2, 2));
    assert_eq!(replies[5], got(None, 0, 2));
    assert_eq!(client.engine.seal().1.len(), 2, "one batch each");
}

#[test]
fn what_changes_nothing_is_no_commit() {
    let mut client = Client::new(Config::default());
    client.execute(set("old", "1")).unwrap();
    let (revision, replies) = client.replies(vec![]);
    assert_eq!((revision, replies.len(), client.worker.position()), (1, 0, Revision(1)));
    // Set and gone again; an increment by nothing; nothing to delete.
    let commands = vec![set("new", "x"), get("new"), delete("new"), increment("old", 0), delete("none"), get("old")];
    let (revision, replies) = client.replies(commands);
    assert_eq!(revision, 1);
    assert_eq!(replies[1], got(Some("x"), 1, 1));
    assert_eq!(replies[5], got(Some("1"), 1, 1));
    assert_eq!(client.engine.stats().revision, Revision(1));
    assert_eq!(client.engine.seal().1.len(), 1);
}

#[test]
fn a_key_that_is_deleted_and_set_again_is_one_put() {
    let mut client = Client::new(Config::default());
    client.execute(set("k", "1")).unwrap();
    client.engine.seal();
    client.replies(vec![delete("k"), set("k", "2"), set("k", "3")]);
    let batches = client.engine.seal().1;
    let effects: Vec<_> = batches.iter().flat_map(|batch| batch.effects()).collect();
    assert!(matches!(&effects[..], [Effect::Put { value, .. }] if value == "3"), "{effects:?}");
    let counted = client.engine.stats().operations;
    assert_eq!((counted.sets, counted.deletes, counted.delete_misses), (3, 1, 0));
}

#[test]
fn checks_choose_the_branch() {
    let mut client = Client::new(Config::default());
    client.execute(set("k", "1")).unwrap();
    let checks = || vec![check("k", Condition::Revision(Revision(1))), check("none", Condition::Absent)];
    let transaction = |otherwise| Transaction { checks: checks(), otherwise, ..all(vec![set("k", "2")]) };
    let first = client.run(transaction(Some(vec![get("k")]))).unwrap();
    assert!(matches!(&first, Reply::Transaction { failed_checks, .. } if failed_checks.is_empty()), "{first:?}");
    // The first check fails now.
    let second = client.run(transaction(Some(vec![get("k"), set("else", "x")]))).unwrap();
    let Reply::Transaction { revision, failed_checks, replies } = second else { panic!("{second:?}") };
    let have = Some(Etag { epoch: Epoch(0), revision: Revision(2) });
    assert_eq!(failed_checks, [ItemFailure { index: 0, have }]);
    assert_eq!((revision, &replies[0]), (Revision(3), &got(Some("2"), 2, 3)));
    assert_eq!(client.value("else").as_deref(), Some("x"));
    let third = client.run(transaction(None));
    assert_eq!(third, Err(Error::PreconditionFailed { failures: vec![ItemFailure { index: 0, have }], total: 2 }));
    assert_eq!(client.worker.position(), Revision(3));
    assert_eq!(client.engine.stats().operations.rejected, 1);
}

#[test]
fn a_command_that_fails_undoes_all_or_goes_by_itself() {
    let mut client = Client::new(Config::default());
    client.execute(set("text", "abc")).unwrap();
    let commands = || vec![set("k", "1"), increment("text", 1), set("l", "1")];
    let failed = client.run(all(commands()));
    assert_eq!(failed, Err(Error::OperationFailed { index: 1, error: Box::new(Error::NotAnInteger) }));
    assert_eq!((client.value("k"), client.value("l")), (None, None));
    // It looked at the newest state, and its answer tells of that.
    assert_eq!((client.engine.stats().revision, client.worker.position()), (Revision(1), Revision(1)));
    assert_eq!(client.engine.stats().operations.rejected, 3);

    let transaction = Transaction { on_failure: OnFailure::Continue, ..all(commands()) };
    let Ok(Reply::Transaction { revision, replies, .. }) = client.run(transaction) else { panic!("refused") };
    assert_eq!(revision, Revision(2));
    assert_eq!(replies[1], Err(Error::NotAnInteger));
    assert_eq!((client.value("k").as_deref(), client.value("l").as_deref()), (Some("1"), Some("1")));
    let counted = client.engine.stats().operations;
    assert_eq!((counted.sets, counted.rejected), (1 + 2, 3 + 1));
}

#[test]
fn what_names_no_keys_is_refused() {
    let mut client = Client::new(Config::default());
    let list = List { prefix: Key::empty(), limit: 1, cursor: None, values: ListValues::Meta };
    let others = [Command::Clear, Command::List(list), Command::Transaction(all(vec![]))];
    for other in others {
        for transaction in [
            all(vec![set("k", "1"), other.clone()]),
            Transaction { otherwise: Some(vec![other.clone()]), ..all(vec![set("k", "1")]) },
            Transaction { on_failure: OnFailure::Continue, ..all(vec![other.clone()]) },
        ] {
            let refused = client.run(transaction);
            assert!(matches!(refused, Err(Error::NotInTransaction { .. })), "{refused:?}");
        }
        let mut update = client.engine.update().unwrap();
        let refused = update.execute(&client.engine, &mut client.worker, &other);
        assert!(matches!(refused, Err(Error::NotInTransaction { .. })), "{refused:?}");
    }
    assert_eq!(client.value("k"), None);
}

#[test]
fn a_transfer_takes_value_type_and_expiry_along() {
    let mut client = Client::new(Config::default());
    let content_type = Some(ContentType::new(b"text/plain").unwrap());
    let from = Set { content_type, ttl: Ttl::At(50), ..Set::new(key("from"), "v") };
    client.execute(Command::Set(from)).unwrap();
    let mut transfer = |from: &str, to: &str, replace, keep| {
        let transfer = Transfer { from: key(from), to: key(to), replace, keep };
        match client.execute(Command::Transfer(transfer)) {
            Ok(Reply::Transferred { revision, outcome }) => (revision.0, outcome),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(transfer("none", "to", true, false), (1, Transferred::NoSource));
    assert_eq!(transfer("from", "from", true, false), (1, Transferred::Done));
    assert_eq!(transfer("from", "from", false, false), (1, Transferred::TargetExists));
    assert_eq!(transfer("from", "copy", false, true), (2, Transferred::Done));
    assert_eq!(transfer("from", "copy", false, false), (2, Transferred::TargetExists));
    assert_eq!(transfer("from", "copy", true, false), (3, Transferred::Done));
    assert_eq!(client.value("from"), None);
    let found = client.engine.get_with(&mut client.worker, b"copy", |found| found.unwrap().entry());
    assert_eq!(found.expires_at_ms, Some(50));
    assert_eq!(found.content_type.unwrap().as_str(), "text/plain");
    let counted = client.engine.stats().operations;
    assert_eq!((counted.sets, counted.deletes, counted.gets()), (3, 1, 2));
}

/// Under `always` a write waits for itself, and what looked at the newest commits for them.
#[test]
fn an_answer_waits_for_what_it_tells_of() {
    let mut client = Client::new(Config { visibility: Visibility::WhenDurable, ..Config::default() });
    client.execute(set("k", "1")).unwrap();
    let (revision, _) = client.replies(vec![get("k")]);
    assert_eq!((revision, client.worker.position()), (1, Revision(1)), "a transaction reads the newest");
    client.execute(Command::Peek { key: key("k") }).unwrap();
    assert_eq!(client.worker.position(), Revision(0), "a peek reads what is visible");
    client.execute(increment("k", 1)).unwrap();
    assert_eq!(client.worker.position(), Revision(2));
    client.execute(increment("k", i64::MAX)).unwrap_err();
    assert_eq!(client.worker.position(), Revision(2));
    client.execute(increment("k", 0)).unwrap();
    assert_eq!(client.worker.position(), Revision(2));
    client.run(Transaction { checks: vec![check("k", Condition::Absent)], ..all(vec![]) }).unwrap_err();
    assert_eq!(client.worker.position(), Revision(2));
}

#[test]
fn the_default_time_to_live_is_for_values_that_say_nothing() {
    let mut client = Client::new(Config { default_ttl_ms: Some(10), ..Config::default() });
    client.engine.tick(100);
    let with = |name: &str, ttl| Command::Set(Set { ttl, ..Set::new(key(name), "1") });
    let expected = [
        (with("k", Ttl::Default), Some(110)),
        (with("k", Ttl::None), None),
        (increment("k", 1), None),
        (with("k", Ttl::Ms(3)), Some(103)),
        (with("k", Ttl::Keep), Some(103)),
        (with("new", Ttl::Keep), Some(110)),
        (increment("n", 1), Some(110)),
    ];
    for (command, expires_at_ms) in expected {
        let name = command.single_key().unwrap().as_bytes().to_vec();
        client.execute(command.clone()).unwrap();
        let found = client.engine.get_with(&mut client.worker, &name, |found| found.unwrap().expires_at_ms());
        assert_eq!(found, expires_at_ms, "{command:?}");
    }
}

#[test]
fn a_view_carries_out_what_reads() {
    let mut client = Client::new(Config::default());
    client.execute(set("k", "1")).unwrap();
    let view = client.engine.view().unwrap();
    client.execute(set("k", "2")).unwrap();
    let Client { engine, worker } = &mut client;
    assert_eq!(view.execute(engine, worker, &get("k")), got(Some("1"), 1, 1));
    assert_eq!(view.execute(engine, worker, &Command::Peek { key: key("none") }), got(None, 0, 1));
    let many = Command::MultiGet { keys: vec![key("k"), key("none")], require_all: false };
    let Ok(Reply::MultiGot { revision, entries }) = view.execute(engine, worker, &many) else { panic!("refused") };
    assert_eq!(
        (revision, entries[0].as_ref().unwrap().revision, entries[1].is_none()),
        (Revision(1), Revision(1), true)
    );
    let list = List { prefix: Key::empty(), limit: 10, cursor: None, values: ListValues::Full };
    let page = view.execute(engine, worker, &Command::List(list));
    assert!(matches!(&page, Ok(Reply::Page(page)) if page.revision == Revision(1)), "{page:?}");
    let refused = view.execute(engine, worker, &set("k", "3"));
    assert!(matches!(refused, Err(Error::NotInTransaction { .. })), "{refused:?}");
    let counted = engine.stats().operations;
    assert_eq!((counted.hits, counted.misses, counted.rejected), (2, 1, 1));
}
