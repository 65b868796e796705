//! A real directory tree goes into the store and comes back, file by file, as a script would do it: the key is the path, the
//! value the file's bytes, text or program. By default a sample of the system's headers and programs, spread over all of
//! them; with `KVD_TREE=all` (`make tree`) every one.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kvd_testkit::{Server, binary};

/// Where a Unix system has headers and programs.
const ROOTS: [&str; 3] = ["/usr/include", "/usr/bin", "/usr/lib"];

/// Files of the sample.
const SAMPLE: usize = 200;

/// The server's limit on a value; larger files are left out, and counted.
const VALUE_BYTES_MAX: u64 = 64 << 20;

fn files_below(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files_below(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn kvcli(server: &Server, args: &[&std::ffi::OsStr]) -> Output {
    let output = Command::new(binary("kvcli")).args(args).env("KVD_URL", server.url()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn a_tree_of_files_comes_back_byte_for_byte() {
    let mut files = Vec::new();
    for root in ROOTS.map(Path::new).into_iter().filter(|root| root.is_dir()) {
        files_below(root, &mut files).unwrap();
    }
    files.sort();
    let all = files.len();
    if env::var_os("KVD_TREE").is_none_or(|which| which != "all") {
        files = files.into_iter().step_by(all.div_ceil(SAMPLE).max(1)).collect();
    }
    // Programs can be readable for root alone.
    files.retain(|file| fs::File::open(file).is_ok() && fs::metadata(file).unwrap().len() <= VALUE_BYTES_MAX);
    assert!(files.len() >= SAMPLE / 2, "only {} of {all} files can be tried", files.len());

    let server = Server::start();
    let mut bytes = 0;
    for file in &files {
        kvcli(&server, &["set".as_ref(), "-k".as_ref(), file.as_ref(), "--value-file".as_ref(), file.as_ref()]);
    }
    for file in &files {
        let back = kvcli(&server, &["get".as_ref(), "-k".as_ref(), file.as_ref()]).stdout;
        assert!(back == fs::read(file).unwrap(), "{} came back changed", file.display());
        bytes += back.len();
    }
    let stats = String::from_utf8(kvcli(&server, &["stats".as_ref()]).stdout).unwrap();
    assert!(stats.contains(&format!("keys {}\nvalue_bytes {bytes}\n", files.len())), "{stats}");
    println!("{} of {all} files, {bytes} bytes", files.len());
}
