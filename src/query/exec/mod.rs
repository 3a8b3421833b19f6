//! The physical side: kernels over one series, aggregation over many, and `DataFusion` operators around them.

mod aggregate;
mod batch;
mod buckets;
mod count_values;
mod date;
mod error;
mod grid_aggregate;
mod grid_map;
mod groups;
mod histogram;
mod instant;
mod kernel;
mod labels;
mod limit_ratio;
mod lower;
mod native;
mod operator;
mod relabel;
mod series_scan;
mod small;
mod sort;
mod source;
mod subquery;
mod vector_match;
mod whole;
mod window;

pub(crate) use batch::View;
pub(crate) use error::inward;
pub(crate) use kernel::bits;
pub(crate) use labels::{compare, in_output_order};
pub(crate) use lower::{Lower, PromPlanner, longest_grid, selections};
pub use native::{Bucket, buckets};
pub(crate) use native::{Cell, hinted};
pub(crate) use operator::{Yielder, read_all};
pub(crate) use small::{Merged, MergedRow};
pub use source::Data;
#[cfg(test)]
pub(crate) use source::MemorySeries;
pub(crate) use source::Source;
