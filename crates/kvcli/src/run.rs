//! Each command from its arguments to its output: what is asked of the server, and what is made of the answer.
//! Knows the client library and the forms of output, not how arguments are spelled or bytes are sent.

use std::io::Write as _;
use std::time::Instant;

use kvd_client::blocking::Client;
use kvd_client::{Delete, Key, ListAnswer, ListOptions, ListValues, Set};
use kvd_types::LIST_ITEMS_MAX;
use kvd_wire::rest::batch::{self, Format, Message};

use crate::address;
use crate::escape::escape;
use crate::exit::{Exit, Failure};
use crate::flags::{Cli, Command};
use crate::input;
use crate::render::{self, Output, View};

/// Carries out a command. Arguments and files are read and checked before a server is looked for.
pub(crate) fn run(cli: &Cli, output: &mut Output) -> Result<Exit, Failure> {
    let connect = || connect(cli.global.url.as_deref());
    let exit = match &cli.command {
        Command::Get(arguments) => {
            let keys = input::keys(arguments)?;
            get(&connect()?, output, &keys)?
        }
        Command::Set(arguments) => {
            let sets = input::pairs(arguments)?;
            if arguments.dry_run { dry_run(output, sets)? } else { set(&connect()?, output, sets)? }
        }
        Command::Delete(arguments) => {
            let keys = input::keys(&arguments.keys)?;
            delete(&connect()?, output, keys, arguments.require)?
        }
        Command::Exists(arguments) => {
            let keys = input::keys(arguments)?;
            exists(&connect()?, output, keys)?
        }
        Command::List(arguments) => {
            let prefix = input::prefix(arguments.prefix.as_deref())?;
            list(&connect()?, output, prefix, arguments.null)?
        }
        Command::Head(arguments) => {
            let key = input::one_key(&arguments.words.0)?;
            head(&connect()?, output, key)?
        }
        Command::Stats => {
            let stats = connect()?.stats()?;
            report(output, &stats.encode(Format::Json, false), || render::stats(&stats))?
        }
        Command::Info => {
            let info = connect()?.info()?;
            report(output, &info.encode(Format::Json, false), || render::info(&info))?
        }
        Command::Snapshot => {
            connect()?.snapshot()?;
            output.note("the server makes a snapshot")?;
            Exit::Ok
        }
        Command::Ping => ping(&connect()?, output)?,
    };
    output.out.flush()?;
    Ok(exit)
}

fn connect(url: Option<&str>) -> Result<Client, Failure> {
    let url = address::find(url, |name| std::env::var_os(name))?;
    Ok(Client::new(kvd_client::Client::new(&url)?)?)
}

fn get(client: &Client, output: &mut Output, keys: &[Key<'_>]) -> Result<Exit, Failure> {
    let answer = match (keys, output.view) {
        ([], _) => return nothing_to_do(output),
        ([key], View::Human | View::Piped | View::Raw) => return get_one(client, output, key),
        _ => client.get_many(keys)?,
    };
    let found = || answer.items.iter().filter_map(|item| Some((item, &item.found.as_ref()?.value)));
    match output.view {
        View::Json | View::Ndjson => output.json(&answer.encode(Format::Json, false))?,
        View::Raw => found().try_for_each(|(_, value)| output.out.write_all(value))?,
        View::Human | View::Table => {
            let pairs = found().map(|(item, value)| (item.key.as_bytes(), &value[..]));
            render::pair_table(&mut output.out, output.width, pairs)?;
        }
        View::Piped | View::Tsv => {
            found().try_for_each(|(item, value)| render::pair_tsv(&mut output.out, item.key.as_bytes(), value))?;
        }
    }
    let missing: Vec<&Key<'_>> =
        answer.items.iter().filter(|item| item.found.is_none()).map(|item| &item.key).collect();
    report_missing(output, &missing)
}

fn get_one(client: &Client, output: &mut Output, key: &Key<'_>) -> Result<Exit, Failure> {
    let Some(value) = client.get(key)? else {
        return report_missing(output, &[key]);
    };
    if output.view != View::Human {
        output.out.write_all(&value.bytes)?;
    } else if render::is_text(&value.bytes) {
        output.out.write_all(&value.bytes)?;
        if !value.bytes.ends_with(b"\n") {
            output.out.write_all(b"\n")?;
        }
    } else {
        render::hexdump(&mut output.out, &value.bytes)?;
        output.note(format_args!("{} bytes of binary data; -o raw writes them as they are", value.bytes.len()))?;
    }
    Ok(Exit::Ok)
}

/// JSON says itself which keys are missing.
fn report_missing(output: &mut Output, keys: &[&Key<'_>]) -> Result<Exit, Failure> {
    if !output.view.is_json() {
        for key in keys {
            let name = if key.is_empty() { "the empty key".to_owned() } else { escape(key.as_bytes()) };
            output.note(format_args!("missing: {name}"))?;
        }
    }
    Ok(if keys.is_empty() { Exit::Ok } else { Exit::Missing })
}

/// A file may name no key at all.
fn nothing_to_do(output: &mut Output) -> Result<Exit, Failure> {
    output.note("no keys, nothing to do")?;
    Ok(Exit::Ok)
}

fn set(client: &Client, output: &mut Output, mut sets: Vec<Set<'static>>) -> Result<Exit, Failure> {
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
        output.note(format_args!("ok: {count} {}, {created} new", if count == 1 { "key" } else { "keys" }))?;
    }
    Ok(Exit::Ok)
}

/// What a `set` would send: as the body of an mset in JSON, as `get` would print it otherwise.
fn dry_run(output: &mut Output, sets: Vec<Set<'static>>) -> Result<Exit, Failure> {
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
    output.note(format_args!("{count} {} would be set; nothing was sent", if count == 1 { "key" } else { "keys" }))?;
    Ok(Exit::Ok)
}

fn delete(client: &Client, output: &mut Output, keys: Vec<Key<'static>>, require: bool) -> Result<Exit, Failure> {
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

/// Asks for each key without its value: however large the values are, the answer is small.
fn exists(client: &Client, output: &mut Output, keys: Vec<Key<'static>>) -> Result<Exit, Failure> {
    let mut known = Vec::with_capacity(keys.len());
    for key in keys {
        let meta = client.head(&key)?;
        known.push((key, meta));
    }
    let found = known.iter().map(|(key, meta)| (key, meta.is_some()));
    match (output.view, known.len()) {
        (View::Json | View::Ndjson, _) => output.json(&render::items_without_values(&known)?)?,
        (View::Table, _) => render::existence_table(&mut output.out, found)?,
        (View::Tsv, _) | (_, 2..) => render::existence_tsv(&mut output.out, found)?,
        _ => {}
    }
    Ok(if known.iter().all(|(_, meta)| meta.is_some()) { Exit::Ok } else { Exit::Missing })
}

fn head(client: &Client, output: &mut Output, key: Key<'static>) -> Result<Exit, Failure> {
    let meta = client.head(&key)?;
    match &meta {
        None if !output.view.is_json() => return report_missing(output, &[&key]),
        Some(meta) if output.view.is_for_people() => render::rows(&mut output.out, &render::head(&key, meta))?,
        _ => {
            print_document(output, &render::item_without_value(&key, meta.as_ref())?)?;
        }
    }
    Ok(if meta.is_some() { Exit::Ok } else { Exit::Missing })
}

fn list(client: &Client, output: &mut Output, prefix: Vec<u8>, null: bool) -> Result<Exit, Failure> {
    let keys_alone = null || matches!(output.view, View::Piped | View::Raw);
    let values = if keys_alone { ListValues::None } else { ListValues::Meta };
    let pages = client.pages(ListOptions { prefix, limit: Some(LIST_ITEMS_MAX), values });
    if output.view == View::Json {
        return list_as_one_document(pages, output);
    }
    let out = &mut output.out;
    if output.view.is_for_people() && !null {
        render::key_heading(out, output.colour)?;
    }
    for page in pages {
        for item in page?.items {
            match output.view {
                _ if null => render::key_null(out, &item)?,
                View::Human | View::Table => render::key_columns(out, &item)?,
                View::Tsv => render::key_tsv(out, &item)?,
                View::Raw => render::key_raw(out, &item)?,
                View::Piped => render::key_line(out, &item)?,
                View::Json | View::Ndjson => render::document(out, &item.encode(Format::Json, false))?,
            }
        }
    }
    Ok(Exit::Ok)
}

/// The revision is that of the first page: what the list tells is no older.
fn list_as_one_document(
    mut pages: impl Iterator<Item = Result<ListAnswer, kvd_client::Error>>,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let Some(mut answer) = pages.next().transpose()? else {
        return Ok(Exit::Ok);
    };
    for page in pages {
        answer.items.extend(page?.items);
    }
    answer.cursor = None;
    output.json(&answer.encode(Format::Json, false))?;
    Ok(Exit::Ok)
}

fn ping(client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    let start = Instant::now();
    client.ping()?;
    let time_ms = start.elapsed().as_micros() as f64 / 1_000.0;
    if output.view.is_for_people() {
        writeln!(output.out, "ready, answered in {time_ms:.2} ms")?;
        return Ok(Exit::Ok);
    }
    let answer = serde_json::json!({ "ready": true, "time_ms": time_ms });
    print_document(output, answer.to_string().as_bytes())
}

/// For people in groups, for programs as a document.
fn report(output: &mut Output, document: &[u8], groups: impl FnOnce() -> Vec<render::Group>) -> Result<Exit, Failure> {
    if !output.view.is_for_people() {
        return print_document(output, document);
    }
    render::groups(&mut output.out, output.colour, &groups())?;
    Ok(Exit::Ok)
}

/// A document as it is, or in dotted lines.
fn print_document(output: &mut Output, document: &[u8]) -> Result<Exit, Failure> {
    match output.view {
        view if view.is_json() => output.json(document)?,
        View::Tsv => render::dotted(&mut output.out, '\t', document)?,
        _ => render::dotted(&mut output.out, ' ', document)?,
    }
    Ok(Exit::Ok)
}
