//! Who may ask what: one table, and what is not in it is refused.

use axum::http::Method;

use crate::access::Role;

/// What a route asks of whoever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: it tells nothing of the data to whoever is not known.
    Nobody,
    /// At least this role.
    Role(Role),
}

use Need::{Nobody, Role as Of};

/// Every route with its methods. `GET` is `HEAD` too.
pub(super) const ROUTES: &[(&str, &str, Need)] = &[
    ("GET", "/", Nobody),
    ("GET", "/docs", Nobody),
    ("GET", "/docs/", Nobody),
    ("GET", "/docs/{*rest}", Nobody),
    ("GET", "/livez", Nobody),
    ("GET", "/readyz", Nobody),
    ("GET", "/openapi.json", Nobody),
    ("GET", "/v1/queries", Of(Role::Dashboard)),
    ("GET", "/v1/queries/{dashboard}/{name}", Of(Role::Dashboard)),
    ("POST", "/v1/queries/{dashboard}/{name}", Of(Role::Dashboard)),
    ("GET", "/v1/queries/{dashboard}/{name}/definition", Of(Role::Dashboard)),
    ("GET", "/v1/dashboards", Of(Role::Dashboard)),
    ("POST", "/v1/dashboards/{dashboard}", Of(Role::Dashboard)),
    ("POST", "/v1/embed", Of(Role::Dashboard)),
    ("GET", "/v1/executions", Of(Role::Dashboard)),
    ("DELETE", "/v1/executions/{id}", Of(Role::Dashboard)),
    ("POST", "/v1/sql", Of(Role::Analyst)),
    ("GET", "/v1/tables", Of(Role::Analyst)),
    ("GET", "/v1/snapshots", Of(Role::Analyst)),
    ("GET", "/v1/snapshots/{version}", Of(Role::Analyst)),
    ("GET", "/v1/snapshots/{version}/certificate", Of(Role::Admin)),
    ("POST", "/v1/snapshots", Of(Role::Admin)),
    ("GET", "/v1/rollout", Of(Role::Admin)),
    ("GET", "/v1/rollout/changes", Of(Role::Admin)),
    ("PUT", "/v1/rollout/switch", Of(Role::Admin)),
    ("PUT", "/v1/rollout/default", Of(Role::Admin)),
    ("GET", "/v1/rollout/{dashboard}/{name}", Of(Role::Admin)),
    ("PUT", "/v1/rollout/{dashboard}/{name}", Of(Role::Admin)),
    ("DELETE", "/v1/rollout/{dashboard}/{name}", Of(Role::Admin)),
    ("PUT", "/v1/rollout/{dashboard}/{name}/acknowledgement", Of(Role::Admin)),
    ("GET", "/metrics", Of(Role::Admin)),
];

/// What a request needs; none for one that is not in the table. A path that no route matches, and a method that its route does not take,
/// tell nothing either way, and are told so to whoever is known.
pub(super) fn need(method: &Method, route: Option<&str>) -> Option<Need> {
    let Some(route) = route else { return Some(Of(Role::Dashboard)) };
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let mut of_route = ROUTES.iter().filter(|(_, path, _)| *path == route).peekable();
    of_route.peek()?;
    let exact = of_route.find(|(known, ..)| *known == method).map(|(.., need)| *need);
    Some(exact.unwrap_or(Of(Role::Dashboard)))
}

/// What is written down although it asks for no rows: what changes something, or lets somebody else in.
const ACTS: &[(&str, &str, &str)] = &[
    ("POST", "/v1/snapshots", "take_snapshot"),
    ("DELETE", "/v1/executions/{id}", "stop_execution"),
    ("POST", "/v1/embed", "make_embed_token"),
    ("PUT", "/v1/rollout/switch", "switch_rollout"),
    ("PUT", "/v1/rollout/default", "change_rollout"),
    ("PUT", "/v1/rollout/{dashboard}/{name}", "change_rollout"),
    ("DELETE", "/v1/rollout/{dashboard}/{name}", "change_rollout"),
    ("PUT", "/v1/rollout/{dashboard}/{name}/acknowledgement", "acknowledge_hold"),
];

/// The act's name, if it is one.
pub(super) fn act(method: &Method, route: Option<&str>) -> Option<&'static str> {
    let route = route?;
    ACTS.iter().find(|(known, path, _)| *known == method.as_str() && *path == route).map(|(.., act)| *act)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_table_is_refused() {
        let check = |method: &str, route: Option<&str>, expect: Option<Need>| {
            assert_eq!(need(&method.parse().unwrap(), route), expect, "{method} {route:?}");
        };
        check("GET", Some("/v1/tables"), Some(Of(Role::Analyst)));
        check("HEAD", Some("/v1/tables"), Some(Of(Role::Analyst)));
        check("POST", Some("/v1/snapshots"), Some(Of(Role::Admin)));
        check("DELETE", Some("/v1/snapshots"), Some(Of(Role::Dashboard)));
        check("GET", Some("/v1/forgotten"), None);
        check("GET", None, Some(Of(Role::Dashboard)));
        check("GET", Some("/livez"), Some(Nobody));
    }
}
