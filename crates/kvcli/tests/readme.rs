//! The README is true: every `console` block in it is typed on a terminal, line by line, against a fresh server, and shows what
//! the README says. `[..]` in the README stands for what differs from run to run; the port is that of the test's server.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use kvd_testkit::{Server, binary, on_terminal};

/// A command and what the README says it shows.
struct Example {
    line: usize,
    command: String,
    expected: String,
}

fn examples(readme: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for (number, text) in (1..).zip(readme.lines()) {
        match (inside, text) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, text) => match text.strip_prefix("$ ") {
                Some(command) => {
                    examples.push(Example { line: number, command: command.to_owned(), expected: String::new() });
                }
                None => {
                    let example = examples.last_mut().expect("a console block begins with a command");
                    example.expected.push_str(text);
                    example.expected.push('\n');
                }
            },
            _ => {}
        }
    }
    examples
}

fn run(command: &str, server: &Server, directory: &Path) -> String {
    let programs = binary("kvcli").parent().expect("a program is in a directory").to_owned();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(programs).chain(env::split_paths(&path))).expect("no colon in PATH");
    let mut shell = Command::new("sh");
    let command = command.replace("127.0.0.1:7480", &server.address().to_string());
    let command = command.replace("redis-cli -p 6679", &format!("redis-cli -p {}", server.resp_address().port()));
    shell.arg("-c").arg(command).current_dir(directory);
    shell.env("PATH", path).env("KVD_URL", server.url()).env("NO_COLOR", "1").env("TERM", "dumb");
    on_terminal(shell)
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Whether `shown` is `expected`, where `[..]` stands for anything within a line.
fn matches(expected: &str, shown: &str) -> bool {
    expected.lines().count() == shown.lines().count()
        && expected
            .lines()
            .zip(shown.lines())
            .all(|(expected, shown)| line_matches(expected.trim_end(), shown.trim_end()))
}

fn line_matches(expected: &str, shown: &str) -> bool {
    let Some((begin, rest)) = expected.split_once("[..]") else { return expected == shown };
    let Some(shown) = shown.strip_prefix(begin) else { return false };
    (0..=shown.len()).filter(|at| shown.is_char_boundary(*at)).any(|at| line_matches(rest, &shown[at..]))
}

#[test]
fn every_console_block_of_the_readme_shows_what_it_says() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let examples = examples(&readme);
    assert!(examples.len() >= 10, "the README's tour has become very short: {} commands", examples.len());
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    // As `make run` leaves it in the repository's root.
    symlink(binary("kvcli"), directory.path().join("kvcli")).unwrap();
    let mut wrong = String::new();
    for Example { line, command, expected } in &examples {
        let needs = ["curl", "redis-cli"].into_iter().find(|program| command.starts_with(&format!("{program} ")));
        if let Some(program) = needs.filter(|program| !is_installed(program)) {
            eprintln!("README.md:{line}: not tried, since {program} is not installed: {command}");
            continue;
        }
        let shown = run(command, &server, directory.path());
        if !matches(expected, &shown) {
            wrong += &format!("README.md:{line}: $ {command}\n--- the README says\n{expected}--- it shows\n{shown}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_comparison_of_lines_can_fail() {
    assert!(matches("a [..] c\n", "a b c\n"));
    assert!(matches("[..]\n", "anything\n"));
    assert!(!matches("a [..] c\n", "a b d\n"));
    assert!(!matches("a\n", "a\nb\n"));
    assert!(!matches("a\n", ""));
}
