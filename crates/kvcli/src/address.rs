//! Where the server is, and in which transaction to work there: `--url`, `KVD_URL`, the `listen` of the kvd.toml that kvd would
//! read, or the default; the first that says something. What it says is believed: no fallback behind a file that can't be read
//! or understood.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

use crate::exit::{Exit, Failure};

const DEFAULT_URL: &str = "http://127.0.0.1:7480";
const HINT: &str = "say where the server is with --url or KVD_URL";

/// What of kvd.toml matters here; the rest is kvd's business.
#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    server: Server,
}

#[derive(Debug, Default, Deserialize)]
struct Server {
    listen: Option<Listen>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Listen {
    One(String),
    Many(Vec<String>),
}

/// The URL to talk to. `variable` looks up the environment, so that tests have their own.
pub(crate) fn find(flag: Option<&str>, variable: impl Fn(&str) -> Option<OsString>) -> Result<String, Failure> {
    if let Some(url) = flag {
        return Ok(url.to_owned());
    }
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(url) = set("KVD_URL") {
        return url.into_string().map_err(|_| Failure::usage("KVD_URL is no text").hint("write http://HOST:PORT"));
    }
    if let Some(path) = set("KVD_CONFIG") {
        return from_file(Path::new(&path))?.ok_or_else(|| {
            Failure::new(Exit::Usage, anyhow::anyhow!("{}, named by KVD_CONFIG, does not exist", path.display()))
                .hint(HINT)
        });
    }
    for path in usual_paths(set) {
        if let Some(url) = from_file(&path)? {
            return Ok(url);
        }
    }
    Ok(DEFAULT_URL.to_owned())
}

/// The transaction to work in, if one is named.
pub(crate) fn transaction(
    flag: Option<&str>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<String>, Failure> {
    if let Some(id) = flag {
        return Ok(Some(id.to_owned()));
    }
    match variable("KVD_TX") {
        None => Ok(None),
        // What was meant to be done in one must not be done outside of it.
        Some(id) if id.is_empty() => Err(Failure::usage("KVD_TX is set and empty: no transaction was begun")
            .hint("unset KVD_TX to do without one, or begin it: export KVD_TX=$(kvcli tx begin)")),
        Some(id) => id.into_string().map(Some).map_err(|_| Failure::usage("KVD_TX is no text")),
    }
}

/// Where kvd looks for its configuration when nobody names it.
fn usual_paths(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let own = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".config")));
    let own = own.map(|directory| directory.join("kvd/kvd.toml"));
    [PathBuf::from("kvd.toml")].into_iter().chain(own).chain([PathBuf::from("/etc/kvd/kvd.toml")]).collect()
}

/// The URL a configuration file stands for; none when there is no such file.
fn from_file(path: &Path) -> Result<Option<String>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::new(
                Exit::Usage,
                anyhow::Error::new(error).context(format!("can't read {}", path.display())),
            )
            .hint(HINT));
        }
    };
    let url = parse(&text).with_context(|| format!("can't use {}", path.display()));
    url.map(Some).map_err(|error| Failure::new(Exit::Usage, error).hint(HINT))
}

fn parse(text: &str) -> anyhow::Result<String> {
    let config: Config = toml::from_str(text)?;
    let listens = match config.server.listen {
        None => return Ok(DEFAULT_URL.to_owned()),
        Some(Listen::One(listen)) => vec![listen],
        Some(Listen::Many(listens)) => listens,
    };
    let tcp = listens.iter().find(|listen| !listen.starts_with("unix:"));
    let listen = tcp.context("it names no HOST:PORT to listen on, and unix sockets are not supported yet")?;
    let url = reachable(listen);
    anyhow::ensure!(!url.ends_with(":0"), "its server listens on a port that the system picks");
    Ok(url)
}

/// The URL under which a listening address is reached from this machine: `0.0.0.0` is every address, not one to connect to.
fn reachable(listen: &str) -> String {
    let Ok(mut address) = listen.parse::<SocketAddr>() else {
        return format!("http://{listen}");
    };
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &Path)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    }

    #[test]
    fn the_flag_wins_over_the_environment_and_that_over_files() {
        let directory = tempfile::tempdir().unwrap();
        let named = directory.path().join("named.toml");
        fs::write(&named, "[server]\nlisten = '127.0.0.1:1003'").unwrap();
        fs::create_dir(directory.path().join("kvd")).unwrap();
        fs::write(directory.path().join("kvd/kvd.toml"), "[server]\nlisten = '127.0.0.1:1004'").unwrap();

        let url = Path::new("http://localhost:1002");
        let all = [("KVD_URL", url), ("KVD_CONFIG", &named), ("XDG_CONFIG_HOME", directory.path())];
        let find = |flag, variables: &[_]| find(flag, environment(variables)).unwrap();
        assert_eq!(find(Some("http://localhost:1001"), &all), "http://localhost:1001");
        assert_eq!(find(None, &all), "http://localhost:1002");
        let empty = [("KVD_URL", Path::new("")), all[1]];
        assert_eq!(find(None, &empty), "http://127.0.0.1:1003", "empty is unset");
        assert_eq!(find(None, &all[1..]), "http://127.0.0.1:1003");
        assert_eq!(find(None, &all[2..]), "http://127.0.0.1:1004");
    }

    #[test]
    fn a_transaction_is_named_by_the_flag_or_the_environment() {
        let variables = [("KVD_TX", Path::new("1f"))];
        let named = environment(&variables);
        assert_eq!(transaction(Some("2e"), &named).unwrap().as_deref(), Some("2e"));
        assert_eq!(transaction(None, &named).unwrap().as_deref(), Some("1f"));
        assert_eq!(transaction(None, environment(&[])).unwrap(), None);
        let empty = [("KVD_TX", Path::new(""))];
        assert_eq!(transaction(Some("2e"), environment(&empty)).unwrap().as_deref(), Some("2e"));
        let failure = transaction(None, environment(&empty)).unwrap_err();
        assert_eq!((failure.exit, failure.hint.unwrap().contains("unset KVD_TX")), (Exit::Usage, true));
    }

    #[test]
    fn files_are_looked_for_where_kvd_looks() {
        let paths = |variables: &[(&str, &Path)]| usual_paths(environment(variables));
        let (own, home) = (("XDG_CONFIG_HOME", Path::new("/x")), ("HOME", Path::new("/me")));
        let expected = |own: &str| ["kvd.toml", own, "/etc/kvd/kvd.toml"].map(PathBuf::from).to_vec();
        assert_eq!(paths(&[own, home]), expected("/x/kvd/kvd.toml"));
        assert_eq!(paths(&[home]), expected("/me/.config/kvd/kvd.toml"));
        assert_eq!(paths(&[("XDG_CONFIG_HOME", Path::new("relative")), home]), expected("/me/.config/kvd/kvd.toml"));
        assert_eq!(paths(&[]), ["kvd.toml", "/etc/kvd/kvd.toml"].map(PathBuf::from));
    }

    #[test]
    fn the_listening_address_becomes_one_to_connect_to() {
        for (text, url) in [
            ("", DEFAULT_URL),
            ("[server]\nworkers = 2", DEFAULT_URL),
            ("[log]\nlevel = 'info'\n[server]\nlisten = '127.0.0.1:8000'", "http://127.0.0.1:8000"),
            ("server.listen = '[::1]:8000'", "http://[::1]:8000"),
            ("server.listen = 'db.example:8000'", "http://db.example:8000"),
            ("server.listen = '0.0.0.0:8000'", "http://127.0.0.1:8000"),
            ("server.listen = '[::]:8000'", "http://[::1]:8000"),
            ("server.listen = ['10.0.0.5:8000', '127.0.0.1:8001']", "http://10.0.0.5:8000"),
            ("server.listen = ['unix:/run/kvd.sock', '127.0.0.1:8001']", "http://127.0.0.1:8001"),
        ] {
            assert_eq!(parse(text).unwrap(), url, "{text}");
        }
    }

    #[test]
    fn a_file_that_says_nothing_usable_is_an_error_not_skipped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kvd.toml");
        for (text, part) in [
            ("[server", "TOML parse error at line 1"),
            ("[server]\nlisten = 7480", "listen"),
            ("server.listen = 'unix:/run/kvd.sock'", "it names no HOST:PORT"),
            ("server.listen = []", "it names no HOST:PORT"),
            ("server.listen = '127.0.0.1:0'", "a port that the system picks"),
        ] {
            fs::write(&path, text).unwrap();
            let failure = from_file(&path).unwrap_err();
            let message = format!("{:#}", failure.error.unwrap());
            assert!(message.starts_with(&format!("can't use {}: ", path.display())), "{message}");
            assert!(message.contains(part), "{message}");
            assert_eq!(failure.exit, Exit::Usage);
        }
        let failure = find(None, environment(&[("KVD_CONFIG", &directory.path().join("none.toml"))])).unwrap_err();
        assert!(failure.error.unwrap().to_string().ends_with("named by KVD_CONFIG, does not exist"));
    }
}
