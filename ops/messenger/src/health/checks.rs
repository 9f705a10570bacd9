//! The checks themselves. Each has a deadline, changes nothing but the row that is there to be written, and says in its
//! line what to do.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::backup::catalogue;
use console::database::Server;
use schema_store::redis::RedisAddress;
use schema_store::{AccountError, PostgresStore, SqliteStore, Store};
use x509_parser::prelude::{FromDer, Pem, X509Certificate};

use super::{Finding, State, Subject, handshake};
use crate::backup::on_ring;
use crate::backup::settings::PlaceOptions;
use crate::failure::{Code, Failure};

/// How long anything may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// A certificate that ends sooner than this is worth a look.
const DAYS_LEFT_MIN: i64 = 14;
/// The newest sealed moment may be so old.
const BACKUP_SECONDS_MAX: i64 = 600;

/// Runs what needs a runtime.
pub fn wait<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(Failure::other)?.block_on(work))
}

fn found(name: &'static str, outcome: Result<String, String>) -> Finding {
    match outcome {
        Ok(detail) => Finding { name, state: State::Well, detail },
        Err(detail) => Finding { name, state: State::Failed, detail },
    }
}

fn unused(name: &'static str, detail: &str) -> Finding {
    Finding { name, state: State::Unused, detail: detail.to_owned() }
}

/// The embedded database takes writes.
pub fn embedded(file: &Path) -> Finding {
    let shown = file.display();
    if !file.is_file() {
        return found(
            "database",
            Err(format!("{shown}: not there; start `messenger up`, or name the data folder")),
        );
    }
    let known = schema_store::sqlite::schema_version();
    let outcome = match schema_store::sqlite::schema_of(file) {
        Err(why) => Err(why.to_string()),
        // Opening it would migrate it.
        Ok(schema) if schema != known => Err(format!("{shown}: schema {schema}, this program has {known}")),
        Ok(_) => SqliteStore::open(file).map_err(|why| why.to_string()).and_then(|store| {
            let ready = wait(async { store.check().await });
            let ready = ready.map_err(|why| why.message)?;
            ready
                .map(|()| format!("{shown}: takes writes"))
                .map_err(|why| AccountError::Fault(why).to_string())
        }),
    };
    found("database", outcome)
}

/// The server takes writes.
pub async fn server(server: &Server) -> Finding {
    let open = async {
        let store =
            PostgresStore::open(server.url(), server.options()).await.map_err(|why| why.to_string())?;
        store.ready().await.map_err(|why| why.to_string())?;
        Ok("PostgreSQL takes writes".to_owned())
    };
    found("database", within(open).await)
}

async fn within(work: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

/// Redis lets us in and is new enough.
pub async fn redis(subject: &Subject) -> Finding {
    let Some(url) = &subject.relay.redis_url else {
        return unused("redis", "REDIS_URL is not set: one node alone");
    };
    let look = async {
        let address = RedisAddress::parse(url.expose()).map_err(|why| why.to_string())?;
        address.check().await.map_err(|why| why.to_string())?;
        Ok("answers".to_owned())
    };
    found("redis", within(look).await)
}

/// The place of backups is reached, and what is sealed there is recent.
pub fn backups(place: &PlaceOptions) -> Finding {
    let looked = on_ring(async {
        let opened = place.open()?;
        let late =
            || Failure::new(Code::Place, format!("{opened}: no answer within {} s", DEADLINE.as_secs()));
        let latest = tokio::time::timeout(DEADLINE, catalogue::latest(&opened)).await.map_err(|_| late())?;
        latest.map(|latest| (opened.to_string(), latest)).map_err(Failure::backup)
    });
    let (shown, latest) = match looked {
        Ok(looked) => looked,
        Err(why) => return found("backups", Err(why.message)),
    };
    let Some(latest) = latest else {
        let detail = format!("{shown}: no backup yet; make one with `messenger backup run`");
        return Finding { name: "backups", state: State::Warning, detail };
    };
    let safe = latest.followed().map_or(latest.finished_at, |log| log.at.max(latest.finished_at));
    let age = jiff::Timestamp::now().as_second() - safe.as_second();
    let state = if age <= BACKUP_SECONDS_MAX { State::Well } else { State::Warning };
    Finding { name: "backups", state, detail: format!("{shown}: {}, {age} s old", latest.name) }
}

/// The relay says on its internal listener that it is ready, where that is known, and does a TLS handshake with who connects.
pub fn relay(subject: &Subject) -> Finding {
    let ready = || match subject.internal_is_known {
        true => get(&format!("http://{}/ready", loopback(subject.relay.internal_listen))).map(drop),
        false => Ok(()),
    };
    found("relay", ready().and_then(|()| shakes_hands(subject)))
}

fn shakes_hands(subject: &Subject) -> Result<String, String> {
    let first = subject.relay.listen.first().ok_or("RELAY_LISTEN names no address")?;
    let at = loopback(*first);
    let proxied = subject.relay.proxy_networks.contains(at.ip());
    let shaken = handshake::shake(at, proxied, DEADLINE);
    shaken
        .map(|()| format!("{at} takes TLS connections"))
        .map_err(|why| format!("{at}: {why}; start `messenger up`"))
}

/// The account API answers, and the pages do at their own address.
pub fn console(subject: &Subject) -> Finding {
    let api = get(&format!("http://{}/health", loopback(subject.api.address)));
    if !subject.api.surfaces.pages {
        return found("console", api);
    }
    let both = api.and_then(|api| pages(subject).map(|pages| format!("{api}, {pages}")));
    found("console", both)
}

fn pages(subject: &Subject) -> Result<String, String> {
    let pages = &subject.api.pages;
    let answer = get(&format!("http://{}/sign-in", loopback(pages.address)));
    // Nobody asked for that port, so that another one may have been taken.
    let fix = if pages.may_move { "; if `up` said another address, name it in CONSOLE_ADDRESS" } else { "" };
    answer.map_err(|why| why + fix)
}

/// Where a listener on every address is reached from here.
fn loopback(at: SocketAddr) -> SocketAddr {
    match at {
        SocketAddr::V4(_) if at.ip().is_unspecified() => SocketAddr::new([127, 0, 0, 1].into(), at.port()),
        SocketAddr::V6(_) if at.ip().is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), at.port())
        }
        _ => at,
    }
}

fn get(url: &str) -> Result<String, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(DEADLINE)).build().into();
    let answer = agent.get(url).call();
    answer.map(|_| format!("{url} answers")).map_err(|why| format!("{url}: {why}"))
}

/// The relay's certificate is valid, and for a while.
pub fn certificates(subject: &Subject) -> Finding {
    let path = match &subject.relay.tls {
        Some(files) => files.cert.clone(),
        None => subject.relay.data.join("certificates").join("server.pem"),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (state, detail) = match std::fs::read(&path) {
        Ok(pem) => validity(&pem, i64::try_from(now).unwrap_or(i64::MAX)),
        Err(why) => (State::Failed, why.to_string()),
    };
    Finding { name: "certificates", state, detail: format!("{}: {detail}", path.display()) }
}

/// How a file of certificates stands at a moment in unix seconds.
fn validity(pem: &[u8], now: i64) -> (State, String) {
    let Some((begins, ends)) = term(pem) else {
        return (State::Failed, "not a certificate in PEM".to_owned());
    };
    let days_left = (ends - now).div_euclid(86_400);
    match days_left {
        _ if begins > now => (State::Failed, "not valid yet; set this machine's clock, or wait".to_owned()),
        ..0 => (State::Failed, "ended; renew it".to_owned()),
        0..DAYS_LEFT_MIN => (State::Warning, format!("ends in {days_left} days; renew it")),
        _ => (State::Well, format!("valid for {days_left} days")),
    }
}

/// From when until when all certificates of a file are valid, in unix seconds: a chain is worth as much as its weakest.
fn term(pem: &[u8]) -> Option<(i64, i64)> {
    let mut term = None;
    for block in Pem::iter_from_buffer(pem) {
        let block = block.ok()?;
        let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
        let validity = certificate.validity();
        let (begins, ends) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        term = Some(term.map_or((begins, ends), |(b, e): (i64, i64)| (b.max(begins), e.min(ends))));
    }
    term
}

/// Every host that the settings name is known.
pub async fn names() -> Finding {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let urls = ["DATABASE_URL", "REDIS_URL", "S3_ENDPOINT", "PUBLIC_URL", "SMTP_HOST"];
    let mut hosts: Vec<String> = urls.iter().filter_map(|name| host(&set(name)?)).collect();
    hosts.dedup();
    if hosts.is_empty() {
        return unused("dns", "the settings name no host");
    }
    let look = async {
        for host in &hosts {
            // A port is needed to ask, whichever.
            let known = tokio::net::lookup_host((host.as_str(), 0)).await;
            known.map(drop).map_err(|why| format!("{host}: {why}; check the name and the resolver"))?;
        }
        Ok(format!("{} known", hosts.join(", ")))
    };
    found("dns", within(look).await)
}

/// The host in a URL, or a plain host.
fn host(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    if url.starts_with("sqlite:") {
        return None;
    }
    let authority = rest.split(['/', '?']).next()?;
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let first = place.split(',').next()?;
    let name = match first.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => first.split(':').next()?,
    };
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_from_what_the_settings_hold() {
        for (url, name) in [
            ("postgres://u:p@db.example.org:5432/x", Some("db.example.org")),
            ("redis://cache", Some("cache")),
            ("https://[::1]:9000/x", Some("::1")),
            ("mail.example.org", Some("mail.example.org")),
            ("sqlite:/var/x.db", None),
            ("postgres://u@/x?host=/run", None),
        ] {
            assert_eq!(host(url).as_deref(), name, "{url}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_never_valid() {
        for bad in [&b""[..], b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(validity(bad, 0).0, State::Failed);
        }
    }

    fn certificate(begins: i32, ends: i32) -> String {
        let mut made = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        made.not_before = rcgen::date_time_ymd(begins, 1, 1);
        made.not_after = rcgen::date_time_ymd(ends, 1, 1);
        made.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn a_certificate_is_worth_a_look_before_it_ends_and_nothing_after() {
        const DAY: i64 = 86_400;
        let at = |time: &str| time.parse::<jiff::Timestamp>().unwrap().as_second();
        let (begins, ends) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        let own = certificate(2026, 2027);
        for (now, state) in [
            (begins - 1, State::Failed),
            (begins, State::Well),
            (ends - 14 * DAY, State::Well),
            (ends - 14 * DAY + 1, State::Warning),
            (ends, State::Warning),
            (ends + 1, State::Failed),
        ] {
            assert_eq!(validity(own.as_bytes(), now).0, state, "{now}");
        }
        let chain = own + &certificate(2020, 2025);
        assert_eq!(validity(chain.as_bytes(), begins).0, State::Failed, "an authority that ended");
    }
}
