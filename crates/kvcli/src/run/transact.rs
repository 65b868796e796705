//! Commands that make several operations one: txn, tx.

use std::io::Write as _;

use kvd_client::{Mode, TransactionAnswer, Txn};
use kvd_wire::rest::batch::{Format, Message};

use super::Connection;
use crate::exit::{Exit, Failure};
use crate::flags::Tx;
use crate::render::{self, Output, View};

/// A script as one request. The exit code says whether what it asked for was done.
pub(super) fn txn(client: &Connection, output: &mut Output, txn: &Txn) -> Result<Exit, Failure> {
    let answer = client.outside("a script")?.transaction(txn)?;
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
    output.note(not_committed(&answer))?;
    Ok(Exit::Conflict)
}

fn not_committed(answer: &TransactionAnswer<'_>) -> String {
    let checks: Vec<String> = answer.failed_checks.iter().map(|index| (index + 1).to_string()).collect();
    let which = if checks.len() == 1 { "check" } else { "checks" };
    format!("{which} {} did not hold: what stands behind `else` was done", checks.join(", "))
}

/// Begins, commits or rolls back an interactive transaction.
pub(super) fn tx(connection: &Connection, output: &mut Output, command: &Tx) -> Result<Exit, Failure> {
    let open = || {
        connection.tx.as_ref().ok_or_else(|| {
            Failure::usage("no transaction is named").hint("name it by KVD_TX=$(kvcli tx begin), or --tx ID")
        })
    };
    match command {
        Tx::Begin { read_only } => {
            let mode = if *read_only { Mode::ReadOnly } else { Mode::ReadWrite };
            let id = connection.client.begin(mode)?.id();
            if output.view.is_json() {
                output.json(serde_json::json!({ "id": id, "mode": mode }).to_string().as_bytes())?;
            } else {
                writeln!(output.out, "{id}")?;
            }
        }
        Tx::Commit => {
            let revision = open()?.commit()?;
            if output.view.is_json() {
                output.json(serde_json::json!({ "revision": revision.0 }).to_string().as_bytes())?;
            } else {
                output.note(format_args!("committed at revision {revision}"))?;
            }
        }
        Tx::Rollback => {
            open()?.abort()?;
            output.note("rolled back")?;
        }
    }
    Ok(Exit::Ok)
}
