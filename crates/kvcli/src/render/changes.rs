//! What commits did to keys, a line for each key: for people in columns, for programs between tabs.

use std::io::{self, Write};

use kvd_client::{Key, WatchCommit, WatchEvent};
use kvd_types::Reason;
use kvd_wire::rest::batch::{Format, Message};
use serde_json::{Map, Value};

use super::{document, preview};
use crate::escape::escape;

/// A word for what happened, and to which key.
fn named<'e>(event: &'e WatchEvent<'_>) -> (&'static str, Option<&'e Key<'e>>) {
    match event {
        WatchEvent::Set { key, .. } => ("set", Some(key)),
        WatchEvent::Removed { key, reason } => (gone(*reason), Some(key)),
        WatchEvent::Cleared => ("clear", None),
    }
}

/// Why a key has no value any more, in the word that the REST interface has for it.
pub(crate) fn gone(reason: Reason) -> &'static str {
    match reason {
        Reason::Asked => "delete",
        Reason::Expired => "expire",
        Reason::Evicted => "evict",
    }
}

/// Revision, operation, key and value between tabs; what there is not is left out.
pub(crate) fn change_tsv(out: &mut impl Write, commit: &WatchCommit) -> io::Result<()> {
    for event in &commit.events {
        let (op, key) = named(event);
        write!(out, "{}\t{op}", commit.revision)?;
        if let Some(key) = key {
            write!(out, "\t{}", escape(key.as_bytes()))?;
        }
        if let WatchEvent::Set { value, .. } = event {
            write!(out, "\t{}", escape(value))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The same in columns, with as much of the value as fits.
pub(crate) fn change_columns(out: &mut impl Write, width: Option<u16>, commit: &WatchCommit) -> io::Result<()> {
    for event in &commit.events {
        let (op, key) = named(event);
        let key = key.map(|key| escape(key.as_bytes())).unwrap_or_default();
        let mut line = format!("{:>10}  {op:<6}  {key}", commit.revision.to_string());
        if let WatchEvent::Set { value, .. } = event {
            line.push_str(" = ");
            line.push_str(&preview(value));
        }
        writeln!(out, "{}", cut(line.trim_end(), width))?;
    }
    Ok(())
}

fn cut(line: &str, width: Option<u16>) -> String {
    let Some(width) = width.map(usize::from) else { return line.to_owned() };
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The keys that changed, as they are, each with a newline behind it.
pub(crate) fn change_raw(out: &mut impl Write, commit: &WatchCommit) -> io::Result<()> {
    for key in commit.events.iter().filter_map(|event| named(event).1) {
        out.write_all(key.as_bytes())?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// A document for each event, with the revision of its commit.
pub(crate) fn change_lines(out: &mut impl Write, commit: &WatchCommit) -> io::Result<()> {
    let whole: Map<String, Value> = serde_json::from_slice(&commit.encode(Format::Json, false))?;
    let events = whole.get("events").and_then(Value::as_array).into_iter().flatten();
    for event in events {
        let mut fields = Map::from_iter([("revision".to_owned(), commit.revision.0.into())]);
        fields.extend(event.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
        document(out, &serde_json::to_vec(&fields)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kvd_client::{Epoch, Etag, Revision};

    use super::*;
    use crate::render::shown;

    #[test]
    fn a_change_has_a_line_in_every_form() {
        let key = |key: &'static str| Key::new(key.as_bytes()).unwrap();
        let etag = Etag { epoch: Epoch(1), revision: Revision(57) };
        let set =
            WatchEvent::Set { key: key("a\tb"), etag, content_type: None, expires_at_ms: None, value: "x\ny".into() };
        let removed = WatchEvent::Removed { key: key("c"), reason: Reason::Expired };
        let commit = WatchCommit { revision: Revision(57), events: vec![set, removed, WatchEvent::Cleared] };
        assert_eq!(shown(|out| change_tsv(out, &commit)), "57\tset\ta\\tb\tx\\ny\n57\texpire\tc\n57\tclear\n");
        assert_eq!(
            shown(|out| change_columns(out, None, &commit)),
            "        57  set     a\\tb = x\\ny\n        57  expire  c\n        57  clear\n"
        );
        assert_eq!(
            shown(|out| change_columns(out, Some(24), &commit)).lines().next().unwrap(),
            "        57  set     a\\t…"
        );
        assert_eq!(shown(|out| change_raw(out, &commit)), "a\tb\nc\n");
        let lines = shown(|out| change_lines(out, &commit));
        assert_eq!(lines.lines().count(), 3);
        assert_eq!(lines.lines().nth(1).unwrap(), r#"{"revision":57,"op":"expire","key":"c"}"#);
    }
}
