//! Operators between two vectors: how their series find each other.

use std::fmt;

use datafusion::logical_expr::LogicalPlan;

use super::aggregate::Grouping;
use super::annotation::Position;
use super::function::ScalarOp;
use super::node::Node;
use super::scalar::StepScalar;
use super::schema::GridSchema;

/// The node's parameters; inputs are the left and the right vector.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct VectorMatch {
    /// What happens where series meet.
    pub(crate) op: PairOp,
    /// The labels that must be equal: `on` is [`Grouping::By`], `ignoring` is [`Grouping::Without`].
    pub(crate) matching: Grouping,
    /// How many series of each side belong together.
    pub(crate) cardinality: Cardinality,
    /// Values of missing series on the left and on the right.
    pub(crate) fill: [Option<StepScalar>; 2],
    /// Evaluated at one time only: equal label sets are then not looked for where names are removed at the end.
    pub(crate) at_one_time: bool,
    /// Where the expression stands, for what has to be said about native histograms.
    pub(crate) position: Position,
}

/// What happens where series meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PairOp {
    /// Arithmetic or a comparison, which with `bool` gives 0 or 1 and does not filter.
    Scalar { op: ScalarOp, return_bool: bool },
    /// What the right side has too.
    And,
    /// The left side, and what only the right side has.
    Or,
    /// What the right side has not.
    Unless,
}

/// How many series of each side belong together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Cardinality {
    /// One left, one right.
    OneToOne,
    /// `group_left`, with the labels that are copied from the right.
    ManyToOne(Vec<String>),
    /// `group_right`, with the labels that are copied from the left.
    OneToMany(Vec<String>),
    /// Any number: set operators.
    ManyToMany,
}

impl VectorMatch {
    /// The plan.
    pub(crate) fn plan(self, left: LogicalPlan, right: LogicalPlan, schema: &GridSchema) -> LogicalPlan {
        Node::plan("PromVectorMatch", self, vec![left, right], schema)
    }
}

impl fmt::Display for PairOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar { op, return_bool } => {
                write!(f, "{}{}", op.as_str(), if *return_bool { " bool" } else { "" })
            }
            Self::And => f.write_str("and"),
            Self::Or => f.write_str("or"),
            Self::Unless => f.write_str("unless"),
        }
    }
}

impl fmt::Display for VectorMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, names) = match &self.matching {
            Grouping::By(names) => ("on", names),
            Grouping::Without(names) => ("ignoring", names),
        };
        write!(f, "{} {word} ({})", self.op, names.join(", "))?;
        match &self.cardinality {
            Cardinality::ManyToOne(include) => write!(f, " group_left ({})", include.join(", "))?,
            Cardinality::OneToMany(include) => write!(f, " group_right ({})", include.join(", "))?,
            Cardinality::OneToOne | Cardinality::ManyToMany => {}
        }
        for (side, fill) in ["left", "right"].into_iter().zip(&self.fill) {
            if let Some(fill) = fill {
                write!(f, " fill_{side} ({fill})")?;
            }
        }
        Ok(())
    }
}
