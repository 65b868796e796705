//! What each command means to the store, and what is told when its arguments are wrong: a table.

use bytes::Bytes;
use kvd_types::{Command, Condition, Delete, ExpiryCondition, Key, Modify, Rule, Set, Transfer, Ttl};
use kvd_wire::resp::commands::{self, Action, Plan};
use kvd_wire::resp::reply::Shape;

use crate::support::{data, refused, requests};

fn key(text: &str) -> Key<'static> {
    Key::new(text.as_bytes().to_vec()).unwrap()
}

fn set(name: &str, value: &str) -> Set<'static> {
    Set::new(key(name), Bytes::copy_from_slice(value.as_bytes()))
}

fn get(name: &str) -> Command<'static> {
    Command::Get { key: key(name) }
}

fn peek(name: &str) -> Command<'static> {
    Command::Peek { key: key(name) }
}

fn modify(rule: Rule) -> Command<'static> {
    Command::Modify(Modify { key: key("k"), rule, condition: Condition::Always })
}

fn expire(ttl: Ttl, only: ExpiryCondition) -> Command<'static> {
    modify(Rule::Expire { ttl, only })
}

fn deletes(names: &[&str]) -> Command<'static> {
    let deletes = names.iter().map(|name| Delete::new(key(name))).collect();
    Command::MultiDelete { deletes, require_all: false }
}

fn transfer(from: &str, to: &str, replace: bool, keep: bool) -> Command<'static> {
    Command::Transfer(Transfer { from: key(from), to: key(to), replace, keep })
}

fn gets(names: &[&str]) -> Command<'static> {
    Command::MultiGet { keys: names.iter().map(|name| key(name)).collect(), require_all: false }
}

#[test]
fn values_are_read_and_written() {
    let with = |ttl, condition| Command::Set(Set { ttl, condition, ..set("k", "v") });
    let bytes = Bytes::from_static(b"v");
    for (line, command, shape) in [
        ("GET k", get("k"), Shape::Value),
        ("get _", get(""), Shape::Value),
        ("STRLEN k", get("k"), Shape::Length),
        ("GETRANGE k -3 -1", get("k"), Shape::Range { start: -3, end: -1 }),
        ("SUBSTR k 0 1", get("k"), Shape::Range { start: 0, end: 1 }),
        ("MGET a b a", gets(&["a", "b", "a"]), Shape::Values),
        ("SET k v", with(Ttl::Default, Condition::Always), Shape::Set),
        ("SET k v NX", with(Ttl::Default, Condition::Absent), Shape::Set),
        ("SET k v xx KEEPTTL", with(Ttl::Keep, Condition::Exists), Shape::Set),
        ("SET k v IFEQ w", with(Ttl::Default, Condition::Value(Bytes::from_static(b"w"))), Shape::Set),
        ("SET k v EX 10 NX", with(Ttl::Ms(10_000), Condition::Absent), Shape::Set),
        ("SET k v PX 10", with(Ttl::Ms(10), Condition::Always), Shape::Set),
        ("SET k v EXAT 1", with(Ttl::At(1_000), Condition::Always), Shape::Set),
        ("SET k v PXAT 1", with(Ttl::At(1), Condition::Always), Shape::Set),
        ("SETNX k v", with(Ttl::Default, Condition::Absent), Shape::SetIfAbsent),
        ("SETEX k 10 v", with(Ttl::Ms(10_000), Condition::Always), Shape::Set),
        ("PSETEX k 10 v", with(Ttl::Ms(10), Condition::Always), Shape::Set),
        ("APPEND k v", modify(Rule::Append { bytes: bytes.clone() }), Shape::Length),
        ("SETRANGE k 5 v", modify(Rule::SetRange { offset: 5, bytes }), Shape::Length),
        ("INCR k", modify(Rule::Increment { by: 1 }), Shape::Integer),
        ("DECR k", modify(Rule::Increment { by: -1 }), Shape::Integer),
        ("INCRBY k -7", modify(Rule::Increment { by: -7 }), Shape::Integer),
        ("DECRBY k 7", modify(Rule::Increment { by: -7 }), Shape::Integer),
        ("INCRBYFLOAT k 1.5e3", modify(Rule::IncrementFloat { by: 1500.0 }), Shape::Float),
    ] {
        assert_eq!(data(line), Ok((vec![command], shape)), "{line}");
    }
}

#[test]
fn what_asks_for_the_previous_value_is_two_commands_at_once() {
    let previous = |then| Ok((vec![get("k"), then], Shape::Previous));
    assert_eq!(data("GETSET k v"), previous(Command::Set(set("k", "v"))));
    assert_eq!(data("GETDEL k"), previous(Command::Delete(Delete::new(key("k")))));
    let nx = Set { condition: Condition::Absent, ttl: Ttl::Ms(5), ..set("k", "v") };
    assert_eq!(data("SET k v GET PX 5 NX"), previous(Command::Set(nx)));
    assert_eq!(data("GETEX k"), Ok((vec![get("k")], Shape::Value)));
    assert_eq!(data("GETEX k PERSIST"), previous(expire(Ttl::None, ExpiryCondition::Always)));
    assert_eq!(data("GETEX k EX 2"), previous(expire(Ttl::Ms(2_000), ExpiryCondition::Always)));
}

#[test]
fn many_sets_are_one_command_and_the_last_value_of_a_key_counts() {
    let sets = |condition: Condition| {
        let sets = [("b", "2"), ("a", "3")];
        let sets = sets.map(|(name, value)| Set { condition: condition.clone(), ..set(name, value) });
        Command::MultiSet { sets: sets.into() }
    };
    assert_eq!(data("MSET a 1 b 2 a 3"), Ok((vec![sets(Condition::Always)], Shape::Ok)));
    assert_eq!(data("MSETNX a 1 b 2 a 3"), Ok((vec![sets(Condition::Absent)], Shape::SetIfAbsent)));
}

#[test]
fn keys_are_counted_moved_and_removed() {
    for (line, commands, shape) in [
        ("DEL a", vec![Command::Delete(Delete::new(key("a")))], Shape::Count),
        ("DEL a b a", vec![deletes(&["a", "b", "a"])], Shape::Count),
        ("UNLINK a b", vec![deletes(&["a", "b"])], Shape::Count),
        ("EXISTS a", vec![get("a")], Shape::Count),
        ("EXISTS a a", vec![gets(&["a", "a"])], Shape::Count),
        ("TOUCH a", vec![peek("a")], Shape::Count),
        ("TOUCH a b", vec![peek("a"), peek("b")], Shape::Found { keys: 2 }),
        ("TYPE a", vec![peek("a")], Shape::Type),
        ("OBJECT ENCODING a", vec![peek("a")], Shape::Encoding),
        ("object idletime a", vec![peek("a")], Shape::IdleTime),
        ("OBJECT REFCOUNT a", vec![peek("a")], Shape::ReferenceCount),
        ("OBJECT FREQ a", vec![peek("a")], Shape::Frequency),
        ("RENAME a b", vec![transfer("a", "b", true, false)], Shape::Renamed),
        ("RENAME a a", vec![peek("a")], Shape::Renamed),
        ("RENAMENX a b", vec![transfer("a", "b", false, false)], Shape::RenamedIfAbsent),
        ("COPY a b", vec![transfer("a", "b", false, true)], Shape::Copied),
        ("COPY a b DB 0 REPLACE", vec![transfer("a", "b", true, true)], Shape::Copied),
        ("FLUSHALL", vec![Command::Clear], Shape::Ok),
        ("FLUSHDB ASYNC", vec![Command::Clear], Shape::Ok),
    ] {
        assert_eq!(data(line), Ok((commands, shape)), "{line}");
    }
}

#[test]
fn expiry_is_set_asked_for_and_taken_away() {
    use ExpiryCondition::{Absent, Always, Earlier, Later, Present, PresentAndEarlier};
    for (line, ttl, only) in [
        ("EXPIRE k 10", Ttl::Ms(10_000), Always),
        ("EXPIRE k -1", Ttl::At(0), Always),
        ("EXPIRE k 0", Ttl::At(0), Always),
        ("PEXPIRE k 10 NX", Ttl::Ms(10), Absent),
        ("EXPIREAT k 10 XX", Ttl::At(10_000), Present),
        ("EXPIREAT k -10", Ttl::At(0), Always),
        ("PEXPIREAT k 10 GT", Ttl::At(10), Later),
        ("EXPIRE k 10 XX GT", Ttl::Ms(10_000), Later),
        ("EXPIRE k 10 lt", Ttl::Ms(10_000), Earlier),
        ("EXPIRE k 10 LT XX", Ttl::Ms(10_000), PresentAndEarlier),
        ("PERSIST k", Ttl::None, Present),
    ] {
        assert_eq!(data(line), Ok((vec![expire(ttl, only)], Shape::Changed)), "{line}");
    }
    for (line, in_seconds, is_absolute) in
        [("TTL k", true, false), ("PTTL k", false, false), ("EXPIRETIME k", true, true), ("PEXPIRETIME k", false, true)]
    {
        assert_eq!(data(line), Ok((vec![peek("k")], Shape::Expiry { in_seconds, is_absolute })), "{line}");
    }
}

#[test]
fn wrong_arguments_are_told_in_the_words_of_redis() {
    for (line, refusal) in [
        ("NOSUCH a b", "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
        ("HSET a b c", "ERR unknown command 'HSET', with args beginning with: 'a' 'b' 'c' "),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("GET a b", "ERR wrong number of arguments for 'get' command"),
        ("MSET a", "ERR wrong number of arguments for 'mset' command"),
        ("MSET a 1 b", "ERR wrong number of arguments for 'mset' command"),
        ("CONFIG", "ERR wrong number of arguments for 'config' command"),
        ("CONFIG GET", "ERR wrong number of arguments for 'config|get' command"),
        ("CONFIG NOSUCH", "ERR unknown subcommand 'NOSUCH'. Try CONFIG HELP."),
        ("SET a 1 NX XX", "ERR syntax error"),
        ("SET a 1 NX IFEQ 2", "ERR syntax error"),
        ("SET a 1 EX", "ERR syntax error"),
        ("SET a 1 EX 1 PX 1", "ERR syntax error"),
        ("SET a 1 KEEPTTL EX 1", "ERR syntax error"),
        ("SET a 1 WHAT", "ERR syntax error"),
        ("SET a 1 EX x", "ERR value is not an integer or out of range"),
        ("SET a 1 EX 0", "ERR invalid expire time in 'set' command"),
        ("SET a 1 EX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("SET a 1 PX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("SETEX a 0 1", "ERR invalid expire time in 'setex' command"),
        ("PSETEX a -5 1", "ERR invalid expire time in 'psetex' command"),
        ("GETEX a EX 0", "ERR invalid expire time in 'getex' command"),
        ("GETEX a WHAT", "ERR syntax error"),
        ("GETRANGE a x 1", "ERR value is not an integer or out of range"),
        ("SETRANGE a -1 x", "ERR offset is out of range"),
        ("INCRBY a 1.5", "ERR value is not an integer or out of range"),
        ("INCRBY a 9223372036854775808", "ERR value is not an integer or out of range"),
        ("DECRBY a -9223372036854775808", "ERR decrement would overflow"),
        ("INCRBYFLOAT a x", "ERR value is not a valid float"),
        ("INCRBYFLOAT a nan", "ERR value is not a valid float"),
        ("INCRBYFLOAT a inf", "ERR increment would produce NaN or Infinity"),
        ("EXPIRE a x", "ERR value is not an integer or out of range"),
        ("EXPIRE a 1 NX XX", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE a 1 GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE a 1 WHAT", "ERR Unsupported option WHAT"),
        ("EXPIRE a 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("PEXPIRE a 9223372036854775807", "ERR invalid expire time in 'pexpire' command"),
        ("COPY a a", "ERR source and destination objects are the same"),
        ("COPY a b DB 1", "ERR DB index is out of range"),
        ("COPY a b WHAT", "ERR syntax error"),
        ("SELECT 1", "ERR DB index is out of range"),
        ("SELECT x", "ERR value is not an integer or out of range"),
        ("SCAN x", "ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "ERR syntax error"),
        ("SCAN 0 COUNT x", "ERR value is not an integer or out of range"),
        ("SCAN 0 MATCH", "ERR syntax error"),
        ("HELLO 4", "NOPROTO unsupported protocol version"),
        ("HELLO x", "ERR Protocol version is not an integer or out of range"),
        ("HELLO 3 WHAT", "ERR Syntax error in HELLO option 'WHAT'"),
        ("FLUSHALL NOW", "ERR syntax error"),
        ("PING a b", "ERR wrong number of arguments for 'ping' command"),
    ] {
        assert_eq!(refused(line), refusal, "{line}");
    }
    let long = "k".repeat(65_537);
    assert_eq!(refused(&format!("GET {long}")), "ERR a key has at most 65536 bytes, this one has 65537");
}

#[test]
fn walks_and_the_connection_are_for_the_server() {
    let planned = |line: &str, expected: Action<'_>| {
        let requests = requests(line);
        let request = requests.get(0);
        let plan = commands::find(&request).and_then(|record| record.plan(&request));
        assert_eq!(plan, Ok(Plan::Action(expected)), "{line}");
    };
    planned("PING", Action::Ping(None));
    planned("ping hi", Action::Ping(Some(b"hi")));
    planned("KEYS a*", Action::Keys(b"a*"));
    planned("CLIENT ID", Action::ClientId);
    planned("CLIENT LIST ID 1 2", Action::ClientList(Some(vec![1, 2])));
    planned("CLIENT LIST TYPE pubsub", Action::ClientList(Some(vec![])));
    planned("CONFIG SET a 1 b 2", Action::ConfigSet(vec![(b"a", b"1"), (b"b", b"2")]));
    planned("SELECT 0", Action::Select);
    planned("WATCH a b", Action::Watch(vec![key("a"), key("b")]));
    planned("INFO", Action::Info(vec![]));
    planned("SHUTDOWN NOSAVE", Action::Shutdown);
}
