//! What we pull: discovery, relabelling, targets, the scrape loop.

pub mod discovery;
mod label_set;
pub mod relabel;
mod scrape;
pub mod settings;
mod target;

pub use scrape::{Accepted, DroppedTarget, Health, LastScrape, Scraper, Sink, TargetStatus, Targets};
