//! `file_sd_configs`: groups in JSON and YAML files.
//!
//! The files are watched by polling: their names, sizes and modification times every few seconds, all contents
//! at `refresh_interval`. A file that cannot be read or parsed keeps the targets it had and is reported; a file
//! that is gone takes its targets with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;

use super::{Discover, Group};
use crate::error::{Error, Kind, Result};
use crate::runtime::{Clock, Pools};
use crate::source::settings::FileSdSettings;

/// How often names, sizes and times are looked at.
const POLL: Duration = Duration::from_secs(3);
/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
const FILE_LABEL: &str = "__meta_filepath";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// What shows that a file has changed.
type Stamp = (SystemTime, u64);

#[derive(Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    groups: Vec<Group>,
}

/// Watches the files of one `file_sd_configs` entry.
#[derive(Debug)]
pub struct FileDiscovery {
    settings: FileSdSettings,
    clock: Clock,
    pools: Pools,
    known: BTreeMap<PathBuf, Known>,
    /// Monotonic time of the last full reading; `None` before the first.
    refreshed: Option<Duration>,
}

impl FileDiscovery {
    /// A watch that has read nothing yet.
    pub fn new(settings: FileSdSettings, clock: Clock, pools: Pools) -> Self {
        Self { settings, clock, pools, known: BTreeMap::new(), refreshed: None }
    }

    async fn changed(&mut self) -> Vec<Group> {
        loop {
            let first = self.refreshed.is_none();
            if !first {
                self.clock.sleep(POLL.min(self.settings.refresh_interval.as_std())).await;
            }
            let due = self.refreshed.is_none_or(|at| {
                self.clock.monotonic().saturating_sub(at) >= self.settings.refresh_interval.as_std()
            });
            let changed = self.look(due).await;
            if due {
                self.refreshed = Some(self.clock.monotonic());
            }
            if first || changed {
                return self.known.values().flat_map(|known| known.groups.iter().cloned()).collect();
            }
        }
    }

    /// Looks at the files, and into those that changed or, when `all`, into all of them; whether a group did.
    async fn look(&mut self, all: bool) -> bool {
        let patterns = self.settings.patterns.clone();
        let stamps: BTreeMap<PathBuf, Option<Stamp>> =
            self.known.iter().map(|(path, known)| (path.clone(), known.stamp)).collect();
        let found = self.pools.run_blocking(move || look(&patterns, &stamps, all)).await;
        match found {
            Ok(found) => self.take(found),
            Err(error) => {
                tracing::error!(%error, "file discovery failed; its targets stay as they are");
                false
            }
        }
    }

    fn take(&mut self, found: BTreeMap<PathBuf, Found>) -> bool {
        let before = self.known.len();
        self.known.retain(|path, _| found.contains_key(path));
        let mut changed = self.known.len() != before;
        for (path, found) in found {
            let known = self.known.entry(path).or_default();
            match found {
                Found::Unchanged => {}
                Found::Groups(stamp, groups) => {
                    known.stamp = Some(stamp);
                    changed |= known.groups != groups;
                    known.groups = groups;
                }
                Found::Bad(stamp, error) => {
                    known.stamp = stamp;
                    tracing::error!(%error, "a target file is bad; its targets stay as they were");
                }
            }
        }
        changed
    }
}

impl Discover for FileDiscovery {
    fn next(&mut self) -> BoxFuture<'_, Vec<Group>> {
        self.changed().boxed()
    }
}

enum Found {
    Unchanged,
    Groups(Stamp, Vec<Group>),
    Bad(Option<Stamp>, Error),
}

fn look(
    patterns: &[super::FilePattern],
    stamps: &BTreeMap<PathBuf, Option<Stamp>>,
    all: bool,
) -> Result<BTreeMap<PathBuf, Found>> {
    let mut found = BTreeMap::new();
    for pattern in patterns {
        for path in pattern.files()? {
            let known = stamps.get(&path).copied().flatten();
            let state = look_at(&path, known.filter(|_| !all));
            found.insert(path, state);
        }
    }
    Ok(found)
}

fn look_at(path: &Path, known: Option<Stamp>) -> Found {
    let stamp = match std::fs::metadata(path).and_then(|meta| Ok((meta.modified()?, meta.len()))) {
        Ok(stamp) => stamp,
        Err(e) => return Found::Bad(None, Error::from(e).with("file", path.display())),
    };
    if known == Some(stamp) {
        return Found::Unchanged;
    }
    match read(path, stamp.1) {
        Ok(groups) => Found::Groups(stamp, groups),
        Err(e) => Found::Bad(Some(stamp), e.with("file", path.display())),
    }
}

fn read(path: &Path, len: u64) -> Result<Vec<Group>> {
    if len > MAX_FILE_BYTES {
        return Err(Error::new(Kind::Limit, format!("a target file is larger than {MAX_FILE_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path)?;
    let json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let raw: Option<Vec<RawGroup>> = if json {
        serde_json::from_str(&text).map_err(|e| Error::new(Kind::Config, e.to_string()))?
    } else {
        serde_saphyr::from_str(&text)
            .map_err(|e| Error::new(Kind::Config, e.without_snippet().to_string()))?
    };
    Ok(raw.into_iter().flatten().enumerate().map(|(i, raw)| group(path, i, raw)).collect())
}

fn group(path: &Path, index: usize, raw: RawGroup) -> Group {
    let mut labels = raw.labels.unwrap_or_default();
    labels.insert(FILE_LABEL.to_owned(), path.display().to_string());
    Group {
        source: format!("{}:{index}", path.display()),
        targets: raw.targets,
        labels: labels.into_iter().collect(),
    }
}
