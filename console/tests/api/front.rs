//! The front door: malformed input, sizes, headers, origins, documentation, shutdown.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Api, fresh_folder};

const LOGIN: &str = "/api/v1/auth/login";

#[test]
fn malformed_bodies_end_in_one_shape() {
    let api = Api::start();
    let send = |body: &str, kind: &str| {
        api.send("POST", LOGIN, None, Some(body.to_owned()), &[("content-type", kind)])
    };
    for body in
        ["", "{", "[]", "null", "\u{0}", r#"{"email":1,"password":"x","device":"y"}"#, r#"{"email":"a@b.c"}"#]
    {
        send(body, "application/json").refused(400, "MALFORMED");
    }
    send(r#"{"email":"a@b.c","password":"x","device":"y","admin":true}"#, "application/json")
        .refused(400, "MALFORMED");
    send("email=a", "application/x-www-form-urlencoded").refused(415, "NOT_JSON");
    let huge = format!(r#"{{"email":"{}"}}"#, "x".repeat(70_000));
    send(&huge, "application/json").refused(413, "TOO_LARGE");
    let deep = "[".repeat(60_000);
    send(&deep, "application/json").refused(400, "MALFORMED");
}

#[test]
fn garbage_on_the_socket_is_answered_or_cut_and_the_api_lives_on() {
    let api = Api::start();
    let inputs: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /api/v1/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer \xff\xfe\r\nconnection: close\r\n\r\n",
        b"GET /api/v1/conversations/%00%ff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ];
    for input in inputs {
        let mut stream = TcpStream::connect(api.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(input).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(64 * 1024));
    let mut stream = TcpStream::connect(api.address()).unwrap();
    let _ = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 2"));
    api.get("/health", None).ok();
}

#[test]
fn answers_carry_what_keeps_browsers_in_check() {
    let api = Api::start();
    let answer = api.get("/api/v1/me", None);
    let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
    assert!(header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("www-authenticate"), "Bearer");
    assert_eq!(header("x-request-id").len(), 16);
    assert!(answer.headers.get("server").is_none());
    assert!(answer.headers.get("set-cookie").is_none());
}

#[test]
fn only_listed_origins_may_read_answers() {
    let api = Api::with(&[("CORS_ORIGINS", "https://chat.example.org")]);
    let preflight = |origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        api.send("OPTIONS", LOGIN, None, None, &headers)
    };
    let allowed = preflight("https://chat.example.org");
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://chat.example.org");
    assert!(allowed.headers["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
    for foreign in ["https://evil.example.org", "null", "https://chat.example.org.evil.example"] {
        assert!(preflight(foreign).headers.get("access-control-allow-origin").is_none(), "{foreign}");
        let read = api.send("GET", "/health", None, None, &[("origin", foreign)]);
        assert!(read.headers.get("access-control-allow-origin").is_none());
    }
    let read = api.send("GET", "/health", None, None, &[("origin", "https://chat.example.org")]);
    assert_eq!(read.headers["access-control-allow-origin"], "https://chat.example.org");
    assert!(read.headers.get("access-control-allow-credentials").is_none(), "no cookies are in use");
}

#[test]
fn the_documentation_names_every_route_and_fetches_nothing() {
    let api = Api::start();
    let accounts = api.get("/api/docs/openapi.json", None).ok();
    let administration = api.get("/admin/openapi.json", None).ok();
    assert_eq!((&accounts["openapi"], &administration["openapi"]), (&"3.1.0".into(), &"3.1.0".into()));
    let page = api.get("/api/docs", None);
    for rule in console::api::rules::<crate::kept::Store>() {
        let document = if rule.path.starts_with("/admin/") { &administration } else { &accounts };
        let operation = &document["paths"][rule.path][rule.method.as_str().to_lowercase()];
        assert_eq!(operation["summary"], rule.summary, "{} {}", rule.method, rule.path);
        assert!(page.text.contains(rule.path), "{}", rule.path);
    }
    for code in console::front::problem::Code::ALL {
        assert!(page.text.contains(code.name()), "{}", code.name());
    }
    for document in [accounts, administration] {
        let text = document.to_string();
        for name in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let schemas = &document["components"]["schemas"];
            assert!(schemas.get(name).is_some(), "{name} is referred to but not there");
        }
    }
    for elsewhere in ["http://", "https://", "<script", "@import", "url("] {
        assert!(!page.text.contains(elsewhere), "{elsewhere} in the page");
    }
}

#[test]
fn shutdown_answers_what_is_under_way_and_frees_the_port() {
    let mut api = Api::start();
    let alice = api.user("alice");
    let address = api.address();
    let mut idle = TcpStream::connect(address).unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut first = [0u8; 12];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    api.get("/api/v1/me", Some(&alice)).ok();
    api.stop();
    std::net::TcpListener::bind(address).expect("the port is free again");
}

#[test]
fn metrics_are_on_the_internal_listener_only() {
    let api = Api::with(&[("INTERNAL_ADDRESS", "127.0.0.1:0")]);
    api.get("/health", None).ok();
    api.get("/metrics", None).refused(404, "NO_ROUTE");
    let internal = format!("http://{}/metrics", api.internal.expect("it was asked for"));
    let text = ureq::get(&internal).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(text.contains(r#"http_requests_total{method="GET",route="/health",status="200"} 1"#), "{text}");
    assert!(text.contains("http_request_duration_seconds_bucket"));
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let api = Api::start();
    let data = fresh_folder();
    let mut config = console::ConsoleConfig::embedded(&data);
    config.address = api.address();
    let refused = api.run(console::serve(config, api.store.clone(), std::future::pending())).err().unwrap();
    let line = refused.to_string();
    assert!(line.contains(&api.address().port().to_string()) && !line.contains('\n'), "{line}");
    std::fs::remove_dir_all(data).unwrap();
}

#[test]
fn the_signing_key_is_made_once_and_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let data = fresh_folder();
    let lookup = |name: &str| (name == "DATA_DIR").then(|| data.display().to_string());
    let config = console::ConsoleConfig::from_env(false, lookup).unwrap();
    let (first, _) = console::access::signing::load(&config.signing).unwrap();
    let key = data.join("keys/signing.pem");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let (second, jwks) = console::access::signing::load(&config.signing).unwrap();
    assert_eq!(first.signing_kid, second.signing_kid);
    // Rotation: the old public half stays published, the new key signs.
    let retired = data.join("keys/retired");
    std::fs::create_dir_all(&retired).unwrap();
    let public = std::process::Command::new("openssl")
        .args(["rsa", "-pubout", "-in"])
        .arg(&key)
        .arg("-out")
        .arg(retired.join("2027-01.pem"))
        .output()
        .unwrap();
    assert!(public.status.success());
    std::fs::copy(crate::support::shared_key(), &key).unwrap();
    let (rotated, both) = console::access::signing::load(&config.signing).unwrap();
    assert_ne!(rotated.signing_kid, first.signing_kid);
    assert!(both.contains(&first.signing_kid) && both.contains(&rotated.signing_kid) && jwks != both);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = console::access::signing::load(&config.signing).err().unwrap().to_string();
    assert!(exposed.contains("chmod 600"), "{exposed}");
    std::fs::remove_dir_all(data).unwrap();
}
