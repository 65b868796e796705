//! `kvd-bench durable`: what durability costs, beside redis-server in one run and in turns, on the same disk and under the
//! same load. Knows the order of what is measured; how it is done stands in the modules below.

mod load;
mod server;
mod wire;

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use procfs::Current;

use super::redis;
use crate::args::DurableOptions;
use crate::machine::Machine;
use crate::results::{DurableResults, Gets, ManyKeys, Writes};
use crate::{report, results};
use load::{Load, Measured};
use server::{Fsync, Server};
use wire::{Request, Side};

/// Few enough that what is measured is durability, not memory.
const WRITTEN_KEYS: u32 = 100_000;
/// What is written, and by how many clients.
const WRITES: [(Fsync, usize); 4] = [(Fsync::Always, 1), (Fsync::Always, 64), (Fsync::Second, 64), (Fsync::Never, 64)];
/// Who gets while a snapshot is made, and how often: far below what either side can do, so that waiting shows a pause.
const GET_CONNECTIONS: usize = 16;
const GETS_PER_SECOND: u32 = 5_000;
/// How often it is asked whether something has ended.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// A key, its value and what either side needs beside them, with room for what a fork copies.
const BYTES_PER_KEY: u64 = 600;
/// What one write is to the disk's own row.
const DISK_WRITE: [u8; 128] = [1; 128];
const DISK_FILE_BYTES: usize = 16 << 20;

/// # Errors
/// A program is missing or fails, memory is too small, or a file can't be written.
pub(crate) fn durable(options: &DurableOptions) -> anyhow::Result<()> {
    ensure!(options.seconds > 0.0, "--seconds: more than 0");
    let keys = u32::try_from(options.keys).context("--keys: at most 4 billion")?;
    let available = procfs::Meminfo::current()?.mem_available.unwrap_or(u64::MAX);
    let needed = u64::from(keys) * BYTES_PER_KEY;
    ensure!(
        needed <= available,
        "{keys} keys may take {} MiB, and {} are available: give a smaller --keys",
        needed >> 20,
        available >> 20
    );
    let mut sides = vec![Side::Kvd];
    if !options.without_redis {
        redis::install_missing()?;
        sides.push(Side::Redis);
    }
    let machine = Machine::current()?;
    let directory = match &options.dir {
        Some(directory) => directory.clone(),
        None => options.bin_dir.parent().unwrap_or(Path::new(".")).to_owned(),
    };
    let work = tempfile::Builder::new().prefix("bench-durable.").tempdir_in(&directory);
    let work = work.with_context(|| format!("cannot make a directory in {}", directory.display()))?;
    let run = Run { options, sides, work: work.path(), keys };

    let (mut disk, mut writes, mut many) = (Vec::new(), Vec::new(), Vec::new());
    run.writes(&mut disk, &mut writes)?;
    for round in 1..=options.key_rounds {
        for side in run.turn(round) {
            many.push(run.many_keys(side, round)?);
        }
    }
    let results = DurableResults {
        machine,
        command: super::engine::command(),
        servers: run.sides.iter().map(|&side| (side.name().to_owned(), version(options, side))).collect(),
        keys: options.keys,
        seconds: options.seconds,
        rounds: options.rounds,
        key_rounds: options.key_rounds,
        gets_per_second: GETS_PER_SECOND,
        disk_syncs_per_second: disk,
        writes,
        many_keys: many,
    };
    results::save(&options.paths.durable(), &results)?;
    report::write(&options.paths)
}

struct Run<'a> {
    options: &'a DurableOptions,
    sides: Vec<Side>,
    /// All data of all servers.
    work: &'a Path,
    keys: u32,
}

impl Run<'_> {
    /// Who goes first changes, so that neither always finds the machine warmer or the disk fuller.
    fn turn(&self, round: u32) -> Vec<Side> {
        let mut sides = self.sides.clone();
        if round.is_multiple_of(2) {
            sides.reverse();
        }
        sides
    }

    fn directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.work.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    fn writes(&self, disk: &mut Vec<f64>, writes: &mut Vec<Writes>) -> anyhow::Result<()> {
        for round in 1..=self.options.rounds {
            disk.push(self.disk()?);
            progress(&format!("round {round}: the disk alone: {:.0} syncs/s", disk[disk.len() - 1]));
            for (fsync, clients) in WRITES {
                for side in self.turn(round) {
                    let measured = self.write(side, fsync, clients, round)?;
                    let Writes { writes_per_second, server_cpu_us_per_write, .. } = &measured;
                    progress(&format!(
                        "round {round}: fsync {}, {clients} clients, {}: {writes_per_second:.0} writes/s, \
                         {server_cpu_us_per_write:.1} us of CPU each",
                        fsync.name(),
                        side.name()
                    ));
                    writes.push(measured);
                }
            }
        }
        Ok(())
    }

    /// One turn, on a server of its own: what another turn left to do is then nobody's.
    fn write(&self, side: Side, fsync: Fsync, clients: usize, round: u32) -> anyhow::Result<Writes> {
        let data = self.directory("writes")?;
        let server = Server::start(&self.options.bin_dir, side, fsync, &data)?;
        let (request, connections) = (Request::Set, clients);
        let load = Load { side, address: server.address, connections, request, keys: WRITTEN_KEYS, pace: None };
        let turn = Duration::from_secs_f64(self.options.seconds);
        load.run(|elapsed| elapsed >= turn / 4)?;
        let cpu_before = server.cpu_time()?;
        let Measured { seconds, latency } = load.run(|elapsed| elapsed >= turn)?;
        let cpu = server.cpu_time()? - cpu_before;
        server.stop()?;
        std::fs::remove_dir_all(data)?;
        Ok(Writes {
            round,
            side: side.name().to_owned(),
            fsync: fsync.name().to_owned(),
            clients,
            writes_per_second: latency.len() as f64 / seconds,
            server_cpu_us_per_write: cpu.as_secs_f64() * 1e6 / latency.len() as f64,
            p50_us: latency.value_at_quantile(0.5) as f64 / 1e3,
            p99_9_us: latency.value_at_quantile(0.999) as f64 / 1e3,
        })
    }

    /// For orientation: a small write and its fdatasync, in a loop, into a file that has its room. No bound, since a disk may
    /// be quicker for one that pauses.
    fn disk(&self) -> anyhow::Result<f64> {
        let path = self.work.join("disk");
        let mut file = File::create(&path)?;
        file.write_all(&vec![0; DISK_FILE_BYTES])?;
        file.sync_all()?;
        file.rewind()?;
        let (begun, mut syncs) = (Instant::now(), 0_u32);
        while begun.elapsed().as_secs_f64() < self.options.seconds {
            file.write_all(&DISK_WRITE)?;
            file.sync_data()?;
            syncs += 1;
            if (syncs as usize * DISK_WRITE.len()).is_multiple_of(DISK_FILE_BYTES) {
                file.rewind()?;
            }
        }
        let per_second = f64::from(syncs) / begun.elapsed().as_secs_f64();
        std::fs::remove_file(path)?;
        Ok(per_second)
    }

    /// Fill, get, crash, restart from the journal, get during a snapshot, stop, restart from the snapshot.
    fn many_keys(&self, side: Side, round: u32) -> anyhow::Result<ManyKeys> {
        let data = self.directory("keys")?;
        let (programs, name) = (&self.options.bin_dir, side.name());
        let tell = |what: &str| progress(&format!("keys, round {round}, {name}: {what}"));
        let server = Server::start(programs, side, Fsync::Second, &data)?;
        let begun = Instant::now();
        server.fill(self.keys)?;
        let fill_seconds = begun.elapsed().as_secs_f64();
        tell(&format!("filled in {fill_seconds:.1} s"));
        wait_until(|| server.is_durable())?;
        let journal_bytes = server::bytes_on_disk(&data, &|name| is_journal(side, name))?;
        server.kill()?;

        let server = Server::start(programs, side, Fsync::Second, &data)?;
        server.check_keys(self.keys)?;
        let journal_start_seconds = server.started.as_secs_f64();
        tell(&format!("ready after a kill in {journal_start_seconds:.1} s"));

        let turn = Duration::from_secs_f64(self.options.seconds);
        let quiet = self.gets(&server).run(|elapsed| elapsed >= turn)?;
        let (snapshot_seconds, busy) = self.gets_during_snapshot(&server)?;
        let (quiet, busy) = (gets(&quiet), gets(&busy));
        tell(&format!(
            "snapshot in {snapshot_seconds:.1} s, p99.9 of gets {:.0} us, {:.0} us without",
            busy.p99_9_us, quiet.p99_9_us
        ));
        let snapshot_bytes = server::bytes_on_disk(&data, &|name| is_snapshot(side, name))?;
        let total_bytes = server::bytes_on_disk(&data, &|name| is_snapshot(side, name) || is_journal(side, name))?;
        server.stop()?;

        // redis would begin with its append-only file, if it were told to have one.
        let fsync = if side == Side::Redis { Fsync::Never } else { Fsync::Second };
        let server = Server::start(programs, side, fsync, &data)?;
        server.check_keys(self.keys)?;
        let snapshot_start_seconds = server.started.as_secs_f64();
        tell(&format!("ready after a stop in {snapshot_start_seconds:.1} s"));
        server.kill()?;
        std::fs::remove_dir_all(data)?;
        Ok(ManyKeys {
            round,
            side: name.to_owned(),
            fill_seconds,
            quiet,
            during_snapshot: busy,
            snapshot_seconds,
            journal_start_seconds,
            snapshot_start_seconds,
            journal_bytes,
            snapshot_bytes,
            total_bytes,
        })
    }

    fn gets(&self, server: &Server) -> Load {
        let Server { side, address, .. } = *server;
        let (connections, request, pace) = (GET_CONNECTIONS, Request::Get, Some(GETS_PER_SECOND));
        Load { side, address, connections, request, keys: self.keys, pace }
    }

    /// From just before the snapshot is asked for until it is on disk.
    fn gets_during_snapshot(&self, server: &Server) -> anyhow::Result<(f64, Measured)> {
        let load = self.gets(server);
        let is_made = AtomicBool::new(false);
        thread::scope(|scope| {
            // Acquire and Release: a pair, though the flag tells nothing but itself.
            let gets = scope.spawn(|| load.run(|_| is_made.load(Ordering::Acquire)));
            let begun = Instant::now();
            let made =
                server.begin_snapshot().and_then(|()| wait_until(|| Ok(gets.is_finished() || server.has_snapshot()?)));
            let seconds = begun.elapsed().as_secs_f64();
            is_made.store(true, Ordering::Release); // pairs with the load above, which ends the gets
            let measured = gets.join().map_err(|_| anyhow!("the clients panicked"))??;
            made?;
            Ok((seconds, measured))
        })
    }
}

/// Asks now and again: neither side tells by itself.
fn wait_until(is_so: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    // Nobody sends: it is a clock that ticks without a busy loop, which would take a core from the server.
    let (_sender, ticks) = mpsc::channel::<()>();
    while !is_so()? {
        let tick = ticks.recv_timeout(ASK_EVERY);
        ensure!(tick == Err(RecvTimeoutError::Timeout), "the sender is held above");
    }
    Ok(())
}

fn gets(measured: &Measured) -> Gets {
    let us = |ns: u64| ns as f64 / 1e3;
    let latency = &measured.latency;
    Gets {
        count: latency.len(),
        p50_us: us(latency.value_at_quantile(0.5)),
        p99_9_us: us(latency.value_at_quantile(0.999)),
        longest_us: us(latency.max()),
    }
}

fn is_journal(side: Side, name: &str) -> bool {
    match side {
        Side::Kvd => name.ends_with(".journal"),
        Side::Redis => name.starts_with("appendonly"),
    }
}

fn is_snapshot(side: Side, name: &str) -> bool {
    match side {
        Side::Kvd => name.ends_with(".snapshot"),
        Side::Redis => name == "dump.rdb",
    }
}

fn version(options: &DurableOptions, side: Side) -> String {
    match side {
        Side::Kvd => redis::first_line(&options.bin_dir.join("kvd"), "version"),
        Side::Redis => redis::first_line(Path::new("redis-server"), "--version"),
    }
}

fn progress(what: &str) {
    anstream::eprintln!("{what}");
}
