//! Content codings: what a sender did to a body before it sent it. Bounded: a body that claims or holds more than
//! the limit is refused before it takes the memory.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::limits::Limits;
use crate::error::{Error, Kind, Result};

/// Snappy's longest copy is 64 bytes in 3, so no honest body grows more than this.
const MAX_EXPANSION: usize = 22;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Identity,
    /// `gzip`, of any number of members.
    Gzip,
    /// `deflate`, with zlib's frame as the standard has it or without as Go writes it.
    Deflate,
    /// `zstd`.
    Zstd,
    /// A snappy block.
    Snappy,
}

impl Coding {
    /// The coding of a `Content-Encoding` header; `None` when it is not known.
    pub fn of_header(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "zstd" => Self::Zstd,
            "snappy" => Self::Snappy,
            _ => return None,
        })
    }

    /// The body as it was before.
    ///
    /// # Errors
    /// `Limit` when it holds more than `limits.body_bytes`, `Invalid` when it is damaged.
    pub fn decode<'a>(self, body: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>> {
        Ok(Cow::Owned(match self {
            Self::Identity => return limits.check_body(body.len()).map(|()| Cow::Borrowed(body)),
            Self::Gzip => read("gzip", MultiGzDecoder::new(body), limits)?,
            Self::Deflate if is_zlib(body) => read("deflate", ZlibDecoder::new(body), limits)?,
            Self::Deflate => read("deflate", DeflateDecoder::new(body), limits)?,
            Self::Zstd => read("zstd", zstd::Decoder::new(body)?, limits)?,
            Self::Snappy => {
                let mut out = Vec::new();
                unsnap(body, limits, &mut out)?;
                out
            }
        }))
    }
}

/// RFC 1950: method 8, and the header is a multiple of 31.
fn is_zlib(body: &[u8]) -> bool {
    let [method, flags, ..] = body else { return false };
    method & 0x0F == 8 && (u16::from(*method) * 256 + u16::from(*flags)).is_multiple_of(31)
}

fn read(name: &'static str, decoder: impl Read, limits: &Limits) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let bound = u64::try_from(limits.body_bytes).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(bound)
        .read_to_end(&mut out)
        .map_err(|e| Error::new(Kind::Invalid, format!("the body is not {name}")).caused_by(e))?;
    limits.check_body(out.len())?;
    Ok(out)
}

/// Decompresses a snappy block into `out`, which is overwritten and may be reused.
///
/// # Errors
/// `Limit` when the header claims more than `limits.body_bytes`, before anything is allocated; `Invalid` when it
/// claims more than snappy can hold in so few bytes, or when the block is damaged.
pub(super) fn unsnap(body: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Result<()> {
    let damaged = |e: snap::Error| Error::invalid("the body is not a snappy block").caused_by(e);
    let length = snap::raw::decompress_len(body).map_err(damaged)?;
    limits.check_body(length)?;
    if length > body.len().saturating_mul(MAX_EXPANSION) {
        let claim = format!("the snappy header claims {length} bytes in a block of {}", body.len());
        return Err(Error::invalid(claim));
    }
    out.clear();
    out.resize(length, 0);
    let written = snap::raw::Decoder::new().decompress(body, out).map_err(damaged)?;
    out.truncate(written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn bodies(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        for encoder in [&mut gzip as &mut dyn Write, &mut zlib, &mut deflate] {
            encoder.write_all(text).expect("memory");
        }
        vec![
            ("", text.to_vec()),
            ("gzip", gzip.finish().expect("memory")),
            ("deflate", zlib.finish().expect("memory")),
            ("Deflate", deflate.finish().expect("memory")),
            ("zstd", zstd::encode_all(text, 3).expect("memory")),
            ("snappy", snap::raw::Encoder::new().compress_vec(text).expect("it fits")),
        ]
    }

    #[test]
    fn every_coding_goes_round_and_stays_within_the_limit() {
        let text = b"a line of a log\n".repeat(1_000);
        let small = Limits { body_bytes: text.len() - 1, ..Limits::default() };
        for (name, body) in bodies(&text) {
            let coding = Coding::of_header(name).expect("known");
            assert_eq!(coding.decode(&body, &Limits::default()).expect("sound").as_ref(), text, "{name}");
            let error = coding.decode(&body, &small).expect_err("too large");
            assert_eq!((error.kind(), error.get("limit")), (Kind::Limit, Some("body_bytes")), "{name}");
            if coding != Coding::Identity {
                let cut = coding.decode(&body[..body.len() - 3], &Limits::default());
                assert!(cut.is_err_and(|e| e.kind() == Kind::Invalid), "{name}");
            }
        }
        assert_eq!(Coding::of_header("br"), None);
    }
}
