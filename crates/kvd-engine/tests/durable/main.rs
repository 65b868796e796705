//! A whole store on a disk that loses power, fails and fills up: what was answered is there afterwards, what was refused is not,
//! nothing has a hole, no revision is given twice, no read or refusal tells of what is lost, and the sizes are exact. Each
//! mistake that can be planted where the store meets its disk breaks one of these promises.
#![cfg(not(any(kvd_loom, kvd_shuttle)))]

mod crash;
mod eviction;
mod failures;
mod life;
mod load;
mod model;
mod own_writes;
mod past;
mod planted;
mod start;
