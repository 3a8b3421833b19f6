//! The wire form of protobuf, borrowed: fields come as slices of the message, nothing is copied or built.

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

const CUT_OFF: Malformed = Malformed("the message is cut off");
/// A field that the caller knows, of another wire type.
pub(super) const WRONG_TYPE: Malformed = Malformed("a field has another type than it should");

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes of a text or a message.
    #[inline]
    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(WRONG_TYPE) }
    }
}

/// The message `{1 name, 2 value}`, which stands for a label in every protocol.
#[inline]
pub(super) fn name_and_value(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut name, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next_field()? {
        match number {
            1 => name = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// The fields of one message, in the order written. A field that the caller does not know is just skipped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Bytes that are not read yet.
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next field's number and value; `None` at the end of the message.
    #[inline]
    pub(super) fn next_field(&mut self) -> Result<Option<(u64, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        if key < 8 {
            return Err(Malformed("a field has the number 0"));
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| CUT_OFF)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Malformed("a field has a wire type that is not known")),
        };
        Ok(Some((key >> 3, value)))
    }

    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Seven bits a byte, the lowest first; at most ten bytes.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(CUT_OFF)?;
        if *first < 0x80 {
            self.rest = rest;
            return Ok(u64::from(*first));
        }
        let mut value = 0;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7F) << (7 * at);
            if *byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                let overflows = at == 9 && *byte > 1;
                return if overflows { Err(Malformed("a number has more than 64 bits")) } else { Ok(value) };
            }
        }
        Err(if self.rest.len() < 10 { CUT_OFF } else { Malformed("a number has more than ten bytes") })
    }
}

/// Appends a number.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a field of bytes: a string or a message.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a field with a number.
pub(super) fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

/// Appends a field with a float.
pub(super) fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fuzz::fuzz;

    #[test]
    fn hostile_messages_end_without_a_panic() {
        let mut message = vec![5 << 3 | 5, 1, 0, 0, 0];
        put_number(&mut message, 1, u64::MAX);
        put_double(&mut message, 3, 1.5);
        let inner = message.clone();
        put_bytes(&mut message, 4000, &inner);
        fuzz("protobuf", &[&message], &[], |message| {
            let mut fields = Fields::new(message);
            loop {
                let before = fields.remaining();
                match fields.next_field() {
                    Ok(Some(_)) => assert!(fields.remaining() < before, "every field takes bytes"),
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        });
    }

    #[test]
    fn fields_of_every_kind_come_back() {
        let mut message = Vec::new();
        put_number(&mut message, 1, 300);
        put_number(&mut message, 2, u64::MAX);
        put_double(&mut message, 3, 1.5);
        put_bytes(&mut message, 4000, b"xyz");
        message.extend_from_slice(&[5 << 3 | 5, 1, 0, 0, 0]);
        let mut fields = Fields::new(&message);
        let mut all = Vec::new();
        while let Ok(Some(field)) = fields.next_field() {
            all.push(field);
        }
        let expected = [
            (1, Value::Varint(300)),
            (2, Value::Varint(u64::MAX)),
            (3, Value::Fixed64(1.5_f64.to_bits())),
            (4000, Value::Bytes(b"xyz")),
            (5, Value::Fixed32(1)),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn malformed_fields_are_named() {
        for (message, words) in [
            (&[0x08][..], "cut off"),
            (&[0x08, 0x80], "cut off"),
            (&[0x09, 1, 2], "cut off"),
            (&[0x0A, 5, 1], "cut off"),
            (&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1], "cut off"),
            (&[0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2], "more than 64 bits"),
            (&[0x80; 20], "more than ten bytes"),
            (&[0x0B], "wire type"),
            (&[0x02, 0], "number 0"),
        ] {
            let Malformed(what) = Fields::new(message).next_field().expect_err("it is malformed");
            assert!(what.contains(words), "{message:?}: {what}");
        }
    }
}
