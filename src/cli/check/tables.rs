//! Whose rows the tables hold: what the configuration says, what is wrong with it, and what it may say of the others.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    engine::{TablePolicies, TablePolicy, TenantColumn},
    sql::ScalarType,
    store::{Manifest, Table},
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
            let (setting, why) = suggestion(table, manifest, policies, tenant_type);
            let name = quoted(&table.name.to_string());
            let _ = writeln!(said.lines, "\n    # {why}\n    [tables.{name}]\n    {setting}");
        }
    }
    said
}

/// A setting for the table, and why. What is not known to be a tenant's by a column of its own stays denied, which is safe.
fn suggestion(
    table: &Table,
    manifest: &Manifest,
    policies: &TablePolicies,
    tenant_type: ScalarType,
) -> (String, String) {
    let names = names_of_tenants(manifest, policies);
    let by = |column: &str, why: String| {
        let can_be = TenantColumn::of(table, column).is_ok_and(|column| column.holds(tenant_type));
        can_be.then(|| (format!("tenant = {}", quoted(column)), why))
    };
    let to_tenants = table.foreign_keys.iter().find_map(|key| {
        let [column] = key.columns.as_slice() else { return None };
        let is_of_tenants =
            matches!(policies.get(&key.table), Some(TablePolicy::Tenant(tenant)) if key.referenced == [tenant.clone()]);
        is_of_tenants
            .then(|| by(column, format!("its column {column} points to the tenants in {}", key.table)))
            .flatten()
    });
    let by_name = || {
        let column = names.iter().find(|name| TenantColumn::of(table, name).is_ok())?;
        by(column, format!("by the name of its column {column}"))
    };
    // The table of the tenants themselves: others' tenant columns point to it.
    let pointed_to = || {
        manifest.tables.iter().find_map(|other| {
            let own = column_of(other, policies, &names)?;
            other.foreign_keys.iter().find_map(|key| {
                let is_it = key.table == table.name && key.columns == [own.clone()];
                let column = is_it.then(|| key.referenced.first()).flatten()?;
                by(column, format!("the tenant's column of {} points to its {column}", other.name))
            })
        })
    };
    let found = to_tenants.or_else(by_name).or_else(pointed_to);
    found.unwrap_or_else(|| ("access = \"denied\"".into(), why_denied(table, manifest, policies, &names)))
}

fn why_denied(table: &Table, manifest: &Manifest, policies: &TablePolicies, names: &[&str]) -> String {
    // Whatever hangs together by keys, in either direction, may be of one tenant.
    let (mut reached, mut next) = (vec![&table.name], 0);
    while let Some(name) = reached.get(next).copied() {
        next += 1;
        let out = manifest.table(name).into_iter().flat_map(|table| table.foreign_keys.iter().map(|key| &key.table));
        let back = manifest.tables.iter().filter(|other| other.foreign_keys.iter().any(|key| key.table == *name));
        for other in out.chain(back.map(|other| &other.name)) {
            if !reached.contains(&other) {
                reached.push(other);
            }
        }
    }
    let of_tenant = reached
        .iter()
        .skip(1)
        .find(|name| manifest.table(name).is_none_or(|other| column_of(other, policies, names).is_some()));
    match of_tenant {
        Some(other) => {
            format!("its rows hang on {other}, whose rows are tenants': give it the tenant's column to show them")
        }
        None => "no key leads from it to a tenant: access = \"shared\" if every tenant may see all of it".into(),
    }
}

/// As TOML writes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What tenant columns are called: as the policies say, the most frequent first, or what is usual.
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
    if names.is_empty() {
        names.extend(USUAL);
    }
    names
}

/// The tenant's column of a table: as it is said, or as it would be suggested by its name.
fn column_of(table: &Table, policies: &TablePolicies, names: &[&str]) -> Option<String> {
    match policies.get(&table.name) {
        Some(TablePolicy::Tenant(column)) => Some(column.clone()),
        Some(_) => None,
        None => names.iter().find(|name| TenantColumn::of(table, name).is_ok()).map(|name| (*name).to_owned()),
    }
}
