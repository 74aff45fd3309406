//! `pilaster check` as a person meets it: which queries are Postgres's, which are different, and which cannot be answered.

use std::path::Path;

use crate::{support::Postgres, support_pilaster::Pilaster, support_server::take_snapshot};

#[test]
fn each_query_is_said_to_be_equal_different_or_unsupported() {
    let postgres = Postgres::start();
    let url = postgres.database("check");
    postgres.psql("check", "CREATE TABLE people (id int PRIMARY KEY, name text); INSERT INTO people VALUES (1, 'Ada')");
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    take_snapshot(&url, &store);
    let queries = folder.path().join("queries");
    let write = |name: &str, sql: &str| {
        std::fs::create_dir_all(queries.join("team")).unwrap();
        std::fs::write(queries.join("team").join(name), sql).unwrap();
    };
    let check = || {
        let (store, queries) = (store.to_str().unwrap(), queries.to_str().unwrap());
        Pilaster::command(&["check", "--store", store, "--queries", queries]).run()
    };

    write("equal.sql", "-- Everybody.\nSELECT id, name FROM people ORDER BY id");
    write("different.sql", "-- é\nSELECT id FROM people\nWHERE name COLLATE \"C\" ILIKE 'a%'");
    let all = check().success().stdout;
    let lines: Vec<&str> = all.lines().map(str::trim_end).collect();
    assert!(lines[0].starts_with("snapshot 1 as of "), "{all}");
    assert_eq!(lines[1], "different    team/different: id int4");
    assert!(lines[2].trim_start().starts_with("3:"), "{all}");
    for part in ["PostgreSQL: ", "here: ", "mend: "] {
        assert!(lines[3..6].iter().any(|line| line.trim_start().starts_with(part)), "{part}: {all}");
    }
    assert_eq!(lines[6], "equal        team/equal: id int4, name text");
    assert_eq!(lines[7], "2 queries: 1 equal, 1 different, 0 unsupported, 0 broken");

    write("missing.sql", "SELECT id,\n  to_ascii(name) AS plain FROM people");
    write("nameless.sql", "SELECT id + 1 FROM people");
    write("torn.sql", "SELECT id FRM people p");
    write("unknown.sql", "SELECT count(*) OVER (ORDER BY id ROWS 1 PRECEDING EXCLUDE TIES) AS n FROM people");
    let finished = check();
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stdout);
    let all = finished.stdout;
    let line =
        |start: &str| all.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {all}"));
    assert!(line("unsupported  team/missing 2:3: ").contains("to_ascii"), "{all}");
    assert!(line("BROKEN       team/nameless: ").contains("has no name"), "{all}");
    assert!(line(&format!("BROKEN       {} 1:", Path::new("team/torn.sql").display())).len() > 30, "{all}");
    line("unsupported  team/unknown.sql 1:52: ");
    assert!(all.contains("(frame-exclusion)"), "{all}");
    assert!(all.contains("\n6 queries: 1 equal, 1 different, 2 unsupported, 2 broken\n"), "{all}");
}
