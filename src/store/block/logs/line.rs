//! What columns a line's metadata becomes: `trace_id` and `span_id` move to columns of bytes when they are lower-case
//! hexadecimal digits of the right number (so that the text can be had back), the severity is a copy, the rest is the
//! map `attributes`.

use crate::model::LabelsRef;

/// Where the severity is looked for: in the line's metadata, then in the labels of its stream.
const SEVERITY: [&str; 4] = ["detected_level", "severity_text", "severity", "level"];
/// The metadata that become columns of bytes.
pub(crate) const TRACE_ID: &str = "trace_id";
/// See [`TRACE_ID`].
pub(crate) const SPAN_ID: &str = "span_id";

/// What a line's metadata, or the labels of its stream, say about its severity.
pub(crate) fn severity(labels: LabelsRef<'_>) -> Option<&str> {
    SEVERITY.iter().find_map(|name| labels.get(name))
}

/// What stays of a line's metadata in the map `attributes`.
pub(crate) fn attributes(metadata: LabelsRef<'_>) -> impl Iterator<Item = (&str, &str)> {
    metadata.iter().filter(|(name, value)| match *name {
        TRACE_ID => hex::<16>(value).is_none(),
        SPAN_ID => hex::<8>(value).is_none(),
        _ => true,
    })
}

/// Lower-case hexadecimal digits, exactly `N` bytes of them.
pub(crate) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}
