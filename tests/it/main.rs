//! The one integration binary.

mod smoke;
mod tidy;
