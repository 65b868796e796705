//! Bytes to kvd commands, and replies to bytes, without I/O: the server reads requests and writes answers with it, the
//! client the other way round, so that both always speak the same protocol. REST is HTTP with JSON and CBOR, RESP that of Redis.
//!
//! Knows HTTP's words (methods, headers, status) but neither sockets nor a runtime, and nothing of how commands are executed.

pub mod resp;
pub mod rest;
