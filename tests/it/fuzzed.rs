//! What the fuzzer has found, and what it begins from, asked again: `make fuzz` looks for more.

use std::{fs, path::Path};

#[path = "../../fuzz/decoders.rs"]
mod decoders;

#[test]
fn no_kept_input_breaks_a_decoder() {
    let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/inputs");
    for (name, decode) in decoders::ALL {
        let mut files: Vec<_> = fs::read_dir(inputs.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "there are no inputs for {name}");
        for path in files {
            // Shown when it fails.
            println!("{}", path.display());
            decode(&fs::read(&path).unwrap());
        }
    }
}
