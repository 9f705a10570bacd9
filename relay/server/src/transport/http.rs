//! The HTTP/1.1 that both listeners share: collects a request head within bounds, byte by byte if need be,
//! and writes short responses that never repeat a byte of the request.

/// Longest request line in bytes, without its line end.
pub const REQUEST_LINE_BYTES_MAX: usize = 2_048;

/// Largest request head in bytes: request line, header fields and the empty line.
pub const HEAD_BYTES_MAX: usize = 16 * 1_024;

/// Most header fields of one request.
pub const HEADER_FIELDS_MAX: usize = 64;

/// A status this server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The three-digit code.
    pub code: u16,
    /// The reason phrase.
    pub phrase: &'static str,
}

macro_rules! statuses {
    ($($name:ident $code:literal $phrase:literal),+ $(,)?) => {
        impl Status {
            $(#[doc = $phrase] pub const $name: Self = Self { code: $code, phrase: $phrase };)+
        }
    };
}

statuses! {
    OK 200 "OK",
    ACCEPTED 202 "Accepted",
    BAD_REQUEST 400 "Bad Request",
    UNAUTHORIZED 401 "Unauthorized",
    FORBIDDEN 403 "Forbidden",
    NOT_FOUND 404 "Not Found",
    METHOD_NOT_ALLOWED 405 "Method Not Allowed",
    REQUEST_TIMEOUT 408 "Request Timeout",
    URI_TOO_LONG 414 "URI Too Long",
    UPGRADE_REQUIRED 426 "Upgrade Required",
    TOO_LARGE 431 "Request Header Fields Too Large",
    UNAVAILABLE 503 "Service Unavailable",
    VERSION 505 "HTTP Version Not Supported",
}

/// How far a request head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// More bytes are needed.
    NeedMore,
    /// The head ends after this many bytes of [`HeadBuffer::bytes`].
    Complete(usize),
    /// No request of ours can begin like this.
    Refused(Status),
}

/// The bytes of one request head as they come in, and whatever followed it.
#[derive(Debug, Default)]
pub struct HeadBuffer {
    bytes: Vec<u8>,
    scanned: usize,
    line_end: Option<usize>,
}

impl HeadBuffer {
    /// Adds bytes and looks at the new ones only, so that slow senders cost no more than fast ones.
    pub fn push(&mut self, input: &[u8]) -> Head {
        self.bytes.extend_from_slice(input);
        while self.scanned < self.bytes.len() {
            let at = self.scanned;
            self.scanned += 1;
            if let Err(status) = self.check(at) {
                return Head::Refused(status);
            }
            if self.bytes[..self.scanned].ends_with(b"\r\n\r\n") {
                return Head::Complete(self.scanned);
            }
        }
        Head::NeedMore
    }

    /// All bytes pushed and not taken.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Drops the head's `length` bytes, hands out what followed, and is empty again.
    pub fn take_rest(&mut self, length: usize) -> Vec<u8> {
        let rest = self.bytes.split_off(length);
        *self = Self::default();
        rest
    }

    /// Drops the head's `length` bytes and keeps what followed as the beginning of the next head.
    pub fn drop_head(&mut self, length: usize) {
        let bytes = self.take_rest(length);
        self.bytes = bytes;
    }

    fn check(&mut self, at: usize) -> Result<(), Status> {
        if at >= HEAD_BYTES_MAX {
            return Err(Status::TOO_LARGE);
        }
        let byte = self.bytes[at];
        let is_bare_line_feed = byte == b'\n' && (at == 0 || self.bytes[at - 1] != b'\r');
        if byte == 0 || is_bare_line_feed {
            return Err(Status::BAD_REQUEST);
        }
        if self.line_end.is_some() {
            return Ok(());
        }
        match byte {
            b'\n' => self.line_end = Some(at),
            b'\r' => {}
            _ if at >= REQUEST_LINE_BYTES_MAX => return Err(Status::URI_TOO_LONG),
            // Whatever is not text is cut at once instead of at the deadline: a TLS record, binary frames.
            _ if !(b' '..=b'~').contains(&byte) => return Err(Status::BAD_REQUEST),
            _ => {}
        }
        Ok(())
    }
}

/// A parsed request head; every slice points into the request's bytes.
pub type Request<'head, 'fields> = httparse::Request<'fields, 'head>;

/// Parses a whole head and hands it on, or says which status answers it.
///
/// # Errors
/// 400 malformed, 431 too many fields, 505 not HTTP/1.1.
pub fn parse<T>(head: &[u8], then: impl FnOnce(&Request<'_, '_>) -> T) -> Result<T, Status> {
    let mut fields = [httparse::EMPTY_HEADER; HEADER_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Status::BAD_REQUEST),
        Err(httparse::Error::TooManyHeaders) => return Err(Status::TOO_LARGE),
        Err(httparse::Error::Version) => return Err(Status::VERSION),
        Err(_) => return Err(Status::BAD_REQUEST),
    }
    if request.version != Some(1) {
        return Err(Status::VERSION);
    }
    Ok(then(&request))
}

/// The values of a field in order, by its case-insensitive name.
pub fn values<'a>(request: &'a Request<'_, '_>, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    request.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// The only value of a field: `Ok(None)` when it is absent.
///
/// # Errors
/// 400 when the field comes more than once.
pub fn single<'a>(request: &'a Request<'_, '_>, name: &'a str) -> Result<Option<&'a [u8]>, Status> {
    let mut all = values(request, name);
    match (all.next(), all.next()) {
        (value, None) => Ok(value.map(<[u8]>::trim_ascii)),
        _ => Err(Status::BAD_REQUEST),
    }
}

/// Whether a comma-separated list field names `token`, in any case.
pub fn lists(request: &Request<'_, '_>, name: &str, token: &str) -> bool {
    values(request, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// The path of a request target in origin or absolute form, without its query (RFC 9112 section 3.2).
pub fn path<'a>(request: &Request<'a, '_>) -> &'a str {
    let target = request.path.unwrap_or_default();
    let origin = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    };
    origin.split('?').next().unwrap_or_default()
}

/// What follows the first question mark of a request target.
pub fn query<'a>(request: &Request<'a, '_>) -> &'a str {
    request.path.unwrap_or_default().split_once('?').map_or("", |(_, query)| query)
}

/// A response with a body; `fields` are whole lines, each with its line end.
pub fn response(
    status: Status,
    content_type: &str,
    fields: &str,
    body: &[u8],
    is_head_request: bool,
) -> Vec<u8> {
    let Status { code, phrase } = status;
    let length = body.len();
    let mut bytes = format!(
        "HTTP/1.1 {code} {phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n{fields}\r\n"
    )
    .into_bytes();
    if !is_head_request {
        bytes.extend_from_slice(body);
    }
    bytes
}
