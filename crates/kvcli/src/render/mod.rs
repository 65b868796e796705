//! Results as text: which form an output has, and where it goes. Standard output carries results and nothing else, standard
//! error everything said about them.

mod changes;
mod json;
mod keys;
mod report;
mod results;
mod values;

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentLineStyle, LineStyle, Table, TableStyle};

use changes::gone;
pub(crate) use changes::{change_columns, change_lines, change_raw, change_tsv};
pub(crate) use json::{document, item_without_value, items_without_values, key_with};
pub(crate) use keys::{
    existence_table, existence_tsv, figure_table, in_order, key_columns, key_heading, key_json, key_line, key_null,
    key_raw, key_tsv,
};
pub(crate) use report::{Group, dotted, duration_ms, groups, head, info, rows, stats};
pub(crate) use results::{history_table, history_tsv, results_raw, results_table, results_tsv};
use values::preview;
pub(crate) use values::{hexdump, is_text, pair_table, pair_tsv};

use crate::exit::Failure;
use crate::flags::{Format, Global};

/// The form of an output, now that it is known whether people read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Made for people.
    Human,
    /// Made for programs.
    Piped,
    Raw,
    Table,
    Tsv,
    Json,
    Ndjson,
}

impl View {
    fn new(format: Format, json: bool, terminal: bool) -> View {
        match format {
            _ if json => View::Json,
            Format::Auto if terminal => View::Human,
            Format::Auto => View::Piped,
            Format::Raw => View::Raw,
            Format::Table => View::Table,
            Format::Tsv => View::Tsv,
            Format::Json => View::Json,
            Format::Ndjson => View::Ndjson,
        }
    }

    /// Whether people are to read it.
    pub(crate) fn is_for_people(self) -> bool {
        matches!(self, View::Human | View::Table)
    }

    /// Whether it is JSON, which says everything itself.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, View::Json | View::Ndjson)
    }
}

/// Where results and messages go.
#[derive(Debug)]
pub(crate) struct Output {
    /// The form of results.
    pub(crate) view: View,
    /// Whether results may be coloured.
    pub(crate) colour: bool,
    /// Columns of the terminal; none when it isn't one.
    pub(crate) width: Option<u16>,
    /// Results.
    pub(crate) out: BufWriter<StdoutLock<'static>>,
    quiet: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Output {
            view: View::new(global.output, global.json, terminal),
            colour: anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never,
            width: terminal_size::terminal_size_of(&stdout).map(|(width, _)| width.0),
            out: BufWriter::new(stdout.lock()),
            quiet: global.quiet,
        }
    }

    /// Says something on standard error, after the results so far, unless that is unwanted.
    pub(crate) fn note(&mut self, message: impl Display) -> io::Result<()> {
        self.out.flush()?;
        if !self.quiet {
            // Whoever closed standard error doesn't want to hear it.
            let _ = writeln!(io::stderr(), "{message}");
        }
        Ok(())
    }

    /// Asks something on standard error, whether or not messages are wanted.
    pub(crate) fn ask(&mut self, question: impl Display) -> io::Result<()> {
        self.out.flush()?;
        write!(io::stderr(), "{question}")
    }

    /// Says on standard error why the command failed, after the results so far.
    pub(crate) fn complain(&mut self, failure: &Failure) {
        // The failure may be that nobody takes the results.
        let _ = self.out.flush();
        let Some(error) = &failure.error else { return };
        let mut stderr = anstream::AutoStream::auto(io::stderr());
        let (red, cyan) = (AnsiColor::Red.on_default().bold(), AnsiColor::Cyan.on_default());
        let text = format!("{error:#}");
        let _ = writeln!(stderr, "{red}error:{red:#} {}", text.trim_end());
        if let Some(hint) = &failure.hint {
            let _ = writeln!(stderr, "{cyan}hint:{cyan:#} {hint}");
        }
    }

    /// Writes a JSON document in whichever JSON form is asked for.
    pub(crate) fn json(&mut self, text: &[u8]) -> Result<(), Failure> {
        match self.view {
            View::Ndjson => json::lines(&mut self.out, text)?,
            _ => document(&mut self.out, text)?,
        }
        Ok(())
    }
}

/// A table with a line under its header and none elsewhere.
fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    let bare = ContentLineStyle::none();
    let style = TableStyle::new().header_lines(bare).header_separator(LineStyle::none().fill('─')).content_lines(bare);
    table.load_style(style).set_header(header);
    table
}

/// Bold where colours are.
fn heading(colour: bool) -> Style {
    if colour { Style::new().bold() } else { Style::new() }
}

/// What is written, as text.
#[cfg(test)]
fn shown(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_depends_on_the_terminal_and_the_others_do_not() {
        assert_eq!(View::new(Format::Auto, false, true), View::Human);
        assert_eq!(View::new(Format::Auto, false, false), View::Piped);
        assert_eq!(View::new(Format::Auto, true, true), View::Json);
        for terminal in [false, true] {
            assert_eq!(View::new(Format::Raw, false, terminal), View::Raw);
            assert_eq!(View::new(Format::Table, false, terminal), View::Table);
            assert_eq!(View::new(Format::Tsv, false, terminal), View::Tsv);
            assert_eq!(View::new(Format::Json, false, terminal), View::Json);
            assert_eq!(View::new(Format::Ndjson, false, terminal), View::Ndjson);
        }
    }
}
