//! Physical operators and window kernels.
