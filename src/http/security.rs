//! What stands before every route: nothing changes on a cross-site request, and every answer
//! carries the headers that keep browsers strict.

use actix_web::{
    Error, ResponseError as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};

use super::{
    AppState,
    error::{ApiError, Code},
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Only files of our own, nothing inline, nobody may frame us.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; \
                                       object-src 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

pub(crate) async fn guard(
    state: web::Data<AppState>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let changes_state = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let allowed = &state.settings().allowed_origins;
    let refusal = changes_state
        .then(|| refuse_cross_site(request.headers(), allowed))
        .and_then(Result::err);
    let mut response = match refusal {
        Some(refusal) => request.into_response(refusal.error_response()),
        None => next.call(request).await?.map_into_boxed_body(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// Refuses requests that a page of another site made a browser send. Requests of other programs
/// carry none of these headers and pass.
fn refuse_cross_site(headers: &HeaderMap, allowed: &[String]) -> Result<(), ApiError> {
    if is_own_page(headers, allowed) == Some(false) {
        return Err(ApiError::new(
            Code::CrossSite,
            "the request comes from a page of another site",
        )
        .remedy("behind a proxy that rewrites `Host`, list its origin among the allowed origins"));
    }
    Ok(())
}

/// Refuses everything but requests that provably come from our own pages: for the one GET that
/// changes something.
pub(crate) fn require_own_page(headers: &HeaderMap, allowed: &[String]) -> Result<(), ApiError> {
    if is_own_page(headers, allowed) != Some(true) {
        return Err(ApiError::new(
            Code::CrossSite,
            "GET changes something only when a page of this dashboard asks for it",
        )
        .remedy("send the same request as POST"));
    }
    Ok(())
}

/// Whether a browser sends this for a page of ours; `None` when nothing tells.
fn is_own_page(headers: &HeaderMap, allowed: &[String]) -> Option<bool> {
    // Browsers set it themselves and pages cannot; it is not sent over plain HTTP to other hosts
    // than localhost, which is why the origin is looked at too.
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    if site == Some(b"same-origin") {
        return Some(true);
    }
    let origin = headers
        .get(header::ORIGIN)
        .or_else(|| headers.get(header::REFERER));
    let Some(origin) = origin else {
        // `none` is a person's own doing: an address typed, a bookmark.
        return site.map(|site| site == b"none").filter(|own| !own);
    };
    let Ok(origin) = origin.to_str() else {
        return Some(false);
    };
    let Some((scheme, rest)) = origin.split_once("://") else {
        return Some(false);
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let is_allowed = allowed.iter().any(|allowed| {
        allowed
            .strip_prefix(scheme)
            .and_then(|allowed| allowed.strip_prefix("://"))
            .is_some_and(|allowed| {
                allowed
                    .trim_end_matches('/')
                    .eq_ignore_ascii_case(authority)
            })
    });
    if is_allowed {
        return Some(true);
    }
    if site.is_some_and(|site| site != b"none") {
        return Some(false);
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    Some(host.is_some_and(|host| host.eq_ignore_ascii_case(authority)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_page(pairs: &[(&'static str, &str)]) -> Option<bool> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        is_own_page(&headers, &["https://ui.example.com".to_owned()])
    }

    #[test]
    fn tells_own_pages_from_others() {
        let host = ("host", "fw.example.com:31000");
        assert_eq!(own_page(&[host]), None, "no browser");
        assert_eq!(own_page(&[host, ("sec-fetch-site", "none")]), None);
        assert_eq!(
            own_page(&[host, ("sec-fetch-site", "same-origin")]),
            Some(true)
        );
        for other in ["cross-site", "same-site", "", "Same-Origin"] {
            assert_eq!(
                own_page(&[host, ("sec-fetch-site", other)]),
                Some(false),
                "{other}"
            );
        }
        for (origin, own) in [
            ("http://fw.example.com:31000", true),
            ("http://FW.example.com:31000", true),
            ("http://fw.example.com:31001", false),
            ("http://fw.example.com:31000.evil.com", false),
            ("http://fw.example.com:31000@evil.com", false),
            ("https://ui.example.com", true),
            ("http://ui.example.com", false),
            ("https://ui.example.com.evil.com", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(own_page(&[host, ("origin", origin)]), Some(own), "{origin}");
        }
        let page = ("referer", "http://fw.example.com:31000/service/fw/");
        assert_eq!(own_page(&[host, page]), Some(true));
        let elsewhere = ("referer", "http://evil.com/fw.example.com:31000/");
        assert_eq!(own_page(&[host, elsewhere]), Some(false));
        // An allowed origin is cross-site to the browser, and still allowed.
        let ui = ("origin", "https://ui.example.com");
        assert_eq!(
            own_page(&[host, ui, ("sec-fetch-site", "cross-site")]),
            Some(true)
        );
        assert_eq!(own_page(&[ui]), Some(true));
        assert_eq!(
            own_page(&[("origin", "http://a")]),
            Some(false),
            "no host to compare with"
        );
    }
}
