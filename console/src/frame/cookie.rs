//! Cookies of the pages: read from a request, written for a browser that must not show them to scripts or other sites.

use axum::http::{HeaderMap, HeaderValue, header};

/// Names, without the prefix they get on TLS.
pub const SESSION: &str = "session";
pub const VISIT: &str = "visit";
pub const SAID: &str = "said";
pub const LANGUAGE: &str = "language";
pub const THEME: &str = "theme";

/// How cookies are named and bound.
#[derive(Clone, Copy, Debug)]
pub struct Jar {
    /// Whether browsers reach the pages over TLS.
    pub on_tls: bool,
}

impl Jar {
    fn name(self, name: &str) -> String {
        if self.on_tls { format!("__Host-{name}") } else { name.to_owned() }
    }

    /// The value of a cookie. Values are plain words; anything else is as good as absent.
    pub fn get(self, headers: &HeaderMap, name: &str) -> Option<String> {
        let wanted = self.name(name);
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let (_, value) = lines
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| *key == wanted)?;
        let is_plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (is_plain && !value.is_empty() && value.len() <= 128).then(|| value.to_owned())
    }

    /// Sets a cookie for so many seconds; without: as long as the browser is open.
    pub fn set(self, headers: &mut HeaderMap, name: &str, value: &str, seconds: Option<u64>) {
        let age = seconds.map(|s| format!("; Max-Age={s}")).unwrap_or_default();
        let secure = if self.on_tls { "; Secure" } else { "" };
        let line = format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{age}{secure}", self.name(name));
        if let Ok(line) = HeaderValue::from_str(&line) {
            headers.append(header::SET_COOKIE, line);
        }
    }

    /// Makes the browser forget a cookie.
    pub fn clear(self, headers: &mut HeaderMap, name: &str) {
        self.set(headers, name, "", Some(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_go_both_ways() {
        let jar = Jar { on_tls: true };
        let mut answer = HeaderMap::new();
        jar.set(&mut answer, SESSION, "abc", Some(5));
        let line = answer[header::SET_COOKIE].to_str().unwrap();
        assert_eq!(line, "__Host-session=abc; Path=/; HttpOnly; SameSite=Strict; Max-Age=5; Secure");
        let mut request = HeaderMap::new();
        request.insert(header::COOKIE, "theme=dark; __Host-session=abc; x".parse().unwrap());
        assert_eq!(jar.get(&request, SESSION).as_deref(), Some("abc"));
        assert_eq!(jar.get(&request, THEME), None, "not one that this site made over TLS");
        assert_eq!(Jar { on_tls: false }.get(&request, THEME).as_deref(), Some("dark"));
        request.insert(header::COOKIE, "theme=\"<b>\"".parse().unwrap());
        assert_eq!(Jar { on_tls: false }.get(&request, THEME), None);
    }
}
