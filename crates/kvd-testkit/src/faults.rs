//! A disk that fails under a real server: calls of the process are answered by a library that is built by the C compiler and
//! preloaded, so that the server has no seam for it. Knows nothing of what the server does then.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::server::Launch;

/// The library, and the switch that it looks at.
#[derive(Debug)]
pub struct Faults {
    dir: TempDir,
}

impl Faults {
    /// Builds the library.
    ///
    /// # Panics
    /// When there is no C compiler.
    pub fn build() -> Faults {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let faults = Faults { dir };
        let source = faults.dir.path().join("faults.c");
        fs::write(&source, include_str!("faults.c")).expect("a file can be written");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(faults.library()).arg(source);
        let built = compiler.output().expect("there is a C compiler, `cc`");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        faults
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("faults.so")
    }

    fn switch(&self) -> PathBuf {
        self.dir.path().join("broken")
    }

    fn preload(&self, args: &[&str], name: &str, value: String) -> Launch {
        let library = self.library().display().to_string();
        let env = vec![("LD_PRELOAD".to_owned(), library), (name.to_owned(), value)];
        Launch { env, ..Launch::with(args) }
    }

    /// A server whose journal can't be synced from [`break_syncs`](Faults::break_syncs) to [`mend_syncs`](Faults::mend_syncs).
    pub fn of_syncs(&self, args: &[&str]) -> Launch {
        self.preload(args, "FAULTS_SYNC_WHILE", self.switch().display().to_string())
    }

    /// A server that can't write at this offset of any file, nor behind it.
    pub fn of_writes_from(&self, offset: u32, args: &[&str]) -> Launch {
        self.preload(args, "FAULTS_WRITE_FROM", offset.to_string())
    }

    /// From now on syncs fail.
    ///
    /// # Panics
    /// When a file can't be written.
    pub fn break_syncs(&self) {
        fs::write(self.switch(), "").expect("a file can be written");
    }

    /// From now on syncs succeed.
    ///
    /// # Panics
    /// When they did all along.
    pub fn mend_syncs(&self) {
        fs::remove_file(self.switch()).expect("syncs were failing");
    }
}
