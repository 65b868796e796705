//! A Rust file as a flat row of tokens beside its comments, so that a rule never takes a word in a string or a comment
//! for code, or the other way round. proc-macro2 does the lexing; what the tokens mean is for the rules.

use std::ops::Range;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};

pub(super) struct RustSource {
    pub(super) tokens: Vec<Token>,
    /// For each line the comment on it, empty where there is none. Doc comments are attributes, so they are not here.
    comments: Vec<String>,
}

pub(super) struct Token {
    pub(super) text: String,
    /// Counted from 1.
    pub(super) line: usize,
    /// Whether it is compiled for tests only.
    pub(super) test: bool,
    range: Range<usize>,
}

impl Token {
    fn new(text: String, span: Span) -> Token {
        Token { text, line: span.start().line, test: false, range: span.byte_range() }
    }
}

impl RustSource {
    /// None for what does not lex.
    pub(super) fn parse(path: &str, text: &str) -> Option<RustSource> {
        let mut tokens = Vec::new();
        flatten(text.parse().ok()?, &mut tokens);
        let comments = comments(text, &tokens);
        let mut source = RustSource { tokens, comments };
        source.mark_tests(path);
        Some(source)
    }

    /// Where `pattern` begins: consecutive tokens with exactly these texts.
    pub(super) fn find(&self, pattern: &[&str]) -> impl Iterator<Item = usize> {
        let same = move |window: &[Token]| window.iter().zip(pattern).all(|(token, text)| token.text == *text);
        self.tokens.windows(pattern.len()).enumerate().filter(move |(_, window)| same(window)).map(|(at, _)| at)
    }

    /// The text of the token at `at`, or nothing past the end.
    pub(super) fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// The first line of the statement that the token at `at` belongs to.
    pub(super) fn statement_line(&self, at: usize) -> usize {
        let ends = |token: &Token| matches!(token.text.as_str(), ";" | "{" | "}");
        let begin = self.tokens[..at].iter().rposition(ends).map_or(0, |end| end + 1);
        self.tokens[begin].line
    }

    /// The comments in and directly above the statement that the token at `at` belongs to.
    pub(super) fn comment_on(&self, at: usize) -> String {
        let (first, last) = (self.statement_line(at), self.tokens[at].line);
        let code_above = self.tokens[..at].iter().rev().map(|token| token.line).find(|&line| line < first).unwrap_or(0);
        let above = (code_above + 1..first).rev().take_while(|&line| !self.comments[line - 1].is_empty()).count();
        self.comments[first - 1 - above..last].join(" ").trim().to_owned()
    }

    fn mark_tests(&mut self, path: &str) {
        let whole_file = ["/tests/", "/benches/", "/kvd-testkit/"].iter().any(|part| path.contains(part));
        if whole_file || path.ends_with("/tests.rs") {
            self.tokens.iter_mut().for_each(|token| token.test = true);
        }
        const TEST_ONLY: [&[&str]; 3] = [
            &["#", "[", "test", "]"],
            &["#", "[", "cfg", "(", "test", ")"],
            &["#", "[", "cfg", "(", "all", "(", "test"],
        ];
        let begins: Vec<usize> = TEST_ONLY.iter().flat_map(|pattern| self.find(pattern)).collect();
        for begin in begins {
            let end = self.item_end(begin);
            self.tokens[begin..end].iter_mut().for_each(|token| token.test = true);
        }
    }

    /// Just past the item that begins at `begin`: past its body in braces, or past its semicolon.
    fn item_end(&self, begin: usize) -> usize {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(begin) {
            match token.text.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" => depth -= 1,
                "}" => {
                    depth -= 1;
                    if depth == 0 {
                        return at + 1;
                    }
                }
                ";" if depth == 0 => return at + 1,
                _ => {}
            }
        }
        self.tokens.len()
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(Token::new(open.to_owned(), group.span_open()));
                flatten(group.stream(), tokens);
                tokens.push(Token::new(close.to_owned(), group.span_close()));
            }
            TokenTree::Ident(ident) => tokens.push(Token::new(ident.to_string(), ident.span())),
            TokenTree::Punct(punct) => tokens.push(Token::new(punct.as_char().to_string(), punct.span())),
            TokenTree::Literal(literal) => tokens.push(Token::new(literal.to_string(), literal.span())),
        }
    }
}

/// What is left of each line when all tokens are taken out.
fn comments(text: &str, tokens: &[Token]) -> Vec<String> {
    let mut left = text.as_bytes().to_vec();
    for token in tokens {
        left[token.range.clone()].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    String::from_utf8_lossy(&left).lines().map(|line| line.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
//! Opening.
/// A doc comment with sleep(1).
fn serve() -> u64 { // trailing
    let text = \"sleep(2) // no comment\nstill é the string\";
    /* block */ sleep(3);

    // detached

    // first line
    // second line
    #[allow(unused)]
    let x = sleep(
        4,
    );
}
#[cfg(test)]
mod tests {
    fn helper() { sleep(5) }
}
fn after() { sleep(6) }
";

    fn lines_of(source: &RustSource, pattern: &[&str]) -> Vec<(usize, bool)> {
        source.find(pattern).map(|at| (source.tokens[at].line, source.tokens[at].test)).collect()
    }

    #[test]
    fn code_is_told_from_strings_comments_and_docs() {
        let source = RustSource::parse("crates/x/src/lib.rs", SOURCE).unwrap();
        let sleeps = lines_of(&source, &["sleep", "("]);
        assert_eq!(sleeps, [(6, false), (13, false), (19, true), (21, false)]);
    }

    #[test]
    fn a_comment_belongs_to_the_statement_it_is_on_or_just_above() {
        let source = RustSource::parse("crates/x/src/lib.rs", SOURCE).unwrap();
        let comments: Vec<String> = source.find(&["sleep"]).map(|at| source.comment_on(at)).collect();
        assert_eq!(comments[..2], ["/* block */", "// first line // second line"]);
        assert_eq!(comments[3], "");
    }

    #[test]
    fn a_test_is_known_by_its_attribute_or_its_path() {
        let tests = |path, text| lines_of(&RustSource::parse(path, text).unwrap(), &["here"]);
        assert_eq!(tests("crates/x/src/a.rs", "#[cfg(not(test))] fn f() { here }"), [(1, false)]);
        assert_eq!(tests("crates/x/src/a.rs", "#[cfg(test)] use a::{b}; fn f() { here }"), [(1, false)]);
        assert_eq!(tests("crates/x/src/a.rs", "#[test] fn f([a, b]: [u8; 2]) { here }"), [(1, true)]);
        assert_eq!(tests("crates/x/tests/a.rs", "fn f() { here }"), [(1, true)]);
    }

    #[test]
    fn what_does_not_lex_is_no_source() {
        assert!(RustSource::parse("crates/x/src/a.rs", "fn f( {").is_none());
    }
}
