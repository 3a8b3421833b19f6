//! The smallest HTTP/1.1 client: one request a connection, bodies in pieces or to the end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Door;
use crate::runtime::{Pools, Shutdown};

/// A door behind a socket, stopped when dropped.
pub(super) struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

impl Server {
    pub(super) async fn start(door: Arc<Door>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let shutdown = Shutdown::new();
        let places = Arc::new(Semaphore::new(door.web.max_connections));
        Pools::current().spawn_io(super::serve(listener, door, places, shutdown.clone()));
        Self { address, shutdown }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "").await
    }

    pub(super) async fn post(&self, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", path, headers, body).await
    }

    /// `headers` are whole lines that end in CRLF.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let body = body.as_ref();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.exchange(&[head.as_bytes(), body].concat()).await
    }

    /// Sends exactly this.
    pub(super) async fn raw(&self, request: &str) -> Answer {
        self.exchange(request.as_bytes()).await
    }

    async fn exchange(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("the server listens");
        // A server that refuses early may close before it has read the body.
        drop(stream.write_all(request).await);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("the server answers");
        parse(&bytes)
    }
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
    let mut answer = Answer { status: status.expect("a status"), headers, body: String::new() };
    let is_chunked = answer.header("transfer-encoding") == Some("chunked");
    let body = if is_chunked { unchunked(&bytes[end + 4..]) } else { bytes[end + 4..].to_vec() };
    answer.body = String::from_utf8_lossy(&body).into_owned();
    answer
}

/// Takes the lines with the lengths of the pieces out.
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let length =
            std::str::from_utf8(&rest[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let (piece, tail) = rest[end + 2..].split_at(length.expect("a length in hex digits"));
        out.extend_from_slice(piece);
        rest = &tail[2..];
    }
    out
}
