//! Decides how a datagram's control messages are written and read: segment size, ECN and local address
//! (`cmsg(3)`, `udp(7)`, `ip(7)`, `ipv6(7)`), on plain bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::socket::{UDP_GRO, UDP_SEGMENT, canonical_ip};

const ALIGNMENT: usize = align_of::<libc::cmsghdr>();
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
const ECN_MASK: u8 = 0b11;

/// Room for every control message that a received datagram may carry.
pub(super) const RECEIVE_BYTES: usize = 128;
/// Room for every control message that a sent datagram may carry.
pub(super) const SEND_BYTES: usize = 96;

/// A buffer aligned as the kernel's control messages want it.
#[repr(C, align(8))]
pub(super) struct SendBuffer {
    bytes: [u8; SEND_BYTES],
    len: usize,
}

impl SendBuffer {
    pub(super) fn new() -> Self {
        Self { bytes: [0; SEND_BYTES], len: 0 }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push_segment(&mut self, segment: u16) {
        self.push(libc::SOL_UDP, UDP_SEGMENT, &segment.to_ne_bytes());
    }

    pub(super) fn push_ecn(&mut self, ecn: u8, to_v4: bool) {
        let value = libc::c_int::from(ecn & ECN_MASK).to_ne_bytes();
        if to_v4 {
            self.push(libc::IPPROTO_IP, libc::IP_TOS, &value);
        } else {
            self.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &value);
        }
    }

    pub(super) fn push_source(&mut self, source: IpAddr) {
        match source {
            IpAddr::V4(address) => {
                // in_pktinfo: interface index, ipi_spec_dst (the source to use), ipi_addr.
                let mut info = [0; size_of::<libc::in_pktinfo>()];
                info[4..8].copy_from_slice(&address.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            IpAddr::V6(address) => {
                let mut info = [0; size_of::<libc::in6_pktinfo>()];
                info[..16].copy_from_slice(&address.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    fn push(&mut self, level: libc::c_int, kind: libc::c_int, value: &[u8]) {
        let message = HEADER_BYTES + value.len();
        let space = message.next_multiple_of(ALIGNMENT);
        assert!(self.len + space <= SEND_BYTES, "one message of each kind fits");
        let target = &mut self.bytes[self.len..self.len + space];
        target[..8].copy_from_slice(&message.to_ne_bytes());
        target[8..12].copy_from_slice(&level.to_ne_bytes());
        target[12..16].copy_from_slice(&kind.to_ne_bytes());
        target[16..message].copy_from_slice(value);
        self.len += space;
    }
}

/// What the kernel says about a received datagram.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) ecn: u8,
    pub(super) segment: Option<usize>,
    pub(super) to_ip: Option<IpAddr>,
}

/// Reads what it knows and skips what it does not; malformed control data ends the reading.
pub(super) fn decode(mut control: &[u8]) -> Received {
    let mut received = Received::default();
    while let Some((level, kind, value, rest)) = next_message(control) {
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                received.ecn = value.first().map_or(0, |tos| tos & ECN_MASK);
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => received.ecn = int(value) as u8 & ECN_MASK,
            (libc::SOL_UDP, UDP_GRO) => {
                received.segment = usize::try_from(int(value)).ok().filter(|size| *size > 0);
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let address = value.get(8..12).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
                received.to_ip = address.map(|octets| Ipv4Addr::from(octets).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let address = value.get(..16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
                received.to_ip = address.map(|octets| canonical_ip(Ipv6Addr::from(octets).into()));
            }
            _ => {}
        }
        control = rest;
    }
    received
}

fn next_message(control: &[u8]) -> Option<(libc::c_int, libc::c_int, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(control.get(..8)?.try_into().ok()?);
    let level = int(control.get(8..12)?);
    let kind = int(control.get(12..16)?);
    let value = control.get(HEADER_BYTES..len)?;
    let rest = control.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    Some((level, kind, value, rest))
}

fn int(value: &[u8]) -> libc::c_int {
    value.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, libc::c_int::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_fits_and_keeps_its_order() {
        let mut buffer = SendBuffer::new();
        buffer.push_segment(1200);
        buffer.push_ecn(0b10, false);
        buffer.push_source(IpAddr::V6(Ipv6Addr::LOCALHOST));
        let written = &buffer.bytes[..buffer.len()];
        let (level, kind, value, rest) = next_message(written).unwrap();
        assert_eq!((level, kind, value), (libc::SOL_UDP, UDP_SEGMENT, &1200u16.to_ne_bytes()[..]));
        let read = decode(rest);
        assert_eq!(read.ecn, 0b10);
        assert_eq!(read.to_ip, Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    }

    #[test]
    fn malformed_control_data_is_not_followed() {
        assert_eq!(decode(&[]), Received::default());
        assert_eq!(decode(&[0xff; 40]), Received::default());
        let mut zero_length = [0u8; 64];
        assert_eq!(decode(&zero_length), Received::default());
        zero_length[0] = 200;
        assert_eq!(decode(&zero_length), Received::default());
    }
}
