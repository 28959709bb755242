//! Ports that stay free while nobody listens on them.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// A port of 127.0.0.1 that this process was not given before.
///
/// It is one from which no outgoing connection is made, so that a server which is away finds it
/// free when it comes back.
///
/// # Panics
/// When none is left.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 4_000;
    const COUNT: u16 = 8_000;
    // Far from where another run of these tests looks.
    let start = (std::process::id().wrapping_mul(997) % u32::from(COUNT)) as u16;
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(next < COUNT, "no free port");
        let port = FIRST + (start + next) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
