//! The HTTP server behind the proxy of the demonstration.

use crate::Fault;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// What it answers to every request.
pub(crate) const GREETING: &str = "Hello from the origin.\n";

/// Starts the origin on a free port of loopback. It ends with the runtime.
pub(crate) async fn start() -> Result<SocketAddr, Fault> {
    let fault = |error| Fault(format!("cannot start the origin: {error}"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    tokio::spawn(serve(listener));
    Ok(address)
}

async fn serve(listener: TcpListener) {
    loop {
        // Without file descriptors there is nothing to do but to try again when some may be free.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(greet));
        // A client that goes away is the proxy's affair, which counts it.
        tokio::spawn(async move { _ = connection.await });
    }
}

async fn greet(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(GREETING.as_bytes()))))
}
