//! The write house: a batch in, a durable sorted block out, and the runs of a snapshot back.

mod buffer;
mod catalogue;
mod metrics;
mod replay;
mod sequencer;
mod settings;
mod tenants;
mod wal;
