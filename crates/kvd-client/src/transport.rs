//! One request out, one answer in, over kept-alive connections with TCP_NODELAY; or an answer that comes bit by bit, as long as
//! it lasts. Tells what kind of failure a failure is. Knows HTTP, not keys and values.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::Error;
use crate::address::Address;
use crate::error::Cause;

/// Idle connections are dropped well before the server drops them (5 minutes), so that a request seldom meets a closed one.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// After how long a silence, and how often, the system asks a connection on which nothing comes whether the other side is still
/// there: a stream without an end notices so that its server is gone.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// So many of these questions without an answer end the connection.
const TCP_KEEPALIVE_RETRIES: u32 = 3;

/// A request, and whether it is to change anything.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) request: Request<Bytes>,
    pub(crate) is_write: bool,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Clone, Debug)]
pub(crate) struct Transport {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    address: Address,
    request_timeout: Duration,
}

impl Transport {
    pub(crate) fn new(address: Address, connect_timeout: Duration, request_timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_timeout));
        connector.set_keepalive(Some(TCP_KEEPALIVE));
        connector.set_keepalive_interval(Some(TCP_KEEPALIVE));
        connector.set_keepalive_retries(Some(TCP_KEEPALIVE_RETRIES));
        // hyper-util repeats a request by itself only when a kept-alive connection turns out closed before the first byte of it
        // was written, so that a write is never sent twice.
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .retry_canceled_requests(true)
            .build(connector);
        Transport { http, address, request_timeout }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The whole answer.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<Incoming, Error> {
        let is_write = outgoing.is_write;
        self.in_time(is_write, async {
            let answer = self.begin(outgoing).await?;
            self.finish(answer, is_write).await
        })
        .await
    }

    /// The answer with its body still to come, where that is for the caller to read; the whole answer where it is no success.
    pub(crate) async fn open(&self, outgoing: Outgoing) -> Result<Result<Response<body::Incoming>, Incoming>, Error> {
        let is_write = outgoing.is_write;
        self.in_time(is_write, async {
            let answer = self.begin(outgoing).await?;
            if answer.status().is_success() {
                return Ok(Ok(answer));
            }
            self.finish(answer, is_write).await.map(Err)
        })
        .await
    }

    async fn in_time<T>(&self, is_write: bool, exchange: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match tokio::time::timeout(self.request_timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let (address, timeout) = (self.address.to_string(), self.request_timeout);
                Err(Error::Timeout { address, timeout, is_write })
            }
        }
    }

    async fn begin(&self, outgoing: Outgoing) -> Result<Response<body::Incoming>, Error> {
        let Outgoing { request, is_write } = outgoing;
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        parts.uri = self.address.uri(path);
        self.http.request(Request::from_parts(parts, Full::new(body))).await.map_err(|error| {
            let of_http = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
            // Canceled: the connection closed before the first byte of the request was written.
            if error.is_connect() || of_http.is_some_and(hyper::Error::is_canceled) {
                Error::NotReachable { address: self.address.to_string(), source: root_cause(error) }
            } else if of_http.is_some_and(hyper::Error::is_parse) {
                let reason = format!("no HTTP: {}", root_cause(error));
                Error::BadAnswer { address: self.address.to_string(), is_write, reason }
            } else {
                self.lost(is_write, error)
            }
        })
    }

    async fn finish(&self, answer: Response<body::Incoming>, is_write: bool) -> Result<Incoming, Error> {
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| self.lost(is_write, error))?.to_bytes();
        Ok(Incoming { status: parts.status, headers: parts.headers, body })
    }

    fn lost(&self, is_write: bool, error: impl StdError + Send + Sync + 'static) -> Error {
        Error::ConnectionLost { address: self.address.to_string(), is_write, source: root_cause(error) }
    }
}

/// The innermost cause says what happened ("Connection refused"); the layers around it only where.
fn root_cause(error: impl StdError + Send + Sync + 'static) -> Cause {
    let mut cause: &dyn StdError = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().into()
}
