//! Changes as they happen: watch.

use std::io::Write as _;

use kvd_client::{Revision, WatchOptions, Watched};
use kvd_wire::rest::batch::{Format, Message};

use super::Connection;
use crate::exit::{Exit, Failure};
use crate::render::{self, Output, View};

/// Prints changes until it is interrupted, or nobody reads them any more.
pub(super) fn watch(
    client: &Connection,
    output: &mut Output,
    prefix: Vec<u8>,
    from: Option<u64>,
) -> Result<Exit, Failure> {
    let client = client.outside("a watch")?;
    for event in client.watch(WatchOptions { prefix, from: from.map(Revision) }) {
        let commit = match event? {
            Watched::Commit(commit) => commit,
            Watched::Lagged(lagged) => {
                output.note(format_args!(
                    "too slow: changes behind revision {} and before {} are lost",
                    lagged.revision, lagged.oldest
                ))?;
                continue;
            }
        };
        let out = &mut output.out;
        match output.view {
            View::Json => render::document(out, &commit.encode(Format::Json, false))?,
            View::Ndjson => render::change_lines(out, &commit)?,
            View::Human | View::Table => render::change_columns(out, output.width, &commit)?,
            View::Piped | View::Tsv => render::change_tsv(out, &commit)?,
            View::Raw => render::change_raw(out, &commit)?,
        }
        out.flush()?;
    }
    Ok(Exit::Ok)
}
