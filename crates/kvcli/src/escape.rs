//! Backslash escapes: bytes as one line of visible text, and back.
//! Knows nothing of commas, `=` signs or tabs as separators; what may stand behind a backslash depends on the [`Form`].

use std::fmt::Write as _;

/// The two texts that carry escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// An argument on the command line.
    Argument,
    /// A field of a line with tabs.
    Tsv,
}

/// A backslash that begins none of the escapes of its form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadEscape {
    #[error("it ends in a single backslash; a backslash is written \\\\")]
    AtTheEnd,
    #[error("\\x needs two hexadecimal digits")]
    NotHex,
    #[error("\\{letter} is no escape; known are {}, and a backslash is written \\\\", form.known())]
    Unknown { letter: String, form: Form },
}

impl Form {
    /// What a backslash and `letter` stand for.
    fn meaning(self, letter: u8) -> Option<u8> {
        match (self, letter) {
            (_, b'\\') => Some(b'\\'),
            (_, b'n') => Some(b'\n'),
            (_, b't') => Some(b'\t'),
            (Form::Argument, b',' | b'=') => Some(letter),
            (Form::Tsv, b'r') => Some(b'\r'),
            _ => None,
        }
    }

    fn known(self) -> &'static str {
        match self {
            Form::Argument => r"\, \= \\ \n \t \xHH",
            Form::Tsv => r"\t \n \r \\ \xHH",
        }
    }
}

/// The bytes that `text` stands for.
pub(crate) fn unescape(text: &[u8], form: Form) -> Result<Vec<u8>, BadEscape> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(backslash) = rest.iter().position(|byte| *byte == b'\\') {
        bytes.extend_from_slice(&rest[..backslash]);
        let (letter, after) = rest[backslash + 1..].split_first().ok_or(BadEscape::AtTheEnd)?;
        rest = after;
        if *letter == b'x' {
            let (digits, after) = rest.split_first_chunk::<2>().ok_or(BadEscape::NotHex)?;
            bytes.push(hex(*digits).ok_or(BadEscape::NotHex)?);
            rest = after;
        } else {
            bytes.push(form.meaning(*letter).ok_or_else(|| unknown(*letter, after, form))?);
        }
    }
    bytes.extend_from_slice(rest);
    Ok(bytes)
}

fn hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Names the whole character behind the backslash, which may be longer than a byte.
fn unknown(letter: u8, after: &[u8], form: Form) -> BadEscape {
    let text = [&[letter], after].concat();
    let letter = String::from_utf8_lossy(&text).chars().next().map(String::from).unwrap_or_default();
    BadEscape::Unknown { letter, form }
}

/// `bytes` as one line of text without a tab, as [`unescape`] reads it back in [`Form::Tsv`].
///
/// Text stays as it is; control characters and bytes that are no UTF-8 are escaped, so that a terminal obeys none of them.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => text.push_str(r"\\"),
                '\n' => text.push_str(r"\n"),
                '\r' => text.push_str(r"\r"),
                '\t' => text.push_str(r"\t"),
                _ if letter.is_control() => push_hex(&mut text, letter.encode_utf8(&mut [0; 4]).as_bytes()),
                _ => text.push(letter),
            }
        }
        push_hex(&mut text, chunk.invalid());
    }
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(text, "\\x{byte:02x}").expect("a String takes any text");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_stays_readable_and_everything_else_is_escaped() {
        for (bytes, text) in [
            (&b"plain text, a=b"[..], "plain text, a=b"),
            (b"", ""),
            (b"a\tb\nc\rd\\e", r"a\tb\nc\rd\\e"),
            ("grüße 🦀".as_bytes(), "grüße 🦀"),
            (b"\0\x1b[2J\x7f", r"\x00\x1b[2J\x7f"),
            ("\u{9b}2J".as_bytes(), r"\xc2\x9b2J"),
            (b"\xff\xfe ok \xe2\x82", r"\xff\xfe ok \xe2\x82"),
        ] {
            assert_eq!(escape(bytes), text);
            assert_eq!(unescape(text.as_bytes(), Form::Tsv).unwrap(), bytes);
        }
    }

    #[test]
    fn each_form_has_its_own_escapes() {
        let both = |text: &str| [Form::Argument, Form::Tsv].map(|form| unescape(text.as_bytes(), form));
        assert_eq!(both(r"\\\n\t\x00\xfF"), [Ok(b"\\\n\t\x00\xff".to_vec()), Ok(b"\\\n\t\x00\xff".to_vec())]);
        assert!(matches!(both(r"\,"), [Ok(_), Err(BadEscape::Unknown { .. })]));
        assert!(matches!(both(r"\="), [Ok(_), Err(BadEscape::Unknown { .. })]));
        assert!(matches!(both(r"\r"), [Err(BadEscape::Unknown { .. }), Ok(_)]));
    }

    #[test]
    fn a_broken_escape_is_named() {
        for (text, message) in [
            ("a\\", r"it ends in a single backslash; a backslash is written \\"),
            (r"\x1", r"\x needs two hexadecimal digits"),
            (r"\x1g", r"\x needs two hexadecimal digits"),
            (r"\x+1", r"\x needs two hexadecimal digits"),
            (r"\q", r"\q is no escape; known are \, \= \\ \n \t \xHH, and a backslash is written \\"),
            (r"\ü", r"\ü is no escape; known are \, \= \\ \n \t \xHH, and a backslash is written \\"),
        ] {
            assert_eq!(unescape(text.as_bytes(), Form::Argument).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_from_one_line_without_a_tab(bytes: Vec<u8>) {
            let text = escape(&bytes);
            prop_assert!(!text.contains(char::is_control));
            prop_assert_eq!(unescape(text.as_bytes(), Form::Tsv).unwrap(), bytes);
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text: Vec<u8>) {
            let _ = unescape(&text, Form::Argument);
            let _ = unescape(&text, Form::Tsv);
        }
    }
}
