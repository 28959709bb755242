//! The HTTP/1.1 server: connections, pipelining and bodies are hyper's; the threads are
//! our own, so that a busy or blocked caller does not hold the cluster up.

use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use super::{Listener, Site, handle};

/// Open connections at most; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 20_000;

pub(super) type Response = hyper::Response<Body>;

/// The body of an answer.
pub(super) enum Body {
    Full(Full<Bytes>),
    Stream(Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Full(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Stream(stream) => stream.as_mut().poll_next(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(body) => body.is_end_stream(),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(body) => body.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// The threads that serve all listeners.
#[derive(Debug)]
pub(crate) struct Server {
    runtime: Option<Runtime>,
}

impl Server {
    pub(crate) fn start(
        site: Arc<Site>,
        sockets: Vec<(TcpListener, Listener)>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(site.options.threads.max(1))
            .thread_name("gantry-local-http")
            .enable_all()
            .build()?;
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        for (socket, listener) in sockets {
            socket.set_nonblocking(true)?;
            let socket = {
                let _inside = runtime.enter();
                tokio::net::TcpListener::from_std(socket)?
            };
            runtime.spawn(accept(
                socket,
                listener,
                Arc::clone(&site),
                Arc::clone(&connections),
            ));
        }
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// Closes every listener and connection.
    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn accept(
    socket: tokio::net::TcpListener,
    listener: Listener,
    site: Arc<Site>,
    connections: Arc<Semaphore>,
) {
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            let service =
                service_fn(move |request| handle(Arc::clone(&site), listener, peer, request));
            let served = http1::Builder::new()
                .title_case_headers(true)
                .pipeline_flush(true)
                // A client that closes its half is gone, as for the real master.
                .half_close(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
}
