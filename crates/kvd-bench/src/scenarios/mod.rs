//! What is measured, and in which order, so that a comparison is fair: all sides in one process, in turns, in every round.
//! Knows nothing of how a side works, nor what is expected of the figures.

mod durable;
mod engine;
mod eviction;
mod growth;
mod memory;
mod redis;

pub(crate) use durable::durable;
pub(crate) use engine::engine;
pub(crate) use eviction::eviction;
pub(crate) use growth::{Grown, grow};
pub(crate) use memory::{allocators, memory, remember};
