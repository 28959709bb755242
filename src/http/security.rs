//! What stands before every route: nothing changes on a cross-site request, and every answer
//! carries the headers that keep browsers strict.

use actix_web::{
    Error, HttpMessage as _, HttpRequest, ResponseError as _,
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
    AppState, HttpSettings, access,
    error::{ApiError, Code},
    proxy,
};
use crate::auth::{Caller, Identity, Sender};

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

/// Before every route: finds out from where a request comes and who sends it, and lets nothing
/// change that a page of another site asks for.
pub(crate) async fn guard(
    state: web::Data<AppState>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let settings = state.settings();
    if let Some(answer) = access::without_prefix(&mut request, &settings.url_prefix) {
        return Ok(strict(request.into_response(answer), settings));
    }
    let peer = request.peer_addr().map(|peer| peer.ip());
    let sender = state.proxies().sender(peer, request.headers());
    let own_page = is_own_page(request.headers(), &sender, &settings.allowed_origins);
    request.extensions_mut().insert(sender.clone());
    let changes_state = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if changes_state && own_page == Some(false) {
        let refusal = cross_site().error_response();
        return Ok(strict(request.into_response(refusal), settings));
    }
    let known = match access::identify(&state, request.request(), sender.address) {
        Ok(known) => known,
        Err(error) => {
            let refusal = error.error_response();
            return Ok(strict(request.into_response(refusal), settings));
        }
    };
    // Browsers say from where every change comes, and send sessions by themselves. Where another
    // Gantry has handed the request on, that one has looked; no page can make a browser say so.
    let by_session = matches!(known.caller.identity, Identity::Session(_));
    let handed_on = request.headers().contains_key(proxy::FORWARDED_BY);
    if by_session && changes_state && own_page != Some(true) && !handed_on {
        let refusal = cross_site().error_response();
        return Ok(strict(request.into_response(refusal), settings));
    }
    let is_known = known.caller.is_known() && !state.gate().is_open();
    request.extensions_mut().insert(known.caller);
    let mut response = next.call(request).await?.map_into_boxed_body();
    if let Some(cookie) = known.cookie
        // A login or a log-out has said the last word on it.
        && response.response().cookies().all(|own| own.name() != cookie.name())
    {
        // The name and the value were made here: they are fit for a header.
        let _ = response.response_mut().add_cookie(&cookie);
    }
    let headers = response.headers_mut();
    if is_known && !headers.contains_key(header::CACHE_CONTROL) {
        // What one person may see is not kept for the next one at the same browser.
        let value = HeaderValue::from_static("no-store");
        headers.insert(header::CACHE_CONTROL, value);
    }
    Ok(strict(response, settings))
}

/// Adds what keeps browsers strict.
fn strict(
    mut response: ServiceResponse<BoxBody>,
    settings: &HttpSettings,
) -> ServiceResponse<BoxBody> {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, value);
    }
    if let Some(tls) = &settings.tls
        && !tls.strict_for.is_zero()
        && let Ok(value) = HeaderValue::from_str(&format!("max-age={}", tls.strict_for.as_secs()))
    {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    response
}

fn cross_site() -> ApiError {
    ApiError::new(
        Code::CrossSite,
        "the request comes from a page of another site",
    )
    .remedy(
        "behind a proxy that rewrites `Host`, list it in TRUSTED_PROXIES or its origin in \
         HTTP_ALLOWED_ORIGINS",
    )
}

/// Refuses everything but requests that provably come from our own pages, or that no browser sends
/// by itself: for the GET that changes something.
pub(crate) fn require_own_page(state: &AppState, request: &HttpRequest) -> Result<(), ApiError> {
    if matches!(Caller::of(request).identity, Identity::Token)
        || from_own_page(state, request) == Some(true)
    {
        return Ok(());
    }
    Err(ApiError::new(
        Code::CrossSite,
        "GET changes something only when a page of this dashboard or a token asks for it",
    )
    .remedy("send the same request as POST"))
}

/// Whether a browser sends this for a page of ours; `None` when nothing tells.
pub(crate) fn from_own_page(state: &AppState, request: &HttpRequest) -> Option<bool> {
    let sender = Sender::of(request);
    is_own_page(
        request.headers(),
        &sender,
        &state.settings().allowed_origins,
    )
}

/// Whether a browser sends this for a page of ours; `None` when nothing tells.
fn is_own_page(headers: &HeaderMap, sender: &Sender, allowed: &[String]) -> Option<bool> {
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
    let host = sender.host.as_deref();
    Some(host.is_some_and(|host| host.eq_ignore_ascii_case(authority)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Proxies;

    fn own_page(pairs: &[(&'static str, &str)]) -> Option<bool> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let sender = Proxies::default().sender(None, &headers);
        is_own_page(&headers, &sender, &["https://ui.example.com".to_owned()])
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
