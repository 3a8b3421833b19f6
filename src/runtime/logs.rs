//! Structured logs on standard error: logfmt or JSON, one line an event; and a copy of each line for whoever wants it.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chrono::{DateTime, SecondsFormat};
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, Layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::Clock;
use crate::error::{Error, Kind, Result};

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLines {
    /// `time=… level=INFO source=… msg="…" key=value`, as Prometheus writes them.
    Logfmt,
    /// The same as one JSON object.
    Json,
}

/// Lines that wait for the one who takes them.
const QUEUE: usize = 1_024;
/// Bytes of such a line; what is longer is cut.
const LINE_BYTES: usize = 16 << 10;

/// A line of our own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLine {
    /// ns since 1970 UTC; later lines have later times.
    pub at_ns: i64,
    /// The line as on standard error, without its end.
    pub text: String,
}

/// Where lines of our own log go. Never waits: what does not fit is counted and lost.
#[derive(Debug)]
pub struct OwnTap {
    queue: mpsc::Sender<OwnLine>,
    lost: Arc<AtomicU64>,
    last_ns: AtomicI64,
}

/// Where they come out.
#[derive(Debug)]
pub struct OwnLines {
    queue: mpsc::Receiver<OwnLine>,
    lost: Arc<AtomicU64>,
}

/// A queue of lines.
pub fn own_lines() -> (OwnTap, OwnLines) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let lost = Arc::<AtomicU64>::default();
    let tap = OwnTap { queue: sender, lost: Arc::clone(&lost), last_ns: AtomicI64::new(i64::MIN) };
    (tap, OwnLines { queue: receiver, lost })
}

impl OwnTap {
    /// Hands a line over.
    pub fn send(&self, now_ms: i64, text: &str) {
        let Ok(place) = self.queue.try_reserve() else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let now_ns = now_ms.saturating_mul(1_000_000);
        let later = |last: i64| Some(now_ns.max(last.saturating_add(1)));
        let last = self.last_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later).unwrap_or(now_ns);
        let at_ns = later(last).unwrap_or(now_ns);
        let text = &text[..text.floor_char_boundary(LINE_BYTES)];
        place.send(OwnLine { at_ns, text: text.to_owned() });
    }
}

impl OwnLines {
    /// Waits for lines and appends at most `limit`; `false` when there will be none any more.
    pub async fn next(&mut self, into: &mut Vec<OwnLine>, limit: usize) -> bool {
        self.queue.recv_many(into, limit).await > 0
    }

    /// Appends what is there until `into` has `limit`.
    pub fn take_ready(&mut self, into: &mut Vec<OwnLine>, limit: usize) {
        while into.len() < limit {
            let Ok(line) = self.queue.try_recv() else { return };
            into.push(line);
        }
    }

    /// How many lines were lost since this was asked last.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

/// Starts logging for the whole process. Crates other than ours are heard from `warn` on. A copy of each line goes
/// to `tap`.
///
/// # Errors
/// `Internal` when it was started before.
pub fn start_logs(level: Level, lines: LogLines, clock: Clock, tap: OwnTap) -> Result<()> {
    let ours = LevelFilter::from_level(level);
    let theirs = ours.min(LevelFilter::WARN);
    let filter = Targets::new().with_default(theirs).with_target("quipu", ours);
    let layer = Layer::new().with_writer(std::io::stderr).event_format(Lines { form: lines, clock, tap });
    tracing_subscriber::registry()
        .with(layer)
        .with(filter)
        .try_init()
        .map_err(|e| Error::new(Kind::Internal, "logging is already started").caused_by(e))
}

struct Lines {
    form: LogLines,
    clock: Clock,
    tap: OwnTap,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now_ms = self.clock.now_ms();
        let time = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
        let head = [
            ("time", time.to_rfc3339_opts(SecondsFormat::Millis, true)),
            ("level", event.metadata().level().to_string()),
            ("source", event.metadata().target().to_owned()),
            ("msg", fields.message),
        ];
        let pairs = head.into_iter().chain(fields.others);
        let line = match self.form {
            LogLines::Logfmt => logfmt(pairs),
            LogLines::Json => json(pairs),
        };
        self.tap.send(now_ms, &line);
        writeln!(writer, "{line}")
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.others.push((name, value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn logfmt(pairs: impl Iterator<Item = (&'static str, String)>) -> String {
    let mut line = String::new();
    for (name, value) in pairs {
        let gap = if line.is_empty() { "" } else { " " };
        let plain =
            !value.is_empty() && !value.contains([' ', '"', '=', '\\']) && !value.contains(char::is_control);
        let written =
            if plain { write!(line, "{gap}{name}={value}") } else { write!(line, "{gap}{name}={value:?}") };
        written.expect("writing to a String cannot fail");
    }
    line
}

fn json(pairs: impl Iterator<Item = (&'static str, String)>) -> String {
    let object = pairs.map(|(name, value)| (name.to_owned(), serde_json::Value::String(value)));
    serde_json::Value::Object(object.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> impl Iterator<Item = (&'static str, String)> {
        [("level", "INFO"), ("msg", "a \"b\"\n"), ("key", "")].into_iter().map(|(n, v)| (n, v.to_owned()))
    }

    #[test]
    fn copies_have_times_of_their_own_and_a_bound() {
        let (tap, mut lines) = own_lines();
        let long = "é".repeat(LINE_BYTES);
        for text in ["a", "a", &long].into_iter().chain(std::iter::repeat_n("b", QUEUE)) {
            tap.send(7, text);
        }
        let mut taken = Vec::new();
        lines.take_ready(&mut taken, 3);
        let found: Vec<_> = taken.iter().map(|line| (line.at_ns, line.text.len())).collect();
        assert_eq!(found, [(7_000_000, 1), (7_000_001, 1), (7_000_002, LINE_BYTES)]);
        assert_eq!((lines.take_lost(), lines.take_lost()), (3, 0));
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(logfmt(pairs()), r#"level=INFO msg="a \"b\"\n" key="""#);
        let object: serde_json::Value = serde_json::from_str(&json(pairs())).expect("JSON");
        assert_eq!(object["msg"], "a \"b\"\n");
    }
}
