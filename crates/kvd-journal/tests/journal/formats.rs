//! Format 1, as files that are kept: they open for ever, and what is written today is the same to the byte.
//! `KVD_FIXTURES=write` makes them anew; do that for a new format, in a new directory.

use std::fs;
use std::path::PathBuf;

use kvd_journal::{Disk, Options, Policy, inspect};
use kvd_testkit::disk::SimDisk;
use kvd_types::{ContentType, Effect, Reason, Revision};

use crate::support::{self, Store, delete, entry, key, options, put};

const DUMP: &str = "dump.txt";

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

/// Everything that the format has.
fn written_today() -> SimDisk {
    let options = |life: u64| Options { entropy: 0xfeed_0000 + life, ..options(Policy::Always) };
    let disk = SimDisk::new();
    let mut store = Store::open(&disk, options(1)).unwrap();
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
    let mut store = Store::open(&disk, options(2)).unwrap();
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

/// Each part of each file, as text.
fn dump(disk: &SimDisk) -> String {
    let mut text = String::new();
    for name in disk.names() {
        text += &format!("{name}\n");
        inspect(disk, &name, &mut |part| text += &format!("  {:5} {:5} {:?}\n", part.offset, part.bytes, part.what))
            .unwrap();
    }
    text
}

fn fixtures() -> SimDisk {
    let disk = SimDisk::new();
    for file in fs::read_dir(directory()).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        if name != DUMP {
            disk.put(&name, fs::read(file.path()).unwrap());
        }
    }
    disk
}

#[test]
fn todays_writer_writes_format_1_to_the_byte() {
    let disk = written_today();
    if std::env::var("KVD_FIXTURES").is_ok_and(|value| value == "write") {
        fs::create_dir_all(directory()).unwrap();
        for name in disk.names() {
            fs::write(directory().join(&name), disk.bytes(&name)).unwrap();
        }
        fs::write(directory().join(DUMP), dump(&disk)).unwrap();
    }
    let kept = fixtures();
    assert_eq!(disk.names(), kept.names());
    for name in disk.names() {
        assert!(disk.bytes(&name) == kept.bytes(&name), "{name} is not what it was:\n{}", dump(&disk));
    }
}

#[test]
fn format_1_says_what_it_said() {
    assert_eq!(dump(&fixtures()), fs::read_to_string(directory().join(DUMP)).unwrap());
}

#[test]
fn format_1_opens() {
    let disk = fixtures();
    let (replayed, replica) = support::recover(&disk, options(Policy::Always)).unwrap();
    let report = replayed.report();
    assert!(report.clean && report.cut.is_none() && report.snapshots_damaged.is_empty());
    assert_eq!((report.last, report.now_ms), (Revision(8 + (1 << 24)), 1_700_000_002_000));
    assert_eq!(replica.state.keys().collect::<Vec<_>>(), [&b"last"[..]]);
    assert_eq!(replica.state[&b"last"[..]].value, "2");
    drop(replayed);
    // Without the snapshot too: the journal is whole.
    let snapshot = disk.names().into_iter().find(|name| name.ends_with(".snapshot")).unwrap();
    disk.remove(&snapshot).unwrap();
    let (replayed, without) = support::recover(&disk, options(Policy::Always)).unwrap();
    assert_eq!((without.state, replayed.report().snapshot), (replica.state, None));
}
