//! What rules make of values, case by case: integers in one spelling and exact to their last, fractions as people write them,
//! bytes added and overwritten.

use kvd_engine::{Config, Engine};
use kvd_types::*;
use proptest::prelude::*;

/// What a key that holds `value` holds after `rule`.
fn apply(value: Option<&str>, rule: Rule) -> Result<Option<String>, Error> {
    let limits = Limits { value_bytes_max: 400, ..Limits::DEFAULT };
    let engine = Engine::open(Config { limits, ..Config::default() });
    let mut worker = engine.worker();
    let key = || Key::new(b"key").unwrap();
    if let Some(value) = value {
        engine.execute(&mut worker, &Command::Set(Set::new(key(), value.to_owned()))).unwrap();
    }
    let before = engine.stats().revision;
    let modify = Modify { key: key(), rule, condition: Condition::Always };
    let reply = engine.execute(&mut worker, &Command::Modify(modify))?;
    let Reply::Modified { revision, entry, changed } = reply else { panic!("{reply:?}") };
    assert_eq!(revision.0, before.0 + u64::from(changed));
    let (stored, _) = match engine.execute(&mut worker, &Command::Get { key: key() }) {
        Ok(Reply::Got { entry, revision }) => (entry, revision),
        other => panic!("{other:?}"),
    };
    assert_eq!(stored, entry, "the answer is what is stored");
    assert!(changed || entry.as_ref().map(|entry| &entry.value[..]) == value.map(str::as_bytes));
    Ok(entry.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap()))
}

fn increment(value: Option<&str>, by: i64) -> Result<String, Error> {
    apply(value, Rule::Increment { by }).map(Option::unwrap)
}

#[test]
fn an_increment_is_exact_at_the_edges() {
    let (max, min) = (i64::MAX, i64::MIN);
    let cases = [
        (None, 5, Ok("5")),
        (None, min, Ok("-9223372036854775808")),
        (Some("41"), 1, Ok("42")),
        (Some("0"), 0, Ok("0")),
        (Some("-1"), 1, Ok("0")),
        (Some("9223372036854775806"), 1, Ok("9223372036854775807")),
        (Some("9223372036854775807"), 1, Err(Error::Overflow)),
        (Some("9223372036854775807"), min, Ok("-1")),
        (Some("-9223372036854775808"), -1, Err(Error::Overflow)),
        (Some("-9223372036854775808"), max, Ok("-1")),
        (Some("1"), max, Err(Error::Overflow)),
    ];
    for (value, by, expected) in cases {
        assert_eq!(increment(value, by), expected.map(str::to_owned), "{value:?} + {by}");
    }
}

#[test]
fn an_integer_has_one_spelling() {
    let others =
        ["", "-", "-0", "+1", "01", "-01", " 1", "1 ", "1\n", "0x1", "1.0", "1e3", "one", "9223372036854775808"];
    for value in others {
        assert_eq!(increment(Some(value), 1), Err(Error::NotAnInteger), "{value:?}");
    }
}

#[test]
fn fractions_come_out_as_people_write_them() {
    let cases = [
        (None, 0.5, "0.5"),
        (Some("0.1"), 0.2, "0.3"),
        (Some("10.50"), 0.1, "10.6"),
        (Some("1.1"), -1.0, "0.1"),
        (Some("5.0e3"), 200.0, "5200"),
        (Some("3"), 0.0, "3"),
        (Some("3.0"), 0.0, "3"),
        (Some("-1.5"), 1.5, "0"),
        (Some("0"), -0.0, "0"),
        (Some("1e20"), 1.0, "100000000000000000000"),
        (Some("9007199254740992"), -1.0, "9007199254740991"),
        (Some("1234567.125"), 0.25, "1234567.375"),
        (Some("0.000001"), 0.000002, "0.000003"),
        (Some("3.141592653589793"), 0.0, "3.141592653589793"),
        (Some("1e-7"), 0.0, "0.0000001"),
    ];
    for (value, by, expected) in cases {
        let sum = apply(value, Rule::IncrementFloat { by }).map(Option::unwrap);
        assert_eq!(sum.as_deref(), Ok(expected), "{value:?} + {by}");
    }
}

#[test]
fn hundred_tenths_are_ten() {
    let mut value = "0".to_owned();
    for n in 1..=100 {
        value = apply(Some(&value), Rule::IncrementFloat { by: 0.1 }).unwrap().unwrap();
        let (whole, tenths) = (n / 10, n % 10);
        assert_eq!(value, if tenths == 0 { whole.to_string() } else { format!("{whole}.{tenths}") });
    }
}

proptest! {
    /// Amounts in hundredths add up as integers do.
    #[test]
    fn hundredths_add_up(a in -1_000_000_000_000i64..1_000_000_000_000, b in -1_000_000_000_000i64..1_000_000_000_000) {
        let text = |hundredths: i64| {
            let sign = if hundredths < 0 { "-" } else { "" };
            let (whole, rest) = (hundredths.abs() / 100, hundredths.abs() % 100);
            let digits = format!("{sign}{whole}.{rest:02}");
            digits.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        let by = text(b).parse().unwrap();
        let sum = apply(Some(&text(a)), Rule::IncrementFloat { by }).unwrap().unwrap();
        prop_assert_eq!(sum, text(a + b));
    }
}

#[test]
fn what_is_no_finite_number_is_refused() {
    for value in ["", " 1", "1 ", "x", "nan", "inf", "-inf", "infinity", "1e400", "1,5", "0x1p3"] {
        let sum = apply(Some(value), Rule::IncrementFloat { by: 1.0 });
        assert_eq!(sum, Err(Error::NotANumber), "{value:?}");
    }
    let max = f64::MAX.to_string();
    assert_eq!(apply(Some(&max), Rule::IncrementFloat { by: f64::MAX }), Err(Error::Overflow));
    assert_eq!(apply(Some("1"), Rule::IncrementFloat { by: f64::INFINITY }), Err(Error::Overflow));
    assert_eq!(apply(Some("1"), Rule::IncrementFloat { by: f64::NAN }), Err(Error::Overflow));
    // The largest and the smallest keep every digit.
    for edge in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324] {
        let kept = apply(Some(&edge.to_string()), Rule::IncrementFloat { by: 0.0 }).unwrap().unwrap();
        assert_eq!(kept.parse::<f64>().unwrap(), edge);
    }
}

#[test]
fn bytes_are_added_and_overwritten() {
    let append = |value, bytes: &'static str| apply(value, Rule::Append { bytes: bytes.into() }).map(Option::unwrap);
    assert_eq!(append(None, "").as_deref(), Ok(""));
    assert_eq!(append(None, "ab").as_deref(), Ok("ab"));
    assert_eq!(append(Some("ab"), "c").as_deref(), Ok("abc"));
    assert_eq!(append(Some("ab"), "").as_deref(), Ok("ab"));
    let range = |value, offset, bytes: &'static str| apply(value, Rule::SetRange { offset, bytes: bytes.into() });
    let cases = [
        (None, 0, "", None),
        (None, 2, "x", Some("\0\0x")),
        (Some("Hello World"), 6, "Redis", Some("Hello Redis")),
        (Some("abc"), 1, "XYZ", Some("aXYZ")),
        (Some("abc"), 5, "d", Some("abc\0\0d")),
        (Some("abc"), 1, "b", Some("abc")),
        (Some("abc"), 9, "", Some("abc")),
    ];
    for (value, offset, bytes, expected) in cases {
        assert_eq!(range(value, offset, bytes).unwrap().as_deref(), expected, "{value:?} {offset} {bytes:?}");
    }
    let broken = range(Some("abc"), 398, "abc").unwrap_err();
    assert!(matches!(broken, Error::LimitExceeded(LimitExceeded { limit: Limit::ValueBytes, .. })), "{broken:?}");
}
