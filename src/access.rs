//! Who asks, and what they may see.
//!
//! Owns: [`Principal`], [`Role`], [`Scope`], [`Grant`], [`Flag`]; API keys, tokens and whom to believe ([`Authenticator`]); quotas.
//! Must not know: requests and replies of any protocol, SQL.

mod authenticator;
mod embed;
mod flag;
mod key;
mod token;

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

pub use authenticator::{AccessOptions, Authenticator};
pub use embed::{EMBED_TIME_MAX, Grant};
pub use flag::Flag;
pub use key::{KeyFile, KeyRecord, NewKey};
pub use token::{IssuerOptions, KeySource};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    name: Arc<str>,
    role: Role,
    scope: Scope,
    grant: Option<Arc<Grant>>,
    /// Where another system says that their queries run.
    flag: Option<Arc<Flag>>,
    /// Whether the scope is another's.
    views_as: bool,
}

/// What a principal may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Named queries.
    Dashboard,
    /// Also SQL of their own.
    Analyst,
    /// Also snapshots, rollout and others' executions.
    Admin,
}

/// Whose rows a principal may see. There is no default: somebody without a scope is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Every tenant's.
    All,
    /// This tenant's alone.
    Tenant(TenantId),
}

/// A tenant, as text: the value of the tenant column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct TenantId(Arc<str>);

impl Principal {
    /// Whoever has a shell on this machine: an administrator of all tenants.
    #[must_use]
    pub fn local() -> Self {
        Self::new("local", Role::Admin, Scope::All)
    }

    fn new(name: &str, role: Role, scope: Scope) -> Self {
        Self { name: name.into(), role, scope, grant: None, flag: None, views_as: false }
    }

    fn limited_to(self, grant: Arc<Grant>) -> Self {
        Self { grant: Some(grant), ..self }
    }

    /// Unlike any other's: what kind of credential it was, and whose. For logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// What they may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whose rows they may see.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether they look as a tenant that they are not.
    #[must_use]
    pub fn views_as(&self) -> bool {
        self.views_as
    }

    /// What they are limited to beyond that.
    #[must_use]
    pub fn grant(&self) -> Option<&Grant> {
        self.grant.as_deref()
    }

    /// Where another system says that their queries run, if one does.
    #[must_use]
    pub fn flag(&self) -> Option<&Flag> {
        self.flag.as_deref()
    }

    fn flagged(self, flag: Flag) -> Self {
        Self { flag: Some(Arc::new(flag)), ..self }
    }

    /// The API key by which they are known.
    fn key_id(&self) -> Option<&str> {
        self.name.strip_prefix("key:")?.split(':').next()
    }

    /// Refuses queries that are not theirs.
    pub fn require_query(&self, dashboard: &str, query: &str) -> Result<()> {
        match &self.grant {
            Some(grant) if !grant.covers(dashboard, query) => {
                Err(Error::new(Code::PermissionDenied, format!("the token is not for the query {dashboard}/{query}")))
            }
            _ => Ok(()),
        }
    }

    /// The same principal looking at one tenant's rows, as that tenant's dashboard does.
    pub fn view_as(&self, tenant: TenantId) -> Result<Self> {
        if !self.is_admin_of_all() {
            return Err(Error::new(Code::PermissionDenied, format!("{} may not view as a tenant", self.name)));
        }
        Ok(Self { scope: Scope::Tenant(tenant), views_as: true, ..self.clone() })
    }

    /// Refuses those who see one tenant alone: row counts and statistics of a table tell about the others.
    pub fn require_all_tenants(&self) -> Result<()> {
        if self.scope == Scope::All {
            return Ok(());
        }
        Err(Error::new(Code::PermissionDenied, "this tells about all tenants, and is not shown to one"))
    }

    /// Whether what others do is theirs to see and to stop.
    #[must_use]
    pub fn is_admin_of_all(&self) -> bool {
        self.role >= Role::Admin && self.scope == Scope::All
    }

    /// Refuses those below `role`.
    pub fn require(&self, role: Role) -> Result<()> {
        if self.role >= role {
            return Ok(());
        }
        Err(Error::new(Code::PermissionDenied, format!("this needs the role {role}, {} has {}", self.name, self.role)))
    }
}

impl TenantId {
    /// A tenant's identity as text writes it: an integer, a UUID or a name. Not empty, of at most 256 bytes.
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            return Err(Error::new(Code::InvalidRequest, "the tenant is empty, too long, or has control characters"));
        }
        Ok(Self(text.into()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TenantId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(&text)
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Dashboard, Self::Analyst, Self::Admin].into_iter().find(|role| role.to_string() == text).ok_or_else(
            || {
                Error::new(Code::InvalidConfig, format!("{text:?} is no role"))
                    .with_hint("the roles are dashboard, analyst and admin")
            },
        )
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Dashboard => "dashboard",
            Self::Analyst => "analyst",
            Self::Admin => "admin",
        })
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_admin_of_all_views_as_a_tenant() {
        let tenant = TenantId::new("7").unwrap();
        let viewing = Principal::local().view_as(tenant.clone()).unwrap();
        assert_eq!(viewing.scope(), &Scope::Tenant(tenant.clone()));
        assert!(viewing.view_as(tenant).is_err(), "a view of a view would widen the scope again");
    }

    #[test]
    fn a_tenant_is_named_plainly() {
        for text in ["", "a\nb", &"x".repeat(257)] {
            assert!(TenantId::new(text).is_err(), "{text:?}");
        }
    }
}
