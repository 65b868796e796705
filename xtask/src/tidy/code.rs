//! Rules on Rust code: what a file opens with, what must not stand in it, and what needs a comment that says why.

use super::rust::RustSource;
use super::{Tree, Violation};

/// Files that may have `unsafe`, each with what it is needed for.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("crates/kvd-alloc/src/lib.rs", "an allocator is nothing else"),
    ("crates/kvd-engine/src/index/bucket.rs", "threads that wait for a bucket's lock park on its address"),
    ("crates/kvd-engine/src/index/mod.rs", "asking the processor to fetch a line"),
    ("crates/kvd-engine/src/index/record.rs", "a record is one allocation of parts of any size"),
    ("crates/kvd-engine/src/index/root.rs", "roots are found by their address, and freed by epochs"),
    ("crates/kvd-engine/src/index/search.rs", "the slots of a bucket are compared at once"),
    ("crates/kvd-engine/src/index/segment.rs", "a segment is one allocation, found by one word"),
    ("crates/kvd-engine/src/index/table.rs", "the directory is found by one word"),
    ("crates/kvd-engine/src/index/version.rs", "nodes are reached through words, and freed by epochs"),
    ("crates/kvd-engine/src/index/word.rs", "a word holds an address beside other bits"),
    ("crates/kvd-engine/src/reclaim.rs", "frees what readers can no longer reach"),
];

/// Files that may sleep, each with why nothing better than time can be waited for.
const SLEEP_FILES: &[(&str, &str)] = &[
    ("crates/kvd-client/src/retry.rs", "the pause before another attempt: nothing tells when it will succeed"),
    ("crates/kvd/src/server/listener.rs", "out of file descriptors: nothing tells when there is one again"),
    ("crates/kvd/src/server/worker.rs", "the end of patience with requests under way when the server stops"),
];

pub(super) fn lexes(tree: &Tree) -> Vec<Violation> {
    tree.named(".rs")
        .filter(|(file, _)| file.rust.is_none())
        .map(|(file, _)| file.violation(1, "cannot be read as Rust: cargo build says where"))
        .collect()
}

pub(super) fn opening(tree: &Tree) -> Vec<Violation> {
    tree.named(".rs")
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(file, _)| file.violation(1, "open with //!: what it owns, and what it does not know"))
        .collect()
}

pub(super) fn unfinished(tree: &Tree) -> Vec<Violation> {
    const MARKERS: [&str; 3] = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];
    let mut found = Vec::new();
    for (file, source) in tree.rust() {
        for name in ["todo", "unimplemented", "dbg"] {
            for at in source.find(&[name, "!"]) {
                let advice = format!("{name}! is no code: write it, or refuse the case with a clear error");
                found.push(file.violation(source.tokens[at].line, advice));
            }
        }
    }
    for (file, text) in tree.texts() {
        for (index, line) in text.lines().enumerate() {
            let is_marker = |word: &str| MARKERS.contains(&word);
            if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(is_marker) {
                let advice = "do it now, or open an issue: the tree holds no marks for later";
                found.push(file.violation(index + 1, advice));
            }
        }
    }
    found
}

pub(super) fn unsafe_(tree: &Tree) -> Vec<Violation> {
    unsafe_outside(UNSAFE_FILES, tree)
}

fn unsafe_outside(allowed: &[(&str, &str)], tree: &Tree) -> Vec<Violation> {
    let mut found = stale(tree, allowed, &["unsafe"]);
    for (file, source) in tree.rust() {
        for at in source.find(&["unsafe"]) {
            let line = source.tokens[at].line;
            // What an unsafe fn asks of its callers stands in its documentation, which clippy checks.
            let needs_comment = source.text(at + 1) != "fn";
            if !is_allowed(allowed, &file.path) {
                let advice = "find a safe way; else add the file to UNSAFE_FILES in xtask, and why";
                found.push(file.violation(line, advice));
            } else if needs_comment && !source.comment_on(at).contains("SAFETY:") {
                found.push(file.violation(line, "say in a SAFETY: comment above it which facts make it sound"));
            }
        }
    }
    found
}

/// A comment serves its statement and further ones on the lines directly below, so one may explain a row of loads.
pub(super) fn ordering(tree: &Tree) -> Vec<Violation> {
    const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
    let mut found = Vec::new();
    for (file, source) in tree.rust() {
        let mut explained_to = 0;
        for at in source.find(&["Ordering", ":", ":"]) {
            let line = source.tokens[at].line;
            if matches!(source.text(at + 3), "{" | "*") {
                found.push(file.violation(line, "import Ordering alone, and name the ordering where it is used"));
            }
            if !ORDERINGS.contains(&source.text(at + 3)) {
                continue;
            }
            if source.statement_line(at) <= explained_to + 1 && explained_to > 0 || !source.comment_on(at).is_empty() {
                explained_to = line;
            } else {
                let advice = "say in a comment which operation it pairs with, or why it needs none";
                found.push(file.violation(line, advice));
            }
        }
    }
    found
}

pub(super) fn sleeping(tree: &Tree) -> Vec<Violation> {
    sleeping_outside(SLEEP_FILES, tree)
}

fn sleeping_outside(allowed: &[(&str, &str)], tree: &Tree) -> Vec<Violation> {
    let mut found = stale(tree, allowed, &["sleep", "("]);
    for (file, source) in tree.rust().filter(|(file, _)| !is_allowed(allowed, &file.path)) {
        for at in source.find(&["sleep", "("]) {
            let advice = "wait for the event itself; else add the file to SLEEP_FILES in xtask, and why";
            found.push(file.violation(source.tokens[at].line, advice));
        }
    }
    found
}

pub(super) fn ignore(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, source) in tree.rust() {
        for at in source.find(&["#", "[", "ignore", "]"]) {
            found.push(file.violation(source.tokens[at].line, "write #[ignore = \"why, and how to run it\"]"));
        }
    }
    found
}

fn is_allowed(allowed: &[(&str, &str)], path: &str) -> bool {
    allowed.iter().any(|(file, _)| *file == path)
}

/// An allowance that is no longer used would let the next one in unseen.
fn stale(tree: &Tree, allowed: &[(&str, &str)], pattern: &[&str]) -> Vec<Violation> {
    let uses = |path: &str| tree.rust().any(|(file, source)| file.path == path && uses(source, pattern));
    allowed
        .iter()
        .filter(|(path, _)| !uses(path))
        .map(|(path, _)| {
            Violation::new(path, 1, format!("has no {} any more: take it off the list in xtask", pattern[0]))
        })
        .collect()
}

fn uses(source: &RustSource, pattern: &[&str]) -> bool {
    source.find(pattern).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(check: impl Fn(&Tree) -> Vec<Violation>, text: &str) -> Vec<usize> {
        check(&Tree::of([("crates/x/src/a.rs", text)])).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn code_that_does_not_lex_is_found() {
        assert_eq!(lines(lexes, "fn f() {}\n"), [0; 0]);
        assert_eq!(lines(lexes, "fn f() {\n"), [1]);
    }

    #[test]
    fn a_file_without_an_opening_is_found() {
        assert_eq!(lines(opening, "//! Owns a.\n"), [0; 0]);
        assert_eq!(lines(opening, "use std::fs;\n//! Owns a.\n"), [1]);
        assert_eq!(lines(opening, "//!\n"), [1]);
    }

    #[test]
    fn placeholders_and_marks_for_later_are_found() {
        let mark = concat!("FIX", "ME");
        assert_eq!(lines(unfinished, &format!("fn f() {{ todo!() }}\n// {mark}: later\n")), [1, 2]);
        assert_eq!(lines(unfinished, "fn f() {\n    dbg!(1);\n    unimplemented!() }\n"), [3, 2]);
        assert_eq!(lines(unfinished, &format!("// todo!() in words\nconst A: &str = \"a{mark}b\";\n")), [0; 0]);
    }

    #[test]
    fn unsafe_outside_its_files_or_without_safety_is_found() {
        let code = "fn f() {\n    unsafe { g() }\n}\n";
        let safe = "fn f() {\n    // SAFETY: g asks nothing.\n    unsafe { g() }\n}\n";
        let allowed = [("crates/x/src/a.rs", "a test")];
        assert_eq!(lines(|tree| unsafe_outside(&[], tree), safe), [3]);
        assert_eq!(lines(|tree| unsafe_outside(&allowed, tree), code), [2]);
        assert_eq!(lines(|tree| unsafe_outside(&allowed, tree), safe), [0; 0]);
        assert_eq!(lines(|tree| unsafe_outside(&allowed, tree), "// unsafe no more\n"), [1]);
    }

    #[test]
    fn an_ordering_without_a_comment_is_found() {
        let in_fn = |body: &str| format!("fn f() {{\n{body}\n}}\n");
        let bare = in_fn("a.load(Ordering::Acquire);");
        let on_it = in_fn("a.load(Ordering::Acquire); // pairs with the store in g");
        let above = in_fn("// Only summed.\na\n    .load(Ordering::Relaxed);\nb.load(Ordering::Relaxed);");
        let apart = in_fn("// Only summed.\na.load(Ordering::Relaxed);\n\nb.load(Ordering::Relaxed);");
        assert_eq!(lines(ordering, &bare), [2]);
        assert_eq!(lines(ordering, &on_it), [0; 0]);
        assert_eq!(lines(ordering, &above), [0; 0]);
        assert_eq!(lines(ordering, &apart), [5]);
        assert_eq!(lines(ordering, "fn f() -> Ordering { Ordering::Less }\n"), [0; 0]);
        assert_eq!(lines(ordering, "use std::sync::atomic::Ordering::{Acquire, Release};\n"), [1]);
    }

    #[test]
    fn a_sleep_is_found() {
        let code = "fn f() {\n    thread::sleep(SECOND);\n}\n";
        assert_eq!(lines(|tree| sleeping_outside(&[], tree), code), [2]);
        assert_eq!(lines(|tree| sleeping_outside(&[("crates/x/src/a.rs", "a test")], tree), code), [0; 0]);
        assert_eq!(lines(|tree| sleeping_outside(&[], tree), "// sleep(1)\n"), [0; 0]);
    }

    #[test]
    fn an_ignored_test_without_a_reason_is_found() {
        assert_eq!(lines(ignore, "#[test]\n#[ignore]\nfn f() {}\n"), [2]);
        assert_eq!(lines(ignore, "#[test]\n#[ignore = \"takes an hour: make soak\"]\nfn f() {}\n"), [0; 0]);
    }
}
