//! Commands on the time at which a key goes, and how such times are written. Which mistake is told first follows Redis 7.

use kvd_types::{Command, Condition, ExpiryCondition, Modify, Rule, Ttl};

use super::{Built, Record, is, key, one};
use crate::resp::error::{self, Refusal};
use crate::resp::number;
use crate::resp::parse::Request;
use crate::resp::reply::Shape;

/// How a time is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// The unit, in milliseconds.
    unit_ms: i64,
    /// Counted from 1970 instead of from now.
    is_absolute: bool,
}

pub(super) const IN_SECONDS: Moment = Moment { unit_ms: 1_000, is_absolute: false };
pub(super) const IN_MILLISECONDS: Moment = Moment { unit_ms: 1, is_absolute: false };
const AT_SECONDS: Moment = Moment { unit_ms: 1_000, is_absolute: true };
const AT_MILLISECONDS: Moment = Moment { unit_ms: 1, is_absolute: true };

/// A time to live beyond it would end after the end of time, whenever it begins in this century.
const TTL_MS_MAX: i64 = i64::MAX - (1 << 42);

impl Moment {
    /// The one that an option of SET or GETEX stands for.
    pub(super) fn named(word: &[u8]) -> Option<Moment> {
        let names = [("ex", IN_SECONDS), ("px", IN_MILLISECONDS), ("exat", AT_SECONDS), ("pxat", AT_MILLISECONDS)];
        names.into_iter().find(|(name, _)| is(word, name)).map(|(_, moment)| moment)
    }

    fn milliseconds(self, record: &'static Record, text: &[u8]) -> Result<i64, Refusal> {
        let value = number::integer(text).ok_or(error::NOT_AN_INTEGER)?;
        let ms = value.checked_mul(self.unit_ms).filter(|ms| self.is_absolute || *ms <= TTL_MS_MAX);
        ms.ok_or_else(|| error::expire_time(record.name))
    }

    /// A time to come, for a value that is set.
    pub(super) fn ttl(self, record: &'static Record, text: &[u8]) -> Result<Ttl, Refusal> {
        let ms = self.milliseconds(record, text)?;
        let ms = u64::try_from(ms).ok().filter(|ms| *ms > 0).ok_or_else(|| error::expire_time(record.name))?;
        Ok(if self.is_absolute { Ttl::At(ms) } else { Ttl::Ms(ms) })
    }

    /// Any time: one that has passed deletes the key.
    fn any(self, record: &'static Record, text: &[u8]) -> Result<Ttl, Refusal> {
        let ms = self.milliseconds(record, text)?;
        Ok(match u64::try_from(ms) {
            Ok(ms) if self.is_absolute => Ttl::At(ms),
            Ok(ms) if ms > 0 => Ttl::Ms(ms),
            _ => Ttl::At(0),
        })
    }
}

fn set_expiry<'r>(record: &'static Record, request: &Request<'r>, moment: Moment) -> Built<'r> {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for word in request.from(3) {
        let flags = [("nx", &mut nx), ("xx", &mut xx), ("gt", &mut gt), ("lt", &mut lt)];
        let Some((_, flag)) = flags.into_iter().find(|(name, _)| is(word, name)) else {
            return Err(format!("ERR Unsupported option {}", String::from_utf8_lossy(word)).into());
        };
        *flag = true;
    }
    if nx && (xx || gt || lt) {
        return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
    }
    if gt && lt {
        return Err("ERR GT and LT options at the same time are not compatible".into());
    }
    let only = match (nx, xx, gt, lt) {
        (true, ..) => ExpiryCondition::Absent,
        // A key without an expiry never goes: nothing is later.
        (_, _, true, _) => ExpiryCondition::Later,
        (_, true, _, true) => ExpiryCondition::PresentAndEarlier,
        (_, false, _, true) => ExpiryCondition::Earlier,
        (_, true, ..) => ExpiryCondition::Present,
        _ => ExpiryCondition::Always,
    };
    let rule = Rule::Expire { ttl: moment.any(record, request.get(2))?, only };
    modify(request, rule)
}

fn modify<'r>(request: &Request<'r>, rule: Rule) -> Built<'r> {
    let modify = Modify { key: key(request, 1)?, rule, condition: Condition::Always };
    one(Command::Modify(modify), Shape::Changed)
}

pub(super) fn expire<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    set_expiry(record, request, IN_SECONDS)
}

pub(super) fn pexpire<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    set_expiry(record, request, IN_MILLISECONDS)
}

pub(super) fn expireat<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    set_expiry(record, request, AT_SECONDS)
}

pub(super) fn pexpireat<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    set_expiry(record, request, AT_MILLISECONDS)
}

pub(super) fn persist<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    modify(request, Rule::Expire { ttl: Ttl::None, only: ExpiryCondition::Present })
}

fn ask<'r>(request: &Request<'r>, shape: Shape) -> Built<'r> {
    one(Command::Peek { key: key(request, 1)? }, shape)
}

pub(super) fn ttl<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    ask(request, Shape::Expiry { in_seconds: true, is_absolute: false })
}

pub(super) fn pttl<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    ask(request, Shape::Expiry { in_seconds: false, is_absolute: false })
}

pub(super) fn expiretime<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    ask(request, Shape::Expiry { in_seconds: true, is_absolute: true })
}

pub(super) fn pexpiretime<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    ask(request, Shape::Expiry { in_seconds: false, is_absolute: true })
}
