//! REST on one connection: request in, answer out. Thin on purpose: `kvd-wire` knows what the bytes mean, `execute` what they
//! do; here they meet hyper.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Either;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::server::graceful::GracefulConnection;
use kvd_engine::{Engine, SHARED_BYTES};
use kvd_types::{Limit, Limits, URL_BYTES_MAX};
use kvd_wire::rest::problem::Problem;
use kvd_wire::rest::request::{self, Operation};
use kvd_wire::rest::response::Answer;
use kvd_wire::rest::watch as wire_watch;

use super::body::{self, Pieces};
use super::execute::Executor;
use super::patience::{Watch, Watched};
use super::shared::{Shared, State};
use super::status;
use super::watch::{Events, Shown, Watches};

/// What leaves: a body that is there, or commits as they come.
type Outgoing = Either<Pieces, Events>;

/// What all REST connections of one worker share.
pub(super) struct Session {
    index: usize,
    shared: Arc<Shared>,
    executor: Rc<Executor>,
    http: http1::Builder,
    /// Of all its connections.
    pub(super) watches: Watches,
    /// Problems answered so far: numbers them.
    problems: Cell<u64>,
}

impl Session {
    pub(super) fn new(index: usize, shared: &Arc<Shared>, executor: &Rc<Executor>) -> Session {
        let (shared, executor, watches) = (Arc::clone(shared), Rc::clone(executor), Watches::default());
        Session { index, executor, http: http_settings(&shared.limits), shared, watches, problems: Cell::new(0) }
    }

    /// A connection that serves requests until either side ends it.
    pub(super) fn connection(
        self: &Rc<Self>,
        socket: Watched,
        watch: Rc<Watch>,
    ) -> impl GracefulConnection<Error = hyper::Error> + use<> {
        let session = Rc::clone(self);
        let serve = move |request: Request<Incoming>| {
            let (session, watch) = (Rc::clone(&session), Rc::clone(&watch));
            async move {
                watch.request_begins();
                let response = session.serve(request, &watch).await;
                watch.request_ends();
                Ok::<_, Infallible>(response)
            }
        };
        self.http.serve_connection(socket, service_fn(serve))
    }

    async fn serve(&self, request: Request<Incoming>, connection: &Rc<Watch>) -> Response<Outgoing> {
        let (head, mut body) = request.into_parts();
        match self.answer(&head, &mut body, connection).await {
            Ok(response) => response,
            Err(problem) => {
                if !body.is_end_stream() {
                    tokio::task::spawn_local(body::discard(body, self.shared.limits.clone()));
                }
                self.whole(problem.respond(&self.next_problem_id()))
            }
        }
    }

    async fn answer(
        &self,
        head: &Parts,
        body: &mut Incoming,
        connection: &Rc<Watch>,
    ) -> Result<Response<Outgoing>, Problem> {
        let shared = &*self.shared;
        shared.access.check(&head.method, &head.uri, &head.headers)?;
        let request = request::parse(&head.method, &head.uri, &head.headers, &shared.limits)?;
        let (operation, answer, transaction) = (request.operation, request.answer, request.transaction);

        // What is reserved for a body is held until its command is carried out.
        let response: Result<Response<Bytes>, Problem> = match operation {
            Operation::Watch(watch) => return self.watch(watch, &answer, connection),
            Operation::Put(put) => {
                let (value, reserved) = body::read(body, Limit::ValueBytes, &shared.limits, &shared.inbound).await?;
                // A large value is not copied: from here on it is the store's, and what it needs is counted there.
                let _reserved = (value.len() < SHARED_BYTES).then_some(reserved);
                self.executor.run(put.command(value), answer, transaction).await
            }
            Operation::Batch(batch) => {
                let (items, _reserved) = body::read(body, Limit::BatchBytes, &shared.limits, &shared.inbound).await?;
                self.executor.run_batch(batch, items, answer, transaction).await
            }
            Operation::Rollback(rollback) => {
                let (to, _reserved) = body::read(body, Limit::BatchBytes, &shared.limits, &shared.inbound).await?;
                self.executor.run(rollback.command(&to)?, answer, None).await
            }
            Operation::Begin(begin) => {
                let (mode, _reserved) = body::read(body, Limit::BatchBytes, &shared.limits, &shared.inbound).await?;
                self.executor.begin(begin, mode, answer).await
            }
            Operation::Run(command) => self.executor.run(command, answer, transaction).await,
            Operation::DeletePrefix(prefix) => self.executor.delete_prefix(prefix, answer).await,
            Operation::Commit(id) => self.executor.commit(id, answer).await,
            Operation::RollBack(id) => self.executor.roll_back(id, &answer),
            Operation::Stats => Ok(answer.stats(&status::stats(shared, self.engine()?))),
            Operation::Info => Ok(answer.info(&status::info(shared, self.engine()?))),
            Operation::Snapshot => {
                let durability = self.engine()?.durability().ok_or_else(Problem::in_memory)?;
                if let Some(reason) = durability.failure {
                    return Err(Problem::journal_failed(reason));
                }
                shared.snapshots.ask();
                Ok(answer.accepted())
            }
            Operation::Healthz => Ok(answer.probe()),
            Operation::Readyz => match shared.state() {
                State::Ready => status::complaint(self.engine()?).map_or_else(|| Ok(answer.probe()), Err),
                State::Loading => Err(Problem::loading(shared.progress())),
                State::Stopping => Err(Problem::stopping()),
            },
        };
        response.map(|response| self.whole(response))
    }

    /// An answer that goes on until either side ends it.
    fn watch(
        &self,
        watch: wire_watch::Watch<'_>,
        answer: &Answer,
        connection: &Rc<Watch>,
    ) -> Result<Response<Outgoing>, Problem> {
        let engine = self.engine()?;
        let watched = engine.watch(watch.from).map_err(|gone| Problem::commits_not_kept(gone.to_string()))?;
        let head = wire_watch::head(engine.epoch(), watched.place());
        if answer.is_head() {
            return Ok(self.whole(head.map(|()| Bytes::new())));
        }
        let shown = Shown { filter: watch.filter.into_owned(), base64: watch.base64, epoch: engine.epoch() };
        Ok(head.map(|()| Either::Right(self.watches.begin(watched, shown, connection.stream_begins()))))
    }

    /// Tells the problems of one server apart, in answers and in its log.
    fn next_problem_id(&self) -> String {
        let number = self.problems.get() + 1;
        self.problems.set(number);
        let epoch = self.shared.engine().map_or_else(|| "loading".to_owned(), |engine| engine.epoch().to_string());
        format!("{epoch}-{}-{number}", self.index)
    }

    fn whole(&self, response: Response<Bytes>) -> Response<Outgoing> {
        response.map(|body| Either::Left(Pieces::new(body, &self.shared.buffers)))
    }

    fn engine(&self) -> Result<&Engine, Problem> {
        self.shared.engine().ok_or_else(|| Problem::loading(self.shared.progress()))
    }
}

/// HTTP/1.1 with our limits. Hyper's own timer is off: `patience` does that.
fn http_settings(limits: &Limits) -> http1::Builder {
    /// More than any client sends; the total size is limited as well.
    const HEADERS_MAX: usize = 128;
    let mut http = http1::Builder::new();
    // To hyper the request line is part of the head; a URL that is too long by itself is 414.
    let head_bytes_max = URL_BYTES_MAX + limits.header_bytes_max;
    http.header_read_timeout(None).max_headers(HEADERS_MAX).max_header_size(head_bytes_max);
    http
}
