//! `/query`, `/query_range`: PromQL questions in Prometheus' form.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;

use super::catalogue::TRUNCATED;
use super::outgoing::streamed;
use super::params::{Form, parse_duration, quote};
use super::reply::{ApiError, Reply, invalid_parameter, json_body, json_bytes, query_error, success};
use super::{Door, Rooms, answer};
use crate::query::{AnswerSeries, Question, Times};

/// Points of one series in one answer: 60 s for a week, 1 h for a year.
const MAX_POINTS: i64 = 11_000;
/// An answer with fewer points than this is written where it was asked for.
const SMALL_POINTS: usize = 20_000;
/// Warnings and infos in one answer; what is more is counted.
const MAX_ANNOTATIONS: usize = 10;

/// GET or POST `/query`.
pub(super) async fn instant(State(door): State<Arc<Door>>, form: Form) -> Reply {
    let rooms = door.rooms()?;
    let limit = form.limit()?;
    let time_ms = form.time_or("time", door.clock.now_ms())?;
    let question = question(&form, Times::Instant { time_ms })?;
    ask(rooms, question, limit, form.value("stats")).await
}

/// GET or POST `/query_range`.
pub(super) async fn range(State(door): State<Arc<Door>>, form: Form) -> Reply {
    let rooms = door.rooms()?;
    let limit = form.limit()?;
    let start_ms = form.time("start")?;
    let end_ms = form.time("end")?;
    if end_ms < start_ms {
        return Err(invalid_parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = parse_duration(form.value("step")).map_err(|e| invalid_parameter("step", e))?;
    if step_ms <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(invalid_parameter("step", why));
    }
    if end_ms.saturating_sub(start_ms) / step_ms > MAX_POINTS {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query \
             resolution (?step=XX)",
        ));
    }
    let question = question(&form, Times::Range { start_ms, end_ms, step_ms })?;
    ask(rooms, question, limit, form.value("stats")).await
}

/// What both have in common, in the order in which Prometheus looks at it.
fn question(form: &Form, times: Times) -> Result<Question, ApiError> {
    let positive = |ms: i64| u64::try_from(ms).ok().map(Duration::from_millis);
    let timeout = form.duration("timeout")?.map(|ms| positive(ms).unwrap_or_default());
    let lookback = match form.value("lookback_delta") {
        "" => None,
        text => Some(
            parse_duration(text)
                .map_err(|e| ApiError::bad_data(format!("error parsing lookback delta duration: {e}")))?,
        ),
    };
    let lookback_ms = lookback.filter(|ms| *ms > 0);
    Ok(Question { text: form.value("query").to_owned(), times, lookback_ms, timeout })
}

async fn ask(rooms: &Rooms, question: Question, limit: Option<usize>, stats: &str) -> Reply {
    let data = rooms.data();
    let mut found = rooms.engine.promql(&data, &question).await.map_err(query_error)?;
    let truncated = limit.is_some_and(|limit| found.truncate(limit));
    if truncated {
        found.warnings.push(TRUNCATED.to_owned());
    }
    if !matches!(stats, "" | "true" | "all") {
        found.warnings.push(format!(
            "value {} for parameter \"stats\" is deprecated and will be rejected in the next major release, use \
             \"true\" or \"all\"",
            quote(stats)
        ));
    }
    abridge(&mut found.warnings, "warning");
    abridge(&mut found.infos, "info");
    let stats = !stats.is_empty();
    let points: usize = found.series().iter().map(AnswerSeries::point_count).sum();
    if points < SMALL_POINTS {
        return Ok(json_bytes(answer::to_json(&found, stats)));
    }
    // Writing millions of numbers must not hold up those who wait on sockets, nor stand in memory as text.
    Ok(json_body(streamed(&rooms.pools, |mut out| async move {
        answer::write(&found, stats, &mut out).await?;
        Ok(out)
    })))
}

fn abridge(annotations: &mut Vec<String>, kind: &str) {
    let more = annotations.len().saturating_sub(MAX_ANNOTATIONS);
    annotations.truncate(MAX_ANNOTATIONS);
    if more > 0 {
        annotations.push(format!("{more} more {kind} annotations omitted"));
    }
}

/// GET or POST `/format_query`.
pub(super) async fn format(form: Form) -> Reply {
    success(crate::query::format_promql(form.value("query")).map_err(query_error)?)
}

/// GET or POST `/parse_query`.
pub(super) async fn parse(form: Form) -> Reply {
    success(crate::query::promql_tree(form.value("query")).map_err(query_error)?)
}
