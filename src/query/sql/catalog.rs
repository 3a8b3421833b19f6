//! The names of one statement: a database whose schemas are made from the statement's snapshot.
//!
//! ```text
//!   FROM up            ─►  "" (search path) ─► pg_catalog, then each schema of search_path
//!   FROM metrics.up    ─►  metrics
//! ```

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::Result;

use super::logs::Logs;
use super::pg_catalog::{self, Dump};
use super::relations::{self, Relation, SCHEMAS};
use super::samples::Samples;
use super::session::Facts;
use super::table::Table;
use super::wide::Wide;
use super::{information_schema, metadata, names};
use crate::store::Snapshot;

/// The name that stands for "look along the search path": no schema of a client can be called that.
pub(super) const SEARCH_PATH: &str = "";

/// What one statement can see.
#[derive(Debug)]
pub(super) struct Catalog {
    snapshot: Snapshot,
    facts: Facts,
    dump: Arc<Dump>,
    system: Arc<Vec<super::System>>,
    relations: OnceLock<Arc<Vec<Relation>>>,
}

impl Catalog {
    /// The catalog of a snapshot.
    pub(super) fn new(
        snapshot: Snapshot,
        facts: Facts,
        dump: Arc<Dump>,
        system: Arc<Vec<super::System>>,
    ) -> Self {
        Self { snapshot, facts, dump, system, relations: OnceLock::new() }
    }

    /// Every relation; made at the first use, because few statements ask.
    pub(super) fn relations(&self) -> &Arc<Vec<Relation>> {
        self.relations.get_or_init(|| Arc::new(relations::all(&self.snapshot, &self.system)))
    }

    fn table(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match schema {
            "public" => self.public(name),
            "metrics" => Ok(self.metric(name)),
            "pg_catalog" => {
                if pg_catalog::table_names().contains(&name) {
                    match pg_catalog::table(name, &self.facts, self.relations()) {
                        Some(ours) => Ok(Some(ours)),
                        None => self.dump.table(name),
                    }
                } else {
                    Ok(None)
                }
            }
            "information_schema" => Ok(information_schema::table(name, &self.facts, self.relations())),
            _ => Ok(None),
        }
    }

    fn public(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(Some(match name {
            "samples" => Table::Samples(Samples::all(self.snapshot.clone())).provider(),
            "series" => Table::Samples(Samples::series(self.snapshot.clone())).provider(),
            "logs" => Table::Logs(Logs::new(self.snapshot.clone())).provider(),
            "histograms" => Table::Wide(Wide::histograms(self.snapshot.clone())).provider(),
            "exemplars" => Table::Wide(Wide::exemplars(self.snapshot.clone())).provider(),
            "metadata" => metadata::table(&self.snapshot)?,
            _ => return Ok(None),
        }))
    }

    fn metric(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        let catalogue = self.snapshot.catalogue();
        // Nearly every table has its metric's own name.
        let own = catalogue.get(name).filter(|_| names::table(name) == name);
        let renamed = || catalogue.metrics().find(|(metric, _)| names::table(metric) == name);
        let (metric, entry) = match own {
            Some(entry) => (Arc::from(name), entry),
            None => renamed().map(|(metric, entry)| (Arc::clone(metric), entry))?,
        };
        let samples = Samples::of_metric(self.snapshot.clone(), &metric, &entry.label_names);
        Some(Table::Samples(samples).provider())
    }
}

/// The list of databases: the one of the connection.
#[derive(Debug)]
pub(super) struct Databases(pub(super) Arc<Catalog>);

impl CatalogProviderList for Databases {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![self.0.facts.database.to_string()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (*name == *self.0.facts.database).then(|| Arc::new(Database(Arc::clone(&self.0))) as _)
    }
}

#[derive(Debug)]
struct Database(Arc<Catalog>);

impl CatalogProvider for Database {
    fn schema_names(&self) -> Vec<String> {
        SCHEMAS.iter().map(ToString::to_string).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let path = match name {
            SEARCH_PATH => {
                let path = self.0.facts.settings.search_path();
                let implied = (!path.iter().any(|s| s == "pg_catalog")).then(|| "pg_catalog".to_owned());
                implied.into_iter().chain(path).collect()
            }
            name if SCHEMAS.contains(&name) => vec![name.to_owned()],
            _ => return None,
        };
        Some(Arc::new(SchemaPath { catalog: Arc::clone(&self.0), path }))
    }
}

/// The schemas in which a name is looked up, in order.
#[derive(Debug)]
struct SchemaPath {
    catalog: Arc<Catalog>,
    path: Vec<String>,
}

#[async_trait]
impl SchemaProvider for SchemaPath {
    fn table_names(&self) -> Vec<String> {
        let all = self.catalog.relations().iter();
        all.filter(|r| self.path.iter().any(|s| s == r.schema)).map(|r| r.name.to_string()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        for schema in &self.path {
            if let Some(table) = self.catalog.table(schema, name)? {
                return Ok(Some(table));
            }
        }
        Ok(None)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|table| table == name)
    }
}
