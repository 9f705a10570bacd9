//! Rows on their way into a table, in the binary form of COPY: nothing is written as text and read again.

use std::pin::Pin;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::{Client, CopyInSink, Error};

/// What is sent at once, in bytes.
const CHUNK: usize = 256 * 1024;
/// From the unix epoch to PostgreSQL's, in milliseconds.
const EPOCH_MS: i64 = 946_684_800_000;

/// A table that is being filled.
pub struct Rows {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    buffer: BytesMut,
    columns: i16,
}

impl Rows {
    /// Begins with these columns, separated by commas.
    pub async fn begin(client: &Client, table: &str, columns: &str) -> Result<Self, Error> {
        let statement = format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)");
        let sink = client.copy_in(statement.as_str()).await?;
        let mut buffer = BytesMut::with_capacity(2 * CHUNK);
        buffer.put_slice(b"PGCOPY\n\xff\r\n\0");
        buffer.put_slice(&[0; 8]);
        let columns = columns.split(',').count() as i16;
        Ok(Self { sink: Box::pin(sink), buffer, columns })
    }

    /// The next row; its fields follow in order.
    pub async fn row(&mut self) -> Result<&mut Self, Error> {
        if self.buffer.len() >= CHUNK {
            self.sink.send(self.buffer.split().freeze()).await?;
            self.buffer.reserve(2 * CHUNK);
        }
        self.buffer.put_i16(self.columns);
        Ok(self)
    }

    /// Ends it.
    pub async fn end(mut self) -> Result<(), Error> {
        self.buffer.put_i16(-1);
        self.sink.send(self.buffer.split().freeze()).await?;
        self.sink.as_mut().finish().await.map(drop)
    }

    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.put_i32(bytes.len() as i32);
        self.buffer.put_slice(bytes);
        self
    }

    pub fn null(&mut self) -> &mut Self {
        self.buffer.put_i32(-1);
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        self.field(text.as_bytes())
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.field(bytes)
    }

    pub fn id(&mut self, id: [u8; 16]) -> &mut Self {
        self.field(&id)
    }

    pub fn big(&mut self, number: u64) -> &mut Self {
        self.field(&(number as i64).to_be_bytes())
    }

    pub fn int(&mut self, number: u32) -> &mut Self {
        self.field(&(number as i32).to_be_bytes())
    }

    pub fn small(&mut self, number: u16) -> &mut Self {
        self.field(&(number as i16).to_be_bytes())
    }

    /// Unix milliseconds.
    pub fn time(&mut self, at_ms: u64) -> &mut Self {
        self.field(&((at_ms as i64 - EPOCH_MS) * 1000).to_be_bytes())
    }

    pub fn time_opt(&mut self, at_ms: Option<u64>) -> &mut Self {
        match at_ms {
            Some(at) => self.time(at),
            None => self.null(),
        }
    }

    pub fn id_opt(&mut self, id: Option<[u8; 16]>) -> &mut Self {
        match id {
            Some(id) => self.id(id),
            None => self.null(),
        }
    }

    /// A single IPv4 address.
    pub fn address(&mut self, address: [u8; 4]) -> &mut Self {
        const IPV4: u8 = 2;
        let [a, b, c, d] = address;
        self.field(&[IPV4, 32, 0, 4, a, b, c, d])
    }
}
