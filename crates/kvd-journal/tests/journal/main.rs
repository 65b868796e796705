//! The journal's promises, on a disk that loses power, fails and fills up: what was acknowledged is there, what was
//! refused is not, nothing has a hole, no revision is given twice, and damage never becomes wrong data.

mod crash;
mod damage;
mod failures;
mod formats;
mod history;
mod planted;

mod real;
mod room;
mod roundtrip;
mod run;
mod snapshots;
mod support;
