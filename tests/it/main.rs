//! The one integration binary.

#[cfg(test)]
mod promqltest;
mod sim;
mod tidy;
