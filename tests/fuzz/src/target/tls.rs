//! A TLS session between a rustls client and the relay, its bytes cut, changed, dropped and made up by a script:
//! what comes out is what the client said, memory is bounded, and a fault is the end.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use relay_server::transport::tls::{
    ALPN_WEBSOCKET, Certificates, Records, TlsFault, TlsSession, ensure_local_certificate, websocket_config,
};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, version};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::random::digest;
use crate::script::Script;
use crate::trace;

pub const WORDS: &[&[u8]] = &[
    b"\x06\x05\x16\x03\x01\x00\x00",
    b"\x06\x07\x15\x03\x03\x00\x02\x01\x00",
    b"\x06\x07\x15\x03\x03\x00\x02\x02\x28",
    b"\x06\x06\x14\x03\x03\x00\x01\x01",
    b"\x06\x05\x17\x03\x03\x40\x01",
    b"\x06\x05\x17\x03\x03\x00\x00",
    b"\x06\x05\x18\x03\x03\x00\x03",
    b"\x00\x05",
    b"\x01\x00",
    b"\x02\x00\x05\x01",
    b"\x05\x10",
    b"\x07\x00",
    b"\x08\x00",
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    b"GET / HTTP/1.1\r\n",
    b"\x0a",
    b"\x0b\x10",
    b"\x00\x00\x00\x00",
];

/// Operations of one script; more are not looked at.
const OPERATIONS_MAX: usize = 48;
/// Key updates of an honest client.
const REFRESHES_MAX: u32 = 16;
/// Twice the ciphertext that may wait, as a vector doubles.
const PARTIAL_BYTES_MAX: usize = 2 * 96 * 1_024;

struct Site {
    server: Arc<ServerConfig>,
    clients: [Arc<ClientConfig>; 2],
}

struct Link {
    client: ClientConnection,
    server: TlsSession,
    /// Ciphertext of the client on its way.
    under_way: Vec<u8>,
    said: Vec<u8>,
    heard: Vec<u8>,
    answered: Vec<u8>,
    heard_back: Vec<u8>,
    /// The server has reported a fault.
    failed: bool,
    /// The client gave up.
    client_lost: bool,
    client_closed: bool,
    /// Bytes of the client were changed, dropped or made up: nobody need understand anybody any more.
    tampered: bool,
    cut: usize,
    refreshes: u32,
}

/// Inputs: a byte for version and cut, then operations.
pub fn run(data: &[u8]) {
    let mut script = Script(data);
    let choice = script.byte();
    let site = site();
    let name = "localhost".try_into().expect("a host name");
    let config = site.clients[usize::from(choice & 1)].clone();
    let mut link = Link {
        client: ClientConnection::new(config, name).expect("the configuration is good"),
        server: TlsSession::new(site.server.clone()).expect("the configuration is good"),
        under_way: Vec::new(),
        said: Vec::new(),
        heard: Vec::new(),
        answered: Vec::new(),
        heard_back: Vec::new(),
        failed: false,
        client_lost: false,
        client_closed: false,
        tampered: false,
        refreshes: 0,
        cut: [usize::MAX, 1, 7, 300][usize::from(choice >> 1 & 3)],
    };
    for _ in 0..OPERATIONS_MAX {
        if script.is_over() {
            break;
        }
        link.operate(&mut script);
        link.check();
    }
}

impl Link {
    fn operate(&mut self, script: &mut Script<'_>) {
        let what = script.byte() % 12;
        self.tampered |= matches!(what, 2 | 3 | 6);
        trace::note("operation", u64::from(what));
        match what {
            0 => self.say(&vec![b's'; script.below(40_000)]),
            1 => self.deliver(usize::MAX),
            2 => {
                let (at, mask) = (script.below(65_536), script.byte());
                self.collect();
                if let Some(byte) = at.checked_rem(self.under_way.len()).map(|at| &mut self.under_way[at]) {
                    *byte ^= mask;
                }
            }
            3 => {
                self.collect();
                let keep = script.below(65_536).min(self.under_way.len());
                self.under_way.truncate(keep);
            }
            4 => self.say(script.bytes()),
            5 => self.deliver(script.below(65_536)),
            6 => self.inject(script.bytes()),
            7 => self.answer(script.below(40_000), 1 + script.below(4)),
            8 => self.close(),
            // More than 32 in a row are an attack by rustls' rule (and not for the relay to say otherwise).
            9 if self.refreshes < REFRESHES_MAX => {
                self.refreshes += 1;
                drop(self.client.refresh_traffic_keys());
            }
            10 => {
                self.client_closed = true;
                // A client that leaves in the middle of its handshake breaks it.
                self.tampered |= self.client.is_handshaking();
                self.client.send_close_notify();
            }
            _ => self.shake(),
        }
    }

    /// Four exchanges complete any handshake that nobody disturbs.
    fn shake(&mut self) {
        (0..4).for_each(|_| self.deliver(usize::MAX));
        trace::note("open", u64::from(self.server.is_open()));
    }

    fn say(&mut self, bytes: &[u8]) {
        let taken = self.client.writer().write(bytes).unwrap_or(0);
        self.said.extend_from_slice(&bytes[..taken]);
        self.collect();
    }

    /// Takes what the client wants to send.
    fn collect(&mut self) {
        while self.client.wants_write() {
            if self.client.write_tls(&mut self.under_way).is_err() {
                return;
            }
        }
    }

    fn deliver(&mut self, bytes_max: usize) {
        self.collect();
        let count = bytes_max.min(self.under_way.len());
        let bytes: Vec<u8> = self.under_way.drain(..count).collect();
        self.feed(bytes);
    }

    fn inject(&mut self, bytes: &[u8]) {
        self.feed(bytes.to_vec());
    }

    fn feed(&mut self, mut bytes: Vec<u8>) {
        let mut outgoing = Vec::new();
        let cut = self.cut.max(bytes.len() / 512 + 1);
        for piece in bytes.chunks_mut(cut) {
            let (before, sent) = (self.heard.len(), outgoing.len());
            let heard = &mut self.heard;
            let read = self.server.read(piece, &mut |plain| heard.extend_from_slice(plain), &mut outgoing);
            if self.failed {
                assert!(matches!(read, Err(TlsFault::NotOpen)), "a fault is the end: {read:?}");
                assert!((self.heard.len(), outgoing.len()) == (before, sent), "nothing follows a fault");
            }
            match read {
                Ok(progress) => {
                    trace::note("read", u64::from(progress.open) | u64::from(progress.peer_closed) << 1)
                }
                Err(fault) => {
                    trace::note("fault", digest(format!("{fault:?}").as_bytes()));
                    assert!(self.tampered || self.failed, "an honest client is understood: {fault:?}");
                    self.failed = true;
                    assert!(!self.server.is_open(), "a failed session is not open");
                }
            }
        }
        self.give_client(&outgoing);
    }

    fn give_client(&mut self, mut bytes: &[u8]) {
        // rustls asserts that no alert follows its own close_notify, so a client that closed hears no nonsense.
        self.client_lost |= self.client_closed && self.tampered;
        while !bytes.is_empty() && !self.client_lost {
            let read = self.client.read_tls(&mut bytes);
            let processed = self.client.process_new_packets();
            assert!(self.tampered || processed.is_ok(), "an honest client understands: {processed:?}");
            self.client_lost = !matches!(read, Ok(1..)) || processed.is_err();
            let mut plain = vec![0; 1 << 15];
            while let Ok(length @ 1..) = self.client.reader().read(&mut plain) {
                self.heard_back.extend_from_slice(&plain[..length]);
            }
        }
    }

    fn answer(&mut self, length: usize, parts: usize) {
        let bytes = vec![b'a'; length];
        let part = length.div_ceil(parts).max(1);
        let mut slab = b"before".to_vec();
        let sealed = self.server.seal(bytes.chunks(part), &mut slab);
        assert!(slab.starts_with(b"before"), "what waits in the slab stays");
        match sealed {
            Ok(()) => {
                assert!(!self.failed, "a failed session seals nothing");
                self.answered.extend_from_slice(&bytes);
                self.give_client(&slab[6..]);
                trace::note_size("sealed", slab.len());
            }
            Err(fault) => trace::note("not sealed", digest(format!("{fault:?}").as_bytes())),
        }
    }

    fn close(&mut self) {
        let mut slab = Vec::new();
        let closed = self.server.close_notify(&mut slab);
        trace::note("close", u64::from(closed.is_ok()) << 1 | u64::from(slab.is_empty()));
        self.give_client(&slab);
        assert!(!self.server.is_open(), "a closed session is not open");
    }

    fn check(&mut self) {
        assert!(self.server.partial_bytes() <= PARTIAL_BYTES_MAX, "what waits is bounded");
        assert!(self.said.starts_with(&self.heard), "what is heard was said, in order");
        assert!(self.answered.starts_with(&self.heard_back), "what is heard back was answered, in order");
        if !self.client_lost && !self.client.is_handshaking() {
            assert_eq!(self.answered.len(), self.heard_back.len(), "an answer arrives whole");
        }
    }
}

fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("fuzz-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now_s = now.expect("the clock is past 1970").as_secs() as i64;
        let local = ensure_local_certificate(&folder, &[], now_s).expect("a certificate can be made");
        let certificates = Certificates::load(local.server).expect("a good certificate");
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(&local.ca).expect("a good certificate");
        roots.add(ca).expect("a good certificate");
        std::fs::remove_dir_all(&folder).ok();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = [&version::TLS13, &version::TLS12].map(|version| {
            let mut config = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[version])
                .expect("the provider has both versions")
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            config.alpn_protocols = vec![ALPN_WEBSOCKET.to_vec()];
            config.resumption = rustls::client::Resumption::disabled();
            Arc::new(config)
        });
        Site {
            server: websocket_config(certificates, Records::Relay).expect("a good configuration"),
            clients,
        }
    })
}
