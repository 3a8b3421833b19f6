//! The JSON form.

use super::super::json_reader::{Found, JsonStr, Malformed, Reader};
use super::super::logs::{Intake, Refusal};
use super::super::number::parse_integer;
use crate::error::{Error, Result};

type Read<T> = Result<T, Malformed>;

/// Reads a whole body.
pub(super) fn decode(text: &str, intake: &mut Intake<'_>) -> Result<()> {
    let mut reader = Reader::new(text);
    let mut form = Form { intake, scratch: Scratch::default() };
    let read = form.request(&mut reader).and_then(|()| reader.end());
    read.map_err(|e| Error::invalid(format!("the body is not a push request: {e}")))
}

/// Strings whose escapes are decoded, reused from line to line.
#[derive(Default)]
struct Scratch {
    time: String,
    line: String,
    name: String,
    value: String,
}

struct Form<'i, 'r> {
    intake: &'i mut Intake<'r>,
    scratch: Scratch,
}

fn wrong<T>(what: &'static str, reader: &Reader<'_>) -> Read<T> {
    Err(reader.complaint(what))
}

/// A string; anything else is a complaint.
fn text<'a>(reader: &mut Reader<'a>, what: &'static str) -> Read<JsonStr<'a>> {
    if reader.look()? == Found::String { reader.string() } else { wrong(what, reader) }
}

impl Form<'_, '_> {
    fn request(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        reader.begin_object()?;
        let mut first = true;
        while let Some(key) = reader.next_key(&mut first)? {
            if key.decode(&mut self.scratch.name)? != "streams" || reader.look()? == Found::Null {
                reader.skip()?;
                continue;
            }
            reader.begin_array()?;
            let mut first = true;
            while reader.next_element(&mut first)? {
                self.stream(reader)?;
            }
        }
        Ok(())
    }

    /// One stream. Its members may stand in any order.
    fn stream(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        let (mut labels, mut values) = (None, None);
        reader.begin_object()?;
        let mut first = true;
        while let Some(key) = reader.next_key(&mut first)? {
            let member = match key.decode(&mut self.scratch.name)? {
                "stream" => &mut labels,
                // Nearly always behind the labels: read where it stands, without a second look.
                "values" if labels.is_some() && values.is_none() => {
                    let stream = self.labels(labels.clone())?;
                    self.values(reader, &stream)?;
                    values = Some(Reader::new("[]"));
                    continue;
                }
                "values" => &mut values,
                _ => {
                    reader.skip()?;
                    continue;
                }
            };
            *member = Some(reader.clone());
            reader.skip()?;
        }
        let stream = self.labels(labels)?;
        if let Some(mut values) = values {
            self.values(&mut values, &stream)?;
        }
        Ok(())
    }

    fn labels(&mut self, reader: Option<Reader<'_>>) -> Read<Result<u32, Refusal>> {
        // Strings with escapes need a place; labels are few.
        let mut owned: Vec<(String, String)> = Vec::new();
        if let Some(mut reader) = reader {
            reader.begin_object()?;
            let mut first = true;
            while let Some(name) = reader.next_key(&mut first)? {
                let name = name.decode(&mut self.scratch.name)?.to_owned();
                let value = text(&mut reader, "a label's value is not a string")?;
                owned.push((name, value.decode(&mut self.scratch.value)?.to_owned()));
            }
        }
        let mut pairs = owned.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Ok(self.intake.stream(&mut pairs))
    }

    fn values(&mut self, reader: &mut Reader<'_>, stream: &Result<u32, Refusal>) -> Read<()> {
        if reader.look()? == Found::Null {
            return reader.skip().map(drop);
        }
        reader.begin_array()?;
        let mut first = true;
        while reader.next_element(&mut first)? {
            self.value(reader, stream)?;
        }
        Ok(())
    }

    /// `["<ns>", "line", {metadata}?]`.
    fn value(&mut self, reader: &mut Reader<'_>, stream: &Result<u32, Refusal>) -> Read<()> {
        const SHAPE: &str = "a value is not [timestamp, line, metadata]";
        reader.begin_array()?;
        let mut first = true;
        if !reader.next_element(&mut first)? {
            return wrong(SHAPE, reader);
        }
        let time = text(reader, "a timestamp is not a string of nanoseconds")?;
        let Some(timestamp) = parse_integer(time.decode(&mut self.scratch.time)?.as_bytes()) else {
            return wrong("a timestamp is not a string of nanoseconds", reader);
        };
        if !reader.next_element(&mut first)? {
            return wrong(SHAPE, reader);
        }
        let line = text(reader, "a line is not a string")?;
        self.intake.metadata.clear();
        if reader.next_element(&mut first)? {
            self.metadata(reader)?;
            if reader.next_element(&mut first)? {
                return wrong(SHAPE, reader);
            }
        }
        let line = line.decode(&mut self.scratch.line)?;
        match stream {
            Ok(stream) => self.intake.line(*stream, timestamp, line),
            Err(refusal) => {
                let bytes = line.len() + self.intake.metadata.bytes();
                self.intake.refuse(1, bytes, refusal);
            }
        }
        Ok(())
    }

    fn metadata(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        if reader.look()? == Found::Null {
            return reader.skip().map(drop);
        }
        reader.begin_object()?;
        let mut first = true;
        while let Some(name) = reader.next_key(&mut first)? {
            let value = text(reader, "a value of structured metadata is not a string")?;
            let name = name.decode(&mut self.scratch.name)?;
            self.intake.metadata.push_named(name, value.decode(&mut self.scratch.value)?);
        }
        Ok(())
    }
}
