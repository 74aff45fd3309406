//! The store: an object-store root that holds snapshots.
//!
//! Owns: the [`Manifest`] and its versions; publishing, opening, verifying and pruning; the bytes of data files.
//! Must not know: Postgres, SQL.
//!
//! ```text
//! <root>/store.json                                      who this store is, made once
//! <root>/manifests/<20-digit version>.json               immutable; kept, small, even after its files are pruned
//! <root>/tables/<schema>.<table>/<run id>/part-<n>.parquet
//! <root>/certificates/<20-digit version>-<run id>.json  whether the engine answers as Postgres does, as of that snapshot
//! <root>/rollout/<20-digit number>.json                which query runs where; the greatest number holds
//! ```
//!
//! A snapshot *is* its manifest: data files are written first, under the run's own folder, and nothing refers to them until the
//! manifest of the next version is created, if absent, in one atomic step. So a reader sees a whole snapshot or the one before,
//! whatever was killed when.

mod certificates;
mod file;
mod journal;
mod manifest;
mod parquet_footer;
mod prune;

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use crate::error::{Code, Error, Result};

pub use file::{DataFileWriter, FinishedFile};
pub use journal::Journal;
pub use manifest::{
    Collation, Column, ColumnStatistics, ColumnType, DataFile, Digest, Fidelity, ForeignKey, Manifest, RunId,
    SnapshotVersion, SourceIdentity, Table, TableMode, TableName, Treatment,
};
pub use parquet_footer::FileSummary;
pub use prune::{PruneOptions, Pruned};

/// How many store requests one operation keeps in flight.
const REQUESTS_MAX: usize = 16;
const MANIFESTS: &str = "manifests";
const TABLES: &str = "tables";
const IDENTITY: &str = "store.json";

/// How far a snapshot is verified before it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Every file is there and has its size, and its footer is as recorded.
    Footers,
    /// Every byte of every file hashes to what the manifest says.
    Full,
}

/// Where snapshots live. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    url: Url,
    local: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    format: u32,
    id: String,
}

impl Store {
    /// Opens the store at `location`: a folder, `file://…`, `s3://bucket/prefix`, `gs://…` or `az://…`.
    ///
    /// `options` are the object store's own settings (`aws_region`, …), as `object_store` names them. A local folder that does
    /// not exist is made.
    pub fn open(location: &str, options: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let location = location.trim();
        if location.is_empty() {
            return Err(Error::new(Code::InvalidConfig, "the store's location is empty")
                .with_hint("give a folder or a URL, for example --store data/store or --store s3://bucket/prefix"));
        }
        match location.split_once("://") {
            None => Self::open_folder(PathBuf::from(location)),
            Some(("file", _)) => {
                let folder = Url::parse(location).ok().and_then(|url| url.to_file_path().ok()).ok_or_else(|| {
                    Error::new(Code::InvalidConfig, format!("store {location:?} is not a file URL"))
                        .with_hint("write file:///absolute/path, or the path alone")
                })?;
                Self::open_folder(folder)
            }
            Some(_) => Self::open_remote(location, options),
        }
    }

    fn open_folder(folder: PathBuf) -> Result<Self> {
        let unusable = |error: std::io::Error| {
            Error::new(Code::InvalidConfig, format!("store folder {} cannot be used: {error}", folder.display()))
                .with_hint("check that the path is a folder that this user may write")
                .with_cause(error)
        };
        file::create_private_folders(&folder).map_err(unusable)?;
        let folder = folder.canonicalize().map_err(unusable)?;
        let objects = object_store::local::LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| from_object_store("cannot open the store", error))?;
        let url = Url::from_directory_path(&folder).map_err(|()| {
            Error::new(Code::InvalidConfig, format!("store folder {} is not absolute", folder.display()))
        })?;
        Ok(Self { objects: Arc::new(objects), prefix: Path::default(), url, local: Some(folder) })
    }

    fn open_remote(location: &str, options: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let hint =
            "a store is a folder or a URL: file://, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix";
        let url = Url::parse(location).map_err(|error| {
            Error::new(Code::InvalidConfig, format!("store {location:?} is not a URL: {error}")).with_hint(hint)
        })?;
        let (objects, prefix) = object_store::parse_url_opts(&url, options).map_err(|error| {
            Error::new(Code::InvalidConfig, format!("store {location:?} cannot be used: {error}"))
                .with_hint(hint)
                .with_cause(error)
        })?;
        Ok(Self { objects: Arc::from(objects), prefix, url, local: None })
    }

    /// Where it is, for messages and logs. Holds no secret: credentials come from the options.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The underlying object store; data files' paths come from [`Store::file_path`].
    #[must_use]
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The full object path of a path that a manifest records relative to the root.
    #[must_use]
    pub fn file_path(&self, relative: &str) -> Path {
        self.prefix.parts().chain(Path::from(relative).parts()).collect()
    }

    /// The identity of this store, the same for every node that shares it; made on first use.
    pub async fn id(&self) -> Result<String> {
        let path = self.file_path(IDENTITY);
        let fresh = Identity { format: 1, id: Uuid::now_v7().to_string() };
        let body = serde_json::to_vec(&fresh).expect("an identity is plain data");
        if self.create_if_absent(&path, body.into()).await? {
            return Ok(fresh.id);
        }
        let bytes = self.get(&path).await?;
        let identity: Identity = serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(Code::CorruptStore, format!("{path} in {} is not a store's identity", self.url))
                .with_cause(error)
        })?;
        Ok(identity.id)
    }

    /// The versions that have a manifest, newest first.
    pub async fn versions(&self) -> Result<Vec<SnapshotVersion>> {
        let folder = self.file_path(MANIFESTS);
        let mut versions: Vec<SnapshotVersion> = self
            .objects
            .list(Some(&folder))
            .try_filter_map(
                |object| async move { Ok(object.location.filename().and_then(SnapshotVersion::from_file_name)) },
            )
            .try_collect()
            .await
            .map_err(|error| from_object_store("cannot list the snapshots", error))?;
        versions.sort_unstable_by(|left, right| right.cmp(left));
        Ok(versions)
    }

    /// The manifest of one version, its digest checked; its files may have been pruned.
    pub async fn manifest(&self, version: SnapshotVersion) -> Result<Manifest> {
        let path = self.file_path(&format!("{MANIFESTS}/{}", version.file_name()));
        let bytes = match self.objects.get(&path).await {
            Ok(found) => found.bytes().await.map_err(|error| from_object_store("cannot read a manifest", error))?,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(Error::new(Code::SnapshotNotFound, format!("there is no snapshot {version}"))
                    .with_hint("GET /v1/snapshots lists those that there are"));
            }
            Err(error) => return Err(from_object_store("cannot read a manifest", error)),
        };
        let manifest = Manifest::from_bytes(&bytes).map_err(|error| error.context(format!("snapshot {version}")))?;
        if manifest.version != version {
            return Err(Error::new(
                Code::CorruptStore,
                format!("the manifest of snapshot {version} says that it is snapshot {}", manifest.version),
            ));
        }
        Ok(manifest)
    }

    /// The newest snapshot that verifies, or none when nothing has been published.
    ///
    /// Versions that do not verify are logged and passed over; when there are versions and none verifies, that is an error.
    pub async fn newest(&self, verification: Verification) -> Result<Option<Manifest>> {
        let mut broken = None;
        for version in self.versions().await? {
            let opened = match self.manifest(version).await {
                Ok(manifest) => self.verify(&manifest, verification).await.map(|()| manifest),
                Err(error) => Err(error),
            };
            match opened {
                Ok(manifest) => return Ok(Some(manifest)),
                Err(error) if matches!(error.code(), Code::CorruptStore | Code::SnapshotNotFound) => {
                    tracing::error!(%version, error = %error.chain(), "a snapshot does not verify; trying the one before");
                    broken.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        broken.map_or(Ok(None), Err)
    }

    /// Checks that a snapshot's files are what its manifest says.
    pub async fn verify(&self, manifest: &Manifest, verification: Verification) -> Result<()> {
        // Owned, so that the stream borrows nothing and its future can move between threads.
        let mut files = Vec::new();
        for table in &manifest.tables {
            files.extend(table.files.iter().map(|file| (self.clone(), table.name.clone(), file.clone())));
        }
        futures::stream::iter(files)
            .map(|(store, table, file)| async move {
                let verified = store.verify_file(&file, verification).await;
                verified.map_err(|error| error.context(format!("table {table}, file {}", file.path)))
            })
            .buffer_unordered(REQUESTS_MAX)
            .try_collect()
            .await
    }

    /// Checks one data file against what the manifest records of it.
    pub async fn verify_file(&self, file: &DataFile, verification: Verification) -> Result<()> {
        let path = self.file_path(&file.path);
        let found = self.objects.head(&path).await.map_err(|error| match error {
            object_store::Error::NotFound { .. } => {
                Error::new(Code::SnapshotNotFound, "the file is gone: pruned or removed")
            }
            error => from_object_store("cannot look at the file", error),
        })?;
        if found.size != file.bytes {
            return Err(Error::new(
                Code::CorruptStore,
                format!("the file has {} bytes, the manifest says {}", found.size, file.bytes),
            ));
        }
        match verification {
            Verification::Footers => {
                let rows = parquet_footer::row_count(&self.objects, &path, file.bytes, file.footer_bytes).await?;
                if rows != file.rows {
                    return Err(Error::new(
                        Code::CorruptStore,
                        format!("the file has {rows} rows, the manifest says {}", file.rows),
                    ));
                }
            }
            Verification::Full => {
                let hash = self.hash(&path).await?;
                if hash != file.blake3 {
                    return Err(Error::new(
                        Code::CorruptStore,
                        format!("the file's bytes hash to {hash}, the manifest says {}", file.blake3),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Publishes `manifest` as its version, in one atomic step.
    ///
    /// The version was chosen when the run began, as the one after the newest. If somebody has published it since, this is
    /// [`Code::Conflict`]: a writer that was stopped and resumed loses, and cannot overwrite what came after it.
    pub async fn publish(&self, manifest: &Manifest) -> Result<()> {
        let path = self.file_path(&format!("{MANIFESTS}/{}", manifest.version.file_name()));
        if self.create_if_absent(&path, manifest.to_bytes().into()).await? {
            return Ok(());
        }
        // A reply that was lost on the way makes our own success look like somebody else's: the run id tells.
        let published = self.manifest(manifest.version).await?;
        if published.run_id == manifest.run_id {
            return Ok(());
        }
        Err(Error::new(
            Code::Conflict,
            format!("snapshot {} was published by run {} meanwhile", manifest.version, published.run_id),
        )
        .with_detail(format!(
            "run {} began before that and is given up; what it wrote will be pruned",
            manifest.run_id
        )))
    }

    /// Opens a new data file of `run` for writing.
    pub fn create_file(&self, table: &TableName, run: RunId, part: u32) -> Result<DataFileWriter> {
        let relative = format!("{TABLES}/{}/{run}/part-{part}.parquet", table.folder());
        match &self.local {
            Some(root) => DataFileWriter::local(root, relative),
            None => Ok(DataFileWriter::remote(Arc::clone(&self.objects), self.file_path(&relative), relative)),
        }
    }

    /// Reads a finished file back and summarises it: what is recorded in the manifest comes from what the store holds.
    ///
    /// Fails with [`Code::CorruptStore`] when the bytes read are not the bytes written.
    pub async fn read_back(&self, file: &FinishedFile) -> Result<FileSummary> {
        let path = self.file_path(&file.path);
        let hash = self.hash(&path).await?;
        if hash != file.blake3 {
            return Err(Error::new(
                Code::CorruptStore,
                format!("{} was read back with other bytes than written", file.path),
            )
            .with_hint("the store loses or changes data; check its disk or provider"));
        }
        parquet_footer::summary(&self.objects, &path, file.bytes).await
    }

    /// Removes everything that a failed run has written. Best effort: what stays is pruned later.
    pub async fn discard_run(&self, run: RunId) {
        let folder = run.to_string();
        let of_run = move |path: &Path| path.parts().any(|part| part.as_ref() == folder);
        let tables = self.file_path(TABLES);
        let found = self
            .objects
            .list(Some(&tables))
            .try_filter_map(move |object| std::future::ready(Ok(of_run(&object.location).then_some(object.location))))
            .boxed();
        let removed: Result<Vec<Path>, _> = self.objects.delete_stream(found).try_collect().await;
        if let Err(error) = removed {
            tracing::warn!(%run, %error, "cannot remove a failed run's files; pruning will");
        }
        if let Some(root) = &self.local {
            file::remove_empty_folders(&root.join(TABLES));
        }
    }

    async fn hash(&self, path: &Path) -> Result<Digest> {
        let unreadable = |error| from_object_store("cannot read the file", error);
        let mut chunks = self.objects.get(path).await.map_err(unreadable)?.into_stream();
        let mut hasher = blake3::Hasher::new();
        while let Some(chunk) = chunks.try_next().await.map_err(unreadable)? {
            hasher.update(&chunk);
        }
        Ok(Digest::from(hasher.finalize()))
    }

    async fn get(&self, path: &Path) -> Result<Bytes> {
        let unreadable = |error| from_object_store("cannot read from the store", error);
        self.objects.get(path).await.map_err(unreadable)?.bytes().await.map_err(unreadable)
    }

    /// Creates an object unless there is one; says whether it did. Durable when it returns.
    async fn create_if_absent(&self, path: &Path, body: Bytes) -> Result<bool> {
        if let Some(root) = &self.local {
            let target = root.join(path.as_ref());
            return tokio::task::spawn_blocking(move || file::create_durably(&target, &body))
                .await
                .map_err(|error| Error::internal("a file writer stopped").with_cause(error))?;
        }
        let options = PutOptions { mode: PutMode::Create, ..Default::default() };
        match self.objects.put_opts(path, PutPayload::from(body), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(error @ object_store::Error::NotImplemented { .. }) => Err(Error::new(
                Code::InvalidConfig,
                format!("store {} cannot create an object only if it is absent", self.url),
            )
            .with_hint("use a store with conditional writes; for S3-compatible ones set aws_conditional_put = \"etag\"")
            .with_cause(error)),
            Err(error) => Err(from_object_store("cannot write to the store", error)),
        }
    }

    /// Proves that the store honours create-if-absent, on which publishing rests; some S3 look-alikes ignore the condition.
    pub async fn probe(&self) -> Result<()> {
        if self.local.is_some() {
            return Ok(());
        }
        let path = self.file_path(&format!("probes/{}", Uuid::now_v7()));
        let first = self.create_if_absent(&path, Bytes::from_static(b"first")).await?;
        let second = self.create_if_absent(&path, Bytes::from_static(b"second")).await;
        // Best effort: a probe that stays costs five bytes.
        drop(self.objects.delete(&path).await);
        if first && !second? {
            return Ok(());
        }
        Err(Error::new(
            Code::InvalidConfig,
            format!("store {} ignores create-if-absent: two writers could both publish the same version", self.url),
        )
        .with_hint("use a store that honours If-None-Match: * on PUT"))
    }
}

fn from_object_store(doing: &str, error: object_store::Error) -> Error {
    let code = match &error {
        object_store::Error::NotFound { .. } => Code::NotFound,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            Code::InvalidConfig
        }
        _ => Code::Unavailable,
    };
    Error::new(code, format!("{doing}: {error}")).with_cause(error)
}
