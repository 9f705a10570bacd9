//! An S3 server in this process, on a folder of its own: s3s-fs, which checks signatures and conditions. It can be told to
//! refuse what is written, as a server without room does.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::service::S3Service;
use s3s::{Body, HttpError};
use tokio::sync::oneshot;

use crate::folder::Folder;

/// The bucket that is there.
pub const BUCKET: &str = "secure-messenger-backups";
/// Who may do everything.
pub const ACCESS_KEY: &str = "backup-tests";
pub const SECRET_KEY: &str = "kept-in-this-process";

/// A status, and the code of the error that goes with it.
type Refusal = Arc<Mutex<Option<(u16, &'static str)>>>;

/// The server; gone with the value.
pub struct S3 {
    address: SocketAddr,
    folder: Folder,
    refusal: Refusal,
    _stop: oneshot::Sender<()>,
}

impl S3 {
    /// Starts it with an empty bucket.
    pub fn start() -> Self {
        let folder = Folder::new("s3");
        std::fs::create_dir(folder.join(BUCKET)).expect("the folder is new");
        let files = s3s_fs::FileSystem::new(folder.path()).expect("the folder is there");
        let mut service = s3s::service::S3ServiceBuilder::new(files);
        service.set_auth(s3s::auth::SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let (service, refusal) = (service.build(), Refusal::default());
        let (told, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let refusing = refusal.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
                told.send(listener.local_addr().expect("it is bound")).expect("somebody waits for it");
                tokio::select! {
                    () = serve(listener, service, refusing) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = address.recv().expect("it listens");
        Self { address, folder, refusal, _stop: stop }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As programs want it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder of the bucket.
    pub fn bucket(&self) -> std::path::PathBuf {
        self.folder.join(BUCKET)
    }

    /// What this program's variables say of it.
    pub fn variables(&self) -> [(&'static str, String); 5] {
        variables(self.endpoint())
    }

    /// From now on whoever writes gets this answer, and nothing is stored.
    pub fn refuse(&self, status: u16, code: &'static str) {
        *self.refusal.lock().expect("nobody panics with it") = Some((status, code));
    }

    /// Ends `refuse`.
    pub fn accept(&self) {
        *self.refusal.lock().expect("nobody panics with it") = None;
    }
}

/// What this program's variables say of a server with the bucket and the account.
pub(crate) fn variables(endpoint: String) -> [(&'static str, String); 5] {
    [
        ("BACKUP_LOCATION", format!("s3://{BUCKET}")),
        ("S3_ENDPOINT", endpoint),
        ("S3_REGION", "us-east-1".to_owned()),
        ("S3_ACCESS_KEY", ACCESS_KEY.to_owned()),
        ("S3_SECRET_KEY", SECRET_KEY.to_owned()),
    ]
}

async fn serve(listener: tokio::net::TcpListener, service: S3Service, refusal: Refusal) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (service, refusal) = (service.clone(), refusal.clone());
        let answer = hyper::service::service_fn(move |request| {
            let refused = *refusal.lock().expect("nobody panics with it");
            answer(service.clone(), request, refused)
        });
        tokio::spawn(async move {
            // Whoever hangs up is not waited for.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

async fn answer(
    service: S3Service,
    request: Request<Incoming>,
    refused: Option<(u16, &'static str)>,
) -> Result<Response<Body>, HttpError> {
    let writes = [Method::PUT, Method::POST].contains(request.method());
    let Some((status, code)) = refused.filter(|_| writes) else {
        return service.call(request.map(Body::from)).await;
    };
    let mut body = request.into_body();
    while std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.is_some() {}
    let document = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
    let response = Response::builder().status(status).body(Body::from(document));
    Ok(response.expect("the status is one"))
}
