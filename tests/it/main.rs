//! The one integration binary.

mod sim;
mod tidy;
