//! The log against crashes, flipped bytes and full disks.

use std::path::PathBuf;
use std::sync::RwLock;

use super::segment::Step;
use super::*;
use crate::model::{Handle, Labels, MetricType, Timestamps};
use crate::runtime::fuzz::fuzz;
use crate::runtime::{Clock, Fault};
use crate::store::buffer::Rows;

struct Bench {
    disk: Disk,
    registry: RwLock<Registry>,
    handles: Vec<Handle>,
    tenant: Tenant,
}

fn dir() -> PathBuf {
    PathBuf::from("/wal")
}

impl Bench {
    fn new(series: usize) -> Self {
        let mut registry = Registry::new(1_000);
        let handles = (0..series)
            .map(|i| {
                let labels = Labels::from_pairs([("job", "j"), ("n", i.to_string().as_str())]).unwrap();
                registry.resolve("m", labels.as_ref()).unwrap().0
            })
            .collect();
        let disk = Disk::simulated(7, Clock::manual(0));
        Self { disk, registry: RwLock::new(registry), handles, tenant: Tenant::default() }
    }

    fn batch(&self, series: &[usize], time: i64, value: f64) -> Batch {
        Batch {
            series: series.iter().map(|i| self.handles[*i]).collect(),
            timestamps: Timestamps::Shared(time),
            values: vec![value; series.len()],
            ..Batch::default()
        }
    }

    fn append(&self, wal: &mut Wal, batch: &Batch) -> Result<u64> {
        let rows = Rows { batch, only: None };
        let (tenant, registry) = (&self.tenant, &self.registry);
        let parts = vec![(Class::Live, Part::Samples(rows))];
        let request = Request { tenant, parts, batch, registry, logs: None };
        wal.append(&[request]).map(|sequences| sequences[0][0])
    }

    fn open(&self) -> (Wal, Vec<ReplayedSegment>) {
        let (mut wal, segments) = Wal::open(self.disk.clone(), &dir(), 1 << 20).unwrap();
        let last = segments.last().copied();
        let replayed = segments
            .iter()
            .map(|number| wal.replay_segment(*number, Some(*number) == last).unwrap())
            .collect();
        (wal, replayed)
    }

    /// (sequence, labels of the series, time, value) of every replayed row.
    fn rows(replayed: &[ReplayedSegment]) -> Vec<(u64, String, i64, f64)> {
        let mut rows = Vec::new();
        for segment in replayed {
            for record in &segment.records {
                let ReplayedBody::Samples(body) = &record.body else { continue };
                for (row, reference) in body.references.iter().enumerate() {
                    let meant = segment
                        .definitions
                        .iter()
                        .rfind(|(_, at, d)| d.reference == *reference && *at <= record.sequence)
                        .or_else(|| segment.definitions.iter().find(|(_, _, d)| d.reference == *reference))
                        .expect("every reference is defined");
                    let name = meant.2.key.labels.get("n").unwrap().to_owned();
                    rows.push((record.sequence, name, body.timestamps.at(row), body.values[row]));
                }
            }
        }
        rows
    }
}

fn segment_file(bench: &Bench, number: u64) -> Vec<u8> {
    bench.disk.read(&segment::path_of(&dir(), number)).unwrap().to_vec()
}

fn replace_file(bench: &Bench, number: u64, bytes: &[u8]) {
    let path = segment::path_of(&dir(), number);
    bench.disk.remove(&path).unwrap();
    let mut file = bench.disk.create_new(&path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_data().unwrap();
    bench.disk.sync_dir(&dir()).unwrap();
}

#[test]
fn a_copy_of_older_records_behind_the_end_is_not_applied_again() {
    let bench = Bench::new(2);
    let (mut wal, _) = bench.open();
    for i in 0i32..3 {
        bench.append(&mut wal, &bench.batch(&[0, 1], i64::from(i), f64::from(i))).unwrap();
    }
    wal.sync().unwrap();
    drop(wal);
    let bytes = segment_file(&bench, 1);
    let records = bytes[segment::SEGMENT_HEADER_LEN..].to_vec();
    replace_file(&bench, 1, &[&bytes[..], &records[..records.len() - 1]].concat());
    let (mut wal, replayed) = bench.open();
    assert_eq!(Bench::rows(&replayed).len(), 6, "each row once");
    assert_eq!(replayed[0].quarantined, 2);
    assert_eq!(bench.append(&mut wal, &bench.batch(&[0], 9, 9.0)).unwrap(), 4, "no sequence is given twice");
}

#[test]
fn what_was_synced_is_replayed_and_sequences_go_on() {
    let bench = Bench::new(3);
    let (mut wal, replayed) = bench.open();
    assert!(replayed.is_empty());
    for i in 0i32..5 {
        let sequence = bench.append(&mut wal, &bench.batch(&[0, 1, 2], i64::from(i), f64::from(i))).unwrap();
        assert_eq!(sequence, u64::try_from(i).unwrap() + 1);
    }
    wal.sync().unwrap();
    let directory = wal.directory();
    drop(wal);
    bench.disk.sim().unwrap().crash();
    let (mut wal, replayed) = bench.open();
    assert_eq!(wal.directory(), directory, "the identity survives");
    let rows = Bench::rows(&replayed);
    assert_eq!(rows.len(), 15);
    assert_eq!(rows[14], (5, "2".to_owned(), 4, 4.0));
    wal.resume(9);
    assert_eq!(bench.append(&mut wal, &bench.batch(&[0], 9, 9.0)).unwrap(), 10);
}

#[test]
fn what_a_killed_process_wrote_is_durable_once_it_is_replayed() {
    for appends in 1..8 {
        let bench = Bench::new(1);
        let (mut wal, _) = bench.open();
        wal.resume(0);
        for time in 0..appends {
            bench.append(&mut wal, &bench.batch(&[0], time, 1.0)).unwrap();
        }
        drop(wal);
        bench.disk.sim().unwrap().kill();
        let seen = Bench::rows(&bench.open().1);
        assert_eq!(
            i64::try_from(seen.len()).unwrap(),
            appends,
            "what was written is there after a mere kill"
        );
        bench.disk.sim().unwrap().crash();
        assert_eq!(Bench::rows(&bench.open().1), seen, "and stays once it was seen");
    }
}

#[test]
fn a_flipped_byte_costs_its_record_only() {
    let bench = Bench::new(4);
    let (mut wal, _) = bench.open();
    for i in 0..4usize {
        // Each record uses a series for the first time, so its definition must survive elsewhere.
        let series: Vec<usize> = (0..=i).collect();
        bench.append(&mut wal, &bench.batch(&series, 1, 1.0)).unwrap();
    }
    bench.append(&mut wal, &bench.batch(&[0, 1, 2, 3], 2, 2.0)).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let good = segment_file(&bench, 1);
    let all = Bench::rows(&bench.open().1);
    assert_eq!(all.len(), 14);
    let last_record = {
        let mut walk = Walk::new(&good);
        let mut starts = vec![segment::SEGMENT_HEADER_LEN];
        while let Some(Step::Record { .. }) = walk.next() {
            starts.push(walk.good_end);
        }
        starts[starts.len() - 2]
    };
    for at in segment::SEGMENT_HEADER_LEN..last_record {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        replace_file(&bench, 1, &bad);
        let (_, replayed) = bench.open();
        assert_eq!(replayed[0].quarantined, 1, "at {at}");
        let rows = Bench::rows(&replayed);
        let lost: Vec<u64> = (1..=5).filter(|s| rows.iter().all(|row| row.0 != *s)).collect();
        assert_eq!(lost.len(), 1, "at {at}");
        let kept: Vec<_> = all.iter().filter(|row| row.0 != lost[0]).cloned().collect();
        assert_eq!(rows, kept, "at {at}");
        replace_file(&bench, 1, &good);
    }
}

#[test]
fn a_torn_tail_is_cut_wherever_it_tears() {
    let bench = Bench::new(2);
    let (mut wal, _) = bench.open();
    bench.append(&mut wal, &bench.batch(&[0, 1], 1, 1.0)).unwrap();
    wal.sync().unwrap();
    let kept = segment_file(&bench, 1).len();
    bench.append(&mut wal, &bench.batch(&[0, 1], 2, 2.0)).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let good = segment_file(&bench, 1);
    for len in kept..good.len() {
        replace_file(&bench, 1, &good[..len]);
        let (mut wal, replayed) = bench.open();
        assert_eq!(Bench::rows(&replayed).len(), 2, "cut at {len}");
        assert_eq!(replayed[0].cut, len - kept);
        assert_eq!(bench.append(&mut wal, &bench.batch(&[0], 3, 3.0)).unwrap(), 2);
        wal.sync().unwrap();
        let newest = wal.next_segment - 1;
        drop(wal);
        bench.disk.remove(&segment::path_of(&dir(), newest)).unwrap();
    }
}

#[test]
fn an_unfinished_request_is_dropped_whole() {
    let bench = Bench::new(2);
    let (mut wal, _) = bench.open();
    let batch = bench.batch(&[0, 1], 1, 1.0);
    let (live, old) = (Rows { batch: &batch, only: Some(&[0]) }, Rows { batch: &batch, only: Some(&[1]) });
    let parts = vec![(Class::Live, Part::Samples(live)), (Class::Backfill, Part::Samples(old))];
    let request =
        Request { tenant: &bench.tenant, parts, batch: &batch, registry: &bench.registry, logs: None };
    assert_eq!(wal.append(&[request]).unwrap(), [vec![1, 2]]);
    wal.sync().unwrap();
    drop(wal);
    let good = segment_file(&bench, 1);
    assert_eq!(Bench::rows(&bench.open().1).len(), 2);
    replace_file(&bench, 1, &good[..good.len() - 1]);
    assert!(Bench::rows(&bench.open().1).is_empty(), "half a request must not come back");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let bench = Bench::new(1);
    let (mut wal, _) = bench.open();
    let sim = bench.disk.sim().unwrap();
    bench.append(&mut wal, &bench.batch(&[0], 1, 1.0)).unwrap();
    wal.sync().unwrap();
    sim.set_fault(Some(Fault::FailOnce { nth: 0 }));
    assert!(bench.append(&mut wal, &bench.batch(&[0], 2, 2.0)).is_err());
    // The next append begins a segment of its own, which defines its series again.
    bench.append(&mut wal, &bench.batch(&[0], 3, 3.0)).unwrap();
    wal.sync().unwrap();
    drop(wal);
    sim.crash();
    let times: Vec<i64> = Bench::rows(&bench.open().1).iter().map(|row| row.2).collect();
    assert_eq!(times, [1, 3]);
}

#[test]
fn a_refused_append_leaves_no_segment_behind() {
    for nth in 0..=4 {
        let bench = Bench::new(1);
        let (mut wal, _) = bench.open();
        let sim = bench.disk.sim().unwrap();
        sim.set_fault(Some(Fault::FailOnce { nth }));
        assert!(bench.append(&mut wal, &bench.batch(&[0], 1, 1.0)).is_err(), "operation {nth}");
        let names = bench.disk.list(&dir()).unwrap();
        assert!(names.iter().all(|entry| segment::number_of(&entry.name).is_none()), "{nth}: {names:?}");
        bench.append(&mut wal, &bench.batch(&[0], 2, 2.0)).unwrap();
        wal.sync().unwrap();
        drop(wal);
        sim.crash();
        let times: Vec<i64> = Bench::rows(&bench.open().1).iter().map(|row| row.2).collect();
        assert_eq!(times, [2], "operation {nth}");
    }
}

#[test]
fn segments_go_when_every_class_is_committed() {
    let bench = Bench::new(1);
    let (mut wal, _) = bench.open();
    let batch = bench.batch(&[0], 1, 1.0);
    let rows = Rows { batch: &batch, only: None };
    for class in [Class::Live, Class::Backfill] {
        let parts = vec![(class, Part::Samples(rows))];
        let request =
            Request { tenant: &bench.tenant, parts, batch: &batch, registry: &bench.registry, logs: None };
        wal.append(&[request]).unwrap();
    }
    wal.roll().unwrap();
    assert_eq!(wal.release(&|class| u64::from(class == Class::Live)).unwrap(), 0);
    assert_eq!(wal.release(&|class| if class == Class::Live { 1 } else { 2 }).unwrap(), 1);
    assert_eq!(wal.bytes(), 0);
}

#[test]
fn metadata_travels_and_foreign_segments_are_refused() {
    let bench = Bench::new(1);
    let (mut wal, _) = bench.open();
    let metadata = MetricMetadata {
        metric: "m".into(),
        kind: MetricType::Counter,
        help: "help".into(),
        unit: "".into(),
    };
    let batch = Batch { metadata: vec![metadata.clone()], ..bench.batch(&[0], 1, 1.0) };
    bench.append(&mut wal, &batch).unwrap();
    wal.sync().unwrap();
    assert!(Wal::open(bench.disk.clone(), &dir(), 1).is_err(), "the directory is locked");
    drop(wal);
    let (_, replayed) = bench.open();
    assert_eq!(replayed[0].records.len(), 2);
    let expected = ReplayedBody::Metadata(Tenant::default(), vec![metadata]);
    assert_eq!(replayed[0].records[1].body, expected);
    let mut foreign = segment_file(&bench, 1);
    let header = segment::header(1, Uuid::nil(), 1);
    foreign[..header.len()].copy_from_slice(&header);
    replace_file(&bench, 1, &foreign);
    let (mut wal, _) = Wal::open(bench.disk.clone(), &dir(), 1).unwrap();
    let error = wal.replay_segment(1, true).unwrap_err();
    assert!(error.to_string().contains("another WAL directory") && error.get("file").is_some(), "{error}");
}

/// Bodies as they come from behind their checksum, which chance alone never passes.
#[test]
fn hostile_bodies_are_errors_and_no_panics() {
    let bench = Bench::new(2);
    let mut batch = bench.batch(&[0, 1], 7, 1.5);
    let labels = Labels::from_pairs([("job", "j")]).expect("labels of a test");
    let key = crate::model::SeriesKey { metric: "m".into(), labels };
    let definitions = [Definition { reference: 0, key }];
    let (mut shared, mut each, mut metadata) = (Vec::new(), Vec::new(), Vec::new());
    record::write_samples(&mut shared, &bench.tenant, &definitions, Rows { batch: &batch, only: None });
    batch.timestamps = Timestamps::Each(vec![7, 8]);
    record::write_samples(&mut each, &bench.tenant, &[], Rows { batch: &batch, only: None });
    batch.metadata = vec![MetricMetadata {
        metric: "m".into(),
        kind: MetricType::Counter,
        help: "h".into(),
        unit: "s".into(),
    }];
    record::write_metadata(&mut metadata, &bench.tenant, &batch);
    fuzz("wal_record", &[&shared, &each, &metadata], &[], |body| {
        assert!(record::Header::parse(body).is_none(), "no body looks like a record");
        record::read_samples(body).is_ok() | record::read_metadata(body).is_ok()
    });
}
