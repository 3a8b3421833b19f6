//! Protobuf by hand: the bodies that the crate itself only reads.

/// A base-128 number.
pub(crate) fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7F).expect("seven bits") | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).expect("seven bits"));
}

/// A field that holds an `int64`.
pub(crate) fn push_number(out: &mut Vec<u8>, field: u64, number: i64) {
    push_varint(out, field << 3);
    push_varint(out, number.cast_unsigned());
}

/// A `sint64` without its field, as packed lists hold it.
pub(crate) fn push_signed(out: &mut Vec<u8>, number: i64) {
    push_varint(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// A field that holds a `double`.
pub(crate) fn push_double(out: &mut Vec<u8>, field: u64, number: f64) {
    push_varint(out, field << 3 | 1);
    out.extend_from_slice(&number.to_le_bytes());
}

/// A field that holds a text, bytes or a message.
pub(crate) fn push_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    push_varint(out, field << 3 | 2);
    push_varint(out, u64::try_from(bytes.len()).expect("usize fits u64"));
    out.extend_from_slice(bytes);
}
