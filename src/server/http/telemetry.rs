//! `/metrics`: the node's own registry, and what the operating system says about the process.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::reply::text;
use super::{Door, Reload, Rooms};
use crate::model::push_go_float;
use crate::model::time::{count_to_f64, ms_to_seconds};
use crate::runtime::Registry;
use crate::store::CacheCounts;

/// Linux counts CPU time for user space in hundredths of a second (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// GET: text format 0.0.4.
pub(super) async fn metrics(State(door): State<Arc<Door>>) -> Response {
    let mut body = door.registry.render();
    if let Ok(rooms) = door.rooms() {
        push_rooms(&mut body, rooms);
    }
    push_process(&mut body, door.started_ms);
    let mut response = text(StatusCode::OK, body);
    let version = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, version);
    response
}

/// Registers what never changes while the process runs.
pub(super) fn register(registry: &Registry) {
    let help = "A metric with a constant 1 and the version.";
    registry.gauge("quipu_build_info", help, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
}

/// What became of the last attempt to read the configuration.
pub(super) fn report_reload(registry: &Registry, reload: &Reload) {
    let help = "Whether the last attempt to read the configuration was taken.";
    let success = if reload.success { 1.0 } else { 0.0 };
    registry.gauge("quipu_config_last_reload_successful", help, &[]).set(success);
    let help = "When the configuration in force was read.";
    let seconds = ms_to_seconds(reload.loaded_ms);
    registry.gauge("quipu_config_last_reload_success_timestamp_seconds", help, &[]).set(seconds);
}

/// The metrics that every Prometheus client library has, from `/proc/self`. What cannot be read is left out.
fn push_process(out: &mut String, started_ms: i64) {
    let status = read("/proc/self/status");
    let bytes = |field| number_after(&status, field).map(|kib| kib * 1024.0);
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|entries| count_to_f64(entries.count()));
    let max = number_after(&read("/proc/self/limits"), "Max open files");
    let cpu = cpu_seconds(&read("/proc/self/stat"));
    let rows = [
        ("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", cpu),
        ("process_max_fds", "gauge", "Maximum number of open file descriptors.", max),
        ("process_open_fds", "gauge", "Number of open file descriptors.", open),
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", bytes("VmRSS:")),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            Some(ms_to_seconds(started_ms)),
        ),
        ("process_threads", "gauge", "Number of threads.", number_after(&status, "Threads:")),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", bytes("VmSize:")),
    ];
    for (name, kind, help, value) in rows {
        if let Some(value) = value {
            push_family(out, (name, kind, help), [(String::new(), value)]);
        }
    }
}

/// What the rooms count by themselves and not in the registry.
fn push_rooms(out: &mut String, rooms: &Rooms) {
    type Figure = fn(&CacheCounts) -> u64;
    let caches = rooms.store.cache_counts();
    let figures: [(_, Figure); 5] = [
        (("quipu_cache_bytes", "gauge", "Bytes that the read caches hold."), |counts| counts.bytes),
        (("quipu_cache_entries", "gauge", "Entries that the read caches hold."), |counts| counts.entries),
        (("quipu_cache_evictions_total", "counter", "Entries that made room."), |counts| counts.evicted),
        (("quipu_cache_hits_total", "counter", "Look-ups that found something."), |counts| counts.hits),
        (("quipu_cache_misses_total", "counter", "Look-ups that found nothing."), |counts| counts.misses),
    ];
    for (family, figure) in figures {
        let rows =
            caches.iter().map(|(name, counts)| (format!("{{cache=\"{name}\"}}"), float(figure(counts))));
        push_family(out, family, rows);
    }
    let help = "Bytes that requests of remote write and of logs hold while they are stored.";
    let held = float(rooms.write_memory.used());
    push_family(out, ("quipu_remote_write_memory_bytes", "gauge", help), [(String::new(), held)]);
}

fn float(count: u64) -> f64 {
    count_to_f64(usize::try_from(count).unwrap_or(usize::MAX))
}

/// One family in the text format: name, type, help; then a row for each label text.
fn push_family(
    out: &mut String,
    (name, kind, help): (&str, &str, &str),
    rows: impl IntoIterator<Item = (String, f64)>,
) {
    let mut push = |line: std::fmt::Arguments<'_>| {
        writeln!(out, "{line}").expect("writing to a String cannot fail");
    };
    push(format_args!("# HELP {name} {help}"));
    push(format_args!("# TYPE {name} {kind}"));
    for (labels, value) in rows {
        let mut digits = Vec::new();
        push_go_float(&mut digits, value);
        push(format_args!("{name}{labels} {}", String::from_utf8_lossy(&digits)));
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn number_after(text: &str, field: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15 of proc(5)'s `stat`, counted after the program's name, which may hold spaces.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_right() {
        let mut stat = String::from("7 (a b) c) S");
        stat.extend((4..=20).map(|field| format!(" {field}00")));
        // utime is field 14, stime field 15.
        assert_eq!(cpu_seconds(&stat), Some(29.0));
        assert_eq!(number_after("VmSize:\t  10 kB\nVmRSS:\t  7 kB\n", "VmRSS:"), Some(7.0));
        assert_eq!(number_after("VmSize: 10 kB", "VmRSS:"), None);
    }

    #[test]
    fn the_process_reports_itself() {
        let mut out = String::new();
        push_process(&mut out, 1_500);
        assert!(out.contains("\nprocess_start_time_seconds 1.5\n"), "{out}");
        assert!(out.contains("# TYPE process_resident_memory_bytes gauge\n"), "{out}");
    }
}
