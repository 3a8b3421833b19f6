//! Everything that a client can name in FROM, with stable oids: the one list behind `pg_catalog` and
//! `information_schema`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use xxhash_rust::xxh3::xxh3_64;

use super::columns::Columns;
use super::logs::Logs;
use super::names;
use crate::store::Snapshot;

/// The first oid that `PostgreSQL` does not reserve.
const FIRST_OID: u64 = 16_384;

/// A table or view.
#[derive(Debug)]
pub(super) struct Relation {
    /// Stable over restarts and the same on every node, while the set of names does not collide.
    pub(super) oid: i32,
    /// Its schema's name.
    pub(super) schema: &'static str,
    /// Its own name.
    pub(super) name: Arc<str>,
    /// `pg_class.relkind`: `r` a table, `v` a view.
    pub(super) kind: &'static str,
    /// Its columns.
    pub(super) columns: SchemaRef,
    /// Its help text; may be empty.
    pub(super) comment: Arc<str>,
}

/// The schemas and their oids; `pg_catalog` has `PostgreSQL`'s own.
pub(super) const SCHEMAS: [&str; 4] = ["information_schema", "metrics", "pg_catalog", "public"];

/// The oid of a schema.
pub(super) fn schema_oid(name: &str) -> i32 {
    match name {
        "pg_catalog" => 11,
        "public" => 2_200,
        _ => hashed(&format!("schema {name}"), 0),
    }
}

/// The oid of the database.
pub(super) fn database_oid() -> i32 {
    hashed("database", 0)
}

type KindColumnsComment = (&'static str, SchemaRef, Arc<str>);

/// All relations of a snapshot and of the catalogs, in name order within their schema.
pub(super) fn all(snapshot: &Snapshot, system: &[(&'static str, Arc<str>, SchemaRef)]) -> Vec<Relation> {
    let mut found: BTreeMap<(&'static str, Arc<str>), KindColumnsComment> = BTreeMap::new();
    let nothing: Arc<str> = "".into();
    for (schema, name, columns) in system {
        let kind = if *schema == "pg_catalog" { "r" } else { "v" };
        found.insert((*schema, Arc::clone(name)), (kind, Arc::clone(columns), Arc::clone(&nothing)));
    }
    for (name, columns, comment) in public() {
        found.insert(("public", name.into()), ("r", columns, comment.into()));
    }
    let logs = Logs::new(snapshot.clone());
    found.insert(("public", "logs".into()), ("r", logs.schema(), "every log line, once".into()));
    for (metric, entry) in snapshot.catalogue().metrics() {
        let columns = Arc::clone(Columns::of_metric(&entry.label_names).schema());
        let name: Arc<str> = names::table(metric).into();
        found.insert(("metrics", name), ("r", columns, Arc::clone(&entry.help)));
    }
    let mut taken = HashSet::new();
    let relation = |((schema, name), (kind, columns, comment))| {
        let oid = (0..).map(|attempt| hashed(&format!("{schema}.{name}"), attempt));
        let oid = oid.into_iter().find(|oid| taken.insert(*oid)).expect("there are more oids than relations");
        Relation { oid, schema, name, kind, columns, comment }
    };
    found.into_iter().map(relation).collect()
}

/// The tables of `public`.
pub(super) fn public() -> [(&'static str, SchemaRef, &'static str); 5] {
    [
        ("exemplars", Arc::clone(Columns::exemplars().schema()), "every exemplar, once"),
        ("histograms", Arc::clone(Columns::histograms().schema()), "every native histogram"),
        ("metadata", super::metadata::schema(), "type, help and unit of each metric"),
        ("samples", Arc::clone(Columns::samples().schema()), "every sample, merged"),
        ("series", Arc::clone(Columns::series().schema()), "one row per series"),
    ]
}

fn hashed(name: &str, attempt: u64) -> i32 {
    let hash = xxh3_64(name.as_bytes()).wrapping_add(attempt);
    let range = u64::from(i32::MAX.unsigned_abs()) - FIRST_OID;
    i32::try_from(FIRST_OID + hash % range).expect("the range ends below i32::MAX")
}
