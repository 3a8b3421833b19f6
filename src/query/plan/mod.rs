//! Logical plan nodes, one a construct.
