//! The client against a scripted server: what it sends, and what it makes of answers that are missing, broken or foreign.

mod failures;
mod requests;
mod support;
mod transactions;
mod watches;
