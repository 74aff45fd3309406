//! Certificates: what was found about a snapshot before it was published, beside its manifest.

use bytes::Bytes;
use object_store::path::Path;

use super::{RunId, SnapshotVersion, Store};
use crate::error::{Code, Result};

const FOLDER: &str = "certificates";

impl Store {
    /// Keeps the certificate of a version that a run is about to publish.
    pub async fn keep_certificate(&self, version: SnapshotVersion, run: RunId, document: Bytes) -> Result<()> {
        let path = self.certificate_path(version, run);
        // There is one already only if a reply was lost on the way: no two runs have one id.
        self.create_if_absent(&path, document).await.map(drop)
    }

    /// The certificate of a published version, if it has one.
    pub async fn certificate(&self, version: SnapshotVersion) -> Result<Option<Bytes>> {
        let run = self.manifest(version).await?.run_id;
        match self.get(&self.certificate_path(version, run)).await {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.code() == Code::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn certificate_path(&self, version: SnapshotVersion, run: RunId) -> Path {
        self.file_path(&format!("{FOLDER}/{}-{run}.json", version.file_name().trim_end_matches(".json")))
    }
}
