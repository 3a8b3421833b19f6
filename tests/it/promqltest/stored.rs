//! The real thing under test: a store in memory and the PromQL engine over its snapshots.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use quipu::error::{Error, Kind, Result};
use quipu::model::{self, Batch, HistogramRow, Principal, Tenant, Timestamps};
use quipu::query::{self, AnswerSeries, Data, EngineGround, QuerySettings, Question, Shape, Times};
use quipu::runtime::{Clock, Pools, Registry};
use quipu::store::{Store, StoreGround, StoreSettings};

use super::compare::{Answer, QueryResult};
use super::native::{from_model, to_model};
use super::runner::{Engine, Failure};
use super::script::{Sample, When};
use super::series::{Labels, Value};

/// A store and an engine; `clear` gives the next tenant, which has no samples.
pub(super) struct Stored {
    runtime: tokio::runtime::Runtime,
    store: Store,
    engine: query::Engine,
    tenant: RefCell<(usize, Tenant)>,
}

impl Stored {
    pub(super) fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let (clock, pools, registry) = (Clock::real(), Pools::inline(), Registry::new());
        let ground =
            StoreGround { registry: Arc::clone(&registry), ..StoreGround::in_memory(clock, pools.clone()) };
        let store = runtime.block_on(Store::open(StoreSettings::default(), ground, Path::new("/wal")))?;
        // What the scripts assume.
        let settings = QuerySettings { delayed_name_removal: true, ..QuerySettings::default() };
        let engine = query::Engine::new(settings, EngineGround { pools, clock, registry })?;
        drop(inside);
        Ok(Self { runtime, store, engine, tenant: RefCell::new((0, Tenant::default())) })
    }

    /// The closures that a script is run with.
    pub(super) fn engine(&self) -> Engine<'_> {
        Engine {
            clear: Box::new(|| {
                let next = self.tenant.borrow().0 + 1;
                let tenant = Tenant::new(&format!("script-{next}")).expect("a good name");
                self.tenant.replace((next, tenant));
            }),
            load: Box::new(|series| self.load(&series)),
            eval: Box::new(|text, when| self.eval(text, when).map_err(failure)),
        }
    }

    /// Stores what can be stored: samples without start timestamps. Says what was left out.
    fn load(&self, series: &BTreeMap<Labels, Vec<Sample>>) -> std::result::Result<(), Failure> {
        let tenant = self.tenant.borrow().1.clone();
        let mut left_out = None;
        let (mut handles, mut timestamps, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let mut histograms = Vec::new();
        for (labels, samples) in series {
            let metric = labels.get(model::METRIC_NAME).map(String::as_str).unwrap_or_default();
            let others = labels.iter().filter(|(name, _)| *name != model::METRIC_NAME);
            let others = others.map(|(name, value)| (name.as_str(), value.as_str()));
            let others = model::Labels::from_pairs(others).map_err(failure)?;
            let handle = self.store.resolve(&tenant, metric, others.as_ref()).map_err(failure)?;
            for sample in samples {
                match &sample.value {
                    Value::Histogram(histogram) => histograms.push(HistogramRow {
                        series: handle,
                        timestamp: sample.time,
                        histogram: Arc::new(to_model(histogram)),
                    }),
                    Value::Float(value) => {
                        handles.push(handle);
                        timestamps.push(sample.time);
                        values.push(*value);
                    }
                }
                if sample.start_time.is_some() {
                    left_out = left_out.or(Some("start timestamps"));
                }
            }
        }
        let timestamps = Timestamps::Each(timestamps);
        let batch = Batch { series: handles, timestamps, values, histograms, ..Batch::default() };
        self.runtime.block_on(self.store.append(&tenant, batch)).map_err(failure)?;
        left_out.map_or(Ok(()), |what| Err(Failure::Unsupported(what.to_owned())))
    }

    fn eval(&self, text: &str, when: When) -> Result<Answer> {
        let times = match when {
            When::Instant(time_ms) => Times::Instant { time_ms },
            When::Range { start, end, step } => Times::Range { start_ms: start, end_ms: end, step_ms: step },
        };
        let question = Question { text: text.to_owned(), times, lookback_ms: None, timeout: None };
        let snapshot = self.store.snapshot(&self.tenant.borrow().1, &Principal::default());
        let answer = self.runtime.block_on(self.engine.promql(&Data::from(snapshot), &question))?;
        let result = match answer.shape() {
            Shape::String => QueryResult::String(answer.text().to_owned()),
            Shape::Scalar => match only_value(&answer.series()[0])? {
                Value::Float(value) => QueryResult::Scalar(value),
                Value::Histogram(_) => return Err(Error::internal("a scalar is a histogram")),
            },
            Shape::Vector => {
                let one = |series: &AnswerSeries| Ok((labels(series), only_value(series)?));
                QueryResult::Vector(answer.series().iter().map(one).collect::<Result<_>>()?)
            }
            Shape::Matrix => QueryResult::Matrix(answer.series().iter().map(matrix_series).collect()),
        };
        Ok(Answer { result, warnings: answer.warnings.clone(), infos: answer.infos.clone() })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn failure(error: Error) -> Failure {
    match error.kind() {
        Kind::Unsupported => Failure::Unsupported(error.message().to_owned()),
        _ => Failure::Error(error.message().to_owned()),
    }
}

fn labels(series: &AnswerSeries) -> Labels {
    series.labels().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn values(series: &AnswerSeries) -> Vec<(i64, Value)> {
    let floats = series.points().map(|(time, value)| (time, Value::Float(value)));
    let histograms =
        series.histograms().map(|(time, value)| (time, Value::Histogram(Box::new(from_model(value)))));
    let mut values: Vec<_> = floats.chain(histograms).collect();
    values.sort_by_key(|(time, _)| *time);
    values
}

fn only_value(series: &AnswerSeries) -> Result<Value> {
    match <[_; 1]>::try_from(values(series)) {
        Ok([(_, value)]) => Ok(value),
        Err(_) => Err(Error::internal("an instant answer has no single point")),
    }
}

fn matrix_series(series: &AnswerSeries) -> (Labels, Vec<(i64, Value)>) {
    (labels(series), values(series))
}
