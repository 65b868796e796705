//! From what was typed to what is meant: arguments, files and standard input become keys and pairs, checked before anything is
//! sent. Knows nothing of servers or of output.

mod file;
mod keys;
mod modify;
mod pairs;
mod script;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use kvd_client::Key;
use kvd_types::Limits;

use keys::keys_from;
pub(crate) use keys::{keys, list, one_key, prefix};
pub(crate) use modify::{append, expiry, increment};
pub(crate) use pairs::pairs;
use pairs::pairs_of;
pub(crate) use script::{Script, script};

use crate::exit::{Exit, Failure};
use crate::syntax::SyntaxError;

/// Most keys in one command: what one batch may hold.
const KEYS_MAX: usize = Limits::DEFAULT.batch_items_max;

/// The files a command line names. Standard input can be one of them, once.
#[derive(Debug, Default)]
struct Files {
    stdin_taken: bool,
}

impl Files {
    /// The whole of a file; `-` is standard input.
    fn read(&mut self, path: &[u8]) -> Result<Vec<u8>, Failure> {
        if path != b"-" {
            let path = Path::new(OsStr::from_bytes(path));
            let bytes = fs::read(path).with_context(|| format!("can't read {}", path.display()));
            return bytes.map_err(|error| Failure::new(Exit::BadFile, error));
        }
        if std::mem::replace(&mut self.stdin_taken, true) {
            return Err(Failure::usage("standard input is named twice, but can be read only once"));
        }
        let mut bytes = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut bytes).context("can't read standard input");
        read.map_err(|error| Failure::new(Exit::BadFile, error))?;
        Ok(bytes)
    }
}

/// What a file is called in messages.
fn name(path: &[u8]) -> String {
    if path == b"-" { "standard input".to_owned() } else { String::from_utf8_lossy(path).into_owned() }
}

impl From<SyntaxError> for Failure {
    fn from(error: SyntaxError) -> Self {
        let hint = error.hint();
        Failure::new(Exit::Usage, error).hint(hint)
    }
}

impl Failure {
    /// The same, of a place in a file. A mistake there is one of the file.
    fn at(self, place: &str) -> Failure {
        let exit = if self.exit == Exit::Usage { Exit::BadFile } else { self.exit };
        Failure { exit, error: self.error.map(|error| anyhow::anyhow!("{place}: {error:#}")), hint: self.hint }
    }
}

fn key(bytes: Vec<u8>) -> Result<Key<'static>, Failure> {
    Key::new(bytes).map_err(|error| Failure::from(kvd_client::Error::from(error)))
}

fn check_count(keys: usize) -> Result<(), Failure> {
    if keys <= KEYS_MAX {
        return Ok(());
    }
    let error = anyhow::anyhow!("{keys} keys are too many for one command, which takes at most {KEYS_MAX}");
    Err(Failure::new(Exit::Limit, error)
        .hint(format!("split them: `xargs -0 -n {KEYS_MAX}` does, after keys that end with NUL")))
}

/// Base64 as people have it: either alphabet, with or without padding.
fn base64(text: &[u8]) -> Result<Vec<u8>, Failure> {
    const EITHER_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, EITHER_PADDING);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, EITHER_PADDING);
    let engine = if text.iter().any(|byte| b"-_".contains(byte)) { URL_SAFE } else { STANDARD };
    engine.decode(text).map_err(|_| {
        Failure::usage(format!("`{}` is no base64", name(text)))
            .hint("its letters are A-Z a-z 0-9 + / or - _, then perhaps =")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_both_alphabets_with_and_without_padding() {
        for text in ["+/8=", "+/8", "-_8=", "-_8"] {
            assert_eq!(base64(text.as_bytes()).unwrap(), [0xfb, 0xff], "{text}");
        }
        assert_eq!(base64(b"").unwrap(), b"");
        for text in ["a", "-/8=", "a b=", "+/9="] {
            assert_eq!(base64(text.as_bytes()).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }
}
