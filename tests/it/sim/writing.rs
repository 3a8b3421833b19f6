//! Who writes in a life: clients that send samples or log lines, again when they got no answer, and followers of
//! files.

use std::sync::Arc;
use std::time::Duration;

use quipu::error::{Error, Result};
use quipu::model::{
    Batch, ExemplarRow, Handle, HistogramRow, Labels, LogBatch, MetricMetadata, MetricType, STALE_NAN,
    Timestamps, time,
};
use quipu::runtime::Dice;
use quipu::store::Appended;

use super::life::Life;
use super::lines;
use super::model::{Fate, Row};
use super::rows::{self, Of};
use super::tailed::Follower;
use super::world::START;

const WRITERS: u64 = 2;
const SERIES_PER_WRITER: u64 = 3;
/// Who writes lines and no samples.
pub(super) const OF_LINES: u64 = WRITERS;
/// Rows of one series and day: few, so that they are overwritten often.
const SLOTS: u64 = 5;
/// How often a follower sends one batch before its life goes on without it.
const TRIES: u64 = 12;

/// A request's rows with their values, in the order in which they are sent.
type Sent = Vec<(Row, u64)>;

/// The metric of a series.
pub(super) fn metric(series: u64) -> &'static str {
    if series.is_multiple_of(3) { "k" } else { "m" }
}

impl Life<'_> {
    pub(super) async fn write(&self, writer: u64, dice: &mut Dice) {
        for _ in 0..3 + dice.below(6) {
            self.request(writer, dice).await;
            self.pause(dice).await;
        }
    }

    /// One who sends lines and two who follow files, where this world has them.
    pub(super) async fn write_lines(&self, [lines, file, other_file]: [&mut Dice; 3]) {
        if self.world.has_lines {
            tokio::join!(self.write(OF_LINES, lines), self.follow(0, file), self.follow(1, other_file));
        }
    }

    /// A new request, or the last one again, as a client does that got no answer.
    async fn request(&self, writer: u64, dice: &mut Dice) {
        let last = self.world.model.borrow().last_of(writer);
        let again = match last {
            Some((id, Fate::Stored)) => dice.one_in(8).then_some(id),
            Some((id, _)) => dice.one_in(2).then_some(id),
            None => None,
        };
        let (id, rows) = match again {
            Some(id) => {
                self.world.count("requests sent again");
                let rows = self.world.model.borrow_mut().send_again(id, self.number);
                (id, rows.into_iter().collect())
            }
            None if writer == OF_LINES => self.new_lines(last.map(|(id, _)| id), dice),
            None => self.new_request(writer, dice),
        };
        let peace = self.peace();
        let answer = if writer == OF_LINES {
            self.world.count("appends of log lines");
            self.append_lines(&rows).await
        } else {
            let metadata = if dice.one_in(6) { vec![self.metadata()] } else { Vec::new() };
            self.append(&rows, metadata, dice).await
        };
        self.judge("an append", peace, answer.as_ref().err());
        self.world.note(|| format!("append #{id} {rows:?}: {:?}", answer.as_ref().map_err(Error::to_string)));
        match answer {
            Ok(()) => {
                self.world.count("appends");
                self.world.model.borrow_mut().acknowledge(id);
            }
            Err(_) => {
                self.world.count("refused appends");
                self.world.model.borrow_mut().refuse(id);
            }
        }
    }

    fn new_request(&self, writer: u64, dice: &mut Dice) -> (usize, Sent) {
        let mut model = self.world.model.borrow_mut();
        let shared = dice.one_in(3).then(|| self.time(dice));
        let mut sent = Sent::new();
        for _ in 0..=dice.below(6) {
            let series = writer + WRITERS * dice.below(SERIES_PER_WRITER);
            let at = shared.unwrap_or_else(|| self.time(dice));
            let (of, value) = match dice.below(12) {
                0 => (Of::Float(series), f64::from_bits(STALE_NAN)),
                1..=3 if self.world.has_extras => (Of::Histogram(series), model.value()),
                4 | 5 if self.world.has_extras => {
                    let number = model.number();
                    (Of::Exemplar(series, number), f64::from(number))
                }
                _ => (Of::Float(series), model.value()),
            };
            sent.push(((of, at), value.to_bits()));
        }
        // Of a row sent twice in one request the later one wins.
        let id = model.send(writer, sent.iter().copied().collect(), self.number);
        (id, sent)
    }

    /// Lines, now and then with some of the request before.
    fn new_lines(&self, last: Option<usize>, dice: &mut Dice) -> (usize, Sent) {
        let mut model = self.world.model.borrow_mut();
        let mut sent = Sent::new();
        for _ in 0..=dice.below(6) {
            sent.push(((Of::Line(model.number()), self.time(dice)), 0));
        }
        if let Some(last) = last.filter(|_| dice.one_in(3)) {
            self.world.count("lines sent by two requests");
            sent.extend(model.rows_of(last).iter().next().map(|(row, bits)| (*row, *bits)));
        }
        let id = model.send(OF_LINES, sent.iter().copied().collect(), self.number);
        (id, sent)
    }

    /// A time: today, one of the days at the border between live and backfill, or long ago.
    fn time(&self, dice: &mut Dice) -> i64 {
        let today = time::day_of(self.clock.now_ms());
        let day = match dice.below(8) {
            0 | 1 => today,
            2..=4 => today - 1,
            5 | 6 => today - 2,
            _ => time::day_of(START) - 9,
        };
        time::day_start(day) + dice.below(SLOTS).cast_signed() * 15_000
    }

    fn metadata(&self) -> MetricMetadata {
        let help = format!("help of life {}", self.number);
        MetricMetadata { metric: "m".into(), kind: MetricType::Gauge, help: help.into(), unit: "".into() }
    }

    fn handle(&self, series: u64) -> Result<Handle> {
        let n = series.to_string();
        let labels = Labels::from_pairs([("job", "sim"), ("n", n.as_str())])?;
        self.store.resolve(&self.tenant, metric(series), labels.as_ref())
    }

    async fn append(
        &self,
        rows: &[(Row, u64)],
        metadata: Vec<MetricMetadata>,
        dice: &mut Dice,
    ) -> Result<()> {
        let floats: Vec<i64> =
            rows.iter().filter(|((of, _), _)| matches!(of, Of::Float(_))).map(|((_, at), _)| *at).collect();
        let first = floats.first().copied().unwrap_or(0);
        let shared = floats.iter().all(|at| *at == first) && dice.one_in(2);
        let timestamps = if shared { Timestamps::Shared(first) } else { Timestamps::Each(floats) };
        for _ in 0..10 {
            let mut batch =
                Batch { timestamps: timestamps.clone(), metadata: metadata.clone(), ..Batch::default() };
            for ((of, timestamp), bits) in rows.iter().copied() {
                let value = f64::from_bits(bits);
                let series = self.handle(of.series().expect("a writer of samples"))?;
                match of {
                    Of::Float(_) => {
                        batch.series.push(series);
                        batch.values.push(value);
                    }
                    Of::Histogram(_) => {
                        let histogram = Arc::new(rows::histogram(value));
                        batch.histograms.push(HistogramRow { series, timestamp, histogram });
                    }
                    Of::Exemplar(_, number) => {
                        let exemplar = rows::exemplar(number, timestamp);
                        batch.exemplars.push(ExemplarRow { series, exemplar });
                    }
                    Of::Line(_) => unreachable!("a writer of samples"),
                }
            }
            match self.store.append(&self.tenant, batch).await? {
                Appended::Stored => return Ok(()),
                Appended::Resolve(_) => self.world.count("stale handles"),
            }
        }
        panic!("ten times in a row handles were stale that had just been resolved");
    }

    async fn append_lines(&self, rows: &[(Row, u64)]) -> Result<()> {
        let mut batch = LogBatch::default();
        for ((of, at), _) in rows {
            let Of::Line(number) = of else { unreachable!("a writer of lines") };
            let times = if number.is_multiple_of(11) { 2 } else { 1 };
            lines::push(&mut batch, &lines::line(*number, *at), times);
        }
        self.store.append_logs(&self.tenant, batch).await
    }

    /// Follows a file of the host.
    async fn follow(&self, file: u64, dice: &mut Dice) {
        let positions = self.store.positions(&self.tenant);
        let mut follower = Follower::new(file, &self.world.files.borrow(), &positions);
        for _ in 0..3 + dice.below(6) {
            let batch = {
                let files = &mut self.world.files.borrow_mut();
                match dice.below(8) {
                    0 => follower.saved(),
                    1 => {
                        self.world.count("files deleted and begun anew");
                        follower.delete(files)
                    }
                    _ => follower.batch(1 + dice.below(4), self.clock.now_ms(), files),
                }
            };
            if !self.store_of_file(&batch).await {
                return;
            }
            follower.taken(&mut self.world.files.borrow_mut());
            self.pause(dice).await;
        }
    }

    /// Sends the very same batch until it is taken, or gives up for this life.
    async fn store_of_file(&self, batch: &LogBatch) -> bool {
        for attempt in 1..=TRIES {
            let peace = self.peace();
            let answer = self.store.append_logs(&self.tenant, batch.clone()).await;
            self.judge("an append of a file's lines", peace, answer.as_ref().err());
            let said = || format!("{:?}: {:?}", batch.position, answer.as_ref().map_err(Error::to_string));
            self.world.note(said);
            if answer.is_ok() {
                self.world.count("batches of followed files");
                return true;
            }
            self.world.count("refused batches of followed files");
            self.clock.sleep(Duration::from_secs(attempt)).await;
        }
        false
    }
}
