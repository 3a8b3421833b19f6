//! Native histograms that quipu hands on to Prometheus: by remote read, in both forms, and by federation.
//!
//! ```text
//!   samples ─▶ Prometheus R ─────────────────────────────────────────▶ answers
//!          └─▶ quipu ─ STREAMED_XOR_CHUNKS ─▶ Prometheus (remote_read) ─▶ the same answers
//!                    ├ SAMPLES ─ remote write ─▶ Prometheus ────────────▶ the same answers
//!                    └ /federate, protobuf ─ scraped ─▶ Prometheus ─────▶ the newest samples
//! ```

use quipu::model::Histogram;

use super::super::peers::{Prometheus, Quipu, write_request};
use super::answer::{Tally, compare};
use super::data::{LENGTH_MS, START_MS, Series};
use super::dice::Dice;
use super::grammar::Term;
use super::{FEATURES, Question, ask, filled, histograms, questions, seconds, write};

/// Expressions that are asked of each.
const COUNT: usize = 60;

/// A packed `ReadRequest { 1 query { 1 start, 2 end, 3 matcher { 1 type, 2 name, 3 value } } }`: all `nh_` but the mixed
/// ones and those with stale markers, which are floats there: they would have to be written in two orders.
fn read_request() -> Vec<u8> {
    const MATCHES: i64 = 2;
    let field = |number: u8, bytes: &[u8]| -> Vec<u8> {
        let length = u8::try_from(bytes.len()).expect("short");
        [&[number << 3 | 2, length], bytes].concat()
    };
    let number = |number: u8, value: i64| -> Vec<u8> {
        let (mut out, mut value) = (vec![number << 3], value.cast_unsigned());
        while value >= 0x80 {
            out.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        out.push(value.to_le_bytes()[0]);
        out
    };
    let names = field(3, b"nh_[^me].*");
    let matcher = [number(1, MATCHES), field(2, b"__name__"), names].concat();
    let times = [number(1, START_MS - 600_000), number(2, START_MS + LENGTH_MS + 600_000)].concat();
    let query = [times, field(3, &matcher)].concat();
    snap::raw::Encoder::new().compress_vec(&field(1, &query)).expect("small")
}

/// The samples that quipu answers in one message, as a remote write request: a `QueryResult` has the same fields.
async fn samples_of(quipu: &Quipu) -> Vec<u8> {
    let request = quipu.client.post(format!("{}/api/v1/read", quipu.http)).body(read_request());
    let answer = request.send().await.expect("it answers");
    assert_eq!(answer.status().as_u16(), 200);
    let body = answer.bytes().await.expect("a body");
    let message = snap::raw::Decoder::new().decompress_vec(&body).expect("snappy");
    // `ReadResponse { 1 result }` with one result: a key, a length, and the rest.
    let length = message[1..].iter().position(|byte| *byte < 0x80).expect("a length") + 1;
    snap::raw::Encoder::new().compress_vec(&message[1 + length..]).expect("below 4 GiB")
}

async fn differences(expected: &str, found: &str, questions: &[Question], tally: &mut Tally) -> Vec<String> {
    let (client, mut differences) = (reqwest::Client::new(), Vec::new());
    for question in questions {
        let (expected, found) = tokio::join!(ask(&client, expected, question), ask(&client, found, question));
        if let Err(why) = compare(&question.term, &expected, &found, tally) {
            differences.push(format!("{} {:?}\n      {why}", question.term.text, &question.parameters[1..]));
        }
    }
    differences
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_read_hands_on_histograms() {
    if !Prometheus::is_there() {
        return;
    }
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let mut dice = Dice::new(7);
    let all = histograms::all(&mut dice);
    let (quipu, reference) = filled(folders[0].path(), false, &all).await;
    let features = format!("--enable-feature={FEATURES}");
    let read =
        format!("global: {{}}\nremote_read: [{{url: '{}/api/v1/read', read_recent: true}}]\n", quipu.http);
    let streamed = Prometheus::start(folders[1].path(), &read, &[&features]).await;
    let sampled = Prometheus::start(folders[2].path(), "global: {}\n", &[&features]).await;
    let written = write_request(&quipu.client, &sampled.http, samples_of(&quipu).await).send().await;
    let written = written.expect("it answers");
    let status = written.status().as_u16();
    assert_eq!(status, 204, "{}", written.text().await.unwrap_or_default());
    let mut questions = questions(&mut dice, true, COUNT);
    // Of these nothing is known to which a matcher could be sent.
    questions.retain(|question| question.term.text.contains("nh_"));
    let mut tally = Tally::default();
    let mut found = differences(&reference.http, &streamed.http, &questions, &mut tally).await;
    questions.retain(|question| !["nh_m", "nh_e"].iter().any(|name| question.term.text.contains(name)));
    found.extend(differences(&reference.http, &sampled.http, &questions, &mut tally).await);
    assert!(found.is_empty(), "{}:\n{}", found.len(), found.join("\n"));
    assert!(tally.histograms > COUNT, "{tally:?}");
    quipu.stop().await;
}

/// The same series, ending now.
fn recent(all: Vec<Series>, now: i64) -> Vec<Series> {
    let by = now - START_MS - LENGTH_MS;
    let shifted = |mut series: Series| {
        series.samples.iter_mut().for_each(|(time, _)| *time += by);
        series.histograms.iter_mut().for_each(|(time, _): &mut (i64, Histogram)| *time += by);
        series
    };
    all.into_iter().map(shifted).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn federation_hands_on_histograms() {
    if !Prometheus::is_there() {
        return;
    }
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let data = folders[0].path().join("data").display().to_string();
    let quipu = Quipu::start(folders[0].path(), "global: {}\n", &data).await;
    let now = quipu.clock.now_ms();
    let all = recent(histograms::all(&mut Dice::new(3)), now);
    write(&quipu.client, &quipu.http, &all, (i64::MIN, i64::MAX)).await;
    let address = quipu.http.trim_start_matches("http://");
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n\
         - job_name: federate\n  honor_labels: true\n  metrics_path: /federate\n\
        \x20 params: {{'match[]': ['{{__name__=~\"nh_.+\",job!=\"\"}}']}}\n\
        \x20 static_configs: [{{targets: ['{address}']}}]\n"
    );
    let prometheus =
        Prometheus::start(folders[1].path(), &config, &["--enable-feature=native-histograms"]).await;
    let count = "count({__name__=~\"nh_.+\",job!=\"federate\"})";
    let expected = quipu.value("count({__name__=~\"nh_.+\",job!=\"\"})").await;
    assert!(expected.is_some_and(|count| count > 6.0), "{expected:?}");
    quipu.wait_for("it is scraped", || async { prometheus.value(count).await == expected }).await;
    let mut asked = Vec::new();
    for text in ["nh_requests", "nh_floats", "nh_mixed", "histogram_quantile(0.9, sum by (job) (nh_floats))"]
    {
        let parameters = vec![("query", text.to_owned()), ("time", seconds(now + 1_000))];
        asked.push(Question { term: Term::unknown(text.to_owned()), path: "/api/v1/query", parameters });
    }
    let mut tally = Tally::default();
    let found = differences(&quipu.http, &prometheus.http, &asked, &mut tally).await;
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(tally.histograms > 6, "{tally:?}");
    quipu.stop().await;
}
