//! The labels of a series as Prometheus sorts, compares and sends them: the metric's name among them at its
//! place, and this server's external labels where the series has none of that name.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::model::{Histogram, METRIC_NAME, STALE_NAN, SeriesKey};
use crate::store::SeriesRows;

/// External labels, sorted by name.
pub(super) type External = [(String, String)];

/// Name and value of each label, sorted by name.
pub(super) fn full_labels<'a>(
    key: &'a SeriesKey,
    external: &'a External,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let metric = Some((METRIC_NAME, &*key.metric)).filter(|(_, metric)| !metric.is_empty());
    let external = external.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    merged(merged(metric.into_iter(), key.labels.iter()), external)
}

/// Two sorted sequences as one; of two labels with one name the first sequence's.
fn merged<'a>(
    first: impl Iterator<Item = (&'a str, &'a str)>,
    second: impl Iterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let (mut first, mut second) = (first.peekable(), second.peekable());
    std::iter::from_fn(move || {
        let order = match (first.peek(), second.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        match order {
            Ordering::Less => first.next(),
            Ordering::Greater => second.next(),
            Ordering::Equal => {
                second.next();
                first.next()
            }
        }
    })
}

/// The samples of a series with its stale markers among them.
pub(super) fn with_stale<'a>(rows: &SeriesRows<'a>) -> impl Iterator<Item = (i64, f64)> + use<'a> {
    let mut values = rows.timestamps.iter().copied().zip(rows.values.iter().copied()).peekable();
    let stale = rows.stale_at.iter().map(|time| (*time, f64::from_bits(STALE_NAN)));
    let mut stale = stale.peekable();
    std::iter::from_fn(move || match (values.peek(), stale.peek()) {
        (Some((value, _)), Some((marker, _))) if marker < value => stale.next(),
        (None, _) => stale.next(),
        (Some(_), _) => values.next(),
    })
}

/// The native histograms of a series.
pub(super) fn histograms<'a>(rows: &SeriesRows<'a>) -> impl Iterator<Item = (i64, &'a Histogram)> + use<'a> {
    rows.histogram_times.iter().copied().zip(rows.histograms.iter().map(Arc::as_ref))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    #[test]
    fn the_name_and_external_labels_stand_at_their_places() {
        let labels = Labels::from_pairs([("A", "1"), ("job", "x"), ("zone", "own")]).expect("good labels");
        let key = SeriesKey { metric: "up".into(), labels };
        let external: Vec<_> = [("B", "2"), ("zone", "eu")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let full: Vec<_> = full_labels(&key, &external).collect();
        assert_eq!(full, [("A", "1"), ("B", "2"), (METRIC_NAME, "up"), ("job", "x"), ("zone", "own")]);
        let nameless = SeriesKey { metric: "".into(), labels: Labels::empty() };
        assert_eq!(full_labels(&nameless, &[]).count(), 0);
    }

    #[test]
    fn markers_stand_among_the_samples() {
        let rows = SeriesRows {
            index: 0,
            timestamps: &[1, 3],
            values: &[0.5, 1.5],
            stale_at: &[0, 2, 4],
            histogram_times: &[],
            histograms: &[],
            histogram_before: None,
        };
        let all: Vec<_> =
            with_stale(&rows).map(|(time, value)| (time, crate::model::is_stale(value))).collect();
        assert_eq!(all, [(0, true), (1, false), (2, true), (3, false), (4, true)]);
    }
}
