//! The certificate of a private server, signed by an authority made for it alone.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// In PEM.
pub struct Certificate {
    pub authority: String,
    pub chain: String,
    pub key: String,
}

/// For `localhost` and 127.0.0.1.
pub fn make() -> Certificate {
    const FITS: &str = "the names are good";
    let mut authority = CertificateParams::new(Vec::new()).expect(FITS);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key can be made");
    let signed = authority.self_signed(&authority_key).expect(FITS);
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key can be made");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let own = CertificateParams::new(names).expect(FITS).signed_by(&key, &issuer).expect(FITS);
    Certificate { authority: signed.pem(), chain: own.pem(), key: key.serialize_pem() }
}
