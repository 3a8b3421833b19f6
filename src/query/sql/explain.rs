//! EXPLAIN: the plan as `PostgreSQL`'s clients show it, one line a row in a column `QUERY PLAN`.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;

use super::statement::SqlStatement;
use crate::error::{self, Error};

/// A statement to explain, and how.
pub(super) struct Explain {
    pub(super) statement: SqlStatement,
    analyze: bool,
    verbose: bool,
}

/// The answer's only column.
pub(super) fn columns() -> Arc<[FieldRef]> {
    [Arc::new(Field::new("QUERY PLAN", DataType::Utf8, false))].into()
}

impl Explain {
    /// `EXPLAIN [ANALYZE] [VERBOSE] …` or `EXPLAIN (option [value], …) …`; `None` for another statement.
    ///
    /// # Errors
    /// `Syntax`; `Unsupported` for a format other than text.
    pub(super) fn recognise(statement: &SqlStatement) -> error::Result<Option<Self>> {
        if statement.verb() != "explain" {
            return Ok(None);
        }
        let words: Vec<String> = statement.words().collect();
        let (mut analyze, mut verbose, mut used) = (false, false, 1);
        if words.get(1).is_some_and(|w| w == "(") && is_option(words.get(2)) {
            let end =
                words.iter().position(|w| w == ")").ok_or_else(|| statement.syntax_error(words.len()))?;
            for option in words[2..end].split(|w| w == ",") {
                let on = option.get(1).is_none_or(|v| matches!(v.as_str(), "true" | "on" | "1"));
                match (option.first().map(String::as_str), option.get(1).map(String::as_str)) {
                    (Some("analyze"), _) => analyze = on,
                    (Some("verbose"), _) => verbose = on,
                    (Some("format"), Some("text")) => {}
                    (Some("format"), other) => {
                        return Err(Error::unsupported(format!("EXPLAIN (FORMAT {})", other.unwrap_or(""))));
                    }
                    // Costs, buffers and the like: the plan has its own figures.
                    _ => {}
                }
            }
            used = end + 1;
        } else {
            while let Some(word) = words.get(used).filter(|w| matches!(w.as_str(), "analyze" | "verbose")) {
                analyze |= word == "analyze";
                verbose |= word == "verbose";
                used += 1;
            }
        }
        if used >= words.len() {
            return Err(statement.syntax_error(used));
        }
        Ok(Some(Self { statement: statement.after(used), analyze, verbose }))
    }

    /// Plans, and with ANALYZE runs, the statement.
    pub(super) async fn run(
        &self,
        state: &SessionState,
        plan: &LogicalPlan,
    ) -> Result<SendableRecordBatchStream> {
        let physical = state.create_physical_plan(plan).await?;
        let mut lines = Vec::new();
        if self.verbose {
            push(&mut lines, &state.optimize(plan)?.display_indent().to_string());
            lines.push(String::new());
        }
        if self.analyze {
            let mut rows = execute_stream(Arc::clone(&physical), state.task_ctx())?;
            let mut count = 0;
            while let Some(batch) = rows.next().await {
                count += batch?.num_rows();
            }
            push(&mut lines, &text(&physical, true));
            lines.push(format!("rows: {count}"));
        } else {
            push(&mut lines, &text(&physical, false));
        }
        let schema = Arc::new(Schema::new(columns().to_vec()));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(StringArray::from(lines))])?;
        Ok(Box::pin(MemoryStream::try_new(vec![batch], schema, None)?))
    }
}

fn is_option(word: Option<&String>) -> bool {
    const OPTIONS: [&str; 10] = [
        "analyze",
        "verbose",
        "costs",
        "settings",
        "buffers",
        "wal",
        "timing",
        "summary",
        "format",
        "generic_plan",
    ];
    word.is_some_and(|w| OPTIONS.contains(&w.as_str()))
}

fn text(plan: &Arc<dyn ExecutionPlan>, metrics: bool) -> String {
    let display = if metrics {
        DisplayableExecutionPlan::with_metrics(plan.as_ref())
    } else {
        DisplayableExecutionPlan::new(plan.as_ref())
    };
    display.indent(false).to_string()
}

fn push(lines: &mut Vec<String>, text: &str) {
    lines.extend(text.lines().map(str::to_owned));
}
