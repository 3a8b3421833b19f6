//! The loop: which files are there, whose turn it is, and what becomes of those that were rotated away.
//!
//! Rotation by rename needs nothing: the inode keeps its position, and a file that no pattern finds any more is read
//! to its end while it is open. Rotation by copy and truncation is a new file that begins as a followed one does and
//! has its name with a number: it takes over that file's position when that file is truncated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;

use super::file::{Fingerprint, Id, Opened, Rest, Tailed, id_of, is_rotated};
use super::lines::Flush;
use super::round::{Ground, Times, store};
use crate::error::Result;
use crate::model::{FilePosition, LogBatch};
use crate::source::settings::LogFileSettings;

/// How often files are looked at.
const POLL: Duration = Duration::from_millis(250);
/// How often patterns are looked up.
const SCAN: Duration = Duration::from_secs(2);
/// Files that are followed at a time.
const MAX_FILES: usize = 500;
/// Files whose bytes are in memory at a time.
const CONCURRENT: usize = 8;
/// How long a file that was renamed or deleted must be quiet before it is let go.
const QUIET_RENAMED: Duration = Duration::from_mins(1);
const QUIET_DELETED: Duration = Duration::from_secs(5);
/// Positions of files that are not seen for so long are forgotten.
const FORGOTTEN: Duration = Duration::from_hours(24);
/// Truncated files whose copies may still turn up.
const FORMER: usize = 64;
/// What compression leaves behind: not read.
const COMPRESSED: [&str; 6] = ["gz", "zst", "bz2", "xz", "lz4", "zip"];

/// What a truncated file was.
#[derive(Debug)]
struct Former {
    path: PathBuf,
    print: Fingerprint,
    offset: u64,
}

/// The loop's state.
#[derive(Debug)]
pub(super) struct Follower {
    ground: Ground,
    times: Times,
    watches: Vec<Arc<LogFileSettings>>,
    files: BTreeMap<Id, Tailed>,
    /// Positions of files that are not followed now, and since when.
    absent: BTreeMap<Id, (FilePosition, Duration)>,
    former: Vec<Former>,
    /// A complaint about too many files was made.
    complained: bool,
}

impl Follower {
    pub(super) fn new(ground: Ground) -> Self {
        let now = ground.clock.monotonic();
        let times = Times::new();
        let positions = ground.sink.positions().into_iter().map(|position| {
            times.pass(position.last_ns);
            (Id { device: position.device, inode: position.inode }, (position, now))
        });
        let absent = positions.collect();
        let (watches, files, former) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { ground, times, watches, files, absent, former, complained: false }
    }

    /// Follows files until the shutdown.
    pub(super) async fn run(mut self, mut changes: watch::Receiver<Arc<[LogFileSettings]>>) {
        let mut next_scan = Duration::ZERO;
        while !self.ground.shutdown.is_stopped() {
            if changes.has_changed().unwrap_or(false) {
                self.set_watches(&changes.borrow_and_update().clone());
                next_scan = Duration::ZERO;
            }
            let now = self.ground.clock.monotonic();
            let replaced = self.files.values().any(|file| file.replaced);
            if now >= next_scan || replaced {
                self.scan().await;
                self.restart_replaced().await;
                self.let_go().await;
                next_scan = now + SCAN;
            }
            if self.turns().await {
                continue;
            }
            tokio::select! {
                biased;
                () = self.ground.shutdown.stopped() => {}
                changed = changes.changed(), if changes.has_changed().is_ok() => {
                    // Marked as seen; looked at in any case.
                    drop(changed);
                    changes.mark_changed();
                }
                () = self.ground.clock.sleep(POLL) => {}
            }
        }
    }

    /// Keeps the files of watches that stay; the others wait as positions for whoever finds them.
    fn set_watches(&mut self, settings: &[LogFileSettings]) {
        self.watches = settings.iter().cloned().map(Arc::new).collect();
        let now = self.ground.clock.monotonic();
        let gone = self.files.values().filter(|file| !settings.contains(&file.settings)).map(|file| file.id);
        let gone: Vec<Id> = gone.collect();
        for id in gone {
            let removed = self.files.remove(&id);
            // A copy that waits for its original is found as one again.
            if let Some(file) = removed.filter(|file| file.shadow_of.is_none()) {
                self.absent.insert(id, (file.position(), now));
            }
        }
        self.count_files();
    }

    fn count_files(&self) {
        let count = crate::model::time::count_to_f64(self.files.len());
        self.ground.registry.gauge("quipu_log_files", "Log files that are followed.", &[]).set(count);
    }

    /// One turn of every file; `true` when more is waiting.
    async fn turns(&mut self) -> bool {
        let (ground, times) = (&self.ground, &self.times);
        let now = ground.clock.monotonic();
        let mut turns: Vec<BoxFuture<'_, bool>> = Vec::with_capacity(self.files.len());
        for file in self.files.values_mut() {
            let flush = if file.is_overdue(now) { Flush::Lines } else { Flush::No };
            turns.push(file.turn(ground, times, flush).boxed());
        }
        let turns = futures::stream::iter(turns).buffer_unordered(CONCURRENT);
        turns.fold(false, |busy, more| async move { busy | more }).await
    }

    /// Looks up the patterns: new files are opened, those that are gone are marked.
    async fn scan(&mut self) {
        let mut seen = BTreeSet::new();
        for watch in self.watches.clone() {
            let known: BTreeSet<Id> = self.files.keys().copied().collect();
            let room = MAX_FILES.saturating_sub(known.len());
            let settings = Arc::clone(&watch);
            let found = self.ground.pools.run_blocking(move || find(&settings.paths, &known, room)).await;
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(%error, "log files cannot be looked up; they are followed as before");
                    return;
                }
            };
            seen.extend(found.ids);
            if found.skipped > 0 && !self.complained {
                self.complained = true;
                tracing::error!(
                    limit = MAX_FILES,
                    skipped = found.skipped,
                    "too many log files; some are not followed"
                );
            }
            for (path, opened) in found.new {
                seen.insert(opened.id);
                if !self.files.contains_key(&opened.id) {
                    self.follow(path, opened, &watch).await;
                }
            }
        }
        for file in self.files.values_mut() {
            file.lost = !seen.contains(&file.id);
        }
        self.count_files();
    }

    /// Begins with a file: where its position says, where a truncated file was whose copy it is, or at its start.
    async fn follow(&mut self, path: PathBuf, opened: Opened, watch: &Arc<LogFileSettings>) {
        let id = opened.id;
        let mut file = Tailed {
            id,
            path,
            print: opened.print(),
            settings: Arc::clone(watch),
            offset: 0,
            last_ns: i64::MIN,
            seen: None,
            stamp: None,
            changed: self.ground.clock.monotonic(),
            rest: Rest::Nothing,
            replaced: false,
            lost: false,
            shadow_of: None,
            file: Arc::clone(&opened.file),
        };
        match self.absent.remove(&id) {
            Some((position, _)) if opened.is_at(&position) => {
                file.offset = position.offset;
                file.last_ns = position.last_ns;
                file.print = Fingerprint::in_position(&position);
                file.path = PathBuf::from(position.path);
                tracing::info!(file = %file.path.display(), offset = file.offset, "a log file is read on");
            }
            other => {
                if let Some((position, _)) = other {
                    self.remember(&position);
                }
                self.inherit(&mut file, &opened.start, opened.len).await;
                tracing::info!(file = %file.path.display(), offset = file.offset, "a log file is read");
            }
        }
        self.files.insert(id, file);
    }

    /// What a file was before it was truncated.
    fn remember(&mut self, position: &FilePosition) {
        if self.former.len() >= FORMER {
            self.former.remove(0);
        }
        self.former.push(Former {
            path: PathBuf::from(&position.path),
            print: Fingerprint::in_position(position),
            offset: position.offset,
        });
    }

    /// Finds out whether a new file is the copy that rotation made of another one.
    async fn inherit(&mut self, file: &mut Tailed, start: &[u8], len: u64) {
        let is_copy = |path: &Path, print: Fingerprint| {
            print.len > 0 && print.is_of(start) && is_rotated(&file.path, path)
        };
        if let Some(former) = self.former.iter().find(|former| is_copy(&former.path, former.print)) {
            file.offset = former.offset.min(len);
            self.save(file.position()).await;
            return;
        }
        let original = self.files.values().find(|other| is_copy(&other.path, other.print));
        if let Some(original) = original {
            file.shadow_of = Some(original.id);
            return;
        }
        // A copy whose original is not followed now, or not any more.
        let absent = self.absent.values().find(|(position, _)| {
            let print = Fingerprint::in_position(position);
            is_copy(Path::new(&position.path), print)
        });
        if let Some((position, _)) = absent {
            file.offset = position.offset.min(len);
            self.save(file.position()).await;
        }
    }

    /// Files that were truncated are read from their start; their copies take over what they were.
    async fn restart_replaced(&mut self) {
        let replaced = self.files.values().filter(|file| file.replaced);
        let replaced: Vec<FilePosition> = replaced.map(Tailed::position).collect();
        for before in replaced {
            let id = Id { device: before.device, inode: before.inode };
            self.release_shadows(id, before.offset).await;
            self.remember(&before);
            let Some(file) = self.files.get_mut(&id) else { continue };
            tracing::info!(file = %file.path.display(), "a log file was truncated and is read from its start");
            (file.replaced, file.rest, file.stamp) = (false, Rest::Nothing, None);
            (file.offset, file.print) = (0, Fingerprint::of_nothing());
        }
    }

    /// The copies of a file are read from where it was read.
    async fn release_shadows(&mut self, of: Id, offset: u64) {
        let mut positions = Vec::new();
        for file in self.files.values_mut().filter(|file| file.shadow_of == Some(of)) {
            let len = file.file.metadata().map_or(0, |meta| meta.len());
            file.shadow_of = None;
            file.offset = offset.min(len);
            positions.push(file.position());
        }
        for position in positions {
            self.save(position).await;
        }
    }

    /// Stores a position by itself.
    async fn save(&self, position: FilePosition) -> bool {
        store(&self.ground, LogBatch { position: Some(position), ..LogBatch::default() }).await
    }

    /// Lets files go that were renamed or deleted and are quiet, and positions that nobody came for.
    async fn let_go(&mut self) {
        let now = self.ground.clock.monotonic();
        let lost = self.files.values().filter(|file| file.lost && !file.replaced).map(|file| file.id);
        let lost: Vec<Id> = lost.collect();
        for id in lost {
            let Some(file) = self.files.get_mut(&id) else { continue };
            let deleted = is_deleted(file);
            let quiet = now.saturating_sub(file.changed);
            if quiet < if deleted { QUIET_DELETED } else { QUIET_RENAMED } {
                continue;
            }
            // The end of a last line will not come any more.
            while file.turn(&self.ground, &self.times, Flush::All).await {}
            if file.replaced || self.ground.shutdown.is_stopped() {
                continue;
            }
            let Some(file) = self.files.remove(&id) else { continue };
            tracing::info!(file = %file.path.display(), deleted, "a log file is let go");
            let position = file.position();
            self.release_shadows(id, position.offset).await;
            if file.shadow_of.is_some() {
                continue;
            }
            if deleted {
                self.save(FilePosition { is_done: true, ..position }).await;
            } else {
                self.absent.insert(id, (position, now));
            }
        }
        self.forget(now).await;
        self.count_files();
    }

    async fn forget(&mut self, now: Duration) {
        let old = self.absent.iter().filter(|(_, (_, since))| now.saturating_sub(*since) >= FORGOTTEN);
        let old: Vec<Id> = old.map(|(id, _)| *id).collect();
        for id in old {
            if let Some((position, _)) = self.absent.remove(&id) {
                self.save(FilePosition { is_done: true, ..position }).await;
            }
        }
    }
}

fn is_deleted(file: &Tailed) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.file.metadata().is_ok_and(|meta| meta.nlink() == 0)
}

/// What patterns match.
#[derive(Debug, Default)]
struct FoundFiles {
    /// Files that are followed.
    ids: Vec<Id>,
    new: Vec<(PathBuf, Opened)>,
    skipped: usize,
}

/// Looks up patterns and opens what is not known, at most `room` files.
fn find(patterns: &[String], known: &BTreeSet<Id>, room: usize) -> Result<FoundFiles> {
    let mut found = FoundFiles::default();
    let mut paths = BTreeSet::new();
    for pattern in patterns {
        let matches = glob::glob(pattern)
            .map_err(|e| crate::error::Error::invalid("not a pattern of paths").caused_by(e))?;
        // A folder that may not be read has no files for us.
        paths.extend(matches.filter_map(std::result::Result::ok));
    }
    for path in paths {
        if path.extension().is_some_and(|e| COMPRESSED.iter().any(|known| e.eq_ignore_ascii_case(known))) {
            continue;
        }
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        let id = id_of(&meta);
        if known.contains(&id) || found.new.iter().any(|(_, opened)| opened.id == id) {
            found.ids.push(id);
        } else if !meta.is_file() {
            // A folder, or something that is no file of lines.
        } else if found.new.len() >= room {
            found.skipped += 1;
        } else {
            match Opened::at(&path) {
                Ok(Some(opened)) => found.new.push((path, opened)),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a log file cannot be opened"),
            }
        }
    }
    Ok(found)
}
