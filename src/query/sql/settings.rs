//! The settings of a connection: what SET, SHOW, RESET, `current_setting()` and `pg_settings` speak of.
//!
//! Those marked in the table as `acts` change answers; the others are kept and shown because drivers set and
//! read them, and have nothing to act on in a server that only reads.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arrow::array::timezone::Tz;

use crate::error::{Error, Kind, Result};

/// The version of `PostgreSQL` that clients may take us for.
pub(crate) const SERVER_VERSION: &str = "16.6";

/// What values a setting takes.
#[derive(Debug, Clone, Copy)]
enum Domain {
    /// Fixed.
    Fixed,
    /// Any text.
    Text,
    /// on or off.
    Bool,
    /// A whole number from the first to the second.
    Int(i64, i64),
    /// A time in ms; units `us ms s min h d` are understood.
    Millis,
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// A time zone of the IANA database or an offset.
    TimeZone,
    /// `ISO` with any order of day, month and year.
    DateStyle,
    /// UTF-8 under any of its names.
    Utf8,
}

struct Known {
    name: &'static str,
    default: &'static str,
    domain: Domain,
    /// Whether clients are told of every change.
    reported: bool,
}

const fn known(name: &'static str, default: &'static str, domain: Domain) -> Known {
    Known { name, default, domain, reported: false }
}

const fn reported(name: &'static str, default: &'static str, domain: Domain) -> Known {
    Known { name, default, domain, reported: true }
}

const ISOLATION: &[&str] = &["read committed", "read uncommitted", "repeatable read", "serializable"];
const INT: Domain = Domain::Int(0, 2_147_483_647);

#[rustfmt::skip]
const KNOWN: &[Known] = &[
    // Act.
    known("search_path", "public, metrics", Domain::Text),
    reported("TimeZone", "UTC", Domain::TimeZone),
    known("statement_timeout", "0", Domain::Millis),
    known("extra_float_digits", "1", Domain::Int(-15, 3)),
    known("bytea_output", "hex", Domain::OneOf(&["hex", "escape"])),
    // One value only, and said so.
    reported("client_encoding", "UTF8", Domain::Utf8),
    reported("DateStyle", "ISO, MDY", Domain::DateStyle),
    reported("IntervalStyle", "postgres", Domain::OneOf(&["postgres"])),
    reported("standard_conforming_strings", "on", Domain::OneOf(&["on"])),
    known("transaction_read_only", "on", Domain::OneOf(&["on"])),
    known("transaction_isolation", "repeatable read", Domain::OneOf(ISOLATION)),
    known("transaction_deferrable", "off", Domain::Bool),
    // Kept and shown.
    reported("application_name", "", Domain::Text),
    reported("default_transaction_read_only", "on", Domain::Bool),
    known("default_transaction_isolation", "repeatable read", Domain::OneOf(ISOLATION)),
    known("default_transaction_deferrable", "off", Domain::Bool),
    known("client_min_messages", "notice", Domain::Text),
    known("backslash_quote", "safe_encoding", Domain::Text),
    known("check_function_bodies", "on", Domain::Bool),
    known("default_tablespace", "", Domain::Text),
    known("default_text_search_config", "pg_catalog.simple", Domain::Text),
    known("enable_seqscan", "on", Domain::Bool),
    known("escape_string_warning", "on", Domain::Bool),
    known("idle_in_transaction_session_timeout", "0", Domain::Millis),
    known("idle_session_timeout", "0", Domain::Millis),
    known("jit", "off", Domain::Bool),
    known("lock_timeout", "0", Domain::Millis),
    known("lc_messages", "C.UTF-8", Domain::Text),
    known("lc_monetary", "C.UTF-8", Domain::Text),
    known("lc_numeric", "C.UTF-8", Domain::Text),
    known("lc_time", "C.UTF-8", Domain::Text),
    known("max_parallel_workers_per_gather", "0", INT),
    known("quote_all_identifiers", "off", Domain::Bool),
    known("role", "none", Domain::Text),
    known("row_security", "on", Domain::Bool),
    known("synchronize_seqscans", "on", Domain::Bool),
    known("synchronous_commit", "on", Domain::Text),
    known("work_mem", "4MB", Domain::Text),
    known("xmloption", "content", Domain::Text),
    // Fixed.
    known("block_size", "8192", Domain::Fixed),
    reported("in_hot_standby", "off", Domain::Fixed),
    reported("integer_datetimes", "on", Domain::Fixed),
    reported("is_superuser", "off", Domain::Fixed),
    known("lc_collate", "C.UTF-8", Domain::Fixed),
    known("lc_ctype", "C.UTF-8", Domain::Fixed),
    known("max_identifier_length", "63", Domain::Fixed),
    known("max_index_keys", "32", Domain::Fixed),
    reported("server_encoding", "UTF8", Domain::Fixed),
    reported("server_version", SERVER_VERSION, Domain::Fixed),
    known("server_version_num", "160006", Domain::Fixed),
    reported("session_authorization", "", Domain::Fixed),
    known("ssl", "off", Domain::Fixed),
    known("wal_level", "replica", Domain::Fixed),
];

/// How many custom settings (`a.b`) a connection may make.
const MAX_CUSTOM: usize = 64;

fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(name))
}

type Values = BTreeMap<String, String>;

#[derive(Debug, Default)]
struct State {
    /// What the start-up packet asked for; RESET goes back to it.
    start: Values,
    /// What differs from the defaults. Keys in lower case.
    values: Values,
    /// The values at BEGIN, and what was set for the transaction only.
    transaction: Option<(Values, BTreeSet<String>)>,
}

/// The settings of one connection. Cheap to clone; clones see each other's changes.
#[derive(Debug, Clone)]
pub struct Settings {
    state: Arc<RwLock<State>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { state: Arc::new(RwLock::new(State::default())) }
    }
}

impl Settings {
    // A poisoned lock is no error here: every change is one step.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what a start-up packet asks for.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub fn start(&self, name: &str, value: &str) -> Result<()> {
        if name.eq_ignore_ascii_case("session_authorization") {
            self.write().values.insert(name.to_lowercase(), value.to_owned());
        } else {
            self.set(name, Some(value), false)?;
        }
        let mut state = self.write();
        state.start = state.values.clone();
        Ok(())
    }

    /// SET; `None` is DEFAULT. A `local` value lasts until the end of the transaction.
    ///
    /// # Errors
    /// `NotFound` for a setting that does not exist, `Invalid` for a value that it cannot have.
    pub fn set(&self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        let key = name.to_lowercase();
        let checked = match (find(name), value) {
            (Some(known), Some(value)) => Some(check(known, value)?),
            (Some(_), None) => None,
            (None, value) if name.contains('.') => value.map(str::to_owned),
            (None, _) => return Err(unrecognized(name)),
        };
        let mut state = self.write();
        if find(name).is_none() && !state.values.contains_key(&key) {
            let custom = state.values.keys().filter(|k| k.contains('.')).count();
            if custom >= MAX_CUSTOM {
                let message = format!("a connection can make at most {MAX_CUSTOM} settings of its own");
                return Err(Error::new(Kind::Limit, message));
            }
        }
        match checked.or_else(|| state.start.get(&key).cloned()) {
            Some(value) => state.values.insert(key.clone(), value),
            None => state.values.remove(&key),
        };
        if local && let Some((_, locals)) = &mut state.transaction {
            locals.insert(key);
        }
        Ok(())
    }

    /// RESET ALL.
    pub fn reset_all(&self) {
        let mut state = self.write();
        state.values = state.start.clone();
    }

    /// The value of a setting, as SHOW prints it.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, name: &str) -> Result<String> {
        let state = self.read();
        let value = state.values.get(&name.to_lowercase()).cloned();
        value.or_else(|| find(name).map(|known| known.default.to_owned())).ok_or_else(|| unrecognized(name))
    }

    /// The name in its usual case: `timezone` is `TimeZone`.
    pub fn usual_name(name: &str) -> &str {
        find(name).map_or(name, |known| known.name)
    }

    /// All settings and their values, in name order.
    pub fn all(&self) -> Vec<(String, String)> {
        let state = self.read();
        let value = |known: &Known| {
            let found = state.values.get(&known.name.to_lowercase());
            (known.name.to_owned(), found.map_or(known.default, String::as_str).to_owned())
        };
        let custom = state.values.iter().filter(|(k, _)| find(k).is_none());
        let mut all: Vec<_> =
            KNOWN.iter().map(value).chain(custom.map(|(k, v)| (k.clone(), v.clone()))).collect();
        all.sort_by_key(|(name, _)| name.to_lowercase());
        all
    }

    /// What clients are told at the start and at each change.
    pub fn reported(&self) -> Vec<(String, String)> {
        self.all().into_iter().filter(|(name, _)| find(name).is_some_and(|known| known.reported)).collect()
    }

    /// Whether all statements of the transaction that is open see one state of the data.
    pub(super) fn keeps_snapshot(&self) -> bool {
        let level = self.get("transaction_isolation").expect("transaction_isolation is a known setting");
        self.read().transaction.is_some() && !level.starts_with("read ")
    }

    /// BEGIN.
    pub(super) fn begin(&self) {
        let mut state = self.write();
        if state.transaction.is_none() {
            state.transaction = Some((state.values.clone(), BTreeSet::new()));
        }
    }

    /// COMMIT (`kept`) or ROLLBACK: what was set for the transaction, or in it, is undone.
    pub(super) fn end(&self, kept: bool) {
        let mut state = self.write();
        let Some((before, locals)) = state.transaction.take() else { return };
        if !kept {
            state.values = before;
            return;
        }
        for name in locals {
            match before.get(&name) {
                Some(value) => state.values.insert(name, value.clone()),
                None => state.values.remove(&name),
            };
        }
    }

    /// The schemas of `search_path`, in order.
    pub fn search_path(&self) -> Vec<String> {
        let path = self.get("search_path").expect("search_path is a known setting");
        let user = self.get("session_authorization").unwrap_or_default();
        let clean = |part: &str| {
            let part = part.trim();
            match part.strip_prefix('"').and_then(|p| p.strip_suffix('"')) {
                Some("$user") => user.clone(),
                Some(quoted) => quoted.replace("\"\"", "\""),
                None => part.to_lowercase(),
            }
        };
        path.split(',').map(clean).filter(|part| !part.is_empty()).collect()
    }

    /// The statement timeout in ms; `None` without one.
    pub fn statement_timeout(&self) -> Option<u64> {
        let value = self.get("statement_timeout").expect("statement_timeout is a known setting");
        value.parse().ok().filter(|ms| *ms > 0)
    }
}

fn unrecognized(name: &str) -> Error {
    Error::new(Kind::NotFound, format!("unrecognized configuration parameter \"{name}\""))
}

fn check(known: &Known, value: &str) -> Result<String> {
    let bad = || Error::invalid(format!("invalid value for parameter \"{}\": \"{value}\"", known.name));
    let lower = value.to_lowercase();
    match known.domain {
        Domain::Fixed if value == known.default => Ok(value.to_owned()),
        Domain::Fixed => Err(Error::invalid(format!("parameter \"{}\" cannot be changed", known.name))),
        Domain::Text => Ok(value.to_owned()),
        Domain::Bool => as_bool(&lower).map(|on| if on { "on" } else { "off" }.to_owned()).ok_or_else(bad),
        Domain::Int(min, max) => {
            let number: i64 = value.parse().map_err(|_| bad())?;
            (min..=max).contains(&number).then(|| number.to_string()).ok_or_else(bad)
        }
        Domain::Millis => millis(&lower).map(|ms| ms.to_string()).ok_or_else(bad),
        Domain::OneOf(all) => {
            let same =
                as_bool(&lower).map_or_else(|| lower.clone(), |on| if on { "on" } else { "off" }.to_owned());
            let found = all.iter().find(|one| **one == lower || **one == same);
            found.map(|one| (*one).to_owned()).ok_or_else(bad)
        }
        Domain::TimeZone => time_zone(value).ok_or_else(bad),
        Domain::DateStyle => {
            let parts: Vec<&str> = lower.split(',').map(str::trim).collect();
            let known = |p: &&str| ["iso", "mdy", "dmy", "ymd", "us", "euro", "european"].contains(p);
            if !parts.iter().all(known) {
                return Err(bad());
            }
            let order = match parts.iter().find(|p| **p != "iso") {
                Some(&"dmy" | &"euro" | &"european") => "DMY",
                Some(&"ymd") => "YMD",
                _ => "MDY",
            };
            Ok(format!("ISO, {order}"))
        }
        // As PostgreSQL compares names of encodings: by their letters and digits; asyncpg sends quotes, too.
        Domain::Utf8 => match lower.replace(|c: char| !c.is_ascii_alphanumeric(), "").as_str() {
            "utf8" | "unicode" => Ok("UTF8".to_owned()),
            _ => Err(bad()),
        },
    }
}

fn as_bool(value: &str) -> Option<bool> {
    match value {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some(true),
        "off" | "false" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}

fn millis(value: &str) -> Option<u64> {
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let number: u64 = value[..digits].parse().ok()?;
    let unit = match value[digits..].trim() {
        "us" => return Some(number.div_ceil(1_000)),
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit).filter(|ms| *ms <= 2_147_483_647)
}

/// The name that Arrow knows the zone by; `None` for one that it does not know.
fn time_zone(value: &str) -> Option<String> {
    let name = match value.to_lowercase().as_str() {
        "utc" | "z" | "zulu" | "gmt" | "default" | "local" => "UTC".to_owned(),
        // PostgreSQL's numbers of hours: `SET TIME ZONE 2`, `-3.5`.
        other => match other.parse::<f64>() {
            Ok(hours) if hours.abs() <= 15.0 => offset(hours),
            Ok(_) => return None,
            Err(_) => value.to_owned(),
        },
    };
    Tz::from_str(&name).ok().map(|_| name)
}

fn offset(hours: f64) -> String {
    let sign = if hours < 0.0 { '-' } else { '+' };
    let minutes = crate::model::time::seconds_to_ms(hours.abs() * 60.0) / 1_000;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_shown() -> Result<()> {
        let settings = Settings::default();
        settings.set("statement_timeout", Some("2min"), false)?;
        assert_eq!(settings.statement_timeout(), Some(120_000));
        settings.set("timezone", Some("Europe/Berlin"), false)?;
        assert_eq!(settings.get("TIMEZONE")?, "Europe/Berlin");
        settings.set("TimeZone", Some("-3.5"), false)?;
        assert_eq!(settings.get("TimeZone")?, "-03:30");
        settings.set("datestyle", Some("iso, dmy"), false)?;
        assert_eq!(settings.get("DateStyle")?, "ISO, DMY");
        for (name, value) in [
            ("timezone", "Mars/Olympus"),
            ("client_encoding", "latin1"),
            ("standard_conforming_strings", "off"),
            ("transaction_read_only", "off"),
            ("server_version", "17"),
            ("extra_float_digits", "4"),
        ] {
            let error = settings.set(name, Some(value), false).expect_err(name);
            assert_eq!(error.kind(), Kind::Invalid);
        }
        assert_eq!(settings.get("nope").expect_err("unknown").kind(), Kind::NotFound);
        assert!(settings.set("nope", Some("1"), false).is_err());
        settings.set("my.own", Some("1"), false)?;
        assert_eq!(settings.get("my.own")?, "1");
        Ok(())
    }

    #[test]
    fn transactions_undo_settings() -> Result<()> {
        let settings = Settings::default();
        settings.start("application_name", "a")?;
        settings.begin();
        settings.set("application_name", Some("b"), true)?;
        settings.set("search_path", Some("metrics"), false)?;
        settings.end(true);
        assert_eq!(settings.get("application_name")?, "a");
        assert_eq!(settings.search_path(), ["metrics"]);
        settings.begin();
        settings.set("search_path", Some("\"A b\", \"$user\", Public"), false)?;
        assert_eq!(settings.search_path(), ["A b", "public"]);
        settings.end(false);
        assert_eq!(settings.search_path(), ["metrics"]);
        settings.reset_all();
        assert_eq!(settings.search_path(), ["public", "metrics"]);
        Ok(())
    }
}
