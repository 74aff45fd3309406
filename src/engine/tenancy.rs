//! Whose rows tables hold, and which value of a table's tenant column is a tenant's.

use std::{collections::BTreeMap, fmt, sync::Arc};

use datafusion::{common::ScalarValue, execution::SessionState};

use crate::{
    access::{Scope, TenantId},
    error::{Code, Error, Result},
    sql::ScalarType,
    store::{self, TableName, Treatment},
};

/// Whose rows a table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TablePolicy {
    /// Each row is of the tenant in this column. No tenant sees a row without one.
    Tenant(String),
    /// Every tenant sees all rows.
    Shared,
    /// No tenant sees any.
    Denied,
}

/// Whose rows the tables hold, by their names. One that is not among them is denied to tenants. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TablePolicies(Arc<BTreeMap<TableName, TablePolicy>>);

impl TablePolicies {
    /// What is said of a table, if anything is.
    #[must_use]
    pub fn get(&self, table: &TableName) -> Option<&TablePolicy> {
        self.0.get(table)
    }

    /// All that is said.
    pub fn iter(&self) -> impl Iterator<Item = (&TableName, &TablePolicy)> {
        self.0.iter()
    }
}

impl FromIterator<(TableName, TablePolicy)> for TablePolicies {
    fn from_iter<T: IntoIterator<Item = (TableName, TablePolicy)>>(policies: T) -> Self {
        Self(Arc::new(policies.into_iter().collect()))
    }
}

/// Whether a plan is for one tenant or for whoever sees all. It is the same for every tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sight {
    /// The rows of all tenants.
    Everything,
    /// Those of one, and shared ones.
    OneTenant,
}

impl From<&Scope> for Sight {
    fn from(scope: &Scope) -> Self {
        match scope {
            Scope::All => Self::Everything,
            Scope::Tenant(_) => Self::OneTenant,
        }
    }
}

/// What one tenant sees of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    Everything,
    TheirRows(TenantColumn),
}

impl Shown {
    /// What the policy shows of the table. A tenant column that cannot be one shows nothing, which `check` and the log say.
    pub(super) fn of(table: &store::Table, policies: &TablePolicies) -> Self {
        match policies.get(&table.name) {
            None | Some(TablePolicy::Denied) => Self::Nothing,
            Some(TablePolicy::Shared) => Self::Everything,
            Some(TablePolicy::Tenant(column)) => match TenantColumn::of(table, column) {
                Ok(column) => Self::TheirRows(column),
                Err(error) => {
                    tracing::error!(table = %table.name, error = %error.chain(), "the table is denied to tenants");
                    Self::Nothing
                }
            },
        }
    }
}

/// The column that says whose a row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantColumn {
    pub(super) index: usize,
    name: String,
    kind: TenantKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TenantKind {
    Int2,
    Int4,
    Int8,
    Text,
    /// `char(n)`, whose spaces at the end are no part of it.
    Padded,
    Uuid,
}

impl TenantColumn {
    /// The table's column of this name, if its values can be told from each other for certain.
    pub fn of(table: &store::Table, name: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::new(Code::InvalidConfig, format!("table {} {what}", table.name))
                .with_hint("set tenant to a column of the snapshot that is an integer, text or a uuid")
        };
        let Some(index) = table.columns.iter().position(|column| column.name == name) else {
            return Err(wrong(&format!("has no column {name:?} for its tenant, or it is excluded")));
        };
        let column = &table.columns[index];
        if column.treatment != Treatment::Plain {
            return Err(wrong(&format!("has its tenant in {name:?}, which is not copied as it is")));
        }
        let kind = match column.postgres_type.as_str() {
            "int2" => TenantKind::Int2,
            "int4" => TenantKind::Int4,
            "int8" => TenantKind::Int8,
            "text" | "varchar" => TenantKind::Text,
            "bpchar" => TenantKind::Padded,
            "uuid" => TenantKind::Uuid,
            _ => return Err(wrong(&format!("has its tenant in {name:?}, which is {}", column.declared_type))),
        };
        Ok(Self { index, name: name.to_owned(), kind })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a parameter of this type can be compared with it.
    #[must_use]
    pub fn holds(&self, scalar: ScalarType) -> bool {
        match self.kind {
            TenantKind::Int2 | TenantKind::Int4 | TenantKind::Int8 => {
                matches!(scalar, ScalarType::Int4 | ScalarType::Int8)
            }
            TenantKind::Text | TenantKind::Padded => scalar == ScalarType::Text,
            TenantKind::Uuid => scalar == ScalarType::Uuid,
        }
    }

    /// The tenant as this column has it; none if no row can be theirs.
    pub fn value(&self, tenant: &TenantId) -> Result<Option<ScalarValue>> {
        let text = tenant.as_str();
        let wrong = || {
            Error::new(Code::InvalidRequest, format!("the tenant {text:?} cannot be one of column {:?}", self.name))
                .with_hint("tenants are written as Postgres shows them")
        };
        // One way of writing each, so that no two names are one tenant's.
        let number = || text.parse::<i64>().ok().filter(|number| number.to_string() == text).ok_or_else(wrong);
        Ok(match self.kind {
            TenantKind::Int2 => i16::try_from(number()?).ok().map(|number| ScalarValue::Int16(Some(number))),
            TenantKind::Int4 => i32::try_from(number()?).ok().map(|number| ScalarValue::Int32(Some(number))),
            TenantKind::Int8 => Some(ScalarValue::Int64(Some(number()?))),
            TenantKind::Text => Some(ScalarValue::Utf8View(Some(text.to_owned()))),
            TenantKind::Padded if text.ends_with(' ') => return Err(wrong()),
            TenantKind::Padded => Some(ScalarValue::Utf8View(Some(text.to_owned()))),
            TenantKind::Uuid => {
                let uuid =
                    uuid::Uuid::parse_str(text).ok().filter(|uuid| uuid.to_string() == text).ok_or_else(wrong)?;
                Some(ScalarValue::Utf8View(Some(uuid.to_string())))
            }
        })
    }
}

impl fmt::Display for TenantColumn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// The tenant that a session is for. A scan of tenants' rows in a session without one fails.
pub(super) struct OneTenant(pub(super) TenantId);

impl OneTenant {
    /// Says whom the session is for.
    pub(super) fn set(state: &mut SessionState, tenant: &TenantId) {
        state.config_mut().set_extension(Arc::new(Self(tenant.clone())));
    }
}
