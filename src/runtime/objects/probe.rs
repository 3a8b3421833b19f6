//! The start-up question to a store: does create-if-absent hold? Some servers accept `If-None-Match` and
//! ignore it (seen with nanio 0.1.7); two writers would then overwrite each other's commits without a word.

use bytes::Bytes;

use super::{Objects, PutOutcome};
use crate::error::{Error, Kind, Result};

pub(super) async fn probe(objects: &Objects) -> Result<()> {
    let path = format!("_probe/{}", uuid::Uuid::new_v4());
    let first = objects.put_create(&path, Bytes::from_static(b"first")).await?;
    if first != PutOutcome::Created {
        return Err(refused(objects, "says that a key which nobody wrote already exists"));
    }
    let second = objects.put_create(&path, Bytes::from_static(b"second")).await?;
    let kept = objects.get(&path).await?;
    objects.delete(&path).await?;
    if second != PutOutcome::AlreadyExists {
        return Err(refused(objects, "ignores If-None-Match: it lets two writers create one key"));
    }
    if kept.as_ref() != b"first" {
        return Err(refused(objects, "does not give back what was written"));
    }
    Ok(())
}

fn refused(objects: &Objects, what: &str) -> Error {
    let message = format!("the object store {what}; commits would be lost, so quipu does not use it");
    Error::new(Kind::Config, message).during("probe").with("store", objects.description())
}
