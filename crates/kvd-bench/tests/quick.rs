//! A benchmark that nobody runs for months must not be found broken on the day it is needed. It is never a timed test here:
//! these prove that every scenario runs on every side, and that raw data and report come out of it.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn bench() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kvd-bench"))
}

#[test]
fn a_quick_run_measures_everything_and_keeps_what_people_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let [raw, report] = ["raw", "BENCHMARKS.md"].map(|name| directory.path().join(name));
    fs::write(&report, "# Benchmarks\n\nBy hand.\n").unwrap();
    bench().args(["engine", "--quick", "--raw-dir"]).arg(&raw).arg("--report").arg(&report).assert().success();

    let results: Value = serde_json::from_slice(&fs::read(raw.join("engine.json")).unwrap()).unwrap();
    let count = |name: &str| results[name].as_array().unwrap().len();
    // Gets by six sides and kvd's batches, with one thread and two; chained gets; three shares of sets by the five maps.
    let spread = (6 + 1) * 2 + 6 + 3 * 5 * 2;
    // The hot key by the maps, with one thread and two; sets of 16 keys in three ways.
    assert_eq!(count("cells"), 2 * spread + 5 * 2 + 3);
    assert_eq!([count("growth"), count("noise"), count("memory"), count("left_out")], [5, 1, 5, 0]);
    for cell in results["cells"].as_array().unwrap() {
        let ns = cell["ns"].as_array().unwrap();
        assert_eq!(ns.len(), 2, "{cell}");
        assert!(ns.iter().all(|ns| ns.as_f64().unwrap() > 0.0), "{cell}");
    }
    let text = fs::read_to_string(&report).unwrap();
    assert!(text.starts_with("# Benchmarks\n\nBy hand.\n"), "{text}");
    for section in ["Gets, 1 thread", "Gets and sets, 2 threads", "Atomic sets, 1 thread", "More threads", "Memory"] {
        assert!(text.contains(&format!("\n### {section}\n")), "{section}: {text}");
    }

    // The same report comes out of the raw data alone.
    fs::write(&report, &text).unwrap();
    bench().args(["report", "--raw-dir"]).arg(&raw).arg("--report").arg(&report).assert().success();
    assert_eq!(fs::read_to_string(&report).unwrap(), text);
}

#[test]
fn allocators_are_compared_in_processes_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("BENCHMARKS.md");
    let assert = bench()
        .args(["allocators", "--binary", env!("CARGO_BIN_EXE_kvd-bench"), "--keys", "1k", "--rounds", "1"])
        .args(["--seconds-per-cell", "0.001", "--sides", "kvd,shards,floor", "--raw-dir"])
        .arg(directory.path())
        .arg("--report")
        .arg(&report)
        .assert();
    assert.success();
    let text = fs::read_to_string(&report).unwrap();
    assert!(text.contains("\n### Allocators\n"), "{text}");
    assert!(text.contains("| kvd | 1 k |") && text.contains("| shards | 1 k |"), "{text}");
}

#[test]
fn durability_is_measured_on_the_real_server() {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("BENCHMARKS.md");
    fs::write(&report, "# Benchmarks\n\nBy hand.\n").unwrap();
    // As `make test` has built them, in the directory of this program.
    let programs = Path::new(env!("CARGO_BIN_EXE_kvd-bench")).parent().unwrap();
    let assert = bench()
        .args([
            "durable",
            "--without-redis",
            "--keys",
            "20k",
            "--seconds",
            "0.05",
            "--rounds",
            "2",
            "--key-rounds",
            "1",
        ])
        .arg("--bin-dir")
        .arg(programs)
        .arg("--dir")
        .arg(directory.path())
        .arg("--raw-dir")
        .arg(directory.path())
        .arg("--report")
        .arg(&report)
        .assert();
    assert.success();

    let results: Value = serde_json::from_slice(&fs::read(directory.path().join("durable.json")).unwrap()).unwrap();
    let writes = results["writes"].as_array().unwrap();
    assert_eq!(writes.len(), 2 * 4, "{writes:?}");
    assert!(writes.iter().all(|run| run["writes_per_second"].as_f64().unwrap() > 0.0), "{writes:?}");
    let many = &results["many_keys"][0];
    for part in ["quiet", "during_snapshot"] {
        assert!(many[part]["count"].as_u64().unwrap() > 0, "{many}");
    }
    // 20,000 keys of 16 bytes with values of 64, in each of the files.
    for bytes in ["journal_bytes", "snapshot_bytes"] {
        assert!(many[bytes].as_u64().unwrap() >= 20_000 * 80, "{many}");
    }
    assert!(many["total_bytes"].as_u64().unwrap() >= many["snapshot_bytes"].as_u64().unwrap(), "{many}");
    let text = fs::read_to_string(&report).unwrap();
    assert!(text.starts_with("# Benchmarks\n\nBy hand.\n\n<!-- durable:begin -->\n"), "{text}");
    for row in ["always, 1 client: writes/s", "each second, 64 clients: server CPU per write, us", "snapshot, MiB"] {
        assert!(text.contains(&format!("\n| {row} | ")), "{row}: {text}");
    }
    // Nothing of the servers' is left.
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn hit_ratios_are_counted_of_every_kind_of_traffic() {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("BENCHMARKS.md");
    let assert = bench()
        .args(["eviction", "--without-redis", "--memory-bytes", "1048576", "--keys", "50k", "--requests", "200k"])
        .arg("--raw-dir")
        .arg(directory.path())
        .arg("--report")
        .arg(&report)
        .assert();
    assert.success();
    let results: Value = serde_json::from_slice(&fs::read(directory.path().join("eviction.json")).unwrap()).unwrap();
    let ratios = results["ratios"].as_array().unwrap();
    // kvd and LRU under seven kinds of traffic; the optimum is known where all values have one size.
    assert_eq!(ratios.len(), 7 * 2 + 6);
    for ratio in ratios {
        // LRU has nothing of a loop that it can't hold.
        let is_loop_of_lru = ratio["cache"] == "LRU" && ratio["trace"].as_str().unwrap().starts_with("a loop");
        let hit_ratio = ratio["hit_ratio"].as_f64().unwrap();
        assert!((0.0..1.0).contains(&hit_ratio) && (hit_ratio > 0.1) != is_loop_of_lru, "{ratio}");
        assert!(ratio["keys"].as_u64().unwrap() > 0, "{ratio}");
    }
    let text = fs::read_to_string(&report).unwrap();
    for row in ["| traffic | kvd | LRU | optimum |", "| Zipf 0.99 | "] {
        assert!(text.contains(row), "{row}: {text}");
    }
}

#[test]
fn a_report_without_data_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let assert = bench().args(["report", "--raw-dir"]).arg(directory.path()).assert();
    let output = assert.failure().get_output().clone();
    assert!(String::from_utf8_lossy(&output.stderr).contains("measure first"));
}
