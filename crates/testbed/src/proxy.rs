//! A proxy whose connections fail as those of real networks do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What the proxy does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It passes everything on.
    Pass,
    /// Nothing arrives, and nobody is told: a partition. New connections are taken, and get no
    /// answer. What was sent meanwhile arrives when the link passes again.
    BlackHole,
    /// What clients send arrives, answers do not.
    LoseAnswers,
    /// Connections are closed, and new ones refused.
    Refuse,
}

#[derive(Clone, Copy, Debug)]
struct State {
    link: Link,
    // Connections of an earlier round are closed.
    round: u64,
}

/// Passes connections on to one address, as long as it is told to.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    traffic: Arc<[Counters; 2]>,
    serving: JoinHandle<()>,
}

/// What has gone one way through a proxy, counted in packets that have their length, four bytes,
/// in front, as ZooKeeper's do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: usize,
    /// Bytes of all, without their lengths.
    pub bytes: usize,
    /// Bytes of the largest.
    pub largest: usize,
}

#[derive(Debug, Default)]
struct Counters {
    packets: AtomicUsize,
    bytes: AtomicUsize,
    largest: AtomicUsize,
}

impl Counters {
    fn count(&self, bytes: usize) {
        self.packets.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
        self.largest.fetch_max(bytes, Ordering::SeqCst);
    }

    fn read(&self) -> Traffic {
        Traffic {
            packets: self.packets.load(Ordering::SeqCst),
            bytes: self.bytes.load(Ordering::SeqCst),
            largest: self.largest.load(Ordering::SeqCst),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

impl Proxy {
    /// Starts one on a free port, passing everything on.
    pub async fn start(target: impl Into<String>) -> Self {
        let target = target.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = watch::Sender::new(State {
            link: Link::Pass,
            round: 0,
        });
        let traffic = Arc::new(<[Counters; 2]>::default());
        let serving = tokio::spawn(serve(listener, target, state.subscribe(), traffic.clone()));
        Self {
            address,
            state,
            traffic,
            serving,
        }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What shall be done with connections from now on, those that there are included.
    pub fn set(&self, link: Link) {
        self.state.send_modify(|state| {
            state.link = link;
            state.round += u64::from(link == Link::Refuse);
        });
    }

    /// Closes all connections; new ones are treated as before.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.round += 1);
    }

    /// What clients have sent so far.
    pub fn requests(&self) -> Traffic {
        self.traffic[0].read()
    }

    /// What they were answered.
    pub fn answers(&self) -> Traffic {
        self.traffic[1].read()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
        // The tasks of the connections end as nobody tells the state any more.
    }
}

async fn serve(
    listener: TcpListener,
    target: String,
    mut state: watch::Receiver<State>,
    traffic: Arc<[Counters; 2]>,
) {
    let address = listener.local_addr().expect("an address");
    let mut listener = Some(listener);
    loop {
        let refuse = state.borrow_and_update().link == Link::Refuse;
        match &listener {
            Some(_) if refuse => listener = None,
            None if !refuse => {
                listener = Some(TcpListener::bind(address).await.expect("our own port"));
            }
            _ => {}
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            accepted = accepted => {
                let Ok((client, _)) = accepted else { continue };
                tokio::spawn(connection(client, target.clone(), state.clone(), traffic.clone()));
            }
        }
    }
}

async fn connection(
    client: TcpStream,
    target: String,
    state: watch::Receiver<State>,
    traffic: Arc<[Counters; 2]>,
) {
    let round = state.borrow().round;
    let mut opening = state.clone();
    let passes = opening.wait_for(|state| state.link != Link::BlackHole || state.round != round);
    if passes.await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    // A proxy that waits for more would not be a fast network.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let to_server = copy(
        from_client,
        to_server,
        Way::ToServer,
        round,
        state.clone(),
        &traffic[0],
    );
    let to_client = copy(
        from_server,
        to_client,
        Way::ToClient,
        round,
        state,
        &traffic[1],
    );
    // Either end closing, or the proxy, ends both ways.
    tokio::select! {
        () = to_server => {}
        () = to_client => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    round: u64,
    mut state: watch::Receiver<State>,
    counters: &Counters,
) {
    let mut ends = state.clone();
    let over = async move {
        // An error: the proxy is gone.
        let _ = ends.wait_for(|state| state.round != round).await;
    };
    let pass = async {
        let mut buffer = vec![0; 64 * 1024];
        let mut packets = Packets::default();
        loop {
            let Ok(length @ 1..) = from.read(&mut buffer).await else {
                return;
            };
            let open = state.wait_for(|state| match state.link {
                Link::Pass => true,
                Link::LoseAnswers => way == Way::ToServer,
                Link::BlackHole | Link::Refuse => false,
            });
            if open.await.is_err() {
                return;
            }
            packets.take(&buffer[..length], counters);
            if to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = over => {}
        () = pass => {}
    }
}

/// Finds the packets in a stream where each has its length, four bytes, in front.
#[derive(Debug, Default)]
struct Packets {
    header: Vec<u8>,
    left: usize,
}

impl Packets {
    fn take(&mut self, mut bytes: &[u8], counters: &Counters) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            if let [a, b, c, d] = self.header[..] {
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                counters.count(self.left);
                self.header.clear();
            }
        }
    }
}
