//! Scraped targets that remember what they showed.
//!
//! Scrape `k` of a target shows `value(k, n)` for every series `n`, so a stored sample says which scrape it came
//! from. A target is asked again only after its last scrape was stored: in one life of the server every scrape
//! but the last must be there whole, the last one whole or not at all.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use quipu::runtime::Pools;

/// How many there are.
pub(super) const TARGETS: usize = 2;
/// Series of each.
pub(super) const SERIES: u16 = 200;

/// All targets behind one port.
pub(super) struct Targets {
    pub(super) address: String,
    books: [Mutex<Book>; TARGETS],
}

#[derive(Default)]
struct Book {
    next: u32,
    /// Scrapes that were shown in the current life of the server.
    shown: Vec<u32>,
    /// Lives whose samples were not looked at yet.
    unchecked: Vec<Life>,
    stored: Stored,
}

/// What one life of the server was shown.
#[derive(Debug, Clone)]
pub(super) struct Life {
    /// It began and ended between these times, ms.
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    pub(super) shown: Vec<u32>,
}

/// What was found of all checked lives.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stored {
    /// Samples of `scraped`.
    pub(super) rows: u64,
    /// Their sum.
    pub(super) sum: f64,
    /// Samples of `up`.
    pub(super) ups: u64,
    /// Scrapes that failed.
    pub(super) failed: u64,
    /// When the last checked life ended, ms.
    pub(super) until_ms: i64,
}

pub(super) fn value(scrape: u32, series: u16) -> f64 {
    f64::from(scrape) * 1_000.0 + f64::from(series)
}

impl Targets {
    pub(super) async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let targets = Arc::new(Self { address, books: Default::default() });
        let router = Router::new().route("/{target}", get(show)).with_state(Arc::clone(&targets));
        drop(Pools::current().spawn_io(async move { axum::serve(listener, router).await }));
        targets
    }

    fn book(&self, target: usize) -> MutexGuard<'_, Book> {
        self.books[target].lock().expect("no holder of this lock panics")
    }

    /// The server that scraped is gone.
    pub(super) fn end_life(&self, from_ms: i64, to_ms: i64) {
        for target in 0..TARGETS {
            let book = &mut *self.book(target);
            let shown = std::mem::take(&mut book.shown);
            book.unchecked.push(Life { from_ms, to_ms, shown });
        }
    }

    pub(super) fn unchecked(&self, target: usize) -> Vec<Life> {
        self.book(target).unchecked.clone()
    }

    /// The oldest unchecked life is as it should be; `found` is added to what is stored.
    pub(super) fn checked(&self, target: usize, found: Stored) {
        let book = &mut *self.book(target);
        book.unchecked.remove(0);
        let stored = &mut book.stored;
        stored.rows += found.rows;
        stored.sum += found.sum;
        stored.ups += found.ups;
        stored.failed += found.failed;
        stored.until_ms = found.until_ms;
    }

    pub(super) fn stored(&self, target: usize) -> Stored {
        self.book(target).stored
    }
}

async fn show(State(targets): State<Arc<Targets>>, Path(target): Path<usize>) -> Response {
    if target >= TARGETS {
        return StatusCode::NOT_FOUND.into_response();
    }
    let scrape = {
        let book = &mut *targets.book(target);
        let scrape = book.next;
        book.next += 1;
        book.shown.push(scrape);
        scrape
    };
    let mut body = String::from("# TYPE scraped gauge\n");
    for series in 0..SERIES {
        writeln!(body, "scraped{{n=\"{series}\"}} {}", value(scrape, series)).expect("a string takes text");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], body).into_response()
}
