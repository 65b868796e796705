//! What is asked of the connection and of the server. Owns who answers what, and when: most at once, some by waiting.

use std::io;
use std::time::SystemTime;

use kvd_types::Revision;
use kvd_wire::resp::commands::{Action, ClientAttribute, Credentials, Hello};
use kvd_wire::resp::docs;
use kvd_wire::resp::encode::Protocol;
use kvd_wire::resp::error;

use super::connection::Connection;
use super::{info, settings};

/// The version of Redis whose behaviour is followed: client libraries ask for it.
pub(super) const REDIS_VERSION: &str = "7.2.0";

impl Connection<'_> {
    /// Notes what CLIENT LIST tells of the newest command.
    pub(super) fn note(&mut self) {
        let now = self.now();
        let mut about = self.client.about();
        about.command = self.newest;
        about.active = now;
    }

    pub(super) fn ok(&mut self) {
        self.begin_answer(Revision(0));
        self.output.simple("OK");
    }

    /// Does what a request asks for that is none of the store's commands.
    pub(super) async fn act(&mut self, action: Action<'_>) -> io::Result<()> {
        match action {
            Action::Multi => self.multi(),
            Action::Exec => self.exec().await,
            Action::Discard => self.discard(),
            Action::Watch(keys) => self.watch(keys),
            Action::Unwatch => self.unwatch(),
            Action::Quit => {
                self.ok();
                self.is_ending = true;
            }
            Action::Reset => {
                self.forget_transaction();
                self.set_protocol(Protocol::Resp2);
                let mut about = self.client.about();
                about.name.clear();
                about.protocol = Protocol::Resp2;
                drop(about);
                self.begin_answer(Revision(0));
                self.output.simple("RESET");
            }
            Action::Hello(hello) => self.hello(&hello),
            Action::Keys(pattern) => self.keys(pattern).await?,
            Action::Scan(scan) => self.scan(&scan).await?,
            Action::RandomKey => self.random_key().await?,
            Action::Save => self.save().await?,
            Action::BgSave => self.bgsave(),
            Action::Shutdown => {
                // No answer: the end of the connection is one.
                self.session.shared.ask_to_stop();
                self.is_ending = true;
            }
            action => {
                self.note();
                self.begin_answer(Revision(0));
                self.tell_action(&action);
            }
        }
        Ok(())
    }

    /// Answers what can be answered at once, inside of EXEC too.
    pub(super) fn tell_action(&mut self, action: &Action<'_>) {
        let shared = &*self.session.shared;
        let now = self.now();
        match action {
            Action::Ping(None) => self.output.simple("PONG"),
            Action::Ping(Some(text)) | Action::Echo(text) => self.output.bulk(text),
            Action::Auth(credentials) => match authenticate(*credentials) {
                Ok(()) => self.output.simple("OK"),
                Err(text) => self.output.error(text),
            },
            Action::Select | Action::ClientNoEvict | Action::Unwatch => self.output.simple("OK"),
            Action::ClientId => self.output.integer(self.client.id as i64),
            Action::ClientGetName => {
                let about = self.client.about();
                if about.name.is_empty() { self.output.null() } else { self.output.bulk(about.name.as_bytes()) }
            }
            Action::ClientSetName(name) => {
                self.client.about().name = text(name);
                self.output.simple("OK");
            }
            Action::ClientSetInfo(attribute, value) => {
                let mut about = self.client.about();
                match attribute {
                    ClientAttribute::LibName => about.lib_name = text(value),
                    ClientAttribute::LibVersion => about.lib_version = text(value),
                }
                drop(about);
                self.output.simple("OK");
            }
            Action::ClientInfo => self.output.verbatim(&(self.client.line(now) + "\n")),
            Action::ClientList(ids) => self.output.verbatim(&shared.clients.list(ids.as_deref(), now)),
            Action::CommandInfo(names) => docs::info(&mut self.output, names.as_deref()),
            Action::CommandCount => docs::count(&mut self.output),
            Action::CommandDocs(names) => docs::docs(&mut self.output, names.as_deref()),
            Action::Help(container) => docs::help(&mut self.output, container),
            Action::Info(sections) => self.output.verbatim(&info::text(shared, sections)),
            Action::ConfigGet(patterns) => settings::get(&mut self.output, shared, patterns),
            Action::ConfigSet(pairs) => match settings::set(shared, pairs) {
                Ok(()) => self.output.simple("OK"),
                Err(refusal) => self.output.error(&refusal),
            },
            Action::DbSize => match self.engine() {
                Ok(engine) => {
                    let keys = engine.stats().totals.keys;
                    self.output.integer(keys as i64);
                }
                Err(text) => self.output.error(text),
            },
            Action::Time => {
                let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                self.output.array(2);
                self.output.bulk(now.as_secs().to_string().as_bytes());
                self.output.bulk(now.subsec_micros().to_string().as_bytes());
            }
            Action::LastSave => self.output.integer((shared.snapshots.last().made_ms / 1_000) as i64),
            Action::Hello(_)
            | Action::Quit
            | Action::Reset
            | Action::Save
            | Action::BgSave
            | Action::Shutdown
            | Action::Keys(_)
            | Action::Scan(_)
            | Action::RandomKey
            | Action::Multi
            | Action::Exec
            | Action::Discard
            | Action::Watch(_) => unreachable!("carried out by `act`, and never queued"),
        }
    }

    fn hello(&mut self, hello: &Hello<'_>) {
        self.begin_answer(Revision(0));
        if let Some(credentials) = hello.credentials
            && let Err(text) = authenticate(credentials)
        {
            return self.output.error(text);
        }
        if let Some(name) = hello.name {
            self.client.about().name = text(name);
        }
        if let Some(protocol) = hello.protocol {
            self.set_protocol(protocol);
            self.client.about().protocol = protocol;
        }
        let id = self.client.id as i64;
        let output = &mut self.output;
        output.map(7);
        for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
            output.bulk(name.as_bytes());
            output.bulk(value.as_bytes());
        }
        output.bulk(b"proto");
        output.integer(output.protocol().number());
        output.bulk(b"id");
        output.integer(id);
        for (name, value) in [("mode", "standalone"), ("role", "master")] {
            output.bulk(name.as_bytes());
            output.bulk(value.as_bytes());
        }
        output.bulk(b"modules");
        output.array(0);
    }

    /// Why no snapshot can be made, if that is so.
    fn cannot_save(&self) -> Option<String> {
        match self.engine().map(|engine| engine.durability()) {
            Err(loading) => Some(loading.to_owned()),
            Ok(None) => {
                Some("ERR kvd keeps everything in memory alone (--in-memory): there is nowhere to save it".to_owned())
            }
            Ok(Some(durability)) => {
                durability.failure.map(|reason| format!("MISCONF the journal has failed: {reason}"))
            }
        }
    }

    fn bgsave(&mut self) {
        if let Some(text) = self.cannot_save() {
            return self.refuse(&text);
        }
        self.session.shared.snapshots.ask();
        self.begin_answer(Revision(0));
        self.output.simple("Background saving started");
    }

    async fn save(&mut self) -> io::Result<()> {
        if let Some(text) = self.cannot_save() {
            self.refuse(&text);
            return Ok(());
        }
        // What was asked for before is answered before.
        self.send().await?;
        let shared = &self.session.shared;
        let ticket = shared.snapshots.ask();
        match shared.snapshots.made(ticket).await {
            Ok(()) => self.ok(),
            Err(reason) => self.refuse(&format!("ERR no snapshot was made: {reason}")),
        }
        Ok(())
    }
}

/// Whether someone is who they say. There are no passwords yet: the default user needs none, and there is no other.
fn authenticate(credentials: Credentials<'_>) -> Result<(), &'static str> {
    match credentials.user {
        None => Err(error::NO_PASSWORD),
        Some(b"default") => Ok(()),
        Some(_) => Err(error::WRONG_PASSWORD),
    }
}

/// What was found to be printable.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
