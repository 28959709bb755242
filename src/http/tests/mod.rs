//! The faces from outside: requests in, answers out, in process.

mod compat;
mod events;
mod login;
mod looking;
mod modules;
mod provider;
mod role;
mod security;
mod tls;
mod v2;
mod world;

use actix_web::{
    App,
    body::MessageBody,
    dev::ServiceResponse,
    http::{Method, StatusCode, header::HeaderMap},
    test::{self, TestRequest},
};

use super::configure;
use world::World;

/// What came back.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The value of a header; empty without it.
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    /// The code of the error that it is.
    fn code(&self) -> String {
        let code = &self.json()["error"]["code"];
        code.as_str()
            .unwrap_or_else(|| panic!("no error: {}", self.body))
            .to_owned()
    }
}

impl World {
    /// Sends a request `METHOD /path` with these headers and this body.
    async fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let response = self.open(line, headers, body).await;
        Reply {
            status: response.status(),
            headers: response.headers().clone(),
            body: String::from_utf8_lossy(&test::read_body(response).await).into_owned(),
        }
    }

    /// Sends a request and leaves the body of the answer unread.
    async fn open(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> ServiceResponse<impl MessageBody> {
        let (method, path) = line.split_once(' ').expect("METHOD /path");
        let mut request = TestRequest::default()
            .method(Method::from_bytes(method.as_bytes()).expect("a method"))
            .uri(path)
            .peer_addr("10.1.2.3:4567".parse().expect("an address"))
            .set_payload(body.to_owned());
        for header in headers {
            request = request.insert_header(*header);
        }
        let app = test::init_service(App::new().configure(configure(self.state.clone()))).await;
        test::call_service(&app, request.to_request()).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path}"), &[], "").await
    }
}
