//! What the tests of several crates share: real `kvd` processes to test against, clients of HTTP and of the Redis protocol that
//! send exactly the bytes they are given, a reader of event streams, a disk that loses power, and checkers of recorded histories,
//! of what is left after a crash and of what is told of the past. For tests only: whatever goes wrong is a panic that says what
//! it was.
//!
//! ```no_run
//! use kvd_testkit::{RawConnection, Server};
//!
//! let server = Server::start();
//! let mut connection = RawConnection::open(server.address());
//! connection.send(b"GET /v1/keys/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
//! assert_eq!(connection.read_response().status, 404);
//! ```

pub mod chronicle;
pub mod crash;
pub mod disk;
pub mod durability;
mod events;
mod faults;
pub mod history;
mod mount;
mod raw_http;
mod raw_resp;
mod server;
mod terminal;

pub use events::{Block, EventStream};
pub use faults::Faults;
pub use mount::{Mount, not_tested, without_override};
pub use raw_http::{RawConnection, RawResponse};
pub use raw_resp::{Answer, RespConnection, request as resp_request, run_script};
pub use server::{Launch, Server, binary, wait_for_exit};
pub use terminal::on_terminal;
