//! What is stored, held against what was sent: through PromQL sample by sample, through SQL, and in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use quipu::model::{Histogram, time};
use quipu::runtime::{Objects, Pools};
use serde_json::{Value, json};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::load::{Fate, REQUEST_EXTRAS, REQUEST_ROWS, Sender};
use super::targets::{self, Stored, TARGETS, Targets};
use crate::peers::Quipu;

/// The rows of one series.
struct Series {
    labels: Value,
    rows: Vec<(i64, f64)>,
}

/// The result of a query at a time; `None` when the process went away meanwhile.
async fn ask(quipu: &Quipu, query: &str, at_ms: i64) -> Option<Value> {
    let at = time::ms_to_seconds(at_ms).to_string();
    let request = quipu.client.get(format!("{}/api/v1/query", quipu.http));
    let answer = request.query(&[("query", query), ("time", &at)]).send().await.ok()?;
    let text = answer.text().await.ok()?;
    let mut answer: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{query}: {e}: {text}"));
    assert_eq!(answer["status"], "success", "{query} at {at}: {text}");
    Some(answer["data"]["result"].take())
}

/// A number; 0 for an empty vector.
async fn number(quipu: &Quipu, query: &str, at_ms: i64) -> Option<f64> {
    let result = ask(quipu, query, at_ms).await?;
    Some(result[0]["value"][1].as_str().map_or(0.0, |text| text.parse().expect("a number")))
}

/// The raw samples of a range selector. Those of one series ascend in time: none is there twice.
async fn raw(quipu: &Quipu, selector: &str, (at_ms, length_ms): (i64, i64)) -> Option<Vec<Series>> {
    let mut result = ask(quipu, &format!("{selector}[{length_ms}ms]"), at_ms).await?;
    let series = result.as_array_mut().expect("a matrix");
    let mut all = Vec::with_capacity(series.len());
    for one in series {
        let points = one["values"].as_array().expect("a series of a matrix has samples");
        let row = |point: &Value| {
            let at = point[0].as_f64().expect("a time");
            let value = point[1].as_str().expect("a value in quotes").parse().expect("a value");
            (time::seconds_to_ms(at), value)
        };
        let rows: Vec<(i64, f64)> = points.iter().map(row).collect();
        let labels = one["metric"].take();
        assert!(rows.windows(2).all(|two| two[0].0 < two[1].0), "{labels}: times do not ascend: {rows:?}");
        all.push(Series { labels, rows });
    }
    Some(all)
}

fn series_number(labels: &Value) -> u16 {
    labels["n"].as_str().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("never sent: {labels}"))
}

/// Requests of a sender, sample by sample: what was acknowledged is there, what was refused is not, and of what
/// got no answer all is there or nothing, which is remembered.
pub(super) async fn pushed(quipu: &Quipu, sender: &Sender, requests: Range<usize>) -> Option<()> {
    let fates = sender.fates(requests.clone());
    // Samples, histograms and exemplars.
    let mut found = vec![[0; 3]; requests.len()];
    for window in sender.windows(&requests).into_iter().filter(|(_, length)| *length > 0) {
        for at in histograms(quipu, sender, window).await? {
            found[at - requests.start][1] += 1;
        }
        for at in exemplars(quipu, sender, window).await? {
            found[at - requests.start][2] += 1;
        }
        let selector = format!("pushed{{sender=\"{}\"}}", sender.number);
        for Series { labels, rows } in raw(quipu, &selector, window).await? {
            let series = series_number(&labels);
            for (at, value) in rows {
                let request = sender.request_of(series, at, value).filter(|it| requests.contains(it));
                let request = request.unwrap_or_else(|| panic!("never sent: {labels} {value} at {at}"));
                found[request - requests.start][0] += 1;
            }
        }
    }
    let whole = [REQUEST_ROWS, REQUEST_EXTRAS, REQUEST_EXTRAS];
    for ((request, fate), rows) in requests.zip(fates).zip(found) {
        let fits = match fate {
            Fate::Stored => rows == whole,
            Fate::Absent => rows == [0; 3],
            Fate::Open => rows == whole || rows == [0; 3],
        };
        assert!(fits, "request {request} of sender {} is {fate:?}: {rows:?} of {whole:?}", sender.number);
        sender.settle(request, rows == whole);
    }
    Some(())
}

/// The requests of the native histograms in a window, each of which is what was sent.
async fn histograms(quipu: &Quipu, sender: &Sender, (at_ms, length_ms): (i64, i64)) -> Option<Vec<usize>> {
    let selector = format!("spread{{sender=\"{}\"}}[{length_ms}ms]", sender.number);
    let result = ask(quipu, &selector, at_ms).await?;
    let mut requests = Vec::new();
    let mut before = i64::MIN;
    for point in result[0]["histograms"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let at = time::seconds_to_ms(point[0].as_f64().expect("a time"));
        assert!(before < at, "{selector}: a histogram is there twice: {point}");
        before = at;
        let (request, column) = sender.place_of(at).unwrap_or_else(|| panic!("never sent: {point}"));
        assert_eq!(point[1], shown(&sender.histogram(request, column)), "a histogram of request {request}");
        requests.push(request);
    }
    Some(requests)
}

/// A histogram of a sender as Prometheus' JSON shows it: buckets of schema 0, empty ones left out.
fn shown(histogram: &Histogram) -> Value {
    let [first, _, last] = histogram.positive[..] else { panic!("a sender's histograms have three buckets") };
    let zero = histogram.zero_threshold.to_string();
    json!({
        "count": histogram.count.to_string(),
        "sum": histogram.sum.to_string(),
        "buckets": [
            [3, format!("-{zero}"), zero, histogram.zero_count.to_string()],
            [0, "0.5", "1", first.to_string()],
            [0, "4", "8", last.to_string()],
        ],
    })
}

/// The requests of the exemplars in a window, each of which is what was sent.
async fn exemplars(quipu: &Quipu, sender: &Sender, (at_ms, length_ms): (i64, i64)) -> Option<Vec<usize>> {
    let query = format!("pushed{{sender=\"{}\"}}", sender.number);
    let [from, to] = [at_ms - length_ms + 1, at_ms].map(|ms| time::ms_to_seconds(ms).to_string());
    let request = quipu.client.get(format!("{}/api/v1/query_exemplars", quipu.http));
    let answer = request.query(&[("query", &query), ("start", &from), ("end", &to)]).send().await.ok()?;
    let text = answer.text().await.ok()?;
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{query}: {e}: {text}"));
    assert_eq!(answer["status"], "success", "{query}: {text}");
    let mut requests = Vec::new();
    for series in answer["data"].as_array().expect("a list of series") {
        assert_eq!(series["seriesLabels"]["n"], "0", "exemplars of another series: {series}");
        for found in series["exemplars"].as_array().expect("a list of exemplars") {
            let at = time::seconds_to_ms(found["timestamp"].as_f64().expect("a time"));
            let (request, column) = sender.place_of(at).unwrap_or_else(|| panic!("never sent: {found}"));
            let sent = sender.exemplar(request, column);
            let value = found["value"].as_str().and_then(|text| text.parse().ok()).map(f64::to_bits);
            let trace = (found["labels"]["trace_id"].as_str(), sent.labels.get("trace_id"));
            assert!(value == Some(sent.value.to_bits()) && trace.0 == trace.1, "{found} and not {sent:?}");
            requests.push(request);
        }
    }
    Some(requests)
}

/// The first `requests` requests of a sender in one number. No two samples have one value, so that the sum tells
/// of a lost one, a foreign one and one that is there twice.
pub(super) async fn pushed_total(quipu: &Quipu, sender: &Sender, requests: usize) -> Option<()> {
    let mut found = 0.0;
    for (at, length) in sender.windows(&(0..requests)).into_iter().filter(|(_, length)| *length > 0) {
        let selector = format!("pushed{{sender=\"{}\"}}[{length}ms]", sender.number);
        found += number(quipu, &format!("sum(sum_over_time({selector}))"), at).await?;
    }
    let (_, sum) = sender.stored(requests);
    assert_eq!(found.to_bits(), sum.to_bits(), "sender {}, {requests} requests: {found}", sender.number);
    let mut found = 0.0;
    for (at, length) in sender.windows(&(0..requests)).into_iter().filter(|(_, length)| *length > 0) {
        let selector = format!("spread{{sender=\"{}\"}}[{length}ms]", sender.number);
        found += number(quipu, &format!("histogram_count(sum(sum_over_time({selector})))"), at).await?;
    }
    let (_, sum) = sender.stored_histograms(requests);
    assert_eq!(found.to_bits(), sum.to_bits(), "sender {}: observations, {requests} requests", sender.number);
    Some(())
}

/// The scrapes of every life that was not looked at yet; answers the samples found.
pub(super) async fn scraped(quipu: &Quipu, targets: &Targets) -> Option<u64> {
    let mut all = 0;
    for target in 0..TARGETS {
        for life in targets.unchecked(target) {
            let window = (life.to_ms, life.to_ms - life.from_ms);
            let samples = raw(quipu, &format!("scraped{{job=\"t{target}\"}}"), window).await?;
            let ups = raw(quipu, &format!("up{{job=\"t{target}\"}}"), window).await?;
            let found = scrapes_of(target, &life, &samples, &ups);
            all += found.rows;
            targets.checked(target, found);
        }
    }
    Some(all)
}

/// Holds the samples of one target and life against what it showed.
fn scrapes_of(target: usize, life: &targets::Life, samples: &[Series], ups: &[Series]) -> Stored {
    let mut by_time: BTreeMap<i64, Vec<(u16, f64)>> = BTreeMap::new();
    for Series { labels, rows } in samples {
        let series = series_number(labels);
        for (at, value) in rows {
            by_time.entry(*at).or_default().push((series, *value));
        }
    }
    let mut stored = Stored { until_ms: life.to_ms, ..Stored::default() };
    let mut scrapes = BTreeSet::new();
    for (at, rows) in &by_time {
        assert_eq!(rows.len(), usize::from(targets::SERIES), "target {target}: half a scrape at {at}");
        let of = |scrape: &&u32| {
            rows.iter().all(|(n, value)| value.to_bits() == targets::value(**scrape, *n).to_bits())
        };
        let scrape = life.shown.iter().find(of);
        let scrape = scrape.unwrap_or_else(|| panic!("target {target}: never shown: {rows:?} at {at}"));
        assert!(scrapes.insert(*scrape), "target {target}: scrape {scrape} is there twice");
        stored.rows += u64::from(targets::SERIES);
        stored.sum += rows.iter().map(|(_, value)| value).sum::<f64>();
    }
    let up: Vec<(i64, f64)> = ups.iter().flat_map(|series| series.rows.iter().copied()).collect();
    let good = up.iter().filter(|(_, up)| *up > 0.0).map(|(at, _)| at);
    assert!(good.eq(by_time.keys()), "target {target}: up is {up:?}, samples are at {:?}", by_time.keys());
    stored.ups = up.len() as u64;
    stored.failed = stored.ups - by_time.len() as u64;
    // In the order of showing: the last one may have been on its way.
    let done = life.shown.len().saturating_sub(1);
    let lost = life.shown[..done].iter().filter(|scrape| !scrapes.contains(scrape)).count() as u64;
    assert!(
        lost <= stored.failed,
        "target {target}: {lost} scrapes are gone, {} failed: {life:?}",
        stored.failed
    );
    stored
}

/// All checked scrapes in one number.
pub(super) async fn scraped_total(quipu: &Quipu, targets: &Targets, since_ms: i64) -> Option<()> {
    for target in 0..TARGETS {
        let stored = targets.stored(target);
        if stored.until_ms <= since_ms {
            continue;
        }
        let selector = format!("scraped{{job=\"t{target}\"}}[{}ms]", stored.until_ms - since_ms);
        let sum = number(quipu, &format!("sum(sum_over_time({selector}))"), stored.until_ms).await?;
        assert_eq!(sum.to_bits(), stored.sum.to_bits(), "target {target}: {sum} of {}", stored.sum);
    }
    Some(())
}

/// Samples by metric as SQL counts them; none is there twice.
pub(super) async fn sql(quipu: &Quipu) -> BTreeMap<String, u64> {
    let config = format!("host=127.0.0.1 port={} user=quipu dbname=quipu", quipu.pg_port);
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.expect("the Postgres door");
    drop(Pools::current().spawn_io(connection));
    let counts = "SELECT metric, count(*) FROM samples GROUP BY metric";
    let distinct = "SELECT metric, count(*) FROM (SELECT DISTINCT metric, series_id, timestamp FROM samples) \
                    AS d GROUP BY metric";
    let mut answers = Vec::new();
    for sql in [counts, distinct] {
        let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let mut rows = BTreeMap::new();
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                let metric = row.get(0).expect("a metric").to_owned();
                rows.insert(metric, row.get(1).and_then(|n| n.parse().ok()).expect("a count"));
            }
        }
        answers.push(rows);
    }
    let distinct = answers.pop().expect("two answers");
    let counts = answers.pop().expect("two answers");
    assert_eq!(counts, distinct, "a sample is there twice");
    counts
}

/// Rows of the live files of a table, as its log tells.
pub(super) async fn rows_in_files(objects: &Objects, table: &str) -> u64 {
    let mut live = BTreeMap::new();
    for entry in objects.list(&format!("default/{table}/_delta_log")).await.expect("the log can be listed") {
        if entry.path.rsplit_once('.').is_none_or(|(_, extension)| extension != "json") {
            continue;
        }
        let bytes = objects.get(&entry.path).await.expect("a commit can be read");
        for line in String::from_utf8_lossy(&bytes).lines() {
            let action: Value = serde_json::from_str(line).expect("a commit is JSON");
            if let Some(path) = action["add"]["path"].as_str() {
                let stats = action["add"]["stats"].as_str().expect("a file has statistics");
                let stats: Value = serde_json::from_str(stats).expect("statistics are JSON");
                live.insert(path.to_owned(), stats["numRecords"].as_u64().expect("a count"));
            }
            if let Some(path) = action["remove"]["path"].as_str() {
                assert!(live.remove(path).is_some(), "{path} was removed and never there");
            }
        }
    }
    live.values().sum()
}
