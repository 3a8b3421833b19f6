//! Who reads in a life: snapshots are taken, held against what was sent, kept open and read again.

use std::collections::BTreeSet;
use std::sync::Arc;

use quipu::error::{Error, Kind, Result};
use quipu::model::{METRIC_NAME, Matcher, Principal, STALE_NAN};
use quipu::runtime::Dice;
use quipu::store::{LogQuery, Snapshot};

use super::life::Life;
use super::lines;
use super::model::{Moment, Rows};
use super::rows::{self, Of};
use super::tailed::Tailed;
use super::writing::metric;

/// What a snapshot shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) rows: Rows,
    pub(super) tailed: Tailed,
}

/// A snapshot that somebody keeps open.
pub(super) struct Held {
    snapshot: Snapshot,
    seen: Seen,
    taken_ms: i64,
}

impl Life<'_> {
    pub(super) async fn look(&self, dice: &mut Dice) {
        for _ in 0..2 + dice.below(4) {
            if dice.one_in(2) {
                let found = self.read_now("a snapshot").await;
                if let Some((seen, snapshot)) = found.filter(|_| dice.one_in(2)) {
                    let held = Held { snapshot, seen, taken_ms: self.clock.now_ms() };
                    *self.held.borrow_mut() = Some(held);
                }
            } else {
                self.read_held().await;
            }
            self.pause(dice).await;
            self.pause(dice).await;
        }
    }

    fn moment(&self) -> Moment {
        let kept_from = self.kept_from();
        self.world.model.borrow().moment(kept_from, self.number)
    }

    /// The first ms that retention has not reached.
    fn kept_from(&self) -> i64 {
        let kept = self.world.settings.retention.and_then(|kept| i64::try_from(kept.as_millis()).ok());
        kept.map_or(i64::MIN, |kept| self.clock.now_ms() - kept)
    }

    /// Takes a snapshot, reads it and holds it against what was sent.
    pub(super) async fn read_now(&self, what: &str) -> Option<(Seen, Snapshot)> {
        let mut moment = self.moment();
        let files = self.world.files.borrow().clone();
        let (taken, peace) = (self.clock.now_ms(), self.peace());
        let snapshot = self.store.snapshot(&self.tenant, &Principal::default());
        let positions = self.store.positions(&self.tenant);
        match read(&snapshot).await {
            Ok(seen) => {
                moment.kept_from = self.kept_from();
                self.world.model.borrow_mut().check(&seen.rows, &moment, what);
                files.check(&seen.tailed, &positions, moment.kept_from, what);
                self.world.count("checked snapshots");
                self.count_hidden(&seen.rows);
                Self::check_catalogue(&snapshot, &seen.rows);
                self.check_one_series(&snapshot, &seen.rows).await;
                self.check_one_line(&snapshot, &seen).await;
                Some((seen, snapshot))
            }
            Err(error) => {
                self.unread(what, taken, peace, &error);
                None
            }
        }
    }

    async fn read_held(&self) {
        let Some(Held { snapshot, seen, taken_ms }) = self.held.borrow_mut().take() else { return };
        let peace = self.peace();
        match read(&snapshot).await {
            Ok(again) => {
                assert_eq!(again, seen, "an open snapshot changed");
                self.world.count("open snapshots read again");
            }
            Err(error) => self.unread("an open snapshot", taken_ms, peace, &error),
        }
        let mut held = self.held.borrow_mut();
        if held.is_none() {
            *held = Some(Held { snapshot, seen, taken_ms });
        }
    }

    /// A read may fail because a remote store does, or because its files were deleted long after it began.
    fn unread(&self, what: &str, taken_ms: i64, peace: (bool, u64), error: &Error) {
        let delay = i64::try_from(self.world.settings.gc_delay.as_millis()).expect("an hour");
        let late = self.clock.now_ms() - taken_ms >= delay;
        if late && error.kind() == Kind::NotFound {
            self.world.count("snapshots that outlived their files");
            return;
        }
        let remote = self.world.remote.is_some() && error.kind() == Kind::Unavailable;
        let excused = remote && !(peace.0 && peace == self.peace());
        assert!(excused, "{what} cannot be read: {error:?}");
        self.world.count("reads without an answer");
    }

    /// Whether floats are hidden at all is up to the dice of the writers.
    fn count_hidden(&self, rows: &Rows) {
        let model = self.world.model.borrow();
        let hidden = |row: &&(Of, i64)| matches!(row.0, Of::Float(_)) && super::model::is_hidden(**row, rows);
        let count = u64::try_from(model.rows().filter(hidden).count()).expect("few rows");
        self.world.tally.borrow_mut().add("histograms and floats of one time", count);
    }

    /// Whoever has samples is in the catalogue with its labels. Stale markers alone are nothing to show.
    fn check_catalogue(snapshot: &Snapshot, rows: &Rows) {
        for ((of, _), bits) in rows {
            let (Of::Float(series) | Of::Histogram(series)) = of else { continue };
            if rows::is_stale(*of, *bits) {
                continue;
            }
            let entry = snapshot.catalogue().get(metric(*series));
            let names = entry.map(|entry| entry.label_names.iter().map(Arc::as_ref).collect::<Vec<_>>());
            assert_eq!(names, Some(vec!["job", "n"]), "the catalogue does not know series {series}");
        }
    }

    /// Matchers find what a full scan finds.
    async fn check_one_series(&self, snapshot: &Snapshot, rows: &Rows) {
        let Some(series) = rows.keys().filter_map(|(of, _)| of.series()).next_back() else { return };
        let n = series.to_string();
        let matchers = vec![Matcher::equal(METRIC_NAME, metric(series)), Matcher::equal("n", n.as_str())];
        // A store that does not answer has been judged by the full scan.
        if let Ok(found) = read_series(snapshot, matchers).await {
            let of_series = rows.iter().filter(|(row, _)| row.0.series() == Some(series));
            let expected: Rows = of_series.map(|(row, bits)| (*row, *bits)).collect();
            assert_eq!(found, expected, "series {series} by its labels");
        }
    }

    /// A text, a label, a time and a trace find the line that they are of.
    async fn check_one_line(&self, snapshot: &Snapshot, seen: &Seen) {
        let of_line = |(row, _): (&(Of, i64), &u64)| match row.0 {
            Of::Line(number) => Some((*row, number)),
            _ => None,
        };
        let Some((row, number)) = seen.rows.iter().filter_map(of_line).next_back() else { return };
        let line = lines::line(number, row.1);
        let query = LogQuery {
            matchers: vec![Matcher::equal("app", line.stream["app"].as_str())],
            from: line.ns,
            to: line.ns,
            needles: vec![lines::needle_of(number)],
            trace_id: lines::trace_bytes(&line),
            ..LogQuery::default()
        };
        if let Ok((found, tailed)) = lines::read(snapshot, query).await {
            assert_eq!(found, Rows::from([(row, 0)]), "line {number} by its text");
            assert!(tailed.is_empty(), "no file has such a line: {tailed:?}");
            self.world.count("lines found by text");
        }
    }
}

/// Everything that a snapshot has.
async fn read(snapshot: &Snapshot) -> Result<Seen> {
    let (mut rows, tailed) = lines::read(snapshot, LogQuery::default()).await?;
    rows.extend(read_series(snapshot, Vec::new()).await?);
    Ok(Seen { rows, tailed })
}

/// Every row of the matching series, stale markers with their bits. Panics when a row is there twice.
async fn read_series(snapshot: &Snapshot, matchers: Vec<Matcher>) -> Result<Rows> {
    let selection = snapshot.select(matchers.clone(), i64::MIN, i64::MAX).await?;
    let mut rows = Rows::new();
    let mut add = |of: Of, at: i64, bits: u64| {
        let twice = rows.insert((of, at), bits);
        assert!(twice.is_none(), "{of:?} has two rows at {at}");
    };
    let mut keys = BTreeSet::new();
    let mut reader = selection.scan(0..selection.series().len())?;
    while let Some(found) = reader.next().await? {
        let key = &selection.series()[found.index].key;
        let series = number_of(key.labels.get("n"));
        assert_eq!(&*key.metric, metric(series), "a series with the name of another");
        assert!(keys.insert(series), "series {series} is selected twice");
        for (at, value) in found.timestamps.iter().zip(found.values) {
            add(Of::Float(series), *at, value.to_bits());
        }
        found.stale_at.iter().for_each(|at| add(Of::Float(series), *at, STALE_NAN));
        for (at, histogram) in found.histogram_times.iter().zip(found.histograms) {
            let whole = rows::histogram(histogram.count);
            assert_eq!(**histogram, whole, "a histogram of series {series} at {at} is not what was sent");
            add(Of::Histogram(series), *at, histogram.count.to_bits());
        }
    }
    for found in snapshot.exemplars(matchers, i64::MIN, i64::MAX).await? {
        let series = number_of(found.key.labels.get("n"));
        for exemplar in found.exemplars {
            let number = number_of(exemplar.labels.get("trace_id"));
            assert_eq!(
                exemplar,
                rows::exemplar(number, exemplar.timestamp),
                "an exemplar of series {series}"
            );
            add(Of::Exemplar(series, number), exemplar.timestamp, exemplar.value.to_bits());
        }
    }
    Ok(rows)
}

fn number_of<T: std::str::FromStr>(label: Option<&str>) -> T {
    label.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("not a number: {label:?}"))
}
