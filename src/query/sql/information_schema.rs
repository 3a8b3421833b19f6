//! `information_schema` with `PostgreSQL`'s columns and type names. Tables about what quipu does not have
//! (constraints, keys, sequences, routines) are there and empty, because clients join them.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use super::relations::{Relation, SCHEMAS};
use super::session::Facts;
use super::sheet::Kind::{Int4, Text};
use super::sheet::{Cell, Header, Sheet, SheetTable, schema};
use super::table::Table;
use super::types::pg_type;

struct View {
    name: &'static str,
    header: Header,
    fill: fn(&mut Sheet, &Facts, &[Relation]),
}

fn none(_: &mut Sheet, _: &Facts, _: &[Relation]) {}

#[rustfmt::skip]
const VIEWS: &[View] = &[
    View { name: "schemata", header: &[("catalog_name", Text), ("schema_name", Text), ("schema_owner", Text),
        ("default_character_set_catalog", Text), ("default_character_set_schema", Text),
        ("default_character_set_name", Text), ("sql_path", Text)], fill: schemata },
    View { name: "tables", header: TABLES, fill: tables },
    View { name: "columns", header: COLUMNS, fill: columns },
    View { name: "views", header: &[("table_catalog", Text), ("table_schema", Text), ("table_name", Text),
        ("view_definition", Text), ("check_option", Text), ("is_updatable", Text), ("is_insertable_into", Text)],
        fill: none },
    View { name: "table_constraints", header: &[("constraint_catalog", Text), ("constraint_schema", Text),
        ("constraint_name", Text), ("table_catalog", Text), ("table_schema", Text), ("table_name", Text),
        ("constraint_type", Text), ("is_deferrable", Text), ("initially_deferred", Text), ("enforced", Text)],
        fill: none },
    View { name: "key_column_usage", header: &[("constraint_catalog", Text), ("constraint_schema", Text),
        ("constraint_name", Text), ("table_catalog", Text), ("table_schema", Text), ("table_name", Text),
        ("column_name", Text), ("ordinal_position", Int4), ("position_in_unique_constraint", Int4)], fill: none },
    View { name: "constraint_column_usage", header: &[("table_catalog", Text), ("table_schema", Text),
        ("table_name", Text), ("column_name", Text), ("constraint_catalog", Text), ("constraint_schema", Text),
        ("constraint_name", Text)], fill: none },
    View { name: "referential_constraints", header: &[("constraint_catalog", Text), ("constraint_schema", Text),
        ("constraint_name", Text), ("unique_constraint_catalog", Text), ("unique_constraint_schema", Text),
        ("unique_constraint_name", Text), ("match_option", Text), ("update_rule", Text), ("delete_rule", Text)],
        fill: none },
    View { name: "sequences", header: &[("sequence_catalog", Text), ("sequence_schema", Text),
        ("sequence_name", Text), ("data_type", Text)], fill: none },
    View { name: "routines", header: &[("specific_catalog", Text), ("specific_schema", Text),
        ("specific_name", Text), ("routine_catalog", Text), ("routine_schema", Text), ("routine_name", Text),
        ("routine_type", Text), ("data_type", Text)], fill: none },
    View { name: "parameters", header: &[("specific_catalog", Text), ("specific_schema", Text),
        ("specific_name", Text), ("ordinal_position", Int4), ("parameter_mode", Text), ("parameter_name", Text),
        ("data_type", Text)], fill: none },
    View { name: "triggers", header: &[("trigger_catalog", Text), ("trigger_schema", Text),
        ("trigger_name", Text), ("event_object_schema", Text), ("event_object_table", Text)], fill: none },
    View { name: "column_privileges", header: &[("grantor", Text), ("grantee", Text), ("table_catalog", Text),
        ("table_schema", Text), ("table_name", Text), ("column_name", Text), ("privilege_type", Text),
        ("is_grantable", Text)], fill: none },
    View { name: "role_table_grants", header: GRANTS, fill: grants },
    View { name: "table_privileges", header: GRANTS, fill: grants },
    View { name: "enabled_roles", header: &[("role_name", Text)], fill: role },
    View { name: "applicable_roles", header: &[("grantee", Text), ("role_name", Text), ("is_grantable", Text)],
        fill: none },
    View { name: "information_schema_catalog_name", header: &[("catalog_name", Text)], fill: catalog_name },
];

/// Name and columns of every table of the schema.
pub(super) fn listing() -> Vec<super::System> {
    VIEWS.iter().map(|view| ("information_schema", view.name.into(), schema(view.header))).collect()
}

/// A table of the schema.
pub(super) fn table(
    name: &str,
    facts: &Facts,
    relations: &Arc<Vec<Relation>>,
) -> Option<Arc<dyn TableProvider>> {
    let view = VIEWS.iter().find(|view| view.name == name)?;
    let (facts, relations) = (facts.clone(), Arc::clone(relations));
    let fill = Arc::new(move |sheet: &mut Sheet, _| (view.fill)(sheet, &facts, &relations));
    Some(Table::Sheet(SheetTable::new(view.header, None, fill)).provider())
}

fn schemata(sheet: &mut Sheet, facts: &Facts, _: &[Relation]) {
    for name in SCHEMAS {
        sheet.row(&[(&facts.database).into(), name.into(), (&facts.user).into()]);
    }
}

#[rustfmt::skip]
const TABLES: Header = &[
    ("table_catalog", Text), ("table_schema", Text), ("table_name", Text), ("table_type", Text),
    ("self_referencing_column_name", Text), ("reference_generation", Text), ("user_defined_type_catalog", Text),
    ("user_defined_type_schema", Text), ("user_defined_type_name", Text), ("is_insertable_into", Text),
    ("is_typed", Text), ("commit_action", Text),
];

fn tables(sheet: &mut Sheet, facts: &Facts, all: &[Relation]) {
    for relation in all {
        let kind = if relation.kind == "r" { "BASE TABLE" } else { "VIEW" };
        let names = [(&facts.database).into(), relation.schema.into(), (&relation.name).into(), kind.into()];
        let nothing = [const { Cell::Null }; 5];
        sheet.row(&[&names[..], &nothing, &["NO".into(), "NO".into()]].concat());
    }
}

#[rustfmt::skip]
const COLUMNS: Header = &[
    ("table_catalog", Text), ("table_schema", Text), ("table_name", Text), ("column_name", Text),
    ("ordinal_position", Int4), ("column_default", Text), ("is_nullable", Text), ("data_type", Text),
    ("character_maximum_length", Int4), ("character_octet_length", Int4), ("numeric_precision", Int4),
    ("numeric_precision_radix", Int4), ("numeric_scale", Int4), ("datetime_precision", Int4),
    ("interval_type", Text), ("character_set_name", Text), ("collation_name", Text), ("domain_name", Text),
    ("udt_catalog", Text), ("udt_schema", Text), ("udt_name", Text), ("dtd_identifier", Text),
    ("is_self_referencing", Text), ("is_identity", Text), ("identity_generation", Text), ("is_generated", Text),
    ("generation_expression", Text), ("is_updatable", Text),
];

fn columns(sheet: &mut Sheet, facts: &Facts, all: &[Relation]) {
    for relation in all {
        for (field, number) in relation.columns.fields().iter().zip(1_i32..) {
            let Some(kind) = pg_type(field) else { continue };
            let precision = match kind.name {
                "int2" => Some((16, 2)),
                "int4" => Some((32, 2)),
                "int8" => Some((64, 2)),
                "float4" => Some((24, 2)),
                "float8" => Some((53, 2)),
                _ => None,
            };
            let number_cell = |value: Option<i32>| value.map_or(Cell::Null, Cell::from);
            let scale = (kind.name.starts_with("int") && kind.name != "interval").then_some(0);
            let time = matches!(kind.name, "timestamp" | "timestamptz" | "time").then_some(6);
            sheet.row(&[
                (&facts.database).into(),
                relation.schema.into(),
                (&relation.name).into(),
                field.name().as_str().into(),
                number.into(),
                Cell::Null,
                if field.is_nullable() { "YES" } else { "NO" }.into(),
                kind.sql_name.into(),
                Cell::Null,
                Cell::Null,
                number_cell(precision.map(|p| p.0)),
                number_cell(precision.map(|p| p.1)),
                number_cell(scale),
                number_cell(time),
                Cell::Null,
                Cell::Null,
                Cell::Null,
                Cell::Null,
                (&facts.database).into(),
                "pg_catalog".into(),
                kind.name.into(),
                number.to_string().as_str().into(),
                "NO".into(),
                "NO".into(),
                Cell::Null,
                "NEVER".into(),
                Cell::Null,
                "NO".into(),
            ]);
        }
    }
}

#[rustfmt::skip]
const GRANTS: Header = &[
    ("grantor", Text), ("grantee", Text), ("table_catalog", Text), ("table_schema", Text), ("table_name", Text),
    ("privilege_type", Text), ("is_grantable", Text), ("with_hierarchy", Text),
];

fn grants(sheet: &mut Sheet, facts: &Facts, all: &[Relation]) {
    for relation in all {
        let who = [(&facts.user).into(), (&facts.user).into(), (&facts.database).into()];
        let what =
            [relation.schema.into(), (&relation.name).into(), "SELECT".into(), "NO".into(), "YES".into()];
        sheet.row(&[&who[..], &what].concat());
    }
}

fn role(sheet: &mut Sheet, facts: &Facts, _: &[Relation]) {
    sheet.row(&[(&facts.user).into()]);
}

fn catalog_name(sheet: &mut Sheet, facts: &Facts, _: &[Relation]) {
    sheet.row(&[(&facts.database).into()]);
}
