//! Values on a screen and in lines. Knows when bytes are text, and never lets a value steer the terminal.

use std::io::{self, Write};

use bytesize::ByteSize;
use comfy_table::{Cell, ContentArrangement, Row};
use pretty_hex::{HexConfig, config_hex};

use super::table;
use crate::escape::escape;

/// Most bytes of a value in a hexdump.
const DUMP_BYTES_MAX: usize = 256;
/// Most characters of a value in a table, before the terminal's width cuts it further.
const PREVIEW_CHARS_MAX: usize = 1_000;

/// Whether a terminal shows these bytes as they are: UTF-8 without control characters, but line ends and tabs.
pub(crate) fn is_text(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let harmless = match letter {
            '\n' | '\t' => true,
            '\r' => letters.peek() == Some(&'\n'),
            _ => !letter.is_control(),
        };
        if !harmless {
            return false;
        }
    }
    true
}

/// The first bytes of a value that is no text.
pub(crate) fn hexdump(out: &mut impl Write, value: &[u8]) -> io::Result<()> {
    let config = HexConfig { title: false, max_bytes: DUMP_BYTES_MAX, ..HexConfig::default() };
    writeln!(out, "{}", config_hex(&value, config))
}

/// A key and its value on a line, as `set --from - --format tsv` reads them.
pub(crate) fn pair_tsv(out: &mut impl Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    writeln!(out, "{}\t{}", escape(key), escape(value))
}

/// Keys and values in columns, each pair on one line, long values cut.
pub(crate) fn pair_table<'a>(
    out: &mut impl Write,
    width: Option<u16>,
    pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> io::Result<()> {
    let mut table = table(["key", "value"]);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for (key, value) in pairs {
        let mut row = Row::from([Cell::new(escape(key)), Cell::new(preview(value))]);
        row.max_height(1);
        table.add_row(row);
    }
    writeln!(out, "{}", table.trim_fmt())
}

pub(super) fn preview(value: &[u8]) -> String {
    if !is_text(value) {
        return format!("({} of binary data)", ByteSize(value.len() as u64).display().iec());
    }
    let text = escape(value);
    match text.char_indices().nth(PREVIEW_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::shown;

    #[test]
    fn text_is_what_does_not_steer_a_terminal() {
        for text in ["", "hello", "grüße 🦀\n\ttabs", "dos\r\nlines\r\n"] {
            assert!(is_text(text.as_bytes()), "{text:?}");
        }
        for binary in [&b"\0"[..], b"\x1b[2J", b"over\rwritten", b"\r", b"\xff", b"a\x7f", "\u{9b}2J".as_bytes()] {
            assert!(!is_text(binary), "{binary:?}");
        }
    }

    #[test]
    fn a_hexdump_is_short() {
        let dump = shown(|out| hexdump(out, b"\0\x01\xffABC\n"));
        assert_eq!(dump, "0000:   00 01 ff 41  42 43 0a                                ...ABC.\n");
        let long = shown(|out| hexdump(out, &[7; 1000]));
        assert_eq!(long.lines().count(), 17, "{long}");
    }

    #[test]
    fn a_line_of_tsv_escapes_what_would_break_it() {
        let line = shown(|out| pair_tsv(out, b"a\tb,c=d", b"x\ny\\z\xff"));
        assert_eq!(line, "a\\tb,c=d\tx\\ny\\\\z\\xff\n");
    }

    #[test]
    fn a_table_has_one_line_a_pair() {
        let long = "x".repeat(2_000);
        let pairs = [("key1", "val"), ("k\ney", "two\nlines"), ("bin", "\0\0"), ("long", long.as_str())];
        let pairs = pairs.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
        let table = shown(|out| pair_table(out, Some(40), pairs));
        assert_eq!(
            table,
            concat!(
                " key    value\n",
                "────────────────────────────────────────\n",
                " key1   val\n",
                " k\\ney  two\\nlines\n",
                " bin    (2 B of binary data)\n",
                " long   xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\n",
            )
        );
    }
}
