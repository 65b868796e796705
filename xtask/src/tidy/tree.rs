//! The files that the rules look at, each read once. Knows git as the one who says which files there are, and no
//! rule.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use anyhow::{Context, ensure};

use super::Violation;
use super::rust::RustSource;

/// All files of the repository, or of a test that plants a violation.
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

pub(super) struct File {
    /// Relative to the root of the repository, with `/`.
    pub(super) path: String,
    /// None for files that are not UTF-8, which no rule looks into.
    pub(super) text: Option<String>,
    /// None for what is not Rust, and for Rust that does not lex.
    pub(super) rust: Option<RustSource>,
}

impl Tree {
    /// Everything that git tracks or would track; what it ignores is nobody's business.
    pub(super) fn of_repository() -> anyhow::Result<Tree> {
        let root = String::from_utf8(git(&["rev-parse", "--show-toplevel"])?)?;
        let root = Path::new(root.trim_end());
        let root_arg = root.to_str().context("the repository's path is not UTF-8")?;
        let names = git(&["-C", root_arg, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
        let mut files = Vec::new();
        for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let path = str::from_utf8(name).context("a file name is not UTF-8")?;
            match fs::read(root.join(path)) {
                Ok(bytes) => files.push(File::new(path, bytes)),
                // Deleted, and the deletion not yet added: soon git will not name it either.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Tree { files })
    }

    #[cfg(test)]
    pub(super) fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Tree {
        Tree { files: files.into_iter().map(|(path, text)| File::new(path, text.into())).collect() }
    }

    /// The text of one file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path)?.text.as_deref()
    }

    /// Files with text, whatever they are.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&File, &str)> {
        self.files.iter().filter_map(|file| Some((file, file.text.as_deref()?)))
    }

    /// Files of Rust, as tokens and comments.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&File, &RustSource)> {
        self.files.iter().filter_map(|file| Some((file, file.rust.as_ref()?)))
    }

    /// Files whose name ends in `suffix`, with their text.
    pub(super) fn named(&self, suffix: &str) -> impl Iterator<Item = (&File, &str)> {
        self.texts().filter(move |(file, _)| file.path.ends_with(suffix))
    }
}

impl File {
    fn new(path: &str, bytes: Vec<u8>) -> File {
        let text = String::from_utf8(bytes).ok();
        let rust = text.as_deref().filter(|_| path.ends_with(".rs")).and_then(|text| RustSource::parse(path, text));
        File { path: path.to_owned(), text, rust }
    }

    pub(super) fn violation(&self, line: usize, advice: impl Into<String>) -> Violation {
        Violation { path: self.path.clone(), line, advice: advice.into() }
    }
}

fn git(args: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new("git").args(args).output().context("cannot run git, which names the files to check")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {}", args.join(" "), stderr.trim_end());
    Ok(output.stdout)
}
