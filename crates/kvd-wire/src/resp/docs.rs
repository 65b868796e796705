//! What COMMAND, COMMAND INFO, COMMAND DOCS and HELP say: all of it from the table. Clients find a command's keys by it, and
//! redis-cli shows its hints from it.

use super::commands::{Flags, Group, KeyArguments, RECORDS, Record, lookup};
use super::encode::Output;
use super::syntax::{self, Argument, Kind};

/// The commands that are not part of another.
fn commands() -> impl Iterator<Item = &'static Record> {
    RECORDS.iter().filter(|record| record.container().is_none())
}

/// A command by the name that people give, `client|id` included.
fn named(name: &[u8]) -> Option<&'static Record> {
    match name.iter().position(|byte| *byte == b'|') {
        Some(bar) => lookup(&name[..bar], Some(&name[bar + 1..])),
        None => lookup(name, None),
    }
}

/// COMMAND COUNT.
pub fn count(output: &mut Output) {
    output.count(commands().count());
}

/// COMMAND, COMMAND INFO: of all, or of these; a name that is none has nothing.
pub fn info(output: &mut Output, names: Option<&[&[u8]]>) {
    let Some(names) = names else {
        output.array(commands().count());
        return commands().for_each(|record| one_info(output, record));
    };
    output.array(names.len());
    for name in names {
        match named(name) {
            Some(record) => one_info(output, record),
            None => output.null(),
        }
    }
}

fn one_info(output: &mut Output, record: &'static Record) {
    let KeyArguments { first, last, step } = record.keys;
    output.array(10);
    output.bulk(record.name.as_bytes());
    output.integer(record.arity.into());
    simple_set(output, &record.flags.names().collect::<Vec<_>>());
    for number in [first, last, step] {
        output.integer(number.into());
    }
    simple_set(output, &categories(record));
    // Tips for clients of clusters: none.
    output.array(0);
    key_specification(output, record);
    output.array(record.subcommands().count());
    record.subcommands().for_each(|sub| one_info(output, sub));
}

fn simple_set(output: &mut Output, words: &[&str]) {
    output.set(words.len());
    words.iter().for_each(|word| output.simple(word));
}

/// The categories that access lists are made of.
fn categories(record: &Record) -> Vec<&'static str> {
    let has = |flag| record.flags.has(flag);
    let group = match record.group {
        Group::String => "@string",
        Group::Generic => "@keyspace",
        Group::Connection => "@connection",
        Group::Server => "@admin",
        Group::Transactions => "@transaction",
    };
    let is_admin = record.group == Group::Server;
    [
        (has(Flags::WRITE), "@write"),
        (has(Flags::READ), "@read"),
        (!is_admin || has(Flags::ADMIN), group),
        (has(Flags::ADMIN), "@dangerous"),
        (has(Flags::FAST), "@fast"),
        (!has(Flags::FAST), "@slow"),
    ]
    .into_iter()
    .filter(|(is_in, _)| *is_in)
    .map(|(_, name)| name)
    .collect()
}

/// Where the keys are, in the words that came with Redis 7.
fn key_specification(output: &mut Output, record: &Record) {
    let KeyArguments { first, last, step } = record.keys;
    if first == 0 {
        return output.array(0);
    }
    output.array(1);
    output.map(3);
    output.bulk(b"flags");
    let flags: &[&str] = if record.flags.has(Flags::WRITE) { &["RW", "UPDATE"] } else { &["RO", "ACCESS"] };
    simple_set(output, flags);
    output.bulk(b"begin_search");
    pair(output, "type", "index");
    numbers(output, &[("index", first)]);
    output.bulk(b"find_keys");
    pair(output, "type", "range");
    // Counted from the first one.
    numbers(output, &[("lastkey", if last < 0 { last } else { last - first }), ("keystep", step), ("limit", 0)]);
}

/// A map of two: this pair, and `spec`, of which the value follows.
fn pair(output: &mut Output, name: &str, value: &str) {
    output.map(2);
    output.bulk(name.as_bytes());
    output.bulk(value.as_bytes());
    output.bulk(b"spec");
}

fn numbers(output: &mut Output, numbers: &[(&str, i8)]) {
    output.map(numbers.len());
    for (name, number) in numbers {
        output.bulk(name.as_bytes());
        output.integer((*number).into());
    }
}

/// COMMAND DOCS: of all, or of these; a name that is none is left out.
pub fn docs(output: &mut Output, names: Option<&[&[u8]]>) {
    let records: Vec<_> = match names {
        None => commands().collect(),
        Some(names) => names.iter().filter_map(|name| named(name)).collect(),
    };
    output.map(records.len());
    records.into_iter().for_each(|record| one_doc(output, record));
}

fn one_doc(output: &mut Output, record: &'static Record) {
    let arguments = syntax::parse(record.syntax);
    let subcommands = record.subcommands().count();
    output.bulk(record.name.as_bytes());
    output.map(4 + usize::from(!arguments.is_empty()) + usize::from(subcommands > 0));
    for (name, text) in [
        ("summary", record.summary),
        ("since", record.since),
        ("group", record.group.name()),
        ("complexity", record.complexity),
    ] {
        output.bulk(name.as_bytes());
        output.bulk(text.as_bytes());
    }
    if !arguments.is_empty() {
        output.bulk(b"arguments");
        write_arguments(output, &arguments);
    }
    if subcommands > 0 {
        output.bulk(b"subcommands");
        output.map(subcommands);
        record.subcommands().for_each(|sub| one_doc(output, sub));
    }
}

fn write_arguments(output: &mut Output, arguments: &[Argument]) {
    output.array(arguments.len());
    for argument in arguments {
        let flags: Vec<_> = [(argument.is_optional, "optional"), (argument.is_multiple, "multiple")]
            .into_iter()
            .filter_map(|(is_set, name)| is_set.then_some(name))
            .collect();
        let is_key = argument.kind == Kind::Key;
        let fields = [is_key, argument.token.is_some(), !flags.is_empty(), !argument.arguments.is_empty()];
        output.map(2 + fields.into_iter().filter(|is_there| *is_there).count());
        output.bulk(b"name");
        output.bulk(argument.name.as_bytes());
        output.bulk(b"type");
        output.bulk(argument.kind.name().as_bytes());
        if is_key {
            output.bulk(b"key_spec_index");
            output.integer(0);
        }
        if let Some(token) = argument.token {
            output.bulk(b"token");
            output.bulk(token.as_bytes());
        }
        if !flags.is_empty() {
            output.bulk(b"flags");
            simple_set(output, &flags);
        }
        if !argument.arguments.is_empty() {
            output.bulk(b"arguments");
            write_arguments(output, &argument.arguments);
        }
    }
}

/// HELP of a command that has subcommands.
pub fn help(output: &mut Output, container: &str) {
    let Some(record) = named(container.as_bytes()) else { unreachable!("a subcommand has its container in the table") };
    let mut lines =
        vec![format!("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container.to_ascii_uppercase())];
    for sub in record.subcommands() {
        let (_, name) = sub.name.split_once('|').expect("a subcommand has its container's name before it");
        lines.push(format!("{} {}", name.to_ascii_uppercase(), sub.syntax).trim_end().to_owned());
        lines.push(format!("    {}", sub.summary));
    }
    output.array(lines.len());
    lines.iter().for_each(|line| output.simple(line));
}
