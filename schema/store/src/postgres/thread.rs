//! The store's thread: all connections live on it, so its futures may be awaited on any runtime and work on a
//! transaction needs not be `Send`. What waits is bounded: beyond, a request fails at once and may be tried again.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use futures_channel::oneshot;
use schema_wire::record::StoreFault;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::LocalSet;

use super::connect::OpenError;
use super::server::Server;
use crate::store::Work;

type Running = Pin<Box<dyn Future<Output = ()>>>;
type Job = Box<dyn FnOnce(Rc<Server>) -> Running + Send>;

/// The way to the thread. It ends, and its connections with it, when the last handle is dropped.
pub struct Thread {
    jobs: mpsc::UnboundedSender<Job>,
    /// One for each request under way.
    places: Arc<Semaphore>,
}

impl Thread {
    pub fn start(server: Server) -> Result<Self, OpenError> {
        let (jobs, waiting) = mpsc::unbounded_channel();
        let (host, queue_max) = (server.options().host, server.options().queue_max);
        let serving = move || serve(Rc::new(server), waiting);
        let thread = std::thread::Builder::new().name("postgres".to_owned());
        let started = match host {
            Some(host) => thread.spawn(move || host(Box::pin(serving()))),
            None => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(OpenError::Thread)?;
                thread.spawn(move || LocalSet::new().block_on(&runtime, serving()))
            }
        };
        started.map_err(OpenError::Thread)?;
        Ok(Self { jobs, places: Arc::new(Semaphore::new(queue_max)) })
    }

    /// Runs `work` beside everything else that is under way.
    pub async fn call<T, F>(&self, work: F) -> Result<T, StoreFault>
    where
        T: Send + 'static,
        F: AsyncFnOnce(&Server) -> T + Send + 'static,
    {
        let place = self.places.clone().try_acquire_owned().map_err(|_| StoreFault::Unavailable)?;
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |server| {
            Box::pin(async move {
                let _ = reply.send(work(&server).await);
                drop(place);
            })
        });
        self.jobs.send(job).map_err(|_| StoreFault::Unavailable)?;
        answer.await.map_err(|_| StoreFault::Unavailable)
    }

    /// Runs `work` beside everything else. A thread that ended drops it.
    pub fn host(&self, work: Work) {
        let _ = self.jobs.send(Box::new(move |_| work()));
    }
}

async fn serve(server: Rc<Server>, mut waiting: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = waiting.recv().await {
        tokio::task::spawn_local(job(server.clone()));
    }
}
