//! Bodies: kept ones, encoded and compressed once; streamed ones, in bounded memory.

use std::io::{self, Write};

use axum::body::Body;
use bytes::Bytes;
use flate2::write::GzEncoder;
use futures::{Stream, StreamExt};

use super::negotiation::{Encoding, Wishes};
use crate::{
    cache::{BatchStream, BodyId, Cache, Entry},
    error::{Error, Result},
    output::{self, Format, Numbers, Options, StreamEncoder},
};

/// Below this, compressing costs more than it saves on the wire.
const COMPRESS_FROM_BYTES: usize = 1_024;
/// Results larger than this are encoded off the threads that serve sockets.
const BLOCKING_FROM_BYTES: usize = 128 << 10;
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 5;

/// The body of a whole result, as wished for; made once and kept with the entry.
///
/// Says how it came out: a short one is not compressed.
pub(super) async fn of_entry(
    cache: &Cache,
    entry: &std::sync::Arc<Entry>,
    wishes: &Wishes,
) -> Result<(Bytes, Encoding)> {
    let plain = cache
        .body(entry, body_id(wishes.format, wishes.options, Encoding::Identity), |entry| {
            encode(entry, wishes.format, wishes.options)
        })
        .await?;
    if wishes.encoding == Encoding::Identity || plain.len() < COMPRESS_FROM_BYTES {
        return Ok((plain, Encoding::Identity));
    }
    let encoding = wishes.encoding;
    let id = body_id(wishes.format, wishes.options, encoding);
    let compressed = cache
        .body(entry, id, |_| async move {
            on_a_free_thread(plain.len(), move || {
                let mut compressor = Compressor::new(encoding)?;
                compressor.write(&plain)?;
                compressor.finish()
            })
            .await
        })
        .await?;
    Ok((compressed, encoding))
}

async fn encode(entry: std::sync::Arc<Entry>, format: Format, options: Options) -> Result<Bytes> {
    on_a_free_thread(entry.bytes(), move || output::encode(format, options, entry.schema(), entry.batches())).await
}

async fn on_a_free_thread<F>(bytes: usize, work: F) -> Result<Bytes>
where
    F: FnOnce() -> Result<Bytes> + Send + 'static,
{
    if bytes < BLOCKING_FROM_BYTES {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("an encoder stopped unexpectedly").with_cause(error))?
}

/// Each way to encode has its own number; a result keeps one body of each that was asked for.
pub(super) fn body_id(format: Format, options: Options, encoding: Encoding) -> BodyId {
    let format = Format::ALL.iter().position(|known| *known == format).unwrap_or(Format::ALL.len()) as u64;
    let numbers = match options.numbers {
        Numbers::Native => 0,
        Numbers::String => 1,
    };
    let encoding = match encoding {
        Encoding::Identity => 0,
        Encoding::Gzip => 1,
        Encoding::Zstd => 2,
    };
    BodyId::new(format << 8 | numbers << 4 | encoding)
}

/// The body of a result that is not kept: encoded batch by batch, no faster than the client reads.
///
/// An error midway cuts the connection, so that the client cannot take the half for the whole.
pub(super) fn of_stream(encoder: StreamEncoder, batches: BatchStream, encoding: Encoding) -> Result<Body> {
    let state = Streaming { encoder: Some(encoder), batches, compressor: Compressor::new(encoding)? };
    Ok(Body::from_stream(chunks(state)))
}

struct Streaming {
    /// None when the last chunk has been made.
    encoder: Option<StreamEncoder>,
    batches: BatchStream,
    compressor: Compressor,
}

fn chunks(state: Streaming) -> impl Stream<Item = Result<Bytes>> {
    futures::stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        loop {
            let Some(encoder) = &mut state.encoder else { return None };
            let chunk = match state.batches.next().await {
                Some(Ok(batch)) => encoder.batch(&batch).and_then(|bytes| {
                    state.compressor.write(&bytes)?;
                    state.compressor.take()
                }),
                Some(Err(error)) => Err(error),
                None => match state.encoder.take() {
                    None => return None,
                    Some(encoder) => encoder.finish().and_then(|bytes| {
                        state.compressor.write(&bytes)?;
                        state.compressor.finish_in_place()
                    }),
                },
            };
            match chunk {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Some((Ok(bytes), Some(state))),
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "a reply was cut");
                    return Some((Err(error), None));
                }
            }
        }
    })
}

/// Bytes in, compressed bytes out.
struct Compressor(Option<Sink>);

enum Sink {
    Identity(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    fn new(encoding: Encoding) -> Result<Self> {
        Ok(Self(Some(match encoding {
            Encoding::Identity => Sink::Identity(Vec::new()),
            Encoding::Gzip => Sink::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))),
            Encoding::Zstd => {
                Sink::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(incompressible)?)
            }
        })))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self.0.as_mut().ok_or_else(ended)? {
            Sink::Identity(sink) => sink.extend_from_slice(bytes),
            Sink::Gzip(sink) => sink.write_all(bytes).map_err(incompressible)?,
            Sink::Zstd(sink) => sink.write_all(bytes).map_err(incompressible)?,
        }
        Ok(())
    }

    /// What can be sent so far; everything written can be read from it.
    fn take(&mut self) -> Result<Bytes> {
        let sink = match self.0.as_mut().ok_or_else(ended)? {
            Sink::Identity(sink) => sink,
            Sink::Gzip(sink) => {
                sink.flush().map_err(incompressible)?;
                sink.get_mut()
            }
            Sink::Zstd(sink) => {
                sink.flush().map_err(incompressible)?;
                sink.get_mut()
            }
        };
        Ok(std::mem::take(sink).into())
    }

    fn finish_in_place(&mut self) -> Result<Bytes> {
        let sink = match self.0.take().ok_or_else(ended)? {
            Sink::Identity(sink) => sink,
            Sink::Gzip(sink) => sink.finish().map_err(incompressible)?,
            Sink::Zstd(sink) => sink.finish().map_err(incompressible)?,
        };
        Ok(sink.into())
    }

    fn finish(mut self) -> Result<Bytes> {
        self.finish_in_place()
    }
}

fn incompressible(error: io::Error) -> Error {
    Error::internal("a body cannot be compressed").with_cause(error)
}

fn ended() -> Error {
    Error::internal("a body was written to after its end")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_was_taken_so_far_can_be_read_and_the_whole_is_whole() {
        let pieces: Vec<Vec<u8>> = (0..20_u8).map(|piece| vec![piece; 10_000]).collect();
        let whole: Vec<u8> = pieces.concat();
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
            let mut compressor = Compressor::new(encoding).unwrap();
            let mut sent = Vec::new();
            for piece in &pieces {
                compressor.write(piece).unwrap();
                sent.extend_from_slice(&compressor.take().unwrap());
            }
            sent.extend_from_slice(&compressor.finish().unwrap());
            let mut read = Vec::new();
            match encoding {
                Encoding::Identity => read = sent,
                Encoding::Gzip => {
                    flate2::read::GzDecoder::new(&sent[..]).read_to_end(&mut read).unwrap();
                }
                Encoding::Zstd => {
                    zstd::stream::read::Decoder::new(&sent[..]).unwrap().read_to_end(&mut read).unwrap();
                }
            }
            assert!(read == whole, "{encoding:?}");
        }
    }
}
