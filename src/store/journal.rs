//! Numbered documents of the store: small, made once, never changed. The greatest number is what holds.
//!
//! Two writers that both saw number 7 both try to make number 8, of which one succeeds; the other looks again. So a change is never lost
//! and nobody needs a lock.

use bytes::Bytes;
use futures::TryStreamExt;

use super::{Store, from_object_store};
use crate::error::{Code, Error, Result};

/// A folder of numbered documents. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    store: Store,
    folder: &'static str,
}

impl Store {
    /// The journal in `folder` below the root.
    #[must_use]
    pub fn journal(&self, folder: &'static str) -> Journal {
        Journal { store: self.clone(), folder }
    }
}

impl Journal {
    /// The numbers that there are, greatest first.
    pub async fn numbers(&self) -> Result<Vec<u64>> {
        let folder = self.store.file_path(self.folder);
        let mut numbers: Vec<u64> = self
            .store
            .objects
            .list(Some(&folder))
            .try_filter_map(|object| async move { Ok(object.location.filename().and_then(number_of)) })
            .try_collect()
            .await
            .map_err(|error| from_object_store("cannot list a journal", error))?;
        numbers.sort_unstable_by(|left, right| right.cmp(left));
        Ok(numbers)
    }

    /// The document of this number, if there is one.
    pub async fn read(&self, number: u64) -> Result<Option<Bytes>> {
        match self.store.get(&self.store.file_path(&self.path(number))).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.code() == Code::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the document of this number; false when somebody else has made one. No two documents may be the same bytes.
    pub async fn add(&self, number: u64, document: Bytes) -> Result<bool> {
        let path = self.store.file_path(&self.path(number));
        if self.store.create_if_absent(&path, document.clone()).await? {
            return Ok(true);
        }
        // A reply that was lost on the way makes our own success look like somebody else's.
        let made = self.read(number).await?;
        let made = made.ok_or_else(|| Error::internal(format!("{path} was there, and then was not")))?;
        Ok(made == document)
    }

    fn path(&self, number: u64) -> String {
        format!("{}/{number:020}.json", self.folder)
    }
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json").filter(|digits| digits.len() == 20)?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_number_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap(), []).unwrap();
        let journal = store.journal("rollout");
        assert_eq!(journal.numbers().await.unwrap(), [0; 0]);
        assert_eq!(journal.read(1).await.unwrap(), None);
        assert!(journal.add(1, Bytes::from_static(b"one")).await.unwrap());
        assert!(!journal.add(1, Bytes::from_static(b"another")).await.unwrap());
        assert!(journal.add(1, Bytes::from_static(b"one")).await.unwrap(), "our own, of which the reply was lost");
        assert!(journal.add(12, Bytes::from_static(b"twelve")).await.unwrap());
        assert_eq!(journal.numbers().await.unwrap(), [12, 1]);
        assert_eq!(journal.read(12).await.unwrap().as_deref(), Some(&b"twelve"[..]));
    }
}
