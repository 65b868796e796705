//! The engine under chosen schedules: small stories of two or three threads on a real store, run again and again with the
//! threads interleaved differently. What is promised: no schedule breaks a story as the engine is, and each mistake that can
//! be planted into it breaks one, so these tests can fail. Knows nothing of weakly ordered memory: that is loom's.
//!
//! ```text
//! RUSTFLAGS="--cfg kvd_shuttle" cargo test -p kvd-engine --test shuttle
//! KVD_SCHEDULES=100 RUSTFLAGS="--cfg kvd_shuttle" cargo test -p kvd-engine --test shuttle      a hundred times as many
//! ```
#![cfg(kvd_shuttle)]

mod alone;
mod clears;
mod client;
mod durable;
mod eviction;
mod history;
mod one_shot;
mod order;
mod reads;
mod rekeying;
mod run;
mod structure;
mod time;
mod transactions;
mod watching;
