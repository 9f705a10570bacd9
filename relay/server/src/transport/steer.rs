//! Which shard's UDP socket gets a packet: a program in the kernel reads the shard's number from the
//! connection id, so that a client that moved, or whose port changed, still reaches its shard.
//!
//! Packets that name no shard (a first Initial carries an id the client made up) are spread by the
//! kernel's hash of the addresses, which keeps one client's packets together until it has our id.

use super::quic::{CONNECTION_ID_BYTES, SHARD_OFFSET};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

/// Short header: flags, then the destination id (RFC 9000 section 17.3).
const SHORT_ID_OFFSET: u32 = 1;
/// Long header: flags, version, then the length of the destination id and the id (section 17.2).
const LONG_ID_LENGTH_OFFSET: u32 = 5;
/// The bit of the first byte that tells them apart.
const LONG_HEADER_BIT: u32 = 0x80;
/// Shorter datagrams hold no whole header of ours.
const HEADER_BYTES_MIN: u32 = 1 + CONNECTION_ID_BYTES as u32;
/// Names no socket of any group: the kernel then falls back to its hash.
const NO_SHARD: u32 = u32::MAX;

/// Attaches the program to a group of UDP sockets that share one address by SO_REUSEPORT.
///
/// `sockets` is the whole group, one per shard, in the order in which they were bound: the kernel counts
/// them so. Closing one of them reorders the group, so they are closed together.
pub fn attach(sockets: &[OwnedFd]) -> io::Result<()> {
    let Some(any) = sockets.first() else { return Ok(()) };
    let shards = u8::try_from(sockets.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let mut code = program(shards);
    let filter = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    let length = size_of::<libc::sock_fprog>() as libc::socklen_t;
    let (option, value) = (libc::SO_ATTACH_REUSEPORT_CBPF, (&raw const filter).cast());
    // SAFETY: the pointer and the length describe a filter that lives past the call; the kernel copies it.
    let result = unsafe { libc::setsockopt(any.as_raw_fd(), libc::SOL_SOCKET, option, value, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// One instruction with its two jump distances.
fn op(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

fn program(shards: u8) -> [libc::sock_filter; 12] {
    use libc::{BPF_ABS, BPF_B, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LEN};
    const LOAD_LENGTH: u32 = BPF_LD | libc::BPF_W | BPF_LEN;
    const LOAD_BYTE: u32 = BPF_LD | BPF_B | BPF_ABS;
    const RETURN_LOADED: u32 = libc::BPF_RET | 0x10;
    let id_bytes = CONNECTION_ID_BYTES as u32;
    let shard = SHARD_OFFSET as u32;
    // The kernel shows the program the UDP payload. A load beyond its end would choose socket 0.
    [
        op(LOAD_LENGTH, 0, 0, 0),
        op(BPF_JMP | BPF_JGE | BPF_K, HEADER_BYTES_MIN, 0, 9),
        op(LOAD_BYTE, 0, 0, 0),
        op(BPF_JMP | BPF_JSET | BPF_K, LONG_HEADER_BIT, 2, 0),
        op(LOAD_BYTE, SHORT_ID_OFFSET + shard, 0, 0),
        op(BPF_JMP | BPF_JA, 3, 0, 0),
        op(LOAD_BYTE, LONG_ID_LENGTH_OFFSET, 0, 0),
        op(BPF_JMP | BPF_JEQ | BPF_K, id_bytes, 0, 3),
        op(LOAD_BYTE, LONG_ID_LENGTH_OFFSET + 1 + shard, 0, 0),
        op(BPF_JMP | BPF_JGE | BPF_K, shards.into(), 1, 0),
        op(RETURN_LOADED, 0, 0, 0),
        op(libc::BPF_RET | BPF_K, NO_SHARD, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::socket::open_udp;
    use std::net::{SocketAddr, UdpSocket};

    const SHARDS: u8 = 4;

    /// Flags, for long headers version and length, then the id, then padding.
    fn packet(long: bool, id: &[u8]) -> Vec<u8> {
        let mut out = if long { vec![0xc0, 0, 0, 0, 1, id.len() as u8] } else { vec![0x40] };
        out.extend_from_slice(id);
        out.extend_from_slice(&[0; 20]);
        out
    }

    fn id(shard: u8, number: u16) -> [u8; CONNECTION_ID_BYTES] {
        let mut id = [0xa5; CONNECTION_ID_BYTES];
        id[SHARD_OFFSET] = shard;
        id[10..].copy_from_slice(&number.to_be_bytes());
        id
    }

    fn group() -> (Vec<UdpSocket>, SocketAddr) {
        let sockets = open_udp("127.0.0.1:0".parse().unwrap(), SHARDS.into()).unwrap();
        attach(&sockets).unwrap();
        let sockets: Vec<UdpSocket> = sockets.into_iter().map(UdpSocket::from).collect();
        for socket in &sockets {
            socket.set_nonblocking(true).unwrap();
        }
        let address = sockets[0].local_addr().unwrap();
        (sockets, address)
    }

    /// Loopback delivers within the send, so what was sent is there.
    fn received(socket: &UdpSocket) -> Vec<Vec<u8>> {
        let mut buf = [0; 2_048];
        std::iter::from_fn(|| socket.recv(&mut buf).ok().map(|len| buf[..len].to_vec())).collect()
    }

    #[test]
    fn four_thousand_packets_from_changing_addresses_reach_the_shard_they_name() {
        let (sockets, address) = group();
        let mut counted = [0u32; SHARDS as usize];
        for round in 0..100u16 {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            for number in 0..40u16 {
                let shard = (number % u16::from(SHARDS)) as u8;
                let sent = packet(number % 3 == 0, &id(shard, round * 40 + number));
                client.send_to(&sent, address).unwrap();
            }
            for (shard, socket) in sockets.iter().enumerate() {
                for packet in received(socket) {
                    let at = if packet[0] & 0x80 == 0 { 1 } else { 6 };
                    assert_eq!(usize::from(packet[at]), shard);
                    counted[shard] += 1;
                }
            }
        }
        assert_eq!(counted, [1_000; SHARDS as usize]);
    }

    #[test]
    fn packets_that_name_no_shard_stay_together_per_client_and_spread_over_clients() {
        let (sockets, address) = group();
        let foreign =
            [packet(true, &[1; 8]), packet(true, &[1; 20]), packet(false, &id(200, 1)), vec![0x40, 1]];
        let mut used = std::collections::HashSet::new();
        for _ in 0..64 {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            for packet in &foreign {
                client.send_to(packet, address).unwrap();
            }
            let counts: Vec<usize> = sockets.iter().map(|socket| received(socket).len()).collect();
            assert_eq!(counts.iter().sum::<usize>(), foreign.len());
            let shard = counts.iter().position(|&count| count == foreign.len());
            used.insert(shard.expect("one socket got all packets of one client"));
        }
        assert!(used.len() > 1, "64 clients hashed to one socket");
    }
}
