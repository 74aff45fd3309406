//! Where one request runs.

use super::{HoldReason, Rollout, Route, Rule, Side, Switch};

/// Whom a request is for, by which some are chosen and others not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A tenant.
    Tenant(&'a str),
    /// Somebody who sees all tenants, by name.
    Everyone(&'a str),
}

/// What a decision is about.
#[derive(Clone, Copy, Debug)]
pub struct Asks<'a> {
    /// `dashboard/name`
    pub query: &'a str,
    /// For whom.
    pub subject: Subject<'a>,
    /// What another system says: it stands above rules, and below the switch and whatever holds the query.
    pub flag: Option<Route>,
    /// Of the query, where the engine answers only what a certificate says of that fingerprint; none where it answers anything.
    pub fingerprint: Option<&'a str>,
}

/// Where a request runs, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Where.
    pub route: Route,
    /// Why.
    pub because: Because,
}

/// Why a request runs where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Its query's rule says so.
    Rule,
    /// Nothing is said of the query.
    Default,
    /// The query moves, and this tenant is not chosen yet.
    NotChosen,
    /// No certificate says that the engine answers this query as Postgres does.
    NotCertified,
    /// The query is held.
    Held(HoldReason),
    /// The switch sends everything to Postgres.
    Switched,
    /// Another system says so.
    Flag,
    /// The request names a snapshot, which is the engine's.
    Asked,
    /// The snapshot is too old.
    TooOld,
    /// There is no other side.
    Only,
}

impl Decision {
    /// Whether the engine may answer where Postgres cannot.
    #[must_use]
    pub fn allows_engine(&self) -> bool {
        self.route.side() == Side::Engine
            || !matches!(self.because, Because::Switched | Because::Held(HoldReason::Different))
    }
}

impl Rollout {
    /// Where a request runs; `default` is what the configuration says of queries of which nothing is said.
    #[must_use]
    pub fn decide(&self, default: &Rule, asks: Asks<'_>) -> Decision {
        let Asks { query, subject, .. } = asks;
        if self.switch == Switch::Postgres {
            return Decision { route: Route::Postgres, because: Because::Switched };
        }
        let said = self.queries.get(query);
        if let Some(hold) = said.and_then(|said| said.hold.as_ref()) {
            return Decision { route: Route::Postgres, because: Because::Held(hold.reason) };
        }
        let decided = |route: Route, because, without_certificate| {
            let is_certified = without_certificate
                || asks
                    .fingerprint
                    .is_none_or(|now| self.certified.get(query).is_some_and(|seen| seen.fingerprint == now));
            match route {
                Route::Engine if !is_certified => Decision { route: Route::Postgres, because: Because::NotCertified },
                route => Decision { route, because },
            }
        };
        if let Some(route) = asks.flag {
            return decided(route, Because::Flag, said.is_some_and(|said| said.rule.without_certificate));
        }
        let (rule, because) = match said {
            Some(said) => (&said.rule, Because::Rule),
            None => (self.default.as_ref().unwrap_or(default), Because::Default),
        };
        match rule.chooses(subject) {
            true => decided(rule.route, because, rule.without_certificate),
            false => Decision { route: Route::Postgres, because: Because::NotChosen },
        }
    }
}

impl Rule {
    fn chooses(&self, subject: Subject<'_>) -> bool {
        let is_named = match subject {
            Subject::Tenant(tenant) => self.tenants.iter().any(|named| named == tenant),
            Subject::Everyone(_) => false,
        };
        is_named || place(subject) < u16::from(self.percent) * 100
    }
}

/// Where in the line of all tenants one stands, from 0 to 9,999; the same on every node, for every query, for ever.
fn place(subject: Subject<'_>) -> u16 {
    let (kind, name) = match subject {
        Subject::Tenant(tenant) => ("tenant", tenant),
        Subject::Everyone(name) => ("everyone", name),
    };
    let hash = blake3::Hasher::new_derive_key("pilaster rollout place 1")
        .update(kind.as_bytes())
        .update(&[0])
        .update(name.as_bytes())
        .finalize();
    let [a, b, c, d, ..] = *hash.as_bytes();
    u16::try_from(u32::from_le_bytes([a, b, c, d]) % 10_000).expect("less than 10,000 fits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{Edit, Findings, Hold};

    fn decide(rollout: &Rollout, query: &str, tenant: &str) -> (Route, Because) {
        let asks = Asks { query, subject: Subject::Tenant(tenant), flag: None, fingerprint: None };
        let decision = rollout.decide(&Rule::of(Route::Shadow), asks);
        (decision.route, decision.because)
    }

    fn asks<'a>(query: &'a str, fingerprint: Option<&'a str>) -> Asks<'a> {
        Asks { query, subject: Subject::Tenant("8"), flag: None, fingerprint }
    }

    fn with(rollout: &Rollout, edit: Edit) -> Rollout {
        rollout.edited(edit, "ops", "why", chrono::Utc::now()).unwrap().unwrap()
    }

    fn rule(percent: u8, tenants: &[&str]) -> Rule {
        Rule { percent, tenants: tenants.iter().map(|&tenant| tenant.to_owned()).collect(), ..Rule::of(Route::Engine) }
    }

    #[test]
    fn a_query_runs_where_its_rule_says() {
        let nothing = Rollout::default();
        assert_eq!(decide(&nothing, "a/b", "7"), (Route::Shadow, Because::Default));
        let named = with(&nothing, Edit::Query("a/b".into(), rule(0, &["7"])));
        assert_eq!(decide(&named, "a/b", "7"), (Route::Engine, Because::Rule));
        assert_eq!(decide(&named, "a/b", "8"), (Route::Postgres, Because::NotChosen));
        assert_eq!(decide(&named, "a/c", "8"), (Route::Shadow, Because::Default));
        let defaulted = with(&named, Edit::Default(Some(Rule::of(Route::Postgres))));
        assert_eq!(decide(&defaulted, "a/c", "8"), (Route::Postgres, Because::Default));
        let switched = with(&named, Edit::Switch(Switch::Postgres));
        assert_eq!(decide(&switched, "a/b", "7"), (Route::Postgres, Because::Switched));
        let flagged = |rollout: &Rollout| {
            let asks = Asks { flag: Some(Route::Engine), ..asks("a/b", None) };
            rollout.decide(&Rule::of(Route::Shadow), asks).because
        };
        assert_eq!((flagged(&named), flagged(&switched)), (Because::Flag, Because::Switched));
        let hold = Hold::new(HoldReason::Slow, String::new(), chrono::Utc::now());
        let held = with(&named, Edit::Hold("a/b".into(), hold, rule(0, &[])));
        assert_eq!(decide(&held, "a/b", "7"), (Route::Postgres, Because::Held(HoldReason::Slow)));
    }

    #[test]
    fn the_engine_answers_what_is_certified() {
        let engine = Rule::of(Route::Engine);
        let findings = Findings {
            snapshot: 7,
            equal: vec![("a/b".into(), "now".into())],
            different: Vec::new(),
            releases: false,
            default: engine.clone(),
        };
        let certified = with(&Rollout::default(), Edit::Certify(findings));
        let check = |rollout: &Rollout, fingerprint, expect| {
            let decision = rollout.decide(&engine, asks("a/b", fingerprint));
            assert_eq!((decision.route, decision.because), expect, "{fingerprint:?}");
        };
        check(&certified, Some("now"), (Route::Engine, Because::Default));
        check(&certified, Some("changed since"), (Route::Postgres, Because::NotCertified));
        check(&certified, None, (Route::Engine, Because::Default));
        let waived = Rule { without_certificate: true, ..engine.clone() };
        check(
            &with(&certified, Edit::Query("a/b".into(), waived)),
            Some("changed since"),
            (Route::Engine, Because::Rule),
        );
    }

    #[test]
    fn a_percentage_is_of_the_tenants_and_only_grows() {
        let chosen = |percent: u8| -> Vec<u32> {
            let rule = rule(percent, &[]);
            (0..10_000).filter(|tenant| rule.chooses(Subject::Tenant(&tenant.to_string()))).collect()
        };
        assert_eq!(chosen(0), [0; 0]);
        assert_eq!(chosen(100).len(), 10_000);
        for percent in [1, 10, 50, 90] {
            let (some, more) = (chosen(percent), chosen(percent + 1));
            let expect = usize::from(percent) * 100;
            assert!(some.len().abs_diff(expect) < 150, "{percent} %: {}", some.len());
            assert!(
                some.iter().all(|tenant| more.contains(tenant)),
                "{percent} %: somebody was chosen and is not any more"
            );
        }
        // Written down: a change of these would move tenants back and forth with an upgrade.
        assert_eq!(
            [place(Subject::Tenant("7")), place(Subject::Tenant("acme")), place(Subject::Everyone("7"))],
            [7_591, 7_649, 3_596]
        );
    }

    #[test]
    fn a_wrong_answer_is_no_way_out() {
        let check =
            |route, because, expect| assert_eq!(Decision { route, because }.allows_engine(), expect, "{because:?}");
        check(Route::Engine, Because::Rule, true);
        check(Route::Postgres, Because::Rule, true);
        check(Route::Postgres, Because::NotChosen, true);
        check(Route::Postgres, Because::Held(HoldReason::Slow), true);
        check(Route::Postgres, Because::Held(HoldReason::Different), false);
        check(Route::Postgres, Because::Switched, false);
    }
}
