//! PROXY protocol version 2: decides whose address a connection has when a proxy of ours forwards it.
//! Asked only for peers in the configured networks; from everyone else the same bytes just fail TLS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first twelve bytes of every header (section 2.2 of the PROXY protocol's specification).
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Largest address and extension block accepted, in bytes; proxies send well under 1 KiB.
pub const BLOCK_BYTES_MAX: usize = 2_048;

const FIXED_BYTES: usize = 16;

/// What a forwarding peer's first bytes amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// More bytes are needed.
    NeedMore,
    /// The header is whole.
    Done {
        /// The client as the proxy saw it; `None` for the proxy's own connections (health checks), whose
        /// address is the socket's.
        client: Option<SocketAddr>,
        /// Bytes after the header.
        leftover: Vec<u8>,
    },
}

/// Why a connection from a configured network is cut without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The first bytes are no PROXY protocol version 2 header.
    #[error("no PROXY protocol v2 header from a configured proxy network")]
    Missing,
    /// The version is not 2 or the command is not LOCAL or PROXY.
    #[error("unknown version or command in the PROXY header")]
    Command,
    /// Not a TCP or UDP address of IPv4 or IPv6.
    #[error("address family of the PROXY header is not supported")]
    Family,
    /// Over [`BLOCK_BYTES_MAX`].
    #[error("PROXY header too long")]
    TooLong,
    /// The block is shorter than its addresses, or an extension runs past its end.
    #[error("PROXY header is malformed")]
    Malformed,
}

/// Reads the one header of a connection.
#[derive(Debug, Default)]
pub struct ProxyReader {
    bytes: Vec<u8>,
}

impl ProxyReader {
    /// Takes the next bytes of the connection. Call until the answer is not [`Proxy::NeedMore`].
    ///
    /// # Errors
    /// The header is missing, not version 2, or malformed; the first wrong byte is enough.
    pub fn push(&mut self, input: &[u8]) -> Result<Proxy, ProxyError> {
        self.bytes.extend_from_slice(input);
        let known = self.bytes.len().min(SIGNATURE.len());
        if self.bytes[..known] != SIGNATURE[..known] {
            return Err(ProxyError::Missing);
        }
        let Some((fixed, rest)) = self.bytes.split_first_chunk::<FIXED_BYTES>() else {
            return Ok(Proxy::NeedMore);
        };
        let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        if length > BLOCK_BYTES_MAX {
            return Err(ProxyError::TooLong);
        }
        let is_forwarded = match fixed[12] {
            0x20 => false,
            0x21 => true,
            _ => return Err(ProxyError::Command),
        };
        let Some((block, leftover)) = rest.split_at_checked(length) else { return Ok(Proxy::NeedMore) };
        let client = if is_forwarded { client(fixed[13], block)? } else { None };
        let leftover = leftover.to_vec();
        self.bytes = Vec::new();
        Ok(Proxy::Done { client, leftover })
    }
}

/// The source address of a forwarded connection; `None` when the proxy says it does not know.
fn client(family: u8, block: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let (address, port, extensions): (IpAddr, _, _) = match family {
        0x00 => return Ok(None),
        0x11 | 0x12 => {
            let (addresses, rest) = block.split_first_chunk::<12>().ok_or(ProxyError::Malformed)?;
            let [a, b, c, d, .., high, low, _, _] = *addresses;
            (Ipv4Addr::new(a, b, c, d).into(), [high, low], rest)
        }
        0x21 | 0x22 => {
            let (addresses, rest) = block.split_first_chunk::<36>().ok_or(ProxyError::Malformed)?;
            let source: [u8; 16] = addresses[..16].try_into().expect("sixteen bytes");
            (Ipv6Addr::from(source).to_canonical(), [addresses[32], addresses[33]], rest)
        }
        _ => return Err(ProxyError::Family),
    };
    check_extensions(extensions)?;
    Ok(Some(SocketAddr::new(address, u16::from_be_bytes(port))))
}

/// Extensions (type, length, value) are skipped, but have to fill the block exactly.
fn check_extensions(mut bytes: &[u8]) -> Result<(), ProxyError> {
    while let Some((head, rest)) = bytes.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        bytes = rest.get(length..).ok_or(ProxyError::Malformed)?;
    }
    if bytes.is_empty() { Ok(()) } else { Err(ProxyError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = (block.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, block].concat()
    }

    fn v4_block(extensions: &[u8]) -> Vec<u8> {
        [&[203, 0, 113, 9, 10, 0, 0, 1, 0xc3, 0x50, 0x20, 0xfb][..], extensions].concat()
    }

    fn read(bytes: &[u8]) -> Result<Proxy, ProxyError> {
        let whole = ProxyReader::default().push(bytes);
        let mut reader = ProxyReader::default();
        let mut bytewise = Ok(Proxy::NeedMore);
        let mut used = 0;
        while bytewise == Ok(Proxy::NeedMore) && used < bytes.len() {
            bytewise = reader.push(&bytes[used..=used]);
            used += 1;
        }
        if let Ok(Proxy::Done { leftover, .. }) = &mut bytewise {
            leftover.extend_from_slice(&bytes[used..]);
        }
        assert_eq!(whole, bytewise);
        whole
    }

    fn done(client: Option<&str>, leftover: &[u8]) -> Result<Proxy, ProxyError> {
        let client = client.map(|address| address.parse().unwrap());
        Ok(Proxy::Done { client, leftover: leftover.to_vec() })
    }

    #[test]
    fn forwarded_addresses_of_both_families() {
        let tls = b"\x16\x03\x01";
        let v4 = [header(0x21, 0x11, &v4_block(&[])), tls.to_vec()].concat();
        assert_eq!(read(&v4), done(Some("203.0.113.9:50000"), tls));
        let mut block = [0; 36];
        block[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        block[32..34].copy_from_slice(&443u16.to_be_bytes());
        assert_eq!(read(&header(0x21, 0x21, &block)), done(Some("[2001:db8::7]:443"), b""));
        block[..16].copy_from_slice(&"::ffff:192.0.2.1".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(read(&header(0x21, 0x21, &block)), done(Some("192.0.2.1:443"), b""));
    }

    #[test]
    fn local_and_unknown_connections_keep_the_sockets_address() {
        assert_eq!(read(&header(0x20, 0x00, &[])), done(None, b""));
        assert_eq!(read(&header(0x20, 0x11, &v4_block(&[]))), done(None, b""));
        assert_eq!(read(&header(0x21, 0x00, &[1, 2, 3])), done(None, b""));
    }

    #[test]
    fn extensions_are_skipped_and_bounded() {
        let authority = b"\x02\x00\x05relay\x04\x00\x00";
        assert_eq!(read(&header(0x21, 0x11, &v4_block(authority))), done(Some("203.0.113.9:50000"), b""));
        for cut in [b"\x02".as_slice(), b"\x02\x00", b"\x02\x00\x05rela", b"\x02\xff\xffx"] {
            assert_eq!(read(&header(0x21, 0x11, &v4_block(cut))), Err(ProxyError::Malformed));
        }
        let long = vec![0; BLOCK_BYTES_MAX + 1];
        assert_eq!(read(&header(0x21, 0x11, &long)), Err(ProxyError::TooLong));
    }

    #[test]
    fn everything_else_is_refused_at_its_first_wrong_byte() {
        for bytes in [&b"\x16"[..], b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"\r\n\r\nX", b"GET /"] {
            assert_eq!(read(bytes), Err(ProxyError::Missing), "{bytes:x?}");
        }
        for command in [0x10, 0x11, 0x22, 0x31] {
            assert_eq!(read(&header(command, 0x11, &v4_block(&[]))), Err(ProxyError::Command));
        }
        for family in [0x10, 0x13, 0x31, 0x32, 0xff] {
            assert_eq!(read(&header(0x21, family, &[0; 216])), Err(ProxyError::Family));
        }
        assert_eq!(read(&header(0x21, 0x11, &[0; 11])), Err(ProxyError::Malformed));
        assert_eq!(read(&header(0x21, 0x21, &[0; 35])), Err(ProxyError::Malformed));
    }

    #[test]
    fn mutated_headers_never_panic_and_hold_little() {
        use crate::transport::seeded::Random;
        let mut refused = 0;
        for seed in 0..3_000 {
            let mut random = Random(seed);
            let mut bytes = header(0x21, 0x11, &v4_block(b"\x02\x00\x05relay\x04\x00\x00"));
            random.mutate(&mut bytes);
            refused += usize::from(read(&bytes).is_err());
        }
        assert!(refused > 1_000, "mutations reach the refusals: {refused}");
    }
}
