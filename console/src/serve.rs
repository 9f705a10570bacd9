//! Starting and stopping: binds the port, accepts connections with deadlines and a bound, drains on shutdown.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use schema_store::AccountError;
use schema_store::accounts::PAGE_ROWS_MAX;
use schema_store::redis::RedisFault;
use schema_store::rows::account::{AuditEntry, Origin};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tower_service::Service;

use crate::access::limit::Limiter;
use crate::access::password::{self, Hasher};
use crate::access::rsa_key::KeyFault;
use crate::access::seal::{Seal, SealFault};
use crate::access::shared::SharedLimits;
use crate::access::signing;
use crate::access::webauthn::RelyingParty;
use crate::anchor::{anchor, tell};
use crate::api;
use crate::app::{App, Backing, Shared};
use crate::bans::{Bans, read_bans};
use crate::caseload::{Caseload, count_cases};
use crate::clock::Clock;
use crate::cluster::watch::{Watch, watch_over};
use crate::config::{AdminSurface, ConsoleConfig, PagesConfig};
use crate::detect::detect;
use crate::due::look_after;
use crate::front::guard::Peer;
use crate::front::metrics::Metrics;
use crate::mail::{self, MailFault, Postman, Switch};
use crate::owed::send_owed;
use crate::pages;
use crate::settings::{InForce, read_settings};
use crate::statistics::count;

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4096;
/// How long a client may take for a request's head, and stay silent between requests.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);
/// Largest request head, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// How long requests under way may take once shutdown began.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// Name of the audit event that says which key signs.
const SIGNING_KEY_IN_USE: &str = "SIGNING_KEY_IN_USE";
/// How long letters may take after the last request.
const LETTERS_DEADLINE: Duration = Duration::from_secs(10);
/// Pause after a failed accept, such as when file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the console did not start. Each says what to do in one line.
#[derive(Debug, thiserror::Error)]
pub enum ServeFault {
    #[error("{address} can't be listened on: {source}; choose another port or stop what uses it")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("signing key: {0}")]
    Key(#[from] KeyFault),
    #[error(transparent)]
    Seal(#[from] SealFault),
    #[error("the store does not work: {0}")]
    Store(#[from] AccountError),
    #[error("shared limits: {0}")]
    Redis(#[from] RedisFault),
    #[error("mail: {0}")]
    Mail(#[from] MailFault),
}

/// What a start needs besides configuration and store.
pub struct Starting {
    pub clock: Clock,
}

impl Default for Starting {
    fn default() -> Self {
        Self { clock: Clock::system() }
    }
}

/// A running console.
pub struct Served {
    /// Where the pages are, if they are served.
    pub pages: Option<SocketAddr>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where `/admin` is, if it has an address of its own.
    pub admin: Option<SocketAddr>,
    /// Where `/metrics` is served, if it is.
    pub internal: Option<SocketAddr>,
    /// The published public keys, as `/.well-known/jwks.json` shows them.
    pub jwks: String,
    /// For the internal listener: `metrics.render()`.
    pub metrics: Arc<Metrics>,
    /// Ends once the shutdown future did and requests under way were answered.
    pub finished: JoinHandle<()>,
}

/// Serves the account API, and the pages on an address of their own, until `shutdown` completes.
pub async fn serve<S: Backing>(
    config: ConsoleConfig,
    store: S,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Served, ServeFault> {
    start(config, store, Starting::default(), shutdown).await
}

/// The same, with a clock of one's own.
pub async fn start<S: Backing>(
    config: ConsoleConfig,
    store: S,
    starting: Starting,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Served, ServeFault> {
    let pages = if config.surfaces.pages { Some(bind_pages(&config.pages).await?) } else { None };
    let (listener, address) = bind(config.address).await?;
    let (admin_listener, admin) = match config.surfaces.admin {
        AdminSurface::At(address) => Some(bind(address).await?).unzip(),
        AdminSurface::Shared | AdminSurface::Nowhere => (None, None),
    };
    let internal = match config.internal {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let reached = pages.as_ref().map_or(config.pages.address, |(_, address)| *address);
    let (app, postman) = prepare(config, store, starting.clock, (address, reached)).await?;
    let (jwks, metrics) = (app.jwks.clone(), app.metrics.clone());
    let (stop, stopped) = watch::channel(false);
    let ending = app.clone();
    let shutdown = async move {
        shutdown.await;
        ending.watch.live.end();
        drop(stop);
    };
    let until = |mut stopped: watch::Receiver<bool>| async move { drop(stopped.changed().await) };
    let (drawing, pages) = pages
        .map(|(listener, address)| {
            let accepting = accept(listener, pages::router(app.clone()), everybody(), until(stopped.clone()));
            (tokio::spawn(accepting), address)
        })
        .unzip();
    let mut working = at_work(&app);
    let sending = tokio::spawn(send_owed(app.clone(), stopped.clone()));
    // A proxy is always let in: whom it speaks for is looked at once the request is read.
    let from = app.clone();
    let let_in: LetIn = Arc::new(move |peer: IpAddr| {
        let is_proxy = || from.config.trusted_proxies.iter().any(|proxy| proxy.contains(peer));
        !from.bans.hold(peer) || is_proxy()
    });
    let last = app.clone();
    let admin_serving = admin_listener.map(|listener| {
        let router = api::admin_router(app.clone());
        tokio::spawn(accept(listener, router, let_in.clone(), until(stopped.clone())))
    });
    let serving = accept(listener, api::router(app), let_in, shutdown);
    let finished = tokio::spawn(async move {
        serving.await;
        // They end by the same deadline as the API did.
        for other in [drawing, admin_serving].into_iter().flatten() {
            drop(other.await);
        }
        // They hold the queue of letters open.
        working.shutdown().await;
        tell(&last, 0).await;
        // It holds the queue of letters open too.
        drop(last);
        // What is on its way is noted as sent, or goes out once more after the next start.
        let letters = async {
            drop(sending.await);
            drop(postman.await);
        };
        if tokio::time::timeout(LETTERS_DEADLINE, letters).await.is_err() {
            tracing::warn!("letters were still waiting when the API stopped");
        }
    });
    let internal = internal.map(|(listener, address)| {
        tokio::spawn(accept(listener, internal_router(metrics.clone()), everybody(), until(stopped)));
        address
    });
    Ok(Served { pages, address, admin, internal, jwks, metrics, finished })
}

/// What goes on beside requests until it is shut down.
fn at_work<S: Backing>(app: &App<S>) -> JoinSet<()> {
    let mut working = JoinSet::new();
    working.spawn(look_after(app.clone()));
    working.spawn(watch_over(app.clone()));
    working.spawn(detect(app.clone()));
    working.spawn(read_bans(app.clone()));
    working.spawn(count(app.clone()));
    working.spawn(count_cases(app.clone()));
    working.spawn(anchor(app.clone()));
    working.spawn(read_settings(app.clone()));
    working
}

/// The pages' own port, or another one when nobody asked for this one.
async fn bind_pages(config: &PagesConfig) -> Result<(TcpListener, SocketAddr), ServeFault> {
    match bind(config.address).await {
        Err(ServeFault::Bind { .. }) if config.may_move => {
            let mut address = config.address;
            address.set_port(0);
            bind(address).await
        }
        bound => bound,
    }
}

/// Keys, mail and limits: everything but the sockets.
async fn prepare<S: Backing>(
    config: ConsoleConfig,
    store: S,
    clock: Clock,
    (address, pages): (SocketAddr, SocketAddr),
) -> Result<(App<S>, JoinHandle<()>), ServeFault> {
    let signing = config.signing.clone();
    // Making a key takes a second of computing; the dummy hash some tens of milliseconds.
    let sealing = config.sealing.clone();
    let loaded = tokio::task::spawn_blocking(move || {
        password::warm_up();
        Ok::<_, ServeFault>((signing::load(&signing)?, Seal::load(&sealing)?))
    });
    let ((tokens, jwks), seal) = loaded.await.expect("loading keys does not panic")?;
    note_signing_key(&store, &tokens.signing_kid).await?;
    let sink = mail::open(&config.mail)?;
    let public_url = config.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    let postman = Postman { store: store.clone(), clock: clock.clone(), public_url: public_url.clone() };
    let letters = sink.map(|sink| Arc::new(Switch::new(sink)));
    let (post, postman) = postman.start(letters.clone().map(|letters| letters as _));
    let limiter = Limiter::new();
    let in_force = InForce::of(&config);
    let shared = config.shared.as_ref().map(SharedLimits::new);
    if let Some(through) = &config.shared {
        through.check().await?;
    }
    // Under the number of this machine no browser uses a key; under its name it does.
    let party =
        config.pages.url.as_deref().map_or_else(|| Ok(RelyingParty::local(pages.port())), RelyingParty::of);
    let metrics = Arc::new(Metrics::default());
    let hasher = Hasher::new();
    let app = App::new(Shared {
        store,
        config,
        clock,
        tokens,
        jwks,
        hasher,
        limiter,
        shared,
        metrics,
        in_force,
        post,
        letters,
        public_url,
        party,
        seal,
        watch: Watch::default(),
        bans: Bans::default(),
        caseload: Caseload::default(),
    });
    Ok((app, postman))
}

/// Writes an audit entry when another key signs than the trail's recent part says. It names the key, never holds it.
async fn note_signing_key<S: Backing>(store: &S, kid: &str) -> Result<(), AccountError> {
    let recent = store.audit_page(None, PAGE_ROWS_MAX).await?;
    let detail = format!("access tokens are signed with key {kid}");
    if recent.iter().find(|row| row.event == SIGNING_KEY_IN_USE).is_some_and(|row| row.detail == detail) {
        return Ok(());
    }
    let entry = AuditEntry { event: SIGNING_KEY_IN_USE, subject: None, detail };
    store.audit(entry, Origin::system()).await.map(drop)
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeFault> {
    let fault = |source| ServeFault::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    Ok((listener, bound))
}

/// For an internal listener of a process of its own: `/metrics` and `/health`.
pub fn internal_router(metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(|State(metrics): State<Arc<Metrics>>| async move { metrics.render() }))
        .route("/health", get(|| async { "ok" }))
        .with_state(metrics)
}

/// Whether whoever connects from an address is answered at all.
type LetIn = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

fn everybody() -> LetIn {
    Arc::new(|_| true)
}

async fn accept(
    listener: TcpListener,
    router: Router,
    let_in: LetIn,
    shutdown: impl Future<Output = ()> + Send,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (drain, draining) = watch::channel(false);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let place = places.clone().acquire_owned();
        let arrival = async {
            let place = place.await.expect("the semaphore is never closed");
            (listener.accept().await, place)
        };
        tokio::select! {
            () = &mut shutdown => break,
            (Ok((stream, peer)), place) = arrival => {
                // Closed without a word.
                if !let_in(peer.ip()) {
                    continue;
                }
                tokio::spawn(connection(stream, peer, router.clone(), draining.clone(), place));
            }
            else => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    let _ = drain.send(true);
    let all = places.acquire_many(CONNECTIONS_MAX as u32);
    if tokio::time::timeout(DRAIN_DEADLINE, all).await.is_err() {
        tracing::warn!("requests were still under way when the API stopped");
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut draining: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let answer = router.clone().call(request);
        async move { answer.await.map_err(|never: Infallible| never) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => ended_quietly(ended),
        _ = draining.changed() => {
            serving.as_mut().graceful_shutdown();
            ended_quietly(serving.await);
        }
    }
}

fn ended_quietly(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
