//! Where connections come in: listens, and hands each socket to the worker with the fewest. Knows of what is spoken on them
//! only the name.

use std::io::ErrorKind;
use std::iter::repeat;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::select_all;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tracing::warn;

use super::worker::{Incoming, Protocol, Workers};

/// Connections the system holds for us while we are busy.
const BACKLOG: u32 = 1024;

/// How long to wait when the system has no more file descriptors: until one is freed there is nothing to be done.
const OUT_OF_FILES_PAUSE: Duration = Duration::from_millis(100);

/// The sockets that are listened on, and what is spoken there.
pub(super) struct Listeners(Vec<(TcpListener, Protocol)>);

impl Listeners {
    /// Listens on all of these addresses, or on none.
    ///
    /// # Errors
    /// Names the address that can't be listened on.
    pub(super) fn bind(rest: &[SocketAddr], resp: &[SocketAddr]) -> anyhow::Result<Listeners> {
        let bind = |(address, protocol): (&SocketAddr, Protocol)| {
            let listen = || {
                let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                // A port whose last owner left connections in TIME_WAIT is free all the same.
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                socket.listen(BACKLOG)
            };
            let flag = if protocol == Protocol::Rest { "--listen" } else { "--resp (`--resp off` for none)" };
            let listener = listen().map_err(|error| match error.kind() {
                ErrorKind::AddrInUse => anyhow::anyhow!(
                    "{address} is in use: another kvd or another program listens there; stop it or choose another {flag}"
                ),
                _ => anyhow::Error::new(error).context(format!("can't listen on {address}")),
            });
            Ok((listener?, protocol))
        };
        let (rest, resp) = (rest.iter().zip(repeat(Protocol::Rest)), resp.iter().zip(repeat(Protocol::Resp)));
        rest.chain(resp).map(bind).collect::<anyhow::Result<_>>().map(Listeners)
    }

    /// The addresses of a protocol, with the ports that the system chose for port 0.
    pub(super) fn addresses(&self, protocol: Protocol) -> anyhow::Result<Vec<SocketAddr>> {
        let listeners = self.0.iter().filter(|(_, spoken)| *spoken == protocol);
        listeners.map(|(listener, _)| listener.local_addr().context("asking for the address listened on")).collect()
    }

    /// Accepts connections until the future is dropped; at most `connections_max` are open at a time, further ones wait.
    ///
    /// Returns only when a worker is gone, which no server survives.
    pub(super) async fn accept(mut self, workers: &Workers, connections_max: usize) -> anyhow::Error {
        let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        loop {
            // One for whoever comes next, wherever that is: a listener that nobody calls keeps none from the others.
            let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
            let accepts = self.0.iter().map(|(listener, _)| Box::pin(accept_one(listener)));
            let (accepted, index, _) = select_all(accepts).await;
            let protocol = self.0[index].1;
            // The next one begins behind it, so that all have their turn.
            self.0.rotate_left(index + 1);
            match accepted {
                Ok(socket) => {
                    if let Err(error) = workers.hand_over(Incoming { socket, protocol, permit }) {
                        return error;
                    }
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(OUT_OF_FILES_PAUSE).await;
                }
            }
        }
    }
}

/// A socket that no longer belongs to this thread's runtime.
async fn accept_one(listener: &TcpListener) -> std::io::Result<std::net::TcpStream> {
    let (socket, _) = listener.accept().await?;
    // Without it, answers to pipelined requests wait 40 ms for the client's acknowledgement.
    socket.set_nodelay(true)?;
    socket.into_std()
}

/// Whether only the one connection failed, before we saw it.
fn is_of_the_connection(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::NotConnected
    )
}
