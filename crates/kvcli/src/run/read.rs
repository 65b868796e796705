//! Commands that read: get, exists, head, list.

use std::io::Write as _;

use kvd_client::{Found, GetItem, Key, ListAnswer, ListOptions, ListValues, MultiGetAnswer, Revision};
use kvd_wire::rest::batch::{Format, Message};

use super::{Connection, nothing_to_do, print_document, report_missing};
use crate::exit::{Exit, Failure};
use crate::render::{self, Output, View};

pub(super) fn get(
    client: &Connection,
    output: &mut Output,
    keys: &[Key<'_>],
    rev: Option<u64>,
) -> Result<Exit, Failure> {
    let rev = rev.map(Revision);
    if rev.is_some() {
        client.outside("a look at an old version")?;
    }
    match (keys, output.view) {
        ([], _) => nothing_to_do(output),
        ([key], View::Human | View::Piped | View::Raw) => {
            let value = match rev {
                Some(rev) => client.get_at(key, rev)?,
                None => client.get(key)?,
            };
            match value {
                Some(value) => print_value(output, &value.bytes),
                None => report_missing(output, &[key]),
            }
        }
        _ => {
            let answer = match rev {
                Some(rev) => get_many_at(client, keys, rev)?,
                None => client.get_many(keys)?,
            };
            print_many(output, &answer)
        }
    }
}

/// What was is asked for key by key: it changes no more.
fn get_many_at<'k>(
    client: &Connection,
    keys: &'k [Key<'k>],
    revision: Revision,
) -> Result<MultiGetAnswer<'k>, Failure> {
    let item = |key: &'k Key<'k>| {
        let value = client.get_at(key, revision)?;
        Ok(GetItem { key: key.borrow(), found: value.map(|value| Found { meta: value.meta, value: value.bytes }) })
    };
    Ok(MultiGetAnswer { revision, items: keys.iter().map(item).collect::<Result<_, Failure>>()? })
}

/// The values of keys, of which some may be missing.
pub(super) fn print_many(output: &mut Output, answer: &MultiGetAnswer<'_>) -> Result<Exit, Failure> {
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

/// One value, whatever its key.
pub(super) fn print_value(output: &mut Output, value: &[u8]) -> Result<Exit, Failure> {
    if output.view != View::Human {
        output.out.write_all(value)?;
    } else if render::is_text(value) {
        output.out.write_all(value)?;
        if !value.ends_with(b"\n") {
            output.out.write_all(b"\n")?;
        }
    } else {
        render::hexdump(&mut output.out, value)?;
        output.note(format_args!("{} bytes of binary data; -o raw writes them as they are", value.len()))?;
    }
    Ok(Exit::Ok)
}

/// Asks for each key without its value: however large the values are, the answer is small.
pub(super) fn exists(client: &Connection, output: &mut Output, keys: Vec<Key<'static>>) -> Result<Exit, Failure> {
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

pub(super) fn head(client: &Connection, output: &mut Output, key: Key<'static>) -> Result<Exit, Failure> {
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

pub(super) fn list(
    client: &Connection,
    output: &mut Output,
    options: ListOptions,
    null: bool,
) -> Result<Exit, Failure> {
    let keys_alone = null || matches!(output.view, View::Piped | View::Raw);
    let values = if keys_alone { ListValues::None } else { ListValues::Meta };
    let pages = client.pages(ListOptions { values, ..options });
    if output.view == View::Json {
        return list_as_one_document(pages, output);
    }
    let out = &mut output.out;
    if output.view.is_for_people() && !null {
        render::key_heading(out, output.colour)?;
    }
    for page in pages {
        for entry in render::in_order(page?) {
            match output.view {
                _ if null => render::key_null(out, &entry)?,
                View::Human | View::Table => render::key_columns(out, &entry)?,
                View::Tsv => render::key_tsv(out, &entry)?,
                View::Raw => render::key_raw(out, &entry)?,
                View::Piped => render::key_line(out, &entry)?,
                View::Json | View::Ndjson => render::document(out, &render::key_json(&entry)?)?,
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
        let page = page?;
        answer.items.extend(page.items);
        if let Some(prefixes) = page.prefixes {
            answer.prefixes.get_or_insert_default().extend(prefixes);
        }
    }
    answer.cursor = None;
    output.json(&answer.encode(Format::Json, false))?;
    Ok(Exit::Ok)
}
