//! How far a start has come, for people: one line on a terminal, which goes when it is done; and the way of such a line from a
//! server in the background to who started it. Knows nothing of what the line says.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::say;

/// What a line begins with that a server in the background writes to its standard output before the startup line.
const MARK: &str = "progress: ";

/// The line, on standard error where that is a terminal; elsewhere nothing is written.
pub(crate) struct Line {
    is_terminal: bool,
    is_shown: AtomicBool,
}

impl Line {
    pub(crate) fn new() -> Line {
        Line { is_terminal: std::io::stderr().is_terminal(), is_shown: AtomicBool::new(false) }
    }

    /// Takes the place of what was shown.
    pub(crate) fn show(&self, text: &str) {
        if self.is_terminal {
            self.is_shown.store(true, Ordering::Relaxed); // stands for nothing else
            // Only for the eye: if it can't be written, nothing is missing.
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K{text}");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if *self.is_shown.get_mut() {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K"); // as above
        }
    }
}

/// For a server in the background: passes the line on.
pub(crate) fn send(text: &str) {
    // Who started it may be gone; the server starts all the same.
    drop(say(&format!("{MARK}{text}")));
}

/// For who started it: the line, if this is one.
pub(crate) fn received(line: &str) -> Option<&str> {
    line.strip_prefix(MARK).map(str::trim_end)
}
