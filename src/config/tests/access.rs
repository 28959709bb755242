//! Who is let in: what is refused together, and that login is never silently left out.

use std::{fs, time::Duration};

use secrecy::ExposeSecret as _;

use super::{bad, good, warned};
use crate::config::Rule;

const KEY: (&str, &str) = (
    "AUTH_COOKIE_ENCRYPTION_KEY",
    "hush-hush-hush-hush-hush-hush-hush",
);
const GITLAB: [(&str, &str); 4] = [
    ("GITLAB_APP_ID", "gantry"),
    ("GITLAB_APP_SECRET", "hush-gitlab"),
    (
        "GITLAB_CALLBACK_URL",
        "https://fw.example/auth/gitlab/callback",
    ),
    ("GITLAB_ALLOWED_GROUPS", "Ops, dev/web"),
];
const GOOGLE: [(&str, &str); 4] = [
    ("GOOGLE_CLIENT_ID", "gantry"),
    ("GOOGLE_CLIENT_SECRET", "hush-google"),
    (
        "GOOGLE_CALLBACK_URL",
        "https://fw.example/auth/google/callback",
    ),
    ("GOOGLE_ALLOWED_DOMAINS", "example.com"),
];

#[test]
fn login_is_read_whole() {
    let mut all = vec![KEY, ("AUTH_ADMINS", "gitlab-group:ops, basic:ci")];
    all.extend(GITLAB.into_iter().chain(GOOGLE));
    all.extend([
        ("HTTP_CREDENTIALS", "ci:a-long-password"),
        ("AUTH_SESSION_IDLE", "1h"),
    ]);
    let auth = good(&all).auth;
    assert!(!auth.is_open());
    assert_eq!(auth.admins.len(), 2);
    assert_eq!(auth.admins[0], Rule::GitlabGroup("ops".to_owned()));
    assert!(format!("{auth:?}").contains("REDACTED") && !format!("{auth:?}").contains("hush"));
    let sessions = auth.sessions.as_ref().unwrap();
    assert_eq!(sessions.idle, Duration::from_secs(3_600));
    assert_eq!(sessions.absolute, Duration::from_secs(86_400));
    let gitlab = sessions.gitlab.as_ref().unwrap();
    assert_eq!(gitlab.groups, ["ops", "dev/web"]);
    assert_eq!(gitlab.application.provider, "https://gitlab.com");
    assert_eq!(gitlab.application.scopes, ["openid", "profile", "email"]);
    let google = sessions.google.as_ref().unwrap();
    assert_eq!(google.application.provider, "https://accounts.google.com");
    assert_eq!(google.application.secret.expose_secret(), "hush-google");
    assert_eq!(auth.secrets().count(), 4);
    assert!(good(&[]).auth.is_open());
    assert!(!good(&[HTTP]).auth.is_open());
}

const HTTP: (&str, &str) = ("HTTP_CREDENTIALS", "ci:a-long-password");

#[test]
fn login_is_never_silently_left_out() {
    let with = |more: &[(&'static str, &'static str)]| {
        let mut all = GITLAB.to_vec();
        all.push(KEY);
        all.extend(more);
        all
    };
    let without = |name: &str| -> Vec<_> {
        let all = with(&[]).into_iter();
        all.filter(|(own, _)| *own != name).collect()
    };
    let short = ("AUTH_COOKIE_ENCRYPTION_KEY", "hush");
    for (changes, why) in [
        (vec![short, HTTP], "shorter than 32 bytes"),
        (
            vec![("AUTH_COOKIE_ENCRYPTION_KEY_FILE", "/no/such/file")],
            "cannot be read",
        ),
        (vec![KEY], "nobody could log in"),
        (
            GITLAB.to_vec(),
            "does not run open when login was asked for",
        ),
        (
            without("GITLAB_ALLOWED_GROUPS"),
            "lets in whoever has an account",
        ),
        (
            without("GITLAB_APP_SECRET"),
            "GITLAB_APP_SECRET is not set, and GITLAB_APP_ID is",
        ),
        (without("GITLAB_APP_ID"), "set without GITLAB_APP_ID"),
        (
            with(&[("GITLAB_ALLOWED_GROUPS", "/ops")]),
            "no path of a group",
        ),
        (
            with(&[("GITLAB_URL", "http://gitlab.example")]),
            "is not https",
        ),
        (
            with(&[("GITLAB_CALLBACK_URL", "https://fw/login")]),
            "does not end with",
        ),
        (
            with(&[("AUTH_ADMINS", "alice")]),
            "who speaks for that name",
        ),
        (
            with(&[("AUTH_SESSION_IDLE", "2d")]),
            "longer than AUTH_SESSION_MAX",
        ),
        (
            with(&[("HTTP_CREDENTIALS", "hush")]),
            "no user and password",
        ),
        (
            with(&[("API_TOKENS_FILE", "/no/such/file")]),
            "cannot be read",
        ),
        (vec![("AUTH_VIEWERS", "*")], "login is off"),
        (
            vec![("AUTH_COOKIE_ENCRYPTION_KEY_OLD", KEY.1), HTTP],
            "is not set",
        ),
        (vec![("TLS_CERT", "/no/such/file")], "set without TLS_KEY"),
        (
            vec![("TLS_CERT", "/no"), ("TLS_KEY", "/no")],
            "cannot be read",
        ),
        (vec![("TRUSTED_PROXIES", "everybody")], "no network"),
    ] {
        let errors = bad(&changes);
        let told = errors.iter().any(|error| error.contains(why));
        assert!(told, "{changes:?}: {errors:?}");
        assert!(!errors.concat().contains("hush"), "{errors:?}");
    }
    let google = || GOOGLE.into_iter().take(3).chain([KEY]);
    let open: Vec<_> = google().collect();
    assert!(bad(&open)[0].contains("whoever has a Google account"));
    for allowed in [
        ("GOOGLE_FILTER", "@example\\.com$"),
        ("AUTH_ALLOW_ANY", "true"),
    ] {
        good(&google().chain([allowed]).collect::<Vec<_>>());
    }
    let mixed = (
        "GOOGLE_CALLBACK_URL",
        "http://127.0.0.1/auth/google/callback",
    );
    let mixed: Vec<_> = GITLAB
        .into_iter()
        .chain(GOOGLE)
        .chain([KEY, mixed])
        .collect();
    assert!(bad(&mixed)[0].contains("another scheme"));
    let idle = warned(&with(&[("AUTH_VIEWERS", "google:bob@example.com")]));
    assert!(idle[0].contains("nobody who can log in"), "{idle:?}");
}

#[test]
fn bad_lines_of_the_tokens_are_all_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "# tokens\nnonsense\n{}\n").unwrap();
    let path = file.path().to_str().unwrap();
    let errors = bad(&[("API_TOKENS_FILE", path)]);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains("line 2") && errors[1].contains("line 3"));
    fs::write(&file, "").unwrap();
    assert!(!good(&[("API_TOKENS_FILE", path)]).auth.is_open());
}
