//! Prometheus' test language (`promql/promqltest`): `load` samples, `eval` queries, `expect` answers.
//!
//! The scripts are read from `../shared/promql`, which is not part of the repository; without it the tests over
//! them skip and say so. [`runner::run`] knows no engine: it takes three closures.

mod compare;
mod histogram;
mod native;
mod nhcb;
mod runner;
mod script;
mod series;
mod stored;
mod tests;
