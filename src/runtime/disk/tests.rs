//! The simulated disk against what a crash may and may not do.

use std::time::Duration;

use super::*;

fn sim(seed: u64) -> Disk {
    Disk::simulated(seed, Clock::manual(1_000))
}

fn write(disk: &Disk, path: &Path, bytes: &[u8], sync: bool) -> Result<()> {
    let mut file = disk.create_new(path)?;
    file.write_all(bytes)?;
    if sync { file.sync_data() } else { Ok(()) }
}

/// What every disk must do; runs on the real one and on the simulated one.
fn contract(disk: &Disk, root: &Path) -> Result<()> {
    let dir = root.join("a/b");
    disk.create_dir_all(&dir)?;
    disk.create_dir_all(&dir)?;
    let path = dir.join("x");
    let mut file = disk.create_new(&path)?;
    assert_eq!(disk.create_new(&path).expect_err("taken").kind(), Kind::Conflict);
    file.write_all(b"hello world")?;
    file.sync_data()?;
    file.truncate(5)?;
    file.write_all(b"!")?;
    assert_eq!((file.len()?, disk.read(&path)?.as_ref()), (6, b"hello!".as_ref()));
    let mut again = disk.open_append(&path)?;
    again.write_all(b"?")?;
    assert_eq!(disk.read_at(&path, 4, 3)?.as_ref(), b"o!?");
    let short = disk.read_at(&path, 4, 4).expect_err("the file ends");
    assert_eq!((short.kind(), short.get("range")), (Kind::Io, Some("4..8")));
    assert_eq!(disk.read_ranges(&path, &[0..2, 5..6])?, [b"he".as_ref(), b"!"]);

    let second = dir.join("y");
    disk.hard_link(&path, &second)?;
    assert_eq!(disk.hard_link(&path, &second).expect_err("taken").kind(), Kind::Conflict);
    disk.rename(&second, &dir.join("z"))?;
    disk.remove(&path)?;
    disk.sync_dir(&dir)?;
    let entries = disk.list(&dir)?;
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].name.as_str(), entries[0].len, entries[0].is_dir), ("z", 7, false));
    assert_eq!(disk.stat(&dir.join("z"))?, entries[0]);
    assert!(disk.list(root)?.iter().all(|e| e.is_dir && e.name == "a"));
    for missing in [disk.read(&path).err(), disk.remove(&path).err(), disk.open_append(&path).err()] {
        assert_eq!(missing.expect("removed").kind(), Kind::NotFound);
    }
    assert_eq!(disk.list(&root.join("none")).expect_err("no directory").kind(), Kind::NotFound);

    let lock = disk.lock(&dir.join("lock"))?;
    assert_eq!(disk.lock(&dir.join("lock")).expect_err("held").kind(), Kind::Conflict);
    drop(lock);
    disk.lock(&dir.join("lock"))?;
    assert!(disk.free_bytes(&dir)? > 0);
    Ok(())
}

#[test]
fn the_real_disk_keeps_the_contract() -> Result<()> {
    let root = tempfile::tempdir()?;
    contract(&Disk::real(), root.path())
}

#[test]
fn the_simulated_disk_keeps_the_contract() -> Result<()> {
    contract(&sim(1), Path::new("/data"))
}

#[test]
fn a_crash_keeps_what_was_synced_and_may_lose_the_rest() -> Result<()> {
    let (mut lost_name, mut lost_tail, mut kept_tail) = (0, 0, 0);
    for seed in 0..200 {
        let disk = sim(seed);
        disk.create_dir_all(Path::new("d"))?;
        write(&disk, Path::new("d/durable"), b"12345", true)?;
        disk.sync_dir(Path::new("d"))?;
        disk.open_append(Path::new("d/durable"))?.write_all(b"6789")?;
        write(&disk, Path::new("d/unnamed"), b"x", true)?;
        disk.sim().expect("simulated").crash();
        let bytes = disk.read(Path::new("d/durable"))?;
        assert!(bytes.starts_with(b"12345") && b"123456789".starts_with(&bytes));
        lost_tail += usize::from(bytes.len() == 5);
        kept_tail += usize::from(bytes.len() == 9);
        lost_name += usize::from(disk.read(Path::new("d/unnamed")).is_err());
    }
    assert!(lost_name > 50 && lost_name < 150, "{lost_name}");
    assert!(lost_tail > 10 && kept_tail > 10, "{lost_tail} {kept_tail}");
    Ok(())
}

#[test]
fn an_unsynced_truncate_may_come_back() -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let disk = sim(seed);
        write(&disk, Path::new("f"), b"abcdef", true)?;
        disk.sync_dir(Path::new("."))?;
        let mut file = disk.open_append(Path::new("f"))?;
        file.truncate(3)?;
        file.write_all(b"X")?;
        disk.sim().expect("simulated").crash();
        seen.insert(disk.read(Path::new("f"))?.to_vec());
        assert!(file.write_all(b"y").is_err(), "handles do not survive a crash");
    }
    let all: Vec<&[u8]> = seen.iter().map(Vec::as_slice).collect();
    assert_eq!(all, [b"abc".as_ref(), b"abcX", b"abcdef"]);
    Ok(())
}

#[test]
fn an_unsynced_directory_takes_its_files_with_it() -> Result<()> {
    let mut lost = 0;
    for seed in 0..50 {
        let disk = sim(seed);
        let simulated = disk.sim().expect("simulated");
        simulated.create_dir(Path::new("d"))?;
        write(&disk, Path::new("d/f"), b"x", true)?;
        disk.sync_dir(Path::new("d"))?;
        simulated.crash();
        assert_eq!(disk.is_dir(Path::new("d"))?, disk.read(Path::new("d/f")).is_ok());
        lost += usize::from(!disk.is_dir(Path::new("d"))?);
    }
    assert!(lost > 5 && lost < 45, "{lost}");
    Ok(())
}

#[test]
fn a_full_disk_writes_what_fits_and_says_so() -> Result<()> {
    let disk = sim(1);
    disk.sim().expect("simulated").set_free_bytes(3);
    let mut file = disk.create_new(Path::new("f"))?;
    assert_eq!(file.write_all(b"abcdef").expect_err("full").kind(), Kind::Unavailable);
    assert_eq!((disk.read(Path::new("f"))?.as_ref(), disk.free_bytes(Path::new("."))?), (b"abc".as_ref(), 0));
    file.truncate(1)?;
    file.write_all(b"zz")?;
    assert_eq!(disk.read(Path::new("f"))?.as_ref(), b"azz");
    Ok(())
}

#[test]
fn faults_strike_the_operation_they_were_set_for() -> Result<()> {
    let disk = sim(1);
    let simulated = disk.sim().expect("simulated");
    simulated.set_fault(Some(Fault::FailOnce { nth: 1 }));
    let mut file = disk.create_new(Path::new("f"))?;
    assert_eq!(file.write_all(b"a").expect_err("the second operation").kind(), Kind::Io);
    file.write_all(b"b")?;
    assert_eq!(disk.read(Path::new("f"))?.as_ref(), b"b", "a failed write has no effect");
    simulated.set_fault(Some(Fault::PowerCut { nth: 1 }));
    file.sync_data()?;
    assert!(disk.sync_dir(Path::new(".")).is_err() && file.write_all(b"c").is_err());
    simulated.crash();
    drop(file);
    disk.sync_dir(Path::new("."))
}

#[tokio::test(start_paused = true)]
async fn file_times_come_from_the_clock() -> Result<()> {
    let clock = Clock::manual(5_000);
    let disk = Disk::simulated(1, clock);
    tokio::time::advance(Duration::from_secs(1)).await;
    write(&disk, Path::new("f"), b"", false)?;
    assert_eq!(disk.stat(Path::new("f"))?.modified_ms, 6_000);
    Ok(())
}
