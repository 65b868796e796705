//! What looks before it writes: rules, transfers, one-shot transactions, and commands inside open transactions. Whatever comes,
//! the answers, the counters, the sizes and what the journal is given are those of a model as simple as can be.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

mod cases;
mod interactive;
mod model;
mod one_shot;
mod room;
mod rules;
mod strategies;
