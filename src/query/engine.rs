//! The façade of PromQL: a question over a snapshot in, an answer out.
//!
//! ```text
//!   text ─parse─► tree ─translate─► logical plan ─select (io)─► lower ─► operators ─run (cpu)─► Answer
//! ```
//!
//! It admits so many queries at a time, ends those that run too long, and ends them too when the future that
//! [`Engine::promql`] returned is dropped. Each query has its own memory account.

use std::collections::HashMap as StdHashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::TaskContext;
use datafusion::execution::config::SessionConfig;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::displayable;
use hashbrown::HashMap;
use tokio::sync::Semaphore;

use super::answer::{Answer, AnswerSeries, QueryStats, Question, Shape, Times};
use super::exec::{self, Data, Lower, PromPlanner, Source, inward};
use super::plan::{Annotations, Grid, GridSchema, Selected, Selector, StepBudget};
use super::promql::functions::ValueType;
use super::settings::QuerySettings;
use super::translate::{Translated, Translator, evaluation_order};
use super::{promql, run};
use crate::error::{Error, Kind, Result};
use crate::runtime::{Clock, Counter, Gauge, Histogram, Pools, Registry};

/// What an engine stands on.
#[derive(Debug, Clone)]
pub struct EngineGround {
    /// Where work runs.
    pub pools: Pools,
    /// What time it is.
    pub clock: Clock,
    /// Where queries are counted.
    pub registry: Arc<Registry>,
}

/// The PromQL engine; one a process, shared.
#[derive(Debug)]
pub struct Engine {
    settings: QuerySettings,
    ground: EngineGround,
    admission: Semaphore,
    threads: usize,
    config: SessionConfig,
    runtime: RuntimeEnv,
    answered: Counter,
    failed: Counter,
    seconds: Histogram,
    running: Gauge,
}

/// One more query at work, for as long as it lives: until its last task is gone, not until its asker is.
struct Running(Gauge);

impl Running {
    fn begin(gauge: &Gauge) -> Self {
        gauge.add(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.add(-1.0);
    }
}

/// A query with less work than this (samples and cells) runs where it was asked: a hop to another thread would
/// cost more.
const SMALL: u64 = 100_000;

/// Bytes of a sample: the unit of the sample limit.
const SAMPLE_BYTES: usize = 16;

/// A query that is translated, with the surroundings of its run.
struct Prepared {
    translated: Translated,
    schema: GridSchema,
    annotations: Annotations,
    is_instant: bool,
}

impl Engine {
    /// An engine with these settings.
    ///
    /// # Errors
    /// `Internal` when `DataFusion`'s environment cannot be made.
    pub fn new(settings: QuerySettings, ground: EngineGround) -> Result<Self> {
        let config = SessionConfig::new().with_create_default_catalog_and_schema(false);
        let runtime = RuntimeEnvBuilder::new().build().map_err(inward)?;
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let counter = |result| {
            let help = "PromQL queries by result.";
            ground.registry.counter("quipu_query_total", help, &[("result", result)])
        };
        let bounds = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
        let help = "How long PromQL queries took.";
        Ok(Self {
            admission: Semaphore::new(settings.max_concurrency.max(1)),
            answered: counter("success"),
            failed: counter("error"),
            seconds: ground.registry.histogram("quipu_query_seconds", help, &[], &bounds),
            running: ground.registry.gauge("quipu_queries_running", "PromQL queries at work.", &[]),
            settings,
            ground,
            threads,
            config,
            runtime,
        })
    }

    /// Answers a question from what a snapshot sees.
    ///
    /// # Errors
    /// `Syntax`, `Invalid` and `Unsupported` for the text; `Execution` where the data does not allow the
    /// operation; `Limit`, `Timeout`; what the store says.
    pub async fn promql(&self, data: &Data, question: &Question) -> Result<Answer> {
        let started = self.ground.clock.monotonic();
        let answer = self.bounded(data, question).await;
        self.seconds.observe(self.ground.clock.monotonic().saturating_sub(started).as_secs_f64());
        if answer.is_ok() {
            self.answered.inc();
        } else {
            self.failed.inc();
        }
        answer
    }

    /// How far instant selectors look back where a question does not say, ms.
    pub fn lookback_ms(&self) -> i64 {
        self.settings.lookback_delta.as_time()
    }

    /// Whether a question can be asked at all; no data is looked at.
    ///
    /// # Errors
    /// As [`Engine::promql`] for the text.
    pub fn check(&self, question: &Question) -> Result<()> {
        self.prepare(question).map(drop)
    }

    /// The logical and the physical plan of a question, as text.
    ///
    /// # Errors
    /// As [`Engine::promql`].
    pub async fn explain(&self, data: &Data, question: &Question) -> Result<String> {
        let prepared = self.prepare(question)?;
        let plan = match prepared.translated {
            Translated::Plan { plan, .. } | Translated::Subquery { inner: Some((plan, _)) } => plan,
            Translated::Samples(selector) => return Ok(format!("PromSelector: {selector}\n")),
            Translated::Subquery { inner: None } => return Ok("(no step)\n".to_owned()),
            Translated::Text(text) => return Ok(format!("{text:?}\n")),
        };
        let selections = select(data, &plan).await?;
        let lower = self.lower(selections, prepared.annotations, self.threads);
        let state = self.state(lower);
        let physical = state.query_planner().create_physical_plan(&plan, &state).await.map_err(inward)?;
        Ok(format!("{}\n\n{}", plan.display_indent(), displayable(physical.as_ref()).indent(false)))
    }

    /// A session without functions, catalog and rules: a PromQL plan needs none of them.
    fn state(&self, lower: Lower) -> SessionState {
        SessionStateBuilder::new()
            .with_config(self.config.clone())
            .with_runtime_env(Arc::new(self.runtime.clone()))
            .with_analyzer_rules(Vec::new())
            .with_optimizer_rules(Vec::new())
            .with_physical_optimizer_rules(Vec::new())
            .with_query_planner(Arc::new(PromPlanner::new(lower)))
            .build()
    }

    async fn bounded(&self, data: &Data, question: &Question) -> Result<Answer> {
        let limit = self.settings.timeout.as_std();
        let limit = question.timeout.map_or(limit, |asked| asked.min(limit));
        let timed_out = |stage| Error::new(Kind::Timeout, format!("query timed out in {stage}"));
        let clock = self.ground.clock;
        let started = clock.monotonic();
        let waited = clock.within(limit, self.admission.acquire()).await;
        let _place = waited
            .ok_or_else(|| timed_out("query queue"))?
            .map_err(|e| Error::internal("the queue of queries is closed").caused_by(e))?;
        let waiting = clock.monotonic().saturating_sub(started);
        let left = limit.saturating_sub(waiting);
        let answer = clock.within(left.max(Duration::from_nanos(1)), self.evaluate(data, question)).await;
        let mut answer = answer.ok_or_else(|| timed_out("expression evaluation"))??;
        answer.stats.waiting = waiting;
        Ok(answer)
    }

    fn prepare(&self, question: &Question) -> Result<Prepared> {
        let mut expr = promql::parse(&question.text)?;
        let (grid, end_ms, step_ms) = match question.times {
            Times::Instant { time_ms } => (Grid::instant(time_ms), time_ms, 0),
            Times::Range { start_ms, end_ms, step_ms } => {
                (Grid::range(start_ms, end_ms, step_ms)?, end_ms, step_ms)
            }
        };
        let is_instant = matches!(question.times, Times::Instant { .. });
        if !is_instant && !matches!(expr.value_type(), ValueType::Vector | ValueType::Scalar) {
            return Err(Error::invalid(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                expr.value_type().documented()
            )));
        }
        let range_ms = end_ms.saturating_sub(grid.start_ms());
        promql::resolve_durations(&mut expr, &question.text, step_ms, range_ms)?;
        let order = evaluation_order(&expr);
        let (schema, annotations) = (GridSchema::new(grid)?, Annotations::new(&question.text, order));
        let steps_left = StepBudget::new(self.settings.max_samples);
        let translator = Translator {
            schema: &schema,
            end_ms,
            query_ms: (grid.start_ms(), end_ms),
            query_step_ms: if grid.start_ms() == end_ms { 0 } else { step_ms },
            steps_left: &steps_left,
            subquery_step_ms: self.settings.evaluation_interval.as_time(),
            lookback_ms: question.lookback_ms.unwrap_or_else(|| self.settings.lookback_delta.as_time()),
            immediate_names: !self.settings.delayed_name_removal,
            annotations: &annotations,
            names_resets: None,
            in_parameter: false,
        };
        let translated = translator.translate(&expr)?;
        Ok(Prepared { translated, schema, annotations, is_instant })
    }

    async fn evaluate(&self, data: &Data, question: &Question) -> Result<Answer> {
        let (clock, mut stats) = (self.ground.clock, QueryStats::default());
        let started = clock.monotonic();
        let Prepared { translated, schema, annotations, is_instant } = self.prepare(question)?;
        let grid = *schema.grid();
        let mut answer = match translated {
            Translated::Text(text) => Answer::of_text(text, grid),
            Translated::Samples(selector) => {
                let answer = self.samples(data, selector, &schema).await?;
                let points = answer.series().iter().map(AnswerSeries::point_count).sum::<usize>();
                stats.samples = u64::try_from(points).unwrap_or(u64::MAX);
                answer
            }
            Translated::Subquery { inner } => {
                let mut answer = Answer::new(Shape::Matrix, grid, Vec::new());
                if let Some((plan, schema)) = inner {
                    let selections = select(data, &plan).await?;
                    stats.samples = samples_of(&selections);
                    let series = self.plan(selections, plan, &schema, &annotations).await?;
                    answer = Answer::new(Shape::Matrix, *schema.grid(), series);
                }
                answer.sort();
                answer
            }
            Translated::Plan { plan, is_scalar, is_ordered } => {
                let shape = match (is_instant, is_scalar) {
                    (true, true) => Shape::Scalar,
                    (true, false) => Shape::Vector,
                    (false, _) => Shape::Matrix,
                };
                let selections = select(data, &plan).await?;
                stats.samples = samples_of(&selections);
                stats.preparation = clock.monotonic().saturating_sub(started);
                let series = self.plan(selections, plan, &schema, &annotations).await?;
                let mut answer = Answer::new(shape, grid, series);
                let evaluated = clock.monotonic();
                if !(is_instant && is_ordered) {
                    answer.sort();
                }
                stats.sorting = clock.monotonic().saturating_sub(evaluated);
                answer
            }
        };
        (answer.warnings, answer.infos) = annotations.take();
        stats.evaluation = clock.monotonic().saturating_sub(started);
        answer.stats = stats;
        Ok(answer)
    }

    async fn plan(
        &self,
        selections: HashMap<Selected, Source>,
        plan: LogicalPlan,
        schema: &GridSchema,
        annotations: &Annotations,
    ) -> Result<Vec<AnswerSeries>> {
        let steps = u64::try_from(exec::longest_grid(&plan)).unwrap_or(u64::MAX);
        let work = selections.values().map(|source| source.work(steps)).fold(steps, u64::saturating_add);
        let is_small = work < SMALL;
        // With many queries at a time each is read in fewer parts: they already keep all threads busy.
        let running = self.settings.max_concurrency.max(1) - self.admission.available_permits();
        let partitions = if is_small { 1 } else { (self.threads / running.max(1)).max(1) };
        let lower = self.lower(selections, annotations.clone(), partitions);
        let physical = lower.whole(&plan)?;
        let (context, schema, clock) = (self.task_context(), schema.clone(), self.ground.clock);
        let at_work = Running::begin(&self.running);
        let evaluation = async move {
            let _at_work = at_work;
            run::collect(physical, context, schema, clock).await
        };
        if is_small {
            return evaluation.await;
        }
        run::to_the_end(self.ground.pools.spawn_cpu(evaluation)).await
    }

    fn lower(
        &self,
        selections: HashMap<Selected, Source>,
        annotations: Annotations,
        partitions: usize,
    ) -> Lower {
        Lower {
            selections: Arc::new(selections),
            annotations,
            immediate_names: !self.settings.delayed_name_removal,
            partitions,
            clock: self.ground.clock,
            max_samples: self.settings.max_samples,
        }
    }

    /// A context without function maps, with the query's own memory account.
    fn task_context(&self) -> Arc<TaskContext> {
        let runtime = RuntimeEnv { memory_pool: Arc::new(self.memory()), ..self.runtime.clone() };
        Arc::new(TaskContext::new(
            None,
            String::new(),
            self.config.clone(),
            StdHashMap::new(),
            StdHashMap::new(),
            StdHashMap::new(),
            StdHashMap::new(),
            Arc::new(runtime),
        ))
    }

    fn memory(&self) -> GreedyMemoryPool {
        let samples = usize::try_from(self.settings.max_samples).unwrap_or(usize::MAX);
        GreedyMemoryPool::new(samples.saturating_mul(SAMPLE_BYTES))
    }

    /// A range vector as stored.
    async fn samples(&self, data: &Data, selector: Selector, schema: &GridSchema) -> Result<Answer> {
        let selected = selector.selected(schema)?;
        let source = data.select(&selected).await?;
        let _at_work = Running::begin(&self.running);
        let series = run::samples(&source, selected.span_ms, self.settings.max_samples).await?;
        let mut answer = Answer::new(Shape::Matrix, *schema.grid(), series);
        answer.sort();
        Ok(answer)
    }
}

/// The samples that may be read.
fn samples_of(selections: &HashMap<Selected, Source>) -> u64 {
    selections.values().map(|source| source.work(0)).fold(0, u64::saturating_add)
}

/// Makes all selections of a plan, one after the other: they share what they read of the index.
async fn select(data: &Data, plan: &LogicalPlan) -> Result<HashMap<Selected, Source>> {
    let mut made = HashMap::new();
    for selected in exec::selections(plan)? {
        let source = data.select(&selected).await?;
        made.insert(selected, source);
    }
    Ok(made)
}
