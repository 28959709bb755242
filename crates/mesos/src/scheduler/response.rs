//! HTTP/1.1 answers as they stand one behind the other on a connection.

use thiserror::Error;

use crate::http::ERROR_BODY_BYTES_MAX;

/// Largest answer to a call, head and body. Masters answer with at most a few hundred
/// bytes; proxies with a page.
const RESPONSE_BYTES_MAX: usize = 1 << 20;

const HEADERS_MAX: usize = 64;

/// An answer to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    /// The server closes the connection behind this answer.
    pub(super) close: bool,
    /// The beginning of the body.
    pub(super) text: String,
}

/// Why bytes are no HTTP answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum ResponseError {
    #[error("the answer is not HTTP/1.1: {0}")]
    Head(httparse::Error),
    #[error("the answer has no usable Content-Length")]
    Length,
    #[error("the answer has malformed chunks")]
    Chunk,
    #[error("the answer is larger than {RESPONSE_BYTES_MAX} bytes")]
    TooLarge,
}

/// Takes the first answer off `bytes`: the answer and its length. `None` if it is not
/// complete yet.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Response, usize)>, ResponseError> {
    let parsed = parse_unbounded(bytes)?;
    if parsed.is_none() && bytes.len() > RESPONSE_BYTES_MAX {
        return Err(ResponseError::TooLarge);
    }
    Ok(parsed)
}

fn parse_unbounded(bytes: &[u8]) -> Result<Option<(Response, usize)>, ResponseError> {
    let mut skipped = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(&bytes[skipped..]).map_err(ResponseError::Head)? {
            httparse::Status::Partial => return Ok(None),
            httparse::Status::Complete(length) => skipped + length,
        };
        let status = head.code.unwrap_or_default();
        if (100..200).contains(&status) {
            // An interim answer; the real one follows.
            skipped = length;
            continue;
        }
        let head = Head::read(&head, status)?;
        let mut response = Response {
            status,
            location: head.location,
            close: head.close,
            text: String::new(),
        };
        let rest = &bytes[length..];
        let (body, consumed) = match head.body {
            Body::None => (Vec::new(), 0),
            Body::Length(n) if n > RESPONSE_BYTES_MAX => return Err(ResponseError::TooLarge),
            Body::Length(n) => match rest.get(..n) {
                None => return Ok(None),
                Some(body) => (body[..n.min(ERROR_BODY_BYTES_MAX)].to_vec(), n),
            },
            Body::Chunked => match chunked(rest)? {
                None => return Ok(None),
                Some(body) => body,
            },
        };
        String::from_utf8_lossy(&body)
            .trim()
            .clone_into(&mut response.text);
        return Ok(Some((response, length + consumed)));
    }
}

enum Body {
    None,
    Length(usize),
    Chunked,
}

struct Head {
    location: Option<String>,
    close: bool,
    body: Body,
}

impl Head {
    fn read(head: &httparse::Response<'_, '_>, status: u16) -> Result<Self, ResponseError> {
        let mut location = None;
        let mut length = None;
        let mut is_chunked = false;
        let mut close = head.version == Some(0);
        for header in head.headers.iter() {
            let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
            if header.name.eq_ignore_ascii_case("content-length") {
                let n = value.parse::<usize>().map_err(|_| ResponseError::Length)?;
                if length.is_some_and(|before| before != n) {
                    return Err(ResponseError::Length);
                }
                length = Some(n);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                is_chunked = value.eq_ignore_ascii_case("chunked");
                if !is_chunked {
                    return Err(ResponseError::Chunk);
                }
            } else if header.name.eq_ignore_ascii_case("connection") {
                let has = |token: &str| {
                    value
                        .split(',')
                        .any(|t| t.trim().eq_ignore_ascii_case(token))
                };
                close = has("close") || (close && !has("keep-alive"));
            } else if header.name.eq_ignore_ascii_case("location") {
                location = Some(value.to_owned());
            }
        }
        let body = match (is_chunked, length) {
            _ if matches!(status, 204 | 304) => Body::None,
            (true, _) => Body::Chunked,
            (false, Some(n)) => Body::Length(n),
            (false, None) => {
                // Such a body ends with the connection, and nothing can follow it.
                close = true;
                Body::None
            }
        };
        Ok(Self {
            location,
            close,
            body,
        })
    }
}

fn chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, ResponseError> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let (line, size) = match httparse::parse_chunk_size(rest) {
            Err(_) => return Err(ResponseError::Chunk),
            Ok(httparse::Status::Partial) => return Ok(None),
            Ok(httparse::Status::Complete(found)) => found,
        };
        let size = usize::try_from(size).map_err(|_| ResponseError::TooLarge)?;
        if size > RESPONSE_BYTES_MAX {
            return Err(ResponseError::TooLarge);
        }
        at += line;
        if size == 0 {
            // Trailers, if any, up to an empty line.
            loop {
                let rest = bytes.get(at..).unwrap_or_default();
                let Some(end) = rest.windows(2).position(|w| w == b"\r\n") else {
                    return Ok(None);
                };
                at += end + 2;
                if end == 0 {
                    return Ok(Some((body, at)));
                }
            }
        }
        let Some(chunk) = bytes.get(at..at + size) else {
            return Ok(None);
        };
        let room = ERROR_BODY_BYTES_MAX.saturating_sub(body.len()).min(size);
        body.extend_from_slice(&chunk[..room]);
        at += size;
        match bytes.get(at..at + 2) {
            None => return Ok(None),
            Some(b"\r\n") => at += 2,
            Some(_) => return Err(ResponseError::Chunk),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nDate: x\r\nContent-Length: 0\r\n\r\n";
    const REJECTED: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
                            Content-Length: 9\r\n\r\nbad thing";
    const CHUNKED: &str = "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\
                           Connection: close\r\n\r\n3;x=y\r\nbad\r\n6\r\n thing\r\n0\r\nT: v\r\n\r\n";
    const REDIRECT: &str = "HTTP/1.1 307 Temporary Redirect\r\n\
                            Location: //m2:5050/master/api/v1/scheduler\r\nContent-Length: 0\r\n\r\n";
    const CONTINUED: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";

    fn all(bytes: &str) -> Vec<Response> {
        let mut bytes = bytes.as_bytes();
        let mut found = Vec::new();
        while let Some((response, length)) = parse(bytes).unwrap() {
            found.push(response);
            bytes = &bytes[length..];
        }
        assert!(bytes.is_empty());
        found
    }

    #[test]
    fn answers_follow_one_another() {
        let found = all(&[ACCEPTED, REJECTED, REDIRECT, CONTINUED, CHUNKED].concat());
        let statuses: Vec<_> = found.iter().map(|r| r.status).collect();
        assert_eq!(statuses, [202, 400, 307, 204, 403]);
        assert_eq!(found[1].text, "bad thing");
        assert_eq!(
            found[2].location.as_deref(),
            Some("//m2:5050/master/api/v1/scheduler")
        );
        assert_eq!(found[4].text, "bad thing");
        assert!(found[4].close && !found[0].close);
    }

    #[test]
    fn a_part_of_an_answer_is_no_answer() {
        for answer in [ACCEPTED, REJECTED, REDIRECT, CONTINUED, CHUNKED] {
            for cut in 0..answer.len() {
                assert_eq!(
                    parse(&answer.as_bytes()[..cut]).unwrap(),
                    None,
                    "{cut} of {answer}"
                );
            }
        }
    }

    #[test]
    fn hostile_answers_are_errors() {
        let error = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error("SSH-2.0-x\r\n"), ResponseError::Head(_)));
        let head = "HTTP/1.1 200 OK\r\n";
        assert_eq!(
            error(&format!("{head}Content-Length: -1\r\n\r\n")),
            ResponseError::Length
        );
        assert_eq!(
            error(&format!(
                "{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"
            )),
            ResponseError::Length
        );
        assert_eq!(
            error(&format!("{head}Content-Length: 99999999999\r\n\r\n")),
            ResponseError::TooLarge
        );
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
        assert_eq!(error(&format!("{chunked}zz\r\n")), ResponseError::Chunk);
        assert_eq!(error(&format!("{chunked}1\r\nabc")), ResponseError::Chunk);
        assert_eq!(
            error(&format!("{chunked}ffffffffffff\r\n")),
            ResponseError::TooLarge
        );
        let endless = format!("{head}X: {}", "x".repeat(RESPONSE_BYTES_MAX));
        assert_eq!(error(&endless), ResponseError::TooLarge);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(garbage in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            chunked.extend_from_slice(&garbage);
            for bytes in [garbage, chunked] {
                if let Ok(Some((_, length))) = parse(&bytes) {
                    prop_assert!(length <= bytes.len());
                }
            }
        }
    }
}
