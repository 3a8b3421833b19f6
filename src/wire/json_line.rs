//! JSON lines in the shape of `VictoriaLogs`' `/insert/jsonline`: one event a line, its fields named by the request.
//!
//! ```text
//!   {"_time": "2026-11-21T20:00:00Z", "_msg": "text", "host": "a", "k8s": {"pod": "p"}, "n": 1}
//!     ─▶ time, line, stream labels (those of `stream_fields`), metadata (`k8s.pod`, `n`: the rest)
//! ```
//! Nested objects are flattened with dots, arrays keep their JSON text, numbers their digits; null and empty values
//! are absent. A line that is no JSON object is refused and the others are taken. Names of stream fields become label
//! names; names of metadata stay as they are.

#[cfg(test)]
mod tests;
mod time;

use memchr::memchr_iter;

use super::json_reader::{Found, Malformed, Reader};
use super::limits::abridge;
use super::logs::{Intake, Pairs, Refusal, push_label_name};

/// Which field is what. Lists are in the order wanted: the first that is not empty counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Fields with the time. Default `_time`.
    pub time_fields: Vec<String>,
    /// Fields with the line. Default `_msg`.
    pub message_fields: Vec<String>,
    /// Fields that become stream labels.
    pub stream_fields: Vec<String>,
    /// Fields that are left out; `*` at the end stands for any rest.
    pub ignore_fields: Vec<String>,
    /// Fields that are added, or replaced, in every line.
    pub extra_fields: Vec<(String, String)>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            time_fields: vec!["_time".to_owned()],
            message_fields: vec!["_msg".to_owned()],
            stream_fields: Vec::new(),
            ignore_fields: Vec::new(),
            extra_fields: Vec::new(),
        }
    }
}

impl Shape {
    fn ignores(&self, name: &str) -> bool {
        self.ignore_fields.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => pattern == name,
        })
    }

    fn is_extra(&self, name: &str) -> bool {
        self.extra_fields.iter().any(|(extra, _)| extra == name)
    }
}

/// Reads a body. A line without a time, or with time 0, gets `now_ns`.
pub fn decode(body: &[u8], shape: &Shape, now_ns: i64, intake: &mut Intake<'_>) {
    let text = intake.text(body);
    let labels = shape.stream_fields.iter().map(|name| {
        let mut label = String::new();
        push_label_name(&mut label, name);
        label
    });
    let labels: Vec<String> = labels.collect();
    let mut lines = Lines {
        shape,
        labels: &labels,
        now_ns,
        fields: Pairs::default(),
        scratch: String::new(),
        path: String::new(),
    };
    let mut start = 0;
    let ends = memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
    for (number, end) in ends.enumerate() {
        let line = text[start.min(end)..end].trim();
        start = end + 1;
        if line.is_empty() {
            continue;
        }
        if let Err((reason, why)) = lines.line(line, intake) {
            let text = || format!("line {}: {why}: {}", number + 1, abridge(line));
            intake.refuse(1, line.len(), &Refusal::new(reason, text));
        }
    }
}

struct Lines<'s> {
    shape: &'s Shape,
    /// The label names of the stream fields.
    labels: &'s [String],
    now_ns: i64,
    fields: Pairs,
    scratch: String,
    path: String,
}

type Why = (&'static str, String);

impl Lines<'_> {
    fn line(&mut self, line: &str, intake: &mut Intake<'_>) -> Result<(), Why> {
        self.fields.clear();
        self.path.clear();
        let mut reader = Reader::new(line);
        let read = self.object(&mut reader).and_then(|()| reader.end());
        read.map_err(|e| ("invalid_json", format!("no JSON object: {e}")))?;
        for (name, value) in &self.shape.extra_fields {
            self.fields.push(name, value);
        }
        self.emit(intake)
    }

    fn object(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        reader.begin_object()?;
        let mut first = true;
        let outer = self.path.len();
        while let Some(key) = reader.next_key(&mut first)? {
            if outer > 0 {
                self.path.push('.');
            }
            self.path.push_str(key.decode(&mut self.scratch)?);
            self.value(reader)?;
            self.path.truncate(outer);
        }
        Ok(())
    }

    fn value(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let value = match reader.look()? {
            Found::Object => return self.object(reader),
            Found::Null => return reader.scalar().map(drop),
            Found::String => reader.string()?.decode(&mut self.scratch)?,
            Found::Array => reader.skip()?,
            Found::Number | Found::True | Found::False => reader.scalar()?,
        };
        if !value.is_empty() && !self.shape.is_extra(&self.path) && !self.shape.ignores(&self.path) {
            self.fields.push(&self.path, value);
        }
        Ok(())
    }

    /// The first field of a list that is there.
    fn first(&self, names: &[String]) -> Option<usize> {
        let of = |name: &String| self.fields.iter().position(|(field, _)| field == name);
        names.iter().find_map(of)
    }

    fn emit(&mut self, intake: &mut Intake<'_>) -> Result<(), Why> {
        let time = self.first(&self.shape.time_fields);
        let timestamp = match time.map(|at| self.fields.at(at).1) {
            None | Some("0") => self.now_ns,
            Some(text) => time::parse(text)
                .ok_or_else(|| ("invalid_timestamp", format!("no time: {}", abridge(text))))?,
        };
        let message = self.first(&self.shape.message_fields);
        let mut pairs = Vec::with_capacity(self.labels.len() + 1);
        intake.metadata.clear();
        for (at, (name, value)) in self.fields.iter().enumerate() {
            if Some(at) == time || Some(at) == message {
                continue;
            }
            match self.shape.stream_fields.iter().position(|field| field == name) {
                Some(field) => pairs.push((self.labels[field].as_str(), value)),
                None => intake.metadata.push(name, value),
            }
        }
        let body = message.map_or("", |at| self.fields.at(at).1);
        match intake.stream(&mut pairs) {
            Ok(stream) => intake.line(stream, timestamp, body),
            Err(refusal) => return Err((refusal.reason, refusal.text)),
        }
        Ok(())
    }
}
