//! Decides the life of a UDP socket on the ring: one multishot receive with source, local address, ECN and GRO
//! segment size, and a bounded number of sends (GSO) in flight.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{cqueue, opcode, types};
use socket2::SockAddr;

use super::cmsg::{self, SendBuffer};
use super::slab::Slab;
use super::slots::SlotKey;
use super::token::{self, Operation};
use super::{Completion, Ring, RingError, SendRefusal, UdpKey};

/// Segments that the kernel takes in one GSO send (UDP_MAX_SEGMENTS of Linux 4.18 and later).
pub const SEGMENTS_MAX: usize = 64;
/// Payload bytes of one send, all segments together.
pub const SEND_BYTES_MAX: usize = 65_507;

/// The largest GRO batch, its source address, control messages and the header before them, in whole pages.
pub(super) const RECEIVE_BUFFER_BYTES: usize = 17 * 4096;
const NAME_BYTES: libc::socklen_t = size_of::<libc::sockaddr_in6>() as libc::socklen_t;

/// Datagrams that one peer sent; the kernel may hand over many at once (GRO).
pub struct Datagram<'a> {
    pub udp: UdpKey,
    pub from: SocketAddr,
    /// The local address that it was sent to; answers should leave from there.
    pub to_ip: Option<IpAddr>,
    /// The two ECN bits of the IP header (RFC 3168).
    pub ecn: u8,
    /// Bytes per datagram; only the last may be shorter.
    pub segment: usize,
    pub bytes: &'a mut [u8],
}

/// One or more datagrams to one peer.
pub struct OutgoingDatagrams {
    pub to: SocketAddr,
    /// The local address to send from, as [`Datagram::to_ip`] told it.
    pub from_ip: Option<IpAddr>,
    /// The two ECN bits of the IP header (RFC 3168).
    pub ecn: u8,
    /// Bytes per datagram if the slab holds several (GSO); only the last may be shorter.
    pub segment: Option<u16>,
    pub payload: Slab,
}

impl OutgoingDatagrams {
    fn is_oversized(&self) -> bool {
        let len = self.payload.len();
        let segments = self.segment.map_or(1, |size| len.div_ceil(usize::from(size).max(1)));
        len > SEND_BYTES_MAX || segments > SEGMENTS_MAX || self.segment == Some(0)
    }
}

pub(super) struct UdpSocket {
    socket: OwnedFd,
    v6: bool,
    header: Box<libc::msghdr>,
    receiving: bool,
    sends: usize,
    cancels: u8,
    closing: bool,
}

/// A send in flight with everything the kernel reads; boxed, because the parts point to each other.
pub(super) struct Outbound {
    udp: SlotKey,
    header: libc::msghdr,
    part: libc::iovec,
    to: SockAddr,
    control: SendBuffer,
    payload: Option<Slab>,
    segmented: bool,
}

impl Outbound {
    fn new(udp: SlotKey) -> Box<Self> {
        Box::new(Self {
            udp,
            header: empty_header(),
            part: libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 },
            to: SockAddr::from(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            control: SendBuffer::new(),
            payload: None,
            segmented: false,
        })
    }

    /// Points the header to the parts of this box, which does not move until the send has completed.
    fn fill(&mut self, udp: SlotKey, v6: bool, mut out: OutgoingDatagrams) {
        let to = super::socket::canonical(out.to);
        self.udp = udp;
        self.to = SockAddr::from(if v6 { mapped(to) } else { to });
        self.control.clear();
        self.segmented = out.segment.is_some_and(|size| usize::from(size) < out.payload.len());
        if let Some(segment) = out.segment.filter(|_| self.segmented) {
            self.control.push_segment(segment);
        }
        if out.ecn != 0 {
            self.control.push_ecn(out.ecn, to.is_ipv4());
        }
        let from_ip = out.from_ip.map(super::socket::canonical_ip);
        if let Some(source) = from_ip.filter(|ip| ip.is_ipv4() == to.is_ipv4() && !ip.is_unspecified()) {
            self.control.push_source(source);
        }
        self.part = libc::iovec { iov_base: out.payload.as_mut_ptr().cast(), iov_len: out.payload.len() };
        self.payload = Some(out.payload);
        self.header = empty_header();
        self.header.msg_name = self.to.as_ptr().cast_mut().cast();
        self.header.msg_namelen = self.to.len();
        self.header.msg_iov = &mut self.part;
        self.header.msg_iovlen = 1;
        if self.control.len() > 0 {
            self.header.msg_control = self.control.as_mut_ptr().cast();
            self.header.msg_controllen = self.control.len();
        }
    }
}

impl Ring {
    /// Takes a bound UDP socket over and starts to receive on it.
    pub fn add_udp(&mut self, socket: OwnedFd) -> Result<UdpKey, RingError> {
        let local =
            super::socket::local_address(&socket).map_err(RingError::kernel("tell a socket's address"))?;
        let mut header = Box::new(empty_header());
        header.msg_namelen = NAME_BYTES;
        header.msg_controllen = cmsg::RECEIVE_BYTES;
        let state = UdpSocket {
            socket,
            v6: local.is_ipv6(),
            header,
            receiving: false,
            sends: 0,
            cancels: 0,
            closing: false,
        };
        let key = self.udp_sockets.insert(state).map_err(|_| super::too_many("carry more UDP sockets"))?;
        self.arm_receive_datagrams(key);
        Ok(UdpKey(key))
    }

    /// Sends datagrams; several sends may be in flight, at most `datagram_sends_max` per ring.
    pub fn send_datagrams(&mut self, udp: UdpKey, out: OutgoingDatagrams) -> Result<(), (SendRefusal, Slab)> {
        let Some(state) = self.udp_sockets.get_mut(udp.0).filter(|it| !it.closing) else {
            return Err((SendRefusal::Gone, out.payload));
        };
        if out.is_oversized() {
            return Err((SendRefusal::Oversized, out.payload));
        }
        let spare = self.spare_sends.pop().unwrap_or_else(|| Outbound::new(udp.0));
        let key = match self.datagram_sends.insert(spare) {
            Ok(key) => key,
            Err(spare) => {
                self.spare_sends.push(spare);
                return Err((SendRefusal::Full, out.payload));
            }
        };
        state.sends += 1;
        let send = self.datagram_sends.get_mut(key).expect("it has just been inserted");
        send.fill(udp.0, state.v6, out);
        let entry = opcode::SendMsg::new(types::Fd(state.socket.as_raw_fd()), &send.header)
            .flags(libc::MSG_NOSIGNAL as u32)
            .build();
        self.push(entry.user_data(token::encode(Operation::SendDatagrams, key)));
        Ok(())
    }

    /// Stops receiving; the socket closes when the sends in flight are done.
    pub fn close_udp(&mut self, udp: UdpKey) {
        let Some(state) = self.udp_sockets.get_mut(udp.0).filter(|it| !it.closing) else { return };
        state.closing = true;
        if state.receiving {
            state.cancels += 1;
            let cancel = opcode::AsyncCancel::new(token::encode(Operation::ReceiveDatagrams, udp.0));
            self.push(cancel.build().user_data(token::encode(Operation::CancelDatagrams, udp.0)));
        }
        self.settle_udp(udp.0);
    }

    pub(super) fn arm_receive_datagrams(&mut self, key: SlotKey) {
        let Some(udp) = self.udp_sockets.get_mut(key).filter(|it| !it.receiving && !it.closing) else {
            return;
        };
        udp.receiving = true;
        let header: *const libc::msghdr = &*udp.header;
        let socket = types::Fd(udp.socket.as_raw_fd());
        let receive = opcode::RecvMsgMulti::new(socket, header, self.datagram_buffers.group()).build();
        self.push(receive.user_data(token::encode(Operation::ReceiveDatagrams, key)));
    }

    pub(super) fn on_receive_datagrams(
        &mut self,
        key: SlotKey,
        entry: &cqueue::Entry,
        sink: &mut impl FnMut(Completion<'_>),
    ) {
        let udp = self.udp_sockets.get_mut(key).expect("a socket outlives its operations");
        udp.receiving = cqueue::more(entry.flags());
        let buffer = cqueue::buffer_select(entry.flags());
        let mut rest = false;
        match (entry.result(), buffer) {
            (len, Some(id)) if len >= 0 => {
                let filled = self.datagram_buffers.filled(id, len as usize);
                match read_datagram(UdpKey(key), &udp.header, filled) {
                    Some(datagram) if !udp.closing => sink(Completion::Datagram(datagram)),
                    Some(_) => {}
                    None => self.counters.datagrams_dropped += 1,
                }
            }
            (error, _) if error == -libc::ENOBUFS => self.counters.receives_starved += 1,
            (error, _) => rest = !matches!(-error, libc::ECANCELED | libc::EINTR | libc::EAGAIN),
        }
        if let Some(id) = buffer {
            self.datagram_buffers.give_back(id);
        }
        if rest {
            self.retry_later();
        } else {
            self.arm_receive_datagrams(key);
        }
        self.settle_udp(key);
    }

    pub(super) fn on_send_datagrams(
        &mut self,
        key: SlotKey,
        result: i32,
        sink: &mut impl FnMut(Completion<'_>),
    ) {
        let mut send = self.datagram_sends.remove(key).expect("a send in flight has its slot");
        let (udp, segmented) = (send.udp, send.segmented);
        send.payload = None;
        self.spare_sends.push(send);
        let socket = self.udp_sockets.get_mut(udp).expect("a socket outlives its sends");
        socket.sends -= 1;
        if !socket.closing {
            let error = (result < 0).then_some(-result);
            sink(Completion::DatagramSent { udp: UdpKey(udp), error, segmented });
        }
        self.settle_udp(udp);
    }

    pub(super) fn on_datagrams_cancelled(&mut self, key: SlotKey) {
        let udp = self.udp_sockets.get_mut(key).expect("a socket outlives its operations");
        udp.cancels -= 1;
        self.settle_udp(key);
    }

    fn settle_udp(&mut self, key: SlotKey) {
        let done = |it: &UdpSocket| it.closing && !it.receiving && it.sends == 0 && it.cancels == 0;
        if self.udp_sockets.get(key).is_some_and(done) {
            self.udp_sockets.remove(key);
        }
    }
}

fn empty_header() -> libc::msghdr {
    // SAFETY: all-zero is a valid msghdr: null pointers with zero lengths.
    unsafe { std::mem::zeroed() }
}

/// None when the datagram was cut short or its source can't be read.
fn read_datagram<'a>(udp: UdpKey, header: &libc::msghdr, filled: &'a mut [u8]) -> Option<Datagram<'a>> {
    let (from, received, payload_len) = {
        let message = types::RecvMsgOut::parse(filled, header).ok()?;
        if message.is_payload_truncated() || message.is_name_data_truncated() {
            return None;
        }
        (
            read_address(message.name_data())?,
            cmsg::decode(message.control_data()),
            message.payload_data().len(),
        )
    };
    let payload_start = filled.len() - payload_len;
    let bytes = &mut filled[payload_start..];
    let segment = received.segment.unwrap_or(payload_len).min(payload_len);
    Some(Datagram { udp, from, to_ip: received.to_ip, ecn: received.ecn, segment, bytes })
}

/// Reads a sockaddr_in or sockaddr_in6.
fn read_address(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(name.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(name.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET => {
            let octets: [u8; 4] = name.get(4..8)?.try_into().ok()?;
            Some((octets, port).into())
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = name.get(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(name.get(24..28)?.try_into().ok()?);
            let address = std::net::SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope);
            Some(super::socket::canonical(address.into()))
        }
        _ => None,
    }
}

/// A dual-stack socket knows an IPv4 peer by its mapped address.
fn mapped(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        SocketAddr::V6(_) => to,
    }
}
