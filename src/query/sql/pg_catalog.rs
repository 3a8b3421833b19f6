//! The tables of `pg_catalog` that speak of this server: relations, columns, schemas, the database, the user,
//! settings. Those that are the same in every `PostgreSQL` come from datafusion-pg-catalog's dump.

use std::sync::Arc;

use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList, TableProvider};
use datafusion::common::Result;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::{PG_CATALOG_TABLES, PgCatalogSchemaProvider, PgCatalogStaticTables};

use super::relations::{self, Relation, SCHEMAS, schema_oid};
use super::session::Facts;
use super::sheet::Kind::{Bool, Float4, Int2, Int4, Int8, Oid, Text, Texts};
use super::sheet::{Cell, Header, Sheet, SheetTable, schema};
use super::table::Table;
use super::types::pg_type;

/// The oid of the connected user's role.
const USER_OID: i32 = 10;

type Static = PgCatalogSchemaProvider<Arc<dyn CatalogProviderList>, EmptyContextProvider>;

/// The dump: read once per process.
#[derive(Debug)]
pub(super) struct Dump {
    provider: Static,
}

impl Dump {
    /// Unpacks the dump.
    pub(super) fn new() -> Result<Self> {
        let nothing: Arc<dyn CatalogProviderList> = Arc::new(MemoryCatalogProviderList::new());
        let tables = Arc::new(PgCatalogStaticTables::try_new()?);
        let provider = Static::try_new(nothing, tables, EmptyContextProvider)?;
        Ok(Self { provider })
    }

    /// Name and columns of every table of `pg_catalog`.
    pub(super) fn listing(&self) -> Result<Vec<super::System>> {
        let mut all = Vec::new();
        for name in table_names() {
            let columns = match OURS.iter().find(|table| table.name == name) {
                Some(ours) => schema(ours.header),
                None => match self.provider.build_table_by_name(name)? {
                    Some(table) => table.schema(),
                    None => continue,
                },
            };
            all.push(("pg_catalog", name.into(), columns));
        }
        Ok(all)
    }

    /// A table of the dump.
    pub(super) fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.provider.build_table_by_name(name)?.map(|table| table.try_into_table_provider()).transpose()
    }
}

/// Every table of the schema, ours and the dump's.
pub(super) fn table_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = PG_CATALOG_TABLES.iter().copied().chain(OURS.iter().map(|t| t.name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

struct Ours {
    name: &'static str,
    header: Header,
    key: Option<&'static str>,
    fill: fn(&mut Sheet, &Facts, &[Relation], Option<i64>),
}

/// One of our tables.
pub(super) fn table(
    name: &str,
    facts: &Facts,
    relations: &Arc<Vec<Relation>>,
) -> Option<Arc<dyn TableProvider>> {
    let ours = OURS.iter().find(|table| table.name == name)?;
    let (facts, relations) = (facts.clone(), Arc::clone(relations));
    let fill = Arc::new(move |sheet: &mut Sheet, wanted| (ours.fill)(sheet, &facts, &relations, wanted));
    Some(Table::Sheet(SheetTable::new(ours.header, ours.key, fill)).provider())
}

const fn ours(
    name: &'static str,
    header: Header,
    fill: fn(&mut Sheet, &Facts, &[Relation], Option<i64>),
) -> Ours {
    Ours { name, header, key: None, fill }
}

fn none(_: &mut Sheet, _: &Facts, _: &[Relation], _: Option<i64>) {}

#[rustfmt::skip]
const OURS: &[Ours] = &[
    Ours { name: "pg_class", header: CLASS, key: Some("oid"), fill: classes },
    Ours { name: "pg_attribute", header: ATTRIBUTE, key: Some("attrelid"), fill: attributes },
    ours("pg_namespace", &[("oid", Oid), ("nspname", Text), ("nspowner", Oid), ("nspacl", Texts)], namespaces),
    ours("pg_database", DATABASE, databases),
    ours("pg_roles", ROLES, roles),
    ours("pg_authid", ROLES, roles),
    ours("pg_user", &[("usename", Text), ("usesysid", Oid), ("usecreatedb", Bool), ("usesuper", Bool),
        ("userepl", Bool), ("usebypassrls", Bool), ("passwd", Text), ("valuntil", Text), ("useconfig", Texts)], users),
    ours("pg_group", &[("groname", Text), ("grosysid", Oid), ("grolist", Texts)], none),
    ours("pg_tables", &[("schemaname", Text), ("tablename", Text), ("tableowner", Text), ("tablespace", Text),
        ("hasindexes", Bool), ("hasrules", Bool), ("hastriggers", Bool), ("rowsecurity", Bool)], tables),
    ours("pg_views", &[("schemaname", Text), ("viewname", Text), ("viewowner", Text), ("definition", Text)], views),
    ours("pg_matviews", &[("schemaname", Text), ("matviewname", Text), ("matviewowner", Text),
        ("tablespace", Text), ("hasindexes", Bool), ("ispopulated", Bool), ("definition", Text)], none),
    ours("pg_indexes", &[("schemaname", Text), ("tablename", Text), ("indexname", Text), ("tablespace", Text),
        ("indexdef", Text)], none),
    ours("pg_settings", SETTINGS, settings),
    ours("pg_stat_activity", &[("datid", Oid), ("datname", Text), ("pid", Int4), ("usesysid", Oid),
        ("usename", Text), ("application_name", Text), ("state", Text), ("query", Text),
        ("backend_type", Text)], activity),
    ours("pg_locks", &[("locktype", Text), ("database", Oid), ("relation", Oid), ("pid", Int4), ("mode", Text),
        ("granted", Bool)], none),
    ours("pg_stat_user_tables", &[("relid", Oid), ("schemaname", Text), ("relname", Text), ("seq_scan", Int8),
        ("n_live_tup", Int8)], none),
    ours("pg_extension", &[("oid", Oid), ("extname", Text), ("extowner", Oid), ("extnamespace", Oid),
        ("extrelocatable", Bool), ("extversion", Text), ("extconfig", Texts), ("extcondition", Texts)], none),
    ours("pg_description", &[("objoid", Oid), ("classoid", Oid), ("objsubid", Int4), ("description", Text)],
        descriptions),
];

#[rustfmt::skip]
const CLASS: Header = &[
    ("oid", Oid), ("relname", Text), ("relnamespace", Oid), ("reltype", Oid), ("reloftype", Oid),
    ("relowner", Oid), ("relam", Oid), ("relfilenode", Oid), ("reltablespace", Oid), ("relpages", Int4),
    ("reltuples", Float4), ("relallvisible", Int4), ("reltoastrelid", Oid), ("relhasindex", Bool),
    ("relisshared", Bool), ("relpersistence", Text), ("relkind", Text), ("relnatts", Int2), ("relchecks", Int2),
    ("relhasrules", Bool), ("relhastriggers", Bool), ("relhassubclass", Bool), ("relrowsecurity", Bool),
    ("relforcerowsecurity", Bool), ("relispopulated", Bool), ("relreplident", Text), ("relispartition", Bool),
    ("relrewrite", Oid), ("relfrozenxid", Int4), ("relminmxid", Int4), ("relacl", Texts), ("reloptions", Texts),
    ("relpartbound", Text), ("tableoid", Oid), ("xmin", Int4),
];

fn classes(sheet: &mut Sheet, _: &Facts, all: &[Relation], wanted: Option<i64>) {
    let no = Cell::Bool(false);
    for relation in all.iter().filter(|r| wanted.is_none_or(|oid| oid == i64::from(r.oid))) {
        let columns = i32::try_from(relation.columns.fields().len()).unwrap_or(i32::MAX);
        let head = [
            relation.oid.into(),
            (&relation.name).into(),
            schema_oid(relation.schema).into(),
            0.into(),
            0.into(),
            USER_OID.into(),
            2.into(),
            0.into(),
            0.into(),
            0.into(),
            (-1).into(),
            0.into(),
            0.into(),
        ];
        let tail = [
            no.clone(),
            no.clone(),
            "p".into(),
            relation.kind.into(),
            columns.into(),
            0.into(),
            no.clone(),
            no.clone(),
            no.clone(),
            no.clone(),
            no.clone(),
            Cell::Bool(true),
            "n".into(),
            no.clone(),
            0.into(),
            1.into(),
            1.into(),
            Cell::Null,
            Cell::Null,
            Cell::Null,
            1_259.into(),
            1.into(),
        ];
        sheet.row(&[&head[..], &tail[..]].concat());
    }
}

#[rustfmt::skip]
const ATTRIBUTE: Header = &[
    ("attrelid", Oid), ("attname", Text), ("atttypid", Oid), ("attstattarget", Int4), ("attlen", Int2),
    ("attnum", Int2), ("attndims", Int4), ("attcacheoff", Int4), ("atttypmod", Int4), ("attbyval", Bool),
    ("attalign", Text), ("attstorage", Text), ("attcompression", Text), ("attnotnull", Bool),
    ("atthasdef", Bool), ("atthasmissing", Bool), ("attidentity", Text), ("attgenerated", Text),
    ("attisdropped", Bool), ("attislocal", Bool), ("attinhcount", Int4), ("attcollation", Oid),
    ("attacl", Texts), ("attoptions", Texts), ("attfdwoptions", Texts), ("attmissingval", Texts),
];

fn attributes(sheet: &mut Sheet, _: &Facts, all: &[Relation], wanted: Option<i64>) {
    let no = Cell::Bool(false);
    for relation in all.iter().filter(|r| wanted.is_none_or(|oid| oid == i64::from(r.oid))) {
        for (field, number) in relation.columns.fields().iter().zip(1..) {
            // What the protocol cannot carry is not there for its clients.
            let Some(kind) = pg_type(field) else { continue };
            let oid = i32::try_from(kind.oid).unwrap_or_default();
            let collation = if kind.name == "text" { 100 } else { 0 };
            sheet.row(&[
                relation.oid.into(),
                field.name().as_str().into(),
                oid.into(),
                (-1).into(),
                Cell::Int(kind.len.into()),
                Cell::Int(number),
                0.into(),
                (-1).into(),
                (-1).into(),
                (kind.len > 0).into(),
                "i".into(),
                if kind.len < 0 { "x" } else { "p" }.into(),
                "".into(),
                (!field.is_nullable()).into(),
                no.clone(),
                no.clone(),
                "".into(),
                "".into(),
                no.clone(),
                Cell::Bool(true),
                0.into(),
                collation.into(),
            ]);
        }
    }
}

fn namespaces(sheet: &mut Sheet, _: &Facts, _: &[Relation], _: Option<i64>) {
    for name in SCHEMAS {
        sheet.row(&[schema_oid(name).into(), name.into(), USER_OID.into()]);
    }
}

#[rustfmt::skip]
const DATABASE: Header = &[
    ("oid", Oid), ("datname", Text), ("datdba", Oid), ("encoding", Int4), ("datlocprovider", Text),
    ("datistemplate", Bool), ("datallowconn", Bool), ("datconnlimit", Int4), ("datfrozenxid", Int4),
    ("datminmxid", Int4), ("dattablespace", Oid), ("datcollate", Text), ("datctype", Text),
    ("daticulocale", Text), ("daticurules", Text), ("datcollversion", Text), ("datacl", Texts),
    ("datlastsysoid", Oid),
];

fn databases(sheet: &mut Sheet, facts: &Facts, _: &[Relation], _: Option<i64>) {
    let (database, locale) = (&*facts.database, "C.UTF-8");
    sheet.row(&[
        relations::database_oid().into(),
        database.into(),
        USER_OID.into(),
        6.into(),
        "c".into(),
        false.into(),
        true.into(),
        (-1).into(),
        1.into(),
        1.into(),
        1_663.into(),
        locale.into(),
        locale.into(),
    ]);
}

#[rustfmt::skip]
const ROLES: Header = &[
    ("oid", Oid), ("rolname", Text), ("rolsuper", Bool), ("rolinherit", Bool), ("rolcreaterole", Bool),
    ("rolcreatedb", Bool), ("rolcanlogin", Bool), ("rolreplication", Bool), ("rolconnlimit", Int4),
    ("rolpassword", Text), ("rolvaliduntil", Text), ("rolbypassrls", Bool), ("rolconfig", Texts),
];

fn roles(sheet: &mut Sheet, facts: &Facts, _: &[Relation], _: Option<i64>) {
    let no = Cell::Bool(false);
    sheet.row(&[
        USER_OID.into(),
        (&facts.user).into(),
        no.clone(),
        true.into(),
        no.clone(),
        no.clone(),
        true.into(),
        no.clone(),
        (-1).into(),
        Cell::Null,
        Cell::Null,
        no,
    ]);
}

fn users(sheet: &mut Sheet, facts: &Facts, _: &[Relation], _: Option<i64>) {
    let no = Cell::Bool(false);
    sheet.row(&[(&facts.user).into(), USER_OID.into(), no.clone(), no.clone(), no.clone(), no]);
}

fn tables(sheet: &mut Sheet, facts: &Facts, all: &[Relation], _: Option<i64>) {
    let no = Cell::Bool(false);
    for table in all.iter().filter(|r| r.kind == "r") {
        let names = [table.schema.into(), (&table.name).into(), (&facts.user).into(), Cell::Null];
        sheet.row(&[&names[..], &[no.clone(), no.clone(), no.clone(), no.clone()]].concat());
    }
}

fn views(sheet: &mut Sheet, facts: &Facts, all: &[Relation], _: Option<i64>) {
    for view in all.iter().filter(|r| r.kind == "v") {
        sheet.row(&[view.schema.into(), (&view.name).into(), (&facts.user).into()]);
    }
}

#[rustfmt::skip]
const SETTINGS: Header = &[
    ("name", Text), ("setting", Text), ("unit", Text), ("category", Text), ("short_desc", Text),
    ("extra_desc", Text), ("context", Text), ("vartype", Text), ("source", Text), ("min_val", Text),
    ("max_val", Text), ("enumvals", Texts), ("boot_val", Text), ("reset_val", Text), ("sourcefile", Text),
    ("sourceline", Int4), ("pending_restart", Bool),
];

fn settings(sheet: &mut Sheet, facts: &Facts, _: &[Relation], _: Option<i64>) {
    for (name, value) in facts.settings.all() {
        let fixed = [Cell::Null, "quipu".into(), "".into(), Cell::Null, "user".into(), "string".into()];
        let row = [&[name.as_str().into(), value.as_str().into()], &fixed[..], &["session".into()]].concat();
        sheet.row(&row);
    }
}

fn activity(sheet: &mut Sheet, facts: &Facts, _: &[Relation], _: Option<i64>) {
    let application = facts.settings.get("application_name").unwrap_or_default();
    sheet.row(&[
        relations::database_oid().into(),
        (&facts.database).into(),
        facts.pid.into(),
        USER_OID.into(),
        (&facts.user).into(),
        application.as_str().into(),
        "active".into(),
        Cell::Null,
        "client backend".into(),
    ]);
}

fn descriptions(sheet: &mut Sheet, _: &Facts, all: &[Relation], _: Option<i64>) {
    for relation in all.iter().filter(|r| !r.comment.is_empty()) {
        sheet.row(&[relation.oid.into(), 1_259.into(), 0.into(), (&relation.comment).into()]);
    }
}
