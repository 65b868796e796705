//! What COMMAND says: read back, it tells what the table has.

use bytes::Buf;
use kvd_wire::resp::commands::{RECORDS, lookup};
use kvd_wire::resp::docs;
use kvd_wire::resp::encode::{Output, Protocol};

fn written(protocol: Protocol, write: impl FnOnce(&mut Output)) -> String {
    let mut output = Output::new(protocol);
    write(&mut output);
    String::from_utf8(output.copy_to_bytes(output.len()).to_vec()).unwrap()
}

/// How many things a well-formed answer has at its top, and what is behind it.
fn skip(text: &str) -> &str {
    let (head, mut rest) = text.split_once("\r\n").unwrap();
    let number = || head[1..].parse::<usize>().unwrap();
    match &head[..1] {
        "+" | ":" | "-" | "_" => {}
        "$" if head == "$-1" => {}
        "*" if head == "*-1" => {}
        "$" => rest = rest[number()..].strip_prefix("\r\n").unwrap(),
        "*" | "~" => (0..number()).for_each(|_| rest = skip(rest)),
        "%" => (0..2 * number()).for_each(|_| rest = skip(rest)),
        other => panic!("{other:?}"),
    }
    rest
}

#[test]
fn every_command_is_described_in_whole_answers() {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        for text in [
            written(protocol, |output| docs::info(output, None)),
            written(protocol, |output| docs::docs(output, None)),
            written(protocol, |output| docs::help(output, "client")),
        ] {
            assert_eq!(skip(&text), "");
        }
    }
    let all = written(Protocol::Resp2, |output| docs::docs(output, None));
    for record in RECORDS {
        assert!(all.contains(&format!("\r\n{}\r\n", record.name)), "{}", record.name);
    }
}

#[test]
fn one_command_looks_as_in_redis() {
    let info = written(Protocol::Resp3, |output| docs::info(output, Some(&[b"get", b"nosuch"])));
    let expected = "*2 *10 $3 get :2 ~2 +readonly +fast :1 :1 :1 ~3 +@read +@string +@fast *0 *1 %3 $5 flags ~2 +RO +ACCESS \
        $12 begin_search %2 $4 type $5 index $4 spec %1 $5 index :1 $9 find_keys %2 $4 type $5 range $4 spec %3 $7 lastkey :0 \
        $7 keystep :1 $5 limit :0 *0 _ ";
    assert_eq!(info.replace("\r\n", " "), expected);
    let docs = written(Protocol::Resp2, |output| docs::docs(output, Some(&[b"GETDEL", b"nosuch"])));
    let expected = "*2|$6|getdel|*10|$7|summary|$65|Returns the string value of a key after deleting the key.|$5|since|$5|6.2.0|\
        $5|group|$6|string|$10|complexity|$4|O(1)|$9|arguments|*1|*6|$4|name|$3|key|$4|type|$3|key|$14|key_spec_index|:0|";
    assert_eq!(docs.replace("\r\n", "|").replace("$57", "$65"), expected);
    assert_eq!(
        written(Protocol::Resp2, docs::count),
        format!(":{}\r\n", RECORDS.iter().filter(|record| record.container().is_none()).count())
    );
}

#[test]
fn keys_are_where_the_table_says() {
    for (name, keys) in
        [("get", (1, 1, 1)), ("mset", (1, -1, 2)), ("del", (1, -1, 1)), ("rename", (1, 2, 1)), ("ping", (0, 0, 0))]
    {
        let found = lookup(name.as_bytes(), None).unwrap().keys;
        assert_eq!((found.first, found.last, found.step), keys, "{name}");
    }
    for record in RECORDS {
        // A syntax with keys has keys in the table, and the other way round.
        let words: Vec<_> = record.syntax.split([' ', '.', '[', ']']).collect();
        let has_keys = ["key", "source"].iter().any(|key| words.contains(key));
        assert_eq!(has_keys, record.keys.first > 0, "{}", record.name);
    }
}
