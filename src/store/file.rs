//! Bytes on their way into the store: data files, and files that appear whole or not at all.
//!
//! `object_store` creates local files by a hard link but never fsyncs, so after a power cut a published manifest could name
//! files that are not there. Local files are therefore written here: write, fsync, link, fsync the folder.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{Digest, from_object_store};
use crate::error::{Code, Error, Result};

/// How much of a remote file may be on its way at once, in parts of [`PART_BYTES`].
const PARTS_IN_FLIGHT: usize = 4;
const PART_BYTES: usize = 8 << 20;
/// How often a file's folders are made anew that somebody else has removed.
const CREATE_TRIES_MAX: usize = 100;

/// A data file being written. A blocking [`Write`]: use it on a blocking thread. Files of runs that fail are removed by
/// [`super::Store::discard_run`].
pub struct DataFileWriter {
    relative: String,
    bytes: u64,
    hasher: blake3::Hasher,
    sink: Sink,
}

enum Sink {
    Local {
        file: File,
        path: PathBuf,
    },
    Remote {
        objects: Arc<dyn ObjectStore>,
        path: object_store::path::Path,
        upload: Option<WriteMultipart>,
        runtime: Handle,
    },
}

/// A data file that is in the store, durably.
#[derive(Clone, Debug)]
pub struct FinishedFile {
    /// Relative to the store's root.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Of the bytes as they were written.
    pub blake3: Digest,
}

impl DataFileWriter {
    pub(super) fn local(root: &Path, relative: String) -> Result<Self> {
        let path = root.join(&relative);
        let file = create_with_folders(&path).map_err(|error| unwritable(&path, error))?;
        Ok(Self { relative, bytes: 0, hasher: blake3::Hasher::new(), sink: Sink::Local { file, path } })
    }

    /// Must be called within a tokio runtime, which then carries the upload.
    pub(super) fn remote(objects: Arc<dyn ObjectStore>, path: object_store::path::Path, relative: String) -> Self {
        let sink = Sink::Remote { objects, path, upload: None, runtime: Handle::current() };
        Self { relative, bytes: 0, hasher: blake3::Hasher::new(), sink }
    }

    /// Makes the file durable. Blocking, as the writes are.
    pub fn finish(self) -> Result<FinishedFile> {
        match self.sink {
            Sink::Local { file, path } => {
                file.sync_all().and_then(|()| sync_folder_of(&path)).map_err(|error| unwritable(&path, error))?;
            }
            Sink::Remote { objects, path, upload, runtime } => {
                let failed = |error| from_object_store("cannot write to the store", error);
                match upload {
                    Some(upload) => drop(runtime.block_on(upload.finish()).map_err(failed)?),
                    None => drop(runtime.block_on(objects.put(&path, Vec::new().into())).map_err(failed)?),
                }
            }
        }
        Ok(FinishedFile { path: self.relative, bytes: self.bytes, blake3: Digest::from(self.hasher.finalize()) })
    }
}

impl Write for DataFileWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = match &mut self.sink {
            Sink::Local { file, .. } => file.write(buffer)?,
            Sink::Remote { objects, path, upload, runtime } => {
                let upload = match upload {
                    Some(upload) => upload,
                    None => {
                        let multipart = runtime.block_on(objects.put_multipart(path)).map_err(io::Error::other)?;
                        upload.insert(WriteMultipart::new_with_chunk_size(multipart, PART_BYTES))
                    }
                };
                runtime.block_on(upload.wait_for_capacity(PARTS_IN_FLIGHT)).map_err(io::Error::other)?;
                // The upload spawns its parts on the runtime that is entered here.
                let _entered = runtime.enter();
                upload.write(buffer);
                buffer.len()
            }
        };
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Creates `target` with `body` unless it is there; says whether it did. It appears whole, and survives a power cut.
pub(super) fn create_durably(target: &Path, body: &[u8]) -> Result<bool> {
    let folder = target.parent().unwrap_or(Path::new("/"));
    create_private_folders(folder).map_err(|error| unwritable(folder, error))?;
    let draft = folder.join(format!(".draft-{}", Uuid::new_v4()));
    let created = write_and_link(&draft, target, body);
    // The draft is a second name of the file by now, or of no use.
    drop(fs::remove_file(&draft));
    created
}

fn write_and_link(draft: &Path, target: &Path, body: &[u8]) -> Result<bool> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)
        .map_err(|error| unwritable(draft, error))?;
    file.write_all(body).and_then(|()| file.sync_all()).map_err(|error| unwritable(draft, error))?;
    match fs::hard_link(draft, target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
            return Err(Error::new(
                Code::InvalidConfig,
                format!(
                    "the file system of {} does not make hard links, which publishing a snapshot needs",
                    target.display()
                ),
            )
            .with_hint("put the store on a local file system (ext4, xfs, …), or use an object store")
            .with_cause(error));
        }
        Err(error) => return Err(unwritable(target, error)),
    }
    sync_folder_of(target).map_err(|error| unwritable(target, error))?;
    Ok(true)
}

/// Creates a file that is not there, in folders that may not be there. Whoever removes empty folders may take them away in between, so that
/// their names are made durable only when they are not empty any more.
fn create_with_folders(path: &Path) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let (mut made, mut tries) = (Vec::new(), 0);
    let file = loop {
        tries += 1;
        let created = make_folders(folder, &mut made)
            .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
        match created {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < CREATE_TRIES_MAX => {}
            created => break created?,
        }
    };
    sync_folders_of(&made)?;
    Ok(file)
}

/// Makes a folder and those above it, readable by this user alone, and makes their names durable.
pub(super) fn create_private_folders(folder: &Path) -> io::Result<()> {
    let mut made = Vec::new();
    make_folders(folder, &mut made)?;
    sync_folders_of(&made)
}

/// Makes a folder and those above it, and says which were not there.
fn make_folders(folder: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folders(parent, made)?;
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => made.push(folder.to_owned()),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) if folder.is_dir() => {}
        // It was there a moment ago.
        Err(_) if !folder.exists() => return Err(io::ErrorKind::NotFound.into()),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Removes folders below `folder` that hold nothing. Best effort: somebody may be writing there.
pub(super) fn remove_empty_folders(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_folders(&entry.path());
            // Fails on a folder that is not empty, as it should.
            drop(fs::remove_dir(entry.path()));
        }
    }
}

fn sync_folders_of(paths: &[PathBuf]) -> io::Result<()> {
    paths.iter().try_for_each(|path| sync_folder_of(path))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let hint = if full {
        "free some space; the snapshot before this run is still served"
    } else {
        "check the store's folder: this user must be able to write there"
    };
    Error::new(Code::Unavailable, format!("cannot write {}: {error}", path.display())).with_hint(hint).with_cause(error)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn files_are_made_while_empty_folders_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    remove_empty_folders(root.path());
                }
            });
            let create = |run| DataFileWriter::local(root.path(), format!("tables/t/{run}/part-0")).err();
            let failed: Vec<_> = (0..300).filter_map(create).collect();
            is_done.store(true, Ordering::Relaxed);
            assert!(failed.is_empty(), "{} of 300: {:?}", failed.len(), failed.first());
            assert!(root.path().join("tables/t/299/part-0").is_file());
        });
    }
}
