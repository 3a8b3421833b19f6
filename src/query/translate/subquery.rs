//! Subqueries: the same translation on another grid.

use super::super::plan::{GridSchema, Subquery};
use super::super::promql::ast;
use super::{Translator, Vector, fixed};
use crate::error::Result;

impl Translator<'_> {
    /// A subquery as a range vector.
    pub(super) fn subquery(&self, subquery: &ast::Subquery) -> Result<Vector> {
        let (node, inner) = self.inner(subquery)?;
        let Some((vector, _)) = inner else {
            return Ok(Vector { plan: node.plan(None, self.schema), has_one_name: true });
        };
        let plan = node.plan(Some(vector.plan), self.schema);
        Ok(Vector { plan, has_one_name: vector.has_one_name })
    }

    /// The node, and the expression on its own grid, unless that has no step.
    pub(super) fn inner(&self, subquery: &ast::Subquery) -> Result<(Subquery, Option<(Vector, GridSchema)>)> {
        let node = Subquery {
            range_ms: fixed(&subquery.range)?,
            step_ms: subquery.step.as_ref().map_or(Ok(self.subquery_step_ms), fixed)?,
            offset_ms: subquery.offset.as_ref().map_or(Ok(0), fixed)?,
            at_ms: subquery.at.map(|at| self.at_ms(at)),
        };
        let Some((grid, end_ms)) = node.grid(self.grid())? else { return Ok((node, None)) };
        self.steps_left.take(grid.steps())?;
        let schema = GridSchema::new(grid)?;
        let vector = Translator { schema: &schema, end_ms, names_resets: Some(false), ..*self }
            .vector(&subquery.expr)?;
        Ok((node, Some((vector, schema))))
    }
}
