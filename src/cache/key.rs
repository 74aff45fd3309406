//! What a reply is stored under.
//!
//! Owns: [`Key`], [`BodyId`] and the hasher that makes use of their being digests already.
//! Must not know: what goes into a key; room `query` hashes the components.

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
};

/// The identity of a result: 32 bytes of BLAKE3 over everything that can change it (tables' content digests, SQL,
/// parameters, scope, time zone, build). Equal keys mean equal results, so nothing in here is ever invalidated.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// A key from a digest. The bytes must be a cryptographic digest: the hash tables take them as evenly spread.
    #[must_use]
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest as 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({})", self.to_hex())
    }
}

/// Which encoding of a result a body is: format, options and content coding, packed into a number by room `output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BodyId(u64);

impl BodyId {
    /// An identity; equal numbers must mean equal encodings.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self(id)
    }
}

/// Takes the first eight bytes of a key as its hash. To make keys collide on purpose one would have to search BLAKE3,
/// so the time that a keyed hash takes on every hit would buy nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(head) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*head);
        }
    }

    // The array's length comes through here; it is the same for every key.
    fn write_usize(&mut self, _: usize) {}

    fn write_u8(&mut self, byte: u8) {
        self.0 ^= u64::from(byte);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl BuildHasher for DigestHasher {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_hex_and_hashes_by_its_head() {
        let key = Key::new(std::array::from_fn(|index| u8::try_from(index * 8 % 256).unwrap()));
        assert!(key.to_hex().starts_with("0008101820283038"));
        assert_eq!(key.to_hex().len(), 64);
        assert_eq!(DigestHasher::default().hash_one(key), u64::from_le_bytes([0, 8, 16, 24, 32, 40, 48, 56]));
    }
}
