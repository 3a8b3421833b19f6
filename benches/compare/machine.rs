//! The machine's own limits: without them no figure of one run says anything to another.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Duration;

use quipu::model::time;

use crate::Bench;
use crate::size::Part;

const BUFFER_BYTES: usize = 256 << 20;
const WRITE_BYTES: usize = 4_096;

pub(crate) fn run(bench: &mut Bench<'_>) {
    debug_assert!(bench.size.parts.contains(&Part::Machine), "only what was asked for is run");
    let copies = if bench.size.runs > 2 { 10 } else { 1 };
    let best = (0..copies).map(|_| copy(bench)).min().unwrap_or_default();
    let gigabytes = 2.0 * time::count_to_f64(BUFFER_BYTES) / 1e9;
    bench.table.limit(format!("copy {:.1} GB/s (read + write, one thread)", gigabytes / best.as_secs_f64()));
    let mut syncs = sync(bench, if bench.size.runs > 2 { 500 } else { 5 });
    syncs.sort_unstable();
    let at = |percent: usize| milliseconds(syncs[(syncs.len() - 1) * percent / 100]);
    bench.table.limit(format!("fdatasync of 4 KiB p50 {:.2} ms, p99 {:.2} ms", at(50), at(99)));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    bench.table.limit(format!("{cores} cores"));
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn copy(bench: &Bench<'_>) -> Duration {
    let from = vec![1_u8; BUFFER_BYTES];
    let mut to = vec![2_u8; BUFFER_BYTES];
    let begun = bench.clock.monotonic();
    to.copy_from_slice(black_box(&from));
    black_box(&to);
    bench.clock.monotonic().saturating_sub(begun)
}

fn sync(bench: &Bench<'_>, times: usize) -> Vec<Duration> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut file = File::create(folder.path().join("sync")).expect("a file in it");
    let page = [7; WRITE_BYTES];
    let one = |_| {
        let begun = bench.clock.monotonic();
        file.write_all(&page).expect("the disk takes 4 KiB");
        file.sync_data().expect("the disk syncs");
        bench.clock.monotonic().saturating_sub(begun)
    };
    (0..times).map(one).collect()
}
