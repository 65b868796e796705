//! What a test can ask of the system beyond files: a file system of its own, and a process that permissions hold for even where
//! the tests run as root. Where the system does not give it, that is said aloud: a test that tests nothing must not look like one
//! that has passed. Knows nothing of servers.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Says that something is not tested here, where no test runner hides it. With `KVD_TEST_ALL` in the environment it is a failure.
///
/// # Panics
/// With `KVD_TEST_ALL`.
pub fn not_tested(what: &str) {
    assert!(std::env::var_os("KVD_TEST_ALL").is_none(), "not tested: {what}");
    // Not by a macro, whose output is kept from who runs the tests. If it can't be written, nobody is listening.
    let _ = writeln!(std::io::stderr(), "\n!! NOT TESTED HERE: {what}\n");
}

/// A small file system in memory in place of a directory, seen by the processes that are started under it; it is gone with this.
#[derive(Debug)]
pub struct Mount {
    /// Has the file system, and waits for its input to end.
    keeper: Child,
    at: PathBuf,
    /// What runs a command where the file system is seen.
    under: Vec<String>,
}

impl Mount {
    /// Mounts one of `megabytes` at `at`: in namespaces of its own, which any user may have on most systems.
    ///
    /// # Errors
    /// The system does not allow it, in its words.
    pub fn new(at: &Path, megabytes: u32) -> Result<Mount, String> {
        // Root in a container may mount where it may have no users of its own, and the other way round.
        let ways: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];
        let mut refusals = Vec::new();
        for way in ways {
            match Mount::in_namespaces(way, at, megabytes) {
                Ok(mount) => return Ok(mount),
                Err(refusal) => refusals.push(format!("unshare {}: {}", way.join(" "), refusal.trim())),
            }
        }
        Err(refusals.join("; "))
    }

    fn in_namespaces(namespaces: &[&str], at: &Path, megabytes: u32) -> Result<Mount, String> {
        let script = r#"mount -t tmpfs -o "size=$2m,mode=700" none "$1" && echo mounted && exec cat"#;
        let mut command = Command::new("unshare");
        command.args(namespaces).args(["sh", "-c", script, "sh"]).arg(at).arg(megabytes.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut keeper = command.spawn().map_err(|error| error.to_string())?;
        let mut line = String::new();
        let stdout = keeper.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        if line != "mounted\n" {
            let mut refusal = String::new();
            let mut stderr = keeper.stderr.take().expect("stderr is piped");
            stderr.read_to_string(&mut refusal).map_err(|error| error.to_string())?;
            keeper.wait().map_err(|error| error.to_string())?;
            return Err(refusal);
        }
        let mut under = vec!["nsenter".to_owned(), format!("--target={}", keeper.id()), "--mount".to_owned()];
        if namespaces.contains(&"--user") {
            under.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        Ok(Mount { keeper, at: at.to_owned(), under })
    }

    /// What a command is to be started by, to see the file system.
    pub fn under(&self) -> Vec<String> {
        self.under.clone()
    }

    /// Where this process sees it.
    pub fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.at.strip_prefix("/").expect("an absolute path"))
    }

    /// Lets nobody write to it from now on; nobody may have a file open for that.
    ///
    /// # Panics
    /// When somebody has.
    pub fn make_read_only(&self) {
        let mut command = Command::new(&self.under[0]);
        command.args(&self.under[1..]).args(["mount", "-o", "remount,ro"]).arg(&self.at);
        let mounted = command.output().expect("nsenter can be run");
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The file system goes with the last process that sees it. What can't be killed is gone already.
        drop(self.keeper.kill());
        drop(self.keeper.wait());
    }
}

/// What a command is to be started by, so that it can't write where it has no permission: root can, unless it gives that up.
///
/// # Errors
/// That can't be had here, in the system's words.
pub fn without_override() -> Result<Vec<String>, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Vec::new());
    }
    const CAPABILITIES: &str = "-dac_override,-dac_read_search";
    let under = ["setpriv".to_owned(), format!("--inh-caps={CAPABILITIES}"), format!("--bounding-set={CAPABILITIES}")];
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let tried = Command::new(&under[0])
        .args(&under[1..])
        .args(["sh", "-c", r#"chmod 500 "$1" && ! touch "$1/file""#, "sh"])
        .arg(dir.path())
        .output()
        .map_err(|error| format!("setpriv: {error}"))?;
    if tried.status.success() { Ok(under.to_vec()) } else { Err(String::from_utf8_lossy(&tried.stderr).into_owned()) }
}
