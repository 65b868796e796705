//! A get takes nothing: the release build's machine code of a get, of a batch of gets and of the command that the server gives,
//! pin included, has no locked instruction, no exchange with memory and no fence. The test builds it, disassembles it, and
//! follows its calls; so a library or a compiler that brings one in is found. What is not on the way of a get is named, and so is
//! what must be met on it.
#![cfg(all(target_arch = "x86_64", not(any(kvd_loom, kvd_shuttle))))]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

/// Functions that are not looked into, by a part of their name, and why.
const NOT_FOLLOWED: &[(&str, &str)] = &[
    ("fence_without_membarrier", "runs only where the system has no membarrier"),
    ("run_other", "another command than a get"),
    ("5Trash9hand_over", "what this worker's own writes have retired, when it is enough"),
    ("9Collector7collect", "as above"),
    ("panic", "the end of the process"),
    ("expect_failed", "the end of the process"),
    ("unwrap_failed", "the end of the process"),
    ("_Unwind_Resume", "after a panic"),
    ("assert_failed", "the end of the process"),
    ("7raw_vec12handle_error", "no memory for the answer: the end of the process"),
    ("18handle_alloc_error", "as above"),
];

/// Functions that may call what only the run knows, by a part of their name, and why. All of it is about the bytes of a value.
const CALLS_BY_ADDRESS: &[(&str, &str)] = &[
    ("6Record5entry", "a value of 16 KiB or more is shared, by a count that lies with it"),
    ("drop_in_place", "an answer that nobody gets, after a panic"),
];

/// One way to ask for keys.
struct Way {
    /// The example's function.
    begin: &'static str,
    /// Functions that are met, or the test has looked at something else.
    meets: &'static [&'static str],
    /// Instructions that are met, by how they begin.
    runs: &'static [&'static str],
}

/// The comparison of all slots of a bucket at once stands for the look that finds a key; a full bucket, and a key with older
/// versions, are looked at slowly.
const WAYS: &[Way] = &[
    Way {
        begin: "kvd_assembly_get",
        meets: &["fence_without_membarrier", "get_slowly", "6Bucket4find", "6Record14value_by_flags"],
        runs: &["pcmpeq"],
    },
    Way {
        begin: "kvd_assembly_many",
        meets: &["fence_without_membarrier", "get_slowly", "6Bucket4find", "6Record14value_by_flags"],
        runs: &["pcmpeq", "prefetch"],
    },
    Way {
        begin: "kvd_assembly_execute",
        meets: &["fence_without_membarrier", "get_slowly", "6Bucket4find", "6Record5entry", "run_other"],
        runs: &["pcmpeq"],
    },
];

type Functions = BTreeMap<String, Vec<String>>;

#[test]
fn a_get_runs_no_locked_instruction_and_no_fence() {
    let functions = disassemble(&build());
    for way in WAYS {
        let (met, forbidden) = follow(&functions, way.begin);
        assert!(forbidden.is_empty(), "{} comes by: {forbidden:#?}", way.begin);
        for part in way.meets {
            assert!(met.iter().any(|name| name.contains(part)), "{} does not meet {part}: {met:#?}", way.begin);
        }
        for instruction in way.runs {
            let runs = |name: &String| functions.get(name).is_some_and(|lines| has(lines, instruction));
            assert!(met.iter().any(runs), "{} does not run {instruction}", way.begin);
        }
    }
    // What is looked for is found where it must be: a commit locks its bucket.
    let (_, forbidden) = follow(&functions, "run_other");
    assert!(forbidden.iter().any(|found| found.contains("lock cmpxchg")), "{forbidden:#?}");
}

/// The functions that `begin` leads to, itself among them, and the instructions there that a get must not run.
fn follow(functions: &Functions, begin: &str) -> (BTreeSet<String>, Vec<String>) {
    let begin = functions.keys().find(|name| name.contains(begin)).expect("the example has the function");
    let (mut met, mut forbidden, mut to_do) = (BTreeSet::new(), Vec::new(), vec![begin.clone()]);
    while let Some(name) = to_do.pop() {
        if !met.insert(name.clone()) || name != *begin && is_one_of(NOT_FOLLOWED, &name) {
            continue;
        }
        // What the C library has (memory, comparing and copying bytes) is not in the program.
        let Some(lines) = functions.get(&name) else { continue };
        for line in lines {
            if is_forbidden(line) || calls_by_address(line) && !is_one_of(CALLS_BY_ADDRESS, &name) {
                forbidden.push(format!("{name}: {line}"));
            }
            to_do.extend(called(line));
        }
    }
    (met, forbidden)
}

fn is_one_of(parts: &[(&str, &str)], name: &str) -> bool {
    parts.iter().any(|(part, _)| name.contains(part))
}

fn has(lines: &[String], instruction: &str) -> bool {
    lines.iter().any(|line| line.starts_with(instruction))
}

/// A call of a function that the disassembly has no name for.
fn calls_by_address(line: &str) -> bool {
    line.starts_with("call") && called(line).is_none()
}

fn is_forbidden(line: &str) -> bool {
    let instruction = line.split_whitespace().next().unwrap_or("");
    let with_memory = line.contains('(');
    matches!(instruction, "lock" | "mfence" | "lfence" | "sfence") || instruction.starts_with("xchg") && with_memory
}

/// The function that a call or a jump out of this one leads to.
fn called(line: &str) -> Option<String> {
    let instruction = line.split_whitespace().next()?;
    if !(instruction.starts_with("call") || instruction.starts_with('j')) {
        return None;
    }
    let name = line.split('<').nth(1)?.split(['>', '+', '@']).next()?;
    Some(name.to_owned())
}

fn build() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("assembly");
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--package", "kvd-engine", "--example", "get", "--target-dir"]);
    let output = command.arg(&target).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("release/examples/get")
}

/// The instructions of each function.
fn disassemble(program: &PathBuf) -> Functions {
    let output = Command::new("objdump").args(["--disassemble", "--no-show-raw-insn"]).arg(program).output();
    let output = output.expect("objdump comes with the C compiler's binutils");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut functions = BTreeMap::new();
    let mut lines: &mut Vec<String> = functions.entry(String::new()).or_default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(name) = line.strip_suffix(">:").and_then(|line| line.split('<').nth(1)) {
            lines = functions.entry(name.to_owned()).or_default();
        } else if let Some((_, instruction)) = line.split_once(":\t") {
            lines.push(instruction.to_owned());
        }
    }
    functions
}
