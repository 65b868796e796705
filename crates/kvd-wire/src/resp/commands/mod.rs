//! Commands: the record of each, how a request finds its record, and what it means. A command of data becomes commands for the
//! store; any other becomes an [`Action`], which a server carries out.
//!
//! | file | what it owns |
//! |---|---|
//! | `table` | one record for each command: COMMAND, its documentation and the dispatch come from it |
//! | `strings`, `keys`, `expiry`, `others` | how arguments become a [`Plan`] |

mod expiry;
mod keys;
mod others;
mod strings;
mod table;

use kvd_types::{Command, Key};

use super::encode::Protocol;
use super::error::{self, Refusal};
use super::parse::Request;
use super::reply::Shape;

pub use table::RECORDS;

/// Everything that is known of a command. One that belongs to another is named after it: `client|id`.
#[derive(Debug)]
pub struct Record {
    /// In lower case.
    pub name: &'static str,
    /// Arguments, those of the name included; at least so many, if negative.
    pub arity: i8,
    /// What kind of command it is.
    pub flags: Flags,
    /// Which arguments are keys.
    pub keys: KeyArguments,
    /// To whom it belongs.
    pub group: Group,
    /// The version of Redis that had it first.
    pub since: &'static str,
    /// Of what its time depends on.
    pub complexity: &'static str,
    /// Its arguments as people write them down: `key [NX|XX] [EX seconds]`.
    pub syntax: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    build: Build,
}

/// How a command's arguments become what it means.
type Build = for<'r> fn(&'static Record, &Request<'r>) -> Built<'r>;

/// What a request means, or why it means nothing.
pub type Built<'r> = Result<Plan<'r>, Refusal>;

/// What is true of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// It may change data.
    pub const WRITE: Flags = Flags(1);
    /// It looks at data and changes none.
    pub const READ: Flags = Flags(1 << 1);
    /// It may need memory.
    pub const DENYOOM: Flags = Flags(1 << 2);
    /// It is about the server.
    pub const ADMIN: Flags = Flags(1 << 3);
    /// It is not for scripts.
    pub const NOSCRIPT: Flags = Flags(1 << 4);
    /// It is answered while the store is loading.
    pub const LOADING: Flags = Flags(1 << 5);
    /// It is answered by a replica that has lost its source.
    pub const STALE: Flags = Flags(1 << 6);
    /// It takes constant or logarithmic time.
    pub const FAST: Flags = Flags(1 << 7);
    /// It is for who has not said who they are, too.
    pub const NO_AUTH: Flags = Flags(1 << 8);
    /// It can't be queued.
    pub const NO_MULTI: Flags = Flags(1 << 9);
    /// It is carried out at once after MULTI, too.
    pub const NOW: Flags = Flags(1 << 10);

    const NAMES: [&'static str; 10] =
        ["write", "readonly", "denyoom", "admin", "noscript", "loading", "stale", "fast", "no_auth", "no_multi"];

    const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `flags` are true.
    pub fn has(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// As Redis names them. [`Flags::NOW`] has no name.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| name)
    }
}

/// Which arguments are keys, counted from the name on, which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyArguments {
    /// The first one; 0 if there is none.
    pub first: i8,
    /// The last one; from the end, if negative.
    pub last: i8,
    /// From one to the next.
    pub step: i8,
}

impl KeyArguments {
    const NONE: KeyArguments = KeyArguments { first: 0, last: 0, step: 0 };
    const ONE: KeyArguments = KeyArguments { first: 1, last: 1, step: 1 };
    const TWO: KeyArguments = KeyArguments { first: 1, last: 2, step: 1 };
    const ALL: KeyArguments = KeyArguments { first: 1, last: -1, step: 1 };
    const PAIRS: KeyArguments = KeyArguments { first: 1, last: -1, step: 2 };
    /// Behind a subcommand.
    const SECOND: KeyArguments = KeyArguments { first: 2, last: 2, step: 1 };
}

/// To whom a command belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Values.
    String,
    /// Keys, whatever they hold.
    Generic,
    /// The connection.
    Connection,
    /// The server.
    Server,
    /// Many commands as one.
    Transactions,
}

impl Group {
    /// As COMMAND DOCS has it.
    pub fn name(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Generic => "generic",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Transactions => "transactions",
        }
    }
}

/// What a request means.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan<'r> {
    /// Something to be asked of the store, and what is told of its replies.
    Data(Commands<'r>, Shape),
    /// Something that the server does.
    Action(Action<'r>),
}

/// Commands for the store that take effect together.
#[derive(Clone, Debug, PartialEq)]
pub enum Commands<'r> {
    /// One alone.
    One(Command<'r>),
    /// Some, of which one that fails doesn't keep the others from being carried out.
    Several(Vec<Command<'r>>),
}

/// What only the server can do or answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<'r> {
    /// PING, with what is to come back.
    Ping(Option<&'r [u8]>),
    /// ECHO.
    Echo(&'r [u8]),
    /// HELLO.
    Hello(Hello<'r>),
    /// AUTH: the password, and of whom.
    Auth(Credentials<'r>),
    /// SELECT of the one database there is.
    Select,
    /// QUIT.
    Quit,
    /// RESET.
    Reset,
    /// CLIENT ID.
    ClientId,
    /// CLIENT GETNAME.
    ClientGetName,
    /// CLIENT SETNAME.
    ClientSetName(&'r [u8]),
    /// CLIENT SETINFO.
    ClientSetInfo(ClientAttribute, &'r [u8]),
    /// CLIENT INFO.
    ClientInfo,
    /// CLIENT LIST: all, or those with these numbers.
    ClientList(Option<Vec<i64>>),
    /// CLIENT NO-EVICT: nothing to do, connections are not evicted.
    ClientNoEvict,
    /// COMMAND, or COMMAND INFO of these names.
    CommandInfo(Option<Vec<&'r [u8]>>),
    /// COMMAND COUNT.
    CommandCount,
    /// COMMAND DOCS, of all or of these names.
    CommandDocs(Option<Vec<&'r [u8]>>),
    /// HELP of this command.
    Help(&'static str),
    /// INFO, of these sections or of the default ones.
    Info(Vec<&'r [u8]>),
    /// CONFIG GET of these patterns.
    ConfigGet(Vec<&'r [u8]>),
    /// CONFIG SET of these pairs.
    ConfigSet(Vec<(&'r [u8], &'r [u8])>),
    /// DBSIZE.
    DbSize,
    /// TIME.
    Time,
    /// LASTSAVE.
    LastSave,
    /// SAVE.
    Save,
    /// BGSAVE.
    BgSave,
    /// SHUTDOWN.
    Shutdown,
    /// KEYS of a pattern.
    Keys(&'r [u8]),
    /// SCAN.
    Scan(Scan<'r>),
    /// RANDOMKEY.
    RandomKey,
    /// MULTI.
    Multi,
    /// EXEC.
    Exec,
    /// DISCARD.
    Discard,
    /// WATCH of these keys.
    Watch(Vec<Key<'r>>),
    /// UNWATCH.
    Unwatch,
}

/// What HELLO asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello<'r> {
    /// Another protocol.
    pub protocol: Option<Protocol>,
    /// Who it is.
    pub credentials: Option<Credentials<'r>>,
    /// The connection's name.
    pub name: Option<&'r [u8]>,
}

/// Who someone claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials<'r> {
    /// None for the default user.
    pub user: Option<&'r [u8]>,
    /// Not looked at where there are no passwords.
    pub password: &'r [u8],
}

/// What a client library says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAttribute {
    /// Its name.
    LibName,
    /// Its version.
    LibVersion,
}

/// Part of a walk over the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan<'r> {
    /// Where to go on; 0 at the begin.
    pub cursor: u64,
    /// Which keys are wanted.
    pub pattern: Option<&'r [u8]>,
    /// About how many are to be looked at.
    pub count: usize,
    /// Whether only keys of a type are wanted that no key has.
    pub is_of_other_type: bool,
}

impl Record {
    /// What `request`, which found this record, means.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn plan<'r>(&'static self, request: &Request<'r>) -> Built<'r> {
        (self.build)(self, request)
    }

    /// The command it belongs to, if it is a subcommand.
    pub fn container(&self) -> Option<&'static str> {
        self.name.split_once('|').map(|(container, _)| container)
    }
}

/// The record of what `request` asks for.
///
/// # Errors
/// There is none, or it wants another number of arguments.
pub fn find(request: &Request<'_>) -> Result<&'static Record, Refusal> {
    let name = request.get(0);
    let mut record = lookup(name, None).ok_or_else(|| error::unknown_command(name, request.from(1)))?;
    if request.len() > 1 && record.is_container() {
        let sub = request.get(1);
        record = lookup(name, Some(sub)).ok_or_else(|| error::unknown_subcommand(record.name, sub))?;
    }
    let wanted = usize::from(record.arity.unsigned_abs());
    if request.len() < wanted || record.arity > 0 && request.len() > wanted {
        return Err(error::arity(record.name));
    }
    Ok(record)
}

/// The record with this name, however it is capitalised.
pub fn lookup(name: &[u8], sub: Option<&[u8]>) -> Option<&'static Record> {
    /// Longer than all names.
    const NAME_BYTES_MAX: usize = 24;
    let mut lower = [0; NAME_BYTES_MAX];
    let mut len = 0;
    let parts = [Some(name), sub.map(|_| &b"|"[..]), sub];
    for part in parts.into_iter().flatten() {
        lower.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    let lower = &mut lower[..len];
    lower.make_ascii_lowercase();
    let found = RECORDS.binary_search_by(|record| record.name.as_bytes().cmp(lower)).ok()?;
    Some(&RECORDS[found])
}

impl Record {
    /// Whether it has subcommands.
    pub fn is_container(&self) -> bool {
        self.subcommands().next().is_some()
    }

    /// The records of its subcommands, which follow it.
    pub fn subcommands(&self) -> impl Iterator<Item = &'static Record> {
        let begin = RECORDS.partition_point(|record| record.name <= self.name);
        let name = self.name;
        RECORDS[begin..].iter().take_while(move |record| record.container() == Some(name))
    }
}

/// The argument as a key.
fn key<'r>(request: &Request<'r>, index: usize) -> Result<Key<'r>, Refusal> {
    Key::new(request.get(index)).map_err(|error| format!("ERR {error}").into())
}

/// All arguments from `index` on as keys.
fn keys_from<'r>(request: &Request<'r>, index: usize) -> Result<Vec<Key<'r>>, Refusal> {
    (index..request.len()).map(|index| key(request, index)).collect()
}

/// The argument as an integer.
fn integer(request: &Request<'_>, index: usize) -> Result<i64, Refusal> {
    super::number::integer(request.get(index)).ok_or(error::NOT_AN_INTEGER.into())
}

/// One command, and what is told of its reply.
fn one<'r>(command: Command<'r>, shape: Shape) -> Built<'r> {
    Ok(Plan::Data(Commands::One(command), shape))
}

fn action(action: Action<'_>) -> Built<'_> {
    Ok(Plan::Action(action))
}

/// Whether an argument is this word, which is given in lower case.
fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_names_are_found_however_they_are_written() {
        assert!(RECORDS.is_sorted_by(|a, b| a.name < b.name), "sort the table by name");
        for record in RECORDS {
            assert_eq!(record.name, record.name.to_ascii_lowercase());
            let found = match record.name.split_once('|') {
                Some((container, sub)) => lookup(container.to_uppercase().as_bytes(), Some(sub.as_bytes())),
                None => lookup(record.name.to_uppercase().as_bytes(), None),
            };
            assert_eq!(found.map(|found| found.name), Some(record.name));
        }
        assert!(lookup(b"nosuch", None).is_none());
        assert!(lookup(&[b'a'; 1000], None).is_none());
        assert!(lookup(b"get", Some(b"x")).is_none());
    }

    #[test]
    fn subcommands_follow_their_container() {
        let names = |name: &str| -> Vec<_> {
            lookup(name.as_bytes(), None).unwrap().subcommands().map(|record| record.name).collect()
        };
        assert_eq!(names("config"), ["config|get", "config|help", "config|set"]);
        assert_eq!(names("get"), [""; 0]);
    }
}
