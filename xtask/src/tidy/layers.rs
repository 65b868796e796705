//! Who may know whom: between crates by their manifests, between modules by the words they use. The drawing is in
//! ARCHITECTURE.md; this is the same drawing for a program.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Tree, Violation};

/// Our crates, and which of them each may depend on.
const GRAPH: &[(&str, &[&str])] = &[
    ("kvd-types", &[]),
    ("kvd-alloc", &[]),
    ("kvd-journal", &["kvd-types"]),
    ("kvd-engine", &["kvd-journal", "kvd-types"]),
    ("kvd-wire", &["kvd-types"]),
    ("kvd-client", &["kvd-wire", "kvd-types"]),
    ("kvd", &["kvd-alloc", "kvd-engine", "kvd-journal", "kvd-wire", "kvd-types"]),
    ("kvcli", &["kvd-client", "kvd-wire", "kvd-types"]),
    ("kvd-bench", &["kvd-alloc", "kvd-engine", "kvd-types"]),
    ("kvd-testkit", &["kvd-journal", "kvd-types"]),
    ("xtask", &[]),
];

/// What tests may use beside: the tools, and a client to talk to the server with.
const FOR_TESTS: &[&str] = &["kvd-testkit", "kvd-client"];

/// What the code of some modules must not name, outside their tests.
struct Boundary {
    modules: &'static [&'static str],
    /// Single words, or paths with `::`.
    names: &'static [&'static str],
    why: &'static str,
}

const BOUNDARIES: &[Boundary] = &[
    Boundary {
        modules: &["crates/kvd-engine/src/", "crates/kvd-journal/src/"],
        names: &["Instant", "SystemTime", "getrandom", "RandomState", "env", "net"],
        why: "engine and journal have no clock, no randomness, no environment and no network: let the caller pass it in",
    },
    Boundary {
        modules: &["crates/kvd-engine/src/index.rs", "crates/kvd-engine/src/index/"],
        names: &[
            "journal",
            "kvd_journal",
            "sequence",
            "Condition",
            "crate::engine",
            "crate::read",
            "crate::commit",
            "crate::write",
            "crate::overlay",
            "crate::one_shot",
            "crate::transaction",
            "crate::settle",
            "crate::expire",
            "crate::stats",
        ],
        why: "the index does not know what surrounds it: only commit, read and recover bring it together with others",
    },
    Boundary {
        modules: &["crates/kvd-engine/src/journal.rs", "crates/kvd-engine/src/journal/"],
        names: &["crate::index", "super::index"],
        why: "the journal does not know the index: only commit and recover know both",
    },
    Boundary {
        modules: &["crates/kvd-types/src/", "crates/kvd-wire/src/"],
        names: &[
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "UnixStream",
            "fs",
            "tokio",
            "thread",
            "Instant",
            "SystemTime",
        ],
        why: "types and wire do no I/O, start no thread and read no clock",
    },
];

pub(super) fn dependencies(tree: &Tree) -> Vec<Violation> {
    let graph: BTreeMap<_, _> = GRAPH.iter().copied().collect();
    let mut found = Vec::new();
    for manifest in manifests(tree) {
        let Some(below) = graph.get(manifest.package.as_str()) else {
            found.push(manifest.violation("name", "draw this crate into ARCHITECTURE.md, and into GRAPH in xtask"));
            continue;
        };
        for (section, name, _) in &manifest.dependencies {
            // A crate's tests ask for a feature of its own by naming it.
            let is_tool = FOR_TESTS.contains(&name.as_str()) || *name == manifest.package;
            let for_tests = section == "dev-dependencies" && is_tool;
            if graph.contains_key(name.as_str()) && !below.contains(&name.as_str()) && !for_tests {
                let advice = format!("{} must not know {name}: see the drawing in ARCHITECTURE.md", manifest.package);
                found.push(manifest.violation(name, &advice));
            }
        }
    }
    found
}

pub(super) fn versions(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for manifest in manifests(tree) {
        for (_, name, value) in &manifest.dependencies {
            if value.get("workspace").and_then(Value::as_bool) != Some(true) {
                found.push(manifest.violation(name, &format!("write {name}.workspace = true")));
            }
        }
    }
    found
}

pub(super) fn boundaries(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for Boundary { modules, names, why } in BOUNDARIES {
        let inside = |path: &str| modules.iter().any(|module| path.starts_with(module));
        for (file, source) in tree.rust().filter(|(file, _)| inside(&file.path)) {
            for name in *names {
                let tokens = name.replace(':', " : ");
                let tokens: Vec<&str> = tokens.split_whitespace().collect();
                for token in source.find(&tokens).map(|at| &source.tokens[at]).filter(|token| !token.test) {
                    found.push(file.violation(token.line, format!("{name}: {why}")));
                }
            }
        }
    }
    found
}

struct Manifest<'a> {
    path: &'a str,
    text: &'a str,
    package: String,
    /// Section, name and value of each; those for one platform only are among them.
    dependencies: Vec<(String, String, Value)>,
}

impl Manifest<'_> {
    /// On the line that begins with `word`.
    fn violation(&self, word: &str, advice: &str) -> Violation {
        let line = self.text.lines().position(|line| line.starts_with(word)).map_or(1, |index| index + 1);
        Violation::new(self.path, line, advice)
    }
}

/// The manifests of packages; cargo has refused those that do not parse.
fn manifests(tree: &Tree) -> impl Iterator<Item = Manifest<'_>> {
    tree.named("Cargo.toml").filter_map(|(file, text)| {
        let table: Table = text.parse().ok()?;
        let package = table.get("package")?.get("name")?.as_str()?.to_owned();
        let platforms = table.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
        let tables = platforms.filter_map(Value::as_table).chain([&table]);
        Some(Manifest { path: &file.path, text, package, dependencies: tables.flat_map(sections).collect() })
    })
}

fn sections(table: &Table) -> impl Iterator<Item = (String, String, Value)> {
    ["dependencies", "dev-dependencies", "build-dependencies"].into_iter().flat_map(|section| {
        let entries = table.get(section).and_then(Value::as_table).into_iter().flatten();
        entries.map(move |(name, value)| (section.to_owned(), name.clone(), value.clone()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_manifest(check: fn(&Tree) -> Vec<Violation>, package: &str, rest: &str) -> Vec<usize> {
        let text = format!("[package]\nname = \"{package}\"\n{rest}");
        check(&Tree::of([("crates/x/Cargo.toml", text.as_str())])).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn a_dependency_upwards_is_found() {
        let check = |package, rest| check_manifest(dependencies, package, rest);
        assert_eq!(check("kvd", "[dependencies]\nkvd-engine.workspace = true\nbytes.workspace = true\n"), [0; 0]);
        assert_eq!(check("kvcli", "[dependencies]\nkvd-engine.workspace = true\n"), [4]);
        assert_eq!(check("kvd-types", "[target.'cfg(unix)'.build-dependencies]\nkvd-wire.workspace = true\n"), [4]);
        assert_eq!(check("kvd-wire", "[dependencies]\nkvd-testkit.workspace = true\n"), [4]);
        assert_eq!(check("kvd-wire", "[dev-dependencies]\nkvd-testkit.workspace = true\n"), [0; 0]);
        assert_eq!(check("kvd-novel", ""), [2]);
    }

    #[test]
    fn a_version_outside_the_root_is_found() {
        let check = |rest| check_manifest(versions, "kvd", rest);
        assert_eq!(check("[dependencies]\nbytes = { workspace = true, features = [\"std\"] }\n"), [0; 0]);
        assert_eq!(check("[dependencies]\nbytes = \"1\"\n"), [4]);
    }

    #[test]
    fn a_word_across_a_boundary_is_found() {
        let lines = |path, text| -> Vec<usize> {
            boundaries(&Tree::of([(path, text)])).into_iter().map(|violation| violation.line).collect()
        };
        assert_eq!(lines("crates/kvd-engine/src/read.rs", "use std::{\n    time::Instant,\n    env,\n};\n"), [2, 3]);
        assert_eq!(lines("crates/kvd-engine/src/index/scan.rs", "//! Knows no journal.\nuse super::journal;\n"), [2]);
        assert_eq!(lines("crates/kvd-engine/src/journal/writer.rs", "use crate::index::Index;\n"), [1]);
        assert_eq!(lines("crates/kvd-engine/src/write.rs", "use crate::{index, journal};\n"), [0; 0]);
        assert_eq!(lines("crates/kvd-engine/src/read.rs", "#[cfg(test)]\nmod tests { use std::env; }\n"), [0; 0]);
        assert_eq!(lines("crates/kvd-wire/src/rest/path.rs", "use std::net::{IpAddr, TcpStream};\n"), [1]);
    }
}
