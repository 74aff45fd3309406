//! The house is in order: imports point down, and a file is one room.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Which rooms a room may know, besides `error` and `config`, which all know. Whoever adds an arrow thinks about it here.
const ARROWS: &[(&str, &[&str])] = &[
    ("access", &["rollout"]),
    ("alert", &[]),
    ("audit", &["access", "telemetry"]),
    ("benchmark", &["access", "cache", "query", "rollout"]),
    ("cache", &[]),
    (
        "cli",
        &[
            "access",
            "alert",
            "audit",
            "benchmark",
            "cache",
            "engine",
            "output",
            "postgres",
            "query",
            "rollout",
            "server",
            "snapshot",
            "sql",
            "store",
            "telemetry",
        ],
    ),
    ("config", &[]),
    ("engine", &["access", "sql", "store", "telemetry"]),
    ("error", &[]),
    ("output", &["sql"]),
    ("postgres", &[]),
    ("query", &["access", "alert", "audit", "cache", "engine", "postgres", "rollout", "sql", "store", "telemetry"]),
    ("rollout", &["output", "sql"]),
    ("server", &["access", "audit", "cache", "output", "query", "rollout", "sql", "store", "telemetry"]),
    ("snapshot", &["postgres", "store"]),
    ("sql", &[]),
    ("store", &[]),
    ("telemetry", &[]),
];
/// Past this, something is wrong.
const LINES_MAX: usize = 600;

#[test]
fn imports_point_down() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let Some(room) = room_of(&path) else { continue };
        let Some(allowed) = arrows.get(room.as_str()) else {
            wrong.push(format!("{}: room {room} is not in the table", path.display()));
            continue;
        };
        for known in rooms_named_in(&text) {
            let free = known == room || known == "error" || known == "config";
            if !free && !allowed.contains(&known.as_str()) {
                wrong.push(format!("{}: {room} must not know {known}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_of_arrows_has_no_circle() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    fn visit<'a>(room: &'a str, arrows: &BTreeMap<&'a str, &'a [&'a str]>, above: &mut Vec<&'a str>) {
        assert!(!above.contains(&room), "{} → {room} is a circle", above.join(" → "));
        above.push(room);
        for below in arrows[room] {
            visit(below, arrows, above);
        }
        above.pop();
    }
    for room in arrows.keys() {
        visit(room, &arrows, &mut Vec::new());
    }
}

#[test]
fn a_file_is_one_room() {
    for path in sources() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        // Tests are data, and grow with what users rely on.
        let is_tests = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        assert!(is_tests || lines <= LINES_MAX, "{} has {lines} lines", path.display());
    }
}

#[test]
fn every_room_says_what_it_owns_and_must_not_know() {
    for (room, _) in ARROWS {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{room}.rs"))).unwrap();
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(head.len() > 80, "src/{room}.rs does not say what it is");
    }
}

/// `use crate::room::…`, `use crate::{room, other::…}` and `crate::room::…` in the code.
fn rooms_named_in(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (index, _) in text.match_indices("crate::") {
        let rest = &text[index + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_usize;
            let mut word = String::new();
            for letter in group.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => drop(rooms.insert(std::mem::take(&mut word))),
                    letter if depth == 0 => word.push(letter),
                    _ => {}
                }
            }
            rooms.insert(word);
        } else {
            rooms.insert(rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect());
        }
    }
    let names = rooms.iter().map(|word| {
        let name: String =
            word.trim().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        name
    });
    // Lower-case names are rooms; macros and types of the crate's root there are none.
    names.filter(|name| name.starts_with(|letter: char| letter.is_ascii_lowercase())).collect()
}

fn room_of(path: &Path) -> Option<String> {
    let relative = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).ok()?;
    let first = relative.iter().next()?.to_str()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(room, "lib" | "main")).then(|| room.to_owned())
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}
