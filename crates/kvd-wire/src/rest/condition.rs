//! `If-Match` and `If-None-Match`, both directions (RFC 9110, section 13.1). Conditions of writes become a
//! [`Condition`] for the engine to judge; those of reads are judged here, against the version that was read.

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderName, HeaderValue};
use kvd_types::{Condition, Etag};

use super::code::BAD_HEADER;
use super::problem::Problem;

/// The header by which a client asks for `condition` on a single key. None where nothing is to be sent, and where only a
/// batch can ask for it (revision, value).
pub fn to_header(condition: &Condition) -> Option<(HeaderName, HeaderValue)> {
    let any = HeaderValue::from_static("*");
    match condition {
        Condition::Exists => Some((IF_MATCH, any)),
        Condition::Absent => Some((IF_NONE_MATCH, any)),
        Condition::AnyOf(tags) => Some((IF_MATCH, quoted(tags)?)),
        Condition::NoneOf(tags) => Some((IF_NONE_MATCH, quoted(tags)?)),
        Condition::Always | Condition::Revision(_) | Condition::Value(_) => None,
    }
}

/// The tags as a header writes them; none of no tags, which no header can express.
fn quoted(tags: &[Etag]) -> Option<HeaderValue> {
    let list = tags.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(", ");
    if list.is_empty() { None } else { Some(HeaderValue::try_from(list).expect("tags are hexadecimal digits")) }
}

/// What one of the two headers lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TagList {
    /// `*`
    any: bool,
    /// Those of our own shape: other tags match no version of ours.
    tags: Vec<Etag>,
}

impl TagList {
    /// Adds what one `If-Match` line lists. Weak tags never match there, so they are dropped.
    pub(crate) fn add_strong(&mut self, value: &HeaderValue) -> Result<(), Problem> {
        self.add(value, false, "If-Match")
    }

    /// Adds what one `If-None-Match` line lists, where `W/` makes no difference.
    pub(crate) fn add_weak(&mut self, value: &HeaderValue) -> Result<(), Problem> {
        self.add(value, true, "If-None-Match")
    }

    fn add(&mut self, value: &HeaderValue, weak_too: bool, header: &str) -> Result<(), Problem> {
        if value == "*" {
            self.any = true;
            return Ok(());
        }
        let tags = parse_tags(value.as_bytes()).ok_or_else(|| {
            Problem::new(BAD_HEADER, format!("{header} is * or a list of entity tags in double quotes"))
        })?;
        self.tags.extend(tags.iter().filter(|(weak, _)| weak_too || !weak).filter_map(|(_, tag)| *tag));
        Ok(())
    }

    /// `current`: none of a version that has no tag.
    pub(crate) fn matches(&self, current: Option<Etag>) -> bool {
        self.any || current.is_some_and(|tag| self.tags.contains(&tag))
    }
}

/// What the two headers of a write ask for.
pub(crate) fn of_write(if_match: Option<TagList>, if_none_match: Option<TagList>) -> Result<Condition, Problem> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::Always),
        (Some(list), None) if list.any => Ok(Condition::Exists),
        (Some(list), None) => Ok(Condition::AnyOf(list.tags)),
        (None, Some(list)) if list.any => Ok(Condition::Absent),
        (None, Some(list)) => Ok(Condition::NoneOf(list.tags)),
        (Some(_), Some(_)) => Err(Problem::new(BAD_HEADER, "a write takes If-Match or If-None-Match, not both")),
    }
}

/// The one tag of an `If-Range` header, if it is a strong one of ours. Dates match nothing: versions carry none.
pub(crate) fn if_range_tag(value: &HeaderValue) -> Option<Etag> {
    match parse_tags(value.as_bytes())?.as_slice() {
        [(false, tag)] => *tag,
        _ => None,
    }
}

/// Whether each tag of a comma-separated list is weak, and which of our versions it names. None of what is no such list.
fn parse_tags(mut rest: &[u8]) -> Option<Vec<(bool, Option<Etag>)>> {
    let mut tags = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        match rest.split_first() {
            None => return if tags.is_empty() { None } else { Some(tags) },
            // RFC 9110, section 5.6.1: empty list elements are to be ignored.
            Some((b',', after)) => rest = after,
            Some(_) => {
                let (weak, quoted) = rest.strip_prefix(b"W/").map_or((false, rest), |quoted| (true, quoted));
                let opened = quoted.strip_prefix(b"\"")?;
                let end = opened.iter().position(|&byte| byte == b'"')?;
                let (tag, after) = (&opened[..end], opened[end + 1..].trim_ascii_start());
                // A tag holds no space and no control character.
                if tag.iter().any(|&byte| byte <= b' ' || byte == 0x7f) || !matches!(after, [] | [b',', ..]) {
                    return None;
                }
                tags.push((weak, std::str::from_utf8(tag).ok().and_then(|tag| tag.parse().ok())));
                rest = after;
            }
        }
    }
}
