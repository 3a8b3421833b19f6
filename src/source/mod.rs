//! What we pull: discovery, relabelling, targets, the scrape loop; log files that are followed, and our own log.

pub mod discovery;
mod label_set;
mod log_sink;
mod own_log;
pub mod relabel;
mod scrape;
pub mod settings;
mod tail;
mod target;

pub use log_sink::{LogSink, count_lines, count_refused, count_replaced};
pub use own_log::store_own_log;
pub use scrape::{Accepted, DroppedTarget, Health, LastScrape, Scraper, Sink, TargetStatus, Targets};
pub use tail::Tailer;
