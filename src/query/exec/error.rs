//! Errors across `DataFusion`: ours travel inside its own and come out as they were.

use std::sync::Arc;

use datafusion::common::DataFusionError;

use crate::error::Error;
use crate::query::plan::too_many_samples;

/// Wraps one of ours for a stream or a planner.
pub(crate) fn outward(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Takes ours out again; what `DataFusion` itself says keeps its words.
pub(crate) fn inward(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::internal("the plan failed").caused_by(other),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => inward(*inner),
        DataFusionError::Shared(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => inward(inner),
            Err(shared) => Error::internal(shared.to_string()),
        },
        DataFusionError::ResourcesExhausted(what) => too_many_samples().with("memory", what),
        other => Error::internal("the plan failed").caused_by(other),
    }
}
