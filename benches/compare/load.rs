//! Remote write as a client does it, with what it cost the server.

use std::time::Duration;

use futures::StreamExt;
use quipu::runtime::Clock;

use crate::data::Body;
use crate::servers::Server;

/// How often a server may answer "later" to one request.
const PATIENCE: usize = 200;

/// What a load cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Samples sent.
    pub(crate) samples: usize,
    /// User and system time of the server's process.
    pub(crate) cpu: Duration,
    /// From the first request to the last answer.
    pub(crate) wall: Duration,
}

/// Sends rounds one after the other, the requests of a round over some connections at a time.
pub(crate) async fn send(server: &Server, clock: Clock, rounds: &[Vec<Body>], connections: usize) -> Cost {
    let (cpu, begun) = (server.cpu(), clock.monotonic());
    let mut samples = 0;
    for round in rounds {
        let requests = round.iter().map(|body| post(server, clock, body));
        let sent: Vec<usize> = futures::stream::iter(requests).buffer_unordered(connections).collect().await;
        samples += sent.into_iter().sum::<usize>();
    }
    let wall = clock.monotonic().saturating_sub(begun);
    Cost { samples, cpu: server.cpu().saturating_sub(cpu), wall }
}

async fn post(server: &Server, clock: Clock, body: &Body) -> usize {
    for _ in 0..PATIENCE {
        let request = server
            .client
            .post(server.url("/api/v1/write"))
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "snappy")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(body.bytes.clone());
        let answer = request.send().await.expect("the server answers");
        let status = answer.status();
        if status.is_success() {
            return body.samples;
        }
        let text = answer.text().await.unwrap_or_default();
        assert!(status.is_server_error(), "{} refused samples: {status} {text}", server.program.name());
        eprintln!("{}: {status} {}; again", server.program.name(), text.trim());
        clock.sleep(Duration::from_millis(250)).await;
    }
    unreachable!("{} never took a request", server.program.name())
}
