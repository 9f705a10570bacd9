//! The PROXY protocol header: any cut of the bytes gets the same answer, and no more is held than a header has.

use relay_server::transport::proxy::{BLOCK_BYTES_MAX, Proxy, ProxyError, ProxyReader, SIGNATURE};

use crate::random::cuts;
use crate::trace;

pub const WORDS: &[&[u8]] = &[
    &SIGNATURE,
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x9c\x40\x20\xfb",
    b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00",
    b"\x21\x21\x00\x24",
    b"\x21\x12\x00\x0c",
    b"\x21\x31\x00\xd8",
    b"\x04\x00\x00",
    b"\x20\x00\x05\x01\0\0\0\0",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 8443\r\n",
    b"\x08\x00",
    b"\x08\x01",
    b"\xff\xff",
    b"\x16\x03\x01",
];

pub fn run(data: &[u8]) {
    let mut answers = cuts(data).into_iter().map(|pieces| push(&pieces));
    let whole = answers.next().expect("one cut is no cut");
    for answer in answers {
        assert_eq!(answer, whole, "any cut gets the same answer");
    }
    match whole {
        Ok(Proxy::NeedMore) => {
            assert!(data.len() < 16 + BLOCK_BYTES_MAX, "no header is waited for beyond its bound");
            trace::note_size("need more", data.len());
        }
        Ok(Proxy::Done { client, leftover }) => {
            assert!(data.starts_with(&SIGNATURE), "only a header says whose connection it is");
            assert!(data.ends_with(&leftover), "what follows the header is handed on as it is");
            trace::note("client", client.map_or(2, |address| u64::from(address.is_ipv4())));
            trace::note_size("leftover", leftover.len());
            trace::note_size("header", data.len() - leftover.len());
        }
        Err(error) => trace::note("error", error as u64),
    }
}

fn push(pieces: &[&[u8]]) -> Result<Proxy, ProxyError> {
    let mut reader = ProxyReader::default();
    for (at, piece) in pieces.iter().enumerate() {
        match reader.push(piece)? {
            Proxy::NeedMore => {}
            Proxy::Done { client, leftover } => {
                let leftover = [leftover, pieces[at + 1..].concat()].concat();
                return Ok(Proxy::Done { client, leftover });
            }
        }
    }
    Ok(Proxy::NeedMore)
}
