//! The protobuf form.

use std::collections::HashMap;

use super::super::logs::{Intake, Refusal};
use super::super::protobuf::{Fields, Malformed, Value, name_and_value};
use crate::error::{Error, Result};

type Read<T> = Result<T, Malformed>;

const NS_PER_SECOND: i64 = 1_000_000_000;

/// Reads a decompressed message.
pub(super) fn decode(message: &[u8], intake: &mut Intake<'_>) -> Result<()> {
    request(message, intake)
        .map_err(|Malformed(what)| Error::invalid(format!("the body is not a push request: {what}")))
}

fn request(message: &[u8], intake: &mut Intake<'_>) -> Read<()> {
    let mut seen = HashMap::new();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        if number == 1 {
            stream(value.bytes()?, intake, &mut seen)?;
        }
    }
    Ok(())
}

/// One stream; senders may send many parts of one.
fn stream<'a>(
    message: &'a [u8],
    intake: &mut Intake<'_>,
    seen: &mut HashMap<&'a [u8], Result<u32, Refusal>>,
) -> Read<()> {
    let mut text: &[u8] = b"";
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        if number == 1 {
            text = value.bytes()?;
        }
    }
    let stream = seen.entry(text).or_insert_with(|| labels(text, intake));
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        if number == 2 {
            entry(value.bytes()?, intake, stream)?;
        }
    }
    Ok(())
}

fn labels(text: &[u8], intake: &mut Intake<'_>) -> Result<u32, Refusal> {
    let text = intake.text(text);
    let pairs = super::labels::parse(&text).map_err(|error| {
        let shown = crate::wire::limits::abridge(&text);
        Refusal::new("invalid_labels", || format!("Error parsing labels '{shown}' with error: {error}"))
    })?;
    let mut pairs = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    intake.stream(&mut pairs)
}

fn entry(message: &[u8], intake: &mut Intake<'_>, stream: &Result<u32, Refusal>) -> Read<()> {
    let (mut timestamp, mut line): (i64, &[u8]) = (0, b"");
    intake.metadata.clear();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        match number {
            1 => timestamp = time(value.bytes()?)?,
            2 => line = value.bytes()?,
            3 => metadata(value.bytes()?, intake)?,
            _ => {}
        }
    }
    match stream {
        Ok(stream) => {
            let line = intake.text(line);
            intake.line(*stream, timestamp, &line);
        }
        Err(refusal) => {
            let bytes = line.len() + intake.metadata.bytes();
            intake.refuse(1, bytes, refusal);
        }
    }
    Ok(())
}

/// `google.protobuf.Timestamp` as ns since 1970; what does not fit is as far away as can be.
fn time(message: &[u8]) -> Read<i64> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field()? {
        match field {
            (1, Value::Varint(value)) => seconds = value.cast_signed(),
            (2, Value::Varint(value)) => nanos = value.cast_signed(),
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(NS_PER_SECOND).saturating_add(nanos))
}

fn metadata(message: &[u8], intake: &mut Intake<'_>) -> Read<()> {
    let (name, value) = name_and_value(message)?;
    let (name, value) = (intake.text(name), intake.text(value));
    intake.metadata.push_named(&name, &value);
    Ok(())
}
