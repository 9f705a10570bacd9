//! A TLS handshake with the relay, as its clients make one: whoever takes connections and cannot serve them is found out.
//! Whether its certificate is to be trusted, and for how long, is another check's.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

/// PROXY protocol v2: a connection of the proxy's own.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Connects and makes one; `proxied` when the relay expects a proxy from here.
pub fn shake(at: SocketAddr, proxied: bool, deadline: Duration) -> Result<(), String> {
    let mut stream = TcpStream::connect_timeout(&at, deadline).map_err(|why| why.to_string())?;
    let set = stream.set_read_timeout(Some(deadline)).and_then(|()| stream.set_write_timeout(Some(deadline)));
    set.map_err(|why| why.to_string())?;
    if proxied {
        stream.write_all(LOCAL).map_err(|why| why.to_string())?;
    }
    let mut session = session(at).map_err(|why| why.to_string())?;
    let began = Instant::now();
    while session.is_handshaking() {
        if began.elapsed() > deadline {
            return Err("the TLS handshake does not end".to_owned());
        }
        session.complete_io(&mut stream).map_err(|why| match why.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer to the TLS handshake".to_owned(),
            _ => format!("the TLS handshake failed: {why}"),
        })?;
    }
    session.send_close_notify();
    // It is there; how it says goodbye is not asked.
    let _ = session.complete_io(&mut stream);
    Ok(())
}

fn session(at: SocketAddr) -> Result<ClientConnection, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::IpAddress(at.ip().into()))
}

/// Takes whichever certificate whose key the other side has.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn whoever_only_takes_connections_is_no_relay() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let said = shake(silent.local_addr().unwrap(), false, Duration::from_millis(200)).unwrap_err();
        assert!(said.contains("no answer to the TLS handshake"), "{said}");
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = other.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = other.accept().unwrap();
            stream.write_all(b"220 mail.example.org\r\n").unwrap();
            std::thread::sleep(Duration::from_millis(300));
        });
        let said = shake(at, true, Duration::from_secs(5)).unwrap_err();
        assert!(said.contains("the TLS handshake failed"), "{said}");
        answering.join().unwrap();
    }
}
