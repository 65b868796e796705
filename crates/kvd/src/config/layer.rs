//! The layers a configuration is made of: a file, the environment, `--set`, the flags, each laid over the one before.
//! Checks every source by itself, so that an error names the place where the mistake was written, and remembers for
//! each key where its value came from. Knows nothing of what the values mean together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::ConfigError;
use super::settings::{Memory, Settings, Storage};

/// Every key there is, with a value of its type: the defaults, as a table of tables.
static KNOWN: LazyLock<Table> = LazyLock::new(|| {
    let storage = Storage { dir: Some("/var/lib/kvd".into()), ..Storage::default() };
    let memory = Memory { max: Some(1 << 30), ..Memory::default() };
    Table::try_from(Settings { storage, memory, ..Settings::default() }).expect("the defaults are valid TOML")
});

/// All keys as `section.key`, in order.
pub(crate) fn known_keys() -> impl Iterator<Item = String> {
    KNOWN.iter().flat_map(|(section, keys)| {
        keys.as_table().into_iter().flatten().map(move |(key, _)| format!("{section}.{key}"))
    })
}

/// What all sources said so far; a later word on the same key replaces the earlier one.
#[derive(Default)]
pub(crate) struct Layers {
    /// By `section.key`.
    settings: BTreeMap<String, Setting>,
}

/// One key's value and who gave it.
pub(crate) struct Setting {
    pub(crate) value: Value,
    /// For people: `kvd.toml:3:1`, `KVD_LOG__LEVEL`, `--set log.level=debug`, `--log-level`.
    pub(crate) origin: String,
}

impl Layers {
    /// Lays a file's settings over the present ones.
    pub(super) fn read_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let at = |offset| {
            let (line, column) = line_and_column(text, offset);
            format!("{}:{line}:{column}", path.display())
        };
        let refuse = |error: toml::de::Error, keys: &[KeyInFile]| {
            let Some(span) = error.span() else {
                return ConfigError::new(format!("{}: {}", path.display(), error.message()));
            };
            let key = keys.iter().find(|key| key.value.contains(&span.start));
            let example = key.map(|key| example(&key.name)).unwrap_or_default();
            ConfigError::new(format!("{}: {}{example}", at(span.start), error.message()))
        };
        let document = DeTable::parse(text).map_err(|error| refuse(error, &[]))?;
        let keys = keys_in(document.get_ref());
        for key in &keys {
            check_known(&key.name).map_err(|unknown| ConfigError::new(format!("{}: {unknown}", at(key.start))))?;
        }
        toml::from_str::<Settings>(text).map_err(|error| refuse(error, &keys))?;
        let values: Table = toml::from_str(text).map_err(|error| refuse(error, &keys))?;
        for key in keys {
            if let Some(value) = find(&values, &key.name) {
                self.settings.insert(key.name, Setting { value: value.clone(), origin: at(key.start) });
            }
        }
        Ok(())
    }

    /// Lays the variables named `KVD_SECTION__KEY` over the present settings.
    pub(super) fn read_environment(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<(), ConfigError> {
        for (variable, text) in variables {
            let variable = variable.to_string_lossy();
            let Some(name) = variable.strip_prefix("KVD_") else { continue };
            let origin = format!("environment variable {variable}");
            let refuse = |problem: &str| ConfigError::new(format!("{origin}: {problem}"));
            let Some((section, key)) = name.split_once("__") else {
                // KVD_CONFIG names the file, KVD_URL and others are kvcli's; but one that is a setting but for an underscore
                // was meant to be one.
                match key_with_one_underscore(name) {
                    Some(meant) => return Err(refuse(&format!("no setting has this name; did you mean {meant}?"))),
                    None => continue,
                }
            };
            let capitals = variable.to_uppercase();
            if variable != capitals {
                return Err(refuse(&format!("settings are written in capitals, as {capitals}")));
            }
            let name = format!("{section}.{key}").to_lowercase();
            check_known(&name).map_err(|unknown| refuse(&unknown))?;
            let text = text.to_str().ok_or_else(|| refuse("its value is not UTF-8"))?;
            self.assign_text(&name, text, origin)?;
        }
        Ok(())
    }

    /// Lays one `--set section.key=value` over the present settings.
    pub(super) fn read_assignment(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let origin = format!("--set {assignment}");
        let (name, text) = assignment.split_once('=').ok_or_else(|| {
            ConfigError::new(format!("{origin}: expected section.key=value, such as log.level=debug"))
        })?;
        check_known(name).map_err(|unknown| ConfigError::new(format!("{origin}: {unknown}")))?;
        self.assign_text(name, text, origin)
    }

    /// Sets one known key, read from `text` as its type demands.
    fn assign_text(&mut self, name: &str, text: &str, origin: String) -> Result<(), ConfigError> {
        let value = match find(&KNOWN, name) {
            Some(Value::Boolean(_)) => text.parse().map_or_else(|_| text.into(), Value::Boolean),
            Some(Value::Integer(_)) => text.parse().map_or_else(|_| text.into(), Value::Integer),
            Some(Value::Array(_)) if text.is_empty() => Value::Array(Vec::new()),
            Some(Value::Array(_)) => Value::Array(text.split(',').map(|item| item.trim().into()).collect()),
            _ => text.into(),
        };
        self.assign(name, value, origin)
    }

    /// Sets one known key.
    pub(super) fn assign(&mut self, name: &str, value: Value, origin: String) -> Result<(), ConfigError> {
        let mut alone = Layers::default();
        alone.settings.insert(name.to_owned(), Setting { value, origin: origin.clone() });
        alone.resolve().map_err(|error| ConfigError::new(format!("{origin}: {}{}", error.message(), example(name))))?;
        self.settings.append(&mut alone.settings);
        Ok(())
    }

    /// All settings together, defaults where nothing was said.
    pub(super) fn resolve(&self) -> Result<Settings, toml::de::Error> {
        let mut document = Table::new();
        for (name, setting) in &self.settings {
            let (section, key) = name.split_once('.').expect("names are section.key");
            let section = document.entry(section).or_insert_with(|| Table::new().into());
            section.as_table_mut().expect("sections are tables").insert(key.to_owned(), setting.value.clone());
        }
        Settings::deserialize(document)
    }

    /// Where a key's value came from, for people.
    pub(super) fn origin(&self, name: &str) -> &str {
        self.settings.get(name).map_or("the default", |setting| &setting.origin)
    }

    /// Every key that some source set, with the value that won.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.settings.iter().map(|(name, setting)| (name.as_str(), setting))
    }
}

/// A key, and where in the file it stands.
struct KeyInFile {
    /// `section.key`; the key alone when it stands outside of every table.
    name: String,
    /// Offset of the key in the file.
    start: usize,
    /// Offsets of its value.
    value: Range<usize>,
}

fn keys_in(document: &DeTable<'_>) -> Vec<KeyInFile> {
    let mut keys = Vec::new();
    for (section, value) in document {
        match value.get_ref() {
            DeValue::Table(table) if KNOWN.contains_key(section.get_ref().as_ref()) => {
                keys.extend(table.iter().map(|(key, value)| KeyInFile {
                    name: format!("{}.{}", section.get_ref(), key.get_ref()),
                    start: key.span().start,
                    value: value.span(),
                }));
            }
            _ => keys.push(KeyInFile {
                name: section.get_ref().to_string(),
                start: section.span().start,
                value: value.span(),
            }),
        }
    }
    keys
}

/// How a known key is written, to be appended to an error.
fn example(name: &str) -> String {
    find(&KNOWN, name).map_or_else(String::new, |default| format!("; write it like `{name} = {default}`"))
}

fn find<'t>(document: &'t Table, name: &str) -> Option<&'t Value> {
    let (section, key) = name.split_once('.')?;
    document.get(section)?.get(key)
}

/// Whether `name` is a key that can be set; if not, what is wrong and what was probably meant.
fn check_known(name: &str) -> Result<(), String> {
    if find(&KNOWN, name).is_some() {
        return Ok(());
    }
    let (section, key) = name.split_once('.').unwrap_or((name, ""));
    if KNOWN.contains_key(name) {
        return Err(format!("{name:?} is a table; its keys are set one by one, as {name}.KEY"));
    }
    let hints: Vec<String> = match KNOWN.get(section).and_then(Value::as_table) {
        Some(table) => closest(key, table.keys()).map(|key| format!("{section}.{key}")).into_iter().collect(),
        // A key without its table, or a table misspelt.
        None => {
            let in_tables: Vec<_> = known_keys().filter(|known| known.ends_with(&format!(".{section}"))).collect();
            if in_tables.is_empty() { closest(section, KNOWN.keys()).cloned().into_iter().collect() } else { in_tables }
        }
    };
    let what = if key.is_empty() { "unknown table or key" } else { "unknown key" };
    if hints.is_empty() {
        return Err(format!("{what} {name:?}; `kvd config --help` lists all keys"));
    }
    let hints: Vec<_> = hints.iter().map(|hint| format!("{hint:?}")).collect();
    Err(format!("{what} {name:?}; did you mean {}?", hints.join(" or ")))
}

/// The variable that was meant by one that has a single underscore between section and key.
fn key_with_one_underscore(name: &str) -> Option<String> {
    let name = name.to_lowercase();
    let known = known_keys().find(|known| known.replace('.', "_") == name)?;
    Some(format!("KVD_{}", known.replace('.', "__").to_uppercase()))
}

/// The known name that a typing mistake most probably made `name` of.
fn closest<'k>(name: &str, known: impl Iterator<Item = &'k String>) -> Option<&'k String> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

/// Both from 1; columns count characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const EXAMPLE: &str = include_str!("../../../../kvd.example.toml");

    fn settings_of(text: &str) -> Settings {
        let mut layers = Layers::default();
        layers.read_file(Path::new("kvd.example.toml"), text).unwrap();
        layers.resolve().unwrap()
    }

    #[test]
    fn the_example_file_sets_every_key_to_its_default() {
        assert_eq!(settings_of(EXAMPLE), Settings::default());
        // What depends on the machine stands there as a comment, which must be valid too.
        let all = EXAMPLE.replace("\n#workers", "\nworkers").replace("\n#dir", "\ndir");
        settings_of(&all);
        let document: Table = toml::from_str(&all).unwrap();
        for name in known_keys() {
            assert!(find(&document, &name).is_some(), "kvd.example.toml lacks {name}");
        }
    }

    #[test]
    fn a_mistyped_name_is_guessed_and_a_strange_one_is_not() {
        for (name, meant) in [
            ("server.lisen", Some("server.listen")),
            ("limits.value_max_bytes", Some("limits.value_bytes_max")),
            ("limits.header_time_out", Some("limits.header_timeout")),
            ("serve.listen", Some("server")),
            ("listen", Some("resp.listen\" or \"server.listen")),
            ("Server.listen", Some("server")),
            ("log.colour", None),
            ("rsp.listen", Some("resp")),
            ("replica", None),
            ("", None),
        ] {
            let error = check_known(name).unwrap_err();
            match meant {
                Some(meant) => assert!(error.ends_with(&format!("did you mean \"{meant}\"?")), "{error}"),
                None => assert!(error.ends_with("`kvd config --help` lists all keys"), "{error}"),
            }
        }
    }

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let text = "a\n\u{e4}b\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, text.find('b').unwrap()), (2, 2));
        assert_eq!(line_and_column(text, text.len()), (3, 1));
    }
}
