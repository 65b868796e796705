//! A get takes nothing: the release build's machine code of a get, pin included, has no locked instruction, no exchange with
//! memory and no fence. The test builds it, disassembles it, and follows its calls; so a library or a compiler that brings one
//! in is found. What may fence is named: the pin on systems without `membarrier`.
#![cfg(all(target_arch = "x86_64", not(any(kvd_loom, kvd_shuttle))))]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

/// Functions that are not looked into, by a part of their name, and why.
const NOT_FOLLOWED: &[(&str, &str)] = &[
    ("fence_without_membarrier", "runs only where the system has no membarrier"),
    ("panic", "the end of the process"),
    ("expect_failed", "the end of the process"),
    ("unwrap_failed", "the end of the process"),
    ("_Unwind_Resume", "after a panic"),
    ("assert_failed", "the end of the process"),
];

#[test]
fn a_get_runs_no_locked_instruction_and_no_fence() {
    let program = build();
    let functions = disassemble(&program);
    let begin = functions.keys().find(|name| name.contains("kvd_assembly_get")).expect("the example has the function");
    let (mut seen, mut to_do) = (BTreeSet::new(), vec![begin.clone()]);
    while let Some(name) = to_do.pop() {
        if !seen.insert(name.clone()) || NOT_FOLLOWED.iter().any(|(part, _)| name.contains(part)) {
            continue;
        }
        // What the C library has (comparing and copying bytes) is not in the program.
        let Some(lines) = functions.get(&name) else { continue };
        for line in lines {
            assert!(!is_forbidden(line), "{name} has: {line}");
            to_do.extend(called(line));
        }
    }
    assert!(seen.len() > 1, "the calls were followed: {seen:?}");
    // Break the rule to see that it is looked at: a commit locks its bucket.
    assert!(
        functions
            .iter()
            .any(|(name, lines)| name.contains("kvd_engine") && lines.iter().any(|line| is_forbidden(line)))
    );
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
fn disassemble(program: &PathBuf) -> BTreeMap<String, Vec<String>> {
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
