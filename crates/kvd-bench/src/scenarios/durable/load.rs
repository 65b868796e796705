//! The clients: one thread that keeps N connections busy, each with one request at a time. Either a connection asks again
//! once it is answered (closed loop), or requests are due at a steady pace and their time counts from when they were due, so
//! that a pause of the server is felt by all that would have come meanwhile. Knows nothing of processes.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use super::wire::{Request, Side, VALUE};

/// How late the end of a load may be noticed.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A server that answers nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Load {
    pub(super) side: Side,
    pub(super) address: SocketAddr,
    pub(super) connections: usize,
    pub(super) request: Request,
    /// Keys are drawn uniformly from so many.
    pub(super) keys: u32,
    /// Requests a second in all; none for as many as are answered.
    pub(super) pace: Option<u32>,
}

pub(super) struct Measured {
    pub(super) seconds: f64,
    /// Nanoseconds of every request.
    pub(super) latency: Histogram<u64>,
}

struct Connection {
    stream: TcpStream,
    /// What has come of the answer.
    answer: Vec<u8>,
    /// When its request was sent, or was due.
    since: Instant,
}

impl Load {
    /// Until `is_over` says so, which is given the time since the start.
    ///
    /// # Errors
    /// A connection breaks, or an answer is a refusal or another value.
    pub(super) fn run(&self, is_over: impl Fn(Duration) -> bool) -> anyhow::Result<Measured> {
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = self.connect(&ready)?;
        let mut idle: VecDeque<usize> = (0..connections.len()).collect();
        let mut events = Vec::with_capacity(connections.len());
        let mut random = SmallRng::seed_from_u64(u64::from(self.keys));
        let mut out = Vec::new();
        let mut latency = Histogram::new(3).expect("three digits are few enough");
        let interval = self.pace.map(|pace| Duration::from_secs(1) / pace);
        let begun = Instant::now();
        let (mut due, mut answered) = (begun, begun);
        loop {
            let ends = is_over(begun.elapsed());
            if ends && idle.len() == connections.len() {
                break;
            }
            while !ends
                && due <= Instant::now()
                && let Some(index) = idle.pop_front()
            {
                let connection = &mut connections[index];
                out.clear();
                self.side.encode(self.request, random.random_range(0..self.keys), &mut out);
                connection.since = interval.map_or_else(Instant::now, |_| due);
                due += interval.unwrap_or_default();
                connection.stream.write_all(&out).context("the server does not take a request")?;
            }
            events.clear();
            let until_due =
                if ends || idle.is_empty() { LOOK_EVERY } else { due.saturating_duration_since(Instant::now()) };
            wait(&ready, &mut events, until_due.min(LOOK_EVERY))?;
            for event in &events {
                let index = event.data.u64() as usize;
                if connections[index].read(self)? {
                    answered = Instant::now();
                    latency.record(answered.duration_since(connections[index].since).as_nanos() as u64)?;
                    idle.push_back(index);
                }
            }
            ensure!(idle.len() == connections.len() || answered.elapsed() < PATIENCE, "no answer for {PATIENCE:?}");
        }
        ensure!(!latency.is_empty(), "nothing was answered");
        Ok(Measured { seconds: answered.duration_since(begun).as_secs_f64(), latency })
    }

    fn connect(&self, ready: &OwnedFd) -> anyhow::Result<Vec<Connection>> {
        let connect = |index: usize| {
            let stream = TcpStream::connect(self.address).context("cannot connect")?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(ready, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
            Ok(Connection { stream, answer: Vec::new(), since: Instant::now() })
        };
        (0..self.connections).map(connect).collect()
    }
}

impl Connection {
    /// Whether the answer is whole now.
    fn read(&mut self, load: &Load) -> anyhow::Result<bool> {
        let mut part = [0; 4096];
        let read = self.stream.read(&mut part).context("the connection broke")?;
        ensure!(read > 0, "the server closed the connection");
        self.answer.extend_from_slice(&part[..read]);
        let Some(body) = load.side.decode(&self.answer)? else { return Ok(false) };
        ensure!(load.request == Request::Set || body == VALUE, "another value than was set");
        self.answer.clear();
        Ok(true)
    }
}

/// epoll's own timeout counts in milliseconds, which is too coarse for a pace.
fn wait(ready: &OwnedFd, events: &mut Vec<epoll::Event>, timeout: Duration) -> anyhow::Result<()> {
    let timeout = Timespec::try_from(timeout)?;
    poll(&mut [PollFd::new(ready, PollFlags::IN)], Some(&timeout))?;
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    epoll::wait(ready, rustix::buffer::spare_capacity(events), Some(&at_once))?;
    Ok(())
}
