//! docs/BENCHMARKS.md: the section between its markers is written from the raw data, and what people wrote around it stays.
//! Knows nothing of how figures were taken.

mod figures;
mod tables;
mod targets;

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, ensure};

use crate::args::Paths;
use crate::results::{self, AllocatorResults, Cell, EngineResults};

const BEGIN: &str = "<!-- engine:begin -->";
const END: &str = "<!-- engine:end -->";
const HEAD: &str = "\
# Benchmarks

What stands between markers is generated from the raw data in `docs/bench`; the rest is written by hand.
";

/// Writes the section from whatever raw data there is.
///
/// # Errors
/// There is no raw data, a file can't be read or written, or the report's markers don't pair.
pub(crate) fn write(paths: &Paths) -> anyhow::Result<()> {
    let engine: Option<EngineResults> = results::read(&paths.engine())?;
    let allocators: Option<AllocatorResults> = results::read(&paths.allocators())?;
    ensure!(
        engine.is_some() || allocators.is_some(),
        "neither {} nor {} exists: measure first",
        paths.engine().display(),
        paths.allocators().display()
    );
    let mut section = String::from("\n## Engine\n\n");
    if let Some(results) = &engine {
        section += &tables::engine(results);
    }
    if let Some(results) = &allocators {
        section += &tables::allocators(results);
    }
    let path = paths.report();
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => HEAD.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let after = splice(&before, &section).with_context(|| format!("cannot write into {}", path.display()))?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    fs::write(path, after).with_context(|| format!("cannot write {}", path.display()))?;
    anstream::eprintln!("report: {}", path.display());
    Ok(())
}

/// One cell, for those who watch.
pub(crate) fn line(cell: &Cell) -> String {
    let what = figures::name(&cell.place);
    format!("{what}: {}: {:.1} ns", cell.side, figures::median(&cell.ns))
}

/// `text` with `section` between the markers; at its end, if it has none.
fn splice(text: &str, section: &str) -> anyhow::Result<String> {
    let count = |marker: &str| text.matches(marker).count();
    match (count(BEGIN), count(END)) {
        (0, 0) => Ok(format!("{}\n\n{BEGIN}\n{section}\n{END}\n", text.trim_end())),
        (1, 1) => {
            let (before, rest) = text.split_once(BEGIN).context("no begin")?;
            let (_, after) = rest.split_once(END).with_context(|| format!("{END} stands before {BEGIN}"))?;
            Ok(format!("{before}{BEGIN}\n{section}\n{END}{after}"))
        }
        (begins, ends) => anyhow::bail!("{begins} times {BEGIN} and {ends} times {END}: there must be one of each"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_survives_and_what_was_generated_does_not() {
        let once = splice("# Benchmarks\n\nBy hand.\n", "old").unwrap();
        assert_eq!(once, format!("# Benchmarks\n\nBy hand.\n\n{BEGIN}\nold\n{END}\n"));
        let twice = splice(&format!("{once}\nTried: nothing.\n"), "new").unwrap();
        assert_eq!(twice, format!("# Benchmarks\n\nBy hand.\n\n{BEGIN}\nnew\n{END}\n\nTried: nothing.\n"));
        assert_eq!(splice(&twice, "new").unwrap(), twice);
    }

    #[test]
    fn markers_that_do_not_pair_are_refused() {
        for text in [BEGIN.to_owned(), END.to_owned(), format!("{END}{BEGIN}"), format!("{BEGIN}{BEGIN}{END}")] {
            assert!(splice(&text, "new").is_err(), "{text}");
        }
    }
}
