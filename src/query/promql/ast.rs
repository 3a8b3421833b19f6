//! The syntax tree of PromQL. Every node knows its place in the text.
//!
//! Big nodes are boxed so that an [`Expr`] stays small: the tree is moved around while it grows. Its height is
//! at most [`MAX_DEPTH`](super::MAX_DEPTH), so walking it by recursion is safe.

use super::duration::Duration;
use super::functions::{Function, ValueType};
use super::span::Span;
use crate::model::Matcher;

/// An expression and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    /// What it is.
    pub(crate) kind: ExprKind,
    /// From its first to its last byte.
    pub(crate) span: Span,
}

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExprKind {
    /// `1`, `Inf`, `5m`, with the sign in front of it.
    Number(NumberLiteral),
    /// `"text"`.
    String(StringLiteral),
    /// `name{label="value"}`: an instant vector.
    Vector(Box<VectorSelector>),
    /// `selector[5m]`: a range vector.
    Matrix(Box<MatrixSelector>),
    /// `expr[1h:5m]`: a range vector.
    Subquery(Box<Subquery>),
    /// `-expr`, `+expr`; never of a number literal.
    Unary(Box<Unary>),
    /// `left + right`.
    Binary(Box<Binary>),
    /// `sum by (label) (expr)`.
    Aggregate(Box<Aggregate>),
    /// `rate(…)`.
    Call(Box<Call>),
    /// `(expr)`.
    Paren(Box<Expr>),
}

/// A number, or a duration used as one (`5m` is 300).
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberLiteral {
    /// The value; seconds for a duration.
    pub(crate) value: f64,
    /// Whether it was written as a duration.
    pub(crate) is_duration: bool,
}

/// All NaN literals are equal: trees are compared, not numbers.
impl PartialEq for NumberLiteral {
    fn eq(&self, other: &Self) -> bool {
        let same_value = self.value.to_bits() == other.value.to_bits();
        let both_nan = self.value.is_nan() && other.value.is_nan();
        self.is_duration == other.is_duration && (same_value || both_nan)
    }
}

/// A string literal: bytes, as in Go, where `"\xFF"` is one byte and no character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StringLiteral {
    /// What the escapes stand for.
    pub(crate) bytes: Vec<u8>,
}

/// `name{label="value"} offset 5m @ start() anchored`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct VectorSelector {
    /// The name where it stands in front of the braces; then the last matcher is its `__name__`.
    pub(crate) name: Option<String>,
    /// All conditions, in the order of the text.
    pub(crate) matchers: Vec<Matcher>,
    /// The offset; `None` is 0.
    pub(crate) offset: Option<Duration>,
    /// The fixed evaluation time.
    pub(crate) at: Option<At>,
    /// What happens at the edges of the range.
    pub(crate) edges: Option<Edges>,
}

/// `@ 123.5`, `@ start()`, `@ end()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// A time in ms since 1970.
    Time(i64),
    /// The first step of the outermost query.
    Start,
    /// The last step of the outermost query.
    End,
}

/// How a range selector gets values at its edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edges {
    /// The sample before the edge counts as the one at the edge.
    Anchored,
    /// The value at the edge is interpolated.
    Smoothed,
}

/// `selector[5m]`. Offset, `@` and edges are the selector's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MatrixSelector {
    /// The series.
    pub(crate) selector: VectorSelector,
    /// The place of the selector without its range.
    pub(crate) selector_span: Span,
    /// The range, > 0.
    pub(crate) range: Duration,
}

/// `expr[1h:5m] offset 5m @ end()`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Subquery {
    /// An instant vector.
    pub(crate) expr: Expr,
    /// The range, > 0.
    pub(crate) range: Duration,
    /// The resolution, > 0; `None` is the default of the engine.
    pub(crate) step: Option<Duration>,
    /// The offset; `None` is 0.
    pub(crate) offset: Option<Duration>,
    /// The fixed evaluation time.
    pub(crate) at: Option<At>,
}

/// A sign in front of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unary {
    /// `-` or else `+`.
    pub(crate) negative: bool,
    /// A scalar or an instant vector.
    pub(crate) expr: Expr,
}

/// An operator between two expressions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Binary {
    /// The operator.
    pub(crate) op: BinaryOp,
    /// The place of the operator itself.
    pub(crate) op_span: Span,
    /// The left operand: a scalar or an instant vector.
    pub(crate) left: Expr,
    /// The right operand: a scalar or an instant vector.
    pub(crate) right: Expr,
    /// `bool`: a comparison gives 0 and 1 instead of filtering.
    pub(crate) returns_bool: bool,
    /// How series find each other; `None` unless both operands are instant vectors.
    pub(crate) matching: Option<Matching>,
}

/// `on (…) group_left (…) fill (…)`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Matching {
    /// How many series of each side belong together.
    pub(crate) cardinality: Cardinality,
    /// Whether `labels` are those that count (`on`); else those that do not (`ignoring`, the default).
    pub(crate) on: bool,
    /// The labels of `on` or `ignoring`.
    pub(crate) labels: Vec<String>,
    /// The labels of `group_left` or `group_right`, copied from the "one" side.
    pub(crate) include: Vec<String>,
    /// The value of a missing series on the left.
    pub(crate) fill_left: Option<f64>,
    /// The value of a missing series on the right.
    pub(crate) fill_right: Option<f64>,
}

/// How many series of each side belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Cardinality {
    /// One left, one right.
    #[default]
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
    /// Always with `and`, `or`, `unless`.
    ManyToMany,
}

/// `topk by (job) (3, expr)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Aggregate {
    /// The operator.
    pub(crate) op: AggregateOp,
    /// An instant vector.
    pub(crate) expr: Expr,
    /// The first argument of those operators that take one.
    pub(crate) param: Option<Expr>,
    /// The labels of `by` or `without`.
    pub(crate) grouping: Vec<String>,
    /// Whether `grouping` is left out (`without`); else it is kept (`by`, the default).
    pub(crate) without: bool,
}

/// A function's call; the arguments fit its types.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// Which function.
    pub(crate) function: &'static Function,
    /// Its arguments.
    pub(crate) args: Vec<Expr>,
}

/// Binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum BinaryOp {
    /// `or`
    Or,
    /// `and`
    And,
    /// `unless`
    Unless,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `</`: a histogram without its observations above the right side.
    TrimUpper,
    /// `>/`: a histogram without its observations below the right side.
    TrimLower,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `atan2`
    Atan2,
    /// `^`
    Pow,
}

impl BinaryOp {
    /// The operator as it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Unless => "unless",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Atan2 => "atan2",
            Self::Pow => "^",
        }
    }

    /// How tightly it binds, from 1; only `^` groups to the right.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessEqual
            | Self::Greater
            | Self::GreaterEqual
            | Self::TrimUpper
            | Self::TrimLower => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }

    /// `==`, `<` and the like.
    pub(crate) fn is_comparison(self) -> bool {
        self.precedence() == 3 && !matches!(self, Self::TrimUpper | Self::TrimLower)
    }

    /// `and`, `or`, `unless`.
    pub(crate) fn is_set(self) -> bool {
        self.precedence() <= 2
    }

    /// Whether it is written as a word, which may also be a label's name.
    pub(super) fn is_word(self) -> bool {
        self.is_set() || self == Self::Atan2
    }
}

/// Aggregation operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AggregateOp {
    /// `avg`
    Avg,
    /// `bottomk`
    Bottomk,
    /// `count`
    Count,
    /// `count_values`
    CountValues,
    /// `group`
    Group,
    /// `max`
    Max,
    /// `min`
    Min,
    /// `quantile`
    Quantile,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `sum`
    Sum,
    /// `topk`
    Topk,
    /// `limitk`
    Limitk,
    /// `limit_ratio`
    LimitRatio,
}

impl AggregateOp {
    /// All of them.
    pub(crate) const ALL: [Self; 14] = [
        Self::Avg,
        Self::Bottomk,
        Self::Count,
        Self::CountValues,
        Self::Group,
        Self::Max,
        Self::Min,
        Self::Quantile,
        Self::Stddev,
        Self::Stdvar,
        Self::Sum,
        Self::Topk,
        Self::Limitk,
        Self::LimitRatio,
    ];

    /// The operator as it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Bottomk => "bottomk",
            Self::Count => "count",
            Self::CountValues => "count_values",
            Self::Group => "group",
            Self::Max => "max",
            Self::Min => "min",
            Self::Quantile => "quantile",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Sum => "sum",
            Self::Topk => "topk",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// The type of the parameter in front of the vector.
    pub(crate) fn param_type(self) -> Option<ValueType> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::Limitk | Self::LimitRatio => {
                Some(ValueType::Scalar)
            }
            Self::CountValues => Some(ValueType::String),
            _ => None,
        }
    }
}

impl Expr {
    /// What the expression evaluates to.
    pub(crate) fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Vector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Unary(unary) => unary.expr.value_type(),
            // A scalar is never matched, so matching tells the two apart without walking down.
            ExprKind::Binary(binary) => {
                let scalar = |side: &Self| side.value_type() == ValueType::Scalar;
                let both_scalar = binary.matching.is_none() && scalar(&binary.left) && scalar(&binary.right);
                if both_scalar { ValueType::Scalar } else { ValueType::Vector }
            }
            ExprKind::Call(call) => call.function.returns,
            ExprKind::Paren(inner) => inner.value_type(),
        }
    }

    /// The expression inside of any parentheses.
    pub(crate) fn unwrap_parens(&self) -> &Self {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }
}
