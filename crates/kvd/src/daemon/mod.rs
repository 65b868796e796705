//! A server as a process that other processes find, wait for, ask and end.
//!
//! | file in the data directory | what it is |
//! |---|---|
//! | `kvd.pid` | the server's process id; locked for the server's life, which is what counts |
//! | `kvd.ready` | where it serves, as JSON; written when it is ready |
//! | `kvd.log` | standard error of a server in the background |
//!
//! Knows nothing of the data.

mod home;
mod pidfile;
mod ready;
mod start;
mod status;
mod stop;

pub(crate) use home::Home;
pub(crate) use pidfile::PidFile;
pub(crate) use ready::Ready;
pub(crate) use start::start;
pub(crate) use status::status;
pub(crate) use stop::stop;
