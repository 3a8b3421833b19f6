//! What a question means: evaluation times, functions and the logical nodes. No text, no data.
//!
//! A plan is a tree of `DataFusion` extension nodes, one a construct; in every relation one row is one series with
//! the constant schema of [`GridSchema`]. Labels are bytes in one column: they become columns only above
//! `promql()` in SQL.

mod aggregate;
mod annotation;
mod function;
mod grid;
mod histogram;
mod histogram_note;
mod instant;
mod labels;
mod limit;
mod map;
mod matching;
mod node;
mod scalar;
mod schema;
mod selector;
mod small;
mod subquery;
mod window;

pub(crate) use aggregate::{Aggregate, CountValues, Grouping, LimitRatio};
pub(crate) use annotation::{Annotation, Annotations, Mended, Position, go_general, go_quoted};
pub(crate) use function::{AggregateOp, ScalarOp, WindowFunction, go_max, go_min};
pub(crate) use grid::{Grid, Windows};
pub(crate) use histogram::{Histogram, HistogramFunction};
pub(crate) use histogram_note::{HistogramNote, Operation, SampleType};
pub(crate) use instant::{Instant, InstantFunction};
pub(crate) use labels::{Absent, Relabel};
pub(crate) use limit::{StepBudget, too_many_samples};
pub(crate) use map::ScalarBinary;
pub(crate) use matching::{Cardinality, PairOp, VectorMatch};
pub(crate) use node::Node;
pub(crate) use scalar::{ScalarArgument, StepScalar};
pub(crate) use schema::{DROP_NAME, GRID, GridSchema, HISTOGRAMS, LABELS};
pub(crate) use selector::{Selected, Selector, Take};
pub(crate) use small::{Literal, ScalarOf, Sort, Unique};
pub(crate) use subquery::Subquery;
pub(crate) use window::Window;
