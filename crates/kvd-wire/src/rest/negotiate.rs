//! JSON or CBOR: which one a body is in by its `Content-Type`, and which one the answer is to be in by `Accept`
//! (RFC 9110, section 12.5.1). Values have no part in this: they are sent as they were stored.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

use super::batch::Format;
use super::code::{BAD_HEADER, NOT_ACCEPTABLE, UNSUPPORTED_MEDIA_TYPE};
use super::problem::Problem;

/// The format of a batch body. JSON when the client doesn't say.
pub(crate) fn body_format(content_type: Option<&HeaderValue>) -> Result<Format, Problem> {
    let Some(value) = content_type else { return Ok(Format::Json) };
    let (media_type, mut parameters) = split(value.to_str().unwrap_or_default());
    let utf8 = parameters.all(|(name, value)| !name.eq_ignore_ascii_case("charset") || is_utf8(value));
    match [Format::Json, Format::Cbor].into_iter().find(|format| media_type.eq_ignore_ascii_case(format.content_type()))
    {
        Some(format) if utf8 => Ok(format),
        _ => {
            // As much of a stranger's text as it is recognised by.
            let arrived: String = String::from_utf8_lossy(value.as_bytes()).chars().take(64).collect();
            let detail = format!(
                "this body is sent as `{arrived}`, but a batch is application/json in UTF-8 or application/cbor: say which \
                 one in Content-Type (curl -H 'Content-Type: application/json')"
            );
            Err(Problem::new(UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

fn is_utf8(charset: &str) -> bool {
    charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
}

/// The format of an answer: what `Accept` prefers, `default` where it has no preference.
pub(crate) fn answer_format(headers: &HeaderMap, default: Format) -> Result<Format, Problem> {
    let formats = [Format::Json, Format::Cbor].map(Format::content_type);
    let Some([json, cbor]) = qualities(headers, formats)? else { return Ok(default) };
    if json.max(cbor) <= 0.0 {
        return Err(Problem::new(NOT_ACCEPTABLE, "this route answers in application/json or application/cbor"));
    }
    Ok(match json.total_cmp(&cbor) {
        std::cmp::Ordering::Greater => Format::Json,
        std::cmp::Ordering::Less => Format::Cbor,
        std::cmp::Ordering::Equal => default,
    })
}

/// For a route that answers in this media type alone.
pub(crate) fn check_accepts(headers: &HeaderMap, media_type: &'static str) -> Result<(), Problem> {
    match qualities(headers, [media_type])? {
        Some([quality]) if quality <= 0.0 => {
            Err(Problem::new(NOT_ACCEPTABLE, format!("this route answers in {media_type}")))
        }
        _ => Ok(()),
    }
}

/// How much each of these is wanted; none if nothing is said.
fn qualities<const N: usize>(headers: &HeaderMap, media_types: [&str; N]) -> Result<Option<[f32; N]>, Problem> {
    let mut wishes = [Wish::default(); N];
    let mut lines = headers.get_all(ACCEPT).iter().peekable();
    if lines.peek().is_none() {
        return Ok(None);
    }
    for line in lines {
        for range in line.to_str().unwrap_or_default().split(',') {
            let (media_range, parameters) = split(range);
            let quality = quality(parameters)?;
            for (wish, media_type) in wishes.iter_mut().zip(media_types) {
                wish.consider(media_range, media_type, quality);
            }
        }
    }
    Ok(Some(wishes.map(|wish| wish.quality)))
}

/// How much a client wants one format: the quality of the most specific media range that covers it.
#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    specificity: u8,
    quality: f32,
}

impl Wish {
    fn consider(&mut self, media_range: &str, media_type: &str, quality: f32) {
        let is_of_its_kind = || match (media_range.split_once('/'), media_type.split_once('/')) {
            (Some((kind, "*")), Some((own, _))) => kind.eq_ignore_ascii_case(own),
            _ => false,
        };
        let specificity = match media_range {
            "*/*" => 1,
            _ if is_of_its_kind() => 2,
            _ if media_range.eq_ignore_ascii_case(media_type) => 3,
            _ => return,
        };
        if specificity >= self.specificity {
            *self = Wish { specificity, quality };
        }
    }
}

fn quality<'a>(mut parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<f32, Problem> {
    let Some((_, text)) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("q")) else { return Ok(1.0) };
    match text.parse::<f32>() {
        Ok(quality) if (0.0..=1.0).contains(&quality) => Ok(quality),
        _ => Err(Problem::new(BAD_HEADER, "a quality in Accept is a number from 0 to 1")),
    }
}

/// A media type or range and its parameters.
fn split(text: &str) -> (&str, impl Iterator<Item = (&str, &str)>) {
    let (media_type, parameters) = text.split_once(';').unwrap_or((text, ""));
    let pairs = parameters.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    (media_type.trim(), pairs)
}
