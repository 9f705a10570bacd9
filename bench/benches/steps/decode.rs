//! Decode: bytes of one client frame to its meaning.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use schema_wire::Encoding;
use schema_wire::codec::{decode_client, encode_client};
use schema_wire::v1::{ClientFrame, Signal, client_frame::Body};

use crate::world::{conversation, publish};

/// A publish of two sizes, and a signal, which is never stored.
pub fn decode(criterion: &mut Criterion) {
    let body = Bytes::from(vec![7; 128]);
    let signal = Signal { conversation: conversation().to_bytes(), body, ..Default::default() };
    let cases: [(&str, Body); 3] = [
        ("publish_128_B", publish(1, Bytes::from(vec![7; 128])).into()),
        ("publish_8_KiB", publish(1, Bytes::from(vec![7; 8192])).into()),
        ("signal_128_B", signal.into()),
    ];
    let mut group = criterion.benchmark_group("decode");
    for (name, body) in cases {
        let frame = ClientFrame { request: 7, body: Some(body), ..Default::default() };
        let bytes = encode_client(&frame, Encoding::Proto);
        assert!(decode_client(&bytes, Encoding::Proto).is_ok(), "{name}");
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| decode_client(black_box(&bytes), Encoding::Proto));
        });
    }
    group.finish();
}
