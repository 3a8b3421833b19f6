//! The write house: a batch in, a durable sorted block out, and the runs of a snapshot back.

mod block;
mod catalog;
mod scan;
