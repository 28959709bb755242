//! Encrypted cookies: names, flags, and the keys that open them.

use actix_web::{
    HttpRequest,
    cookie::{Cookie, CookieJar, Key, SameSite, time},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256, Sha512};

/// Largest cookie, with its name and its attributes, in bytes: browsers drop what is larger.
const COOKIE_MAX: usize = 4_000;

/// The cookies of one framework.
pub(super) struct Cookies {
    key: Key,
    /// Opened with, after a change of the key.
    old_key: Option<Key>,
    /// What their names begin with.
    name: String,
    path: String,
    secure: bool,
}

impl Cookies {
    /// Two frameworks on one host share no cookie, even if they share the key. Over https the
    /// names begin with `__Host-`: then browsers take them from this very host alone.
    pub(super) fn new(
        framework: &str,
        key: &SecretString,
        old_key: Option<&SecretString>,
        secure: bool,
        prefix: &str,
    ) -> Self {
        let prefix = if prefix.is_empty() { "/" } else { prefix };
        let mark = if secure { "__Host-" } else { "" };
        Self {
            key: derived(key, framework),
            old_key: old_key.map(|key| derived(key, framework)),
            name: format!("{mark}gantry-{}", in_names(framework)),
            path: if secure { "/" } else { prefix }.to_owned(),
            secure,
        }
    }

    /// The full name of the cookie of this kind.
    pub(super) fn named(&self, kind: &str) -> String {
        format!("{}-{kind}", self.name)
    }

    /// The content of a cookie that was made here.
    pub(super) fn open<T: DeserializeOwned>(&self, request: &HttpRequest, kind: &str) -> Option<T> {
        let cookie = request.cookie(&self.named(kind))?;
        let mut jar = CookieJar::new();
        jar.add_original(cookie);
        let keys = [Some(&self.key), self.old_key.as_ref()];
        let name = self.named(kind);
        let opened = keys
            .into_iter()
            .flatten()
            .find_map(|key| jar.private(key).get(&name))?;
        serde_json::from_str(opened.value()).ok()
    }

    /// A cookie with this content; `None` if it would be too large to be taken.
    pub(super) fn seal(
        &self,
        kind: &str,
        content: &impl Serialize,
        max_age_s: u64,
    ) -> Option<Cookie<'static>> {
        let content = serde_json::to_string(content).ok()?;
        let mut jar = CookieJar::new();
        let max_age = i64::try_from(max_age_s).unwrap_or(i64::MAX);
        let cookie = self.cookie(kind, content, time::Duration::seconds(max_age));
        jar.private_mut(&self.key).add(cookie);
        let sealed = jar.get(&self.named(kind))?.clone();
        (sealed.encoded().to_string().len() <= COOKIE_MAX).then_some(sealed)
    }

    /// What makes a browser forget the cookie.
    pub(super) fn forget(&self, kind: &str) -> Cookie<'static> {
        let mut cookie = self.cookie(kind, String::new(), time::Duration::ZERO);
        cookie.set_expires(time::OffsetDateTime::UNIX_EPOCH);
        cookie
    }

    fn cookie(&self, kind: &str, value: String, max_age: time::Duration) -> Cookie<'static> {
        Cookie::build(self.named(kind), value)
            .path(self.path.clone())
            .secure(self.secure)
            .http_only(true)
            // Sent when a provider sends the browser back, and never with what another site asks.
            .same_site(SameSite::Lax)
            .max_age(max_age)
            .finish()
    }

    /// The kinds of all cookies of the request that begin so.
    pub(super) fn kinds(&self, request: &HttpRequest, begin: &str) -> Vec<String> {
        let front = format!("{}-", self.name);
        let Ok(cookies) = request.cookies() else {
            return Vec::new();
        };
        cookies
            .iter()
            .filter_map(|cookie| cookie.name().strip_prefix(&front))
            .filter(|kind| kind.starts_with(begin))
            .map(str::to_owned)
            .collect()
    }
}

/// A key that serves this framework alone.
fn derived(key: &SecretString, framework: &str) -> Key {
    let mut hash = Sha512::new();
    hash.update(b"gantry cookies 1\0");
    hash.update(framework.as_bytes());
    hash.update(b"\0");
    hash.update(key.expose_secret().as_bytes());
    Key::derive_from(&hash.finalize())
}

/// The framework's name as far as names of cookies take it, and unmistakable.
fn in_names(framework: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = framework.chars().filter(|c| plain(*c)).take(64).collect();
    if name == framework {
        return name;
    }
    let hash = Sha256::digest(framework.as_bytes());
    let tag: String = hash
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{name}.{tag}")
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn cookies(framework: &str, secure: bool) -> Cookies {
        let key = SecretString::from("0123456789abcdef0123456789abcdef");
        Cookies::new(framework, &key, None, secure, "/service/fw")
    }

    fn opened(cookies: &Cookies, name: String, value: &str) -> Option<String> {
        let cookie = Cookie::new(name, value.to_owned());
        let request = TestRequest::default().cookie(cookie).to_http_request();
        cookies.open(&request, "session")
    }

    #[test]
    fn a_cookie_is_opened_by_its_own_framework_under_its_own_name() {
        for secure in [true, false] {
            let own = cookies("fw", secure);
            let sealed = own.seal("session", &"hello", 60).unwrap();
            assert!(!sealed.to_string().contains("hello"));
            let (name, value) = (own.named("session"), sealed.value());
            assert_eq!(opened(&own, name.clone(), value).as_deref(), Some("hello"));
            let login = own.seal("login-x", &"hello", 60).unwrap();
            assert_eq!(opened(&own, name, login.value()), None, "of another kind");
            let other = cookies("fx", secure);
            assert_eq!(opened(&other, other.named("session"), value), None);
            assert!(
                own.seal("session", &"x".repeat(4_096), 60).is_none(),
                "too large"
            );
        }
        let names = ["a b", "a-b", "ab", "é", "ü"].map(|name| cookies(name, true).named("session"));
        for name in &names {
            assert!(name.starts_with("__Host-gantry-"));
            assert!(
                name.chars()
                    .all(|c| c.is_ascii_graphic() && !"=;,\"\\".contains(c)),
                "{name}"
            );
            assert_eq!(
                names.iter().filter(|other| *other == name).count(),
                1,
                "{names:?}"
            );
        }
        assert_eq!(
            cookies("fw", false).forget("session").path(),
            Some("/service/fw")
        );
        assert_eq!(cookies("fw", true).forget("session").path(), Some("/"));
    }
}
