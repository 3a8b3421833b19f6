//! A statement's tokens become sqlparser's tree, in the dialect that `DataFusion` understands, and the names
//! that `PostgreSQL` gives the columns of its answer.

use std::fmt;
use std::ops::ControlFlow;

use datafusion::logical_expr::sqlparser::ast::{
    Array, DataType, Expr, FunctionArguments, Ident, Query, Select, SelectItem, SetExpr, Statement, Value,
    visit_expressions_mut,
};
use datafusion::logical_expr::sqlparser::dialect::PostgreSqlDialect;
use datafusion::logical_expr::sqlparser::parser;
use datafusion::logical_expr::sqlparser::tokenizer::Token;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_pg_catalog::sql::rules::{
    CurrentUserVariableToSessionUserFunctionCall, FixArrayLiteral, RewriteArrayAnyAllOperation,
    RewritePgCatalogOperator, RewriteRegCastToSubquery, SqlStatementRewriteRule, StripCallableQualifier,
    StripCollate,
};

use super::errors::from_parser;
use super::statement::SqlStatement;
use crate::error::{Error, Kind, Result};

/// How deep expressions and subqueries may nest.
const MAX_DEPTH: usize = 50;

/// A statement that only reads.
pub(super) struct Parsed {
    pub(super) ast: Statement,
    /// One for each item of the select list; empty where `*` hides how many columns there are.
    pub(super) names: Vec<String>,
}

/// Parser and rewrite rules; shared by all sessions.
pub(super) struct Parser {
    /// For statements over the catalogs: also replaces whole queries of known clients.
    catalogs: PostgresCompatibilityParser,
    rules: Vec<Box<dyn SqlStatementRewriteRule>>,
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}

impl Parser {
    /// A parser with its rules.
    pub(super) fn new() -> Self {
        // Those of the crate's rules that keep a query's meaning. RemoveSubqueryFromProjection, which makes
        // correlated subqueries NULL, is only for the catalogs.
        let rules: Vec<Box<dyn SqlStatementRewriteRule>> = vec![
            Box::new(RewriteArrayAnyAllOperation),
            Box::new(StripCallableQualifier),
            Box::new(FixArrayLiteral),
            Box::new(CurrentUserVariableToSessionUserFunctionCall),
            Box::new(StripCollate),
            Box::new(RewritePgCatalogOperator),
            Box::new(RewriteRegCastToSubquery::new()),
        ];
        Self { catalogs: PostgresCompatibilityParser::new(), rules }
    }

    /// The tree of a statement.
    ///
    /// # Errors
    /// `Syntax`, `Limit` when it is nested too deeply, `ReadOnly` for what changes data.
    pub(super) fn parse(&self, statement: &SqlStatement) -> Result<Parsed> {
        let wrong = |e| from_parser(&e, statement.text());
        let dialect = PostgreSqlDialect {};
        let mut parser = parser::Parser::new(&dialect)
            .with_recursion_limit(MAX_DEPTH)
            .with_tokens_with_locations(statement.tokens().to_vec());
        let mut ast = parser.parse_statement().map_err(wrong)?;
        let next = parser.peek_token();
        if next.token != Token::EOF {
            return parser.expected("end of statement", next).map_err(wrong);
        }
        let Statement::Query(query) = &ast else {
            let verb = statement.verb().to_uppercase();
            return Err(Error::new(
                Kind::ReadOnly,
                format!("cannot execute {verb} in a read-only transaction"),
            ));
        };
        let names = column_names(query);
        if statement.names_catalog() {
            let mut all = self.catalogs.parse(statement.source()).map_err(wrong)?;
            let [_] = all.as_slice() else { return Err(statement.syntax_error(0)) };
            ast = all.remove(0);
            drop_array_subqueries(&mut ast);
        } else {
            for rule in &self.rules {
                ast = rule.rewrite(ast);
            }
        }
        tell_twins_apart(&mut ast);
        Ok(Parsed { ast, names })
    }
}

/// `ARRAY(SELECT …)`, which `DataFusion` does not have. In the catalogs it asks for memberships and options, of
/// which there are none: an empty list.
fn drop_array_subqueries(ast: &mut Statement) {
    let all: ControlFlow<()> = visit_expressions_mut(ast, |expr| {
        if let Expr::Function(function) = expr
            && matches!(function.args, FunctionArguments::Subquery(_))
            && function.name.to_string().eq_ignore_ascii_case("array")
        {
            *expr = Expr::Array(Array { elem: Vec::new(), named: true });
        }
        ControlFlow::Continue(())
    });
    debug_assert!(all.is_continue(), "nothing stops the visit");
}

fn first_select(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

fn column_names(query: &Query) -> Vec<String> {
    let Some(select) = first_select(&query.body) else { return Vec::new() };
    let name = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => Some(figure_name(expr).unwrap_or_else(|| "?column?".to_owned())),
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    };
    select.projection.iter().map(name).collect::<Option<_>>().unwrap_or_default()
}

fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// `PostgreSQL`'s name of an unnamed column (`FigureColname` in its `parse_target.c`); `None` is `?column?`.
fn figure_name(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::Identifier(ident) => folded(ident),
        Expr::CompoundIdentifier(parts) => folded(parts.last()?),
        Expr::Function(function) => folded(function.name.0.last()?.as_ident()?),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure_name(inner)?,
        Expr::AtTimeZone { .. } => "timezone".to_owned(),
        Expr::Cast { expr, data_type, .. } => figure_name(expr).unwrap_or_else(|| type_name(data_type)),
        Expr::TypedString(typed) => type_name(&typed.data_type),
        Expr::Case { else_result, .. } => {
            else_result.as_deref().and_then(figure_name).unwrap_or_else(|| "case".to_owned())
        }
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        Expr::Interval(_) => "interval".to_owned(),
        Expr::Trim { .. } => "btrim".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Position { .. } => "position".to_owned(),
        Expr::Ceil { .. } => "ceil".to_owned(),
        Expr::Floor { .. } => "floor".to_owned(),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => "bool".to_owned(),
        Expr::Subquery(query) => column_names(query).into_iter().next()?,
        _ => return None,
    })
}

fn type_name(kind: &DataType) -> String {
    let lower = kind.to_string().to_lowercase();
    let name = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
    match name {
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "smallint" => "int2",
        "boolean" => "bool",
        "double precision" | "float" => "float8",
        "real" => "float4",
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        other => other,
    }
    .to_owned()
}

/// `SELECT 1, 1` is two columns of one name, which `DataFusion` refuses: the later ones get names of their own,
/// which the answer does not show.
fn tell_twins_apart(ast: &mut Statement) {
    let Statement::Query(query) = ast else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut seen = std::collections::HashSet::new();
    for (i, item) in select.projection.iter_mut().enumerate() {
        let (key, expr) = match item {
            SelectItem::UnnamedExpr(expr) => (expr.to_string(), expr),
            SelectItem::ExprWithAlias { alias, expr } => (alias.to_string(), expr),
            _ => continue,
        };
        if !seen.insert(key) {
            let alias = Ident::with_quote('"', format!("?{i}"));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fuzz::fuzz;

    fn names(sql: &str) -> Vec<String> {
        let statement = SqlStatement::split(sql).expect("tokens").remove(0);
        Parser::new().parse(&statement).unwrap_or_else(|e| panic!("{sql}: {e}")).names
    }

    #[test]
    fn columns_are_called_as_in_postgres() {
        let sql =
            "SELECT count(*), 1, 'a', m.Value, timestamp::date, '1'::int, \"Up\", a+b AS \"S\", now() FROM m";
        let wanted = ["count", "?column?", "?column?", "value", "timestamp", "int4", "Up", "S", "now"];
        assert_eq!(names(sql), wanted);
        assert_eq!(
            names("SELECT CASE WHEN a THEN 1 ELSE b END, coalesce(a, b), true FROM m"),
            ["b", "coalesce", "bool"]
        );
        assert!(names("SELECT *, 1 FROM m").is_empty());
        assert_eq!(names("SELECT 1, 1"), ["?column?", "?column?"]);
    }

    #[test]
    fn only_queries_pass() {
        let parse =
            |sql: &str| Parser::new().parse(&SqlStatement::split(sql).expect("tokens").remove(0)).err();
        let kind = |sql: &str| parse(sql).map(|e| e.kind());
        assert_eq!(kind("DELETE FROM samples"), Some(Kind::ReadOnly));
        assert_eq!(kind("SELEC 1"), Some(Kind::Syntax));
        assert_eq!(kind("SELECT 1 FROM a b c"), Some(Kind::Syntax));
        let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(kind(&deep), Some(Kind::Limit));
    }

    #[test]
    fn hostile_statements_are_refused_and_no_panics() {
        const WORDS: [&str; 34] = [
            "(",
            ")",
            "'",
            "\"",
            ";",
            ",",
            ".",
            "*",
            "::int",
            " AND ",
            " NOT ",
            " IN (",
            "$1",
            "--",
            "/*",
            "*/",
            "$$",
            "E'\\",
            "U&'",
            " JOIN ",
            " ON ",
            " OVER (",
            "ARRAY[",
            "CASE ",
            " END",
            "SELECT ",
            " FROM ",
            "1e9",
            "INTERVAL '1'",
            "pg_catalog.",
            "::regclass",
            "= ANY(",
            " UNION ",
            "WITH a AS (",
        ];
        let seeds = [
            "SELECT job, sum(value) AS s FROM up WHERE timestamp > now() - INTERVAL '1 hour' GROUP BY 1 ORDER BY s",
            "WITH a AS (SELECT 1) SELECT 'b'::text, ARRAY[1,2] FROM a JOIN LATERAL (SELECT $1) c ON true; SELECT 2",
            "SELECT c.relname, 'up'::regclass FROM pg_catalog.pg_class c WHERE c.oid = ANY(current_schemas(true))",
        ];
        let parser = Parser::new();
        fuzz("sql", &seeds.map(str::as_bytes), &WORDS, |input| {
            let text = String::from_utf8_lossy(input);
            let read = SqlStatement::split(&text)
                .and_then(|all| all.iter().try_for_each(|one| parser.parse(one).map(|_| ())));
            if let Err(error) = &read {
                let kind = error.kind();
                let expected = [Kind::Syntax, Kind::Limit, Kind::ReadOnly, Kind::Unsupported, Kind::Invalid];
                assert!(expected.contains(&kind), "{text:?}: {error}");
            }
            read.is_ok()
        });
    }
}
