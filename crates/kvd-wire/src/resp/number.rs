//! Numbers as Redis reads them in requests: one spelling each, nothing around them.

/// A decimal integer without plus sign, leading zeros or spaces.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !is_negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    // 19 digits fit.
    let value = digits
        .iter()
        .try_fold(0_u64, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0')))?;
    if is_negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// A decimal number, with or without fraction and exponent; infinities are numbers here, and what they lead to is refused
/// elsewhere.
pub(super) fn float(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!number.is_nan()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_has_one_spelling() {
        for value in [0, 1, -1, 10, i64::MAX, i64::MIN, -9, 1_000_000] {
            assert_eq!(integer(value.to_string().as_bytes()), Some(value));
        }
        for text in ["", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1.0", "1e3", "9223372036854775808", "a", "1a"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
        assert_eq!(integer(b"-9223372036854775809"), None);
        assert_eq!(integer(b"99999999999999999999"), None);
    }

    #[test]
    fn a_float_is_a_number() {
        for (text, value) in [("3.0e3", 3000.0), (".5", 0.5), ("-1", -1.0), ("5.", 5.0), ("inf", f64::INFINITY)] {
            assert_eq!(float(text.as_bytes()), Some(value));
        }
        for text in ["", "nan", " 1", "1 ", "1,0", "x"] {
            assert_eq!(float(text.as_bytes()), None, "{text}");
        }
    }
}
