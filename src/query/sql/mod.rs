//! SQL over the same tables.
