//! What we pull: discovery, relabelling, targets, the scrape loop.

pub mod discovery;
mod label_set;
pub mod relabel;
pub mod settings;
