//! Commands that write what they are given, or delete: set, delete.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use kvd_client::{Command, Delete, Key, MultiGetAnswer, OpResult, Set, Txn};
use kvd_wire::rest::batch::{self, Format, Message};

use super::{Connection, count_of_keys, nothing_to_do, read};
use crate::escape::escape;
use crate::exit::{Exit, Failure};
use crate::render::{self, Output, View};

pub(super) fn set(client: &Connection, output: &mut Output, mut sets: Vec<Set<'static>>) -> Result<Exit, Failure> {
    let as_json = output.view.is_json();
    let (count, created) = match sets.len() {
        0 => return nothing_to_do(output),
        1 if !as_json => (1, u64::from(client.set_with(sets.swap_remove(0))?.created)),
        count => {
            let answer = client.set_many(sets)?;
            if as_json {
                output.json(&answer.encode(Format::Json, false))?;
            }
            (count, answer.created)
        }
    };
    if output.view.is_for_people() {
        output.note(format_args!("ok: {}, {created} new", count_of_keys(count)))?;
    }
    Ok(Exit::Ok)
}

/// Sets keys and prints what they held before. Nothing comes between: it is one transaction, or all inside one.
pub(super) fn set_and_get(client: &Connection, output: &mut Output, sets: Vec<Set<'static>>) -> Result<Exit, Failure> {
    let count = sets.len();
    if client.tx.is_some() {
        let keys: Vec<Key<'_>> = sets.iter().map(|set| set.key.borrow()).collect();
        let before = client.get_many(&keys)?;
        client.set_many(sets)?;
        return print_before(output, before, count);
    }
    let txn = sets.into_iter().fold(Txn::new(), |txn, set| txn.get(&set.key).op(Command::Set(set)));
    let answer = client.transaction(&txn)?;
    let is_got = |result| if let OpResult::Got(item) = result { Some(item) } else { None };
    let items = answer.results.into_iter().filter_map(is_got).collect();
    print_before(output, MultiGetAnswer { revision: answer.revision, items }, count)
}

fn print_before(output: &mut Output, mut before: MultiGetAnswer<'_>, count: usize) -> Result<Exit, Failure> {
    match (&mut before.items[..], output.view) {
        ([item], View::Human | View::Piped | View::Raw) => match item.found.take() {
            Some(found) => read::print_value(output, &found.value)?,
            None => Exit::Ok,
        },
        // Those that were missing are what this is about: a set of a new key is no failure.
        _ => read::print_many(output, &before)?,
    };
    if output.view.is_for_people() {
        output.note(format_args!("ok: {}", count_of_keys(count)))?;
    }
    Ok(Exit::Ok)
}

/// What a `set` would send: as the body of an mset in JSON, as `get` would print it otherwise.
pub(super) fn dry_run(output: &mut Output, sets: Vec<Set<'static>>) -> Result<Exit, Failure> {
    let count = sets.len();
    let pairs = || sets.iter().map(|set| (set.key.as_bytes(), &set.value[..]));
    match output.view {
        View::Human | View::Table => render::pair_table(&mut output.out, output.width, pairs())?,
        View::Piped | View::Tsv => {
            pairs().try_for_each(|(key, value)| render::pair_tsv(&mut output.out, key, value))?;
        }
        View::Raw => pairs().try_for_each(|(_, value)| output.out.write_all(value))?,
        View::Json | View::Ndjson => {
            let batch = batch::encode_request(&kvd_types::Command::MultiSet { sets }, Format::Json);
            let batch = batch.map_err(|error| Failure::new(Exit::Usage, error))?;
            output.json(&batch.body)?;
        }
    }
    output.note(format_args!("{} would be set; nothing was sent", count_of_keys(count)))?;
    Ok(Exit::Ok)
}

pub(super) fn delete(
    client: &Connection,
    output: &mut Output,
    keys: Vec<Key<'static>>,
    require: bool,
) -> Result<Exit, Failure> {
    if keys.is_empty() {
        return nothing_to_do(output);
    }
    let answer = client.delete_many(keys.into_iter().map(Delete::new).collect(), require)?;
    match output.view {
        View::Json | View::Ndjson => output.json(&answer.encode(Format::Json, false))?,
        _ => output.note(format_args!("deleted {}, missing {}", answer.deleted, answer.missing))?,
    }
    Ok(Exit::Ok)
}

/// Deletes all keys that begin with a prefix, or all there are, if that is meant.
pub(super) fn delete_all(
    connect: impl FnOnce() -> Result<Connection, Failure>,
    output: &mut Output,
    prefix: &[u8],
    yes: bool,
) -> Result<Exit, Failure> {
    let what = match prefix {
        [] => "every key".to_owned(),
        _ => format!("every key that begins with `{}`", escape(prefix)),
    };
    if !yes && !confirmed(output, &what)? {
        output.note("nothing was deleted")?;
        return Ok(Exit::Ok);
    }
    let connection = connect()?;
    let client = connection.outside("deleting by prefix")?;
    let answer = if prefix.is_empty() { client.delete_all()? } else { client.delete_prefix(prefix)? };
    match output.view {
        View::Json | View::Ndjson => output.json(&answer.encode(Format::Json, false))?,
        _ => output.note(format_args!("deleted {}", answer.deleted))?,
    }
    Ok(Exit::Ok)
}

/// Asks whoever sits at the terminal; where nobody does, only a flag can say it.
fn confirmed(output: &mut Output, what: &str) -> Result<bool, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage(format!("this deletes {what}")).hint("add --yes if that is meant"));
    }
    output.ask(format_args!("delete {what}? [y/N] "))?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
