//! zstd answers for clients that take them: a third of gzip's CPU time for smaller bodies. gzip itself is
//! `tower-http`'s layer around this one, which leaves alone what is packed already.

use std::io::Write;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};

const LEVEL: i32 = 1;
/// A smaller body gains nothing; gzip's layer has the same limit.
const MIN_BYTES: u64 = 32;
/// A body of at most so many bytes is packed in one piece.
const SMALL_BYTES: u64 = 256 << 10;
/// Bytes that are packed at a time.
const PIECE: usize = 256 << 10;

type Encoder = zstd::stream::write::Encoder<'static, Vec<u8>>;

/// Packs an answer when the client prefers zstd and nobody has packed it.
pub(super) async fn zstd(request: Request, next: Next) -> Response {
    let wanted = prefers_zstd(request.headers());
    let response = next.run(request).await;
    if !wanted || !is_packable(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(encoder) = Encoder::new(Vec::new(), LEVEL) else { return Response::from_parts(parts, body) };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
    parts.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let is_small = body.size_hint().upper().is_some_and(|bytes| bytes <= SMALL_BYTES);
    let packing = Packing { encoder, body: body.into_data_stream(), piece: Bytes::new() };
    let chunks = stream::unfold(Some(packing), |packing| async {
        match packing?.next().await {
            Ok((chunk, rest)) => Some((Ok(chunk), rest)),
            Err(error) => Some((Err(error), None)),
        }
    });
    if !is_small {
        return Response::from_parts(parts, Body::from_stream(chunks));
    }
    // In one buffer, so that the answer has its length.
    let mut whole = BytesMut::new();
    let mut chunks = std::pin::pin!(chunks);
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => whole.extend_from_slice(&chunk),
            Err(error) => {
                tracing::error!(%error, "an answer could not be packed");
                parts.status = StatusCode::INTERNAL_SERVER_ERROR;
                return Response::from_parts(parts, Body::empty());
            }
        }
    }
    Response::from_parts(parts, Body::from(whole.freeze()))
}

/// A body and what is packed of it.
struct Packing {
    encoder: Encoder,
    body: BodyDataStream,
    /// What came and is not packed yet.
    piece: Bytes,
}

impl Packing {
    /// Some packed bytes, and the rest unless they are the last.
    async fn next(mut self) -> Result<(Vec<u8>, Option<Self>), axum::Error> {
        loop {
            if self.piece.is_empty() {
                match self.body.next().await {
                    Some(piece) => self.piece = piece?,
                    None => return Ok((self.encoder.finish().map_err(axum::Error::new)?, None)),
                }
            }
            let piece = self.piece.split_to(self.piece.len().min(PIECE));
            self.encoder.write_all(&piece).map_err(axum::Error::new)?;
            let packed = std::mem::take(self.encoder.get_mut());
            if !packed.is_empty() {
                return Ok((packed, Some(self)));
            }
        }
    }
}

fn is_packable(response: &Response) -> bool {
    let headers = response.headers();
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let is_text = content_type.starts_with("text/") || content_type.starts_with("application/json");
    let is_large = response.body().size_hint().upper().is_none_or(|bytes| bytes >= MIN_BYTES);
    is_text && is_large && !headers.contains_key(header::CONTENT_ENCODING)
}

/// Whether zstd's weight is not below gzip's (RFC 9110, 12.5.3).
fn prefers_zstd(headers: &HeaderMap) -> bool {
    let mut weights = [None; 3];
    let names = ["zstd", "gzip", "*"];
    let fields = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for field in fields.flat_map(|text| text.split(',')) {
        let mut parts = field.split(';').map(str::trim);
        let coding = parts.next().unwrap_or("").to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        if let Some(at) = names.iter().position(|name| *name == coding) {
            weights[at] = Some(weight.unwrap_or(0.0));
        }
    }
    // `*` alone gets what everybody knows.
    let zstd = weights[0].unwrap_or(0.0);
    zstd > 0.0 && zstd >= weights[1].or(weights[2]).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefers(accept: &'static str) -> bool {
        prefers_zstd(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))]))
    }

    #[test]
    fn the_client_chooses() {
        for yes in ["zstd", "gzip, zstd", "deflate, gzip, br, zstd", "gzip;q=0.5, ZSTD;q=0.8", "zstd, *;q=0"]
        {
            assert!(prefers(yes), "{yes}");
        }
        for no in ["", "gzip", "*", "identity", "zstd;q=0", "gzip, zstd;q=0.9", "zstd;q=x", "*, zstd;q=0.1"] {
            assert!(!prefers(no), "{no}");
        }
        assert!(!prefers_zstd(&HeaderMap::new()));
    }

    async fn packed(body: Body) -> Vec<u8> {
        let encoder = Encoder::new(Vec::new(), LEVEL).expect("an encoder");
        let mut packing = Some(Packing { encoder, body: body.into_data_stream(), piece: Bytes::new() });
        let mut all = Vec::new();
        while let Some(rest) = packing {
            let (chunk, rest) = rest.next().await.expect("nothing breaks off");
            all.extend_from_slice(&chunk);
            packing = rest;
        }
        all
    }

    #[tokio::test]
    async fn what_is_packed_comes_back() {
        for size in [0, 1, PIECE - 1, PIECE * 5 + 3] {
            let plain: Vec<u8> = (0..size).map(|at| (at % 251).to_le_bytes()[0]).collect();
            let packed = packed(Body::from(plain.clone())).await;
            assert_eq!(zstd::decode_all(packed.as_slice()).expect("zstd"), plain);
        }
    }
}
