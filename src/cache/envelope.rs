//! How a result travels through Redis, and why it is believed on the way back.
//!
//! Owns: [`Seal`], the layout of values, the order in which they are checked.
//! Must not know: connections, leases' timing, SQL.
//!
//! ```text
//! magic "PLR1" | format u16 | kind u16 | key 32 | payload length u64 | HMAC-SHA256 32 | payload: Arrow IPC stream
//! ```
//! Integers are little-endian. Kind 0 is a result; kind 1 has no payload and says that the result cannot be shared. The
//! HMAC covers everything before it and the payload. A value is untrusted until its HMAC was verified; only then does a
//! decoder see it. The key is inside, so a value cannot be moved to another key, and keys are content digests, so an
//! old value of the same key is still the right one.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use arrow::{
    buffer::Buffer,
    error::ArrowError,
    ipc::{reader::StreamDecoder, root_as_message, writer::StreamWriter},
};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::{entry::Entry, key::Key};
use crate::error::{Code, Error, Result};

/// Raised whenever the layout or the meaning of the payload changes; other versions are misses.
const FORMAT: u16 = 1;
const MAGIC: &[u8; 4] = b"PLR1";

const KIND_RESULT: u16 = 0;
const KIND_UNSHARED: u16 = 1;

/// Magic, format, kind, key, payload length.
const SIGNED_HEAD: usize = 4 + 2 + 2 + 32 + 8;
pub(super) const TAG: usize = 32;

/// What stands in front of the payload, in bytes.
pub(super) const HEAD: usize = SIGNED_HEAD + TAG;

/// Why a value was not believed. Each is a miss; the text is the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distrust {
    Oversized,
    Malformed,
    OtherFormat,
    OtherKey,
    Forged,
    Undecodable,
}

impl Distrust {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::OtherFormat => "other_format",
            Self::OtherKey => "other_key",
            Self::Forged => "forged",
            Self::Undecodable => "undecodable",
        }
    }
}

/// What a genuine value says.
pub(super) enum Content {
    Result(Entry),
    /// Whoever computed it could not share it: too large, or of a type that does not travel. To wait for it is in vain.
    Unshared,
}

/// Whether a server with this secret takes `value` for the result under `key`. For those who try it with values from anywhere.
///
/// # Errors
/// `invalid_config` when the secret is not 64 hexadecimal digits.
pub fn is_believed(secret: &SecretString, key: &Key, value: &[u8], bytes_max: usize) -> Result<bool> {
    Ok(Seal::from_hex(secret)?.open(key, value, bytes_max).is_ok())
}

/// The value that a server with this secret stores under `key`, of any payload: whoever decodes it is shown what nobody wrote.
///
/// # Errors
/// `invalid_config` when the secret is not 64 hexadecimal digits.
pub fn sealed(secret: &SecretString, key: &Key, payload: &[u8]) -> Result<Vec<u8>> {
    let mut value = head(key, KIND_RESULT, HEAD + payload.len());
    value.extend_from_slice(payload);
    Ok(Seal::from_hex(secret)?.sign(value))
}

/// The secret that the servers on one Redis share.
#[derive(Clone)]
pub(super) struct Seal(Hmac<Sha256>);

impl Seal {
    /// A seal from 64 hexadecimal digits.
    ///
    /// # Errors
    /// `invalid_config` for anything else. Short or default secrets are refused: whoever knows the secret can put
    /// numbers on everybody's dashboards.
    pub(super) fn from_hex(secret: &SecretString) -> Result<Self> {
        let bad = || {
            Error::new(Code::InvalidConfig, "the cache's hmac_key is not 64 hexadecimal digits")
                .with_hint("make one with `openssl rand -hex 32` and give the same to every server on this Redis")
        };
        let digits = secret.expose_secret().trim().as_bytes();
        if digits.len() != 64 {
            return Err(bad());
        }
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(bad()) };
            *byte = high << 4 | low;
        }
        Ok(Self(Hmac::new_from_slice(&key).expect("HMAC takes keys of any length")))
    }

    /// The tag over `parts` in a row. Each use begins with a magic of its own and has parts of fixed length in front,
    /// so no message of one use is one of another.
    pub(super) fn tag(&self, parts: [&[u8]; 2]) -> [u8; TAG] {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    /// Whether `tag` is the tag over `parts`, in constant time.
    pub(super) fn verify(&self, parts: [&[u8]; 2], tag: &[u8]) -> bool {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.verify_slice(tag).is_ok()
    }

    /// Encodes and signs an entry. Takes CPU in proportion to its size.
    ///
    /// # Errors
    /// Arrow's, for a type that IPC cannot hold.
    pub(super) fn close(&self, entry: &Entry) -> Result<Vec<u8>, ArrowError> {
        let head = head(entry.key(), KIND_RESULT, HEAD + entry.bytes() + 4096);
        let mut writer = StreamWriter::try_new(head, entry.schema())?;
        for batch in entry.batches() {
            writer.write(batch)?;
        }
        writer.finish()?;
        Ok(self.sign(writer.into_inner()?))
    }

    /// Says to the others that the result under `key` cannot be shared.
    pub(super) fn close_unshared(&self, key: &Key) -> Vec<u8> {
        self.sign(head(key, KIND_UNSHARED, HEAD))
    }

    fn sign(&self, mut value: Vec<u8>) -> Vec<u8> {
        let payload_bytes = u64::try_from(value.len() - HEAD).unwrap_or(u64::MAX);
        value[SIGNED_HEAD - 8..SIGNED_HEAD].copy_from_slice(&payload_bytes.to_le_bytes());
        let tag = self.tag([&value[..SIGNED_HEAD], &value[HEAD..]]);
        value[SIGNED_HEAD..HEAD].copy_from_slice(&tag);
        value
    }

    /// Checks and decodes what Redis had under `key`. Takes CPU in proportion to its size.
    pub(super) fn open(&self, key: &Key, value: &[u8], bytes_max: usize) -> Result<Content, Distrust> {
        let (kind, payload) = self.trusted_payload(key, value, bytes_max)?;
        if kind == KIND_UNSHARED {
            return Ok(Content::Unshared);
        }
        // What is signed is what a peer wrote, yet its Arrow may be of another version than ours.
        let decoded = catch_unwind(AssertUnwindSafe(|| decode(key, payload)));
        decoded.map_err(|_| Distrust::Undecodable)?.map(Content::Result).map_err(|_| Distrust::Undecodable)
    }

    /// Cheap checks first, and none that reads more than was measured.
    fn trusted_payload<'a>(&self, key: &Key, value: &'a [u8], bytes_max: usize) -> Result<(u16, &'a [u8]), Distrust> {
        if value.len() > bytes_max {
            return Err(Distrust::Oversized);
        }
        let Some((head, rest)) = value.split_first_chunk::<SIGNED_HEAD>() else { return Err(Distrust::Malformed) };
        let Some((tag, payload)) = rest.split_first_chunk::<TAG>() else { return Err(Distrust::Malformed) };
        if &head[..4] != MAGIC {
            return Err(Distrust::Malformed);
        }
        let kind = u16::from_le_bytes([head[6], head[7]]);
        if head[4..6] != FORMAT.to_le_bytes() || ![KIND_RESULT, KIND_UNSHARED].contains(&kind) {
            return Err(Distrust::OtherFormat);
        }
        if &head[8..40] != key.as_bytes() {
            return Err(Distrust::OtherKey);
        }
        if head[40..] != u64::try_from(payload.len()).unwrap_or(u64::MAX).to_le_bytes() {
            return Err(Distrust::Malformed);
        }
        if self.verify([head, payload], tag) { Ok((kind, payload)) } else { Err(Distrust::Forged) }
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seal(..)")
    }
}

/// The head with room for what is known at the end only.
fn head(key: &Key, kind: u16, capacity: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(capacity);
    value.extend_from_slice(MAGIC);
    value.extend_from_slice(&FORMAT.to_le_bytes());
    value.extend_from_slice(&kind.to_le_bytes());
    value.extend_from_slice(key.as_bytes());
    value.resize(HEAD, 0);
    value
}

/// All columns share one copy of the payload. No length that it names is believed before as many bytes are there: a reader of streams
/// would make room for them first.
fn decode(key: &Key, payload: &[u8]) -> Result<Entry, ArrowError> {
    refuse_compressed(payload)?;
    let mut rest = Buffer::from(payload);
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while let Some(batch) = decoder.decode(&mut rest)? {
        batches.push(batch);
    }
    decoder.finish()?;
    let schema = decoder.schema().ok_or_else(|| ArrowError::IpcError("there is no schema".to_owned()))?;
    Ok(Entry::new(*key, schema, batches))
}

/// Nobody of ours compresses batches, and what is compressed says itself how much room it wants.
///
/// Source: "Encapsulated message format" of Arrow's IPC: a marker, the length of the metadata, the metadata, the body.
fn refuse_compressed(payload: &[u8]) -> Result<(), ArrowError> {
    let wrong = |what: &str| ArrowError::IpcError(what.to_owned());
    let mut rest = payload;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        if *length == [0xff; 4] {
            rest = after;
            continue;
        }
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length == 0 {
            return Ok(());
        }
        let (metadata, body) = after.split_at_checked(length).ok_or_else(|| wrong("metadata is cut"))?;
        let message = root_as_message(metadata).map_err(|_| wrong("metadata is not understood"))?;
        let dictionary = message.header_as_dictionary_batch().and_then(|batch| batch.data());
        if message.header_as_record_batch().or(dictionary).is_some_and(|batch| batch.compression().is_some()) {
            return Err(wrong("a batch is compressed"));
        }
        let bytes = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
        rest = body.get(bytes..).ok_or_else(|| wrong("a body is cut"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Decimal128Array, Int64Array, RecordBatch, StringViewArray},
        datatypes::{DataType, Field, Schema},
        ipc::{CompressionType, writer::IpcWriteOptions},
    };

    use super::*;

    const MAX: usize = 1 << 20;

    fn seal(digit: &str) -> Seal {
        Seal::from_hex(&SecretString::from(digit.repeat(64))).unwrap()
    }

    fn entry(key: u8) -> Entry {
        let money = DataType::Decimal128(38, 9);
        let named = Field::new("n", DataType::Int64, true).with_metadata([("pg".to_owned(), "int8".to_owned())].into());
        let fields = vec![named, Field::new("s", DataType::Utf8View, true), Field::new("d", money, true)];
        let schema = Arc::new(Schema::new(fields));
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(1), None, Some(i64::MIN)])),
            Arc::new(StringViewArray::from(vec![Some("short"), Some("a string that is not inlined"), None])),
            Arc::new(
                Decimal128Array::from(vec![Some(i128::MAX >> 10), None, Some(-1)])
                    .with_data_type(DataType::Decimal128(38, 9)),
            ),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        Entry::new(Key::new([key; 32]), schema, vec![batch.clone(), batch])
    }

    fn opened(seal: &Seal, key: &Key, value: &[u8]) -> Result<Entry, Distrust> {
        seal.open(key, value, MAX).map(|content| match content {
            Content::Result(entry) => entry,
            Content::Unshared => panic!("a result was closed"),
        })
    }

    #[test]
    fn that_a_result_is_unshared_is_signed_too() {
        let (ours, theirs, key) = (seal("a"), seal("b"), Key::new([1; 32]));
        assert!(matches!(ours.open(&key, &ours.close_unshared(&key), MAX), Ok(Content::Unshared)));
        assert!(ours.open(&key, &theirs.close_unshared(&key), MAX).is_err());
        assert!(ours.open(&Key::new([2; 32]), &ours.close_unshared(&key), MAX).is_err());
    }

    #[test]
    fn what_goes_in_comes_out() {
        let (seal, entry) = (seal("a"), entry(1));
        let back = opened(&seal, entry.key(), &seal.close(&entry).unwrap()).unwrap();
        assert_eq!(back.schema(), entry.schema());
        assert_eq!(back.batches(), entry.batches());
        assert_eq!(back.rows(), 6);
        assert!(back.bytes() < entry.bytes() + 4096, "{} against {}", back.bytes(), entry.bytes());
    }

    #[test]
    fn an_empty_result_keeps_its_columns() {
        let (seal, schema) = (seal("a"), Arc::clone(entry(1).schema()));
        let empty = Entry::new(Key::new([1; 32]), Arc::clone(&schema), vec![]);
        let back = opened(&seal, empty.key(), &seal.close(&empty).unwrap()).unwrap();
        assert_eq!((back.schema(), back.rows(), back.batches().len()), (&schema, 0, 0));
    }

    #[test]
    fn what_names_its_own_size_is_not_decoded() {
        let (seal, entry) = (seal("a"), entry(1));
        let secret = SecretString::from("a".repeat(64));
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), entry.schema(), options).unwrap();
        entry.batches().iter().for_each(|batch| writer.write(batch).unwrap());
        let compressed = sealed(&secret, entry.key(), &writer.into_inner().unwrap()).unwrap();
        assert_eq!(opened(&seal, entry.key(), &compressed).err(), Some(Distrust::Undecodable));
        // Metadata of 2 GiB, of which nothing is there.
        let claims = sealed(&secret, entry.key(), &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).unwrap();
        assert_eq!(opened(&seal, entry.key(), &claims).err(), Some(Distrust::Undecodable));
    }

    fn check(change: impl FnOnce(&mut Vec<u8>), expect: Distrust) {
        let (seal, entry) = (seal("a"), entry(1));
        let mut value = seal.close(&entry).unwrap();
        change(&mut value);
        assert_eq!(opened(&seal, entry.key(), &value).err(), Some(expect));
    }

    #[test]
    fn nothing_but_the_genuine_value_is_believed() {
        check(Vec::clear, Distrust::Malformed);
        check(|value| value.truncate(HEAD - 1), Distrust::Malformed);
        check(|value| value[0] ^= 1, Distrust::Malformed);
        check(|value| value[4] += 1, Distrust::OtherFormat);
        check(|value| value[6] = 2, Distrust::OtherFormat);
        check(|value| value[6] = 1, Distrust::Forged);
        check(|value| value[8] ^= 1, Distrust::OtherKey);
        check(|value| value[40] ^= 1, Distrust::Malformed);
        check(|value| value.push(0), Distrust::Malformed);
        check(|value| value[50] ^= 1, Distrust::Forged);
        check(|value| value[HEAD + 1] ^= 1, Distrust::Forged);
        check(|value| value.resize(MAX + 1, 0), Distrust::Oversized);
        check(|value| *value = other_secret(), Distrust::Forged);
        check(|value| *value = signed_garbage(), Distrust::Undecodable);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (seal, entry) = (seal("a"), entry(1));
        let genuine = seal.close(&entry).unwrap();
        for bit in 0..genuine.len() * 8 {
            let mut value = genuine.clone();
            value[bit / 8] ^= 1 << (bit % 8);
            assert!(seal.open(entry.key(), &value, MAX).is_err(), "bit {bit}");
        }
    }

    fn other_secret() -> Vec<u8> {
        seal("b").close(&entry(1)).unwrap()
    }

    fn signed_garbage() -> Vec<u8> {
        let mut value = seal("a").close(&entry(1)).unwrap();
        value[HEAD..].fill(0xff);
        let tag = seal("a").tag([&value[..SIGNED_HEAD], &value[HEAD..]]);
        value[SIGNED_HEAD..HEAD].copy_from_slice(&tag);
        value
    }

    #[test]
    fn a_weak_secret_is_refused_with_a_way_to_make_one() {
        for secret in ["", "changeme", &"a".repeat(63), &"g".repeat(64)] {
            let error = Seal::from_hex(&SecretString::from(secret)).unwrap_err();
            assert_eq!(error.code(), Code::InvalidConfig);
            assert!(error.hint().unwrap().contains("openssl rand -hex 32"));
            assert!(secret.is_empty() || !error.chain().contains(secret));
        }
    }

    /// `cargo test --release --lib figures -- --ignored --nocapture`
    #[test]
    #[ignore = "prints figures"]
    fn figures_of_the_envelope() {
        let (seal, schema) = (seal("a"), Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)])));
        let column = Arc::new(Int64Array::from_iter_values(0..500_000));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        let entry = Entry::new(Key::new([1; 32]), schema, vec![batch]);
        let time = |what: &str, work: &dyn Fn()| {
            let begin = std::time::Instant::now();
            (0..20).for_each(|_| work());
            println!("{what} 4 MB: {:?}", begin.elapsed() / 20);
        };
        let value = seal.close(&entry).unwrap();
        time("close", &|| drop(seal.close(&entry).unwrap()));
        time("verify", &|| assert!(seal.trusted_payload(entry.key(), &value, 1 << 23).is_ok()));
        time("open", &|| drop(seal.open(entry.key(), &value, 1 << 23).unwrap()));
    }
}
