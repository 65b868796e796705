//! Client and server use one schema: what one side writes, the other reads, for arbitrary bytes and in both formats.

use kvd_types::{
    Command, Condition, Delete, Entry, Etag, Key, LIST_ITEMS_MAX, ListValues, Page, PageItem, Reply, Revision,
};
use kvd_wire::rest::batch::{
    Format, Found, GetItem, ItemMeta, ListAnswer, ListItem, Message, MultiDeleteAnswer, MultiGetAnswer, MultiSetAnswer,
    SetItem, encode_request,
};
use kvd_wire::rest::query::for_list;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::strategies::{commands, deletes, entries, formats, keys, sets};
use crate::support::{EPOCH, STORE, batch, decode, run};

proptest! {
    #[test]
    fn every_batch_is_read_as_it_was_written(command in commands(), format in formats()) {
        let request = encode_request(&command, format).unwrap();
        let (read, _) = batch(&format!("POST {}", request.path), format, &request.body).unwrap();
        prop_assert_eq!(read, command);
    }

    #[test]
    fn a_single_command_travels_as_a_batch_of_one(set in sets(), delete in deletes(), format in formats()) {
        let read = |command: &Command<'_>| {
            let request = encode_request(command, format).unwrap();
            batch(&format!("POST {}", request.path), format, &request.body).unwrap().0
        };
        let key = set.key.clone();
        let get = Command::MultiGet { keys: vec![key.clone()], require_all: false };
        prop_assert_eq!(read(&Command::Get { key }), get);
        prop_assert_eq!(read(&Command::Set(set.clone())), Command::MultiSet { sets: vec![set] });
        let deletes = Command::MultiDelete { deletes: vec![delete.clone()], require_all: false };
        prop_assert_eq!(read(&Command::Delete(delete)), deletes);
    }

    #[test]
    fn every_answer_is_read_as_it_was_written(
        items in vec((keys(), proptest::option::of(entries())), 0..4),
        counts in any::<(u32, u32, u64)>(),
        cursor in proptest::option::of("\\PC{0,20}"),
        prefixes in proptest::option::of(vec(keys(), 0..4)),
        format in formats(),
        base64 in any::<bool>(),
    ) {
        let meta = |entry: &Entry| ItemMeta {
            etag: Some(Etag { epoch: EPOCH, revision: entry.revision }),
            size: entry.value.len() as u64,
            ttl_ms: entry.expires_at_ms.map(|at| at.saturating_sub(STORE.now_ms)),
            content_type: entry.content_type.clone(),
        };
        let revision = Revision(counts.2);
        let get = MultiGetAnswer {
            revision,
            items: items.iter().map(|(key, entry)| GetItem {
                key: key.clone(),
                found: entry.as_ref().map(|entry| Found {
                    meta: meta(entry),
                    value: entry.value.clone(),
                }),
            }).collect(),
        };
        let written = get.encode(format, base64);
        prop_assert_eq!(MultiGetAnswer::decode(format, &written), Ok(get));
        let set = MultiSetAnswer {
            revision,
            created: counts.0.into(),
            replaced: counts.1.into(),
            items: items.iter().map(|(key, _)| SetItem {
                key: key.clone(),
                etag: Some(Etag { epoch: EPOCH, revision }),
            }).collect(),
        };
        let written = set.encode(format, base64);
        prop_assert_eq!(MultiSetAnswer::decode(format, &written), Ok(set));
        let list = ListAnswer {
            revision,
            items: items.iter().map(|(key, entry)| ListItem {
                key: key.clone(),
                meta: entry.as_ref().map(meta),
                value: entry.as_ref().map(|entry| entry.value.clone()),
            }).collect(),
            prefixes: prefixes.map(|mut prefixes| {
                prefixes.sort();
                prefixes
            }),
            cursor,
        };
        let written = list.encode(format, base64);
        prop_assert_eq!(ListAnswer::decode(format, &written), Ok(list));
        let delete = MultiDeleteAnswer { revision, deleted: counts.0.into(), missing: counts.1.into() };
        prop_assert_eq!(MultiDeleteAnswer::decode(format, &delete.encode(format, base64)), Ok(delete));
    }

    #[test]
    fn an_answer_to_a_command_has_its_keys_and_values(command in commands(), entry in entries(), format in formats()) {
        let (Command::MultiGet { keys, .. }, request) = (&command, encode_request(&command, format).unwrap()) else {
            return Ok(());
        };
        let (read, answer) = batch("POST /v1/mget", format, &request.body).unwrap();
        let reply = Reply::MultiGot { revision: Revision(1), entries: vec![Some(entry.clone()); keys.len()] };
        let response = answer.respond(STORE, &read, reply).unwrap();
        let answer: MultiGetAnswer<'_> = decode(&response);
        prop_assert_eq!(answer.items.len(), keys.len());
        for (item, key) in answer.items.iter().zip(keys) {
            prop_assert_eq!(&item.key, key);
            prop_assert_eq!(&item.found.as_ref().unwrap().value, &entry.value);
        }
    }

    #[test]
    fn a_page_is_read_as_the_store_gave_it(key in keys(), entry in entries(), format in formats()) {
        let lines = [("accept", format.content_type())];
        let url = for_list(b"", Some(LIST_ITEMS_MAX), None, ListValues::Full);
        let (command, answer) = run(&format!("GET {url}"), &lines);
        let items = vec![PageItem { key: key.clone(), entry: entry.clone() }];
        let page = Page { revision: Revision(1), items, cursor: None };
        let response = answer.respond(STORE, &command, Reply::Page(page)).unwrap();
        let answer: ListAnswer = decode(&response);
        prop_assert_eq!(&answer.items[0].key, &key);
        prop_assert_eq!(answer.items[0].value.as_ref(), Some(&entry.value));
    }
}

#[test]
fn what_only_headers_can_express_has_no_batch_form() {
    let tag = Etag { epoch: EPOCH, revision: Revision(1) };
    for condition in [Condition::NoneOf(vec![tag]), Condition::AnyOf(vec![tag, tag]), Condition::AnyOf(vec![])] {
        let command = Command::Delete(Delete { key: Key::empty(), condition });
        assert!(encode_request(&command, Format::Json).is_err(), "{command:?}");
    }
    let (list, _) = run("GET /v1/keys", &[]);
    assert!(encode_request(&list, Format::Json).is_err());
}
