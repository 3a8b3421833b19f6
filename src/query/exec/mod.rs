//! The physical side: kernels over one series, aggregation over many, and DataFusion operators around them.

mod aggregate;
mod kernel;
