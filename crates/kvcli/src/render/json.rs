//! JSON for programs: what the REST interface answers, as one document or one line an item.

use std::io::{self, Write};

use kvd_client::{Bytes, Found, GetItem, ItemMeta, Key};
use kvd_wire::rest::batch::{Format, Message};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// An answer's items, or the results of a transaction, each as it stands there.
#[derive(Deserialize)]
struct Items<'a> {
    #[serde(borrow, alias = "results")]
    items: Option<Vec<&'a RawValue>>,
}

/// What an mget tells of a key, but the value.
pub(crate) fn item_without_value(key: &Key<'static>, meta: Option<&ItemMeta>) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&stripped(key, meta)?)?)
}

/// What an mget tells of keys, but the values, and no common revision.
pub(crate) fn items_without_values(known: &[(Key<'static>, Option<ItemMeta>)]) -> io::Result<Vec<u8>> {
    let items: Vec<_> = known.iter().map(|(key, meta)| stripped(key, meta.as_ref())).collect::<Result<_, _>>()?;
    Ok(serde_json::to_vec(&serde_json::json!({ "items": items }))?)
}

fn stripped(key: &Key<'_>, meta: Option<&ItemMeta>) -> io::Result<Map<String, Value>> {
    let item = GetItem { key: key.borrow(), found: meta.map(|meta| Found { meta: meta.clone(), value: Bytes::new() }) };
    let mut item: Map<String, Value> = serde_json::from_slice(&item.encode(Format::Json, false))?;
    item.shift_remove("value");
    Ok(item)
}

/// A key and one thing that is said of it.
pub(crate) fn key_with(key: &Key<'_>, field: &str, value: Value) -> io::Result<Vec<u8>> {
    let mut fields = stripped(key, None)?;
    fields.shift_remove("found");
    fields.insert(field.to_owned(), value);
    Ok(serde_json::to_vec(&fields)?)
}

/// The whole document on one line.
pub(crate) fn document(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    out.write_all(text)?;
    out.write_all(b"\n")
}

/// A line for each of the document's items; the document itself where it has none.
pub(crate) fn lines(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    let Items { items: Some(items) } = serde_json::from_slice(text)? else {
        return document(out, text);
    };
    items.into_iter().try_for_each(|item| document(out, item.get().as_bytes()))
}

#[cfg(test)]
mod tests {
    use kvd_client::{Epoch, Etag, Revision};

    use super::*;

    #[test]
    fn items_come_a_line_each_and_anything_else_as_it_is() {
        let lines = |text: &str| {
            let mut out = Vec::new();
            lines(&mut out, text.as_bytes()).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            lines(r#"{"revision":3,"items":[{"key":"b","size":1},{"key":"a"}]}"#),
            "{\"key\":\"b\",\"size\":1}\n{\"key\":\"a\"}\n"
        );
        assert_eq!(lines(r#"{"revision":3,"items":[]}"#), "");
        assert_eq!(lines(r#"{"deleted":2,"missing":1}"#), "{\"deleted\":2,\"missing\":1}\n");
    }

    #[test]
    fn metadata_is_an_mget_item_without_its_value() {
        let etag = Etag { epoch: Epoch(0xe1b2_c3d4), revision: Revision(57) };
        let meta = ItemMeta { etag: Some(etag), size: 3, ttl_ms: None, content_type: None };
        let key = |bytes: &'static [u8]| Key::new(bytes).unwrap();
        let known = [(key(b"a\n"), Some(meta)), (key(b"\xff\0"), None)];
        let text = String::from_utf8(items_without_values(&known).unwrap()).unwrap();
        let expected = concat!(
            r#"{"items":[{"key":"a\n","found":true,"revision":57,"etag":"e1b2c3d4-57","size":3,"#,
            r#""content_type":"application/octet-stream"},{"key_b64":"/wA=","found":false}]}"#
        );
        assert_eq!(text, expected);
    }
}
