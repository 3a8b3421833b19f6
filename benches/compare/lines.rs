//! Log lines as services write them, and the bodies in which shippers send them.

use std::fmt::Write as _;

use crate::protobuf::{push_bytes, push_number};
use crate::random::Random;

/// Services that write; each on some hosts.
const SERVICES: [&str; 8] = ["api", "auth", "billing", "cart", "frontend", "inventory", "search", "shipping"];
const HOSTS: usize = 5;
const PATHS: [&str; 6] =
    ["/api/v1/orders", "/api/v1/users", "/healthz", "/api/v1/cart/items", "/login", "/static/app.js"];

/// Where the clock of the lines begins and how far it goes with each line, ns.
const NS_A_LINE: i64 = 997_000;

/// Lines of one stream, in time order.
#[derive(Debug)]
pub(crate) struct Chunk {
    service: &'static str,
    host: usize,
    /// ns since 1970 and text.
    pub(crate) lines: Vec<(i64, String)>,
}

/// The UUID of one line: what a search looks for.
pub(crate) fn uuid(line: usize) -> String {
    let mut random = Random::new(line * 49_979_687 + 11);
    let mut word = |n: usize| random.below(n);
    let (a, b, c, d) = (word(1 << 32), word(1 << 16), word(1 << 12), word(1 << 14));
    format!("{a:08x}-{b:04x}-4{c:03x}-{:04x}-{:012x}", 0x8000 + d, word(1 << 48))
}

/// A chunk of `count` lines, the first of which is number `first` of all.
pub(crate) fn chunk(first: usize, count: usize, start_ns: i64) -> Chunk {
    let stream = first / count;
    let (service, host) = (SERVICES[stream % SERVICES.len()], stream / SERVICES.len() % HOSTS);
    let time = |line: usize| start_ns + i64::try_from(line).expect("lines are few") * NS_A_LINE;
    Chunk { service, host, lines: (first..first + count).map(|line| (time(line), text(line))).collect() }
}

/// About 200 bytes: mostly requests, now and then something else.
fn text(line: usize) -> String {
    let mut random = Random::new(line * 67_867_967 + 1);
    let mut below = |n: usize| random.below(n);
    let (path, status, ms) =
        (PATHS[below(PATHS.len())], [200, 200, 200, 201, 404, 500][below(6)], below(900));
    let (user, bytes, port) = (below(100_000), below(1 << 16), 1024 + below(60_000));
    match below(20) {
        0 => format!(
            "level=warn msg=\"slow query\" table=orders rows={bytes} duration={ms}ms request_id={} caller=db.go:{}",
            uuid(line),
            below(900)
        ),
        1 => format!(
            "level=error msg=\"upstream failed\" upstream=10.0.{}.{}:{port} error=\"connection reset by peer\" \
             request_id={}",
            below(256),
            below(256),
            uuid(line)
        ),
        _ => format!(
            "level=info msg=\"request handled\" method=GET path={path}/{user} status={status} bytes={bytes} \
             duration={ms}ms remote=192.168.{}.{}:{port} user=u{user} request_id={}",
            below(256),
            below(256),
            uuid(line)
        ),
    }
}

impl Chunk {
    /// Bytes of the texts.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.iter().map(|(_, text)| text.len()).sum()
    }

    /// The texts, one a line.
    pub(crate) fn raw(&self) -> String {
        self.lines.iter().fold(String::new(), |mut all, (_, text)| {
            all.push_str(text);
            all.push('\n');
            all
        })
    }

    /// A Loki push in JSON.
    pub(crate) fn json(&self) -> Vec<u8> {
        let values: Vec<[String; 2]> =
            self.lines.iter().map(|(ns, text)| [ns.to_string(), text.clone()]).collect();
        let stream = serde_json::json!({"service": self.service, "host": self.host_name(), "env": "prod"});
        let body = serde_json::json!({"streams": [{"stream": stream, "values": values}]});
        body.to_string().into_bytes()
    }

    /// A Loki push in protobuf, snappy around it.
    pub(crate) fn protobuf(&self) -> Vec<u8> {
        let labels = format!("{{env=\"prod\", host=\"{}\", service=\"{}\"}}", self.host_name(), self.service);
        let mut stream = Vec::new();
        push_bytes(&mut stream, 1, labels.as_bytes());
        for (ns, text) in &self.lines {
            let mut time = Vec::new();
            push_number(&mut time, 1, ns / 1_000_000_000);
            push_number(&mut time, 2, ns % 1_000_000_000);
            let mut entry = Vec::new();
            push_bytes(&mut entry, 1, &time);
            push_bytes(&mut entry, 2, text.as_bytes());
            push_bytes(&mut stream, 2, &entry);
        }
        let mut request = Vec::new();
        push_bytes(&mut request, 1, &stream);
        snap::raw::Encoder::new().compress_vec(&request).expect("a body is far below snappy's limit")
    }

    /// JSON lines in `VictoriaLogs`' shape.
    pub(crate) fn json_lines(&self) -> Vec<u8> {
        let mut all = String::new();
        for (ns, text) in &self.lines {
            let line = serde_json::json!({
                "_time": ns, "_msg": text, "service": self.service, "host": self.host_name(), "env": "prod"
            });
            writeln!(all, "{line}").expect("a String takes everything");
        }
        all.into_bytes()
    }

    fn host_name(&self) -> String {
        format!("{}-{}", self.service, self.host)
    }
}
