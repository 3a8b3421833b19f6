//! What we pull: discovery, relabelling, targets, the scrape loop.
