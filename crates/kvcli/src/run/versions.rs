//! Commands about older versions of a key: history, rollback.

use std::io::Write as _;

use kvd_client::{Key, Revision};
use kvd_wire::rest::batch::{Format, Message};

use super::{Connection, report_missing};
use crate::exit::{Exit, Failure};
use crate::render::{self, Output, View};

pub(super) fn history(client: &Connection, output: &mut Output, key: &Key<'_>) -> Result<Exit, Failure> {
    let Some(answer) = client.outside("a history")?.history(key)? else {
        if output.view.is_json() {
            output.json(&render::key_with(key, "found", false.into())?)?;
        }
        return report_missing(output, &[key]);
    };
    let out = &mut output.out;
    match output.view {
        View::Json | View::Ndjson => output.json(&answer.encode(Format::Json, false))?,
        View::Human | View::Table => render::history_table(out, &answer)?,
        View::Piped | View::Tsv => render::history_tsv(out, &answer)?,
        // Of a list of versions what stands alone is what each is asked for by.
        View::Raw => answer.items.iter().try_for_each(|item| writeln!(out, "{}", item.revision))?,
    }
    Ok(Exit::Ok)
}

pub(super) fn rollback(client: &Connection, output: &mut Output, key: &Key<'_>, to: u64) -> Result<Exit, Failure> {
    let answer = client.outside("a rollback")?.rollback(key, Revision(to))?;
    match output.view {
        View::Json | View::Ndjson => output.json(&answer.encode(Format::Json, false))?,
        View::Human | View::Table => {
            let now = answer.etag.map(|etag| format!(", now revision {}", etag.revision)).unwrap_or_default();
            output.note(format_args!("ok: as at revision {to}{now}"))?;
        }
        _ => {}
    }
    Ok(Exit::Ok)
}
