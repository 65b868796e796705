//! Keys on a screen and in lines: lists, and which keys exist.

use std::io::{self, Write};

use bytesize::ByteSize;
use kvd_client::{Key, ListItem};

use super::{heading, table};
use crate::escape::escape;
use crate::exit::Failure;

/// One key a line.
pub(crate) fn key_line(out: &mut impl Write, item: &ListItem) -> io::Result<()> {
    writeln!(out, "{}", escape(item.key.as_bytes()))
}

/// Key, size and revision, between tabs.
pub(crate) fn key_tsv(out: &mut impl Write, item: &ListItem) -> io::Result<()> {
    let (size, revision) = size_and_revision(item);
    writeln!(out, "{}\t{size}\t{revision}", escape(item.key.as_bytes()))
}

/// A key as it is, with a newline behind it.
pub(crate) fn key_raw(out: &mut impl Write, item: &ListItem) -> io::Result<()> {
    out.write_all(item.key.as_bytes())?;
    out.write_all(b"\n")
}

/// A key as it is, with a NUL byte behind it.
pub(crate) fn key_null(out: &mut impl Write, item: &ListItem) -> Result<(), Failure> {
    if item.key.as_bytes().contains(&0) {
        let key = escape(item.key.as_bytes());
        return Err(Failure::usage(format!("-0 can't print the key `{key}`, which has a NUL byte in it"))
            .hint("list without -0, or with -o ndjson"));
    }
    out.write_all(item.key.as_bytes())?;
    out.write_all(b"\0")?;
    Ok(())
}

/// What stands over the columns.
pub(crate) fn key_heading(out: &mut impl Write, colour: bool) -> io::Result<()> {
    let style = heading(colour);
    writeln!(out, "{style}{:>10}  {:>10}  key{style:#}", "size", "revision")
}

/// A key in columns. It comes last, since it may be of any length, and nothing is known of those that follow.
pub(crate) fn key_columns(out: &mut impl Write, item: &ListItem) -> io::Result<()> {
    let (size, revision) = size_and_revision(item);
    let size = ByteSize(size).display().iec().to_string();
    writeln!(out, "{size:>10}  {revision:>10}  {}", escape(item.key.as_bytes()))
}

fn size_and_revision(item: &ListItem) -> (u64, u64) {
    item.meta.as_ref().map_or((0, 0), |meta| (meta.size, meta.etag.revision.0))
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

    fn item(key: &'static str, size: u64, revision: u64) -> ListItem {
        let etag = Etag { epoch: Epoch(1), revision: Revision(revision) };
        let meta = Some(ItemMeta { etag, size, ttl_ms: None, content_type: None });
        ListItem { key: Key::new(key.as_bytes()).unwrap(), meta, value: None }
    }

    fn shown(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_list_has_a_line_a_key_in_every_form() {
        let items = [item("a\nb", 0, 1), item("dir/file", 1536, 123_456)];
        let each = |write: fn(&mut Vec<u8>, &ListItem) -> io::Result<()>| {
            shown(|out| items.iter().try_for_each(|item| write(out, item)))
        };
        assert_eq!(each(key_line), "a\\nb\ndir/file\n");
        assert_eq!(each(key_raw), "a\nb\ndir/file\n");
        assert_eq!(each(key_tsv), "a\\nb\t0\t1\ndir/file\t1536\t123456\n");
        assert_eq!(each(key_columns), "       0 B           1  a\\nb\n   1.5 KiB      123456  dir/file\n");
        assert_eq!(shown(|out| key_heading(out, false)), "      size    revision  key\n");
    }

    #[test]
    fn a_key_with_a_nul_byte_is_not_printed_with_nul_bytes_between() {
        let mut out = Vec::new();
        key_null(&mut out, &item("a\nb", 0, 1)).unwrap();
        let failure = key_null(&mut out, &item("a\0b", 0, 1)).unwrap_err();
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
