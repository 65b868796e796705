//! `cargo xtask tidy`: the style rules of CONTRIBUTING.md that a program can check. Reads what git tracks or would
//! track, changes nothing. The table here is the whole list; each rule is one function, beside a test that plants a
//! violation. What rustfmt, clippy or rustdoc check is left to them.

mod code;
mod docs;
mod layers;
mod rust;
mod text;
mod tree;

use std::io::{self, Write};
use std::process::ExitCode;

use tree::Tree;

struct Rule {
    /// How CONTRIBUTING.md and the output name it.
    name: &'static str,
    /// What must hold, in one line.
    promise: &'static str,
    check: fn(&Tree) -> Vec<Violation>,
}

const RULES: &[Rule] = &[
    rule("lexes", "every .rs file can be read as Rust", code::lexes),
    rule("opening", "every .rs file opens with //!: what it owns and what it does not know", code::opening),
    rule("length", "no .rs file is longer than 500 lines", text::length),
    rule("width", "no line of a .rs file is wider than 130 characters", text::width),
    rule("whitespace", "no trailing whitespace, no tab in .rs, one newline at the end", text::whitespace),
    rule("unfinished", "nothing is left unfinished: no placeholder macro, no marker for later", code::unfinished),
    rule("unsafe", "unsafe stands in the files that may have it, each with its SAFETY", code::unsafe_),
    rule("ordering", "every atomic ordering has a comment that names its partner", code::ordering),
    rule("sleep", "nothing sleeps to wait for something", code::sleeping),
    rule("ignore", "an ignored test says why", code::ignore),
    rule("layers", "crates depend downwards only", layers::dependencies),
    rule("versions", "versions of dependencies stand in the root Cargo.toml alone", layers::versions),
    rule("boundaries", "a module does not name what it must not know", layers::boundaries),
    rule("places", "no path of one machine, no host of a package registry", text::places),
    rule("links", "relative links in Markdown lead somewhere", docs::links),
    rule("decisions", "ARCHITECTURE.md links every decision record", docs::decisions),
    rule("targets", "every make target that a document names exists", docs::targets),
    rule("contributing", "CONTRIBUTING.md names every rule of this table", contributing),
];

const fn rule(name: &'static str, promise: &'static str, check: fn(&Tree) -> Vec<Violation>) -> Rule {
    Rule { name, promise, check }
}

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: String,
    /// Counted from 1.
    line: usize,
    /// What to do about it.
    advice: String,
}

impl Violation {
    fn new(path: &str, line: usize, advice: impl Into<String>) -> Self {
        Violation { path: path.to_owned(), line, advice: advice.into() }
    }
}

/// The table of rules, for `--help`.
pub(crate) fn help() -> String {
    let lines = RULES.iter().map(|rule| format!("  {:13} {}\n", rule.name, rule.promise));
    format!("Rules:\n{}", lines.collect::<String>())
}

/// Checks the tree that the current directory belongs to.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let tree = Tree::of_repository()?;
    let mut out = io::stdout().lock();
    let mut found: Vec<(Violation, &str)> = Vec::new();
    for rule in RULES {
        found.extend((rule.check)(&tree).into_iter().map(|violation| (violation, rule.name)));
    }
    found.sort();
    for (Violation { path, line, advice }, rule) in &found {
        writeln!(out, "{path}:{line}: {rule}: {advice}")?;
    }
    if found.is_empty() {
        writeln!(out, "tidy: {} files keep {} rules", tree.files.len(), RULES.len())?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "tidy: {} violations; CONTRIBUTING.md explains the rules", found.len())?;
    Ok(ExitCode::FAILURE)
}

fn contributing(tree: &Tree) -> Vec<Violation> {
    const PATH: &str = "CONTRIBUTING.md";
    let text = tree.text(PATH).unwrap_or_default();
    let named = |rule: &Rule| text.contains(&format!("`{}`", rule.name));
    RULES
        .iter()
        .filter(|rule| !named(rule))
        .map(|rule| Violation::new(PATH, 1, format!("add the rule `{}`: {}", rule.name, rule.promise)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_contributing_does_not_name_is_found() {
        let all: String = RULES.iter().map(|rule| format!("`{}`\n", rule.name)).collect();
        assert_eq!(contributing(&Tree::of([("CONTRIBUTING.md", all.as_str())])), []);
        let found = contributing(&Tree::of([("CONTRIBUTING.md", all.replace("`sleep`", "").as_str())]));
        assert_eq!(found.len(), 1);
        assert!(found[0].advice.contains("`sleep`"));
    }
}
