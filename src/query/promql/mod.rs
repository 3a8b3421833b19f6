//! PromQL: text to syntax tree.
