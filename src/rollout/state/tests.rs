use super::*;

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn edited(rollout: &Rollout, edit: Edit) -> Option<Rollout> {
    rollout.edited(edit, "key:1:ops", "because", at()).unwrap()
}

fn rule(percent: u8) -> Rule {
    Rule { percent, tenants: vec!["7".into(), "3".into(), "7".into()], ..Rule::of(Route::Engine) }
}

#[test]
fn each_change_is_a_document_of_its_own() {
    let first = edited(&Rollout::default(), Edit::Query("a/b".into(), rule(10))).unwrap();
    assert_eq!((first.number, first.queries["a/b"].rule.tenants.clone()), (1, vec!["3".to_owned(), "7".to_owned()]));
    assert_eq!(first.changed.as_ref().unwrap().what, "a/b: engine for 10 % and 2 named tenants");
    assert_eq!(Rollout::from_bytes(&first.to_bytes()).unwrap(), first);
    assert_eq!(edited(&first, Edit::Query("a/b".into(), rule(10))), None, "nothing has changed");

    let second = edited(&first, Edit::Switch(Switch::Postgres)).unwrap();
    assert_eq!((second.number, second.switch, &second.queries), (2, Switch::Postgres, &first.queries));
    assert_ne!(first.id, second.id);
}

#[test]
fn a_person_ends_a_hold() {
    let hold = |reason| Hold::new(reason, "row 3".into(), at());
    let held = edited(&Rollout::default(), Edit::Hold("a/b".into(), hold(HoldReason::Different), rule(50))).unwrap();
    assert_eq!(held.queries["a/b"].rule.percent, 50);
    assert_eq!(edited(&held, Edit::Hold("a/b".into(), hold(HoldReason::Slow), rule(1))), None);
    let seen = edited(&held, Edit::Acknowledge("a/b".into())).unwrap();
    assert_eq!(seen.queries["a/b"].hold.as_ref().unwrap().acknowledged.as_ref().unwrap().by, "key:1:ops");
    assert_eq!(edited(&seen, Edit::Tell("a/b".into())), None, "who has seen it is not told again");
    assert!(edited(&held, Edit::Tell("a/b".into())).is_some());
    let ended = edited(&held, Edit::Query("a/b".into(), held.queries["a/b"].rule.clone())).unwrap();
    assert_eq!(ended.queries["a/b"].hold, None);
    assert!(edited(&ended, Edit::Forget("a/b".into())).unwrap().queries.is_empty());
    assert_eq!(edited(&ended, Edit::Forget("a/c".into())), None);
}

#[test]
fn a_certificate_holds_and_releases() {
    let hold = |reason| Hold::new(reason, "row 3".into(), at());
    let findings = |equal: &[&str], different: &[&str], releases| {
        let equal = equal.iter().map(|query| (query.to_string(), "f".to_owned())).collect();
        let different = different.iter().map(|query| (query.to_string(), hold(HoldReason::Different))).collect();
        Edit::Certify(Findings { snapshot: 7, equal, different, releases, default: Rule::of(Route::Engine) })
    };
    let first = edited(&Rollout::default(), findings(&["a/b", "a/c"], &["a/d"], false)).unwrap();
    assert_eq!(first.certified.keys().collect::<Vec<_>>(), ["a/b", "a/c"]);
    assert_eq!(first.queries["a/d"].hold.as_ref().unwrap().reason, HoldReason::Different);
    assert_eq!(first.changed.as_ref().unwrap().what, "the certificate of snapshot 7: 2 queries equal, 1 different");
    let kept = edited(&first, findings(&["a/d"], &["a/b"], false)).unwrap();
    assert!(kept.queries["a/d"].hold.is_some() && !kept.certified.contains_key("a/b"));
    let released = edited(&first, findings(&["a/d"], &[], true)).unwrap();
    assert!(released.queries["a/d"].hold.is_none() && released.certified.contains_key("a/d"));
}

#[test]
fn what_cannot_be_is_refused() {
    let check = |edit: Edit, why: &str, expect: &str| {
        let error = Rollout::default().edited(edit, "ops", why, at()).unwrap_err();
        assert!(error.message().contains(expect), "{error}");
    };
    check(Edit::Query("a/b".into(), rule(101)), "x", "more than 100");
    check(Edit::Switch(Switch::Postgres), " ", "nobody says why");
    check(Edit::Switch(Switch::Postgres), "a\nb", "control characters");
    let tenants = vec!["x".repeat(1_001)];
    check(Edit::Default(Some(Rule { tenants, ..rule(1) })), "x", "a tenant is longer");
    for text in ["", "{}", "{\"format\": 2}", "{\"format\": 1}", "[1]"] {
        assert_eq!(Rollout::from_bytes(text.as_bytes()).unwrap_err().code(), Code::CorruptStore, "{text}");
    }
}
