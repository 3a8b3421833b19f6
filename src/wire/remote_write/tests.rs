//! Requests go round, bad series do not spoil good ones, and hostile bytes end in errors.

use std::sync::Arc;

use super::*;
use crate::model::{Labels, MetricMetadata, STALE_NAN};
use crate::runtime::fuzz::fuzz;
use crate::wire::protobuf::{put_bytes, put_double, put_number};

static LIMITS: std::sync::LazyLock<Limits> = std::sync::LazyLock::new(Limits::default);

/// Every series of an uncompressed message: `metric{labels} samples`, or its error.
fn read(message: &[u8], limits: &Limits) -> Result<Vec<Result<String>>> {
    let request = WriteRequest::new(message, limits);
    let mut pairs = LabelPairs::default();
    let mut out = Vec::new();
    request.for_each_series(|series| {
        out.push(series.labels(&mut pairs).and_then(|()| {
            let mut canonical = Vec::new();
            pairs.push_canonical(&mut canonical);
            let labels = Labels::from_canonical(&canonical)?;
            assert_eq!(labels.iter().collect::<Vec<_>>(), pairs.pairs());
            let counts = format!("{}e{}h", series.exemplars, series.histograms);
            Ok(format!("{}{} {:?} {counts}", pairs.metric(), labels.as_ref(), series.samples))
        }));
        Ok(())
    })?;
    Ok(out)
}

fn good(message: &[u8]) -> Vec<String> {
    let all: Result<Vec<_>> = read(message, &LIMITS).expect("the message is whole").into_iter().collect();
    all.expect("every series is good")
}

fn label(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    put_bytes(&mut message, 1, name);
    put_bytes(&mut message, 2, value);
    message
}

type Label<'a> = (&'a [u8], &'a [u8]);

/// A request of one series with these labels and one sample.
fn request(labels: &[Label<'_>]) -> Vec<u8> {
    let (mut message, mut series, mut sample) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in labels {
        put_bytes(&mut series, 1, &label(name, value));
    }
    put_double(&mut sample, 1, 1.5);
    put_number(&mut sample, 2, 1000);
    put_bytes(&mut series, 2, &sample);
    put_bytes(&mut message, 1, &series);
    message
}

#[test]
fn what_is_encoded_comes_back() -> Result<()> {
    let stale = f64::from_bits(STALE_NAN);
    let labels = [("__name__", "up"), ("instance", "é:1"), ("job", "api")];
    let series = [
        SeriesToWrite { labels: &labels, samples: &[(1_435_781_451_781, 1.0), (-5, -0.25)] },
        SeriesToWrite { labels: &labels[..1], samples: &[(i64::MIN, f64::INFINITY), (i64::MAX, 0.0)] },
        SeriesToWrite { labels: &labels[..1], samples: &[(0, stale)] },
        SeriesToWrite { labels: &labels[..1], samples: &[] },
    ];
    let metadata = [MetricMetadata {
        metric: Arc::from("up"),
        kind: MetricType::Gauge,
        help: Arc::from("Is it?"),
        unit: Arc::from(""),
    }];
    let body = encode(&series, &metadata)?;
    let mut message = vec![7; 3];
    decompress(&body, &LIMITS, &mut message)?;
    assert_eq!(
        good(&message),
        [
            "up{instance=\"é:1\", job=\"api\"} [(1435781451781, 1.0), (-5, -0.25)] 0e0h",
            "up{} [(-9223372036854775808, inf), (9223372036854775807, 0.0)] 0e0h",
            "up{} [(0, NaN)] 0e0h",
            "up{} [] 0e0h",
        ]
    );
    let request = WriteRequest::new(&message, &LIMITS);
    let mut bits = Vec::new();
    request.for_each_series(|series| {
        bits.extend(series.samples.iter().map(|(_, value)| value.to_bits()));
        Ok(())
    })?;
    assert!(bits.contains(&STALE_NAN), "a stale marker keeps its bits");
    let mut seen = Vec::new();
    request.for_each_metadata(|one| {
        seen.push(one?);
        Ok(())
    })?;
    assert_eq!(seen, [MetadataRef { metric: "up", kind: MetricType::Gauge, help: "Is it?", unit: "" }]);
    Ok(())
}

#[test]
fn order_emptiness_and_fields_of_the_future_do_not_matter() {
    let unsorted = request(&[(b"job", b"api"), (b"A", b"1"), (b"zone", b""), (b"__name__", b"up")]);
    assert_eq!(good(&unsorted), ["up{A=\"1\", job=\"api\"} [(1000, 1.5)] 0e0h"]);
    // Labels behind the samples, unknown fields of every wire type at every level, a sample of default values.
    let (mut series, mut message) = (Vec::new(), Vec::new());
    let mut name = label(b"__name__", b"up");
    put_number(&mut name, 9, 1);
    put_bytes(&mut series, 2, b"");
    put_bytes(&mut series, 99, b"unknown");
    put_bytes(&mut series, 1, &name);
    put_double(&mut series, 98, 1.0);
    put_bytes(&mut series, 3, b"exemplar");
    put_bytes(&mut series, 1, &label(b"a", b"b"));
    put_bytes(&mut series, 4, b"histogram");
    put_bytes(&mut message, 2, b"reserved");
    put_bytes(&mut message, 1, &series);
    message.extend([15 << 3 | 5, 1, 2, 3, 4]);
    assert_eq!(good(&message), ["up{a=\"b\"} [(0, 0.0)] 1e1h"]);
}

#[test]
fn a_bad_series_is_named_and_its_neighbours_are_read() {
    let long = vec![b'x'; 10 << 20];
    let many: Vec<_> = (0..300).map(|i| format!("l{i:03}").into_bytes()).collect();
    let mut too_many: Vec<Label<'_>> = many.iter().map(|name| (name.as_slice(), &b"v"[..])).collect();
    too_many.insert(0, (b"__name__", b"many"));
    let cases: [(&[Label<'_>], Kind, &str); 9] = [
        (&[(b"job", b"api")], Kind::Invalid, "no metric name (label __name__)"),
        (&[(b"__name__", b""), (b"job", b"api")], Kind::Invalid, "no metric name"),
        (&[(b"__name__", b"a"), (b"job", b"x"), (b"job", b"x")], Kind::Invalid, "occurs twice (label: job"),
        (&[(b"__name__", b"a"), (b"__name__", b"b")], Kind::Invalid, "occurs twice"),
        (&[(b"__name__", b"a"), (b"", b"x")], Kind::Invalid, "a label name is empty"),
        (&[(b"__name__", b"a"), (b"b", b"\xFF")], Kind::Invalid, "label value is not UTF-8"),
        (&[(b"__name__", b"a"), (b"b", &long)], Kind::Limit, "label_value_bytes of 16384"),
        (&[(b"__name__", b"a"), (&long, b"b")], Kind::Limit, "label_name_bytes of 1024"),
        (&too_many, Kind::Limit, "labels_per_series of 256"),
    ];
    let good = request(&[(b"__name__", b"good")]);
    for (labels, kind, words) in cases {
        let message = [good.as_slice(), &request(labels), &good].concat();
        let all = read(&message, &LIMITS).expect("the message is whole");
        let [Ok(before), Err(error), Ok(after)] = all.as_slice() else { panic!("{words}: {all:?}") };
        assert_eq!((before.as_str(), after), ("good{} [(1000, 1.5)] 0e0h", before));
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        assert!(text.contains(words) && text.contains("series: {") && text.len() < 2_000, "{text}");
    }
}

#[test]
fn a_body_that_is_no_request_is_refused_whole() {
    for (message, words) in [
        (&[0x0A, 5, 1][..], "cut off (message: WriteRequest)"),
        (&[0x08, 1], "another type than it should (message: TimeSeries)"),
        (&[0x0A, 2, 0x10, 1], "another type than it should (message: TimeSeries)"),
        (&[0x0A, 4, 0x12, 2, 0x08, 1], "another type than it should (message: TimeSeries)"),
        (&[0x0A, 3, 0x12, 5, 1], "cut off (message: TimeSeries)"),
        (&[0x0B], "wire type"),
        (&[0x1A, 2, 0x0A, 0], "another type than it should (message: MetricMetadata)"),
    ] {
        let request = WriteRequest::new(message, &LIMITS);
        let series = request.for_each_series(|_| Ok(()));
        let error = series.and_then(|()| request.for_each_metadata(|_| Ok(()))).expect_err(words);
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn metadata_that_cannot_be_used_is_an_error_of_its_own() -> Result<()> {
    let (mut message, mut one) = (Vec::new(), Vec::new());
    put_number(&mut one, 1, 1);
    put_bytes(&mut message, 3, &one);
    put_bytes(&mut one, 2, b"a_total");
    put_bytes(&mut message, 3, &one);
    put_number(&mut one, 1, 77);
    put_bytes(&mut message, 3, &one);
    put_bytes(&mut one, 4, b"\xFF");
    put_bytes(&mut message, 3, &one);
    let mut seen = Vec::new();
    WriteRequest::new(&message, &LIMITS).for_each_metadata(|one| {
        seen.push(one.map(|one| (one.metric.to_owned(), one.kind)).map_err(|e| e.message().to_owned()));
        Ok(())
    })?;
    assert_eq!(
        seen,
        [
            Err("metadata has no metric name".to_owned()),
            Ok(("a_total".to_owned(), MetricType::Counter)),
            Ok(("a_total".to_owned(), MetricType::Unknown)),
            Err("a help text is not UTF-8".to_owned()),
        ]
    );
    Ok(())
}

#[test]
fn a_snappy_bomb_is_refused_before_memory_is_taken() {
    let mut out = Vec::new();
    // A header that claims 4 GiB - 1.
    let error = decompress(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0], &LIMITS, &mut out).expect_err("a bomb");
    assert_eq!((error.kind(), error.get("limit")), (Kind::Limit, Some("body_bytes")));
    // One that stays below the limit, but not below what snappy can do.
    let error = decompress(&[0x80, 0x80, 0x80, 0x08, 0, 0], &LIMITS, &mut out).expect_err("a bomb");
    assert!(error.to_string().contains("claims 16777216 bytes in a block of 6"), "{error}");
    assert_eq!(out.capacity(), 0);
    let zeros = snap::raw::Encoder::new().compress_vec(&vec![0; 1 << 20]).expect("it fits");
    assert!(decompress(&zeros, &LIMITS, &mut out).is_ok(), "as dense as snappy gets: {}", zeros.len());
    let small = Limits { body_bytes: (1 << 20) - 1, ..Limits::default() };
    assert!(decompress(&zeros, &small, &mut out).is_err_and(|e| e.kind() == Kind::Limit));
    for body in [&b""[..], b"plain text", &[5, 0, 1]] {
        let error = decompress(body, &LIMITS, &mut out).expect_err("no snappy");
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
}

#[test]
fn an_error_of_the_visitor_ends_the_walk() {
    let message = [request(&[(b"__name__", b"a")]), request(&[(b"__name__", b"b")])].concat();
    let mut visits = 0;
    let result = WriteRequest::new(&message, &LIMITS).for_each_series(|_| {
        visits += 1;
        Err(Error::invalid("enough"))
    });
    assert!(result.is_err() && visits == 1);
}

#[test]
fn hostile_bodies_end_without_a_panic() {
    let labels = [("__name__", "up"), ("instance", "é:1"), ("job", "api")];
    let series = SeriesToWrite { labels: &labels, samples: &[(1_435_781_451_781, 1.0), (-5, -0.25)] };
    let family = MetricMetadata {
        metric: "up".into(),
        kind: MetricType::Gauge,
        help: "help".into(),
        unit: "s".into(),
    };
    let body = encode(&[series; 3], &[family]).expect("it is small");
    let mut message = Vec::new();
    decompress(&body, &LIMITS, &mut message).expect("it was just encoded");
    let whole = |message: &[u8]| {
        let metadata = WriteRequest::new(message, &LIMITS).for_each_metadata(|_| Ok(()));
        read(message, &LIMITS).is_ok_and(|all| all.iter().all(Result::is_ok)) && metadata.is_ok()
    };
    fuzz("remote_write", &[&message], &[], whole);
    let mut unpacked = Vec::new();
    fuzz("snappy", &[&body], &[], |block| {
        decompress(block, &LIMITS, &mut unpacked).is_ok() && whole(&unpacked)
    });
}
