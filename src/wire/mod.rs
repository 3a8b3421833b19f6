//! Pure codecs, bytes to rows and back: one protocol a file. No I/O, no async; limits come in as arguments.

mod bits;
mod buckets;
mod coding;
pub mod exposition;
mod histogram_chunk;
pub mod json;
pub mod json_line;
mod json_reader;
mod limits;
pub mod logs;
pub mod loki;
mod number;
mod openmetrics;
mod protobuf;
pub mod remote_read;
pub mod remote_write;
mod text;
mod xor;

pub use coding::Coding;
pub use limits::Limits;
