//! Each version of the format, as files that are kept: they open for ever, and what is written today is the same to the byte.
//! `KVD_FIXTURES=write` makes them anew; do that for a new format, in a new directory.

use std::fs;
use std::path::PathBuf;

use kvd_journal::{
    Commit, Content, Disk, History, Inspected, Jump, Options, Past, Policy, Recovery, Version, What, inspect,
};
use kvd_testkit::disk::SimDisk;
use kvd_types::{ContentType, Effect, Reason, Revision};

use crate::support::{self, Commits, Store, delete, entry, key, options, put};

const DUMP: &str = "dump.txt";

fn directory(format: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}"))
}

fn options_of(life: u64) -> Options {
    Options { entropy: 0xfeed_0000 + life, ..options(Policy::Always) }
}

/// Everything that format 1 has.
fn plain() -> SimDisk {
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options_of(1)).unwrap();
    store.now_ms = 1_700_000_000_000;
    let content_type = ContentType::new(b"text/plain; charset=utf-8").unwrap();
    let (value, expires_at_ms) = ("hello".into(), Some(1_700_000_060_000));
    store.commit(&[
        Effect::Put { key: key("greeting"), value, content_type: Some(content_type), expires_at_ms },
        put("", ""),
        put("bytes", vec![0, 1, 0xfe, 0xff]),
    ]);
    store.commit(&[delete("nothing")]);
    store.writer.sync().unwrap();
    store.commit(&[
        Effect::Delete { key: key(""), reason: Reason::Expired },
        Effect::Delete { key: key("bytes"), reason: Reason::Evicted },
    ]);
    store.writer.mark(1_700_000_000_500).unwrap();
    store.commit(&[put("copied", "into the next segment")]);
    drop(store);
    // Not stopped in order: a jump. Then a snapshot with a tail, a clear among it, and a stop in order.
    let mut store = Store::open(&disk, options_of(2)).unwrap();
    store.commit(&[put("large", vec![b'x'; 600])]);
    let mut snapshot = store.writer.snapshots().begin(store.last).unwrap();
    for (key, version) in &store.replica.state {
        snapshot.add(&entry(key, version)).unwrap();
    }
    store.commit(&[Effect::Clear]);
    store.commit(&[put("last", "1")]);
    store.writer.sync().unwrap();
    snapshot.finish(store.last, store.writer.durable(), 1_700_000_001_000).unwrap();
    store.commit(&[put("last", "2")]);
    store.writer.close(1_700_000_002_000).unwrap();
    disk
}

/// What the snapshot of format 2 has, but for its tail.
fn histories() -> Vec<History<'static>> {
    let put = |value: &'static str, content_type: Option<&str>, expires_at_ms| Content::Put {
        value: value.into(),
        content_type: content_type.map(|text| ContentType::new(text.as_bytes()).unwrap()),
        expires_at_ms,
    };
    let version = |revision, time_ms, content| Version { revision: Revision(revision), time_ms, content };
    let (first, second) = (Some(1_700_000_000_000), Some(1_700_000_000_100));
    let newest = put("two", Some("text/plain"), Some(1_700_000_060_000));
    vec![
        History {
            key: key("a"),
            versions: vec![version(2, second, newest), version(1, None, put("one", None, None))],
            is_cut: false,
        },
        History {
            key: key("gone"),
            versions: vec![version(2, second, Content::Gone(Reason::Asked)), version(1, first, put("", None, None))],
            is_cut: true,
        },
    ]
}

/// Everything that format 2 has beside that.
fn with_history() -> SimDisk {
    let disk = SimDisk::new();
    let mut store = Store::open_with_history(&disk, options_of(1)).unwrap();
    store.now_ms = 1_700_000_000_000;
    store.commit(&[put("a", "one"), put("gone", "")]);
    store.now_ms = 1_700_000_000_100;
    store.commit(&[put("a", "two"), delete("gone")]);
    let mut snapshot = store.writer.snapshots().begin_with_history(store.last).unwrap();
    histories().iter().for_each(|history| snapshot.add_history(history).unwrap());
    store.now_ms = 1_700_000_000_200;
    store.commit(&[put("tail", "1")]);
    store.writer.sync().unwrap();
    snapshot.set_past(past());
    snapshot.finish(store.last, store.writer.durable(), 1_700_000_001_000).unwrap();
    drop(store);
    // Where history is not kept any more, what is copied into the next segment has its times still.
    let store = Store::open(&disk, options_of(2)).unwrap();
    store.writer.close(1_700_000_002_000).unwrap();
    disk
}

fn past() -> Past {
    Past { begins: Revision(1), jumps: vec![Jump { from: Revision(0), to: Revision(1) }] }
}

/// Each part of each file, as text.
fn dump(disk: &SimDisk) -> String {
    let mut text = String::new();
    for name in disk.names() {
        text += &format!("{name}\n");
        inspect(disk, &name, &mut |part| text += &format!("  {:5} {:5} {}\n", part.offset, part.bytes, shown(&part)))
            .unwrap();
    }
    text
}

/// A commit is shown as revision and effects, with its time between them where that is kept.
fn shown(part: &Inspected) -> String {
    let What::Group { synced, now_ms, batches } = &part.what else { return format!("{:?}", part.what) };
    let commit = |Commit { revision, time_ms, effects }: &Commit| match time_ms {
        None => format!("{:?}", (revision, effects)),
        Some(time_ms) => format!("{:?}", (revision, time_ms, effects)),
    };
    let batches: Vec<_> = batches.iter().map(commit).collect();
    format!("Group {{ synced: {synced}, now_ms: {now_ms}, batches: [{}] }}", batches.join(", "))
}

fn fixtures(format: u32) -> SimDisk {
    let disk = SimDisk::new();
    for file in fs::read_dir(directory(format)).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        if name != DUMP {
            disk.put(&name, fs::read(file.path()).unwrap());
        }
    }
    disk
}

/// What is written today is what is kept, to the byte, and says what it said.
fn is_kept(format: u32, disk: &SimDisk) {
    let directory = directory(format);
    if std::env::var("KVD_FIXTURES").is_ok_and(|value| value == "write") {
        fs::create_dir_all(&directory).unwrap();
        for name in disk.names() {
            fs::write(directory.join(&name), disk.bytes(&name)).unwrap();
        }
        fs::write(directory.join(DUMP), dump(disk)).unwrap();
    }
    let kept = fixtures(format);
    assert_eq!(disk.names(), kept.names());
    for name in disk.names() {
        assert!(disk.bytes(&name) == kept.bytes(&name), "{name} is not what it was:\n{}", dump(disk));
    }
    assert_eq!(dump(&kept), fs::read_to_string(directory.join(DUMP)).unwrap());
}

#[test]
fn todays_writer_writes_format_1_to_the_byte() {
    is_kept(1, &plain());
}

#[test]
fn todays_writer_writes_format_2_to_the_byte() {
    is_kept(2, &with_history());
}

#[test]
fn format_1_opens() {
    let disk = fixtures(1);
    let (replayed, replica) = support::recover(&disk, options(Policy::Always)).unwrap();
    let report = replayed.report();
    assert!(report.clean && report.cut.is_none() && report.snapshots_damaged.is_empty());
    assert_eq!((report.last, report.now_ms), (Revision(8 + (1 << 24)), 1_700_000_002_000));
    assert_eq!(report.jumps, [Jump { from: Revision(4), to: Revision(4 + (1 << 24)) }]);
    assert_eq!(replica.state.keys().collect::<Vec<_>>(), [&b"last"[..]]);
    assert_eq!(replica.state[&b"last"[..]].value, "2");
    drop(replayed);
    // Without the snapshot too: the journal is whole.
    let snapshot = disk.names().into_iter().find(|name| name.ends_with(".snapshot")).unwrap();
    disk.remove(&snapshot).unwrap();
    let (replayed, without) = support::recover(&disk, options(Policy::Always)).unwrap();
    assert_eq!((without.state, replayed.report().snapshot), (replica.state, None));
}

#[test]
fn format_2_opens() {
    let disk = fixtures(2);
    let recovery = Recovery::open(std::sync::Arc::new(disk.clone()), options(Policy::Always)).unwrap();
    let mut found = Commits::default();
    let replayed = recovery.load(&mut found).unwrap();
    assert_eq!((found.past, found.histories), (Some(past()), histories()));
    let commit = Commit { revision: Revision(3), time_ms: Some(1_700_000_000_200), effects: vec![put("tail", "1")] };
    assert_eq!(found.commits, [commit]);
    assert_eq!(replayed.report().jumps, [past().jumps[0], Jump { from: Revision(3), to: Revision(3 + (1 << 24)) }]);
    drop(replayed);
    // Who wants no history finds the keys that have a value.
    let (_, replica) = support::recover(&disk, options(Policy::Always)).unwrap();
    assert_eq!(replica.state.keys().collect::<Vec<_>>(), [&b"a"[..], b"tail"]);
}
