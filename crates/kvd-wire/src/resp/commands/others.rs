//! Commands on the connection, the server and transactions, and walks over the keys: how their arguments become an [`Action`].

use super::{Action, Built, ClientAttribute, Credentials, Hello, Record, Scan, action, integer, is, keys_from};
use crate::resp::encode::Protocol;
use crate::resp::error;
use crate::resp::number;
use crate::resp::parse::Request;

/// Keys that SCAN looks at when nobody says how many.
const SCAN_COUNT: usize = 10;

/// Longest text that a client can have kept about itself, in bytes.
const CLIENT_TEXT_BYTES_MAX: usize = 256;

/// Commands that can be asked about by name at once: more than there are.
const NAMES_MAX: usize = 256;

/// Commands that are an action by their name alone.
macro_rules! plain {
    ($($name:ident $action:ident;)*) => {
        $(pub(super) fn $name<'r>(_: &'static Record, _: &Request<'r>) -> Built<'r> {
            action(Action::$action)
        })*
    };
}

plain! {
    client_getname ClientGetName;
    client_id ClientId;
    client_info ClientInfo;
    command_count CommandCount;
    dbsize DbSize;
    discard Discard;
    exec Exec;
    lastsave LastSave;
    multi Multi;
    quit Quit;
    randomkey RandomKey;
    reset Reset;
    save Save;
    time Time;
    unwatch Unwatch;
}

/// A command that has subcommands, without one.
pub(super) fn container<'r>(record: &'static Record, _: &Request<'r>) -> Built<'r> {
    Err(error::arity(record.name))
}

pub(super) fn help<'r>(record: &'static Record, _: &Request<'r>) -> Built<'r> {
    action(Action::Help(record.container().unwrap_or(record.name)))
}

pub(super) fn ping<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    match request.len() {
        1 => action(Action::Ping(None)),
        2 => action(Action::Ping(Some(request.get(1)))),
        _ => Err(error::arity(record.name)),
    }
}

pub(super) fn echo<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    action(Action::Echo(request.get(1)))
}

pub(super) fn auth<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    let credentials = match request.len() {
        2 => Credentials { user: None, password: request.get(1) },
        3 => Credentials { user: Some(request.get(1)), password: request.get(2) },
        _ => return Err(error::SYNTAX.into()),
    };
    action(Action::Auth(credentials))
}

pub(super) fn hello<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    let mut hello = Hello::default();
    if request.len() > 1 {
        let version = number::integer(request.get(1)).ok_or(error::PROTOCOL_NOT_AN_INTEGER)?;
        hello.protocol = Some(match version {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(error::NO_PROTOCOL.into()),
        });
    }
    let mut at = 2;
    while at < request.len() {
        let word = request.get(at);
        let left = request.len() - at - 1;
        if is(word, "auth") && left >= 2 {
            hello.credentials = Some(Credentials { user: Some(request.get(at + 1)), password: request.get(at + 2) });
            at += 3;
        } else if is(word, "setname") && left >= 1 {
            hello.name = Some(client_name(request.get(at + 1))?);
            at += 2;
        } else {
            return Err(format!("ERR Syntax error in HELLO option '{}'", String::from_utf8_lossy(word)).into());
        }
    }
    action(Action::Hello(hello))
}

pub(super) fn select<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    if integer(request, 1)? != 0 {
        return Err(error::DB_OUT_OF_RANGE.into());
    }
    action(Action::Select)
}

/// A name that CLIENT LIST can show in a line of words.
fn client_name(name: &[u8]) -> Result<&[u8], error::Refusal> {
    if !is_printable(name) {
        return Err(error::BAD_CLIENT_NAME.into());
    }
    check_client_text("Client names", name)?;
    Ok(name)
}

/// It is kept for as long as the connection is there, and shown in every list.
fn check_client_text(what: &str, text: &[u8]) -> Result<(), error::Refusal> {
    if text.len() <= CLIENT_TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(format!("ERR {what} cannot be longer than {CLIENT_TEXT_BYTES_MAX} bytes, this is {}", text.len()).into())
}

fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

pub(super) fn client_setname<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    action(Action::ClientSetName(client_name(request.get(2))?))
}

pub(super) fn client_setinfo<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    let (word, value) = (request.get(2), request.get(3));
    let attribute = if is(word, "lib-name") {
        ClientAttribute::LibName
    } else if is(word, "lib-ver") {
        ClientAttribute::LibVersion
    } else {
        return Err(format!("ERR Unrecognized option '{}'", String::from_utf8_lossy(word)).into());
    };
    let name = String::from_utf8_lossy(word).to_ascii_lowercase();
    if !is_printable(value) {
        return Err(format!("ERR {name} cannot contain spaces, newlines or special characters.").into());
    }
    check_client_text(&name, value)?;
    action(Action::ClientSetInfo(attribute, value))
}

/// Every connection is a normal one: another type leaves an empty list.
pub(super) fn client_list<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    const TYPES: [&str; 5] = ["master", "slave", "replica", "pubsub", "normal"];
    match request.len() {
        2 => action(Action::ClientList(None)),
        4 if is(request.get(2), "type") => {
            let name = request.get(3);
            if !TYPES.into_iter().any(|known| is(name, known)) {
                return Err(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(name)).into());
            }
            action(Action::ClientList((!is(name, "normal")).then(Vec::new)))
        }
        len if len > 3 && is(request.get(2), "id") => {
            let ids = (3..len).map(|at| {
                let id = number::integer(request.get(at));
                id.ok_or_else(|| error::Refusal::from("ERR Invalid client ID"))
            });
            action(Action::ClientList(Some(ids.collect::<Result<_, _>>()?)))
        }
        _ => Err(error::SYNTAX.into()),
    }
}

pub(super) fn client_no_evict<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    if is(request.get(2), "on") || is(request.get(2), "off") {
        return action(Action::ClientNoEvict);
    }
    Err(error::SYNTAX.into())
}

/// The names after the subcommand; none for all.
fn names<'r>(record: &'static Record, request: &Request<'r>) -> Result<Option<Vec<&'r [u8]>>, error::Refusal> {
    let count = request.len() - 2;
    if count > NAMES_MAX {
        return Err(format!("ERR '{}' takes at most {NAMES_MAX} names, this request has {count}", record.name).into());
    }
    Ok((count > 0).then(|| request.from(2).collect()))
}

pub(super) fn command<'r>(_: &'static Record, _: &Request<'r>) -> Built<'r> {
    action(Action::CommandInfo(None))
}

pub(super) fn command_info<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    action(Action::CommandInfo(names(record, request)?))
}

pub(super) fn command_docs<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    action(Action::CommandDocs(names(record, request)?))
}

pub(super) fn info<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    action(Action::Info(request.from(1).collect()))
}

pub(super) fn config_get<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    action(Action::ConfigGet(request.from(2).collect()))
}

pub(super) fn config_set<'r>(record: &'static Record, request: &Request<'r>) -> Built<'r> {
    if !request.len().is_multiple_of(2) {
        return Err(error::arity(record.name));
    }
    action(Action::ConfigSet((2..request.len()).step_by(2).map(|at| (request.get(at), request.get(at + 1))).collect()))
}

pub(super) fn bgsave<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    match request.len() {
        1 => action(Action::BgSave),
        2 if is(request.get(1), "schedule") => action(Action::BgSave),
        _ => Err(error::SYNTAX.into()),
    }
}

/// However it is asked for, the end is in order: what is to be on disk is put there.
pub(super) fn shutdown<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    const WORDS: [&str; 4] = ["save", "nosave", "now", "force"];
    if request.from(1).all(|word| WORDS.into_iter().any(|known| is(word, known))) {
        return action(Action::Shutdown);
    }
    Err(error::SYNTAX.into())
}

pub(super) fn keys<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    action(Action::Keys(request.get(1)))
}

pub(super) fn scan<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    let cursor = std::str::from_utf8(request.get(1)).ok().and_then(|text| text.parse().ok());
    let cursor = cursor.ok_or(error::INVALID_CURSOR)?;
    let mut scan = Scan { cursor, pattern: None, count: SCAN_COUNT, is_of_other_type: false };
    if !request.len().is_multiple_of(2) {
        return Err(error::SYNTAX.into());
    }
    for at in (2..request.len()).step_by(2) {
        let (word, value) = (request.get(at), request.get(at + 1));
        if is(word, "match") {
            scan.pattern = Some(value);
        } else if is(word, "count") {
            let count = integer(request, at + 1)?;
            scan.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(error::SYNTAX)?;
        } else if is(word, "type") {
            scan.is_of_other_type = !is(value, "string");
        } else {
            return Err(error::SYNTAX.into());
        }
    }
    action(Action::Scan(scan))
}

pub(super) fn watch<'r>(_: &'static Record, request: &Request<'r>) -> Built<'r> {
    action(Action::Watch(keys_from(request, 1)?))
}
