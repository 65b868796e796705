//! Arbitrary keys, values, commands and answers for the property tests.

use bytes::Bytes;
use kvd_types::{
    Check, Command, Condition, ContentType, Delete, Entry, Epoch, Etag, ExpiryCondition, Key, Modify, OnFailure,
    Revision, Rule, Set, Transaction, Ttl,
};
use kvd_wire::rest::batch::Format;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Text as people and libraries get wrong, arbitrary bytes, and long keys.
pub(crate) fn keys() -> impl Strategy<Value = Key<'static>> {
    const PIECES: &[&str] =
        &["a", "/", ".", "..", "%", "2F", "+", " ", "?", "#", "\0", "\u{7f}", "\u{e4}", "\u{1f600}", "=", "&"];
    let text = vec(select(PIECES), 0..8).prop_map(|pieces| pieces.concat().into_bytes());
    let long = (any::<u8>(), 900_usize..=65_536).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![6 => text, 3 => vec(any::<u8>(), 0..40), 1 => long].prop_map(|bytes| Key::new(bytes).unwrap())
}

pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..40), "\\PC{0,20}".prop_map(String::into_bytes)].prop_map(Bytes::from)
}

pub(crate) fn content_types() -> impl Strategy<Value = Option<ContentType>> {
    let stored = select(&["text/plain", "application/json; charset=utf-8", "x\"y\\z"][..]);
    proptest::option::of(stored.prop_map(|text| ContentType::new(text.as_bytes()).unwrap()))
}

pub(crate) fn conditions() -> impl Strategy<Value = Condition> {
    let etag = (any::<u32>(), any::<u64>())
        .prop_map(|(epoch, revision)| Etag { epoch: Epoch(epoch), revision: Revision(revision) });
    prop_oneof![
        Just(Condition::Always),
        Just(Condition::Absent),
        Just(Condition::Exists),
        any::<u64>().prop_map(|revision| Condition::Revision(Revision(revision))),
        etag.prop_map(|tag| Condition::AnyOf(vec![tag])),
        bytes().prop_map(Condition::Value),
    ]
}

pub(crate) fn ttls() -> impl Strategy<Value = Ttl> {
    prop_oneof![Just(Ttl::Default), Just(Ttl::None), Just(Ttl::Keep), (1..3_153_600_000_000_u64).prop_map(Ttl::Ms)]
}

pub(crate) fn sets() -> impl Strategy<Value = Set<'static>> {
    (keys(), bytes(), content_types(), ttls(), conditions())
        .prop_map(|(key, value, content_type, ttl, condition)| Set { key, value, content_type, ttl, condition })
}

pub(crate) fn deletes() -> impl Strategy<Value = Delete<'static>> {
    (keys(), conditions()).prop_map(|(key, condition)| Delete { key, condition })
}

/// What a transaction can be made of.
fn operations() -> impl Strategy<Value = Command<'static>> {
    let durations = prop_oneof![Just(Ttl::None), (1..3_153_600_000_000_u64).prop_map(Ttl::Ms)];
    let rules = prop_oneof![
        any::<i64>().prop_map(|by| Rule::Increment { by }),
        bytes().prop_map(|bytes| Rule::Append { bytes }),
        durations.prop_map(|ttl| Rule::Expire { ttl, only: ExpiryCondition::Always }),
    ];
    prop_oneof![
        keys().prop_map(|key| Command::Get { key }),
        sets().prop_map(Command::Set),
        deletes().prop_map(Command::Delete),
        (keys(), rules, conditions()).prop_map(|(key, rule, condition)| Command::Modify(Modify {
            key,
            rule,
            condition
        })),
    ]
}

pub(crate) fn transactions() -> impl Strategy<Value = Command<'static>> {
    let checks = (keys(), conditions().prop_filter("a check asks something", |asked| *asked != Condition::Always))
        .prop_map(|(key, condition)| Check { key, condition });
    (vec(checks, 0..3), vec(operations(), 1..4), proptest::option::of(vec(operations(), 0..3))).prop_map(
        |(checks, commands, otherwise)| {
            Command::Transaction(Transaction { checks, commands, otherwise, on_failure: OnFailure::Abort })
        },
    )
}

/// Every command that has a batch form, as the batch it becomes.
pub(crate) fn commands() -> impl Strategy<Value = Command<'static>> {
    prop_oneof![
        (vec(keys(), 0..4), any::<bool>()).prop_map(|(keys, require_all)| Command::MultiGet { keys, require_all }),
        vec(sets(), 0..4).prop_map(|sets| Command::MultiSet { sets }),
        (vec(deletes(), 0..4), any::<bool>())
            .prop_map(|(deletes, require_all)| Command::MultiDelete { deletes, require_all }),
        transactions(),
    ]
}

pub(crate) fn formats() -> impl Strategy<Value = Format> {
    select(&[Format::Json, Format::Cbor][..])
}

pub(crate) fn entries() -> impl Strategy<Value = Entry> {
    (bytes(), content_types(), proptest::option::of(any::<u64>()), any::<u64>()).prop_map(
        |(value, content_type, expires_at_ms, revision)| Entry {
            value,
            content_type,
            expires_at_ms,
            revision: Revision(revision),
        },
    )
}
