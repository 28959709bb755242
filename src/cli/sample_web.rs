//! `gantry sample-web`: a service to try things with. Says which instance answers, and where.

use std::{env, net::Ipv4Addr, process::ExitCode, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use super::fail;
use crate::service::Signals;

/// Requests at once; more wait.
const CONNECTIONS_MAX: usize = 64;

/// Longest head of a request.
const HEAD_MAX: usize = 8 << 10;

/// Time for a whole request.
const WITHIN: Duration = Duration::from_secs(5);

/// Serves on `$PORT0` of the loopback address until a signal.
pub fn run() -> ExitCode {
    let Some(port) = env::var("PORT0").ok().and_then(|port| port.parse().ok()) else {
        return fail("PORT0 names no port: sample-web is run by `gantry dev`, which sets it");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime.and_then(|runtime| runtime.block_on(serve(port))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format_args!("port {port} cannot be served: {error}")),
    }
}

async fn serve(port: u16) -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let mut signals = Signals::catch()?;
    let instance = env::var("GANTRY_INSTANCE").unwrap_or_else(|_| "an instance".to_owned());
    let host = env::var("HOST").unwrap_or_else(|_| Ipv4Addr::LOCALHOST.to_string());
    let text: Arc<str> = format!("{instance} on {host}:{port}\n").into();
    println!("{instance} listens on port {port}");
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = signals.next() => return Ok(()),
        };
        let (Ok((stream, _)), Ok(place)) = (accepted, Arc::clone(&places).acquire_owned().await)
        else {
            // Out of file descriptors, for example: some will be closed soon.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let text = Arc::clone(&text);
        tokio::spawn(async move {
            // A client that stalls or hangs up has only itself to blame.
            let _ = timeout(WITHIN, answer(stream, &text)).await;
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, text: &str) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= HEAD_MAX || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let (status, body) = match path {
        b"/" => ("200 OK", text),
        b"/health" => ("200 OK", "OK\n"),
        _ => ("404 Not Found", "there is only / and /health\n"),
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
