//! What changes or makes label sets: `label_replace`, `label_join`, `absent`.

use std::fmt;

use datafusion::logical_expr::LogicalPlan;

use super::node::Node;
use super::schema::GridSchema;

/// Every series gets a label from its others. Equal label sets that come about are merged, or refused where both
/// have a value at one step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Relabel {
    /// `label_replace`: where the source matches.
    Replace {
        /// The label that is set.
        target: String,
        /// Its value, with `$1` and the like.
        template: String,
        /// The label that is matched.
        source: String,
        /// A regular expression that was compiled once.
        pattern: String,
    },
    /// `label_join`
    Join {
        /// The label that is set.
        target: String,
        /// Stands between the values.
        separator: String,
        /// The labels whose values are joined.
        sources: Vec<String>,
    },
}

impl Relabel {
    /// The label that is set.
    pub(crate) fn target(&self) -> &str {
        match self {
            Self::Replace { target, .. } | Self::Join { target, .. } => target,
        }
    }

    /// The plan.
    pub(crate) fn plan(self, input: LogicalPlan, schema: &GridSchema) -> LogicalPlan {
        Node::plan("PromRelabel", self, vec![input], schema)
    }
}

impl fmt::Display for Relabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replace { target, template, source, pattern } => {
                write!(f, "{target}={template:?} where {source}=~{pattern:?}")
            }
            Self::Join { target, separator, sources } => {
                write!(f, "{target}={} joined by {separator:?}", sources.join(", "))
            }
        }
    }
}

/// `absent`: one series with value 1 at the steps where no series of the input has any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Absent {
    /// The labels of that series, in PromQL's form.
    pub(crate) labels: Box<[u8]>,
}

impl Absent {
    /// The plan.
    pub(crate) fn plan(self, input: LogicalPlan, schema: &GridSchema) -> LogicalPlan {
        Node::plan("PromAbsent", self, vec![input], schema)
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::model::LabelsRef::trusted(&self.labels).fmt(f)
    }
}
