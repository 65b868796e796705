//! What the server and a key say of themselves: grouped with human sizes for people, `name value` lines for programs.

use std::io::{self, Write};
use std::time::Duration;

use bytesize::ByteSize;
use kvd_client::{InfoAnswer, ItemMeta, Key, StatsAnswer};
use serde_json::Value;

use super::heading;
use crate::escape::escape;

/// A label and what it has.
pub(crate) type Row = (&'static str, String);

/// A titled part of a report.
pub(crate) type Group = (&'static str, Vec<Row>);

/// Writes groups with their values in one column.
pub(crate) fn groups(out: &mut impl Write, colour: bool, groups: &[Group]) -> io::Result<()> {
    let width = label_width(groups.iter().flat_map(|(_, rows)| rows));
    let style = heading(colour);
    for (index, (title, rows)) in groups.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{style}{title}{style:#}")?;
        for (label, value) in rows {
            writeln!(out, "  {label:width$}  {value}")?;
        }
    }
    Ok(())
}

/// Writes rows without a title.
pub(crate) fn rows(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let width = label_width(rows.iter());
    rows.iter().try_for_each(|(label, value)| writeln!(out, "{label:width$}  {value}"))
}

fn label_width<'a>(rows: impl Iterator<Item = &'a Row>) -> usize {
    rows.map(|(label, _)| label.len()).max().unwrap_or(0)
}

/// Writes a JSON document as lines: dotted name, space, value. Nothing is `none`; each element of a list has its own line.
pub(crate) fn dotted(out: &mut impl Write, separator: char, document: &[u8]) -> io::Result<()> {
    dotted_value(out, separator, "", &serde_json::from_slice(document)?)
}

fn dotted_value(out: &mut impl Write, separator: char, name: &str, value: &Value) -> io::Result<()> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(field, value)| {
            let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
            dotted_value(out, separator, &name, value)
        }),
        Value::Array(items) => items.iter().try_for_each(|item| dotted_value(out, separator, name, item)),
        Value::String(text) => writeln!(out, "{name}{separator}{}", escape(text.as_bytes())),
        Value::Null => writeln!(out, "{name}{separator}none"),
        other => writeln!(out, "{name}{separator}{other}"),
    }
}

/// `kvcli stats` for people.
pub(crate) fn stats(stats: &StatsAnswer) -> Vec<Group> {
    let (memory, durability) = (&stats.memory, &stats.durability);
    vec![
        (
            "Data",
            vec![
                ("keys", stats.keys.to_string()),
                ("size of all values", size(stats.value_bytes)),
                ("size of all keys", size(stats.key_bytes)),
                ("revision", stats.revision.to_string()),
            ],
        ),
        (
            "Operations on keys since the start",
            vec![
                ("get", stats.ops.get.to_string()),
                ("  found", share(stats.hits, stats.ops.get)),
                ("  missing", share(stats.misses, stats.ops.get)),
                ("set", stats.ops.set.to_string()),
                ("delete", stats.ops.delete.to_string()),
                ("  missing", share(stats.delete_misses, stats.ops.delete)),
                ("total", stats.ops.total.to_string()),
                ("refused", stats.rejected.to_string()),
                ("expired", stats.expired.to_string()),
                ("evicted", stats.evicted.to_string()),
            ],
        ),
        (
            "Memory",
            vec![
                ("used", size(memory.used)),
                ("limit", memory.limit.map_or("none".to_owned(), size)),
                ("index", size(memory.index)),
                ("old versions", size(memory.history)),
                ("to be freed", size(memory.retired)),
                ("requests and answers", size(memory.buffers)),
                ("whole process", memory.rss.map_or("unknown".to_owned(), size)),
            ],
        ),
        (
            "Durability",
            vec![
                ("policy", escape(durability.policy.as_bytes())),
                ("durable revision", number(durability.revision_durable)),
                ("journal", size(durability.journal_bytes)),
                ("snapshot's revision", number(durability.snapshot_revision)),
                ("loaded at the start", format!("{} keys, {}", durability.loaded_keys, size(durability.loaded_bytes))),
                (
                    "writes refused because",
                    durability.error.as_ref().map_or("none".to_owned(), |error| escape(error.as_bytes())),
                ),
            ],
        ),
        (
            "Server",
            vec![
                ("up for", duration(stats.uptime_s)),
                ("connections", stats.connections.to_string()),
                ("transactions", stats.transactions.to_string()),
                ("watches", stats.watch.watches.to_string()),
                ("expiry behind by", format!("{} ms", stats.expiry_lag_ms)),
            ],
        ),
    ]
}

/// `kvcli info` for people.
pub(crate) fn info(info: &InfoAnswer) -> Vec<Group> {
    let limits = &info.limits;
    let milliseconds = duration_ms;
    let features: Vec<_> = info.features.iter().map(|feature| escape(feature.as_bytes())).collect();
    vec![
        (
            "Server",
            vec![
                ("version", escape(info.version.as_bytes())),
                ("protocol", info.api.to_string()),
                ("features", if features.is_empty() { "none".to_owned() } else { features.join(", ") }),
                ("up for", duration(info.uptime_s)),
                ("store", escape(info.epoch.as_bytes())),
                ("revision", info.revision.to_string()),
                ("values stay", info.default_ttl_ms.map_or("for ever, unless said otherwise".to_owned(), duration_ms)),
            ],
        ),
        (
            "Limits",
            vec![
                ("key", size(limits.key_bytes_max)),
                ("value", size(limits.value_bytes_max)),
                ("items in a batch", limits.batch_items_max.to_string()),
                ("operations in a transaction", limits.transaction_ops_max.to_string()),
                ("open transactions", limits.transactions_max.to_string()),
                ("a transaction without a request", milliseconds(limits.transaction_idle_timeout_ms)),
                ("a transaction", milliseconds(limits.transaction_age_max_ms)),
                ("batch", size(limits.batch_bytes_max)),
                (
                    "keys on a page",
                    format!("{} unless asked, {} at most", limits.list_items_default, limits.list_items_max),
                ),
                ("URL", size(limits.url_bytes_max)),
                ("headers", size(limits.header_bytes_max)),
                ("all requests in memory", size(limits.inbound_bytes_max)),
                ("memory", limits.memory_bytes_max.map_or("none".to_owned(), size)),
                ("when memory is full", limits.memory_policy.as_deref().unwrap_or("none").to_owned()),
                ("connections", limits.connections_max.to_string()),
                ("time to send headers", milliseconds(limits.header_timeout_ms)),
                ("pause in a body", milliseconds(limits.body_idle_timeout_ms)),
                ("pause between requests", milliseconds(limits.keep_alive_timeout_ms)),
            ],
        ),
    ]
}

/// `kvcli head` for people.
pub(crate) fn head(key: &Key<'_>, meta: &ItemMeta) -> Vec<Row> {
    let content_type = meta.content_type.as_ref().map_or(kvd_client::ContentType::DEFAULT, |stored| stored.as_str());
    let mut rows = vec![("key", escape(key.as_bytes())), ("size", size(meta.size))];
    match meta.etag {
        Some(etag) => rows.extend([("revision", etag.revision.to_string()), ("etag", etag.to_string())]),
        None => rows.push(("revision", "none before the commit".to_owned())),
    }
    rows.push(("content type", content_type.to_owned()));
    rows.extend(meta.ttl_ms.map(|ms| ("goes in", duration_ms(ms))));
    rows
}

/// Human, and exact where that differs.
fn size(bytes: u64) -> String {
    let human = ByteSize(bytes).display().iec().to_string();
    if bytes < 1024 { human } else { format!("{human} ({bytes} bytes)") }
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { part.to_string() } else { format!("{part} ({:.1}%)", part as f64 * 100.0 / whole as f64) }
}

fn number(value: Option<u64>) -> String {
    value.map_or("none".to_owned(), |value| value.to_string())
}

/// A time to live in the units in which it is given, no finer than people care for: above a minute in seconds, begun ones too. A
/// library would make months and years of it, whose lengths nobody knows.
pub(crate) fn duration_ms(ms: u64) -> String {
    const UNITS: [(u64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let mut rest = if ms < 60_000 { ms } else { ms.div_ceil(1_000).saturating_mul(1_000) };
    let mut parts = Vec::new();
    for (unit_ms, unit) in UNITS {
        if rest >= unit_ms {
            parts.push(format!("{}{unit}", rest / unit_ms));
            rest %= unit_ms;
        }
    }
    if parts.is_empty() { "0ms".to_owned() } else { parts.join(" ") }
}

fn duration(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::shown;

    #[test]
    fn a_document_becomes_dotted_lines_in_its_own_order() {
        let document = br#"{"keys":3,"value_bytes":9,"ops":{"get":7,"set":3},"memory":{"limit":null},
            "durability":{"policy":"in-memory"},"features":["b","a"],"none":[]}"#;
        let lines = "keys 3\nvalue_bytes 9\nops.get 7\nops.set 3\nmemory.limit none\ndurability.policy in-memory\n\
            features b\nfeatures a\n";
        assert_eq!(shown(|out| dotted(out, ' ', document)), lines);
        assert_eq!(shown(|out| dotted(out, '\t', br#"{"a":{"b":1}}"#)), "a.b\t1\n");
    }

    #[test]
    fn groups_are_aligned_under_their_titles() {
        let report: [Group; 2] =
            [("Data", vec![("keys", "3".to_owned())]), ("Memory", vec![("a long label", "9 B".to_owned())])];
        let expected = "Data\n  keys          3\n\nMemory\n  a long label  9 B\n";
        assert_eq!(shown(|out| groups(out, false, &report)), expected);
        assert!(shown(|out| groups(out, true, &report)).starts_with("\u{1b}[1mData\u{1b}[0m\n"));
    }

    #[test]
    fn figures_are_human_and_exact() {
        assert_eq!(size(9), "9 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB (1536 bytes)");
        assert_eq!(share(1, 3), "1 (33.3%)");
        assert_eq!(share(0, 0), "0");
        assert_eq!(duration(93_784), "1day 2h 3m 4s");
        assert_eq!(duration_ms(1_500), "1s 500ms");
        assert_eq!(duration_ms(89_001), "1m 30s");
        assert_eq!(duration_ms(400 * 86_400_000 - 1), "400d");
        assert_eq!(duration_ms(0), "0ms");
    }

    #[test]
    fn stats_name_what_the_assignment_asks_for() {
        let answer = StatsAnswer { keys: 3, value_bytes: 9, ..StatsAnswer::default() };
        let text = shown(|out| groups(out, false, &stats(&answer)));
        for line in
            ["  keys                    3\n", "  size of all values      9 B\n", "  get                     0\n"]
        {
            assert!(text.contains(line), "{text}");
        }
    }
}
