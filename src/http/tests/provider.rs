//! A provider in this process, that can be told to answer wrongly.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, Mutex},
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::header,
    web::{self, Data, Form},
};
use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use openidconnect::{
    JsonWebKeyId, PrivateSigningKey as _,
    core::{CoreEdDsaPrivateSigningKey, CoreJwsSigningAlgorithm},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// How the token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// With the key that is listed.
    Right,
    /// With another key of the same name.
    OtherKey,
    /// With a key that is not listed.
    UnknownKey,
    /// `alg: none`, and nothing behind the last dot.
    None,
    /// With the client's secret, which is no secret between the two.
    Hmac,
    /// With the right key, and changed afterwards.
    Changed,
}

/// What the provider answers.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    /// Claims of the token, over those that are right.
    pub(super) token: Value,
    pub(super) signature: Signature,
    /// What is answered to the access token; `None` for 404.
    pub(super) userinfo: Option<Value>,
    pub(super) openid: bool,
    pub(super) issuer: Option<String>,
    pub(super) user: Value,
    pub(super) groups: Value,
    /// Of the login that is under way: nonce and challenge.
    pub(super) nonce: String,
    pub(super) challenge: String,
}

/// A running provider.
pub(super) struct Provider {
    pub(super) url: String,
    pub(super) answers: Arc<Mutex<Answers>>,
    server: actix_web::dev::ServerHandle,
}

struct Shared {
    url: String,
    answers: Arc<Mutex<Answers>>,
}

pub(super) const CLIENT: &str = "gantry";
pub(super) const CLIENT_SECRET: &str = "hush-hush";
const CODE: &str = "the-code";
const ACCESS: &str = "the-access-token";

impl Provider {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(Answers {
            token: json!({}),
            signature: Signature::Right,
            userinfo: None,
            openid: true,
            issuer: None,
            user: json!({}),
            groups: json!([]),
            nonce: String::new(),
            challenge: String::new(),
        }));
        let shared = Data::new(Shared {
            url: url.clone(),
            answers: Arc::clone(&answers),
        });
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .route(
                    "/.well-known/openid-configuration",
                    web::get().to(discovery),
                )
                .route("/keys", web::get().to(keys))
                .route("/oauth/token", web::post().to(token))
                .route("/userinfo", web::get().to(userinfo))
                .route("/api/v4/user", web::get().to(user))
                .route("/api/v4/groups", web::get().to(groups))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self {
            url,
            answers,
            server: handle,
        }
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.answers.lock().unwrap());
    }

    pub(super) async fn stop(&self) {
        self.server.stop(false).await;
    }
}

fn key(seed: u8) -> CoreEdDsaPrivateSigningKey {
    // PKCS #8 around a seed.
    let mut der = vec![
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    der.extend([seed; 32]);
    let body = BASE64_STANDARD.encode(der);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let name = JsonWebKeyId::new("key-1".to_owned());
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(name)).unwrap()
}

async fn discovery(shared: Data<Shared>) -> HttpResponse {
    let answers = shared.answers.lock().unwrap().clone();
    if !answers.openid {
        return HttpResponse::NotFound().finish();
    }
    let url = &shared.url;
    HttpResponse::Ok().json(json!({
        "issuer": answers.issuer.as_ref().unwrap_or(url),
        "authorization_endpoint": format!("{url}/oauth/authorize"),
        "token_endpoint": format!("{url}/oauth/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/keys"),
    }))
}

async fn keys() -> HttpResponse {
    HttpResponse::Ok().json(json!({"keys": [key(1).as_verification_key()]}))
}

async fn token(
    shared: Data<Shared>,
    request: HttpRequest,
    form: Form<BTreeMap<String, String>>,
) -> HttpResponse {
    let answers = shared.answers.lock().unwrap().clone();
    let basic = BASE64_STANDARD.encode(format!("{CLIENT}:{CLIENT_SECRET}"));
    let sent = request.headers().get(header::AUTHORIZATION);
    let verifier = form.get("code_verifier").cloned().unwrap_or_default();
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let good = sent.is_some_and(|sent| *sent == *format!("Basic {basic}"))
        && form.get("code").map(String::as_str) == Some(CODE)
        && form
            .get("redirect_uri")
            .is_some_and(|uri| uri.ends_with("/callback"))
        && challenge == answers.challenge;
    if !good {
        return HttpResponse::BadRequest().json(json!({"error": "invalid_grant"}));
    }
    let mut answer = json!({"access_token": ACCESS, "token_type": "Bearer", "expires_in": 60});
    if answers.openid {
        answer["id_token"] = json!(id_token(&shared.url, &answers));
    }
    HttpResponse::Ok().json(answer)
}

fn id_token(url: &str, answers: &Answers) -> String {
    let now = jiff::Timestamp::now().as_second();
    let mut claims = json!({
        "iss": url, "aud": CLIENT, "sub": "42", "nonce": answers.nonce,
        "iat": now, "exp": now + 120,
    });
    for (name, value) in answers.token.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let algorithm = match answers.signature {
        Signature::None => "none",
        Signature::Hmac => "HS256",
        _ => "EdDSA",
    };
    let kid = match answers.signature {
        Signature::UnknownKey => "key-9",
        _ => "key-1",
    };
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let head = encode(&json!({"alg": algorithm, "kid": kid, "typ": "JWT"}));
    let signed = format!("{head}.{}", encode(&claims));
    let sign = |seed| {
        key(seed)
            .sign(&CoreJwsSigningAlgorithm::EdDsa, signed.as_bytes())
            .unwrap()
    };
    let signature = match answers.signature {
        Signature::Right | Signature::Changed => sign(1),
        Signature::OtherKey | Signature::UnknownKey => sign(2),
        Signature::None => Vec::new(),
        Signature::Hmac => openidconnect::core::CoreHmacKey::new(CLIENT_SECRET)
            .sign(&CoreJwsSigningAlgorithm::HmacSha256, signed.as_bytes())
            .unwrap(),
    };
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    if answers.signature == Signature::Changed {
        claims["sub"] = json!("1");
        return format!("{head}.{}.{signature}", encode(&claims));
    }
    format!("{signed}.{signature}")
}

fn with_token(request: &HttpRequest, answer: Option<Value>) -> HttpResponse {
    let sent = request.headers().get(header::AUTHORIZATION);
    if sent.is_none_or(|sent| *sent != *format!("Bearer {ACCESS}")) {
        return HttpResponse::Unauthorized().finish();
    }
    match answer {
        Some(answer) => HttpResponse::Ok().json(answer),
        None => HttpResponse::NotFound().finish(),
    }
}

async fn userinfo(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let answer = shared.answers.lock().unwrap().userinfo.clone();
    with_token(&request, answer)
}

async fn user(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let answer = shared.answers.lock().unwrap().user.clone();
    with_token(&request, Some(answer))
}

async fn groups(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let answer = shared.answers.lock().unwrap().groups.clone();
    with_token(&request, Some(answer))
}
