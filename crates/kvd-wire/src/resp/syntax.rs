//! The arguments of a command as people write them down, `key [NX|XX] [EX seconds]`, read into what COMMAND DOCS tells of them.
//! Capitals are words to be typed, small letters stand for something, brackets for what may be left out, dots for more of the
//! same.

/// One argument, or several that belong together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// What is typed before it, or, of a word, instead of it.
    pub(super) token: Option<&'static str>,
    pub(super) is_optional: bool,
    pub(super) is_multiple: bool,
    /// What it is made of, or the choice there is.
    pub(super) arguments: Vec<Argument>,
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Key,
    String,
    Integer,
    UnixTime,
    Pattern,
    /// A word to be typed.
    Token,
    /// One of its arguments.
    OneOf,
    /// All of its arguments.
    Block,
}

impl Kind {
    /// As COMMAND DOCS has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Key => "key",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::UnixTime => "unix-time",
            Kind::Pattern => "pattern",
            Kind::Token => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }

    /// Of what is called so.
    fn of(name: &str) -> Kind {
        match name {
            "key" | "newkey" | "source" | "destination" => Kind::Key,
            "pattern" => Kind::Pattern,
            "unix-time-seconds" | "unix-time-milliseconds" => Kind::UnixTime,
            "seconds" | "milliseconds" | "cursor" | "count" | "decrement" | "offset" | "start" | "end" | "index"
            | "destination-db" | "protover" | "client-id" => Kind::Integer,
            _ => Kind::String,
        }
    }
}

/// Reads what the table has. That it can be read is a test's to say.
pub(super) fn parse(syntax: &'static str) -> Vec<Argument> {
    let mut rest = Rest { words: split(syntax), at: 0 };
    let mut alternatives = rest.alternatives();
    assert!(rest.peek().is_none(), "a bracket too many in {syntax}");
    if alternatives.len() > 1 {
        return vec![one_of(alternatives)];
    }
    let mut whole = alternatives.remove(0);
    // Here what is repeated is the last one.
    if let Some(last) = whole.arguments.last_mut() {
        last.is_multiple |= whole.is_multiple;
    }
    whole.arguments
}

/// Words and punctuation.
fn split(syntax: &'static str) -> Vec<&'static str> {
    let mut words = Vec::new();
    let mut rest = syntax;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let len = match first {
            '.' => rest.find(|c| c != '.').unwrap_or(rest.len()),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => 1,
        };
        let (word, behind) = rest.split_at(len);
        if word != " " {
            words.push(word);
        }
        rest = behind;
    }
    words
}

/// What has not been read yet.
struct Rest {
    words: Vec<&'static str>,
    at: usize,
}

impl Rest {
    fn peek(&self) -> Option<&'static str> {
        self.words.get(self.at).copied()
    }

    fn next_if(&mut self, wanted: impl FnOnce(&str) -> bool) -> Option<&'static str> {
        let word = self.peek().filter(|word| wanted(word))?;
        self.at += 1;
        Some(word)
    }

    /// What stands between bars, each as a block, up to a closing bracket or the end.
    fn alternatives(&mut self) -> Vec<Argument> {
        let mut alternatives = vec![self.sequence()];
        while self.next_if(|word| word == "|").is_some() {
            alternatives.push(self.sequence());
        }
        alternatives
    }

    fn sequence(&mut self) -> Argument {
        let mut arguments = Vec::new();
        let mut is_multiple = false;
        while let Some(word) = self.next_if(|word| word != "|" && word != "]") {
            match word {
                "[" => {
                    let alternatives = self.alternatives();
                    assert!(self.next_if(|word| word == "]").is_some(), "a bracket is not closed");
                    arguments.push(Argument { is_optional: true, ..one_of(alternatives) });
                }
                "..." => is_multiple = true,
                word if is_token(word) => arguments.push(self.token(word)),
                word => arguments.push(leaf(word, Kind::of(word), None)),
            }
        }
        let name = arguments.first().map_or(String::new(), |argument| argument.name.clone());
        Argument { is_multiple, arguments, ..leaf(&name, Kind::Block, None) }
    }

    /// A word to be typed, with what stands for its value.
    fn token(&mut self, token: &'static str) -> Argument {
        let is_value = |word: &str| !is_token(word) && word.starts_with(|c: char| c.is_ascii_lowercase());
        let values: Vec<_> = std::iter::from_fn(|| self.next_if(is_value)).collect();
        match values[..] {
            [] => leaf(&token.to_ascii_lowercase(), Kind::Token, Some(token)),
            [value] => leaf(value, Kind::of(value), Some(token)),
            _ => {
                let arguments = values.into_iter().map(|value| leaf(value, Kind::of(value), None)).collect();
                Argument { arguments, ..leaf(&token.to_ascii_lowercase(), Kind::Block, Some(token)) }
            }
        }
    }
}

fn is_token(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
}

fn leaf(name: &str, kind: Kind, token: Option<&'static str>) -> Argument {
    let name = name.to_owned();
    Argument { name, kind, token, is_optional: false, is_multiple: false, arguments: Vec::new() }
}

/// A choice, or the one thing there is.
fn one_of(mut alternatives: Vec<Argument>) -> Argument {
    if alternatives.len() == 1 {
        return alone(alternatives.remove(0));
    }
    let arguments: Vec<_> = alternatives.into_iter().map(alone).collect();
    let names: Vec<_> = arguments.iter().map(|argument| argument.name.as_str()).collect();
    let choice = leaf(&names.join("-or-"), Kind::OneOf, None);
    Argument { arguments, ..choice }
}

/// A block of one is that one.
fn alone(mut block: Argument) -> Argument {
    if block.arguments.len() != 1 {
        return block;
    }
    let argument = block.arguments.remove(0);
    Argument { is_multiple: argument.is_multiple || block.is_multiple, ..argument }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::commands::RECORDS;

    /// As it was written.
    fn written(arguments: &[Argument]) -> String {
        let all: Vec<_> = arguments.iter().map(one_written).collect();
        all.join(" ")
    }

    fn one_written(argument: &Argument) -> String {
        let inner: Vec<_> = argument.arguments.iter().map(one_written).collect();
        let text = match argument.kind {
            Kind::OneOf => inner.join("|"),
            Kind::Block => inner.join(" "),
            Kind::Token => String::new(),
            _ => argument.name.clone(),
        };
        let text = match argument.token {
            Some(token) => format!("{token} {text}").trim_end().to_owned(),
            None => text,
        };
        let text = if argument.is_multiple { text + "..." } else { text };
        if argument.is_optional { format!("[{text}]") } else { text }
    }

    #[test]
    fn every_syntax_of_the_table_is_read_whole() {
        for record in RECORDS {
            assert_eq!(written(&parse(record.syntax)), record.syntax, "{}", record.name);
        }
    }

    #[test]
    fn kinds_choices_and_blocks_are_told_apart() {
        let arguments = parse("key value [NX|IFEQ comparison-value] [key value...]");
        let [key, value, choice, more] = &arguments[..] else { panic!("{arguments:?}") };
        assert_eq!((key.kind, value.kind, choice.kind, more.kind), (Kind::Key, Kind::String, Kind::OneOf, Kind::Block));
        assert_eq!((choice.is_optional, more.is_optional, more.is_multiple), (true, true, true));
        assert_eq!((choice.arguments[0].kind, choice.arguments[0].token), (Kind::Token, Some("NX")));
        assert_eq!((choice.arguments[1].name.as_str(), choice.arguments[1].token), ("comparison-value", Some("IFEQ")));
    }
}
