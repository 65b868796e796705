//! Keys on a screen and in lines: lists, and which keys exist.

use std::io::{self, Write};

use bytesize::ByteSize;
use kvd_client::{Key, ListAnswer, ListItem};
use kvd_wire::rest::batch::{Format, Message};

use super::{heading, key_with, table};
use crate::escape::escape;
use crate::exit::Failure;

/// What a list has: a key, or what several keys begin with.
#[derive(Debug)]
pub(crate) enum Listed {
    Key(ListItem),
    Folder(Key<'static>),
}

impl Listed {
    fn name(&self) -> &[u8] {
        match self {
            Listed::Key(item) => item.key.as_bytes(),
            Listed::Folder(prefix) => prefix.as_bytes(),
        }
    }

    /// Size and revision of a key.
    fn figures(&self) -> Option<(u64, u64)> {
        match self {
            Listed::Key(item) => {
                Some(item.meta.as_ref().map_or((0, 0), |meta| (meta.size, meta.etag.map_or(0, |etag| etag.revision.0))))
            }
            Listed::Folder(_) => None,
        }
    }
}

/// What a page has, folders between keys, in the order of their bytes where the page is sorted.
pub(crate) fn in_order(page: ListAnswer) -> Vec<Listed> {
    let keys = page.items.into_iter().map(Listed::Key);
    match page.prefixes {
        None => keys.collect(),
        Some(prefixes) => {
            let mut all: Vec<Listed> = keys.chain(prefixes.into_iter().map(Listed::Folder)).collect();
            all.sort_by(|left, right| left.name().cmp(right.name()));
            all
        }
    }
}

/// One key a line.
pub(crate) fn key_line(out: &mut impl Write, listed: &Listed) -> io::Result<()> {
    writeln!(out, "{}", escape(listed.name()))
}

/// Key, size and revision, between tabs; a folder alone.
pub(crate) fn key_tsv(out: &mut impl Write, listed: &Listed) -> io::Result<()> {
    match listed.figures() {
        Some((size, revision)) => writeln!(out, "{}\t{size}\t{revision}", escape(listed.name())),
        None => key_line(out, listed),
    }
}

/// What the REST interface says of it; of a folder its prefix.
pub(crate) fn key_json(listed: &Listed) -> io::Result<Vec<u8>> {
    match listed {
        Listed::Key(item) => Ok(item.encode(Format::Json, false)),
        Listed::Folder(prefix) => key_with(prefix, "folder", true.into()),
    }
}

/// A key as it is, with a newline behind it.
pub(crate) fn key_raw(out: &mut impl Write, listed: &Listed) -> io::Result<()> {
    out.write_all(listed.name())?;
    out.write_all(b"\n")
}

/// A key as it is, with a NUL byte behind it.
pub(crate) fn key_null(out: &mut impl Write, listed: &Listed) -> Result<(), Failure> {
    if listed.name().contains(&0) {
        let key = escape(listed.name());
        return Err(Failure::usage(format!("-0 can't print the key `{key}`, which has a NUL byte in it"))
            .hint("list without -0, or with -o ndjson"));
    }
    out.write_all(listed.name())?;
    out.write_all(b"\0")?;
    Ok(())
}

/// What stands over the columns.
pub(crate) fn key_heading(out: &mut impl Write, colour: bool) -> io::Result<()> {
    let style = heading(colour);
    writeln!(out, "{style}{:>10}  {:>10}  key{style:#}", "size", "revision")
}

/// A key in columns. It comes last, since it may be of any length, and nothing is known of those that follow.
pub(crate) fn key_columns(out: &mut impl Write, listed: &Listed) -> io::Result<()> {
    let (size, revision) = match listed.figures() {
        Some((size, revision)) => (ByteSize(size).display().iec().to_string(), revision.to_string()),
        None => ("folder".to_owned(), String::new()),
    };
    writeln!(out, "{size:>10}  {revision:>10}  {}", escape(listed.name()))
}

/// A figure of one key, in columns.
pub(crate) fn figure_table(out: &mut impl Write, title: &str, key: &Key<'_>, figure: &str) -> io::Result<()> {
    let mut table = table(["key", title]);
    table.add_row([escape(key.as_bytes()), figure.to_owned()]);
    writeln!(out, "{}", table.trim_fmt())
}

/// Whether each key is there, a line each.
pub(crate) fn existence_tsv<'a>(
    out: &mut impl Write,
    mut keys: impl Iterator<Item = (&'a Key<'static>, bool)>,
) -> io::Result<()> {
    keys.try_for_each(|(key, found)| writeln!(out, "{}\t{found}", escape(key.as_bytes())))
}

/// Whether each key is there, in columns.
pub(crate) fn existence_table<'a>(
    out: &mut impl Write,
    keys: impl Iterator<Item = (&'a Key<'static>, bool)>,
) -> io::Result<()> {
    let mut table = table(["key", "exists"]);
    for (key, found) in keys {
        table.add_row([escape(key.as_bytes()), if found { "yes".into() } else { "no".into() }]);
    }
    writeln!(out, "{}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use kvd_client::{Epoch, Etag, ItemMeta, Revision};

    use super::*;
    use crate::render::shown;

    fn key(key: &'static str) -> Key<'static> {
        Key::new(key.as_bytes()).unwrap()
    }

    fn item(name: &'static str, size: u64, revision: u64) -> ListItem {
        let etag = Etag { epoch: Epoch(1), revision: Revision(revision) };
        let meta = Some(ItemMeta { etag: Some(etag), size, ttl_ms: None, content_type: None });
        ListItem { key: key(name), meta, value: None }
    }

    #[test]
    fn a_list_has_a_line_a_key_in_every_form() {
        let items = [item("a\nb", 0, 1), item("dir/file", 1536, 123_456)].map(Listed::Key);
        let each = |write: fn(&mut Vec<u8>, &Listed) -> io::Result<()>| {
            shown(|out| items.iter().try_for_each(|item| write(out, item)))
        };
        assert_eq!(each(key_line), "a\\nb\ndir/file\n");
        assert_eq!(each(key_raw), "a\nb\ndir/file\n");
        assert_eq!(each(key_tsv), "a\\nb\t0\t1\ndir/file\t1536\t123456\n");
        assert_eq!(each(key_columns), "       0 B           1  a\\nb\n   1.5 KiB      123456  dir/file\n");
        assert_eq!(shown(|out| key_heading(out, false)), "      size    revision  key\n");
    }

    #[test]
    fn folders_stand_between_keys() {
        let page = ListAnswer {
            revision: Revision(9),
            items: vec![item("a", 1, 1), item("c", 3, 3)],
            prefixes: Some(vec![key("b/"), key("d/")]),
            cursor: None,
        };
        let listed = in_order(page);
        let each = |write: fn(&mut Vec<u8>, &Listed) -> io::Result<()>| {
            shown(|out| listed.iter().try_for_each(|listed| write(out, listed)))
        };
        assert_eq!(each(key_line), "a\nb/\nc\nd/\n");
        assert_eq!(each(key_tsv), "a\t1\t1\nb/\nc\t3\t3\nd/\n");
        assert_eq!(
            each(key_columns),
            "       1 B           1  a\n    folder              b/\n       3 B           3  c\n    folder              d/\n"
        );
        assert_eq!(String::from_utf8(key_json(&listed[1]).unwrap()).unwrap(), r#"{"key":"b/","folder":true}"#);
    }

    #[test]
    fn a_key_with_a_nul_byte_is_not_printed_with_nul_bytes_between() {
        let mut out = Vec::new();
        key_null(&mut out, &Listed::Key(item("a\nb", 0, 1))).unwrap();
        let failure = key_null(&mut out, &Listed::Folder(key("a\0b"))).unwrap_err();
        assert_eq!(out, b"a\nb\0");
        assert!(failure.error.unwrap().to_string().contains(r"`a\x00b`"));
    }

    #[test]
    fn existence_is_told_for_each_key() {
        let keys = [(Key::new(&b"a"[..]).unwrap(), true), (Key::new(&b"b\t"[..]).unwrap(), false)];
        let known = || keys.iter().map(|(key, found)| (key, *found));
        assert_eq!(shown(|out| existence_tsv(out, known())), "a\ttrue\nb\\t\tfalse\n");
        assert_eq!(shown(|out| existence_table(out, known())), " key  exists\n─────────────\n a    yes\n b\\t  no\n");
    }
}
