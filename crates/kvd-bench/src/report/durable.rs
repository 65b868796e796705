//! The report's section on durability: medians over the rounds, kvd beside redis. A ratio is taken within a round, and its
//! median is what counts. Knows nothing of how figures were taken.

use super::figures::{count, median};
use super::tables::{short, table};
use crate::results::{DurableResults, ManyKeys, Writes};

const SETUP: &str = "\
kvd beside redis-server, one after the other on the same disk, on all cores and with their own numbers of threads. One thread
asks both: keep-alive connections, on each one request at a time, kvd over HTTP and redis over RESP; keys of 16 bytes, values
of 64. Neither makes a snapshot or rewrites its journal before it is asked to. A cell is the median over the rounds; a
ratio is taken within a round, and its median is what counts.
";
const WRITES: &str = "\
Overwrites of 100 k keys. *always*: on disk before the answer (`--fsync always`, `appendfsync always`); *each second*:
`--fsync interval`, kvd's default, and `appendfsync everysec`; *never*: `--in-memory`, and `appendonly no`. CPU is the whole
server process's, user and system.";
const COST: &str =
    "What a journal that is synced each second costs, within a side: *each second* / *never*, 64 clients.";
const RESTART: &str = "\
From the start of the process until it answers: with the journal alone after SIGKILL, and with the snapshot after a stop in order
(redis: with its RDB file alone). Bytes are what the files take of the disk: the journal of the filling (redis: its
append-only file), the snapshot (RDB).";

pub(super) fn section(results: &DurableResults) -> String {
    let DurableResults { machine, keys, seconds, rounds, key_rounds, gets_per_second, .. } = results;
    let gib = machine.memory_bytes as f64 / f64::from(1 << 30);
    let servers: Vec<&str> = results.servers.values().map(String::as_str).collect();
    let facts = [
        ("machine", format!("{}, {} cores, {gib:.1} GiB, Linux {}", machine.cpu, machine.cores, machine.kernel)),
        ("load average before", machine.load_average_before.to_string()),
        ("commit", machine.commit.clone()),
        ("servers", servers.join("; ")),
        (
            "the disk alone",
            format!("{} writes of 128 bytes with fdatasync/s", short(median(&results.disk_syncs_per_second))),
        ),
        ("command", format!("`{}`", results.command)),
    ];
    let facts = facts.into_iter().map(|(what, value)| vec![what.to_owned(), value]).collect();
    let mut text = format!("{SETUP}\n{}", table(&["", ""], facts).unwrap_or_default());
    let mut add = |title: &str, words: &str, head: &[&str], rows: Vec<Vec<String>>| {
        text += &format!("\n### {title}\n\n{words}\n\n{}", table(head, rows).unwrap_or_default());
    };
    let sides = ["what", "kvd", "redis", "kvd / redis"];

    let words = format!("{rounds} rounds of {seconds} s a turn.\n{WRITES}");
    add("Writes", &words, &sides, writes(results));
    add("The cost of a journal", COST, &["what", "kvd", "redis"], cost(results));
    let keys = count(*keys);
    let words = format!(
        "Rounds: {key_rounds}, with {keys} keys, uniformly drawn, {gets_per_second} gets a second on 16 connections.\nThe \
         time of a get counts from when it was due. *Without* is {seconds} s just before."
    );
    let rows = [
        many(results, "p99.9 without, us", |run| run.quiet.p99_9_us),
        many(results, "p99.9 during a snapshot, us", |run| run.during_snapshot.p99_9_us),
        many(results, "during / without", |run| run.during_snapshot.p99_9_us / run.quiet.p99_9_us),
        many(results, "p50 without, us", |run| run.quiet.p50_us),
        many(results, "p50 during a snapshot, us", |run| run.during_snapshot.p50_us),
        many(results, "longest without, us", |run| run.quiet.longest_us),
        many(results, "longest during a snapshot, us", |run| run.during_snapshot.longest_us),
        many(results, "the snapshot, s", |run| run.snapshot_seconds),
    ];
    add("Gets during a snapshot", &words, &sides, rows.to_vec());
    let all = results.keys as f64;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let rows = [
        many(results, "restart with the journal, keys/s", |run| all / run.journal_start_seconds),
        many(results, "restart with the snapshot, keys/s", |run| all / run.snapshot_start_seconds),
        many(results, "restart with the journal, s", |run| run.journal_start_seconds),
        many(results, "restart with the snapshot, s", |run| run.snapshot_start_seconds),
        many(results, "journal, MiB", |run| mib(run.journal_bytes)),
        many(results, "snapshot, MiB", |run| mib(run.snapshot_bytes)),
        many(results, "journal and snapshot after the snapshot, MiB", |run| mib(run.total_bytes)),
    ];
    add(&format!("Restart with {keys} keys, and bytes on disk"), RESTART, &sides, rows.to_vec());
    text
}

/// What it is, and how it is taken from a turn.
type WritesFigure = (&'static str, fn(&Writes) -> f64);

fn writes(results: &DurableResults) -> Vec<Vec<String>> {
    let mut turns: Vec<(&str, usize)> = Vec::new();
    for run in &results.writes {
        if !turns.contains(&(&run.fsync, run.clients)) {
            turns.push((&run.fsync, run.clients));
        }
    }
    let figures: [WritesFigure; 4] = [
        ("writes/s", |run| run.writes_per_second),
        ("server CPU per write, us", |run| run.server_cpu_us_per_write),
        ("p50, us", |run| run.p50_us),
        ("p99.9, us", |run| run.p99_9_us),
    ];
    let row = |(fsync, clients): (&str, usize), (what, figure): WritesFigure| {
        let of = |side: &str| written(results, side, fsync, clients, figure);
        let plural = if clients == 1 { "" } else { "s" };
        beside(&format!("{fsync}, {clients} client{plural}: {what}"), &of("kvd"), &of("redis"))
    };
    turns.into_iter().flat_map(|turn| figures.map(|figure| row(turn, figure))).collect()
}

/// One figure in the order of the rounds.
fn written(results: &DurableResults, side: &str, fsync: &str, clients: usize, figure: fn(&Writes) -> f64) -> Vec<f64> {
    let wanted = |run: &&Writes| run.side == side && run.fsync == fsync && run.clients == clients;
    results.writes.iter().filter(wanted).map(figure).collect()
}

fn cost(results: &DurableResults) -> Vec<Vec<String>> {
    let figures: [WritesFigure; 2] =
        [("writes/s", |run| run.writes_per_second), ("server CPU per write", |run| run.server_cpu_us_per_write)];
    let row = |(what, figure): WritesFigure| {
        let of = |side: &str| {
            let [with, without] = ["each second", "never"].map(|fsync| written(results, side, fsync, 64, figure));
            cell(&ratios(&with, &without))
        };
        vec![what.to_owned(), of("kvd"), of("redis")]
    };
    figures.map(row).to_vec()
}

fn many(results: &DurableResults, what: &str, figure: impl Fn(&ManyKeys) -> f64) -> Vec<String> {
    let of =
        |side: &str| -> Vec<f64> { results.many_keys.iter().filter(|run| run.side == side).map(&figure).collect() };
    beside(what, &of("kvd"), &of("redis"))
}

fn beside(what: &str, kvd: &[f64], redis: &[f64]) -> Vec<String> {
    vec![what.to_owned(), cell(kvd), cell(redis), cell(&ratios(kvd, redis))]
}

fn ratios(above: &[f64], below: &[f64]) -> Vec<f64> {
    above.iter().zip(below).map(|(above, below)| above / below).collect()
}

/// Empty for a side that was left out.
fn cell(figures: &[f64]) -> String {
    if figures.is_empty() { String::new() } else { short(median(figures)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_a_round_and_a_missing_side_is_empty() {
        // 0.5, 2 and 0.5; the ratio of the medians would be 1.
        assert_eq!(beside("x", &[1.0, 2.0, 4.0], &[2.0, 1.0, 8.0]), ["x", "2.00", "2.00", "0.50"]);
        assert_eq!(beside("x", &[1.0], &[]), ["x", "1.00", "", ""]);
    }
}
