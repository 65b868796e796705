//! What the tests of several crates share: real `kvd` processes to test against, an HTTP client that sends exactly the
//! bytes it is given, a reader of event streams, a disk that loses power, and checkers of recorded histories, of what is left
//! after a crash and of what is told of the past. For tests only: whatever goes wrong is a panic that says what it was.
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
pub mod history;
mod raw_http;
mod server;
mod terminal;

pub use events::{Block, EventStream};
pub use raw_http::{RawConnection, RawResponse};
pub use server::{Server, binary, wait_for_exit};
pub use terminal::on_terminal;
