//! A line that someone typed, split into words as a shell would: the quoting of Redis. And the lines that no client of ours
//! types, by which HTTP is known.

use std::iter::Peekable;
use std::slice::Iter;

/// The words of a line; none when a quote is not closed, or closed in the middle of a word.
///
/// In double quotes `\n \r \t \b \a` and `\xHH` stand for a byte, and any other byte behind a backslash for itself; in single
/// quotes only `\'` is special.
pub(super) fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.iter().peekable();
    loop {
        while rest.next_if(|byte| is_space(**byte)).is_some() {}
        if rest.peek().is_none() {
            return Some(words);
        }
        let mut word = Vec::new();
        while let Some(byte) = rest.next_if(|byte| !is_space(**byte)) {
            match byte {
                b'"' | b'\'' => {
                    quoted(*byte, &mut rest, &mut word)?;
                    if rest.peek().is_some_and(|byte| !is_space(**byte)) {
                        return None;
                    }
                }
                other => word.push(*other),
            }
        }
        words.push(word);
    }
}

/// Up to the closing quote.
fn quoted(quote: u8, rest: &mut Peekable<Iter<'_, u8>>, word: &mut Vec<u8>) -> Option<()> {
    loop {
        let byte = *rest.next()?;
        if byte == quote {
            return Some(());
        }
        if byte != b'\\' {
            word.push(byte);
        } else if quote == b'\'' {
            word.push(*rest.next_if(|byte| **byte == b'\'').unwrap_or(&b'\\'));
        } else {
            word.push(escaped(rest)?);
        }
    }
}

/// What stands behind a backslash in double quotes.
fn escaped(rest: &mut Peekable<Iter<'_, u8>>) -> Option<u8> {
    let byte = *rest.next()?;
    if byte == b'x' {
        let mut ahead = rest.clone();
        let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
        if let (Some(high), Some(low)) = (digit(ahead.next()), digit(ahead.next())) {
            *rest = ahead;
            return Some((high * 16 + low) as u8);
        }
    }
    Some(match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    })
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Whether this is how a request of HTTP begins: a web page must not get to say anything here.
pub(super) fn is_http(words: &[Vec<u8>]) -> bool {
    let Some(first) = words.first() else { return false };
    first.eq_ignore_ascii_case(b"post")
        || first.eq_ignore_ascii_case(b"host:")
        || words.len() >= 3 && words.last().is_some_and(|last| last.starts_with(b"HTTP/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Option<Vec<String>> {
        Some(words(line.as_bytes())?.iter().map(|word| word.escape_ascii().to_string()).collect())
    }

    #[test]
    fn words_are_split_at_spaces_outside_of_quotes() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("  \t ", &[]),
            ("set a 1", &["set", "a", "1"]),
            ("  set\ta  1 ", &["set", "a", "1"]),
            (r#"set "a b" 'c d'"#, &["set", "a b", "c d"]),
            (r#""\x00\xfF\n\"\q\xg""#, &[r#"\x00\xff\n\"qxg"#]),
            (r"'\x00' 'it\'s'", &[r"\\x00", r"it\'s"]),
            (r#""" ''"#, &["", ""]),
        ];
        for (line, expected) in cases {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
        for unbalanced in [r#""a"#, "'a", r#""a"b"#, "'a'b", r#""a\"#] {
            assert_eq!(split(unbalanced), None, "{unbalanced}");
        }
    }

    #[test]
    fn http_is_known_by_its_lines() {
        for line in ["GET / HTTP/1.1", "POST", "post /x", "Host: localhost", "PRI * HTTP/2.0"] {
            assert!(is_http(&words(line.as_bytes()).unwrap()), "{line}");
        }
        for line in ["GET a", "GET HTTP/1.1", "SET host: a", "PING"] {
            assert!(!is_http(&words(line.as_bytes()).unwrap()), "{line}");
        }
    }
}
