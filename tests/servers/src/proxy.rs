//! A TCP proxy between a server and its clients that can cut, stall or swallow what passes: a network that fails, where
//! the kernel has no means to simulate one.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How long a connection to the server may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// Connections at once; more are reset.
const CONNECTIONS_MAX: usize = 1_024;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From clients to the server.
    Requests,
    /// From the server to clients.
    Answers,
}

/// What the network does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Network {
    Whole,
    Cut,
    Stalled(Option<Way>),
    Swallowing,
}

struct State {
    network: Network,
    /// Connections made before the last cut, or that lost bytes, carry an older number.
    epoch: u64,
    made: u64,
    /// Bytes that went each way.
    passed: [u64; 2],
    /// Where everything is reset once, when so many have gone that way.
    resets: Option<(Way, u64)>,
    /// Both ends of each connection, to be woken by a reset.
    open: HashMap<u64, [TcpStream; 2]>,
    stop: bool,
}

impl State {
    fn reset(&mut self) {
        self.epoch += 1;
        self.open.values().flatten().for_each(reset);
    }

    /// Counts what is about to go; how much of it still may.
    fn pass(&mut self, way: Way, bytes: usize) -> usize {
        let passed = &mut self.passed[way as usize];
        let left = match self.resets {
            Some((of, at)) if of == way => usize::try_from(at.saturating_sub(*passed)).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let count = bytes.min(left);
        *passed += count as u64;
        if left <= bytes {
            self.resets = None;
            self.epoch += 1;
        }
        count
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    server: SocketAddr,
}

/// A running proxy.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Before the server at `server`.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let state = State {
            network: Network::Whole,
            epoch: 0,
            made: 0,
            passed: [0; 2],
            resets: None,
            open: HashMap::new(),
            stop: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), server });
        let accepting = shared.clone();
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every connection is reset, and every new one too.
    pub fn cut(&self) {
        self.set(Network::Cut, true);
    }

    /// Nothing moves, nothing is lost: what waits moves on once healed.
    pub fn stall(&self) {
        self.set(Network::Stalled(None), false);
    }

    /// Nothing moves one way.
    pub fn stall_one_way(&self, way: Way) {
        self.set(Network::Stalled(Some(way)), false);
    }

    /// Nothing arrives and nobody is told. Connections that lost bytes are reset once healed.
    pub fn swallow(&self) {
        self.set(Network::Swallowing, false);
    }

    /// The network works again.
    pub fn heal(&self) {
        let lost = self.lock().network == Network::Swallowing;
        self.set(Network::Whole, lost);
    }

    /// Once so many more bytes went that way, every connection is reset; new ones work.
    pub fn reset_after(&self, way: Way, bytes: u64) {
        let mut state = self.lock();
        state.resets = Some((way, state.passed[way as usize] + bytes));
    }

    /// Whether nothing is to be reset any more.
    pub fn has_reset(&self) -> bool {
        self.lock().resets.is_none()
    }

    /// Bytes that went that way so far.
    pub fn passed(&self, way: Way) -> u64 {
        self.lock().passed[way as usize]
    }

    /// Connections at this moment.
    pub fn connections(&self) -> usize {
        self.lock().open.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().expect("no thread of the proxy panics")
    }

    fn set(&self, network: Network, reset: bool) {
        let mut state = self.lock();
        state.network = network;
        if reset {
            state.reset();
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut state = self.lock();
            state.stop = true;
            state.reset();
            self.shared.changed.notify_all();
        }
        // Wakes whoever accepts; when this fails, nobody does.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let state = shared.state.lock().expect("no thread of the proxy panics");
        if state.stop {
            return;
        }
        let Ok(client) = client else { continue };
        if state.network == Network::Cut || state.open.len() >= CONNECTIONS_MAX {
            reset(&client);
            continue;
        }
        let (shared, epoch) = (shared.clone(), state.epoch);
        std::thread::spawn(move || {
            // An end that can't be connected or cloned leaves the client with a reset.
            let _ = join(client, &shared, epoch);
        });
    }
}

/// Carries bytes both ways until either end closes or the network does.
fn join(client: TcpStream, shared: &Arc<Shared>, epoch: u64) -> std::io::Result<()> {
    if !may_pass(shared, epoch, Way::Requests) {
        reset(&client);
        return Ok(());
    }
    let server = TcpStream::connect_timeout(&shared.server, CONNECT).inspect_err(|_| reset(&client))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ends = [client.try_clone()?, server.try_clone()?];
    let (from, to) = (server.try_clone()?, client.try_clone()?);
    let number = {
        let mut state = shared.state.lock().expect("no thread of the proxy panics");
        if state.epoch != epoch {
            ends.iter().for_each(reset);
        }
        state.made += 1;
        let number = state.made;
        state.open.insert(number, ends);
        number
    };
    let answers = shared.clone();
    let back = std::thread::spawn(move || carry(from, to, &answers, epoch, Way::Answers));
    carry(client, server, shared, epoch, Way::Requests);
    // It sees the same network and the same ends.
    let _ = back.join();
    shared.state.lock().expect("no thread of the proxy panics").open.remove(&number);
    Ok(())
}

/// Carries bytes one way.
fn carry(mut from: TcpStream, mut to: TcpStream, shared: &Shared, epoch: u64, way: Way) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        match from.read(&mut bytes) {
            Ok(0) => {
                // A half-closed connection still carries answers; a closed one is closed.
                if may_pass(shared, epoch, way) {
                    let _ = to.shutdown(Shutdown::Write);
                }
                return;
            }
            Ok(n) if may_pass(shared, epoch, way) && pass(&mut to, &bytes[..n], shared, way) => {}
            Ok(_) | Err(_) => {
                reset(&from);
                return reset(&to);
            }
        }
    }
}

/// Hands on what still may; whether that was all of it.
fn pass(to: &mut TcpStream, bytes: &[u8], shared: &Shared, way: Way) -> bool {
    let (count, is_whole) = {
        let mut state = shared.state.lock().expect("no thread of the proxy panics");
        let epoch = state.epoch;
        (state.pass(way, bytes.len()), state.epoch == epoch)
    };
    if to.write_all(&bytes[..count]).is_err() {
        return false;
    }
    if !is_whole {
        // What was handed on arrives before the end does.
        shared.state.lock().expect("no thread of the proxy panics").open.values().flatten().for_each(reset);
        shared.changed.notify_all();
    }
    is_whole
}

/// Waits while nothing may move; false when the connection is to end.
fn may_pass(shared: &Shared, epoch: u64, way: Way) -> bool {
    let state = shared.state.lock().expect("no thread of the proxy panics");
    let waits = |state: &mut State| {
        let held = match state.network {
            Network::Stalled(which) => which.is_none_or(|which| which == way),
            Network::Swallowing => true,
            Network::Whole | Network::Cut => false,
        };
        held && state.epoch == epoch
    };
    let state = shared.changed.wait_while(state, waits).expect("no thread of the proxy panics");
    state.epoch == epoch
}

/// Closes with a reset, as a cut network's end does.
fn reset(stream: &TcpStream) {
    let now = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the descriptor is open, and the option is a linger of the size given.
    unsafe {
        libc::setsockopt(
            std::os::fd::AsRawFd::as_raw_fd(stream),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const now).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        );
    }
    let _ = stream.shutdown(Shutdown::Both);
}
