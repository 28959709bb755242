//! The server: limits of connections and times.

use std::{any::Any, io, net::TcpListener, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::{Extensions, Server},
    middleware::Compress,
    rt::net::TcpStream,
};

use super::{AppState, configure};

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
/// The listener cannot be used.
pub fn serve(listener: TcpListener, state: AppState) -> io::Result<Server> {
    let connections_per_worker = state.settings().connections_max.div_ceil(WORKERS);
    let request_timeout = state.settings().request_timeout;
    let server = HttpServer::new(move || {
        App::new()
            .wrap(Compress::default())
            .configure(configure(state.clone()))
    })
    .workers(WORKERS)
    .max_connections(connections_per_worker)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(request_timeout)
    .on_connect(cut_off_stalled_readers)
    .shutdown_timeout(SHUTDOWN_WITHIN)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(server)
}

/// Nothing in the server watches a client that no longer reads; the kernel can.
fn cut_off_stalled_readers(connection: &dyn Any, _: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else {
        return;
    };
    let millis = UNREAD_MAX.as_millis() as u32;
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, millis) {
        tracing::debug!(%error, "the time limit for unread answers cannot be set");
    }
}
