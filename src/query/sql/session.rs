//! A connection's session: text to plan to stream, each statement over a snapshot of its own, or over the one
//! of its transaction.

use std::borrow::Borrow;
use std::num::NonZero;
use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{FunctionRegistry, SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::setup_pg_catalog;
use futures::future::BoxFuture;

use super::catalog::{Catalog, Databases, SEARCH_PATH};
use super::errors::from_datafusion;
use super::explain::{self, Explain};
use super::parse::{Parsed, Parser};
use super::pg_catalog::Dump;
use super::settings::Settings;
use super::statement::SqlStatement;
use super::yielding::YieldingJoins;
use super::{functions, information_schema, jsonb};
use crate::error::{Error, Result};
use crate::model::Principal;
use crate::store::Snapshot;

/// The database's name in every connection.
pub(crate) const DATABASE: &str = "quipu";

/// Where the snapshots of a principal come from.
pub type SnapshotSource = Arc<dyn Fn(&Principal) -> Result<Snapshot> + Send + Sync>;

/// `DataFusion`'s state behind a pointer that is known to be `Send` and `Sync`. The compiler proves it of the
/// state itself by walking every kind of plan and expression, seconds for each future that holds one.
type State = Arc<dyn Borrow<SessionState> + Send + Sync>;

/// Who is connected; what functions and catalogs say about it.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) user: Arc<str>,
    pub(super) database: Arc<str>,
    pub(super) pid: i32,
    pub(super) settings: Settings,
}

/// What all sessions share.
pub struct SqlEngine {
    template: State,
    source: SnapshotSource,
    parser: Parser,
    dump: Arc<Dump>,
    system: Arc<Vec<super::System>>,
}

impl std::fmt::Debug for SqlEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlEngine").finish_non_exhaustive()
    }
}

impl SqlEngine {
    /// An engine for this machine whose queries hold at most `memory_bytes` together; what does not fit is
    /// spilled to the system's temporary folder or refused.
    ///
    /// # Errors
    /// As [`SqlEngine::new`].
    pub fn for_machine(source: SnapshotSource, memory_bytes: usize) -> Result<Self> {
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory_bytes, 1.0).build_arc();
        let runtime = runtime.map_err(|e| from_datafusion(e, "").during("start SQL"))?;
        Self::new(source, runtime, std::thread::available_parallelism().map_or(1, NonZero::get))
    }

    /// An engine over the snapshots of `source`; `runtime` holds the memory pool and the spill folder, and
    /// `partitions` says how many streams a plan reads at once.
    ///
    /// # Errors
    /// `Internal` when the dump of `PostgreSQL`'s catalogs cannot be unpacked.
    pub fn new(source: SnapshotSource, runtime: Arc<RuntimeEnv>, partitions: usize) -> Result<Self> {
        let broken = |e| from_datafusion(e, "").during("start SQL");
        let config = SessionConfig::new()
            .with_default_catalog_and_schema(DATABASE, "public")
            .with_information_schema(false)
            .with_target_partitions(partitions.max(1))
            .set_bool("datafusion.sql_parser.collect_spans", true);
        let builder = SessionStateBuilder::new_with_default_features();
        let builder = builder
            .with_config(config)
            .with_runtime_env(runtime)
            .with_physical_optimizer_rule(Arc::new(YieldingJoins));
        let context = SessionContext::new_with_state(builder.build());
        setup_pg_catalog(&context, DATABASE, EmptyContextProvider).map_err(|e| broken(*e))?;
        let mut template = context.state();
        SEARCH_PATH.clone_into(&mut template.config_mut().options_mut().catalog.default_schema);
        template.register_expr_planner(Arc::new(jsonb::JsonOperators)).map_err(broken)?;
        for function in jsonb::functions().into_iter().chain(functions::constant()) {
            template.register_udf(function).map_err(broken)?;
        }
        let dump = Arc::new(Dump::new().map_err(broken)?);
        let mut system = dump.listing().map_err(broken)?;
        system.extend(information_schema::listing());
        Ok(Self {
            template: Arc::new(template),
            source,
            parser: Parser::new(),
            dump,
            system: Arc::new(system),
        })
    }
}

/// The session of one connection.
pub struct SqlSession {
    engine: Arc<SqlEngine>,
    principal: Principal,
    facts: Facts,
    state: State,
    /// What the first statement of the open transaction saw.
    held: Mutex<Option<Snapshot>>,
}

/// What is known of a statement before it runs.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The type of each parameter `$1`, `$2`, …; `None` where nothing fixes it.
    pub parameters: Vec<Option<DataType>>,
    /// The columns of the answer.
    pub columns: Arc<[FieldRef]>,
}

/// A running statement.
pub struct Answer {
    /// The columns, under the names that `PostgreSQL` would give them.
    pub columns: Arc<[FieldRef]>,
    /// The rows.
    pub rows: SendableRecordBatchStream,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SqlSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlSession").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl SqlSession {
    /// A session of `principal` as connection number `pid`.
    ///
    /// # Errors
    /// `Internal` when a function cannot be registered.
    pub fn new(engine: Arc<SqlEngine>, principal: Principal, pid: i32) -> Result<Self> {
        let user = principal.name.clone().unwrap_or_else(|| DATABASE.into());
        let facts = Facts { user, database: DATABASE.into(), pid, settings: Settings::default() };
        facts.settings.start("session_authorization", &facts.user)?;
        let mut state = owned(&engine.template);
        for function in functions::of_session(&facts) {
            state.register_udf(function).map_err(|e| from_datafusion(e, ""))?;
        }
        Ok(Self { engine, principal, facts, state: Arc::new(state), held: Mutex::default() })
    }

    /// The session's settings.
    pub fn settings(&self) -> &Settings {
        &self.facts.settings
    }

    /// BEGIN: from its first statement on, a repeatable transaction sees one state of the data.
    pub fn begin(&self) {
        self.facts.settings.begin();
    }

    /// COMMIT (`kept`) or ROLLBACK.
    pub fn end(&self, kept: bool) {
        self.facts.settings.end(kept);
        *self.held.lock().expect("no holder of this lock panics") = None;
    }

    /// What the next statement sees.
    fn snapshot(&self) -> Result<Snapshot> {
        if !self.facts.settings.keeps_snapshot() {
            return (self.engine.source)(&self.principal);
        }
        let mut held = self.held.lock().expect("no holder of this lock panics");
        match &*held {
            Some(snapshot) => Ok(snapshot.clone()),
            None => Ok(held.insert((self.engine.source)(&self.principal)?).clone()),
        }
    }

    /// Parameters and columns of a statement.
    ///
    /// # Errors
    /// `Syntax`, `UnknownTable`, `UnknownColumn`, `UnknownFunction`, `ReadOnly`, `Unsupported`, `Invalid`.
    pub async fn prepare(&self, statement: &SqlStatement) -> Result<Prepared> {
        if let Some(explain) = Explain::recognise(statement)? {
            let inner = self.plan(&explain.statement).await?;
            return Ok(Prepared { parameters: inner.parameters()?, columns: explain::columns() });
        }
        let planned = self.plan(statement).await?;
        Ok(Prepared { parameters: planned.parameters()?, columns: planned.columns })
    }

    /// Runs a statement with the values of its parameters.
    ///
    /// # Errors
    /// As [`SqlSession::prepare`], and what the store answers.
    pub fn execute<'a>(
        &'a self,
        statement: &'a SqlStatement,
        parameters: Vec<ScalarValue>,
    ) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(async move {
            let told = |e| from_datafusion(e, statement.text());
            if let Some(explain) = Explain::recognise(statement)? {
                let planned = self.plan(&explain.statement).await?;
                let plan = bind(planned.plan, parameters).map_err(told)?;
                let rows = explain.run(&planned.state, &plan).await.map_err(told)?;
                return Ok(Answer { columns: explain::columns(), rows });
            }
            let planned = self.plan(statement).await?;
            let plan = bind(planned.plan, parameters).map_err(told)?;
            let physical = planned.state.create_physical_plan(&plan).await.map_err(told)?;
            let rows = execute_stream(physical, planned.state.task_ctx()).map_err(told)?;
            Ok(Answer { columns: named(&rows.schema(), &planned.names), rows })
        })
    }

    fn plan<'a>(&'a self, statement: &'a SqlStatement) -> BoxFuture<'a, Result<Planned>> {
        Box::pin(self.planned(statement))
    }

    async fn planned(&self, statement: &SqlStatement) -> Result<Planned> {
        let Parsed { ast, names } = self.engine.parser.parse(statement)?;
        let snapshot = self.snapshot()?;
        let dump = Arc::clone(&self.engine.dump);
        let catalog = Catalog::new(snapshot, self.facts.clone(), dump, Arc::clone(&self.engine.system));
        let mut state = owned(&self.state);
        state.register_catalog_list(Arc::new(Databases(Arc::new(catalog))));
        let zone = self.facts.settings.get("TimeZone")?;
        state.config_mut().options_mut().execution.time_zone = Some(zone);
        state.mark_start_execution();
        let told = |e| from_datafusion(e, statement.text());
        let ast = datafusion::sql::parser::Statement::Statement(Box::new(ast));
        let plan = state.statement_to_plan(ast).await.map_err(told)?;
        let reads_only =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        reads_only.verify_plan(&plan).map_err(told)?;
        let columns = named(plan.schema().inner(), &names);
        Ok(Planned { state, plan, names, columns })
    }
}

/// A state of one's own, to be changed.
fn owned(state: &State) -> SessionState {
    let state: &SessionState = (**state).borrow();
    state.clone()
}

struct Planned {
    state: SessionState,
    plan: LogicalPlan,
    names: Vec<String>,
    columns: Arc<[FieldRef]>,
}

impl Planned {
    fn parameters(&self) -> Result<Vec<Option<DataType>>> {
        let found = self.plan.get_parameter_types().map_err(|e| from_datafusion(e, ""))?;
        let mut all: Vec<Option<DataType>> = Vec::new();
        for (name, kind) in found {
            let number: usize = name[1..].parse().map_err(|_| no_parameter(&name))?;
            if number == 0 || number > MAX_PARAMETERS {
                return Err(no_parameter(&name));
            }
            all.resize(all.len().max(number), None);
            all[number - 1] = kind.or_else(|| self.hint(&name));
        }
        Ok(all)
    }

    /// The type of a parameter that the planner leaves open: of a LIMIT or OFFSET, or of the cast around it.
    fn hint(&self, name: &str) -> Option<DataType> {
        let is_it = |expr: &Expr| matches!(expr, Expr::Placeholder(Placeholder { id, .. }) if id == name);
        let mut found = None;
        let walked = self.plan.apply_with_subqueries(|plan| {
            if let LogicalPlan::Limit(limit) = plan
                && [&limit.fetch, &limit.skip].into_iter().flatten().any(|expr| is_it(expr))
            {
                found = Some(DataType::Int64);
            }
            plan.apply_expressions(|expr| {
                expr.apply(|expr| {
                    if let Expr::Cast(cast) = expr
                        && is_it(&cast.expr)
                    {
                        found = Some(cast.field.data_type().clone());
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        });
        walked.ok().and(found)
    }
}

/// The protocol counts parameters in 16 bits.
const MAX_PARAMETERS: usize = 65_535;

fn no_parameter(name: &str) -> Error {
    Error::invalid(format!("there is no parameter {name}"))
}

fn bind(plan: LogicalPlan, parameters: Vec<ScalarValue>) -> datafusion::common::Result<LogicalPlan> {
    if parameters.is_empty() {
        return Ok(plan);
    }
    plan.with_param_values(ParamValues::from(parameters))
}

/// The fields under the names of the select list, where there is one for each.
fn named(schema: &SchemaRef, names: &[String]) -> Arc<[FieldRef]> {
    if names.len() != schema.fields().len() {
        return schema.fields().iter().cloned().collect();
    }
    let rename = |(field, name): (&FieldRef, &String)| {
        if field.name() == name { Arc::clone(field) } else { Arc::new(Field::clone(field).with_name(name)) }
    };
    schema.fields().iter().zip(names).map(rename).collect()
}
