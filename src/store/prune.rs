//! Removing the files that no kept snapshot needs: mark and sweep over the kept manifests, with a grace.

use std::{collections::HashSet, time::Duration};

use chrono::Utc;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::{Store, TABLES, file, from_object_store};
use crate::error::{Code, Result};

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub struct PruneOptions {
    /// So many of the newest versions keep their files; at least one does.
    pub versions_kept: usize,
    /// Younger files are kept whatever refers to them, since a run may be writing them or a query reading them: longer than
    /// any run and any query.
    pub grace: Duration,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Removes data files that none of the newest versions refers to and that are older than the grace.
    ///
    /// The newest version that is readable counts as kept even where newer manifests are broken. Manifests stay.
    pub async fn prune(&self, options: PruneOptions) -> Result<Pruned> {
        let mut kept = HashSet::new();
        let mut whole = 0;
        for version in self.versions().await? {
            if whole == options.versions_kept.max(1) {
                break;
            }
            match self.manifest(version).await {
                Ok(manifest) => {
                    whole += 1;
                    let files = manifest.tables.iter().flat_map(|table| &table.files);
                    kept.extend(files.map(|file| self.file_path(&file.path)));
                }
                // A broken manifest keeps nothing, and takes no version's place.
                Err(error) if error.code() == Code::CorruptStore => {}
                Err(error) => return Err(error),
            }
        }

        let listed = |error| from_object_store("cannot list the store's files", error);
        let grace = chrono::Duration::from_std(options.grace).unwrap_or(chrono::Duration::MAX);
        let oldest_kept = Utc::now().checked_sub_signed(grace);
        let mut pruned = Pruned::default();
        let mut garbage: Vec<Path> = Vec::new();
        let mut objects = self.objects.list(Some(&self.file_path(TABLES)));
        while let Some(object) = objects.try_next().await.map_err(listed)? {
            let old = oldest_kept.is_some_and(|limit| object.last_modified < limit);
            if old && !kept.contains(&object.location) {
                pruned.files += 1;
                pruned.bytes += object.size;
                garbage.push(object.location);
            }
        }
        drop(objects);
        let stream = futures::stream::iter(garbage.into_iter().map(Ok)).boxed();
        self.objects
            .delete_stream(stream)
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(|error| from_object_store("cannot remove old files", error))?;
        if let Some(root) = &self.local {
            file::remove_empty_folders(&root.join(TABLES));
        }
        Ok(pruned)
    }

    /// Whether the files of a version are still there; its manifest always is.
    pub async fn is_readable(&self, manifest: &super::Manifest) -> bool {
        let mut paths = Vec::new();
        for table in &manifest.tables {
            paths.extend(table.files.iter().map(|file| (self.clone(), self.file_path(&file.path))));
        }
        futures::stream::iter(paths)
            .map(|(store, path)| async move { store.objects.head(&path).await.is_ok() })
            .buffer_unordered(super::REQUESTS_MAX)
            .all(std::future::ready)
            .await
    }
}
