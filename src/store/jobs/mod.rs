//! What the store does by itself: flush buffers into files, merge files, drop and delete what is too old.

mod collect;
mod files;
mod flush;
mod logs;
mod merge;

pub(in crate::store) use collect::Collector;
pub(in crate::store) use flush::{Flusher, flush_class};
pub(in crate::store) use merge::Merger;
