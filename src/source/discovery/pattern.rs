//! File patterns: a directory and a last component that may hold `*`, `?` and `[a-z]`, as in Prometheus'
//! `files` and `scrape_config_files`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// More matches than this are a wrong pattern, not a configuration.
const MAX_FILES: usize = 10_000;

/// Which files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePattern {
    dir: PathBuf,
    name: String,
}

impl FilePattern {
    /// A pattern of target files, which end in `.json`, `.yml` or `.yaml`.
    ///
    /// # Errors
    /// `Config` when the ending is another one or a wildcard stands before the last component.
    pub fn new(path: &Path) -> Result<Self> {
        let pattern = Self::any(path)?;
        let ending = Path::new(&pattern.name).extension().map(|e| e.to_string_lossy().to_lowercase());
        if !ending.is_some_and(|e| matches!(e.as_str(), "json" | "yml" | "yaml")) {
            let message =
                format!("path name {:?} is not valid for file discovery", path.display().to_string());
            return Err(Error::new(Kind::Config, message));
        }
        Ok(pattern)
    }

    /// A pattern of files with any ending.
    ///
    /// # Errors
    /// `Config` when a wildcard stands before the last component.
    pub fn any(path: &Path) -> Result<Self> {
        let bad = |what| Error::new(Kind::Config, what).with("path", path.display());
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| bad("a file pattern needs a file name"))?;
        let dir = path.parent().unwrap_or_else(|| Path::new("."));
        if dir.to_string_lossy().contains(['*', '?', '[']) {
            return Err(bad("wildcards are allowed in the last component of a file pattern only"));
        }
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        Ok(Self { dir: dir.to_owned(), name: name.to_owned() })
    }

    /// The files that match now, in name order. A directory that is not there has none.
    ///
    /// # Errors
    /// `Io` when the directory cannot be read, `Limit` at more than 10,000 files.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        if !self.name.contains(['*', '?', '[']) {
            let path = self.dir.join(&self.name);
            return Ok(if path.exists() { vec![path] } else { Vec::new() });
        }
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(e) => return Err(Error::from(e).with("directory", self.dir.display())),
        };
        let mut files = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| Error::from(e).with("directory", self.dir.display()))?.file_name();
            if name.to_str().is_some_and(|name| matches(self.name.as_bytes(), name.as_bytes())) {
                files.push(self.dir.join(name));
            }
            if files.len() > MAX_FILES {
                let message = format!("a file pattern matches more than {MAX_FILES} files");
                return Err(
                    Error::new(Kind::Limit, message).with("pattern", self.dir.join(&self.name).display())
                );
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}

/// Shell matching of one component; backtracks to the last star only, so it is linear times quadratic at most.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(b'[') => class(&pattern[p..], name[n]),
            Some(b'?') => Some(1),
            Some(byte) if *byte == name[n] => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(width), _) => (p, n) = (p + width, n + 1),
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Whether a byte is in the class `[a-z]` or `[^a-z]` that the pattern begins with; gives the class' width.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let close = pattern.iter().skip(2).position(|b| *b == b']')? + 2;
    let negated = pattern[1] == b'^';
    let mut inside = &pattern[if negated { 2 } else { 1 }..close];
    let mut found = false;
    while let [low, rest @ ..] = inside {
        let (high, rest) = match rest {
            [b'-', high, rest @ ..] => (high, rest),
            rest => (low, rest),
        };
        found |= (*low..=*high).contains(&byte);
        inside = rest;
    }
    (found != negated).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_matches_as_in_a_shell() {
        let cases = [
            ("*.json", "a.json", true),
            ("*.json", "a.yml", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("t?.yml", "t1.yml", true),
            ("t?.yml", "t.yml", false),
            ("t[0-3x].yml", "t2.yml", true),
            ("t[0-3x].yml", "tx.yml", true),
            ("t[0-3x].yml", "t4.yml", false),
            ("t[^0-3].yml", "t4.yml", true),
            ("t[", "t[", false),
            ("**", "", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn only_known_endings_and_only_the_last_component() {
        for bad in ["a.txt", "a", "dir*/a.json", "..", "a.json/"] {
            let refused = FilePattern::new(Path::new(bad)).is_err();
            assert!(refused || bad == "a.json/", "{bad}");
        }
        assert!(FilePattern::new(Path::new("/etc/sd/*.JSON")).is_ok());
    }
}
