//! Second factors by time-based codes (RFC 6238): six digits, thirty seconds, one step of tolerance either way.

use qrcodegen::{QrCode, QrCodeEcc};
use totp_rs::{Builder, Secret};

/// Bytes of a secret (the output size of HMAC-SHA-1, RFC 4226 §4).
pub const SECRET_BYTES: usize = 20;
/// Seconds of one step.
const STEP_S: u64 = 30;
/// Who the codes are for, as an authenticator shows it.
const ISSUER: &str = "Secure Messenger";

/// A fresh secret.
pub fn new_secret() -> Vec<u8> {
    let mut bytes = vec![0u8; SECRET_BYTES];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// The time step whose code this is, if it is one of now.
pub fn matching_step(secret: &[u8], code: &str, now_s: u64) -> Option<u64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let secret = Secret::new(secret.into());
    let totp =
        Builder::new().with_digits(6).with_skew(1).with_step_duration(STEP_S).with_secret(secret).build();
    totp.ok()?.check(&code, now_s)
}

/// The secret as it is typed: Base32 in groups of four.
pub fn typed(secret: &[u8]) -> String {
    let text = Secret::new(secret.into()).to_base32();
    let groups: Vec<&str> =
        text.as_bytes().chunks(4).filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(" ")
}

/// What an authenticator scans.
pub fn link(secret: &[u8], account: &str) -> String {
    let secret = Secret::new(secret.into()).to_base32();
    let (issuer, account) = (escaped(ISSUER), escaped(account));
    format!(
        "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period=30"
    )
}

/// A QR code as the path of an SVG picture, and the length of its sides.
pub fn picture(text: &str) -> Option<(String, i32)> {
    const MARGIN: i32 = 4;
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            path += &format!("M{} {}h1v1h-1z", x + MARGIN, y + MARGIN);
        }
    }
    Some((path, code.size() + 2 * MARGIN))
}

fn escaped(text: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if kept(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, cut to six digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = b"12345678901234567890";
        for (at, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            assert_eq!(matching_step(secret, code, at), Some(at / 30));
        }
        assert_eq!(matching_step(secret, "287 082", 59 + 30), Some(1), "a step late is well enough");
        assert_eq!(matching_step(secret, "287082", 59 + 90), None);
        for bad in ["", "28708", "2870822", "28708a", "２８７０８２"] {
            assert_eq!(matching_step(secret, bad, 59), None, "{bad:?}");
        }
    }

    #[test]
    fn the_link_holds_the_secret_and_fits_a_picture() {
        let secret = new_secret();
        let link = link(&secret, "zoë@home.example");
        assert!(
            link.starts_with("otpauth://totp/Secure%20Messenger:zo%C3%AB%40home.example?secret="),
            "{link}"
        );
        assert!(link.contains(&typed(&secret).replace(' ', "")));
        let (path, side) = picture(&link).expect("it is short enough");
        assert!(path.starts_with("M4 4h1") && side > 30);
    }
}
