//! Pure codecs, bytes to rows and back: one protocol a file. No I/O, no async; limits come in as arguments.

mod buckets;
pub mod exposition;
pub mod json;
mod limits;
mod number;
mod openmetrics;
mod protobuf;
pub mod remote_write;
mod text;

pub use limits::Limits;
