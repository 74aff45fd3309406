//! API keys for tests, made by the real command.

use std::path::Path;

use crate::support_pilaster::Pilaster;

/// Makes an API key by the command line; returns it whole.
pub(crate) fn new_key(file: &Path, arguments: &[&str]) -> String {
    let made = Pilaster::command(&[&["key", "new", "--file", file.to_str().unwrap()][..], arguments].concat()).run();
    assert!(made.status.success(), "{}", made.stderr);
    made.stdout.trim().to_owned()
}
