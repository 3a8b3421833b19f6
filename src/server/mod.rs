//! The doors: sockets and routes. Decode, call one facade, encode.

mod errors;
pub(crate) mod http;
pub mod pg;
