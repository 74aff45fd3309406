//! `docs/sql.md` is made of what the code knows: the corpus, the table of differences, and the functions of real Postgres's
//! catalogue beside those of the library. `make docs-sql` writes it anew.

mod procedures;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use pilaster::sql::differences::{DIFFERENCES, Difference, ENGINE_FUNCTIONS, Effect, Theme};

use self::procedures::{Area, PROCEDURES, Procedure, Standing, library};
use crate::{slt, support::Postgres};

/// The release that the coverage is of.
const RELEASE: &str = "15";

#[test]
fn the_documentation_says_what_the_code_knows() {
    let server = Postgres::start();
    let release = server.psql("postgres", "SELECT current_setting('server_version_num')::int / 10000");
    if release != RELEASE {
        println!("docs/sql.md is about PostgreSQL {RELEASE}; this is {release}, whose functions are others");
        return;
    }
    let procedures = server.psql("postgres", PROCEDURES);
    let made = page(&procedures.lines().filter_map(Procedure::read).collect::<Vec<_>>());
    let path = file();
    if fills() {
        std::fs::write(&path, made).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((ours, theirs)) = made.lines().zip(written.lines()).find(|(made, written)| made != written) {
        panic!("docs/sql.md is not what the code says; run make docs-sql\nmade:    {ours}\nwritten: {theirs}");
    }
    assert_eq!(made.lines().count(), written.lines().count(), "docs/sql.md has another length; run make docs-sql");
}

#[test]
fn the_engines_own_functions_are_shown_by_the_corpus() {
    let equal: Vec<String> = slt::corpus()
        .into_iter()
        .flat_map(|(_, records)| records)
        .filter(slt::Record::is_equal)
        .map(|record| record.sql.to_lowercase())
        .collect();
    let is_called = |sql: &str, name: &str| {
        sql.match_indices(&format!("{name}("))
            .any(|(at, _)| !sql[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_'))
    };
    let names = ENGINE_FUNCTIONS.iter().map(|function| function.split('(').next().unwrap_or(function));
    let unseen: Vec<&str> = names.filter(|name| !equal.iter().any(|sql| is_called(sql, name))).collect();
    assert!(unseen.is_empty(), "no record of the corpus is equal and calls {unseen:?}");
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch is not configuration")]
fn fills() -> bool {
    std::env::var_os("DOCS_FILL").is_some()
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sql.md")
}

fn page(procedures: &[Procedure]) -> String {
    let mut page = String::from(
        "# SQL\n\n\
         For whoever writes queries: what is PostgreSQL's, and what is not.\n\n\
         An answer is meant to be exactly the one that PostgreSQL 15 would give on the snapshot's data at the snapshot's instant, or an \
         error that says what is wrong, or the difference is in the table below; whatever else you find is a fault, and we want to know. \
         `pilaster check` says of each named query what of the table it shows; one that shows nothing is called equal.\n\n\
         This page is made of the code by `make docs-sql`; `src/sql/differences` is where to change it.\n\n",
    );
    add_corpus(&mut page);
    add_differences(&mut page);
    add_functions(&mut page, procedures);
    page
}

fn add_corpus(page: &mut String) {
    page.push_str(
        "## What is equal, and how it is shown\n\n\
         The statements in `tests/slt` run on a real PostgreSQL, once with ICU's collation and once with C, and on the engine, through \
         a real snapshot and the same door as every query. Equal means: the values, the names and types of the columns, the order under \
         `ORDER BY`, and the SQLSTATE of errors. Floats are equal to 1e-9; quotients and averages of `numeric` at the smaller scale. \
         What is listed shows a difference of the table below; what is open is not mended yet.\n\n\
         | corpus | statements | equal | listed | open |\n|---|--:|--:|--:|--:|\n",
    );
    let mut total = [0_usize; 4];
    for (file, records) in slt::corpus() {
        let equal = records.iter().filter(|record| record.is_equal()).count();
        let listed = records.iter().filter(|record| record.is_listed()).count();
        let counts = [records.len(), equal, listed, records.len() - equal - listed];
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
        let [all, equal, listed, open] = counts;
        let _ = writeln!(
            page,
            "| {} | {all} | {equal} | {listed} | {open} |",
            file.trim_end_matches(".slt").replace('_', " ")
        );
    }
    let [all, equal, listed, open] = total;
    let _ = writeln!(page, "| **all** | **{all}** | **{equal}** | **{listed}** | **{open}** |\n");
}

fn add_differences(page: &mut String) {
    page.push_str(
        "## What is different\n\n\
         *different* is an answer that may be another; *error* is an error that says so. The last column has the name of the \
         difference, by which the corpus and `pilaster check` call it; `check` cannot see those in italics, which depend on the data.\n",
    );
    for theme in Theme::ALL {
        let _ = write!(
            page,
            "\n### {}\n\n| what | PostgreSQL | here | | instead | name |\n|---|---|---|---|---|---|\n",
            theme.title()
        );
        for difference in DIFFERENCES.iter().filter(|difference| difference.theme == theme) {
            add_difference(page, difference);
        }
    }
}

fn add_difference(page: &mut String, difference: &Difference) {
    let Difference { key, construct, postgres, engine, mend, effect, .. } = difference;
    let effect = match effect {
        Effect::Different => "different",
        Effect::Unsupported => "error",
    };
    let key = if difference.is_visible() { format!("`{key}`") } else { format!("*{key}*") };
    let cells = [construct, postgres, engine, effect, mend, &key].map(|cell| cell.replace('|', "\\|"));
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

fn add_functions(page: &mut String, procedures: &[Procedure]) {
    let library = library();
    let mut areas: BTreeMap<Area, BTreeMap<Standing, Vec<&Procedure>>> = BTreeMap::new();
    for procedure in procedures {
        let standings = areas.entry(procedure.area()).or_default();
        standings.entry(procedure.standing(&library)).or_default().push(procedure);
    }
    page.push_str(
        "\n## Functions\n\n\
         Of the functions and aggregates in PostgreSQL's catalogue that a `SELECT` over tables can use: how many overloads are the \
         same here, different, or missing. Functions that are about the server, its sessions, files, locks, privileges and objects are \
         left out.\n\n\
         | area | same | different | missing |\n|---|--:|--:|--:|\n",
    );
    let mut total = [0_usize; 3];
    for (area, standings) in &areas {
        let counts = Standing::ALL.map(|standing| standings.get(&standing).map_or(0, Vec::len));
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
        let [same, different, missing] = counts;
        let _ = writeln!(page, "| {} | {same} | {different} | {missing} |", area.0);
    }
    let [same, different, missing] = total;
    let _ = writeln!(page, "| **all** | **{same}** | **{different}** | **{missing}** |");
    for (area, standings) in &areas {
        let _ = write!(page, "\n### {}\n", area.0);
        for standing in Standing::ALL {
            if let Some(here) = standings.get(&standing) {
                let _ = write!(page, "\n{}: {}.\n", standing.name(), listed(here, standings, standing));
            }
        }
    }
}

/// Names, and with the types where another overload stands otherwise.
fn listed(here: &[&Procedure], standings: &BTreeMap<Standing, Vec<&Procedure>>, standing: Standing) -> String {
    let others: BTreeSet<&str> = standings
        .iter()
        .filter(|(other, _)| **other != standing)
        .flat_map(|(_, procedures)| procedures.iter().map(|procedure| procedure.name.as_str()))
        .collect();
    let spelled = |procedure: &&Procedure| match others.contains(procedure.name.as_str()) {
        true => format!("`{}({})`", procedure.name, procedure.types.join(", ")),
        false => format!("`{}`", procedure.name),
    };
    here.iter().map(spelled).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}
