//! Pure codecs, bytes to rows and back: one protocol a file. No I/O, no async; limits come in as arguments.

pub mod exposition;
pub mod json;
mod limits;
mod number;
mod openmetrics;
mod protobuf;
pub mod remote_read;
pub mod remote_write;
mod text;
mod xor;

pub use limits::Limits;
