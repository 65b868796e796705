//! `kvd check` and `kvd dump`: looking at a data directory without serving it. Changes nothing, and needs no right to; what the
//! files mean is the journal's to say, here is how it is told.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use kvd_journal::{
    Commit, Content, Disk, Error, Group, History, Inspected, Load, Past, RealDisk, Share, Snapshot, Version, What,
    inspect,
};
use kvd_types::{Effect, Epoch, Key, Reason};

use crate::say;

/// Of a key or a value, so many bytes are shown.
const SHOWN_BYTES: usize = 64;

/// Whether a server could start with this directory, and what it would find.
pub(crate) fn check(dir: &Path) -> anyhow::Result<ExitCode> {
    let disk = open(dir)?;
    // A server would begin a new store there; who asks whether theirs is whole has named another directory.
    data_files(&disk, dir)?;
    let mut found = Found::default();
    let (epoch, report) = kvd_journal::check(Arc::new(disk), &mut found)?;
    let Found { keys, puts, deletes } = found;
    say(&format!("epoch      {epoch}"))?;
    match report.snapshot {
        Some(revision) => say(&format!("snapshot   revision {revision}, {keys} keys"))?,
        None => say("snapshot   none")?,
    }
    for (file, what) in &report.snapshots_damaged {
        say(&format!("damaged    {file}: {what}; an older snapshot and the journal since have it all"))?;
    }
    say(&format!("journal    {} segments, {} bytes", report.segments, report.journal_bytes))?;
    say(&format!("replayed   {} commits: {puts} puts, {deletes} deletes and clears", report.batches))?;
    say(&format!("revision   {}", report.last))?;
    match &report.cut {
        Some(cut) => say(&format!(
            "end        {} bytes from byte {} of {} on were not on disk: a start cuts them",
            cut.bytes, cut.offset, cut.file
        ))?,
        None if report.clean => say("end        stopped in order")?,
        None => say("end        not stopped in order, nothing is to be cut")?,
    }
    say("ok")?;
    Ok(ExitCode::SUCCESS)
}

/// What would be loaded: all of it is read and decoded, and counted.
#[derive(Default)]
struct Found {
    /// Of the snapshot, without those that are deleted and have older versions.
    keys: u64,
    /// After the snapshot's entries.
    puts: u64,
    /// Clears are among them.
    deletes: u64,
}

impl Load for Found {
    fn begin(&mut self, _: Epoch, snapshot: Option<&Snapshot>) -> Result<(), Error> {
        *self = Found::default();
        let Some(snapshot) = snapshot else { return Ok(()) };
        (0..snapshot.chunks_count())
            .try_for_each(|index| snapshot.chunk(index)?.entries().try_for_each(|entry| entry.map(|_| self.keys += 1)))
    }

    fn group(&mut self, group: Group, _: Share) -> Result<(), Error> {
        group.effects(|_, effect| {
            match effect {
                Effect::Put { .. } => self.puts += 1,
                Effect::Delete { .. } | Effect::Clear => self.deletes += 1,
            }
            Ok(())
        })
    }
}

/// Every record of every file, oldest first.
pub(crate) fn dump(dir: &Path) -> anyhow::Result<ExitCode> {
    let disk = open(dir)?;
    // A journal in use may end in the middle of a record, and its files go away.
    let _lock = kvd_journal::lock_shared(&disk)?;
    let names = data_files(&disk, dir)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for name in names {
        let mut written = writeln!(out, "{name}");
        inspect(&disk, &name, &mut |part| {
            if written.is_ok() {
                written = print(&mut out, &part);
            }
        })?;
        written.context("can't write to standard output")?;
    }
    out.flush().context("can't write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// The names of its snapshots and segments, oldest first; an error where there are none.
fn data_files(disk: &RealDisk, dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = disk.list().with_context(|| format!("can't read {}", dir.display()))?;
    names.retain(|name| name.ends_with(".snapshot") || name.ends_with(".journal"));
    names.sort_unstable();
    if names.is_empty() {
        bail!("there is no data of kvd in {}: no journal and no snapshot", dir.display());
    }
    Ok(names)
}

fn open(dir: &Path) -> anyhow::Result<RealDisk> {
    if !dir.is_dir() {
        bail!("{} is no directory", dir.display());
    }
    Ok(RealDisk::new(dir))
}

fn print(out: &mut impl Write, part: &Inspected) -> io::Result<()> {
    write!(out, "{:>12} +{:<8} ", part.offset, part.bytes)?;
    match &part.what {
        What::Segment { number, size, filled, previous_end, base } => {
            let after = format!("after revision {base}, the one before ends at byte {previous_end}");
            writeln!(out, "segment {number} of {size} bytes, {after}, synced to byte {filled} when named")
        }
        What::Snapshot { begin } => writeln!(out, "snapshot begun at revision {begin}"),
        What::Group { synced, now_ms, batches } => {
            writeln!(out, "group of {} commits, time {now_ms}, durable to byte {synced} then", batches.len())?;
            for Commit { revision, time_ms, effects } in batches {
                let time = time_ms.map_or(String::new(), |time_ms| format!(", time {time_ms}"));
                writeln!(out, "{:24}commit {revision}{time}", "")?;
                effects.iter().try_for_each(|effect| print_effect(out, effect))?;
            }
            Ok(())
        }
        What::Mark { synced, now_ms, last, clean } => {
            let kind = if *clean { "stopped in order" } else { "mark" };
            writeln!(out, "{kind}: revision {last}, time {now_ms}, durable to byte {synced}")
        }
        What::Resume { now_ms, last } => writeln!(out, "start: goes on after revision {last}, time {now_ms}"),
        What::Entries(entries) => {
            writeln!(out, "{} keys", entries.len())?;
            for entry in entries {
                let key = shown(entry.key.as_bytes());
                write!(out, "{:26}{key} of revision {}, {} bytes", "", entry.revision, entry.value.len())?;
                print_end(out, entry.expires_at_ms, &entry.value)?;
            }
            Ok(())
        }
        What::Histories(histories) => {
            writeln!(out, "{} keys with older versions", histories.len())?;
            histories.iter().try_for_each(|history| print_history(out, history))
        }
        What::Past(Past { begins, jumps }) => {
            writeln!(out, "history is known from revision {begins} on")?;
            jumps.iter().try_for_each(|jump| writeln!(out, "{:24}{} was followed by {}", "", jump.from, jump.to.0 + 1))
        }
        What::Trailer { end, now_ms, entries, batches } => {
            writeln!(out, "end: revision {end}, time {now_ms}, {entries} keys, {batches} commits in the tail")
        }
        What::Bad(flaw) => writeln!(out, "bad: {flaw}"),
        What::Unused => writeln!(out, "room"),
    }
}

fn print_history(out: &mut impl Write, history: &History<'_>) -> io::Result<()> {
    let older = if history.is_cut { ", older ones were dropped" } else { "" };
    writeln!(out, "{:26}{}{older}", "", key_shown(&history.key))?;
    for Version { revision, time_ms, content } in &history.versions {
        write!(out, "{:28}revision {revision}", "")?;
        if let Some(time_ms) = time_ms {
            write!(out, ", time {time_ms}")?;
        }
        match content {
            Content::Put { value, content_type: _, expires_at_ms } => {
                write!(out, ", {} bytes", value.len())?;
                print_end(out, *expires_at_ms, value)?;
            }
            Content::Gone(reason) => writeln!(out, ", deleted{}", why(*reason))?,
        }
    }
    Ok(())
}

fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Asked => "",
        Reason::Expired => " (expired)",
        Reason::Evicted => " (evicted)",
    }
}

fn print_effect(out: &mut impl Write, effect: &Effect<'_>) -> io::Result<()> {
    write!(out, "{:26}", "")?;
    match effect {
        Effect::Put { key, value, content_type: _, expires_at_ms } => {
            write!(out, "put {}, {} bytes", key_shown(key), value.len())?;
            print_end(out, *expires_at_ms, value)
        }
        Effect::Delete { key, reason } => writeln!(out, "delete {}{}", key_shown(key), why(*reason)),
        Effect::Clear => writeln!(out, "clear"),
    }
}

fn print_end(out: &mut impl Write, expires_at_ms: Option<u64>, value: &[u8]) -> io::Result<()> {
    if let Some(at) = expires_at_ms {
        write!(out, ", expires at {at}")?;
    }
    writeln!(out, ": {}", shown(value))
}

fn key_shown(key: &Key<'_>) -> String {
    shown(key.as_bytes())
}

/// Quoted, with escapes, and cut where it is long.
fn shown(bytes: &[u8]) -> String {
    let (begin, rest) = bytes.split_at(bytes.len().min(SHOWN_BYTES));
    format!("\"{}\"{}", begin.escape_ascii(), if rest.is_empty() { "" } else { ".." })
}
