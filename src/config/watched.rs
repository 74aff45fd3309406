//! A file that is read again when it changes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// A file, and what it was like when it was read last.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    seen: Mutex<Stamp>,
}

/// When it was written, and how long it is; none for a file that is not there.
type Stamp = Option<(SystemTime, u64)>;

impl Watched {
    /// A file as it is now. Look before reading: what changes in between is then seen as changed.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let seen = Mutex::new(stamp(&path));
        Self { path, seen }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has changed since this was asked last.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        let now = stamp(&self.path);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *seen, now) != now
    }
}

fn stamp(path: &Path) -> Stamp {
    let data = fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = Watched::new(path.clone());
        assert!(!file.has_changed());
        fs::write(&path, "a").unwrap();
        assert!(file.has_changed());
        assert!(!file.has_changed());
        fs::write(&path, "ab").unwrap();
        assert!(file.has_changed());
        fs::remove_file(&path).unwrap();
        assert!(file.has_changed());
        assert!(!file.has_changed());
    }
}
