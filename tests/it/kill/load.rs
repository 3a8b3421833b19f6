//! Remote-write senders that remember what they sent and how it was answered.
//!
//! Request `b` of a sender carries [`COLUMNS`] samples of each of [`SERIES`] series, as many native histograms of one
//! more series, and as many exemplars. Time and value of each are functions of sender, series, request and column:
//! whatever comes back says which request it came from, or that it was never sent.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quipu::model::{Exemplar, Histogram, Labels, Span};
use quipu::runtime::{Clock, Shutdown};
use quipu::wire::remote_write::{RichSeries, encode_rich};

use crate::peers::{Quipu, write_request};

/// Series of one sender.
const SERIES: u16 = 40;
/// Samples of one series in one request; one a millisecond.
const COLUMNS: u16 = 10;
/// Samples of one request.
pub(super) const REQUEST_ROWS: u64 = 400;
/// Native histograms of one request, and exemplars.
pub(super) const REQUEST_EXTRAS: u64 = 10;
/// How far back the last column of a request lies where a sender writes old samples, too.
const BACK_MS: i64 = 9 * 24 * 3_600_000;
/// A client does not wait longer for an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What became of a request, as far as anybody can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Sent, and no answer came: it may be there whole, or not at all.
    Open,
    /// Acknowledged, or found later.
    Stored,
    /// Refused with a 5xx, or not found later.
    Absent,
}

/// How a sender behaves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Habit {
    /// The last column goes days back: such a request lies in two classes of the WAL.
    pub(super) old: bool,
    /// What was not acknowledged is sent again before anything else, as Prometheus does.
    pub(super) resends: bool,
}

/// One sender; it outlives the servers that it sends to.
pub(super) struct Sender {
    pub(super) number: u16,
    habit: Habit,
    base_ms: i64,
    names: Vec<String>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    fates: Vec<Fate>,
    counts: Counts,
}

/// What a sender saw.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Requests answered with 204.
    pub(super) acknowledged: u64,
    /// Requests answered with 5xx.
    pub(super) refused: u64,
    /// Requests that were sent again.
    pub(super) resent: u64,
}

/// A server as senders know it.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) http: String,
    pub(super) client: reqwest::Client,
    pub(super) clock: Clock,
}

impl Server {
    pub(super) fn of(quipu: &Quipu) -> Self {
        let client = reqwest::Client::builder().timeout(TIMEOUT).build().expect("a client");
        Self { http: quipu.http.clone(), client, clock: quipu.clock }
    }
}

impl Sender {
    pub(super) fn new(number: u16, base_ms: i64, habit: Habit) -> Arc<Self> {
        let names = (0..SERIES).map(|n| n.to_string()).collect();
        Arc::new(Self { number, habit, base_ms, names, book: Mutex::default() })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no holder of this lock panics")
    }

    /// Time and value of one sample.
    fn row(&self, series: u16, request: usize, column: u16) -> (i64, f64) {
        let request = u32::try_from(request).expect("few requests");
        let position = i64::from(request) * i64::from(COLUMNS) + i64::from(column);
        let back = if self.habit.old && column + 1 == COLUMNS { BACK_MS } else { 0 };
        let name = f64::from(request) * f64::from(COLUMNS) + f64::from(column);
        let name = name * 1_000.0 + f64::from(self.number) * 100.0 + f64::from(series);
        // Ten bits of noise keep the bodies from packing down to nothing; sums of millions stay exact.
        let noise =
            position.wrapping_mul(2_654_435_761).wrapping_add(i64::from(series) * 40_503) >> 7 & 1_023;
        let noise = f64::from(i16::try_from(noise).expect("ten bits"));
        (self.base_ms + position - back, name * 1_024.0 + noise)
    }

    /// The request that a sample came from; `None` when it was never sent.
    pub(super) fn request_of(&self, series: u16, timestamp: i64, value: f64) -> Option<usize> {
        let (request, column) = self.place_of(timestamp).filter(|_| series < SERIES)?;
        (self.row(series, request, column).1.to_bits() == value.to_bits()).then_some(request)
    }

    /// The request and the column of a time; `None` when nothing was sent with it.
    pub(super) fn place_of(&self, timestamp: i64) -> Option<(usize, u16)> {
        let position = timestamp - self.base_ms;
        let position = if position < 0 { position + BACK_MS } else { position };
        let request = usize::try_from(position.div_euclid(i64::from(COLUMNS))).ok()?;
        let column = u16::try_from(position.rem_euclid(i64::from(COLUMNS))).ok()?;
        let known = request < self.sent() && self.row(0, request, column).0 == timestamp;
        known.then_some((request, column))
    }

    /// One native histogram: every third request counts in floats.
    pub(super) fn histogram(&self, request: usize, column: u16) -> Histogram {
        let number = f64::from(u32::try_from(request).expect("few requests")) + f64::from(column);
        let is_float = request % 3 == 2;
        let positive = vec![number + if is_float { 0.5 } else { 1.0 }, 0.0, f64::from(self.number) + 2.0];
        Histogram {
            is_float,
            zero_threshold: 0.001,
            zero_count: 3.0,
            count: positive.iter().sum::<f64>() + 3.0,
            sum: self.row(SERIES, request, column).1,
            positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
            positive,
            ..Histogram::default()
        }
    }

    /// One exemplar of the first series.
    pub(super) fn exemplar(&self, request: usize, column: u16) -> Exemplar {
        let (timestamp, value) = self.row(0, request, column);
        let trace = format!("{}-{request}-{column}", self.number);
        let labels = Labels::from_pairs([("trace_id", trace.as_str())]).expect("good labels");
        Exemplar { timestamp, value, labels }
    }

    fn body(&self, request: usize) -> Vec<u8> {
        let number = self.number.to_string();
        let labels = |n| [("__name__", "pushed"), ("n", n), ("sender", number.as_str())];
        let labels: Vec<_> = self.names.iter().map(|n| labels(n.as_str())).collect();
        let rows = |n| (0..COLUMNS).map(|column| self.row(n, request, column)).collect();
        let rows: Vec<Vec<(i64, f64)>> = (0..SERIES).map(rows).collect();
        let floats = |(labels, samples)| RichSeries { labels, samples, ..RichSeries::default() };
        let mut series: Vec<RichSeries<'_>> = labels
            .iter()
            .map(|labels| &labels[..])
            .zip(rows.iter().map(|rows| &rows[..]))
            .map(floats)
            .collect();
        let exemplars: Vec<Exemplar> = (0..COLUMNS).map(|column| self.exemplar(request, column)).collect();
        series[0].exemplars = &exemplars;
        let histogram = |column| (self.row(0, request, column).0, self.histogram(request, column));
        let histograms: Vec<(i64, Histogram)> = (0..COLUMNS).map(histogram).collect();
        let labels = [("__name__", "spread"), ("sender", number.as_str())];
        series.push(RichSeries { labels: &labels, histograms: &histograms, ..RichSeries::default() });
        encode_rich(&series, &[]).expect("the body can be encoded")
    }

    /// How many requests were sent so far.
    pub(super) fn sent(&self) -> usize {
        self.book().fates.len()
    }

    pub(super) fn counts(&self) -> Counts {
        self.book().counts
    }

    pub(super) fn fates(&self, requests: Range<usize>) -> Vec<Fate> {
        self.book().fates[requests].to_vec()
    }

    /// What a look at the store said about an open request.
    pub(super) fn settle(&self, request: usize, found: bool) {
        let fate = &mut self.book().fates[request];
        if *fate == Fate::Open {
            *fate = if found { Fate::Stored } else { Fate::Absent };
        }
    }

    /// For a request that was answered, and whose answer shall count as lost.
    pub(super) fn forget_answer(&self, request: usize) {
        self.book().fates[request] = Fate::Open;
    }

    /// Samples that are stored of the first `requests` requests, and their sum.
    pub(super) fn stored(&self, requests: usize) -> (u64, f64) {
        let fates = self.fates(0..requests);
        let (mut rows, mut sum) = (0, 0.0);
        for request in (0..requests).filter(|request| fates[*request] == Fate::Stored) {
            rows += REQUEST_ROWS;
            for series in 0..SERIES {
                sum += (0..COLUMNS).map(|column| self.row(series, request, column).1).sum::<f64>();
            }
        }
        (rows, sum)
    }

    /// Requests that are stored of the first `requests`, and the observations in their histograms.
    pub(super) fn stored_histograms(&self, requests: usize) -> (u64, f64) {
        let fates = self.fates(0..requests);
        let stored = (0..requests).filter(|request| fates[*request] == Fate::Stored);
        stored.fold((0, 0.0), |(count, sum), request| {
            let of_request = (0..COLUMNS).map(|column| self.histogram(request, column).count);
            (count + 1, sum + of_request.sum::<f64>())
        })
    }

    /// Where in time the samples of some requests lie: ends, and lengths of ranges open on the left, ms.
    pub(super) fn windows(&self, requests: &Range<usize>) -> Vec<(i64, i64)> {
        let columns = i64::from(COLUMNS);
        let at = |request: usize| self.base_ms + i64::try_from(request).expect("few requests") * columns;
        let (end, length) = (at(requests.end) - 1, at(requests.end) - at(requests.start));
        let old = self.habit.old.then_some((end - BACK_MS, length));
        [(end, length)].into_iter().chain(old).collect()
    }

    /// Sends one request and writes down what is known then. `None` without an answer.
    pub(super) async fn push(&self, server: &Server, request: usize) -> Option<u16> {
        let before = {
            let book = &mut *self.book();
            if request == book.fates.len() {
                book.fates.push(Fate::Absent);
            } else {
                book.counts.resent += 1;
            }
            let before = book.fates[request];
            if before == Fate::Absent {
                book.fates[request] = Fate::Open;
            }
            before
        };
        let answer = write_request(&server.client, &server.http, self.body(request)).send().await.ok()?;
        let status = answer.status().as_u16();
        let book = &mut *self.book();
        match status {
            204 => {
                book.fates[request] = Fate::Stored;
                book.counts.acknowledged += 1;
            }
            // Nothing was stored by this try; an earlier one may have.
            500..=599 => {
                book.fates[request] = before;
                book.counts.refused += 1;
            }
            other => panic!("a good request was answered with {other}"),
        }
        Some(status)
    }

    /// Sends the last request again where that is the habit and no answer is known.
    pub(super) async fn resend(&self, server: &Server) {
        let last = self.book().fates.iter().rposition(|fate| *fate != Fate::Stored);
        let last = last.filter(|last| self.habit.resends && *last + 1 == self.sent());
        if let Some(request) = last {
            self.push(server, request).await;
        }
    }

    /// Sends requests, one every `period`, until it is stopped or the server is gone.
    pub(super) async fn run(self: Arc<Self>, server: Server, stop: Shutdown, period: Duration) {
        let begun = server.clock.monotonic();
        let mut due = Duration::ZERO;
        let mut request = self.sent();
        while !stop.is_stopped() {
            let Some(status) = self.push(&server, request).await else { return };
            if status == 204 || !self.habit.resends {
                request = self.sent();
            }
            due += period;
            let passed = server.clock.monotonic().saturating_sub(begun);
            // A sender that fell behind catches up; one that was held up for long does not.
            due = due.max(passed.saturating_sub(period * 5));
            server.clock.sleep(due.saturating_sub(passed)).await;
        }
    }
}
