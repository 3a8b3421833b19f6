//! The one integration binary.

mod e2e;
mod pg;
mod promqltest;
mod sim;
mod slt;
mod smoke;
mod tidy;
