//! The one integration binary.

mod e2e;
mod promqltest;
mod sim;
mod smoke;
mod tidy;
