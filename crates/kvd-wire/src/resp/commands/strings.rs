//! Commands on values: their arguments, and the store's command that each becomes. Which options go together, and which mistake
//! is told first, follows Redis 7.

use std::collections::HashSet;

use kvd_types::{Command, Condition, Delete, ExpiryCondition, Key, Modify, Rule, Set, Ttl};

use super::expiry::{self, Moment};
use super::{Built, Commands, Plan, Record, integer, is, key, keys_from, one};
use crate::resp::error::{self, Refusal};
use crate::resp::number;
use crate::resp::parse::Request;
use crate::resp::reply::Shape;

/// Two commands of one key that take effect together; what is told is the value that the first found.
fn with_previous<'r>(key: &Key<'r>, then: Command<'r>) -> Built<'r> {
    let get = Command::Get { key: key.clone() };
    Ok(Plan::Data(Commands::Several(vec![get, then]), Shape::Previous))
}

fn modify<'r>(request: &Request<'r>, rule: Rule, shape: Shape) -> Built<'r> {
    let modify = Modify { key: key(request, 1)?, rule, condition: Condition::Always };
    one(Command::Modify(modify), shape)
}

pub(super) fn get<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    one(Command::Get { key: key(request, 1)? }, Shape::Value)
}

pub(super) fn strlen<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    one(Command::Get { key: key(request, 1)? }, Shape::Length)
}

pub(super) fn getrange<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    let (start, end) = (integer(request, 2)?, integer(request, 3)?);
    one(Command::Get { key: key(request, 1)? }, Shape::Range { start, end })
}

pub(super) fn mget<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    one(Command::MultiGet { keys: keys_from(request, 1)?, require_all: false }, Shape::Values)
}

pub(super) fn set<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    let mut set = Set::new(key(request, 1)?, request.value(2));
    if request.len() == 3 {
        return one(Command::Set(set), Shape::Set);
    }
    let (mut expiry, mut condition, mut wants_previous) = (None, None, false);
    let mut at = 3;
    while at < request.len() {
        let word = request.get(at);
        let has_value = at + 1 < request.len();
        // The same word twice is no mistake in Redis.
        if is(word, "nx") && matches!(condition, None | Some(Condition::Absent)) {
            condition = Some(Condition::Absent);
        } else if is(word, "xx") && matches!(condition, None | Some(Condition::Exists)) {
            condition = Some(Condition::Exists);
        } else if is(word, "ifeq") && condition.is_none() && has_value {
            condition = Some(Condition::Value(request.value(at + 1)));
            at += 1;
        } else if is(word, "get") {
            wants_previous = true;
        } else if is(word, "keepttl") && matches!(expiry, None | Some(Expiry::Keep)) {
            expiry = Some(Expiry::Keep);
        } else if let Some(moment) = Moment::named(word).filter(|moment| fits(&expiry, *moment) && has_value) {
            expiry = Some(Expiry::Moment(moment, at + 1));
            at += 1;
        } else {
            return Err(error::SYNTAX.into());
        }
        at += 1;
    }
    set.ttl = match expiry {
        None => Ttl::Default,
        Some(Expiry::Keep) => Ttl::Keep,
        Some(Expiry::Moment(moment, at)) => moment.ttl(record, request.get(at))?,
    };
    set.condition = condition.unwrap_or_default();
    if wants_previous {
        let key = set.key.clone();
        return with_previous(&key, Command::Set(set));
    }
    one(Command::Set(set), Shape::Set)
}

/// What SET says of the expiry.
enum Expiry {
    Keep,
    /// With the argument that has the time.
    Moment(Moment, usize),
}

/// Whether a time may be given in this way, after what was said before.
fn fits(said: &Option<Expiry>, moment: Moment) -> bool {
    match said {
        None => true,
        Some(Expiry::Keep) => false,
        Some(Expiry::Moment(before, _)) => *before == moment,
    }
}

pub(super) fn setnx<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    let set = Set { condition: Condition::Absent, ..Set::new(key(request, 1)?, request.value(2)) };
    one(Command::Set(set), Shape::SetIfAbsent)
}

fn set_with_expiry<'r>(record: &'static Record, request: &Request<'r>, moment: Moment) -> Built<'r> {
    let ttl = moment.ttl(record, request.get(2))?;
    one(Command::Set(Set { ttl, ..Set::new(key(request, 1)?, request.value(3)) }), Shape::Set)
}

pub(super) fn setex<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    set_with_expiry(record, request, expiry::IN_SECONDS)
}

pub(super) fn psetex<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    set_with_expiry(record, request, expiry::IN_MILLISECONDS)
}

pub(super) fn getset<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    let key = key(request, 1)?;
    with_previous(&key, Command::Set(Set::new(key.clone(), request.value(2))))
}

pub(super) fn getdel<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    let key = key(request, 1)?;
    with_previous(&key, Command::Delete(Delete::new(key.clone())))
}

pub(super) fn getex<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    let key = key(request, 1)?;
    let ttl = match request.len() {
        2 => return one(Command::Get { key }, Shape::Value),
        3 if is(request.get(2), "persist") => Ttl::None,
        4 => {
            let moment = Moment::named(request.get(2)).ok_or(error::SYNTAX)?;
            moment.ttl(record, request.get(3))?
        }
        _ => return Err(error::SYNTAX.into()),
    };
    let rule = Rule::Expire { ttl, only: ExpiryCondition::Always };
    with_previous(&key, Command::Modify(Modify { key: key.clone(), rule, condition: Condition::Always }))
}

/// Pairs of key and value. Of a key that is named twice the last value counts.
fn pairs<'r>(record: &'static Record, request: &Request<'r>, condition: &Condition) -> Result<Vec<Set<'r>>, Refusal> {
    if request.len().is_multiple_of(2) {
        return Err(error::arity(record.name));
    }
    let mut named = HashSet::with_capacity(request.len() / 2);
    let mut sets = Vec::with_capacity(request.len() / 2);
    for at in (1..request.len()).step_by(2).rev() {
        if named.insert(request.get(at)) {
            sets.push(Set { condition: condition.clone(), ..Set::new(key(request, at)?, request.value(at + 1)) });
        }
    }
    sets.reverse();
    Ok(sets)
}

pub(super) fn mset<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    one(Command::MultiSet { sets: pairs(record, request, &Condition::Always)? }, Shape::Ok)
}

pub(super) fn msetnx<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    one(Command::MultiSet { sets: pairs(record, request, &Condition::Absent)? }, Shape::SetIfAbsent)
}

pub(super) fn append<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    modify(request, Rule::Append { bytes: request.value(2) }, Shape::Length)
}

pub(super) fn setrange<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    let offset = usize::try_from(integer(request, 2)?).map_err(|_| error::OFFSET_OUT_OF_RANGE)?;
    modify(request, Rule::SetRange { offset, bytes: request.value(3) }, Shape::Length)
}

fn increment<'r>(request: &Request<'r>, by: i64) -> Built<'r> {
    modify(request, Rule::Increment { by }, Shape::Integer)
}

pub(super) fn incr<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    increment(request, 1)
}

pub(super) fn decr<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    increment(request, -1)
}

pub(super) fn incrby<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    increment(request, integer(request, 2)?)
}

pub(super) fn decrby<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    increment(request, integer(request, 2)?.checked_neg().ok_or(error::DECREMENT_OVERFLOW)?)
}

pub(super) fn incrbyfloat<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    let by = number::float(request.get(2)).ok_or(error::NOT_A_FLOAT)?;
    if !by.is_finite() {
        return Err(error::NOT_FINITE.into());
    }
    modify(request, Rule::IncrementFloat { by }, Shape::Float)
}
