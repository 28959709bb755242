//! The server: limits of connections and times.

use std::{io, net::TcpListener, time::Duration};

use actix_web::{App, HttpServer, dev::Server, middleware::Compress};

use super::{AppState, configure, tls};

/// Threads that serve. Handlers read views and wait for nothing, so that more would not help.
const WORKERS: usize = 2;

/// An idle connection is closed after this time: longer than the minute that load balancers keep.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A client that takes nothing of what was sent for so long is cut off.
const UNREAD_MAX: Duration = Duration::from_secs(30);

/// After so many seconds of shutting down, what is still under way is cut off: event streams never
/// end by themselves, and the whole end has a limit of its own.
const SHUTDOWN_WITHIN: u64 = 2;

/// Serves all faces on `listener` until the returned server is stopped. Signals are the caller's.
///
/// # Errors
/// The listener or the certificate cannot be used.
pub fn serve(listener: TcpListener, state: AppState) -> io::Result<Server> {
    let connections_per_worker = state.settings().connections_max.div_ceil(WORKERS);
    let request_timeout = state.settings().request_timeout;
    let certificate = state.settings().tls.as_ref().map(tls::config).transpose()?;
    cut_off_stalled_readers(&listener);
    let server = HttpServer::new(move || {
        App::new()
            .wrap(Compress::default())
            .configure(configure(state.clone()))
    })
    .workers(WORKERS)
    .max_connections(connections_per_worker)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(request_timeout)
    .shutdown_timeout(SHUTDOWN_WITHIN)
    .disable_signals();
    let server = match certificate {
        Some(certificate) => server.listen_rustls_0_23(listener, certificate)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// Nothing in the server watches a client that no longer reads; the kernel can. What is set for the
/// listener counts for the connections that it takes.
fn cut_off_stalled_readers(listener: &TcpListener) {
    let millis = UNREAD_MAX.as_millis() as u32;
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(listener, millis) {
        tracing::debug!(%error, "the time limit for unread answers cannot be set");
    }
}
