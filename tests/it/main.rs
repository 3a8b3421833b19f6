//! The one integration binary.

#![expect(clippy::panic, clippy::print_stderr, reason = "how a test fails and how it says that it skips")]

mod differential;
mod e2e;
mod kill;
mod logs;
mod peers;
mod pg;
mod promqltest;
mod sim;
mod slt;
mod smoke;
mod tidy;
