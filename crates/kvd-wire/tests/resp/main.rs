//! The Redis protocol without a socket: bytes to requests, requests to commands, replies to bytes.

mod commands;
mod docs;
mod frames;
mod replies;
mod support;
