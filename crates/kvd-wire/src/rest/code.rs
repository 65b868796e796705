//! Every code a problem can have, with its status and title, in one table: docs/PROTOCOL.md prints it, and a test compares.
//! Knows nothing of when a code is given.

use http::StatusCode;

/// A kind of refusal.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// A stable name for scripts to compare.
    pub name: &'static str,
    /// The status it is sent with.
    pub status: StatusCode,
    /// The same for every problem with this code.
    pub title: &'static str,
    /// Whether the same request can succeed later without being changed.
    pub retryable: bool,
}

macro_rules! codes {
    ($($constant:ident = $name:literal $status:ident $title:literal $($retryable:ident)?;)*) => {
        $(pub(crate) const $constant: &Code = &Code {
            name: $name,
            status: StatusCode::$status,
            title: $title,
            retryable: codes!(@ $($retryable)?),
        };)*

        /// All of them, in the order of their status. A name that stands here twice has two statuses.
        pub const CODES: &[&Code] = &[$($constant),*];
    };
    (@) => { false };
    (@ retryable) => { true };
}

codes! {
    BAD_KEY = "bad-key" BAD_REQUEST "Bad key";
    BAD_QUERY = "bad-query" BAD_REQUEST "Bad query";
    BAD_HEADER = "bad-header" BAD_REQUEST "Bad header";
    BAD_CURSOR = "bad-cursor" BAD_REQUEST "Bad cursor";
    STALE_CURSOR = "stale-cursor" BAD_REQUEST "Stale cursor";
    MALFORMED_BODY = "malformed-body" BAD_REQUEST "Malformed body";
    UNEXPECTED_BODY = "unexpected-body" BAD_REQUEST "Unexpected body";
    PAGE_LIMIT_EXCEEDED = "limit-exceeded" BAD_REQUEST "Limit exceeded";
    FUTURE_REVISION = "future-revision" BAD_REQUEST "Revision not given yet";
    UNSUPPORTED = "unsupported" BAD_REQUEST "Not supported";
    CROSS_SITE = "cross-site" FORBIDDEN "Cross-site request";
    NOT_FOUND = "not-found" NOT_FOUND "Not found";
    NO_SUCH_ROUTE = "no-such-route" NOT_FOUND "No such route";
    UNSUPPORTED_ROUTE = "unsupported" NOT_FOUND "Not supported";
    METHOD_NOT_ALLOWED = "method-not-allowed" METHOD_NOT_ALLOWED "Method not allowed";
    NOT_ACCEPTABLE = "not-acceptable" NOT_ACCEPTABLE "Not acceptable";
    REQUEST_TIMEOUT = "request-timeout" REQUEST_TIMEOUT "Request timeout" retryable;
    CONFLICT = "conflict" CONFLICT "Conflict" retryable;
    TX_BUSY = "tx-busy" CONFLICT "Transaction busy" retryable;
    OPERATION_CONDITION = "precondition-failed" CONFLICT "Precondition failed";
    NOT_AN_INTEGER = "not-an-integer" CONFLICT "Not an integer";
    NOT_A_NUMBER = "not-a-number" CONFLICT "Not a number";
    OVERFLOW = "overflow" CONFLICT "Overflow";
    HISTORY_OFF = "history-off" CONFLICT "History is off";
    TRANSACTION_ENDED = "transaction-ended" GONE "Transaction ended";
    VERSION_DROPPED = "version-dropped" GONE "Version dropped";
    SNAPSHOT_TOO_OLD = "snapshot-too-old" GONE "Snapshot too old";
    PRECONDITION_FAILED = "precondition-failed" PRECONDITION_FAILED "Precondition failed";
    LIMIT_EXCEEDED = "limit-exceeded" PAYLOAD_TOO_LARGE "Limit exceeded";
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE "Unsupported media type";
    RANGE_NOT_SATISFIABLE = "range-not-satisfiable" RANGE_NOT_SATISFIABLE "Range not satisfiable";
    UNKNOWN_HOST = "unknown-host" MISDIRECTED_REQUEST "Unknown host";
    INVALID_ITEM = "invalid-item" UNPROCESSABLE_ENTITY "Invalid item";
    DUPLICATE_KEY = "duplicate-key" UNPROCESSABLE_ENTITY "Duplicate key";
    EMPTY_BATCH = "empty-batch" UNPROCESSABLE_ENTITY "Empty batch";
    SCAN_IN_TRANSACTION = "scan-in-transaction" UNPROCESSABLE_ENTITY "Scan in a transaction";
    NOT_IN_TRANSACTION = "not-in-transaction" UNPROCESSABLE_ENTITY "Not in a transaction";
    TOO_MANY_TRANSACTIONS = "too-many-transactions" TOO_MANY_REQUESTS "Too many transactions" retryable;
    INTERNAL = "internal" INTERNAL_SERVER_ERROR "Internal error";
    BUSY = "busy" SERVICE_UNAVAILABLE "Busy" retryable;
    LOADING = "loading" SERVICE_UNAVAILABLE "Loading" retryable;
    CLOSED = "closed" SERVICE_UNAVAILABLE "Closed" retryable;
    JOURNAL_FAILED = "journal-failed" SERVICE_UNAVAILABLE "Journal failed" retryable;
    OUTCOME_UNKNOWN = "outcome-unknown" SERVICE_UNAVAILABLE "Outcome unknown";
    NO_ROOM = "disk-full" SERVICE_UNAVAILABLE "Disk full" retryable;
    MEMORY_FULL = "memory-full" INSUFFICIENT_STORAGE "Memory full" retryable;
    DISK_FULL = "disk-full" INSUFFICIENT_STORAGE "Disk full" retryable;
}
