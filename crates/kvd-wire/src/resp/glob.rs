//! Patterns of KEYS and SCAN: Redis' globs over bytes. A crate for paths would treat slashes and text apart; here a key is bytes.

/// Whether all of `text` is what `pattern` describes: `*` any bytes, `?` any one, `[a-c]` and `[^a-c]` one of a set, a backslash
/// takes the next byte as it is. Takes at most as many steps as pattern and text multiplied.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_while(pattern, text, || true).expect("nobody breaks it off")
}

/// The same where that may take long: `goes_on` is asked before it begins, and again each time that it has gone over the pattern
/// at most once. None when the answer was no.
pub fn matches_while(pattern: &[u8], text: &[u8], goes_on: impl Fn() -> bool) -> Option<bool> {
    if !goes_on() {
        return None;
    }
    let (mut at, mut in_text) = (0, 0);
    // Where to go on when what follows the last star didn't match: the star takes one byte more.
    let mut star = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, in_text));
            at += 1;
            continue;
        }
        let is_end = at == pattern.len();
        match text.get(in_text) {
            None => return Some(is_end),
            Some(byte) => match (!is_end).then(|| one(&pattern[at..], *byte)) {
                Some((len, true)) => {
                    at += len;
                    in_text += 1;
                }
                _ => {
                    let Some((behind, taken)) = star else { return Some(false) };
                    if !goes_on() {
                        return None;
                    }
                    star = Some((behind, taken + 1));
                    (at, in_text) = (behind, taken + 1);
                }
            },
        }
    }
}

/// The length of the pattern's first element, and whether it describes `byte`.
fn one(pattern: &[u8], byte: u8) -> (usize, bool) {
    match pattern {
        [b'?', ..] => (1, true),
        [b'\\', literal, ..] => (2, *literal == byte),
        [b'[', set @ ..] => {
            let (len, is_in) = in_set(set, byte);
            (1 + len, is_in)
        }
        [literal, ..] => (1, *literal == byte),
        [] => (0, false),
    }
}

/// The same for what follows a `[`. One that is not closed ends with the pattern.
fn in_set(set: &[u8], byte: u8) -> (usize, bool) {
    let is_negated = set.first() == Some(&b'^');
    let mut at = usize::from(is_negated);
    let mut is_in = false;
    while at < set.len() {
        match &set[at..] {
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                is_in |= *literal == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                is_in |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                is_in |= *literal == byte;
                at += 1;
            }
            [] => break,
        }
    }
    (at, is_in != is_negated)
}

/// The bytes with which everything begins that a pattern describes.
pub fn literal_prefix(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
    &pattern[..end.unwrap_or(pattern.len())]
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn patterns_describe_what_they_do_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("**", "a", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h*o*o", "hello world o", true),
            ("h*x", "hello", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            (r"h\*llo", "h*llo", true),
            (r"h\*llo", "hello", false),
            (r"[\]a]", "]", true),
            ("[abc", "c", true),
            ("[]", "a", false),
            ("[^]", "a", true),
            ("a/*", "a/b/c", true),
            (r"a\", r"a\", true),
            ("user:*:name", "user:1:name", true),
            ("*a*b*c", "xxaxxbxxc", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        assert!(matches(b"\xff?\x00", b"\xff\xfe\x00"));
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        let pattern = b"a*".repeat(5_000);
        let text = b"a".repeat(10_000);
        assert!(!matches(&[pattern, b"b".to_vec()].concat(), &text));
    }

    #[test]
    fn a_long_match_can_be_broken_off() {
        let (pattern, text) = ([&b"*"[..], &b"a".repeat(5_000), b"b"].concat(), b"a".repeat(10_000));
        for most in [0, 1, 10] {
            let asked = Cell::new(0);
            let goes_on = || asked.replace(asked.get() + 1) < most;
            assert_eq!(matches_while(&pattern, &text, goes_on), None);
            assert_eq!(asked.get(), most + 1);
        }
        assert_eq!(matches_while(b"a*", b"ab", || true), Some(true));
    }

    #[test]
    fn what_all_matches_begin_with() {
        for (pattern, prefix) in [("user:*", "user:"), ("*", ""), ("a[b]", "a"), (r"a\*", "a"), ("abc", "abc")] {
            assert_eq!(literal_prefix(pattern.as_bytes()), prefix.as_bytes());
        }
    }
}
