//! docs/BENCHMARKS.md: each section between markers is written from the raw data, and what people wrote around it stays.
//! Knows nothing of how figures were taken.

mod durable;
mod eviction;
mod figures;
mod tables;
mod targets;

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, ensure};

use crate::args::Paths;
use crate::results::{self, AllocatorResults, Cell, DurableResults, EngineResults, EvictionResults};

const HEAD: &str = "\
# Benchmarks

What stands between markers is generated from the raw data in `docs/bench`; the rest is written by hand.
";

/// Writes the sections that there is raw data of.
///
/// # Errors
/// There is no raw data, a file can't be read or written, or the report's markers don't pair.
pub(crate) fn write(paths: &Paths) -> anyhow::Result<()> {
    let engine: Option<EngineResults> = results::read(&paths.engine())?;
    let allocators: Option<AllocatorResults> = results::read(&paths.allocators())?;
    let durable: Option<DurableResults> = results::read(&paths.durable())?;
    let eviction: Option<EvictionResults> = results::read(&paths.eviction())?;
    let mut sections = Vec::new();
    if engine.is_some() || allocators.is_some() {
        let mut section = String::from("\n## Engine\n\n");
        if let Some(results) = &engine {
            section += &tables::engine(results);
        }
        if let Some(results) = &allocators {
            section += &tables::allocators(results);
        }
        sections.push(("engine", section));
    }
    if let Some(results) = &durable {
        sections.push(("durable", format!("\n## Durability\n\n{}", durable::section(results))));
    }
    if let Some(results) = &eviction {
        sections.push(("eviction", format!("\n## Eviction\n\n{}", eviction::section(results))));
    }
    let files =
        [paths.engine(), paths.allocators(), paths.durable(), paths.eviction()].map(|path| path.display().to_string());
    ensure!(!sections.is_empty(), "there is none of {}: measure first", files.join(", "));
    let path = paths.report();
    let mut text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => HEAD.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    for (name, section) in sections {
        text = splice(&text, name, &section).with_context(|| format!("cannot write into {}", path.display()))?;
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    anstream::eprintln!("report: {}", path.display());
    Ok(())
}

/// One cell, for those who watch.
pub(crate) fn line(cell: &Cell) -> String {
    let what = figures::name(&cell.place);
    format!("{what}: {}: {:.1} ns", cell.side, figures::median(&cell.ns))
}

/// `text` with `section` between the markers of that name; at its end, if it has none.
fn splice(text: &str, name: &str, section: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"));
    let count = |marker: &str| text.matches(marker).count();
    match (count(&begin), count(&end)) {
        (0, 0) => Ok(format!("{}\n\n{begin}\n{section}\n{end}\n", text.trim_end())),
        (1, 1) => {
            let (before, rest) = text.split_once(&begin).context("no begin")?;
            let (_, after) = rest.split_once(&end).with_context(|| format!("{end} stands before {begin}"))?;
            Ok(format!("{before}{begin}\n{section}\n{end}{after}"))
        }
        (begins, ends) => anyhow::bail!("{begins} times {begin} and {ends} times {end}: there must be one of each"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- engine:begin -->";
    const END: &str = "<!-- engine:end -->";

    #[test]
    fn what_people_wrote_survives_and_what_was_generated_does_not() {
        let once = splice("# Benchmarks\n\nBy hand.\n", "engine", "old").unwrap();
        assert_eq!(once, format!("# Benchmarks\n\nBy hand.\n\n{BEGIN}\nold\n{END}\n"));
        let other = splice(&format!("{once}\nTried: nothing.\n"), "durable", "other").unwrap();
        let twice = splice(&other, "engine", "new").unwrap();
        assert_eq!(twice, other.replace("old", "new"));
        assert!(twice.contains("other") && twice.contains("Tried: nothing."), "{twice}");
        assert_eq!(splice(&twice, "engine", "new").unwrap(), twice);
    }

    #[test]
    fn markers_that_do_not_pair_are_refused() {
        for text in [BEGIN.to_owned(), END.to_owned(), format!("{END}{BEGIN}"), format!("{BEGIN}{BEGIN}{END}")] {
            assert!(splice(&text, "engine", "new").is_err(), "{text}");
        }
    }
}
