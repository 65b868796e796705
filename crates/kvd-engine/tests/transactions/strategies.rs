//! Random commands on few keys, so that they meet, with values that are numbers often enough.

use bytes::Bytes;
use kvd_types::*;
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) const KEYS: u8 = 7;

/// Longer values are refused: few appends lead there.
pub(crate) const VALUE_BYTES_MAX: usize = 24;

pub(crate) fn key_of(number: u8) -> Key<'static> {
    Key::new(vec![b'k'; usize::from(number)]).unwrap()
}

pub(crate) fn key() -> impl Strategy<Value = Key<'static>> {
    (0..KEYS).prop_map(key_of)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => (-3i64..100).prop_map(|number| Bytes::from(number.to_string())),
        1 => Just(Bytes::from(i64::MAX.to_string())),
        1 => Just(Bytes::from(i64::MIN.to_string())),
        2 => (0usize..4).prop_map(|size| Bytes::from(vec![b'v'; size])),
        1 => prop::sample::select(vec!["-0", "+1", "007", " 1", "1 "]).prop_map(Bytes::from),
        1 => Just(Bytes::from(vec![b'x'; VALUE_BYTES_MAX])),
    ]
}

pub(crate) fn condition() -> impl Strategy<Value = Condition> {
    let revision = || (1u64..20).prop_map(Revision);
    let tag = || revision().prop_map(|revision| Etag { epoch: Epoch(0), revision });
    prop_oneof![
        16 => Just(Condition::Always),
        2 => Just(Condition::Absent),
        3 => Just(Condition::Exists),
        1 => revision().prop_map(Condition::Revision),
        1 => vec(tag(), 0..3).prop_map(Condition::AnyOf),
        1 => vec(tag(), 0..3).prop_map(Condition::NoneOf),
        1 => value().prop_map(Condition::Value),
    ]
}

fn ttl() -> impl Strategy<Value = Ttl> {
    prop_oneof![
        4 => Just(Ttl::Default),
        2 => Just(Ttl::None),
        2 => Just(Ttl::Keep),
        2 => (1u64..40).prop_map(Ttl::Ms),
        1 => (0u64..80).prop_map(Ttl::At),
    ]
}

fn set() -> impl Strategy<Value = Set<'static>> {
    let content_type = prop::option::of(Just(ContentType::new(b"text/plain").unwrap()));
    (key(), value(), content_type, ttl(), condition()).prop_map(|(key, value, content_type, ttl, condition)| Set {
        key,
        value,
        content_type,
        ttl,
        condition,
    })
}

fn delete() -> impl Strategy<Value = Delete<'static>> {
    (key(), condition()).prop_map(|(key, condition)| Delete { key, condition })
}

fn rule() -> impl Strategy<Value = Rule> {
    let only = prop::sample::select(vec![
        ExpiryCondition::Always,
        ExpiryCondition::Absent,
        ExpiryCondition::Present,
        ExpiryCondition::Later,
        ExpiryCondition::Earlier,
        ExpiryCondition::PresentAndEarlier,
    ]);
    let by = prop_oneof![6 => -3i64..4, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    prop_oneof![
        4 => by.prop_map(|by| Rule::Increment { by }),
        3 => value().prop_map(|bytes| Rule::Append { bytes }),
        2 => (0usize..30, value()).prop_map(|(offset, bytes)| Rule::SetRange { offset, bytes }),
        4 => (ttl(), only).prop_map(|(ttl, only)| Rule::Expire { ttl, only }),
    ]
}

fn modify() -> impl Strategy<Value = Command<'static>> {
    (key(), rule(), condition()).prop_map(|(key, rule, condition)| Command::Modify(Modify { key, rule, condition }))
}

fn transfer() -> impl Strategy<Value = Command<'static>> {
    (key(), key(), any::<bool>(), any::<bool>())
        .prop_map(|(from, to, replace, keep)| Command::Transfer(Transfer { from, to, replace, keep }))
}

/// A command that names its keys.
pub(crate) fn command() -> impl Strategy<Value = Command<'static>> {
    prop_oneof![
        2 => key().prop_map(|key| Command::Get { key }),
        1 => key().prop_map(|key| Command::Peek { key }),
        1 => (vec(key(), 0..5), any::<bool>()).prop_map(|(keys, require_all)| Command::MultiGet { keys, require_all }),
        4 => set().prop_map(Command::Set),
        1 => vec(set(), 0..4).prop_map(|sets| Command::MultiSet { sets }),
        2 => delete().prop_map(Command::Delete),
        1 => (vec(delete(), 0..4), any::<bool>())
            .prop_map(|(deletes, require_all)| Command::MultiDelete { deletes, require_all }),
        6 => modify(),
        2 => transfer(),
    ]
}

pub(crate) fn transaction() -> impl Strategy<Value = Command<'static>> {
    let check = (key(), condition()).prop_map(|(key, condition)| Check { key, condition });
    let on_failure = prop::sample::select(vec![OnFailure::Abort, OnFailure::Continue]);
    (vec(check, 0..3), vec(command(), 0..6), prop::option::of(vec(command(), 0..4)), on_failure).prop_map(
        |(checks, commands, otherwise, on_failure)| {
            Command::Transaction(Transaction { checks, commands, otherwise, on_failure })
        },
    )
}
