//! UDP sockets with room for bursts: a packet that the kernel drops for want of room is measured as a slow server.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Room for packets that wait, in bytes, each way.
const BUFFER_BYTES: usize = 8 << 20;

/// Opens a socket at `address` with large buffers: beyond the system's bound where that is allowed, else up to it.
///
/// # Errors
/// The address can't be had.
pub fn open(address: SocketAddr) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
        .context("a UDP socket; raise the limit of open files")?;
    if force(&socket, libc::SO_RCVBUFFORCE).is_err() {
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
    }
    if force(&socket, libc::SO_SNDBUFFORCE).is_err() {
        socket.set_send_buffer_size(BUFFER_BYTES)?;
    }
    socket.bind(&SockAddr::from(address)).with_context(|| format!("UDP address {address}"))?;
    Ok(socket.into())
}

fn force(socket: &Socket, option: libc::c_int) -> io::Result<()> {
    let value = BUFFER_BYTES as libc::c_int;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer and size describe a local integer that outlives the call.
    let answer = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), size)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
