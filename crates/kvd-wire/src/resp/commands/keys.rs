//! Commands on keys, whatever they hold: their arguments, and the store's command that each becomes.

use kvd_types::{Command, Delete, Transfer};

use super::{Built, Commands, Plan, Record, integer, is, key, keys_from, one};
use crate::resp::error;
use crate::resp::parse::Request;
use crate::resp::reply::Shape;

pub(super) fn del<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    if request.len() == 2 {
        return one(Command::Delete(Delete::new(key(request, 1)?)), Shape::Count);
    }
    let deletes = keys_from(request, 1)?.into_iter().map(Delete::new).collect();
    one(Command::MultiDelete { deletes, require_all: false }, Shape::Count)
}

pub(super) fn exists<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    if request.len() == 2 {
        return one(Command::Get { key: key(request, 1)? }, Shape::Count);
    }
    one(Command::MultiGet { keys: keys_from(request, 1)?, require_all: false }, Shape::Count)
}

/// As EXISTS, but that it counts as no get.
pub(super) fn touch<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    if request.len() == 2 {
        return one(Command::Peek { key: key(request, 1)? }, Shape::Count);
    }
    let keys = keys_from(request, 1)?;
    let shape = Shape::Found { keys: keys.len() };
    Ok(Plan::Data(Commands::Several(keys.into_iter().map(|key| Command::Peek { key }).collect()), shape))
}

fn ask<'r>(request: &Request<'r>, index: usize, shape: Shape) -> Built<'r> {
    one(Command::Peek { key: key(request, index)? }, shape)
}

pub(super) fn type_<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    ask(request, 1, Shape::Type)
}

pub(super) fn object_encoding<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    ask(request, 2, Shape::Encoding)
}

pub(super) fn object_idletime<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    ask(request, 2, Shape::IdleTime)
}

pub(super) fn object_refcount<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    ask(request, 2, Shape::ReferenceCount)
}

pub(super) fn object_freq<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    ask(request, 2, Shape::Frequency)
}

pub(super) fn rename<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    transfer(request, true, Shape::Renamed)
}

pub(super) fn renamenx<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    transfer(request, false, Shape::RenamedIfAbsent)
}

fn transfer<'r>(request: &Request<'r>, replace: bool, shape: Shape) -> Built<'r> {
    let (from, to) = (key(request, 1)?, key(request, 2)?);
    if from == to {
        // Nothing to do but to look whether it is there.
        return one(Command::Peek { key: from }, shape);
    }
    one(Command::Transfer(Transfer { from, to, replace, keep: false }), shape)
}

pub(super) fn copy<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    let mut replace = false;
    let mut at = 3;
    while at < request.len() {
        if is(request.get(at), "replace") {
            replace = true;
        } else if is(request.get(at), "db") && at + 1 < request.len() {
            at += 1;
            if integer(request, at)? != 0 {
                return Err(error::DB_OUT_OF_RANGE.into());
            }
        } else {
            return Err(error::SYNTAX.into());
        }
        at += 1;
    }
    let (from, to) = (key(request, 1)?, key(request, 2)?);
    if from == to {
        return Err(error::SAME_OBJECTS.into());
    }
    one(Command::Transfer(Transfer { from, to, replace, keep: true }), Shape::Copied)
}

/// Both ways of flushing are one: memory is freed in the background.
pub(super) fn flush<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    match request.len() {
        1 => one(Command::Clear, Shape::Ok),
        2 if is(request.get(1), "async") || is(request.get(1), "sync") => one(Command::Clear, Shape::Ok),
        _ => Err(error::SYNTAX.into()),
    }
}
