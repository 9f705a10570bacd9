//! Protobuf messages from `schema/wire/proto`, committed so that a build needs no compiler for them.

use anyhow::{Result, anyhow};
use prost::Message;

use crate::run::root;

const FILES: &[&str] = &["relay/v1/shape.proto", "relay/v1/client.proto", "relay/v1/server.proto"];

/// Writes `schema/wire/src/generated`.
pub fn generate() -> Result<()> {
    let wire = root().join("schema/wire");
    let proto = wire.join("proto");
    let set = protox::compile(FILES.iter().map(|f| proto.join(f)), [&proto])?;
    let descriptor = std::env::temp_dir().join(format!("relay-v1-{}.bin", std::process::id()));
    std::fs::write(&descriptor, set.encode_to_vec())?;
    let generated = buffa_build::Config::new()
        .files(FILES)
        .includes(&["proto"])
        .descriptor_set(&descriptor)
        .out_dir(wire.join("src/generated"))
        .generate_json(true)
        .generate_views(false)
        .preserve_unknown_fields(true)
        .use_bytes_type()
        .unbox_oneof()
        .idiomatic_enum_aliases(true)
        .file_per_package(true)
        .include_file("mod.rs")
        .compile();
    std::fs::remove_file(&descriptor)?;
    generated.map_err(|e| anyhow!("{e}"))
}
