//! A reader of `queries/{sql,pg}/*.slt`: statements and what they answer, over a real connection.
//!
//! ```text
//!   statement ok            statement error 42P01            query
//!   SET x = 1               SELECT * FROM nope               SELECT a, b FROM t
//!                           ----                             ----
//!                           relation "nope" does not exist   1|x
//!                                                            2|NULL
//! ```
//!
//! A blank line ends a record, `#` begins a comment. Rows are joined by `|`; an expected line `...` matches any
//! number of rows, and `*` inside a line any text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tokio_postgres::{Client, SimpleQueryMessage};

/// One record of a file.
struct Record {
    line: usize,
    expect: Expect,
    sql: String,
    lines: Vec<String>,
}

enum Expect {
    Ok,
    Error(String),
    Rows,
}

/// All files of a folder under `queries/`, in name order.
pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries").join(folder);
    let mut found: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "slt"))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no .slt file in {}", folder.display());
    found
}

/// Runs a file on a connection; gives what went wrong, as text.
pub(crate) async fn run(client: &Client, file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut failures = String::new();
    let records = parse(&text);
    assert!(!records.is_empty(), "{} has no records", file.display());
    for record in records {
        if let Err(why) = check(client, &record).await {
            writeln!(failures, "{}:{}: {}\n{why}\n", file.display(), record.line, record.sql)
                .expect("writing to a String cannot fail");
        }
    }
    failures
}

fn parse(text: &str) -> Vec<Record> {
    let mut records = Vec::new();
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')).peekable();
    while let Some((number, head)) = lines.next() {
        if head.trim().is_empty() {
            continue;
        }
        let expect = match head.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["statement", "ok"] => Expect::Ok,
            ["statement", "error", state] => Expect::Error((*state).to_owned()),
            ["query"] => Expect::Rows,
            _ => panic!("line {}: not a record: {head}", number + 1),
        };
        let mut record = Record { line: number + 1, expect, sql: String::new(), lines: Vec::new() };
        let mut expected = false;
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
            match (expected, line) {
                (false, "----") => expected = true,
                (false, line) => {
                    record.sql.push_str(line);
                    record.sql.push('\n');
                }
                (true, line) => record.lines.push(line.to_owned()),
            }
        }
        records.push(record);
    }
    records
}

async fn check(client: &Client, record: &Record) -> Result<(), String> {
    let answer = client.simple_query(&record.sql).await;
    match (&record.expect, answer) {
        (Expect::Ok, Ok(_)) => Ok(()),
        (Expect::Rows, Ok(messages)) => rows(&record.lines, &messages),
        (Expect::Error(state), Err(error)) => {
            let told = error.as_db_error().ok_or_else(|| format!("not an error of the server: {error}"))?;
            if told.code().code() != state {
                return Err(format!("SQLSTATE {} instead of {state}: {told}", told.code().code()));
            }
            match record.lines.first() {
                Some(message) if !alike(message, told.message()) => {
                    Err(format!("message: {}", told.message()))
                }
                _ => Ok(()),
            }
        }
        (Expect::Error(state), Ok(_)) => Err(format!("no error, expected {state}")),
        (_, Err(error)) => {
            Err(error.as_db_error().map_or_else(|| error.to_string(), |e| format!("{} {e}", e.code().code())))
        }
    }
}

fn rows(expected: &[String], messages: &[SimpleQueryMessage]) -> Result<(), String> {
    let mut found = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect();
            found.push(values.join("|"));
        }
    }
    let told = || Err(format!("found:\n{}", found.join("\n")));
    let mut at = 0;
    for (i, line) in expected.iter().enumerate() {
        if line == "..." {
            let after = expected.len() - i - 1;
            at = found.len().saturating_sub(after).max(at);
            continue;
        }
        if !found.get(at).is_some_and(|row| alike(line, row)) {
            return told();
        }
        at += 1;
    }
    if at == found.len() { Ok(()) } else { told() }
}

/// Whether a text is what a line says; `*` stands for anything.
fn alike(line: &str, text: &str) -> bool {
    let mut parts = line.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            let Some((_, after)) = rest.split_once(before) else { return false };
            rest = after;
        }
    }
    match last {
        Some(end) => rest.ends_with(end),
        None => rest.is_empty(),
    }
}
