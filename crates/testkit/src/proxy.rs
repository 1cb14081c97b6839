//! A TCP link with faults, to put between a client and a server on this machine: cut, stalled in
//! either direction, or slow. It runs on a thread of its own, so neither a busy nor a paused
//! runtime of the test changes what it does. It does not look at the bytes.
//!
//! Stalling only the way to the client is how an acknowledgement gets lost: the server has
//! stored the message, and the publisher does not know.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::port::Port;
use crate::wait;

/// A change of the link takes effect within a few milliseconds.
const CHANGE_DEADLINE: Duration = Duration::from_secs(10);

/// How much of one read is passed on as one piece.
const PIECE: usize = 16 * 1024;

/// How many pieces may be on their way in one direction; then the sender is held back, as TCP
/// does when a window is full. It bounds what a slow link holds: 16 MiB a direction.
const PIECES_ON_THE_WAY: usize = 1024;

/// One of the two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What the link does to what goes over it.
#[derive(Debug, Clone, Copy)]
struct Link {
    cut: bool,
    hold_to_server: bool,
    hold_to_client: bool,
    /// For each way, so a round trip takes twice as long.
    delay: Duration,
}

const GOOD: Link =
    Link { cut: false, hold_to_server: false, hold_to_client: false, delay: Duration::ZERO };

impl Link {
    fn holds(&self, direction: Direction) -> bool {
        match direction {
            Direction::ToServer => self.hold_to_server,
            Direction::ToClient => self.hold_to_client,
        }
    }
}

/// What the thread of the proxy tells its owner.
#[derive(Debug, Default)]
struct Counts {
    listening: AtomicBool,
    /// Open at this moment.
    connections: AtomicUsize,
    accepted: AtomicUsize,
    to_server: Traffic,
    to_client: Traffic,
}

#[derive(Debug, Default)]
struct Traffic {
    received: AtomicU64,
    forwarded: AtomicU64,
}

impl Counts {
    fn of(&self, direction: Direction) -> &Traffic {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }
}

/// A link to one port on this machine. Dropping it closes everything that goes through it.
#[derive(Debug)]
pub struct FaultProxy {
    port: Port,
    counts: Arc<Counts>,
    /// The thread ends when this is gone, so it is an option only for the sake of `drop`.
    link: Option<watch::Sender<Link>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// A link without faults to a port of 127.0.0.1. The server there may come and go.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(target_port: u16) -> Self {
        let port = Port::lease();
        let counts = Arc::new(Counts::default());
        let (link, watched) = watch::channel(GOOD);
        let carrier = Carrier {
            listen: (Ipv4Addr::LOCALHOST, port.number()).into(),
            target: (Ipv4Addr::LOCALHOST, target_port).into(),
            counts: Arc::clone(&counts),
            link: watched,
        };
        let thread = std::thread::Builder::new()
            .name("fault-proxy".to_owned())
            .spawn(move || run(carrier))
            .expect("starting the thread of the proxy");
        let proxy = Self { port, counts, link: Some(link), thread: Some(thread) };
        proxy.await_listening(true);
        proxy
    }

    /// The port to connect to instead of the server's.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The address to give to a NATS client instead of the server's.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// Closes every connection and refuses new ones. What was on its way is lost.
    pub fn cut(&self) {
        self.change(|link| link.cut = true);
        self.await_listening(false);
    }

    /// Lets every fault end: connections are accepted, what was stalled is delivered, nothing is
    /// delayed any more.
    pub fn heal(&self) {
        self.change(|link| *link = GOOD);
        self.await_listening(true);
    }

    /// Keeps connections open and accepts new ones, but delivers nothing, in neither direction,
    /// until [`heal`](Self::heal). A [`cut`](Self::cut) loses what is held.
    pub fn stall(&self) {
        self.change(|link| (link.hold_to_server, link.hold_to_client) = (true, true));
    }

    /// [`stall`](Self::stall) for one way only.
    pub fn stall_only(&self, direction: Direction) {
        self.change(|link| match direction {
            Direction::ToServer => link.hold_to_server = true,
            Direction::ToClient => link.hold_to_client = true,
        });
    }

    /// Delivers everything so much later, each way; how much goes through is not limited.
    pub fn delay(&self, delay: Duration) {
        self.change(|link| link.delay = delay);
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// How many connections there have been.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// How many bytes the sender has given to the link, delivered or not.
    #[must_use]
    pub fn received(&self, direction: Direction) -> u64 {
        self.counts.of(direction).received.load(Ordering::SeqCst)
    }

    /// How many bytes have been delivered.
    #[must_use]
    pub fn forwarded(&self, direction: Direction) -> u64 {
        self.counts.of(direction).forwarded.load(Ordering::SeqCst)
    }

    fn change(&self, change: impl FnOnce(&mut Link)) {
        self.link.as_ref().expect("only drop takes it").send_modify(change);
    }

    fn await_listening(&self, wanted: bool) {
        wait::until_blocking("the proxy to change its link", CHANGE_DEADLINE, || {
            let listening = self.counts.listening.load(Ordering::SeqCst);
            if listening == wanted { Ok(()) } else { Err(format!("listening: {listening}")) }
        });
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.link = None;
        if let Some(thread) = self.thread.take() {
            // Should it have panicked, then it has printed why.
            drop(thread.join());
        }
    }
}

/// What the thread needs. An error of its channel means that the owner is gone.
#[derive(Debug, Clone)]
struct Carrier {
    listen: SocketAddr,
    target: SocketAddr,
    counts: Arc<Counts>,
    link: watch::Receiver<Link>,
}

fn run(carrier: Carrier) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let owner_gone = runtime.expect("making the runtime of the proxy").block_on(carrier.serve());
    drop(owner_gone);
}

impl Carrier {
    /// Listens while the link is whole, again and again, until the owner is gone.
    async fn serve(self) -> Result<(), watch::error::RecvError> {
        let mut link = self.link.clone();
        loop {
            let listener =
                TcpListener::bind(self.listen).await.expect("listening on a leased port");
            self.counts.listening.store(true, Ordering::SeqCst);
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    cut = link.wait_for(|link| link.cut) => {
                        drop(cut?);
                        break;
                    }
                    Ok((client, _)) = listener.accept() => {
                        connections.spawn(self.clone().carry(client));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
            drop(listener);
            connections.shutdown().await;
            self.counts.listening.store(false, Ordering::SeqCst);
            drop(link.wait_for(|link| !link.cut).await?);
        }
    }

    /// One connection, until either side ends it.
    async fn carry(self, client: TcpStream) -> io::Result<()> {
        let _open = Open::new(Arc::clone(&self.counts));
        let server = TcpStream::connect(self.target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            ended = self.clone().pump(from_client, to_server, Direction::ToServer) => ended,
            ended = self.clone().pump(from_server, to_client, Direction::ToClient) => ended,
        }
    }

    /// One direction. Reading and writing are apart, so that a delay does not hold up what comes
    /// behind it.
    async fn pump(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        direction: Direction,
    ) -> io::Result<()> {
        let counts = Arc::clone(&self.counts);
        let traffic = counts.of(direction);
        let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_ON_THE_WAY);
        let read = async move {
            loop {
                let mut piece = Vec::with_capacity(PIECE);
                let length = from.read_buf(&mut piece).await?;
                traffic.received.fetch_add(bytes(length), Ordering::SeqCst);
                let arrived = Instant::now();
                if length == 0 || sender.send((arrived, piece)).await.is_err() {
                    return io::Result::Ok(());
                }
            }
        };
        let write = async move {
            while let Some((arrived, piece)) = pieces.recv().await {
                self.until_due(arrived, direction).await.map_err(io::Error::other)?;
                to.write_all(&piece).await?;
                traffic.forwarded.fetch_add(bytes(piece.len()), Ordering::SeqCst);
            }
            Ok(())
        };
        tokio::try_join!(read, write).map(|_| ())
    }

    /// Waits until the link delivers what arrived then, as the link is now and as it changes.
    async fn until_due(
        &mut self,
        arrived: Instant,
        direction: Direction,
    ) -> Result<(), watch::error::RecvError> {
        loop {
            let link = *self.link.borrow_and_update();
            if link.holds(direction) {
                self.link.changed().await?;
                continue;
            }
            let due = arrived + link.delay;
            if Instant::now() >= due {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                changed = self.link.changed() => changed?,
            }
        }
    }
}

/// Counts a connection for as long as it is open, however it ends.
struct Open(Arc<Counts>);

impl Open {
    fn new(counts: Arc<Counts>) -> Self {
        counts.accepted.fetch_add(1, Ordering::SeqCst);
        counts.connections.fetch_add(1, Ordering::SeqCst);
        Self(counts)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).expect("no length is over 64 bits")
}
