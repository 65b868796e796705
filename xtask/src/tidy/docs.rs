//! Rules on documents: what they point to exists. Markdown is read by pulldown-cmark; what a document says is for
//! people to judge.

use std::collections::BTreeSet;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{Tree, Violation};

pub(super) fn links(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, text) in tree.named(".md") {
        for (line, link) in relative_links(text) {
            let (path, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { Some(file.path.clone()) } else { resolve(&file.path, path) };
            let Some(target) = target.filter(|target| exists(tree, target)) else {
                found.push(file.violation(line, format!("{link} leads nowhere: mend or remove the link")));
                continue;
            };
            let is_document = target.ends_with(".md") && !fragment.is_empty();
            if is_document && !headings(tree.text(&target).unwrap_or_default()).contains(fragment) {
                found.push(file.violation(line, format!("{target} has no heading #{fragment}")));
            }
        }
    }
    found
}

pub(super) fn decisions(tree: &Tree) -> Vec<Violation> {
    const INDEX: &str = "ARCHITECTURE.md";
    let links = relative_links(tree.text(INDEX).unwrap_or_default());
    let linked: BTreeSet<String> = links.iter().filter_map(|(_, link)| resolve(INDEX, link)).collect();
    tree.named(".md")
        .filter(|(file, _)| file.path.starts_with("docs/decisions/") && !linked.contains(&file.path))
        .map(|(file, _)| file.violation(1, format!("link it from {INDEX}, where readers look for it")))
        .collect()
}

pub(super) fn targets(tree: &Tree) -> Vec<Violation> {
    let makefile = tree.text("Makefile").unwrap_or_default();
    let targets: BTreeSet<&str> = makefile.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    let mut found = Vec::new();
    for (file, text) in tree.named(".md") {
        for (line, command) in make_commands(text) {
            // Beyond the targets stand variables and what the shell makes of the rest.
            let names = command
                .split_whitespace()
                .skip(1)
                .take_while(|word| word.chars().all(|c| c.is_alphanumeric() || c == '-'));
            for name in names.filter(|name| !targets.contains(name)) {
                found.push(file.violation(line, format!("the Makefile has no target {name}")));
            }
        }
    }
    found
}

/// Destinations without a scheme, each with its line.
fn relative_links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::all()).into_offset_iter() {
        if let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event
            && !dest_url.contains("://")
            && !dest_url.starts_with("mailto:")
        {
            links.push((line_at(text, range.start), dest_url.into_string()));
        }
    }
    links
}

/// Commands that begin with `make`, in code spans and code blocks, each with its line.
fn make_commands(text: &str) -> Vec<(usize, String)> {
    let mut commands = Vec::new();
    let mut in_block = false;
    for (event, range) in Parser::new_ext(text, Options::all()).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_block = true,
            Event::End(TagEnd::CodeBlock) => in_block = false,
            Event::Text(code) if in_block => {
                let first = line_at(text, range.start);
                commands.extend(code.lines().enumerate().map(|(index, line)| (first + index, line.to_owned())));
            }
            Event::Code(code) => commands.push((line_at(text, range.start), code.into_string())),
            _ => {}
        }
    }
    let prompts_cut = commands.into_iter().map(|(line, command)| (line, command.trim_start_matches("$ ").to_owned()));
    prompts_cut.filter(|(_, command)| command.starts_with("make ")).collect()
}

/// The anchors that headings get: lower case, words joined by hyphens.
fn headings(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, Options::all()) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => anchors.extend(heading.take().map(|text| anchor(&text))),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    anchors
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// `link` as it stands in the document `from`, as a path from the root; none when it leaves the repository.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether git has a file, or files below a directory, of that name.
fn exists(tree: &Tree, path: &str) -> bool {
    tree.files
        .iter()
        .any(|file| file.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn line_at(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(check: fn(&Tree) -> Vec<Violation>, files: &[(&str, &str)]) -> Vec<usize> {
        check(&Tree::of(files.iter().copied())).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let good = "[a](../b.md) [dir](../docs) [out](https://example.com/x) [here](#two-words) [b](../b.md#b)\n\n\
                    # Two `words`\n";
        assert_eq!(lines(links, &[("docs/a.md", good), ("b.md", "# B\n")]), [0; 0]);
        let bad = "[a](b.md)\n\n[up](../../b.md)\n[c](../b.md#c)\n`[code](x.md)`\n";
        assert_eq!(lines(links, &[("docs/a.md", bad), ("b.md", "# B\n")]), [1, 3, 4]);
    }

    #[test]
    fn a_decision_that_architecture_does_not_link_is_found() {
        let record = ("docs/decisions/0001-a.md", "# A\n");
        assert_eq!(lines(decisions, &[record, ("ARCHITECTURE.md", "[A](docs/decisions/0001-a.md)\n")]), [0; 0]);
        assert_eq!(lines(decisions, &[record, ("ARCHITECTURE.md", "docs/decisions/0001-a.md\n")]), [1]);
    }

    #[test]
    fn a_make_target_that_does_not_exist_is_found() {
        let makefile = ("Makefile", "test: build\n\tcargo test\nrun:\n");
        let good = "Run `make test`, and make sense.\n\n```console\n$ make run test PREFIX=/usr\n```\n";
        assert_eq!(lines(targets, &[makefile, ("README.md", good)]), [0; 0]);
        let bad = "Run `make tests`.\n\n```console\n$ make run\n$ make soak\n```\n";
        assert_eq!(lines(targets, &[makefile, ("README.md", bad)]), [1, 5]);
    }
}
