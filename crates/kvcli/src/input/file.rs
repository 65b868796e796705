//! Files of pairs in the four formats that `set --from` reads. JSON and CBOR are the body of `/v1/mset`, read by the very code
//! with which the server reads it. Every complaint says where in the file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Uri};
use kvd_client::{ItemProblem, Set};
use kvd_types::{Command, Limits};
use kvd_wire::rest::batch::Format;
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::request::{self, Operation};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{key, name};
use crate::escape::{Form, unescape};
use crate::exit::{Exit, Failure};
use crate::flags::FileFormat;

/// A pair, and where it came from if that was a file.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) set: Set<'static>,
    pub(super) place: Option<String>,
}

/// The pairs of a file.
pub(super) fn read(path: &[u8], bytes: Vec<u8>, format: FileFormat) -> Result<Vec<Item>, Failure> {
    let file = name(path);
    match format {
        FileFormat::Tsv => tsv(&file, &bytes),
        FileFormat::Json => body(&file, &bytes, Format::Json),
        FileFormat::Cbor => body(&file, &bytes, Format::Cbor),
        FileFormat::Ndjson => ndjson(&file, &bytes),
    }
}

fn tsv(file: &str, bytes: &[u8]) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::new();
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let place = format!("{file}:{}", index + 1);
        let bad = |why: String| Failure::new(Exit::BadFile, anyhow::anyhow!("{place}: {why}"));
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.ends_with(b"\r") {
            return Err(bad("the line ends in a carriage return".into())
                .hint("end lines with \\n alone; a value's own is written \\r"));
        }
        let mut fields = line.split(|byte| *byte == b'\t');
        let (Some(named), Some(value), None) = (fields.next(), fields.next(), fields.next()) else {
            let why = "a line is a key, one tab and a value; a tab inside them is written \\t";
            return Err(bad(why.into()));
        };
        let field = |text| unescape(text, Form::Tsv).map_err(|error| bad(error.to_string()));
        let set = Set::new(key(field(named)?)?, field(value)?);
        items.push(Item { set, place: Some(place) });
    }
    Ok(items)
}

fn body(file: &str, bytes: &[u8], format: Format) -> Result<Vec<Item>, Failure> {
    let sets = mset(bytes, format).map_err(|problem| bad(file, &problem, problem.detail()))?;
    Ok(sets.into_iter().map(|set| Item { set, place: Some(file.to_owned()) }).collect())
}

/// The lines become the items of one body. Those that `get` has printed are read too: what only tells of a key is left out,
/// and a key that was missing is passed over.
fn ndjson(file: &str, bytes: &[u8]) -> Result<Vec<Item>, Failure> {
    let mut body = b"{\"items\":[".to_vec();
    let mut places = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let place = format!("{file}:{}", index + 1);
        one_value(line).map_err(|error| Failure::new(Exit::BadFile, anyhow::anyhow!("{place}:{error}")))?;
        let Some(item) = item_to_set(line) else { continue };
        body.extend_from_slice(if places.is_empty() { b"" } else { b"," });
        body.extend_from_slice(&item);
        places.push(place);
    }
    body.extend_from_slice(b"]}");
    let sets = mset(&body, Format::Json).map_err(|problem| {
        // The detail may end in a position; the line is said here, and its column is not that of the file.
        let detail = problem.detail().rsplit_once(" at line ").map_or(problem.detail(), |(detail, _)| detail);
        let place = problem.errors().first().and_then(|error| places.get(index(error)?));
        bad(place.map_or(file, String::as_str), &problem, detail)
    })?;
    Ok(sets.into_iter().zip(places).map(|(set, place)| Item { set, place: Some(place) }).collect())
}

/// A line as an item of an mset; none for what `get` says of a missing key. The rest of a value's time becomes its time to live.
fn item_to_set(line: &[u8]) -> Option<Cow<'_, [u8]>> {
    // What is no map with names is for the reader of the whole body to refuse.
    let Ok(mut fields) = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(line) else {
        return Some(Cow::Borrowed(line));
    };
    let Some(found) = fields.remove("found") else { return Some(Cow::Borrowed(line)) };
    if found.get() == "false" {
        return None;
    }
    for told in ["revision", "etag", "size"] {
        fields.remove(told);
    }
    let ttl = fields.remove("ttl_ms").and_then(|ms| RawValue::from_string(format!("\"{}ms\"", ms.get())).ok());
    if let Some(ttl) = &ttl {
        fields.insert(Cow::Borrowed("ttl"), ttl);
    }
    Some(Cow::Owned(serde_json::to_vec(&fields).expect("these are fields of a map that was read")))
}

/// Which item a part at fault belongs to.
fn index(error: &ItemProblem) -> Option<usize> {
    error.pointer.as_ref()?.strip_prefix("#/items/")?.split('/').next()?.parse().ok()
}

/// Whether a line is one JSON value; if not, the column and what is wrong there.
fn one_value(line: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<IgnoredAny>(line).map(drop).map_err(|error| {
        let position = format!(" at line {} column {}", error.line(), error.column());
        let why = error.to_string();
        format!("{}: no JSON: {}", error.column(), why.strip_suffix(&position).unwrap_or(&why))
    })
}

/// The pairs in the body of an mset.
fn mset(bytes: &[u8], format: Format) -> Result<Vec<Set<'static>>, Problem> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(format.content_type()))]);
    let url = Uri::from_static("/v1/mset");
    let mut request = request::parse(&Method::POST, &url, &headers, &Limits::DEFAULT)?;
    let Operation::Batch(batch) = request.operation else {
        unreachable!("POST /v1/mset is a batch");
    };
    match batch.command(bytes, &mut request.answer)?.into_owned() {
        Command::MultiSet { sets } => Ok(sets),
        _ => unreachable!("the batch of /v1/mset is a multi-set"),
    }
}

fn bad(place: &str, problem: &Problem, detail: &str) -> Failure {
    let failure = Failure::refused(problem, detail);
    let exit = if failure.exit == Exit::Limit { Exit::Limit } else { Exit::BadFile };
    let error = failure.error.map(|error| anyhow::anyhow!("{place}: {error}"));
    Failure { exit, error, hint: None }
}

#[cfg(test)]
mod tests {
    use kvd_client::{Condition, ContentType};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::escape::escape;

    fn message(format: FileFormat, text: &str) -> String {
        let failure = read(b"f", text.as_bytes().to_vec(), format).unwrap_err();
        assert_eq!(failure.exit, Exit::BadFile);
        failure.error.unwrap().to_string()
    }

    #[test]
    fn a_bad_line_of_tsv_is_named() {
        let fields = "a line is a key, one tab and a value; a tab inside them is written \\t";
        for (text, expected) in [
            ("a\t1\nb 2\n", format!("f:2: {fields}")),
            ("a\t1\tx\n", format!("f:1: {fields}")),
            ("a\t1\n\n", format!("f:2: {fields}")),
            ("a\t1\r\n", "f:1: the line ends in a carriage return".into()),
            (
                "a\t1\nb\t\\,\n",
                "f:2: \\, is no escape; known are \\t \\n \\r \\\\ \\xHH, and a backslash is written \\\\".into(),
            ),
        ] {
            assert_eq!(message(FileFormat::Tsv, text), expected);
        }
    }

    #[test]
    fn json_lines_and_json_bodies_hold_the_same_items() {
        let lines = [
            r#"{"key":"a","value":"1","content_type":"text/plain"}"#,
            r#"{"key_b64":"AAE=","value_b64":"//8=","if":{"absent":true}}"#,
        ];
        let ndjson = read(b"f", format!("{}\n\n{}\n", lines[0], lines[1]).into_bytes(), FileFormat::Ndjson).unwrap();
        let body = format!("{{\"items\":[{}]}}", lines.join(","));
        let json = read(b"f", body.into_bytes(), FileFormat::Json).unwrap();
        let sets = |items: Vec<Item>| items.into_iter().map(|item| item.set).collect::<Vec<_>>();
        assert_eq!(ndjson[1].place.as_deref(), Some("f:3"));
        let ndjson = sets(ndjson);
        assert_eq!(ndjson[0].content_type, Some(ContentType::new(b"text/plain").unwrap()));
        assert_eq!((ndjson[1].key.as_bytes(), &ndjson[1].value[..]), (&[0, 1][..], &[0xff, 0xff][..]));
        assert_eq!(ndjson[1].condition, Condition::Absent);
        assert_eq!(sets(json), ndjson);
    }

    #[test]
    fn what_get_prints_as_json_lines_is_read_back() {
        let lines = concat!(
            r#"{"key":"a","found":true,"value":"1","revision":57,"etag":"e1b2c3d4-57","size":1,"ttl_ms":29000,"#,
            r#""content_type":"text/plain"}"#,
            "\n",
            r#"{"key":"b","found":false}"#,
            "\n",
            r#"{"key_b64":"AAE=","found":true,"value_b64":"//8=","revision":1,"etag":"e1b2c3d4-1","size":2}"#,
        );
        let items = read(b"f", lines.into(), FileFormat::Ndjson).unwrap();
        let text = Some(ContentType::new(b"text/plain").unwrap());
        let key = |bytes: &'static [u8]| kvd_client::Key::new(bytes).unwrap();
        let first = Set { content_type: text, ttl: kvd_types::Ttl::Ms(29_000), ..Set::new(key(b"a"), "1") };
        let second = Set::new(key(&[0, 1]), vec![0xff, 0xff]);
        let read: Vec<_> = items.into_iter().map(|item| (item.set, item.place.unwrap())).collect();
        assert_eq!(read, [(first, "f:1".to_owned()), (second, "f:3".to_owned())]);
        let message = message(FileFormat::Ndjson, r#"{"key":"a","found":true,"value":"1","colour":"red"}"#);
        assert!(message.starts_with("f:1: ") && message.contains("`colour`"), "{message}");
    }

    #[test]
    fn a_bad_line_of_json_is_named() {
        let good = r#"{"key":"a","value":"1"}"#;
        for (bad, expected) in [
            ("{", "f:3:1: no JSON: EOF while parsing an object"),
            ("x", "f:3:1: no JSON: expected value"),
            (r#"{"key":"b","value":"1"},{"key":"c","value":"1"}"#, "f:3:24: no JSON: trailing characters"),
            (r#"{"key":"b","value":"1"}],"items":["#, "f:3:24: no JSON: trailing characters"),
        ] {
            assert_eq!(message(FileFormat::Ndjson, &format!("{good}\n\n{bad}\n")), expected);
        }
        for (bad, part) in [("3", "3"), (r#"{"key":"b"}"#, "`value`"), (r#"{"key":"b","colour":"red"}"#, "`colour`")] {
            let message = message(FileFormat::Ndjson, &format!("{good}\n\n{bad}\n"));
            assert!(message.starts_with("f:3: ") && message.contains(part), "{bad}: {message}");
        }
        let message = message(FileFormat::Json, "{\"items\":[\n  {\"key\":\"a\",\n \"value\" 1}]}");
        assert!(message.starts_with("f: ") && message.contains("line 3"), "{message}");
    }

    proptest! {
        #[test]
        fn what_get_prints_as_tsv_is_read_back_exactly(pairs in vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..5)) {
            let text: String = pairs.iter().map(|(key, value)| format!("{}\t{}\n", escape(key), escape(value))).collect();
            let items = tsv("f", text.as_bytes()).unwrap();
            let read: Vec<_> = items.iter().map(|item| (item.set.key.as_bytes().to_vec(), item.set.value.to_vec())).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}
