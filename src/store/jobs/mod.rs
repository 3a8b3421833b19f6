//! What the store does by itself: flush buffers into files.

mod flush;

pub(in crate::store) use flush::{Flusher, flush_class};
