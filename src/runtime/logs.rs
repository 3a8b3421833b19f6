//! Structured logs on standard error: logfmt or JSON, one line an event.

use std::fmt::{self, Write as _};

use chrono::{DateTime, SecondsFormat};
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

/// Starts logging for the whole process. Crates other than ours are heard from `warn` on.
///
/// # Errors
/// `Internal` when it was started before.
pub fn start_logs(level: Level, lines: LogLines, clock: Clock) -> Result<()> {
    let ours = LevelFilter::from_level(level);
    let theirs = ours.min(LevelFilter::WARN);
    let filter = Targets::new().with_default(theirs).with_target("quipu", ours);
    let layer = Layer::new().with_writer(std::io::stderr).event_format(Lines { lines, clock });
    tracing_subscriber::registry()
        .with(layer)
        .with(filter)
        .try_init()
        .map_err(|e| Error::new(Kind::Internal, "logging is already started").caused_by(e))
}

struct Lines {
    lines: LogLines,
    clock: Clock,
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
        let time = DateTime::from_timestamp_millis(self.clock.now_ms()).unwrap_or_default();
        let head = [
            ("time", time.to_rfc3339_opts(SecondsFormat::Millis, true)),
            ("level", event.metadata().level().to_string()),
            ("source", event.metadata().target().to_owned()),
            ("msg", fields.message),
        ];
        let pairs = head.into_iter().chain(fields.others);
        let line = match self.lines {
            LogLines::Logfmt => logfmt(pairs),
            LogLines::Json => json(pairs),
        };
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
    fn a_line_is_one_line() {
        assert_eq!(logfmt(pairs()), r#"level=INFO msg="a \"b\"\n" key="""#);
        let object: serde_json::Value = serde_json::from_str(&json(pairs())).expect("JSON");
        assert_eq!(object["msg"], "a \"b\"\n");
    }
}
