//! Commands that change a key by what it holds, and those about its expiry: incr, append, ttl, expire, persist.

use std::time::Duration;

use kvd_client::Key;
use kvd_wire::rest::batch::{Format, Message};

use super::{Connection, Figure, report_missing};
use crate::exit::{Exit, Failure};
use crate::render::{self, Output};

pub(super) fn increment(client: &Connection, output: &mut Output, key: &Key<'_>, by: i64) -> Result<Exit, Failure> {
    let answer = client.increment(key, by)?;
    let sum = answer.value.to_string();
    let document = answer.encode(Format::Json, false);
    Figure { key, title: "value", human: sum.clone(), plain: sum, document }.print(output)
}

pub(super) fn append(client: &Connection, output: &mut Output, key: &Key<'_>, value: Vec<u8>) -> Result<Exit, Failure> {
    let size = client.append(key, value)?;
    let document = render::key_with(key, "size", size.into())?;
    Figure { key, title: "size", human: size.to_string(), plain: size.to_string(), document }.print(output)
}

pub(super) fn ttl(client: &Connection, output: &mut Output, key: &Key<'_>) -> Result<Exit, Failure> {
    let Some(answer) = client.ttl(key)? else { return missing(output, key) };
    let (human, plain) = match answer.ttl_ms {
        Some(ms) => (render::duration_ms(ms), ms.to_string()),
        None => ("never".to_owned(), "none".to_owned()),
    };
    let document = answer.encode(Format::Json, false);
    Figure { key, title: "goes in", human, plain, document }.print(output)
}

pub(super) fn expire(client: &Connection, output: &mut Output, key: &Key<'_>, ms: u64) -> Result<Exit, Failure> {
    let found = client.expire(key, Duration::from_millis(ms))?;
    done(output, key, found, &format!("ok: goes in {}", render::duration_ms(ms)))
}

pub(super) fn persist(client: &Connection, output: &mut Output, key: &Key<'_>) -> Result<Exit, Failure> {
    let found = client.persist(key)?;
    done(output, key, found, "ok: stays")
}

/// What a command says that has no result but whether the key was there.
fn done(output: &mut Output, key: &Key<'_>, found: bool, message: &str) -> Result<Exit, Failure> {
    if !found {
        return missing(output, key);
    }
    if output.view.is_json() {
        output.json(&render::key_with(key, "found", true.into())?)?;
    } else if output.view.is_for_people() {
        output.note(message)?;
    }
    Ok(Exit::Ok)
}

fn missing(output: &mut Output, key: &Key<'_>) -> Result<Exit, Failure> {
    if output.view.is_json() {
        output.json(&render::key_with(key, "found", false.into())?)?;
    }
    report_missing(output, &[key])
}
