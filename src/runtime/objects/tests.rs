//! One contract for every object store.

use std::path::Path;

use super::*;
use crate::runtime::clock::Clock;
use crate::runtime::disk::Fault;

async fn open(location: &str, disk: &Disk) -> Result<Objects> {
    Objects::open(location, &ObjectsOptions::default(), disk, &Pools::current()).await
}

fn sim(seed: u64) -> Disk {
    Disk::simulated(seed, Clock::manual(1_000))
}

/// What every store must do.
async fn contract(objects: &Objects) -> Result<()> {
    objects.probe().await?;
    assert_eq!(objects.put_create("a/b/1", Bytes::from_static(b"one")).await?, PutOutcome::Created);
    assert_eq!(objects.put_create("a/b/1", Bytes::from_static(b"two")).await?, PutOutcome::AlreadyExists);
    assert_eq!(objects.get("a/b/1").await?.as_ref(), b"one");
    objects.put("a/b/1", Bytes::from_static(b"three")).await?;
    objects.put("a/c", Bytes::new()).await?;
    assert_eq!(objects.get("a/c").await?.len(), 0);
    assert_eq!(objects.get_range("a/b/1", 1..3).await?.as_ref(), b"hr");
    assert_eq!(objects.get_ranges("a/b/1", &[0..1, 3..5]).await?, [b"t".as_ref(), b"ee"]);
    let short = objects.get_range("a/b/1", 3..9).await.expect_err("the object ends");
    assert_eq!((short.kind(), short.get("path")), (Kind::Corrupt, Some("a/b/1")));
    assert_eq!(objects.head("a/b/1").await?.size, 5);
    let paths = |entries: Vec<ObjectEntry>| entries.into_iter().map(|e| e.path).collect::<Vec<_>>();
    assert_eq!(paths(objects.list("").await?), ["a/b/1", "a/c"]);
    assert_eq!(paths(objects.list("a/b").await?), ["a/b/1"]);
    assert!(objects.list("nothing").await?.is_empty());
    assert_eq!(objects.list_folders("a").await?, ["b"]);
    for missing in [objects.get("a/x").await.err(), objects.head("a/b").await.err()] {
        let error = missing.expect("not there");
        assert_eq!((error.kind(), error.get("store")), (Kind::NotFound, Some(objects.description())));
    }
    objects.delete("a/c").await?;
    objects.delete("a/c").await?;
    assert_eq!(objects.get("a/c").await.expect_err("deleted").kind(), Kind::NotFound);
    assert_eq!(objects.get("../a").await.expect_err("climbs out").kind(), Kind::Invalid);
    streaming(objects).await
}

async fn streaming(objects: &Objects) -> Result<()> {
    for len in [0, 5, 8 << 20, (8 << 20) + 1, 20 << 20] {
        let expected: Vec<u8> = (0..len).map(|i: u32| u8::try_from(i % 251).expect("small")).collect();
        let mut writer = objects.writer("w/x");
        for piece in expected.chunks(3_000_000) {
            writer.write(Bytes::copy_from_slice(piece)).await?;
        }
        let size = writer.finish().await?;
        assert_eq!(size, u64::from(len));
        assert!(objects.get("w/x").await?.as_ref() == expected, "{len} bytes come back");
    }
    let mut writer = objects.writer("w/y");
    writer.write(Bytes::from(vec![0; 9 << 20])).await?;
    writer.abort().await?;
    assert_eq!(objects.get("w/y").await.expect_err("given up").kind(), Kind::NotFound);
    Ok(())
}

#[tokio::test]
async fn memory_keeps_the_contract() -> Result<()> {
    contract(&open("memory://", &Disk::real()).await?).await
}

#[tokio::test]
#[ignore = "needs the S3 server of tests/e2e/object_stores.sh"]
async fn s3_keeps_the_contract() -> Result<()> {
    let endpoint = std::env::vars().find(|(name, _)| name == "QUIPU_TEST_S3").map(|(_, value)| value);
    let options = ObjectsOptions {
        endpoint: Some(endpoint.expect("QUIPU_TEST_S3 names the server; it has a bucket `quipu`")),
        region: Some("us-east-1".to_owned()),
        access_key_id: Some("key".to_owned()),
        secret_access_key: Some("secret".to_owned()),
        allow_http: true,
        ..ObjectsOptions::default()
    };
    let pools = Pools::current();
    let objects = Objects::open("s3://quipu/some/prefix", &options, &Disk::real(), &pools).await?;
    contract(&objects).await?;
    let racing = (0..16).map(|_| objects.put_create("race", Bytes::from_static(b"x")));
    let outcomes = futures::future::try_join_all(racing).await?;
    assert_eq!(outcomes.iter().filter(|o| **o == PutOutcome::Created).count(), 1, "one winner");
    let nowhere = Objects::open("s3://no-such-bucket", &options, &Disk::real(), &pools).await?;
    let error = nowhere.probe().await.expect_err("there is no such bucket");
    assert!(error.to_string().contains("no-such-bucket"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_real_folder_keeps_the_contract() -> Result<()> {
    let root = tempfile::tempdir()?;
    let location = root.path().join("new/data");
    let objects = open(&location.to_string_lossy(), &Disk::real()).await?;
    contract(&objects).await?;
    let temp = Disk::real().list(&location.join("_tmp"))?;
    assert_eq!(temp.len(), 1, "only the lock stays: {temp:?}");
    Ok(())
}

#[tokio::test]
async fn a_simulated_folder_keeps_the_contract() -> Result<()> {
    contract(&open("data", &sim(1)).await?).await
}

#[tokio::test]
async fn a_prefix_hides_everything_else() -> Result<()> {
    let store = Arc::new(InMemory::new());
    let outer = Objects::from_store(Arc::clone(&store) as Arc<dyn ObjectStore>, "", "outer");
    let inner = Objects::from_store(store, "x/y/", "inner");
    inner.put("f", Bytes::from_static(b"1")).await?;
    outer.put("x/z", Bytes::new()).await?;
    assert_eq!(inner.list("").await?.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["f"]);
    assert_eq!(outer.get("x/y/f").await?.as_ref(), b"1");
    contract(&Objects::from_store(Arc::new(InMemory::new()), "p", "prefixed")).await
}

#[tokio::test]
async fn requests_are_counted() -> Result<()> {
    let objects = Objects::memory();
    objects.put("a", Bytes::from_static(b"123")).await?;
    objects.clone().get("a").await?;
    objects.list("").await?;
    let expected =
        ObjectsSnapshot { puts: 1, gets: 1, lists: 1, bytes_written: 3, bytes_read: 3, ..Default::default() };
    assert_eq!(objects.stats().snapshot(), expected);
    Ok(())
}

#[tokio::test]
async fn what_a_put_promised_is_there_after_a_crash_at_any_operation() -> Result<()> {
    let run = async |disk: &Disk| -> (Vec<&'static str>, Result<()>) {
        let mut promised = Vec::new();
        let work = async {
            let objects = open("/data", disk).await?;
            objects.put("t/log/0", Bytes::from_static(b"zero")).await?;
            promised.push("t/log/0");
            objects.put_create("t/log/1", Bytes::from_static(b"one")).await?;
            promised.push("t/log/1");
            let mut writer = objects.writer("t/big");
            writer.write(Bytes::from(vec![7; 9 << 20])).await?;
            writer.finish().await?;
            promised.push("t/big");
            Ok(())
        };
        let result = work.await;
        (promised, result)
    };
    let whole = sim(0);
    assert!(run(&whole).await.1.is_ok());
    let operations = whole.sim().expect("simulated").operations();
    assert!(operations > 15);
    for nth in 0..operations {
        let disk = sim(nth);
        let simulated = disk.sim().expect("simulated").clone();
        simulated.set_fault(Some(Fault::PowerCut { nth }));
        let (promised, result) = run(&disk).await;
        assert!(result.is_err() || nth + 1 == operations, "operation {nth} failed without a word");
        simulated.crash();
        let objects = open("/data", &disk).await?;
        for path in promised {
            assert!(!objects.get(path).await?.is_empty(), "{path} after operation {nth}");
        }
        for entry in objects.list("").await? {
            let bytes = objects.get(&entry.path).await?;
            let full = if entry.path == "t/big" { bytes.len() == 9 << 20 } else { bytes.len() >= 3 };
            assert!(full, "{} is torn after operation {nth}", entry.path);
        }
        let temp = disk.list(Path::new("/data/_tmp"))?;
        assert_eq!(temp.len(), 1, "leftovers are cleared: {temp:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_killed_process_left_is_durable_once_it_is_listed() -> Result<()> {
    for nth in 0..20 {
        let disk = sim(nth);
        let simulated = disk.sim().expect("simulated");
        let dead = open("/data", &disk).await?;
        simulated.set_fault(Some(Fault::PowerCut { nth }));
        drop(dead.put_create("t/log/0", Bytes::from_static(b"zero")).await);
        simulated.kill();
        let listed = open("/data", &disk).await?.list("").await?;
        simulated.crash();
        let objects = open("/data", &disk).await?;
        for entry in listed {
            assert_eq!(objects.get(&entry.path).await?.as_ref(), b"zero", "operation {nth}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_put_that_is_tried_again_after_any_failure_is_durable() -> Result<()> {
    let twice = async |objects: &Objects, path: &str| {
        if objects.put_create(path, Bytes::from_static(b"x")).await.is_err() {
            objects.put_create(path, Bytes::from_static(b"x")).await.map(drop).expect("only one failure");
        }
    };
    for nth in 0..40 {
        let disk = sim(nth);
        let objects = open("/data", &disk).await?;
        let simulated = disk.sim().expect("simulated");
        simulated.set_fault(Some(Fault::FailOnce { nth }));
        twice(&objects, "a/b/c").await;
        twice(&objects, "a/d/e").await;
        simulated.crash();
        for path in ["a/b/c", "a/d/e"] {
            assert_eq!(open("/data", &disk).await?.get(path).await?.as_ref(), b"x", "operation {nth}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_folder_that_was_taken_away_is_made_again() -> Result<()> {
    let root = tempfile::tempdir()?;
    let objects = open(&root.path().to_string_lossy(), &Disk::real()).await?;
    objects.put("a/1", Bytes::from_static(b"x")).await?;
    std::fs::remove_dir_all(root.path().join("a"))?;
    assert!(objects.put("a/2", Bytes::from_static(b"x")).await.is_err());
    objects.put("a/2", Bytes::from_static(b"x")).await
}

#[tokio::test]
async fn a_start_leaves_the_temporary_files_of_the_living() -> Result<()> {
    let disk = sim(1);
    let first = open("/d", &disk).await?;
    let mut writer = first.writer("x");
    writer.write(Bytes::from(vec![1; 9 << 20])).await?;
    open("/d", &disk).await?;
    writer.finish().await?;
    assert_eq!(first.head("x").await?.size, 9 << 20);
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_unavailable() -> Result<()> {
    let disk = sim(1);
    let objects = open("/d", &disk).await?;
    disk.sim().expect("simulated").set_free_bytes(2);
    let error = objects.put_create("x", Bytes::from_static(b"abc")).await.expect_err("full");
    assert_eq!((error.kind(), error.get("path")), (Kind::Unavailable, Some("x")));
    assert!(objects.list("").await?.is_empty(), "no torn object");
    Ok(())
}

#[tokio::test]
async fn bad_locations_are_refused_by_name() {
    for (location, kind) in [("gs://b", Kind::Unsupported), ("s3://", Kind::Config), ("", Kind::Config)] {
        assert_eq!(open(location, &sim(1)).await.expect_err(location).kind(), kind);
    }
}

#[tokio::test]
async fn a_timeout_of_nothing_is_refused() {
    let options =
        ObjectsOptions { request_timeout: Some(crate::model::setting::Millis::new(0)), ..Default::default() };
    let opened = Objects::open("s3://b", &options, &sim(1), &Pools::current()).await;
    assert!(opened.expect_err("it could never answer").to_string().contains("longer than 0s"));
}

#[test]
fn a_secret_is_not_printed() {
    let options = ObjectsOptions { secret_access_key: Some("hunter2".to_owned()), ..Default::default() };
    assert!(!format!("{options:?}").contains("hunter2"));
}

mod liar {
    //! A store that accepts `If-None-Match` and ignores it.
    use super::*;
    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
        PutOptions, PutPayload, PutResult, Result as StoreResult,
    };

    #[derive(Debug)]
    struct Liar(InMemory);

    impl std::fmt::Display for Liar {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("liar")
        }
    }

    #[async_trait]
    impl ObjectStore for Liar {
        async fn put_opts(&self, at: &StorePath, body: PutPayload, _: PutOptions) -> StoreResult<PutResult> {
            self.0.put(at, body).await
        }
        async fn put_multipart_opts(
            &self,
            at: &StorePath,
            opts: PutMultipartOptions,
        ) -> StoreResult<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(at, opts).await
        }
        async fn get_opts(&self, at: &StorePath, options: GetOptions) -> StoreResult<GetResult> {
            self.0.get_opts(at, options).await
        }
        fn delete_stream(
            &self,
            all: BoxStream<'static, StoreResult<StorePath>>,
        ) -> BoxStream<'static, StoreResult<StorePath>> {
            self.0.delete_stream(all)
        }
        fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
            self.0.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> StoreResult<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &StorePath, to: &StorePath, o: CopyOptions) -> StoreResult<()> {
            self.0.copy_opts(from, to, o).await
        }
    }

    #[tokio::test]
    async fn the_probe_names_a_store_that_ignores_if_none_match() {
        let objects = Objects::from_store(Arc::new(Liar(InMemory::new())), "", "s3://cheap");
        let error = objects.probe().await.expect_err("two writers would both win");
        assert_eq!((error.kind(), error.get("store")), (Kind::Config, Some("s3://cheap")));
        assert!(error.message().contains("If-None-Match"));
    }
}
