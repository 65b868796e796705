//! Each command from its arguments to its output: what is asked of the server, and what is made of the answer.
//! Knows the client library and the forms of output, not how arguments are spelled or bytes are sent.
//!
//! | file | its commands |
//! |---|---|
//! | `read` | get, exists, head, list |
//! | `write` | set, delete |
//! | `modify` | incr, append, ttl, expire, persist |
//! | `versions` | history, rollback |
//! | `transact` | txn, tx |
//! | `watch` | watch |
//! | `server` | stats, info, ping, snapshot |

mod modify;
mod read;
mod server;
mod transact;
mod versions;
mod watch;
mod write;

use std::io::Write as _;
use std::ops::Deref;

use kvd_client::Key;
use kvd_client::blocking::{self, Client};

use crate::address;
use crate::escape::escape;
use crate::exit::{Exit, Failure};
use crate::flags::{Cli, Command, Global, Tx};
use crate::input;
use crate::render::{self, Output, View};

/// Carries out a command. Arguments and files are read and checked before a server is looked for.
pub(crate) fn run(cli: &Cli, output: &mut Output) -> Result<Exit, Failure> {
    let connect = || Connection::find(&cli.global);
    let exit = match &cli.command {
        Command::Get(arguments) => {
            let keys = input::keys(&arguments.keys)?;
            read::get(&connect()?, output, &keys, arguments.rev)?
        }
        Command::Set(arguments) => {
            let sets = input::pairs(arguments)?;
            match arguments {
                _ if arguments.dry_run => write::dry_run(output, sets)?,
                _ if arguments.get => write::set_and_get(&connect()?, output, sets)?,
                _ => write::set(&connect()?, output, sets)?,
            }
        }
        Command::Delete(arguments) if arguments.all => write::delete_all(connect, output, b"", arguments.yes)?,
        Command::Delete(arguments) => match &arguments.prefix {
            Some(prefix) => {
                let prefix = input::prefix(Some(prefix))?;
                write::delete_all(connect, output, &prefix, arguments.yes)?
            }
            None => {
                let keys = input::keys(&arguments.keys)?;
                write::delete(&connect()?, output, keys, arguments.require)?
            }
        },
        Command::Exists(arguments) => {
            let keys = input::keys(arguments)?;
            read::exists(&connect()?, output, keys)?
        }
        Command::Incr(arguments) => {
            let (key, by) = input::increment(&arguments.words.0)?;
            modify::increment(&connect()?, output, &key, by)?
        }
        Command::Append(arguments) => {
            let (key, value) = input::append(&arguments.words.0)?;
            modify::append(&connect()?, output, &key, value)?
        }
        Command::Ttl(arguments) => {
            let key = input::one_key(&arguments.words.0)?;
            modify::ttl(&connect()?, output, &key)?
        }
        Command::Expire(arguments) => {
            let (key, ms) = input::expiry(&arguments.words.0)?;
            modify::expire(&connect()?, output, &key, ms)?
        }
        Command::Persist(arguments) => {
            let key = input::one_key(&arguments.words.0)?;
            modify::persist(&connect()?, output, &key)?
        }
        Command::List(arguments) => {
            let options = input::list(arguments)?;
            read::list(&connect()?, output, options, arguments.null)?
        }
        Command::Head(arguments) => {
            let key = input::one_key(&arguments.words.0)?;
            read::head(&connect()?, output, key)?
        }
        Command::History(arguments) => {
            let key = input::one_key(&arguments.words.0)?;
            versions::history(&connect()?, output, &key)?
        }
        Command::Rollback(arguments) => {
            let key = input::one_key(&arguments.words.0)?;
            versions::rollback(&connect()?, output, &key, arguments.to)?
        }
        Command::Txn(arguments) => {
            let script = input::script(&arguments.file)?;
            transact::txn(&connect()?, output, &script)?
        }
        Command::Tx { command: Tx::Begin { read_only } } => {
            transact::begin(&Connection::client(&cli.global)?, output, *read_only)?
        }
        Command::Tx { command: Tx::Commit } => transact::commit(&connect()?, output)?,
        Command::Tx { command: Tx::Rollback } => transact::rollback(&connect()?, output)?,
        Command::Watch(arguments) => {
            let prefix = input::prefix(arguments.prefix.as_deref())?;
            watch::watch(&connect()?, output, prefix, arguments.from)?
        }
        Command::Stats => server::stats(&connect()?, output)?,
        Command::Info => server::info(&connect()?, output)?,
        Command::Snapshot => server::snapshot(&connect()?, output)?,
        Command::Ping => server::ping(&connect()?, output)?,
    };
    output.out.flush()?;
    Ok(exit)
}

/// The server, as commands see it: inside a transaction, if one is named.
struct Connection {
    client: Client,
    tx: Option<blocking::Tx>,
}

impl Connection {
    fn find(global: &Global) -> Result<Connection, Failure> {
        let client = Connection::client(global)?;
        let tx = address::transaction(global.tx.as_deref(), |name| std::env::var_os(name))?;
        let tx = tx.map(|id| client.within(&id)).transpose()?;
        Ok(Connection { client, tx })
    }

    /// Outside of any transaction, whatever is named.
    fn client(global: &Global) -> Result<Client, Failure> {
        let url = address::find(global.url.as_deref(), |name| std::env::var_os(name))?;
        Ok(Client::new(kvd_client::Client::new(&url)?)?)
    }

    /// For what has no place in a transaction: to do it elsewhere unasked would be no better than to drop it.
    fn outside(&self, what: &str) -> Result<&Client, Failure> {
        match self.tx {
            None => Ok(&self.client),
            Some(_) => Err(Failure::usage(format!("{what} has no place in an interactive transaction"))
                .hint("unset KVD_TX, or leave --tx out")),
        }
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.tx.as_deref().unwrap_or(&self.client)
    }
}

/// JSON says itself which keys are missing.
fn report_missing(output: &mut Output, keys: &[&Key<'_>]) -> Result<Exit, Failure> {
    if !output.view.is_json() {
        for key in keys {
            let name = if key.is_empty() { "the empty key".to_owned() } else { escape(key.as_bytes()) };
            output.note(format_args!("missing: {name}"))?;
        }
    }
    Ok(if keys.is_empty() { Exit::Ok } else { Exit::Missing })
}

/// A file may name no key at all.
fn nothing_to_do(output: &mut Output) -> Result<Exit, Failure> {
    output.note("no keys, nothing to do")?;
    Ok(Exit::Ok)
}

/// What is told of one key in a word or a number.
struct Figure<'f> {
    key: &'f Key<'f>,
    /// What it is, over the column of a table.
    title: &'static str,
    /// As people read it.
    human: String,
    /// As programs read it.
    plain: String,
    /// What the REST interface answers.
    document: Vec<u8>,
}

impl Figure<'_> {
    fn print(self, output: &mut Output) -> Result<Exit, Failure> {
        let out = &mut output.out;
        match output.view {
            View::Json | View::Ndjson => output.json(&self.document)?,
            View::Human => writeln!(out, "{}", self.human)?,
            View::Piped => writeln!(out, "{}", self.plain)?,
            View::Raw => write!(out, "{}", self.plain)?,
            View::Tsv => writeln!(out, "{}\t{}", escape(self.key.as_bytes()), self.plain)?,
            View::Table => render::figure_table(out, self.title, self.key, &self.human)?,
        }
        Ok(Exit::Ok)
    }
}

/// A number of keys, in words.
fn count_of_keys(count: usize) -> String {
    format!("{count} {}", if count == 1 { "key" } else { "keys" })
}

/// A document as it is, or in dotted lines.
fn print_document(output: &mut Output, document: &[u8]) -> Result<Exit, Failure> {
    match output.view {
        view if view.is_json() => output.json(document)?,
        View::Tsv => render::dotted(&mut output.out, '\t', document)?,
        _ => render::dotted(&mut output.out, ' ', document)?,
    }
    Ok(Exit::Ok)
}
