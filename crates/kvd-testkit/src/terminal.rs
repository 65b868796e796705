//! A terminal to run commands on, so that a test sees what a person sees. Knows nothing of the commands.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Columns of the terminal: as wide as documentation is.
const COLUMNS: u16 = 120;

/// Runs `command` with standard output and standard error on a new terminal, and returns what was shown there.
///
/// # Panics
/// When there is no terminal to be had, the command can't be run, or it shows something that isn't UTF-8.
pub fn on_terminal(mut command: Command) -> String {
    let (screen, terminal) = open();
    let other = terminal.try_clone().expect("a file can be cloned");
    let mut child = command.stdout(terminal).stderr(other).spawn().expect("the command can be run");
    // The screen ends when nobody holds the terminal any more: we must not, either.
    drop(command);
    let shown = read_to_end(screen);
    child.wait().expect("the command can be waited for");
    String::from_utf8(shown).expect("only text is shown on a terminal").replace("\r\n", "\n")
}

fn open() -> (OwnedFd, OwnedFd) {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("the system has a terminal for us");
    grantpt(&screen).expect("the terminal is ours");
    unlockpt(&screen).expect("the terminal is ours");
    let size = Winsize { ws_row: 50, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&screen, size).expect("a terminal has a size");
    let name = ptsname(&screen, Vec::new()).expect("a terminal has a name");
    let path = std::ffi::OsStr::from_bytes(name.as_bytes());
    let terminal = File::options().read(true).write(true).open(path).expect("the terminal can be opened");
    (screen, terminal.into())
}

fn read_to_end(screen: OwnedFd) -> Vec<u8> {
    let mut shown = Vec::new();
    match File::from(screen).read_to_end(&mut shown) {
        Ok(_) => {}
        // EIO is how Linux says that the last holder of the terminal is gone.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {}
        Err(error) => panic!("the terminal can't be read: {error}"),
    }
    shown
}
