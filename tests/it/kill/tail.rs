//! A WAL that ends in the middle of a write: whatever the last bytes are, what was acknowledged before them is
//! there, and the request that they belong to is there whole or not at all.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::load::{Habit, Sender, Server};
use super::{Folder, check, seed};
use crate::peers::Quipu;
use quipu::runtime::{Clock, Dice};

const ROUNDS: usize = 12;

/// What happens to the end of the newest segment.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// The last request's bytes end somewhere inside.
    Cut,
    /// They end with its last byte.
    CutNothing,
    /// A part of it is zeros: the file had grown and the bytes were not there yet.
    Zeros,
    /// Bytes that were never written follow.
    Garbage,
    /// The beginning of another record follows.
    HalfRecord,
    /// One of its bits is another.
    Flip,
}

const ALL: [Damage; 6] =
    [Damage::Cut, Damage::CutNothing, Damage::Zeros, Damage::Garbage, Damage::HalfRecord, Damage::Flip];

impl Damage {
    /// Changes a segment whose last request lies from `from` to its end.
    fn inflict(self, segment: &Path, from: usize, dice: &mut Dice) {
        let mut bytes = std::fs::read(segment).expect("the segment can be read");
        let inside = |dice: &mut Dice, len: usize| {
            from + 1 + usize::try_from(dice.below(len as u64 - 1)).expect("a place in a file")
        };
        let len = bytes.len() - from;
        match self {
            Self::Cut => bytes.truncate(inside(dice, len)),
            Self::CutNothing => {}
            Self::Zeros => {
                let at = inside(dice, len);
                bytes[at..].fill(0);
            }
            Self::Garbage => {
                let more = 1 + dice.below(5_000);
                bytes.extend((0..more).map(|_| u8::try_from(dice.below(256)).expect("a byte")));
            }
            Self::HalfRecord => {
                let end = inside(dice, len);
                bytes.extend_from_within(from..end);
            }
            Self::Flip => {
                let at = inside(dice, len);
                bytes[at] ^= 1 << dice.below(8);
            }
        }
        let mut file = std::fs::File::create(segment).expect("the segment can be written");
        file.write_all(&bytes).expect("the segment can be written");
    }
}

/// The newest segment and its length.
fn newest(wal: &Path) -> (PathBuf, usize) {
    let entries = std::fs::read_dir(wal).expect("the WAL's folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let segment = paths.filter(|path| path.extension().is_some_and(|e| e == "wal")).max();
    let segment = segment.expect("a segment");
    let len = std::fs::metadata(&segment).expect("it is there").len();
    (segment, usize::try_from(len).expect("a small file"))
}

async fn settle(quipu: &Quipu, senders: &[Arc<Sender>]) {
    for sender in senders {
        check::pushed(quipu, sender, 0..sender.sent()).await.expect("nobody kills it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_costs_what_was_not_acknowledged_only() {
    let clock = Clock::real();
    let mut dice = seed("torn tails", clock);
    let folder = Folder::new();
    let data = folder.path().join("data");
    let (wal, data) = (data.join("_wal"), data.display().to_string());
    let base = clock.now_ms();
    let old = Habit { old: true, resends: false };
    let senders = [Sender::new(0, base, Habit::default()), Sender::new(1, base, old)];
    for round in 0..ROUNDS {
        let damage = ALL[round % ALL.len()];
        let mut quipu = Quipu::spawn(folder.path(), "quipu: {logs: {own_log: false}}\n", &data, &[]);
        assert!(quipu.is_ready().await, "{damage:?}: it ended by itself while it started");
        settle(&quipu, &senders).await;
        let server = Server::of(&quipu);
        for _ in 0..=dice.below(5) {
            for sender in &senders {
                assert_eq!(sender.push(&server, sender.sent()).await, Some(204));
            }
        }
        if round % 4 == 3 {
            assert_eq!(quipu.post("/-/flush").await, 200);
            assert_eq!(senders[0].push(&server, senders[0].sent()).await, Some(204));
        }
        let (segment, from) = newest(&wal);
        let last = &senders[usize::from(dice.below(2) == 0)];
        let request = last.sent();
        assert_eq!(last.push(&server, request).await, Some(204));
        quipu.kill();
        let (after, to) = newest(&wal);
        assert!(after == segment && to > from, "the last request lies at the end of the segment");
        damage.inflict(&segment, from, &mut dice);
        if matches!(damage, Damage::Cut | Damage::Zeros | Damage::Flip) {
            // As if the power had gone before the answer.
            last.forget_answer(request);
        }
        eprintln!("{damage:?} in bytes {from}..{to} of {}", segment.display());
    }
    let mut quipu = Quipu::spawn(folder.path(), "quipu: {logs: {own_log: false}}\n", &data, &[]);
    assert!(quipu.is_ready().await, "it ended by itself while it started");
    settle(&quipu, &senders).await;
    let rows: u64 = senders.iter().map(|sender| sender.stored(sender.sent()).0).sum();
    assert_eq!(check::sql(&quipu).await.into_values().collect::<Vec<u64>>(), [rows]);
    quipu.stop().await;
}
