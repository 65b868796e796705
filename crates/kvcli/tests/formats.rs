//! Every command in every form of output, in a pipe and on a terminal, against a real server: what scripts rely on must not
//! change by accident. Each file in `golden` is what one group of commands shows; `KVD_BLESS=1` writes them anew, for a
//! reviewer to read.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kvd_testkit::{Server, binary, on_terminal};
use serde_json::Value;

/// The forms, as arguments; the first is what a pipe gets unasked.
const FORMS: [&[&str]; 6] = [&[], &["-o", "raw"], &["-o", "table"], &["-o", "tsv"], &["-o", "json"], &["-o", "ndjson"]];

/// What a group of commands shows, in the order in which they were run.
struct Golden {
    server: Server,
    text: String,
    /// Whether numbers differ from run to run, and only the words are compared.
    masks_numbers: bool,
}

impl Golden {
    /// A fresh server, prepared by commands that say nothing of interest.
    fn new(preparations: &[&str]) -> Golden {
        let golden =
            Golden { server: Server::start_with(&["--history", "9"]), text: String::new(), masks_numbers: false };
        for line in preparations {
            let output = golden.kvcli(&words(line)).output().unwrap();
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        }
        golden
    }

    fn kvcli(&self, words: &[String]) -> Command {
        let mut command = Command::new(binary("kvcli"));
        command.args(words).env_clear().env("KVD_URL", self.server.url()).env("NO_COLOR", "1").env("TERM", "dumb");
        command.stdin(Stdio::null());
        command
    }

    /// The command in each form in a pipe, then on a terminal.
    fn everywhere(&mut self, line: &str) {
        for form in FORMS {
            let output = self.kvcli(&[words(line), form.iter().map(|word| (*word).to_owned()).collect()].concat());
            self.piped(&[&[line], form].concat().join(" "), output);
        }
        self.terminal(line);
    }

    /// The command unasked, in a pipe and on a terminal.
    fn unasked(&mut self, line: &str) {
        let command = self.kvcli(&words(line));
        self.piped(line, command);
        self.terminal(line);
    }

    fn piped(&mut self, line: &str, mut command: Command) {
        let output = command.output().unwrap();
        self.text += &format!("$ kvcli {line} | cat\n");
        self.text += &prefixed("  ", &output.stdout);
        self.text += &prefixed("! ", &output.stderr);
        if output.status.code() != Some(0) {
            self.text += &format!("exit {:?}\n", output.status.code().unwrap());
        }
    }

    fn terminal(&mut self, line: &str) {
        let shown = on_terminal(self.kvcli(&words(line)));
        self.text += &format!("$ kvcli {line}\n{}", prefixed("  ", shown.as_bytes()));
    }

    /// The first lines of a command that doesn't end.
    fn endless(&mut self, line: &str, lines: usize) {
        for form in FORMS {
            let all = [words(line), form.iter().map(|word| (*word).to_owned()).collect()].concat();
            let mut child = self.kvcli(&all).stdout(Stdio::piped()).spawn().unwrap();
            let mut shown = String::new();
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            for _ in 0..lines {
                stdout.read_line(&mut shown).unwrap();
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let line = [&[line], form].concat().join(" ");
            self.text += &format!("$ kvcli {line} | head -{lines}\n{}", prefixed("  ", shown.as_bytes()));
        }
    }

    #[track_caller]
    fn is(self, name: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
        let text = normal(&self.text, self.masks_numbers);
        if std::env::var_os("KVD_BLESS").is_some() {
            fs::write(path, text).unwrap();
            return;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        let wrong = expected.lines().zip(text.lines()).position(|(expected, shown)| expected != shown);
        let line = wrong.unwrap_or(expected.lines().count().min(text.lines().count())) + 1;
        assert!(expected == text, "{}:{line} is not what is shown:\n{text}", path.display());
    }
}

/// A command line without quotes; `\s` stands for a space within a word.
fn words(line: &str) -> Vec<String> {
    line.split(' ').map(|word| word.replace(r"\s", " ")).collect()
}

/// Each line behind a mark. Tabs are shown, what doesn't end in a line end says so, and what is no text is escaped.
fn prefixed(mark: &str, bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string().replace(r"\n", "\n"),
    };
    let shown = |line: &str| line.trim_end_matches(['\r', ' ']).replace('\t', "→");
    let lines: String =
        text.lines().map(|line| format!("{mark}{}", shown(line)).trim_end().to_owned() + "\n").collect();
    match text.ends_with('\n') || text.is_empty() {
        true => lines,
        false => format!("{}¬\n", lines.trim_end_matches('\n')),
    }
}

/// The text without what differs from run to run: the store's epoch, ids, times.
fn normal(text: &str, masks_numbers: bool) -> String {
    let mut normal = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', .., b'Z'] = rest.as_bytes().get(..20).unwrap_or_default() {
            normal.push_str("0000-00-00T00:00:00Z");
            rest = &rest[20..];
            continue;
        }
        let run = rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric()).len();
        if run == 0 {
            normal.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(run);
        let is_hex = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        normal.push_str(match word.len() {
            8 if is_hex && after.starts_with('-') => "EPOCH",
            32 if is_hex => "ID",
            10.. if is_number => "TIME",
            _ if masks_numbers && word.starts_with(|letter: char| letter.is_ascii_digit()) => "N",
            _ => word,
        });
        rest = after;
    }
    normal
}

#[test]
fn reading() {
    let mut golden = Golden::new(&["set a=1 b=two\\swords empty=", "set -k tab\tkey --value-b64 AAH/"]);
    golden.everywhere("get a");
    golden.everywhere("get a,missing,b,empty");
    golden.everywhere("get missing");
    golden.everywhere("get -k tab\tkey");
    golden.everywhere("exists a");
    golden.everywhere("exists a,missing");
    golden.everywhere("head b");
    golden.everywhere("head missing");
    golden.is("reading");
}

#[test]
fn listing() {
    let mut golden = Golden::new(&["set d/x=1 d/y=22 a=333 z="]);
    golden.everywhere("list --sort");
    golden.everywhere("list d/ --sort");
    golden.everywhere("list --delimiter /");
    golden.unasked("list none");
    golden.is("listing");
}

#[test]
fn writing() {
    let mut golden = Golden::new(&[]);
    golden.everywhere("set a=1,b=2");
    golden.everywhere("set a=3");
    golden.everywhere("set a=4 --get");
    golden.everywhere("set a=5,new=1 --get");
    golden.everywhere("set a=6 --dry-run");
    golden.everywhere("set a=7 --if-absent");
    golden.unasked("set lock=me --if-absent --ttl 30000d");
    golden.unasked("set a=1 --ttl 30");
    golden.everywhere("delete a,b");
    golden.everywhere("delete missing --require");
    golden.everywhere("delete --prefix n --yes");
    golden.unasked("delete --prefix n");
    golden.everywhere("delete --all --yes");
    golden.is("writing");
}

#[test]
fn modifying() {
    let mut golden = Golden::new(&["set word=x stays=1", "set goes=1 --ttl 30000d"]);
    golden.everywhere("incr n");
    golden.everywhere("incr n -5");
    golden.everywhere("incr word");
    golden.everywhere("append log abc");
    golden.everywhere("ttl stays");
    golden.unasked("ttl goes --json");
    golden.unasked("ttl goes -o tsv");
    golden.everywhere("ttl missing");
    golden.everywhere("expire stays 400d");
    golden.everywhere("persist stays");
    golden.everywhere("expire missing 1s");
    golden.is("modifying");
}

#[test]
fn versions() {
    let mut golden = Golden::new(&["set a=1", "set a=22", "delete a", "set a=333"]);
    golden.everywhere("history a");
    golden.everywhere("history missing");
    golden.everywhere("get a --rev 2");
    golden.everywhere("get a,missing --rev 2");
    golden.unasked("get a --rev 3");
    golden.everywhere("rollback a --to 2");
    golden.is("versions");
}

fn script(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn transacting() {
    let directory = tempfile::tempdir().unwrap();
    let all = "check b exists\nset a=1\nget b\nget missing\ndelete b\nincr n 5\nappend l 'two words'\nexpire a 400d\n\
               persist a\nset b=again\n";
    let all = script(directory.path(), "all", all);
    let instead = script(directory.path(), "else", "check b absent\nset b=mine\nelse\nget b\n");
    let refused = script(directory.path(), "refused", "check b absent\nset b=mine\n");
    let failing = script(directory.path(), "failing", "set c=1\nincr b\n");
    let broken = script(directory.path(), "broken", "set c=1\n\nsett d=2\n");
    let mut golden = Golden::new(&["set b=before"]);
    for path in [&all, &instead, &refused] {
        golden.everywhere(&format!("txn {path}"));
    }
    golden.unasked(&format!("txn {failing}"));
    golden.unasked(&format!("txn {broken}"));
    golden.everywhere("tx begin");
    golden.unasked("tx commit");
    golden.text = golden.text.replace(&format!("{}/", directory.path().display()), "");
    golden.is("transacting");
}

#[test]
fn watching() {
    let mut golden = Golden::new(&["set a=1,b=two\\swords", "set -k tab\tkey --value-b64 AAH/", "delete a", "incr c"]);
    golden.endless("watch --from 1", 3);
    golden.endless("watch b --from 1", 1);
    golden.is("watching");
}

#[test]
fn asking_the_server() {
    let mut golden = Golden::new(&["set a=1"]);
    golden.masks_numbers = true;
    golden.everywhere("ping");
    golden.everywhere("snapshot");
    golden.is("server");
}

/// The dotted names of a document's fields, in their order; each element of a list has its own.
fn names(name: &str, value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                names(&format!("{name}{dot}{field}"), value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(name, item, into)),
        _ => into.push(name.to_owned()),
    }
}

/// What a server tells of itself grows with each version: the forms are held to tell the same, not to tell a list.
#[test]
fn what_the_server_tells_is_the_same_in_every_form() {
    let golden = Golden::new(&["set a=1"]);
    for (command, fields) in [
        ("stats", &["keys", "value_bytes", "ops.get", "memory.used", "durability.policy", "watch.watches"][..]),
        ("info", &["version", "api", "limits.key_bytes_max", "features"]),
    ] {
        let told = FORMS.map(|form| {
            let words = [&[command], form].concat().iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let output = golden.kvcli(&words).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{words:?}");
            String::from_utf8(output.stdout).unwrap()
        });
        let [piped, raw, table, tsv, json, ndjson] = &told;
        let mut expected = Vec::new();
        names("", &serde_json::from_str(json).unwrap(), &mut expected);
        let first = |text: &str, mark| -> Vec<String> {
            text.lines().map(|line| line.split_once(mark).expect("a name, and what it is").0.to_owned()).collect()
        };
        assert_eq!(first(piped, ' '), expected);
        assert_eq!(first(raw, ' '), expected);
        assert_eq!(first(tsv, '\t'), expected);
        assert_eq!((json.lines().count(), ndjson.lines().count()), (1, 1));
        for field in fields {
            assert!(expected.iter().any(|name| name == field), "{command} lacks {field}");
        }
        let shown = on_terminal(golden.kvcli(&[command.to_owned()]));
        let labels = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.get(..26).unwrap_or(line).trim_end().to_owned()).collect()
        };
        assert_eq!(labels(table), labels(&shown), "people see the same on a terminal and in a table");
    }
}
