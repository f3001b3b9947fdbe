//! Sockets: how connections come in, and how they all end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::studio::runner;
use crate::studio::tuning::tuner;
use crate::{App, Settings};

/// How long a client may take to send the head of a request, and how long a connection may rest between two.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// The largest head of a request.
const HEAD_BYTES: usize = 32 << 10;

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address can be reached from other machines, and nothing keeps strangers out.
    #[error("{address} can be reached from other machines, and there is no key and administrator's password yet")]
    Public {
        /// The address.
        address: IpAddr,
    },
    /// The address is taken, not of this machine, or not allowed.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        source: std::io::Error,
    },
}

/// The other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// A socket that is open and not yet served.
#[derive(Debug)]
pub struct Running {
    listener: TcpListener,
    address: SocketAddr,
}

impl Running {
    /// Where it listens; the port is known here also when any was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Opens the socket.
///
/// # Errors
/// [`ServeError::Public`] where the address is not of the loopback and `settings` do not allow it, or
/// [`ServeError::Bind`].
pub async fn bind(settings: &Settings) -> Result<Running, ServeError> {
    let address = settings.address;
    if !address.ip().is_loopback() && !settings.public {
        return Err(ServeError::Public { address: address.ip() });
    }
    let failed = |source| ServeError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Running { listener, address })
}

/// Serves `router` until `stop` returns, and works on batches and tunings beside it; then lets what is at work come to its end: new requests are refused, the
/// answers being given go on until they are complete, the settings' time for it is over, or `stop` returns again.
pub async fn serve(running: Running, app: App, router: Router, mut stop: impl AsyncFnMut()) {
    let Running { listener, .. } = running;
    let batches = tokio::spawn(runner::work(app.clone()));
    let tunings = tokio::spawn(tuner::work(app.clone()));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(app.settings().connections));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_BYTES);
    {
        let mut first = std::pin::pin!(stop());
        loop {
            // Beyond the limit connections wait in the system's queue.
            let accepted = tokio::select! {
                () = &mut first => break,
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await;
                    (listener.accept().await, place)
                } => accepted,
            };
            let (Ok((stream, peer)), Ok(place)) = accepted else {
                // Out of file descriptors, most likely: give those that are open time to close.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            // Tokens are small and wanted at once.
            let _ = stream.set_nodelay(true);
            let routes = TowerToHyperService::new(router.clone());
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer));
                routes.call(request)
            });
            let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                // Errors here are broken connections and bad requests; the other side knows already.
                let _ = connection.await;
                drop(place);
            });
        }
    }
    drop(listener);
    app.drain();
    // Rows that are at work wait for the next start.
    batches.abort();
    tracing::info!(seconds = app.settings().drain.as_secs(), "draining");
    let quiet = async {
        graceful.shutdown().await;
        // A tuning writes down where it is.
        let _ = tunings.await;
    };
    let complete = tokio::select! {
        () = quiet => true,
        () = tokio::time::sleep(app.settings().drain) => false,
        () = stop() => false,
    };
    tracing::info!(complete, "stopped");
}
