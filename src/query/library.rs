//! The folder of named queries, read again when it changes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use arc_swap::ArcSwap;

use super::named::{NamedQuery, names_of};
use crate::{
    error::{Code, Error, Result},
    sql::StatementLimits,
};

/// Longer files are not queries that a person wrote.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// All named queries, and what is wrong with the files that are not.
#[derive(Debug)]
pub struct Library {
    folder: PathBuf,
    limits: StatementLimits,
    current: ArcSwap<Catalog>,
    /// Counts the states of the folder.
    generation: AtomicU64,
    /// What the folder looked like when it was last read.
    seen: Mutex<Fingerprint>,
}

/// One state of the folder.
#[derive(Debug, Default)]
pub struct Catalog {
    /// By dashboard and name.
    pub queries: BTreeMap<(String, String), Arc<NamedQuery>>,
    /// Files that cannot be used as they are now, and why; where the query had a good version before, that one is kept.
    pub broken: BTreeMap<PathBuf, Error>,
}

type Fingerprint = BTreeMap<PathBuf, (SystemTime, u64)>;

impl Library {
    /// Reads `folder`; one that does not exist has no queries yet.
    #[must_use]
    pub fn open(folder: PathBuf, limits: StatementLimits) -> Self {
        let library =
            Self { folder, limits, current: ArcSwap::default(), generation: AtomicU64::new(0), seen: Mutex::default() };
        library.reload();
        library
    }

    /// The queries as of now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    /// Grows whenever a query may have changed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// One query; where there is none, the error names those that there are.
    pub fn get(&self, dashboard: &str, name: &str) -> Result<Arc<NamedQuery>> {
        let catalog = self.current.load();
        if let Some(query) = catalog.queries.get(&(dashboard.to_owned(), name.to_owned())) {
            return Ok(Arc::clone(query));
        }
        let path = Path::new(dashboard).join(format!("{name}.sql"));
        if let Some(error) = catalog.broken.get(&path) {
            return Err(Error::new(Code::Unavailable, format!("query {dashboard}/{name} is broken: {error}"))
                .with_hint("mend its file; pilaster check says what is wrong"));
        }
        let error = Error::new(Code::NotFound, format!("there is no query {dashboard}/{name}"));
        let siblings = catalog.dashboard(dashboard);
        if !siblings.is_empty() {
            let names: Vec<&str> = siblings.iter().map(|query| query.name.as_str()).collect();
            return Err(error.with_hint(format!("dashboard {dashboard} has {}", names.join(", "))));
        }
        Err(error.with_hint(match catalog.dashboards().as_slice() {
            [] => format!("the folder {} has no queries", self.folder.display()),
            dashboards => format!("the dashboards are {}", dashboards.join(", ")),
        }))
    }

    /// Reads the folder again if a file in it has changed; says whether it had.
    pub fn reload(&self) -> bool {
        let fingerprint = fingerprint(&self.folder);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == fingerprint && !self.current.load().is_empty() {
            return false;
        }
        let changed = *seen != fingerprint;
        let before = self.current.load_full();
        let catalog = self.read(&fingerprint, &before);
        for (path, error) in &catalog.broken {
            if before.broken.get(path).map(Error::message) != Some(error.message()) {
                let kept =
                    names_of(path).is_some_and(|(dashboard, name, _)| catalog.queries.contains_key(&(dashboard, name)));
                tracing::error!(file = %path.display(), %error, hint = error.hint(), kept, "a query's file cannot be used");
            }
        }
        *seen = fingerprint;
        self.current.store(Arc::new(catalog));
        self.generation.fetch_add(1, Ordering::Release);
        changed
    }

    fn read(&self, files: &Fingerprint, before: &Catalog) -> Catalog {
        let mut catalog = Catalog::default();
        let mut variants = Vec::new();
        for path in files.keys() {
            let Some((dashboard, name, is_postgres)) = names_of(path) else { continue };
            if is_postgres {
                variants.push((path, dashboard, name));
                continue;
            }
            let key = (dashboard, name);
            match self.text(path).and_then(|text| NamedQuery::parse(&key.0, &key.1, &text, self.limits)) {
                Ok(query) => drop(catalog.queries.insert(key, Arc::new(query))),
                Err(error) => {
                    catalog.broken.insert(path.clone(), error);
                    // A typo in an editor must not take a dashboard down.
                    if let Some(good) = before.queries.get(&key) {
                        catalog.queries.insert(key, Arc::clone(good));
                    }
                }
            }
        }
        for (path, dashboard, name) in variants {
            let key = (dashboard, name);
            let Some(query) = catalog.queries.get(&key) else {
                let error = Error::new(Code::InvalidConfig, "there is no query beside this variant of it");
                catalog.broken.insert(path.clone(), error.with_hint(format!("add {}/{}.sql", key.0, key.1)));
                continue;
            };
            let variant = self.text(path).and_then(|text| NamedQuery::clone(query).with_postgres(&text, self.limits));
            match variant {
                Ok(query) => drop(catalog.queries.insert(key, Arc::new(query))),
                Err(error) => drop(catalog.broken.insert(path.clone(), error)),
            }
        }
        catalog
    }

    fn text(&self, path: &Path) -> Result<String> {
        let full = self.folder.join(path);
        let unreadable = |error: std::io::Error| {
            Error::new(Code::InvalidConfig, format!("the file cannot be read: {error}")).with_cause(error)
        };
        let length = fs::metadata(&full).map_err(unreadable)?.len();
        if length > FILE_BYTES_MAX {
            return Err(Error::new(Code::InvalidConfig, format!("the file has {length} bytes, too many for a query")));
        }
        fs::read_to_string(&full).map_err(unreadable)
    }
}

impl Catalog {
    /// The dashboards, by name.
    #[must_use]
    pub fn dashboards(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.queries.keys().map(|(dashboard, _)| dashboard.as_str()).collect();
        names.dedup();
        names
    }

    /// The queries of one dashboard, by name.
    #[must_use]
    pub fn dashboard(&self, dashboard: &str) -> Vec<&Arc<NamedQuery>> {
        self.queries.values().filter(|query| query.dashboard == dashboard).collect()
    }

    fn is_empty(&self) -> bool {
        self.queries.is_empty() && self.broken.is_empty()
    }
}

/// Every query's file with its time and size, relative to the folder. Two levels deep, as queries are.
fn fingerprint(folder: &Path) -> Fingerprint {
    let mut found = Fingerprint::new();
    let dashboards = fs::read_dir(folder).into_iter().flatten().flatten();
    for dashboard in dashboards {
        for file in fs::read_dir(dashboard.path()).into_iter().flatten().flatten() {
            let relative = Path::new(&dashboard.file_name()).join(file.file_name());
            if let (Some(_), Ok(metadata)) = (names_of(&relative), fs::metadata(file.path())) {
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.insert(relative, (modified, metadata.len()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StatementLimits = StatementLimits { bytes_max: 10_000, tokens_max: 1_000 };

    fn write(folder: &Path, path: &str, text: &str) {
        let full = folder.join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, text).unwrap();
    }

    #[test]
    fn a_broken_file_keeps_the_last_good_one() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a/one.sql", "SELECT 1 AS x");
        write(folder.path(), "a/notes.txt", "not a query");
        let library = Library::open(folder.path().to_owned(), LIMITS);
        assert_eq!(library.get("a", "one").unwrap().sql.text(), "SELECT 1 AS x");
        assert!(!library.reload(), "nothing has changed");

        write(folder.path(), "a/one.sql", "SELEC 1 AS broken");
        assert!(library.reload());
        assert_eq!(library.get("a", "one").unwrap().sql.text(), "SELECT 1 AS x");
        assert!(library.catalog().broken.contains_key(Path::new("a/one.sql")));

        write(folder.path(), "a/one.sql", "SELECT 2 AS mended");
        assert!(library.reload());
        assert_eq!(library.get("a", "one").unwrap().sql.text(), "SELECT 2 AS mended");
        assert!(library.catalog().broken.is_empty());

        fs::remove_file(folder.path().join("a/one.sql")).unwrap();
        assert!(library.reload());
        assert_eq!(library.get("a", "one").unwrap_err().code(), Code::NotFound);
    }

    #[test]
    fn what_is_not_there_names_what_is() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a/one.sql", "SELECT 1 AS x");
        write(folder.path(), "a/bad.sql", "SELEC");
        let library = Library::open(folder.path().to_owned(), LIMITS);
        let check = |dashboard: &str, name: &str, code: Code, expect: &str| {
            let error = library.get(dashboard, name).unwrap_err();
            assert_eq!(error.code(), code);
            assert!(error.hint().unwrap().contains(expect), "{:?}", error.hint());
        };
        check("a", "two", Code::NotFound, "dashboard a has one");
        check("b", "one", Code::NotFound, "the dashboards are a");
        check("a", "bad", Code::Unavailable, "pilaster check");
    }

    #[test]
    fn a_variant_for_postgres_stands_beside_its_query() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a/one.sql", "-- @param x int4\nSELECT $x AS x");
        write(folder.path(), "a/one.postgres.sql", "SELECT $x + 0 AS x");
        write(folder.path(), "a/lost.postgres.sql", "SELECT 1");
        let library = Library::open(folder.path().to_owned(), LIMITS);
        assert_eq!(library.get("a", "one").unwrap().for_postgres().text(), "SELECT $x + 0 AS x");
        assert_eq!(library.catalog().broken.len(), 1);
    }
}
