//! Whose rows the tables hold: what the configuration says, what is wrong with it, and what it may say of the others.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    engine::{TablePolicies, TablePolicy, TenantColumn},
    sql::ScalarType,
    store::{ForeignKey, Manifest, Table, TableName},
};

/// What products call the column, where no other table tells.
const USUAL: &[&str] = &[
    "tenant_id",
    "tenant",
    "organization_id",
    "organisation_id",
    "org_id",
    "account_id",
    "workspace_id",
    "company_id",
    "team_id",
    "client_id",
];

/// What is to be said of the tables of a snapshot.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) lines: String,
    /// How many settings cannot be followed.
    pub(super) broken: usize,
}

/// Says of each table whose rows it holds, by the policies; `tenant_type` is the type of `$tenant`.
pub(super) fn tables(manifest: &Manifest, policies: &TablePolicies, tenant_type: ScalarType) -> Tables {
    let mut said = Tables::default();
    let (mut of_tenants, mut shared, mut denied) = (0, 0, 0);
    let mut unknown = Vec::new();
    for table in &manifest.tables {
        match policies.get(&table.name) {
            Some(TablePolicy::Tenant(column)) => {
                of_tenants += 1;
                let wrong = match TenantColumn::of(table, column) {
                    Ok(column) if !column.holds(tenant_type) => Some(format!(
                        "column {column} of {} holds no {tenant_type}, as access.tenant_type says",
                        table.name
                    )),
                    Ok(_) => None,
                    Err(error) => Some(error.to_string()),
                };
                if let Some(wrong) = wrong {
                    said.broken += 1;
                    let _ = writeln!(said.lines, "{:<12} {wrong}", "BROKEN");
                }
            }
            Some(TablePolicy::Shared) => shared += 1,
            Some(TablePolicy::Denied) => denied += 1,
            None => unknown.push(table),
        }
    }
    for (name, _) in policies.iter().filter(|(name, _)| manifest.table(name).is_none()) {
        said.broken += 1;
        let _ =
            writeln!(said.lines, "{:<12} tables.\"{name}\" names a table that the snapshot does not have", "BROKEN");
    }
    let _ = writeln!(
        said.lines,
        "{} tables: {of_tenants} of tenants, {shared} shared, {denied} denied, {} not classified",
        manifest.tables.len(),
        unknown.len()
    );
    if !unknown.is_empty() {
        let _ = writeln!(said.lines, "No tenant sees what is not classified. To paste, where it is right:");
        for table in unknown {
            let (setting, why) = suggestion(table, manifest, policies);
            let _ = writeln!(said.lines, "\n    # {why}\n    [tables.\"{}\"]\n    {setting}", table.name);
        }
    }
    said
}

/// A setting for the table, and why.
fn suggestion(table: &Table, manifest: &Manifest, policies: &TablePolicies) -> (String, String) {
    let names = names_of_tenants(manifest, policies);
    if let Some(column) = own_column(table, &names) {
        return (format!("tenant = \"{column}\""), format!("by the name of its column {column}"));
    }
    // The table of the tenants themselves: others' tenant columns point to it.
    let pointed_to = manifest.tables.iter().find_map(|other| {
        let column = column_of(other, policies, &names)?;
        other.foreign_keys.iter().find_map(|key| {
            let is_it = key.table == table.name && *key.columns == [column.clone()];
            is_it.then(|| (key.referenced.first(), &other.name))
        })
    });
    if let Some((Some(column), other)) = pointed_to {
        return (format!("tenant = \"{column}\""), format!("the tenant's column of {other} points to its {column}"));
    }
    let owner = |key: &&ForeignKey| {
        let other = manifest.table(&key.table);
        other.is_some_and(|other| column_of(other, policies, &names).is_some())
    };
    match table.foreign_keys.iter().find(owner) {
        Some(key) => (
            "access = \"denied\"".into(),
            format!(
                "its rows are a tenant's through {} of {}: give it the tenant's column to show them",
                key.columns.join(", "),
                key.table
            ),
        ),
        None => (
            "access = \"shared\"".into(),
            "nothing in it points to a tenant; denied, if its rows are not for all".into(),
        ),
    }
}

/// What tenant columns are called: as the policies say, the most frequent first, and then what is usual.
fn names_of_tenants<'a>(manifest: &Manifest, policies: &'a TablePolicies) -> Vec<&'a str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, policy) in policies.iter() {
        if let TablePolicy::Tenant(column) = policy
            && manifest.table(name).is_some()
            // Of the table of tenants itself it is `id`, which every table has.
            && column != "id"
        {
            *counts.entry(column).or_default() += 1;
        }
    }
    let mut names: Vec<&str> = counts.keys().copied().collect();
    names.sort_by_key(|name| std::cmp::Reverse(counts[name]));
    names.extend(USUAL);
    names
}

fn own_column(table: &Table, names: &[&str]) -> Option<String> {
    let column = names.iter().find(|name| TenantColumn::of(table, name).is_ok())?;
    Some((*column).to_owned())
}

/// The tenant's column of a table: as it is said, or as it would be suggested.
fn column_of(table: &Table, policies: &TablePolicies, names: &[&str]) -> Option<String> {
    match policies.get(&table.name) {
        Some(TablePolicy::Tenant(column)) => Some(column.clone()),
        Some(_) => None,
        None => own_column(table, names),
    }
}

/// The tables that a query reads and no tenant sees.
pub(super) fn hidden<'a>(
    read: impl Iterator<Item = &'a TableName>,
    manifest: &Manifest,
    policies: &TablePolicies,
) -> Vec<&'a TableName> {
    let is_hidden = |name: &&TableName| match policies.get(name) {
        Some(TablePolicy::Shared) => false,
        Some(TablePolicy::Tenant(column)) => {
            manifest.table(name).is_none_or(|table| TenantColumn::of(table, column).is_err())
        }
        Some(TablePolicy::Denied) | None => true,
    };
    read.filter(is_hidden).collect()
}
