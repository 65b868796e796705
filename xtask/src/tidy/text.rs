//! Rules on files as plain lines: their form, and words that have no place in any of them.

use super::{Tree, Violation};

const RS_LINES_MAX: usize = 500;
const RS_COLUMNS_MAX: usize = 130;

pub(super) fn length(tree: &Tree) -> Vec<Violation> {
    let lengths = tree.named(".rs").map(|(file, text)| (file, text.lines().count()));
    lengths
        .filter(|(_, lines)| *lines > RS_LINES_MAX)
        .map(|(file, lines)| {
            let advice =
                format!("{lines} lines are two ideas or more: give each its own file of at most {RS_LINES_MAX}");
            file.violation(lines, advice)
        })
        .collect()
}

pub(super) fn width(tree: &Tree) -> Vec<Violation> {
    each_line(tree.named(".rs"), |_, line| {
        let columns = line.chars().count();
        (columns > RS_COLUMNS_MAX).then(|| format!("{columns} characters: break the line at {RS_COLUMNS_MAX}"))
    })
}

pub(super) fn whitespace(tree: &Tree) -> Vec<Violation> {
    // Recorded output is what it is.
    let ours = || tree.texts().filter(|(file, _)| file.path.ends_with(".rs") || !file.path.contains("/tests/"));
    let mut found = each_line(ours(), |path, line| {
        if line.ends_with([' ', '\t', '\r']) {
            return Some("remove the whitespace at the end of the line".to_owned());
        }
        (path.ends_with(".rs") && line.contains('\t')).then(|| "use spaces, or \\t in a string".to_owned())
    });
    for (file, text) in ours() {
        if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
            found.push(file.violation(text.lines().count(), "end the file with exactly one newline"));
        }
    }
    found
}

/// What is true on one machine only, and the hosts that a mirror would replace. Cargo.lock is cargo's own.
pub(super) fn places(tree: &Tree) -> Vec<Violation> {
    const PATHS: [&str; 3] = [concat!("/work", "/"), concat!("/root", "/"), concat!("/home", "/")];
    const HOSTS: [&str; 7] = [
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("npmjs", ".org"),
        concat!("npmjs", ".com"),
        concat!("debian", ".org"),
        concat!("proxy.golang", ".org"),
    ];
    each_line(tree.texts().filter(|(file, _)| file.path != "Cargo.lock"), |_, line| {
        if let Some(path) = PATHS.iter().find(|path| line.contains(**path)) {
            return Some(format!("{path} is a path of one machine: make it relative, or let it be given"));
        }
        let host = HOSTS.iter().find(|host| line.contains(**host))?;
        Some(format!("{host} is a registry's host: name the package, and let the client know where it is"))
    })
}

/// One violation for each line for which `advice(path, line)` has some.
fn each_line<'a>(
    files: impl Iterator<Item = (&'a super::tree::File, &'a str)>,
    advice: impl Fn(&str, &str) -> Option<String>,
) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, text) in files {
        for (index, line) in text.split('\n').enumerate() {
            if let Some(advice) = advice(&file.path, line) {
                found.push(file.violation(index + 1, advice));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(check: fn(&Tree) -> Vec<Violation>, path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of([(path, text)])).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn a_file_of_501_lines_is_found() {
        assert_eq!(lines(length, "a.rs", &"\n".repeat(500)), [0; 0]);
        assert_eq!(lines(length, "a.rs", &"\n".repeat(501)), [501]);
        assert_eq!(lines(length, "a.md", &"\n".repeat(501)), [0; 0]);
    }

    #[test]
    fn a_line_of_121_characters_is_found() {
        let text = format!("{}\n{}\n", "é".repeat(130), "é".repeat(131));
        assert_eq!(lines(width, "a.rs", &text), [2]);
        assert_eq!(lines(width, "a.md", &text), [0; 0]);
    }

    #[test]
    fn whitespace_at_the_end_and_tabs_are_found() {
        assert_eq!(lines(whitespace, "Makefile", "all:\n\techo\n"), [0; 0]);
        assert_eq!(lines(whitespace, "a.rs", "//! a\n\tb\nc \nd\r\n"), [2, 3, 4]);
        assert_eq!(lines(whitespace, "a.md", "no newline"), [1]);
        assert_eq!(lines(whitespace, "a.md", "two newlines\n\n"), [2]);
        assert_eq!(lines(whitespace, "crates/x/tests/out.txt", "recorded \n\n"), [0; 0]);
    }

    #[test]
    fn a_path_of_one_machine_and_a_registry_host_are_found() {
        let text =
            format!("see /var/lib/kvd\nsee {}x\nfrom index.{}\n", concat!("/home", "/"), concat!("crates", ".io"));
        assert_eq!(lines(places, "README.md", &text), [2, 3]);
        assert_eq!(lines(places, "Cargo.lock", &text), [0; 0]);
    }
}
