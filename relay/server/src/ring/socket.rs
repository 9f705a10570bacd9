//! Decides how a node's sockets are opened: one per shard on the same address, shared by SO_REUSEPORT
//! after a check that no other process holds it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

/// Connections that wait for their accept.
const BACKLOG: i32 = 4096;
/// What is asked for; the kernel grants at most net.core.rmem_max and wmem_max.
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What the kernel takes for a connection beyond what is on its way to the peer. Unbounded, a reader that stops holds
/// megabytes of kernel memory, is noticed only once they are full, and finds its goodbye behind them.
const UNSENT_BYTES_MAX: libc::c_int = 128 * 1024;

pub(super) const UDP_SEGMENT: libc::c_int = 103;
pub(super) const UDP_GRO: libc::c_int = 104;
const ON: libc::c_int = 1;

/// Why a listening socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error(
        "{protocol} address {address} is in use by another process; stop that process or choose another port"
    )]
    InUse { protocol: &'static str, address: SocketAddr },
    #[error("{protocol} port {} needs privileges; choose a port from 1024 on or grant CAP_NET_BIND_SERVICE",
            .address.port())]
    Privileged { protocol: &'static str, address: SocketAddr },
    #[error("{protocol} address {address} is not one of this host's")]
    NotLocal { protocol: &'static str, address: SocketAddr },
    #[error("{protocol} socket on {address}: {source}")]
    Other { protocol: &'static str, address: SocketAddr, source: io::Error },
}

/// Opens `shards` listening TCP sockets on one address, in shard order; port 0 takes one free port for all.
/// Accepted connections inherit TCP_NODELAY and the bound of what waits in the kernel.
pub fn open_tcp(address: SocketAddr, shards: usize) -> Result<Vec<OwnedFd>, SocketError> {
    open_all(address, shards, "TCP", probe_tcp, bind_tcp)
}

/// Opens `shards` UDP sockets on one address, in shard order; port 0 takes one free port for all.
/// They deliver GRO batches, the local address and ECN bits with each datagram and never fragment.
pub fn open_udp(address: SocketAddr, shards: usize) -> Result<Vec<OwnedFd>, SocketError> {
    open_all(address, shards, "UDP", probe_udp, bind_udp)
}

/// Where a socket is bound.
pub fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let address = SockRef::from(socket).local_addr()?;
    address.as_socket().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}

/// An IPv4 peer of a dual-stack socket by its IPv4 address, so that limits and bans see one form.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => (v4, v6.port()).into(),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

/// The same for an address without port.
pub fn canonical_ip(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn open_all(
    address: SocketAddr,
    shards: usize,
    protocol: &'static str,
    probe: fn(SocketAddr) -> io::Result<()>,
    bind: fn(SocketAddr) -> io::Result<Socket>,
) -> Result<Vec<OwnedFd>, SocketError> {
    let explain = |source: io::Error| explain(source, protocol, address);
    // With SO_REUSEPORT a second process of the same user would silently share the port; an exclusive bind tells.
    if address.port() != 0 {
        probe(address).map_err(explain)?;
    }
    let mut sockets: Vec<OwnedFd> = Vec::with_capacity(shards);
    for _ in 0..shards {
        let at = match sockets.first() {
            Some(first) => local_address(first).map_err(explain)?,
            None => address,
        };
        sockets.push(bind(at).map_err(explain)?.into());
    }
    Ok(sockets)
}

fn explain(source: io::Error, protocol: &'static str, address: SocketAddr) -> SocketError {
    match source.raw_os_error() {
        Some(libc::EADDRINUSE) => SocketError::InUse { protocol, address },
        Some(libc::EACCES) => SocketError::Privileged { protocol, address },
        Some(libc::EADDRNOTAVAIL) => SocketError::NotLocal { protocol, address },
        _ => SocketError::Other { protocol, address, source },
    }
}

fn probe_tcp(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier run that linger in TIME_WAIT are no reason to refuse; a listener is.
    socket.set_reuse_address(true)?;
    accept_both_families(&socket, address)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(1)
}

fn probe_udp(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    accept_both_families(&socket, address)?;
    socket.bind(&SockAddr::from(address))
}

fn bind_tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)?;
    accept_both_families(&socket, address)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn bind_udp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    accept_both_families(&socket, address)?;
    socket.set_recv_buffer_size(UDP_BUFFER_BYTES)?;
    socket.set_send_buffer_size(UDP_BUFFER_BYTES)?;
    set_option(&socket, libc::SOL_UDP, UDP_GRO, ON)?;
    // A dual-stack socket carries IPv4 as well, so the IPv4 options hold for both families.
    set_option(&socket, libc::IPPROTO_IP, libc::IP_RECVTOS, ON)?;
    set_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
    if address.is_ipv4() {
        set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, ON)?;
    } else {
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, ON)?;
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, ON)?;
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn accept_both_families(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() { socket.set_only_v6(false) } else { Ok(()) }
}

fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer and size describe a local integer that outlives the call.
    let answer =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_one_port_and_a_stranger_is_told() {
        for open in [open_tcp, open_udp] {
            let sockets = open("127.0.0.1:0".parse().unwrap(), 3).unwrap();
            let addresses: Vec<_> = sockets.iter().map(|socket| local_address(socket).unwrap()).collect();
            assert_eq!(addresses.len(), 3);
            assert!(addresses.iter().all(|address| *address == addresses[0] && address.port() != 0));
            let refused = open(addresses[0], 1).unwrap_err();
            assert!(matches!(refused, SocketError::InUse { .. }), "{refused}");
            assert!(refused.to_string().contains("in use by another process"));
        }
    }

    #[test]
    fn an_address_of_another_host_is_named_as_such() {
        let refused = open_tcp("192.0.2.1:0".parse().unwrap(), 1).unwrap_err();
        assert!(matches!(refused, SocketError::NotLocal { .. }), "{refused}");
    }

    #[test]
    fn mapped_addresses_become_plain() {
        assert_eq!(
            canonical("[::ffff:192.0.2.7]:9".parse().unwrap()),
            "192.0.2.7:9".parse::<SocketAddr>().unwrap()
        );
        assert_eq!(canonical("[::1]:9".parse().unwrap()), "[::1]:9".parse::<SocketAddr>().unwrap());
    }
}
