//! The statements that are no queries: transactions, settings, and what drivers send between queries. They
//! are read from their words; sqlparser is not asked.

use crate::error::{Error, Result};
use crate::query::sql::{Settings, SqlStatement};

/// A statement that the door answers itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Utility {
    /// BEGIN, with the settings that it makes for the transaction.
    Begin { start: bool, modes: Vec<(String, String)> },
    /// COMMIT or END.
    Commit,
    /// ROLLBACK or ABORT.
    Rollback,
    /// SAVEPOINT, RELEASE, ROLLBACK TO: there is nothing to undo in a transaction that reads.
    Savepoint(&'static str),
    /// SET; no value is DEFAULT.
    Set { settings: Vec<(String, Option<String>)>, local: bool },
    /// RESET; no name is ALL.
    Reset(Option<String>),
    /// SHOW; no name is ALL.
    Show(Option<String>),
    /// DEALLOCATE; no name is ALL.
    Deallocate(Option<String>),
    /// DISCARD ALL and its parts.
    Discard { all: bool, name: &'static str },
    /// CLOSE ALL, UNLISTEN: there are no cursors and no channels.
    Nothing(&'static str),
    /// CHECKPOINT: flush.
    Checkpoint,
}

impl Utility {
    /// Reads a statement; `None` when it is another kind.
    ///
    /// # Errors
    /// `Syntax`; `Unsupported` for statements of `PostgreSQL` that quipu does not have.
    pub(super) fn recognise(statement: &SqlStatement) -> Result<Option<Self>> {
        let words: Vec<String> = statement.words().collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let wrong = |at: usize| Err(statement.syntax_error(at));
        Ok(Some(match words.as_slice() {
            ["begin", rest @ ..] => Self::Begin { start: false, modes: modes(statement, skip_work(rest))? },
            ["start", "transaction", rest @ ..] => {
                Self::Begin { start: true, modes: modes(statement, rest)? }
            }
            ["commit" | "end", ..] => Self::Commit,
            ["rollback" | "abort", rest @ ..] if skip_work(rest).first() == Some(&"to") => {
                Self::Savepoint("ROLLBACK")
            }
            ["rollback" | "abort", ..] => Self::Rollback,
            ["savepoint", _] => Self::Savepoint("SAVEPOINT"),
            ["release", ..] => Self::Savepoint("RELEASE"),
            ["set", rest @ ..] => set(statement, rest)?,
            ["reset", "all"] => Self::Reset(None),
            ["reset", rest @ ..] => Self::Reset(Some(name(rest).ok_or_else(|| statement.syntax_error(1))?)),
            ["show", "all"] => Self::Show(None),
            ["show", rest @ ..] => Self::Show(Some(name(rest).ok_or_else(|| statement.syntax_error(1))?)),
            ["deallocate", rest @ ..] => match rest {
                ["all"] | ["prepare", "all"] => Self::Deallocate(None),
                [one] | ["prepare", one] => Self::Deallocate(Some((*one).to_owned())),
                _ => return wrong(1),
            },
            ["discard", what] => match *what {
                "all" => Self::Discard { all: true, name: "DISCARD ALL" },
                "plans" => Self::Discard { all: false, name: "DISCARD PLANS" },
                "sequences" => Self::Discard { all: false, name: "DISCARD SEQUENCES" },
                "temp" | "temporary" => Self::Discard { all: false, name: "DISCARD TEMP" },
                _ => return wrong(1),
            },
            ["close", "all"] => Self::Nothing("CLOSE CURSOR ALL"),
            ["unlisten", _] => Self::Nothing("UNLISTEN"),
            ["checkpoint"] => Self::Checkpoint,
            [
                verb @ ("copy" | "prepare" | "execute" | "declare" | "fetch" | "move" | "close" | "listen"
                | "notify" | "load" | "do" | "call"),
                ..,
            ] => return Err(Error::unsupported(verb.to_uppercase())),
            _ => return Ok(None),
        }))
    }
}

fn skip_work<'a>(words: &'a [&'a str]) -> &'a [&'a str] {
    match words {
        ["work" | "transaction", rest @ ..] => rest,
        all => all,
    }
}

/// `[timezone]`, `[time zone]`, `[transaction isolation level]`, `[a . b]` as the name of a setting.
fn name(words: &[&str]) -> Option<String> {
    match words {
        ["time", "zone"] => Some("TimeZone".to_owned()),
        ["transaction", "isolation", "level"] => Some("transaction_isolation".to_owned()),
        ["session", "authorization"] => Some("session_authorization".to_owned()),
        [one] => Some((*one).to_owned()),
        [space, ".", own] => Some(format!("{space}.{own}")),
        _ => None,
    }
}

/// `ISOLATION LEVEL …, READ ONLY, NOT DEFERRABLE` as settings of a transaction.
fn modes(statement: &SqlStatement, words: &[&str]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut add = |name: &str, value: &str| found.push((name.to_owned(), value.to_owned()));
    let mut rest = words;
    loop {
        rest = match rest {
            [] => return Ok(found),
            [",", rest @ ..] => rest,
            ["isolation", "level", "serializable", rest @ ..] => {
                add("transaction_isolation", "serializable");
                rest
            }
            ["isolation", "level", first @ ("read" | "repeatable"), second, rest @ ..] => {
                add("transaction_isolation", &format!("{first} {second}"));
                rest
            }
            ["read", "only", rest @ ..] => {
                add("transaction_read_only", "on");
                rest
            }
            ["read", "write", ..] => return Err(Error::unsupported("READ WRITE transactions")),
            ["not", "deferrable", rest @ ..] => {
                add("transaction_deferrable", "off");
                rest
            }
            ["deferrable", rest @ ..] => {
                add("transaction_deferrable", "on");
                rest
            }
            other => {
                let all: Vec<String> = statement.words().collect();
                return Err(statement.syntax_error(all.len() - other.len()));
            }
        };
    }
}

fn set(statement: &SqlStatement, words: &[&str]) -> Result<Utility> {
    let (local, words) = match words {
        ["session", "characteristics", "as", "transaction", rest @ ..] => {
            let default = |(name, value): (String, String)| (format!("default_{name}"), Some(value));
            // Here READ WRITE is a default for later, which a standby of PostgreSQL accepts too.
            let rest: Vec<&str> = rest.to_vec();
            if rest == ["read", "write"] {
                let settings = vec![("default_transaction_read_only".to_owned(), Some("off".to_owned()))];
                return Ok(Utility::Set { settings, local: false });
            }
            let settings = modes(statement, &rest)?.into_iter().map(default).collect();
            return Ok(Utility::Set { settings, local: false });
        }
        ["transaction", rest @ ..] => {
            let settings =
                modes(statement, rest)?.into_iter().map(|(name, value)| (name, Some(value))).collect();
            return Ok(Utility::Set { settings, local: true });
        }
        ["local", rest @ ..] => (true, rest),
        ["session", rest @ ..] if rest.first() != Some(&"authorization") => (false, rest),
        all => (false, all),
    };
    let (name, values): (String, &[&str]) = match words {
        ["time", "zone", values @ ..] => ("TimeZone".to_owned(), values),
        ["names", values @ ..] => ("client_encoding".to_owned(), values),
        ["session", "authorization", values @ ..] => ("session_authorization".to_owned(), values),
        ["role", values @ ..] if !matches!(values.first(), Some(&"=" | &"to")) => ("role".to_owned(), values),
        [space, ".", own, "=" | "to", values @ ..] => (format!("{space}.{own}"), values),
        [name, "=" | "to", values @ ..] => ((*name).to_owned(), values),
        other => {
            return Err(statement.syntax_error(statement.words().count() - other.len().saturating_sub(1)));
        }
    };
    if values.is_empty() {
        return Err(statement.syntax_error(statement.words().count()));
    }
    let value = match values {
        ["default"] => None,
        values => Some(list(&name, values)),
    };
    Ok(Utility::Set { settings: vec![(name, value)], local })
}

/// The values of a list with `, ` between them; names of a search path are quoted where they must be.
fn list(name: &str, words: &[&str]) -> String {
    let path = name.eq_ignore_ascii_case("search_path");
    let item = |words: &[&str]| {
        let text = words.concat();
        let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if path && !plain { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
    };
    words.split(|w| *w == ",").map(item).collect::<Vec<_>>().join(", ")
}

/// The rows of SHOW: names and values.
///
/// # Errors
/// `NotFound` for a setting that does not exist.
pub(super) fn show(settings: &Settings, name: Option<&str>) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    match name {
        Some(name) => Ok((vec![Settings::usual_name(name).to_owned()], vec![vec![settings.get(name)?]])),
        None => {
            let columns = ["name", "setting", "description"].map(str::to_owned).to_vec();
            let rows = settings.all().into_iter().map(|(name, value)| vec![name, value, String::new()]);
            Ok((columns, rows.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn read(sql: &str) -> Result<Option<Utility>> {
        Utility::recognise(&SqlStatement::split(sql)?[0])
    }

    fn set_of(sql: &str) -> (String, Option<String>) {
        match read(sql) {
            Ok(Some(Utility::Set { mut settings, .. })) => settings.remove(0),
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn settings_in_all_their_spellings() {
        let pair = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        assert_eq!(set_of("SET extra_float_digits = 3"), pair("extra_float_digits", "3"));
        assert_eq!(set_of("SET TIME ZONE 'Europe/Berlin'"), pair("TimeZone", "Europe/Berlin"));
        assert_eq!(set_of("set session timezone to -3.5"), pair("timezone", "-3.5"));
        assert_eq!(set_of("SET NAMES 'UTF8'"), pair("client_encoding", "UTF8"));
        assert_eq!(
            set_of("SET search_path TO metrics, \"A b\", \"$user\""),
            pair("search_path", "metrics, \"A b\", \"$user\"")
        );
        assert_eq!(set_of("SET datestyle = ISO, MDY"), pair("datestyle", "iso, mdy"));
        assert_eq!(set_of("SET my.own = 'x'"), pair("my.own", "x"));
        assert_eq!(set_of("SET application_name TO DEFAULT"), ("application_name".to_owned(), None));
        let wanted = pair("default_transaction_isolation", "read committed");
        assert_eq!(
            set_of("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED"),
            wanted
        );
        for wrong in ["SET", "SET x", "SET x =", "RESET", "SHOW", "DISCARD x"] {
            assert_eq!(read(wrong).expect_err(wrong).kind(), Kind::Syntax, "{wrong}");
        }
    }

    #[test]
    fn transactions() -> Result<()> {
        let begin = read("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
        let modes = [("transaction_isolation", "repeatable read"), ("transaction_read_only", "on")];
        let modes = modes.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        assert_eq!(begin, Some(Utility::Begin { start: true, modes }));
        assert_eq!(read("ROLLBACK TO SAVEPOINT a")?, Some(Utility::Savepoint("ROLLBACK")));
        assert_eq!(read("end")?, Some(Utility::Commit));
        assert_eq!(read("BEGIN READ WRITE").expect_err("writes").kind(), Kind::Unsupported);
        assert_eq!(read("BEGIN nonsense").expect_err("no mode").kind(), Kind::Syntax);
        assert_eq!(read("COPY x TO STDOUT").expect_err("copy").kind(), Kind::Unsupported);
        assert_eq!(read("SELECT 1")?, None);
        Ok(())
    }
}
