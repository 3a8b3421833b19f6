//! Requests are read, answers have the bytes of their description, hostile requests end in errors.

use super::*;
use crate::runtime::fuzz::fuzz;

fn matcher(kind: u64, name: &str, value: &str) -> Vec<u8> {
    let mut message = Vec::new();
    put_number(&mut message, 1, kind);
    put_bytes(&mut message, 2, name.as_bytes());
    put_bytes(&mut message, 3, value.as_bytes());
    message
}

fn query(from: i64, to: i64, matchers: &[Vec<u8>]) -> Vec<u8> {
    let (mut message, mut hints) = (Vec::new(), Vec::new());
    put_number(&mut message, 1, from.cast_unsigned());
    put_number(&mut message, 2, to.cast_unsigned());
    for matcher in matchers {
        put_bytes(&mut message, 3, matcher);
    }
    put_number(&mut hints, 1, 15_000);
    put_bytes(&mut hints, 2, b"rate");
    put_bytes(&mut hints, 5, b"job");
    put_bytes(&mut message, 4, &hints);
    message
}

fn request(queries: &[Vec<u8>], accepted: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    for query in queries {
        put_bytes(&mut message, 1, query);
    }
    if !accepted.is_empty() {
        put_bytes(&mut message, 2, accepted);
    }
    message
}

#[test]
fn a_request_says_what_and_in_which_form() -> Result<()> {
    let all =
        [matcher(0, "__name__", "up"), matcher(1, "a", "b"), matcher(2, "c", "d.*"), matcher(3, "e", "f|g")];
    let message = request(&[query(-5, 7, &all), query(0, 0, &[])], &[1, 0]);
    let read = ReadRequest::decode(&message)?;
    assert_eq!(read.response, ResponseType::StreamedXorChunks);
    assert_eq!((read.queries[0].from_ms, read.queries[0].to_ms), (-5, 7));
    let shown: Vec<_> = read.queries[0]
        .matchers
        .iter()
        .map(|m| format!("{}{}{}", m.name(), m.op().as_str(), m.value()))
        .collect();
    assert_eq!(shown, ["__name__=up", "a!=b", "c=~d.*", "e!~f|g"]);
    assert!(read.queries[1].matchers.is_empty());
    for (accepted, response) in [
        (&[][..], ResponseType::Samples),
        (&[0], ResponseType::Samples),
        (&[9, 1], ResponseType::StreamedXorChunks),
    ] {
        assert_eq!(ReadRequest::decode(&request(&[], accepted))?.response, response);
    }
    // Not packed, as proto2 writes it.
    assert_eq!(ReadRequest::decode(&[2 << 3, 1])?.response, ResponseType::StreamedXorChunks);
    Ok(())
}

#[test]
fn what_cannot_be_read_is_named() {
    let many = vec![query(0, 0, &[]); MAX_QUERIES + 1];
    let matchers = vec![matcher(0, "a", "b"); MAX_MATCHERS + 1];
    let cases = [
        (request(&[], &[7]), Kind::Invalid, "response types: [7]"),
        (request(&[query(0, 0, &[matcher(2, "a", "(")])], &[]), Kind::Invalid, "error parsing regexp"),
        (request(&[query(0, 0, &[matcher(4, "a", "b")])], &[]), Kind::Invalid, "invalid matcher type"),
        (vec![1 << 3, 1], Kind::Invalid, "another type"),
        (vec![1 << 3 | 2, 5, 1], Kind::Invalid, "cut off"),
        (request(&many, &[]), Kind::Limit, "too many queries"),
        (request(&[query(0, 0, &matchers)], &[]), Kind::Limit, "too many matchers"),
    ];
    for (message, kind, words) in cases {
        let error = ReadRequest::decode(&message).expect_err(words);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[test]
fn samples_are_one_packed_message() -> Result<()> {
    let mut response = SamplesResponse::default();
    response.push_series([("a", "b")].into_iter(), [(1_000, 1.5), (-1, 2.0)].into_iter(), std::iter::empty());
    response.end_query();
    response.end_query();
    let message = snap::raw::Decoder::new().decompress_vec(&response.finish()?).expect("snappy");
    let mut fields = Fields::new(&message);
    let Ok(Some((1, Value::Bytes(first)))) = fields.next_field() else { panic!("{message:?}") };
    assert_eq!(fields.next_field(), Ok(Some((1, Value::Bytes(&[][..])))));
    // The series is what a remote write request has: the same two message types.
    let limits = super::super::Limits::default();
    let mut seen = Vec::new();
    super::super::remote_write::WriteRequest::new(first, &limits).for_each_series(|series| {
        seen.extend_from_slice(series.samples);
        Ok(())
    })?;
    assert_eq!(seen, [(1_000, 1.5), (-1, 2.0)]);
    Ok(())
}

#[test]
fn a_series_is_cut_into_chunks_and_frames() {
    let chunks = encode_chunks((0..300).map(|i| (i * 1_000, 0.5)), std::iter::empty());
    assert_eq!(chunks.len(), 3, "120, 120 and 60 samples");
    assert!(encode_chunks(std::iter::empty(), std::iter::empty()).is_empty());
    for (max_bytes, frames) in [(1, 3), (1 << 20, 1)] {
        let mut stream = Vec::new();
        push_frames(&mut stream, 3, [("__name__", "up"), ("a", "b")].into_iter(), &chunks, max_bytes);
        let (mut rest, mut found, mut parts) = (&stream[..], 0, 0);
        while let Some((length, tail)) = rest.split_first() {
            // Small frames have one byte of length here, large ones two.
            let (length, tail) = match length {
                0..0x80 => (usize::from(*length), tail),
                _ => (usize::from(length & 0x7F) | usize::from(tail[0]) << 7, &tail[1..]),
            };
            let (crc, tail) = tail.split_first_chunk::<4>().expect("a checksum");
            let (message, tail) = tail.split_at(length);
            assert_eq!(u32::from_be_bytes(*crc), crc32c::crc32c(message));
            let mut fields = Fields::new(message);
            let Ok(Some((1, Value::Bytes(series)))) = fields.next_field() else { panic!("{message:?}") };
            assert_eq!(fields.next_field(), Ok(Some((2, Value::Varint(3)))));
            let mut inner = Fields::new(series);
            while let Ok(Some((number, _))) = inner.next_field() {
                parts += usize::from(number == 2);
            }
            (rest, found) = (tail, found + 1);
        }
        assert_eq!((found, parts), (frames, 3));
    }
}

#[test]
fn hostile_requests_end_without_a_panic() {
    let all = [matcher(0, "__name__", "up"), matcher(2, "c", "d.*|[a-z]+"), matcher(3, "e", "")];
    let message = request(&[query(-5, 7, &all), query(0, i64::MAX, &all[..1])], &[1, 0]);
    fuzz("remote_read", &[&message], &[], |message| match ReadRequest::decode(message) {
        Ok(_) => true,
        Err(error) => {
            assert!(matches!(error.kind(), Kind::Invalid | Kind::Limit), "{error}");
            false
        }
    });
}
