//! Bytes to kvd commands, and replies to bytes, without I/O: the server reads requests and writes answers with it, the
//! client the other way round, so that both always speak the same protocol.
//!
//! Knows HTTP's words (methods, headers, status) but neither sockets nor a runtime, and nothing of how commands are executed.

pub mod rest;
