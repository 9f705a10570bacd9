//! What the scenarios against the real binary stand on: the running product, people in it, and a plain client over
//! each carrier that knows the wire and nothing of our client library.

pub mod http;
pub mod link;
pub mod pages;
pub mod people;
pub mod python;
pub mod server;
pub mod session;
pub mod tls;

use std::time::Duration;

pub use link::{Carrier, Incoming, Link};
pub use people::{Login, World};
pub use server::{Server, Settings};
pub use session::{After, Session};

/// Failure bound of every wait; nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Runs one scenario to its end.
pub fn run(scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(scenario);
    runtime.shutdown_background();
}

/// Waits for `future`, or fails saying what was missing.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s in vain for {what}", PATIENCE.as_secs()),
    }
}

/// Asks again until the answer is `Some`, for states that nothing announces.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Defines each scenario as two tests: over QUIC and over WebSocket.
#[macro_export]
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        $(mod $name {
            #[test]
            fn quic() {
                $crate::run(super::$name($crate::Carrier::Quic));
            }

            #[test]
            fn websocket() {
                $crate::run(super::$name($crate::Carrier::WebSocket));
            }

            #[test]
            fn websocket_with_records_by_rustls() {
                $crate::server::protect_records_by_rustls();
                $crate::run(super::$name($crate::Carrier::WebSocket));
            }
        })*
    };
}
