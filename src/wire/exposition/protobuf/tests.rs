//! Families of every type, and hostile bytes.

use super::*;
use crate::model::{ResetHint, Span};
use crate::wire::exposition::LabelScratch;
use crate::wire::protobuf::{put_bytes, put_double, put_number, put_varint};

type Bytes = Vec<u8>;

fn message(fill: impl FnOnce(&mut Bytes)) -> Bytes {
    let mut out = Vec::new();
    fill(&mut out);
    out
}

fn label(name: &str, value: &str) -> Bytes {
    message(|out| {
        put_bytes(out, 1, name.as_bytes());
        put_bytes(out, 2, value.as_bytes());
    })
}

/// A family of one metric whose typed part is `body` in field `part`.
fn family(name: &str, kind: u64, part: u64, body: &[u8]) -> Bytes {
    let metric = message(|out| {
        put_bytes(out, 1, &label("code", "a\"b"));
        put_bytes(out, part, body);
    });
    let family = message(|out| {
        put_bytes(out, 1, name.as_bytes());
        put_bytes(out, 2, b"Help.");
        put_number(out, 3, kind);
        put_bytes(out, 4, &metric);
    });
    message(|out| {
        put_varint(out, family.len() as u64);
        out.extend_from_slice(&family);
    })
}

fn exemplar(trace: &str, seconds: Option<u64>) -> Bytes {
    message(|out| {
        put_bytes(out, 1, &label("trace_id", trace));
        put_double(out, 2, 0.5);
        if let Some(seconds) = seconds {
            put_bytes(out, 3, &message(|out| put_number(out, 1, seconds)));
        }
    })
}

/// A histogram with classic buckets and a native side.
fn histogram() -> Bytes {
    message(|out| {
        put_number(out, 1, 6);
        put_double(out, 2, 12.5);
        for (count, bound) in [(2, 0.5), (5, 1.0)] {
            let bucket = message(|out| {
                put_number(out, 1, count);
                put_double(out, 2, bound);
                put_bytes(out, 3, &exemplar("t", Some(7)));
            });
            put_bytes(out, 3, &bucket);
        }
        put_number(out, 5, 6); // zigzag of 3
        put_double(out, 6, 0.001);
        put_number(out, 7, 1);
        let span = message(|out| {
            put_number(out, 1, 1); // zigzag of -1
            put_number(out, 2, 2);
        });
        put_bytes(out, 12, &span);
        put_number(out, 13, 4); // 2, unpacked
        put_number(out, 13, 2); // +1
    })
}

/// Everything that a body says, as text.
fn read(body: &[u8], options: HistogramOptions) -> Result<Vec<String>> {
    let (limits, mut out) = (Limits::default(), Vec::new());
    let series = |line: &SampleLine<'_>| -> Result<String> {
        let mut scratch = LabelScratch::default();
        line.labels(&mut scratch)?;
        let pairs: Vec<_> = scratch.pairs().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(format!("{}[{}]", scratch.metric(), pairs.join(",")))
    };
    for_each(body, &limits, options, |event| {
        out.push(match event {
            ProtobufEvent::About(Event::Type { metric, kind }) => format!("{metric}: {}", kind.as_str()),
            ProtobufEvent::About(_) => return Ok(()),
            ProtobufEvent::Sample(line) => {
                let exemplar = line.exemplar.map(|one| {
                    format!(" {} {} {:?}", String::from_utf8_lossy(one.labels), one.value, one.timestamp_ms)
                });
                format!("{} {}{}", series(&line)?, line.value, exemplar.unwrap_or_default())
            }
            ProtobufEvent::Histogram(event) => {
                event.histogram.check()?;
                format!("{} {:?} {}", series(&event.line)?, event.histogram.positive, event.exemplars.len())
            }
        });
        Ok(())
    })?;
    Ok(out)
}

const NATIVE: HistogramOptions = HistogramOptions { native: true, classic: false };

#[test]
fn every_type_is_read() -> Result<()> {
    let number = message(|out| put_double(out, 1, 2.5));
    let counter = message(|out| {
        put_double(out, 1, 2.5);
        put_bytes(out, 2, &exemplar("x", None));
    });
    let summary = message(|out| {
        put_number(out, 1, 3);
        put_double(out, 2, 1.5);
        put_bytes(
            out,
            3,
            &message(|out| {
                put_double(out, 1, 1.0);
                put_double(out, 2, 9.0);
            }),
        );
    });
    let body = [
        family("c_total", 0, 3, &counter),
        family("g.dots", 1, 2, &number),
        family("s", 2, 4, &summary),
        family("u", 3, 5, &number),
    ];
    let expected = [
        "c_total: counter",
        "c_total[code=a\"b] 2.5 {trace_id=\"x\"} 0.5 None",
        "g.dots: gauge",
        "g.dots[code=a\"b] 2.5",
        "s: summary",
        "s_count[code=a\"b] 3",
        "s_sum[code=a\"b] 1.5",
        "s[code=a\"b,quantile=1.0] 9",
        "u: unknown",
        "u[code=a\"b] 2.5",
    ];
    assert_eq!(read(&body.concat(), NATIVE)?, expected);
    Ok(())
}

#[test]
fn histograms_are_native_or_classic_or_both() -> Result<()> {
    let body = family("h", 4, 7, &histogram());
    let native = ["h: histogram", "h[code=a\"b] [2.0, 3.0] 2"];
    let classic = [
        "h_count[code=a\"b] 6",
        "h_sum[code=a\"b] 12.5",
        "h_bucket[code=a\"b,le=0.5] 2 {trace_id=\"t\"} 0.5 Some(7000)",
        "h_bucket[code=a\"b,le=1.0] 5 {trace_id=\"t\"} 0.5 Some(7000)",
        "h_bucket[code=a\"b,le=+Inf] 6",
    ];
    assert_eq!(read(&body, NATIVE)?, native);
    assert_eq!(
        read(&body, HistogramOptions { native: true, classic: true })?,
        [&native[..], &classic].concat()
    );
    assert_eq!(read(&body, HistogramOptions::default())?, [&native[..1], &classic].concat());
    let mut seen = None;
    for_each(&family("h", 5, 7, &histogram()), &Limits::default(), NATIVE, |event| {
        if let ProtobufEvent::Histogram(event) = event {
            seen = Some(event.histogram);
        }
        Ok(())
    })?;
    let gauge = seen.expect("there is one");
    assert_eq!((gauge.reset_hint, gauge.schema, gauge.count), (ResetHint::Gauge, 3, 6.0));
    assert_eq!((gauge.zero_count, gauge.positive_spans), (1.0, vec![Span { offset: -1, length: 2 }]));
    Ok(())
}

#[test]
fn hostile_bodies_end_without_a_panic() {
    let good = [family("h", 4, 7, &histogram()), family("g", 1, 2, &message(|out| put_double(out, 1, 1.0)))];
    let good = good.concat();
    let mut errors = 0;
    for at in 0..good.len() {
        errors += usize::from(read(&good[..at], NATIVE).is_err());
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            errors += usize::from(read(&bad, HistogramOptions { native: true, classic: true }).is_err());
        }
    }
    assert!(errors > good.len(), "{errors}");
    let mut state = 1u64;
    let mut dice = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()[0]
    };
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..dice() / 4).map(|_| dice()).collect();
        drop(read(&bytes, NATIVE));
    }
    let other = family("g", 4, 2, &message(|out| put_double(out, 1, 1.0)));
    let error = read(&other, NATIVE).expect_err("a gauge in a histogram family").to_string();
    assert!(error.contains("another type than its family") && error.contains('g'), "{error}");
}
