//! Commands about the server as a whole: what it tells of itself, and what it is to do with itself.

use std::io::Write as _;
use std::time::Instant;

use kvd_wire::rest::batch::{Format, Message};

use super::{Connection, print_document};
use crate::exit::{Exit, Failure};
use crate::render::{self, Output};

pub(super) fn stats(client: &Connection, output: &mut Output) -> Result<Exit, Failure> {
    let stats = client.stats()?;
    report(output, &stats, render::stats)
}

pub(super) fn info(client: &Connection, output: &mut Output) -> Result<Exit, Failure> {
    let info = client.info()?;
    report(output, &info, render::info)
}

pub(super) fn snapshot(client: &Connection, output: &mut Output) -> Result<Exit, Failure> {
    client.snapshot()?;
    output.note("the server makes a snapshot")?;
    Ok(Exit::Ok)
}

pub(super) fn ping(client: &Connection, output: &mut Output) -> Result<Exit, Failure> {
    let start = Instant::now();
    client.ping()?;
    let time_ms = start.elapsed().as_micros() as f64 / 1_000.0;
    if output.view.is_for_people() {
        writeln!(output.out, "ready, answered in {time_ms:.2} ms")?;
        return Ok(Exit::Ok);
    }
    let answer = serde_json::json!({ "ready": true, "time_ms": time_ms });
    print_document(output, answer.to_string().as_bytes())
}

/// For people in groups, for programs as a document.
fn report<M: Message>(output: &mut Output, answer: &M, groups: fn(&M) -> Vec<render::Group>) -> Result<Exit, Failure> {
    if !output.view.is_for_people() {
        return print_document(output, &answer.encode(Format::Json, false));
    }
    render::groups(&mut output.out, output.colour, &groups(answer))?;
    Ok(Exit::Ok)
}
