//! redis-server as a cache: started with a limit and a policy, asked by pipelines over RESP, and ended. Knows nothing of what is
//! asked for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::caches::{Cache, ValueBytes};
use crate::keys::{KEY_BYTES, key};

pub(super) struct Redis<'a> {
    child: Child,
    stream: BufReader<TcpStream>,
    value_bytes: ValueBytes<'a>,
    /// The longest value, of which others are the front.
    value: Vec<u8>,
    /// What is sent together.
    out: Vec<u8>,
}

impl<'a> Redis<'a> {
    /// Starts one.
    ///
    /// # Errors
    /// It can't be started, or ends before it is ready.
    pub(super) fn start(
        policy: &str,
        memory_bytes: u64,
        value_bytes: ValueBytes<'a>,
        longest: usize,
    ) -> anyhow::Result<Redis<'a>> {
        // It has no way to choose a port itself: one that is free now.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
        command.args(["--maxmemory", &memory_bytes.to_string(), "--maxmemory-policy", policy]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start {command:?}"))?;
        let connected = connect(&mut child, port);
        if connected.is_err() {
            end(&mut child);
        }
        let stream = BufReader::new(connected?);
        Ok(Redis { child, stream, value_bytes, value: vec![0; longest], out: Vec::new() })
    }

    /// Keys it holds.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn keys(&mut self) -> anyhow::Result<u64> {
        self.stream.get_mut().write_all(b"DBSIZE\r\n")?;
        let answer = self.line()?;
        answer.strip_prefix(':').and_then(|keys| keys.parse().ok()).with_context(|| format!("DBSIZE is {answer}"))
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "redis closed the connection");
        Ok(line.trim_end().to_owned())
    }

    fn send(&mut self) -> anyhow::Result<()> {
        self.stream.get_mut().write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

impl Cache for Redis<'_> {
    fn ask(&mut self, keys: &[u32]) -> anyhow::Result<Vec<bool>> {
        for index in keys {
            self.out.extend_from_slice(format!("*2\r\n$3\r\nGET\r\n${KEY_BYTES}\r\n").as_bytes());
            self.out.extend_from_slice(&key(*index));
            self.out.extend_from_slice(b"\r\n");
        }
        self.send()?;
        let mut had = Vec::with_capacity(keys.len());
        for _ in keys {
            let line = self.line()?;
            let length: i64 = match line.strip_prefix('$') {
                Some(length) => length.parse()?,
                None => bail!("redis answers {line} to GET"),
            };
            if length >= 0 {
                let mut value = vec![0; length as usize + 2];
                self.stream.read_exact(&mut value)?;
            }
            had.push(length >= 0);
        }
        Ok(had)
    }

    fn give(&mut self, missed: &[u32]) -> anyhow::Result<()> {
        for index in missed {
            let length = (self.value_bytes)(*index);
            self.out.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n${KEY_BYTES}\r\n").as_bytes());
            self.out.extend_from_slice(&key(*index));
            self.out.extend_from_slice(format!("\r\n${length}\r\n").as_bytes());
            self.out.extend_from_slice(&self.value[..length]);
            self.out.extend_from_slice(b"\r\n");
        }
        self.send()?;
        for _ in missed {
            let line = self.line()?;
            ensure!(line == "+OK", "redis answers {line} to SET");
        }
        Ok(())
    }
}

impl Drop for Redis<'_> {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Once it says that it is ready.
fn connect(child: &mut Child, port: u16) -> anyhow::Result<TcpStream> {
    let mut output = BufReader::new(child.stdout.take().context("stdout is piped")?);
    let mut said = String::new();
    while !said.contains("Ready to accept connections") {
        ensure!(output.read_line(&mut said)? > 0, "redis ended before it was ready: {said}");
    }
    // What is said later is of no interest, but must not fill the pipe.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn end(child: &mut Child) {
    // One that has ended is no news here.
    let _ = child.kill();
    let _ = child.wait();
}
