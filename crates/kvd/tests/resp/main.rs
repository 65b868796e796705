//! The Redis protocol end to end: the real server, asked over plain sockets. One behaviour per file.

mod durable;
mod hostile;
mod limits;
mod parity;
mod pipelines;
mod protocols;
mod scripts;
mod slow;
mod stopping;
mod transactions;
mod walks;
