//! What the operations of a transaction came to, and the versions of a key: for people in columns, for programs between tabs.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use comfy_table::{Cell, ContentArrangement, Row};
use kvd_client::{HistoryAnswer, HistoryItem, Key, OpResult};

use super::{duration_ms, gone, preview, table};
use crate::escape::escape;

/// The word of an operation, its key, and what it came to as programs read it; none for a key that is missing.
fn outcome<'r>(result: &'r OpResult<'_>) -> (&'static str, &'r Key<'r>, Option<String>) {
    match result {
        OpResult::Got(item) => ("get", &item.key, item.found.as_ref().map(|found| escape(&found.value))),
        OpResult::Set(item) => ("set", &item.key, item.etag.map(|etag| etag.revision.to_string())),
        OpResult::Deleted { key, deleted } => ("delete", key, deleted.then(|| "deleted".to_owned())),
        OpResult::Incremented(answer) => ("incr", &answer.key, Some(answer.value.to_string())),
        OpResult::Appended { key, size } => ("append", key, Some(size.to_string())),
        OpResult::Expired { key, found, ttl_ms } => {
            let left = ttl_ms.map_or("none".to_owned(), |ms| ms.to_string());
            ("expire", key, found.then_some(left))
        }
    }
}

/// Operation, key and what it came to, between tabs; of a missing key only the first two.
pub(crate) fn results_tsv(out: &mut impl Write, results: &[OpResult<'_>]) -> io::Result<()> {
    for result in results {
        let (op, key, told) = outcome(result);
        write!(out, "{op}\t{}", escape(key.as_bytes()))?;
        match told {
            Some(told) => writeln!(out, "\t{told}")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

/// The values that were read, back to back.
pub(crate) fn results_raw(out: &mut impl Write, results: &[OpResult<'_>]) -> io::Result<()> {
    for result in results {
        if let OpResult::Got(item) = result
            && let Some(found) = &item.found
        {
            out.write_all(&found.value)?;
        }
    }
    Ok(())
}

/// The same for people.
pub(crate) fn results_table(out: &mut impl Write, width: Option<u16>, results: &[OpResult<'_>]) -> io::Result<()> {
    let mut table = table(["operation", "key", "result"]);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for result in results {
        let (op, key, told) = outcome(result);
        let told = match (result, told) {
            (_, None) => "(missing)".to_owned(),
            (OpResult::Got(item), Some(_)) => {
                item.found.as_ref().map(|found| preview(&found.value)).unwrap_or_default()
            }
            (OpResult::Set(_), Some(revision)) => format!("revision {revision}"),
            (OpResult::Appended { .. }, Some(size)) => format!("{size} bytes"),
            (OpResult::Expired { ttl_ms: Some(ms), .. }, Some(_)) => format!("goes in {}", duration_ms(*ms)),
            (OpResult::Expired { .. }, Some(_)) => "stays".to_owned(),
            (_, Some(told)) => told,
        };
        let mut row = Row::from([Cell::new(op), Cell::new(escape(key.as_bytes())), Cell::new(told)]);
        row.max_height(1);
        table.add_row(row);
    }
    writeln!(out, "{}", table.trim_fmt())
}

/// The word for what a version is.
fn version(item: &HistoryItem) -> &'static str {
    item.gone.map_or("set", gone)
}

/// Revision, operation, size and time of each version, between tabs, newest first.
pub(crate) fn history_tsv(out: &mut impl Write, history: &HistoryAnswer<'_>) -> io::Result<()> {
    history.items.iter().try_for_each(|item| {
        let time = item.time_ms.map_or("none".to_owned(), |ms| ms.to_string());
        writeln!(out, "{}\t{}\t{}\t{time}", item.revision, version(item), item.size)
    })
}

/// The same for people.
pub(crate) fn history_table(out: &mut impl Write, history: &HistoryAnswer<'_>) -> io::Result<()> {
    let mut table = table(["revision", "what", "size", "when"]);
    for item in &history.items {
        let time = item.time_ms.map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
        let time = time.map_or("unknown".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string());
        let size = if item.gone.is_none() { item.size.to_string() } else { String::new() };
        table.add_row([item.revision.to_string(), version(item).to_owned(), size, time]);
    }
    writeln!(out, "{}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use kvd_client::{Epoch, Etag, Found, GetItem, IncrementAnswer, ItemMeta, Revision, SetItem};
    use kvd_types::Reason;

    use super::*;
    use crate::render::shown;

    fn key(key: &'static str) -> Key<'static> {
        Key::new(key.as_bytes()).unwrap()
    }

    #[test]
    fn every_operation_has_its_line() {
        let etag = Etag { epoch: Epoch(1), revision: Revision(59) };
        let meta = ItemMeta { etag: Some(etag), size: 3, ttl_ms: None, content_type: None };
        let results = [
            OpResult::Set(SetItem { key: key("a"), etag: Some(etag) }),
            OpResult::Got(GetItem { key: key("b"), found: Some(Found { meta, value: "x\ty".into() }) }),
            OpResult::Got(GetItem { key: key("c"), found: None }),
            OpResult::Deleted { key: key("d"), deleted: true },
            OpResult::Deleted { key: key("e"), deleted: false },
            OpResult::Incremented(IncrementAnswer { key: key("n"), value: -5, etag: Some(etag) }),
            OpResult::Appended { key: key("l"), size: 7 },
            OpResult::Expired { key: key("t"), found: true, ttl_ms: Some(90_000) },
            OpResult::Expired { key: key("u"), found: true, ttl_ms: None },
        ];
        assert_eq!(
            shown(|out| results_tsv(out, &results)),
            "set\ta\t59\nget\tb\tx\\ty\nget\tc\ndelete\td\tdeleted\ndelete\te\nincr\tn\t-5\nappend\tl\t7\n\
             expire\tt\t90000\nexpire\tu\tnone\n"
        );
        assert_eq!(shown(|out| results_raw(out, &results)), "x\ty");
        let table = shown(|out| results_table(out, Some(60), &results));
        for line in [
            " set        a    revision 59",
            " get        b    x\\ty",
            " get        c    (missing)",
            " delete     d    deleted",
            " append     l    7 bytes",
            " expire     t    goes in 1m 30s",
            " expire     u    stays",
        ] {
            assert!(table.contains(line), "{line:?} is not in\n{table}");
        }
    }

    #[test]
    fn versions_come_newest_first() {
        let item = |revision, gone, size, time_ms| HistoryItem { revision: Revision(revision), gone, size, time_ms };
        let items = vec![item(58, Some(Reason::Asked), 0, Some(1_763_841_600_123)), item(57, None, 5, None)];
        let history = HistoryAnswer { key: key("a"), items };
        assert_eq!(shown(|out| history_tsv(out, &history)), "58\tdelete\t0\t1763841600123\n57\tset\t5\tnone\n");
        let table = shown(|out| history_table(out, &history));
        assert!(table.contains(" 58        delete        2025-11-22T20:00:00Z"), "{table}");
        assert!(table.contains(" 57        set     5     unknown"), "{table}");
    }
}
