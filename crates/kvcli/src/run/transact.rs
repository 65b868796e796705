//! Commands that make several operations one: txn, tx.

use std::io::Write as _;

use kvd_client::blocking::{Client, Tx};
use kvd_client::{Error, Mode};
use kvd_wire::rest::batch::{Format, Message};

use super::Connection;
use crate::exit::{Exit, Failure};
use crate::input::Script;
use crate::render::{self, Output, View};

/// A script as one request. The exit code says whether what it asked for was done.
pub(super) fn txn(client: &Connection, output: &mut Output, script: &Script) -> Result<Exit, Failure> {
    let answer = client.outside("a script")?.transaction(&script.txn).map_err(|error| refused(script, error))?;
    let out = &mut output.out;
    match output.view {
        View::Json | View::Ndjson => output.json(&answer.encode(Format::Json, false))?,
        View::Human | View::Table => render::results_table(out, output.width, &answer.results)?,
        View::Piped | View::Tsv => render::results_tsv(out, &answer.results)?,
        View::Raw => render::results_raw(out, &answer.results)?,
    }
    if answer.is_committed() {
        if output.view.is_for_people() {
            output.note(format_args!("committed at revision {}", answer.revision))?;
        }
        return Ok(Exit::Ok);
    }
    for index in &answer.failed_checks {
        let place = script.place(&format!("#/checks/{index}")).unwrap_or_default();
        output.note(format_args!("{place}did not hold: what stands behind `else` was done"))?;
    }
    Ok(Exit::Conflict)
}

/// A commit that nobody answered is not looked for: it is asked for again.
fn unanswered(error: Error) -> Failure {
    let may_be_asked_again = error.outcome_is_unknown() && error.problem().is_none();
    let failure = Failure::from(error);
    if may_be_asked_again {
        return failure.hint("run `kvcli tx commit` once more: the server keeps its answer for a minute");
    }
    failure
}

/// A refusal, with the line of the script that it is about.
fn refused(script: &Script, error: Error) -> Failure {
    let at_fault = error.problem().and_then(|problem| problem.errors().first()?.pointer.clone());
    let place = at_fault.and_then(|pointer| script.place(&pointer)).unwrap_or_default();
    let failure = Failure::from(error);
    Failure { error: failure.error.map(|error| anyhow::anyhow!("{place}{error:#}")), ..failure }
}

/// Begins an interactive transaction.
pub(super) fn begin(client: &Client, output: &mut Output, read_only: bool) -> Result<Exit, Failure> {
    let mode = if read_only { Mode::ReadOnly } else { Mode::ReadWrite };
    let tx = client.begin(mode)?;
    match tx.begun() {
        Some(begun) if output.view.is_json() => output.json(&begun.encode(Format::Json, false))?,
        _ => writeln!(output.out, "{}", tx.id())?,
    }
    Ok(Exit::Ok)
}

/// Commits the one that is named.
pub(super) fn commit(connection: &Connection, output: &mut Output) -> Result<Exit, Failure> {
    let revision = named(connection)?.commit().map_err(unanswered)?;
    if output.view.is_json() {
        output.json(serde_json::json!({ "revision": revision.0 }).to_string().as_bytes())?;
    } else {
        output.note(format_args!("committed at revision {revision}"))?;
    }
    Ok(Exit::Ok)
}

/// Rolls back the one that is named.
pub(super) fn rollback(connection: &Connection, output: &mut Output) -> Result<Exit, Failure> {
    named(connection)?.abort()?;
    output.note("rolled back")?;
    Ok(Exit::Ok)
}

fn named(connection: &Connection) -> Result<&Tx, Failure> {
    connection.tx.as_ref().ok_or_else(|| {
        Failure::usage("no transaction is named").hint("name it by KVD_TX=$(kvcli tx begin), or --tx ID")
    })
}
