//! Which columns travel, and how.

use std::collections::BTreeMap;

use super::{RunOptions, export::Export};
use crate::{
    error::{Code, Error, Result},
    postgres::{
        self, ColumnDefinition, ColumnPlan, Kind, NumericWidth, OutOfRange, PlannedKind, TableDefinition, plan_column,
        quote_ident,
    },
    store::{self, ColumnType, Fidelity, ForeignKey, Manifest, TableName, Treatment},
};

/// Parts of names that secrets have. A column of text or bytes with one is left out unless a setting names it.
const SECRET_PARTS: &[&str] =
    &["password", "passwd", "secret", "token", "api_key", "apikey", "private_key", "credential", "totp", "otp_seed"];

/// What is special about a table's columns.
#[derive(Clone, Debug, Default)]
pub struct ColumnRules {
    /// Left out.
    pub exclude: Vec<String>,
    /// Copied although they look like secrets.
    pub include: Vec<String>,
    /// Travel as a keyed hash.
    pub hash: Vec<String>,
    /// Rows are ordered by these within each part.
    pub sort_by: Vec<String>,
    /// What becomes of values that cannot be held.
    pub out_of_range: BTreeMap<String, OutOfRange>,
}

/// A column that was left out without being asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OmittedColumn {
    /// Its table.
    pub table: TableName,
    /// Its name.
    pub column: String,
}

/// A column that travels as its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextColumn {
    /// Its table.
    pub table: TableName,
    /// Its name.
    pub column: String,
    /// Its type in the source.
    pub declared_type: String,
}

/// How one table is copied.
pub(super) struct TablePlan {
    pub(super) name: TableName,
    pub(super) source: postgres::TableName,
    /// Of the largest relation: how far ranges of pages must reach.
    pub(super) pages: u64,
    pub(super) columns: Vec<PlannedColumn>,
    pub(super) excluded: Vec<String>,
    pub(super) omitted: Vec<OmittedColumn>,
    pub(super) primary_key: Vec<String>,
    pub(super) foreign_keys: Vec<ForeignKey>,
    pub(super) sort_by: Vec<String>,
}

pub(super) struct PlannedColumn {
    pub(super) decode: ColumnPlan,
    definition: ColumnDefinition,
    treatment: Treatment,
}

impl TablePlan {
    /// What the SELECT of a COPY lists.
    pub(super) fn select_list(&self) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| column.decode.kind.select_expression(&quote_ident(&column.decode.name)))
            .collect();
        columns.join(", ")
    }

    pub(super) fn decode_plans(&self) -> Vec<ColumnPlan> {
        self.columns.iter().map(|column| column.decode.clone()).collect()
    }

    pub(super) fn text_columns(&self) -> impl Iterator<Item = TextColumn> + '_ {
        self.columns.iter().filter(|column| column.treatment == Treatment::Text).map(|column| TextColumn {
            table: self.name.clone(),
            column: column.decode.name.clone(),
            declared_type: column.definition.type_text.clone(),
        })
    }

    /// The columns as the manifest records them.
    pub(super) fn store_columns(&self, fidelity: &[Fidelity]) -> Result<Vec<store::Column>> {
        self.columns
            .iter()
            .zip(fidelity)
            .map(|(column, fidelity)| {
                let field = column.decode.field();
                let column_type = ColumnType::from_file_type(field.data_type()).ok_or_else(|| {
                    Error::internal(format!("column {} has a type that files do not hold", field.name()))
                })?;
                Ok(store::Column {
                    name: field.name().clone(),
                    postgres_type: column.definition.base.name.clone(),
                    declared_type: column.definition.type_text.clone(),
                    column_type,
                    nullable: field.is_nullable(),
                    treatment: column.treatment,
                    enum_labels: column.definition.enum_labels.clone().unwrap_or_default(),
                    collation: column.definition.collation.clone(),
                    fidelity: *fidelity,
                })
            })
            .collect()
    }
}

pub(super) fn store_name(name: &postgres::TableName) -> TableName {
    TableName::new(&name.schema, &name.name)
}

/// Plans every table of the export. Bare numerics are measured inside its snapshot, and only ever widened.
pub(super) async fn plan(export: &Export, options: &RunOptions, previous: Option<&Manifest>) -> Result<Vec<TablePlan>> {
    check_rules(&export.tables, options)?;
    let role = export.server().user().to_owned();
    let none = ColumnRules::default();
    let mut plans = Vec::with_capacity(export.tables.len());
    let mut wanted = Vec::new();
    for table in &export.tables {
        let name = store_name(&table.name);
        let rules = options.tables.get(&name).unwrap_or(&none);
        let before = previous.and_then(|manifest| manifest.table(&name));
        let plan =
            plan_table(export, table, rules, before).await.map_err(|error| error.context(format!("table {name}")))?;
        wanted.push((table, table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>()));
        if let Some((_, columns)) = wanted.last_mut() {
            columns.retain(|column| !plan.excluded.iter().any(|excluded| excluded == column));
        }
        plans.push(plan);
    }
    postgres::require_select(&role, &wanted)?;
    Ok(plans)
}

/// Settings that name no column are mistakes, and a mistake in `exclude_columns` would leak what it was meant to hide.
fn check_rules(tables: &[TableDefinition], options: &RunOptions) -> Result<()> {
    for (name, rules) in &options.tables {
        let Some(table) = tables.iter().find(|table| store_name(&table.name) == *name) else {
            let is_expected = options.schemas.contains(&name.schema) && !options.exclude_tables.contains(name);
            if is_expected {
                return Err(Error::new(
                    Code::InvalidConfig,
                    format!("tables.\"{name}\" names a table that there is not"),
                )
                .with_hint(
                    "mend the name, or remove its settings: what they were to hide must not be copied by mistake",
                ));
            }
            continue;
        };
        let lists = [
            ("exclude_columns", &rules.exclude),
            ("include_columns", &rules.include),
            ("hash_columns", &rules.hash),
            ("sort_by", &rules.sort_by),
        ];
        let columns = rules.out_of_range.keys().map(|column| ("columns", column));
        for (setting, column) in
            lists.iter().flat_map(|(setting, list)| list.iter().map(|c| (*setting, c))).chain(columns)
        {
            if !table.columns.iter().any(|known| &known.name == column) {
                let names: Vec<&str> = table.columns.iter().map(|known| known.name.as_str()).collect();
                return Err(Error::new(
                    Code::InvalidConfig,
                    format!("tables.\"{name}\".{setting} names {column:?}, which it does not have"),
                )
                .with_hint(format!("its columns are {}", names.join(", "))));
            }
        }
    }
    Ok(())
}

async fn plan_table(
    export: &Export,
    table: &TableDefinition,
    rules: &ColumnRules,
    before: Option<&store::Table>,
) -> Result<TablePlan> {
    let name = store_name(&table.name);
    let mut excluded = Vec::new();
    let mut omitted = Vec::new();
    let mut kept: Vec<(&ColumnDefinition, Option<Kind>)> = Vec::new();
    let mut bare: Vec<&str> = Vec::new();
    for column in &table.columns {
        let listed = |list: &[String]| list.contains(&column.name);
        if listed(&rules.exclude) {
            excluded.push(column.name.clone());
        } else if looks_secret(column) && !listed(&rules.include) && !listed(&rules.hash) {
            excluded.push(column.name.clone());
            omitted.push(OmittedColumn { table: name.clone(), column: column.name.clone() });
        } else if listed(&rules.hash) {
            kept.push((column, Some(Kind::HashedText)));
        } else {
            let kind = match plan_column(&column.base, out_of_range(rules, column)) {
                PlannedKind::Known { kind, .. } => Some(kind),
                PlannedKind::Unmeasured => {
                    bare.push(&column.name);
                    None
                }
            };
            kept.push((column, kind));
        }
    }

    let measured =
        if bare.is_empty() { Vec::new() } else { postgres::measure(export.exporter(), &table.name, &bare).await? };
    let columns = kept
        .into_iter()
        .map(|(column, kind)| {
            let kind = kind.unwrap_or_else(|| {
                let found =
                    measured.iter().find(|measured| measured.column == column.name).and_then(|found| found.width);
                let width = found.unwrap_or_default().widened(width_before(before, &column.name).unwrap_or_default());
                match width.planned() {
                    PlannedKind::Known { kind, .. } => kind,
                    PlannedKind::Unmeasured => Kind::AsText,
                }
            });
            let treatment = match kind {
                Kind::HashedText => Treatment::Hashed,
                // Types whose only form is text lose nothing by travelling as it; others are listed.
                Kind::AsText => Treatment::Text,
                _ => Treatment::Plain,
            };
            PlannedColumn {
                decode: ColumnPlan {
                    name: column.name.clone(),
                    kind,
                    out_of_range: out_of_range(rules, column),
                    is_nullable: !column.is_not_null,
                },
                definition: column.clone(),
                treatment,
            }
        })
        .collect::<Vec<_>>();
    let has = |column: &String| columns.iter().any(|known| &known.decode.name == column);
    let primary_key = if table.primary_key.iter().all(has) { table.primary_key.clone() } else { Vec::new() };
    if let Some(column) = rules.sort_by.iter().find(|column| !has(column)) {
        return Err(Error::new(Code::InvalidConfig, format!("sort_by names {column:?}, which is excluded")));
    }
    Ok(TablePlan {
        name,
        source: table.name.clone(),
        pages: table.pages_max(),
        columns,
        excluded,
        omitted,
        primary_key,
        foreign_keys: table.foreign_keys.iter().map(foreign_key).collect(),
        sort_by: rules.sort_by.clone(),
    })
}

fn foreign_key(key: &postgres::ForeignKey) -> ForeignKey {
    let (columns, referenced) = (key.columns.clone(), key.referenced.clone());
    ForeignKey { columns, table: store_name(&key.table), referenced }
}

fn out_of_range(rules: &ColumnRules, column: &ColumnDefinition) -> OutOfRange {
    rules.out_of_range.get(&column.name).copied().unwrap_or_default()
}

/// Whether a column's name says that its text is a secret. Numbers of tokens and the like are not.
fn looks_secret(column: &ColumnDefinition) -> bool {
    let holds_text =
        matches!(column.base.name.as_str(), "text" | "varchar" | "bpchar" | "citext" | "bytea" | "json" | "jsonb");
    let name = column.name.to_lowercase();
    holds_text && SECRET_PARTS.iter().any(|part| name.contains(part))
}

fn width_before(before: Option<&store::Table>, column: &str) -> Option<NumericWidth> {
    let column = before?.columns.iter().find(|known| known.name == column && known.postgres_type == "numeric")?;
    match column.column_type {
        ColumnType::Decimal { precision, scale } => {
            let scale = u32::from(scale.unsigned_abs());
            Some(NumericWidth { integer_digits: u32::from(precision).saturating_sub(scale).max(1), scale })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{BaseType, Generated};

    fn column(name: &str, type_name: &str) -> ColumnDefinition {
        ColumnDefinition {
            name: name.into(),
            number: 1,
            type_name: type_name.into(),
            type_text: type_name.into(),
            base: BaseType { schema: "pg_catalog".into(), name: type_name.into(), class: 'b', modifier: -1 },
            is_not_null: false,
            generated: Generated::No,
            collation: None,
            enum_labels: None,
            is_select_allowed: true,
        }
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        let check = |name: &str, type_name: &str, expect: bool| {
            assert_eq!(looks_secret(&column(name, type_name)), expect, "{name} {type_name}");
        };
        check("password_hash", "text", true);
        check("PasswordDigest", "bytea", true);
        check("refresh_token", "varchar", true);
        check("stripe_secret", "jsonb", true);
        check("token_count", "int4", false);
        check("email", "text", false);
    }
}
