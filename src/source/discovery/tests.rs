//! Groups that are written down, and files that change.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::error::Result;
use crate::model::setting::Millis;
use crate::runtime::{Clock, Pools};
use crate::source::settings::FileSdSettings;

fn targets(groups: &[Group]) -> Vec<&str> {
    groups.iter().flat_map(|group| group.targets.iter().map(String::as_str)).collect()
}

fn watch(pattern: &Path) -> Result<FileDiscovery> {
    let patterns = vec![FilePattern::new(pattern)?];
    let settings = FileSdSettings { patterns, refresh_interval: Millis::new(40) };
    Ok(FileDiscovery::new(settings, Clock::real(), Pools::current()))
}

#[tokio::test]
async fn fixed_groups_come_once() {
    let mut fixed = FixedDiscovery::new(vec![Group::default()]);
    assert_eq!(fixed.next().await.len(), 1);
    assert!(Clock::real().within(Duration::from_millis(20), fixed.next()).await.is_none());
}

#[tokio::test]
async fn files_are_watched_and_a_bad_one_keeps_its_targets() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = |name: &str| dir.path().join(name);
    std::fs::write(file("a.json"), r#"[{"targets": ["a:1", "a:2"], "labels": {"zone": "eu"}}]"#)?;
    std::fs::write(file("b.yml"), "- targets: [b:1]\n  labels: {port: 1}\n")?;
    let mut watch_json = watch(&file("*.json"))?;
    let mut watch_yaml = watch(&file("*.yml"))?;

    let groups = watch_json.next().await;
    assert_eq!(targets(&groups), ["a:1", "a:2"]);
    let path = file("a.json").display().to_string();
    assert!(groups[0].labels.contains(&("__meta_filepath".to_owned(), path)));
    assert!(groups[0].labels.contains(&("zone".to_owned(), "eu".to_owned())));
    assert_eq!(targets(&watch_yaml.next().await), ["b:1"]);

    // Broken, then unknown key, then a second file: the first one keeps its targets.
    for broken in ["[{", r#"[{"targets": ["x:1"], "label": {}}]"#] {
        std::fs::write(file("a.json"), broken)?;
        let quiet = Clock::real().within(Duration::from_millis(150), watch_json.next()).await;
        assert!(quiet.is_none(), "{broken}");
    }
    std::fs::write(file("c.json"), r#"[{"targets": ["c:1"]}]"#)?;
    assert_eq!(targets(&watch_json.next().await), ["a:1", "a:2", "c:1"]);

    std::fs::remove_file(file("a.json"))?;
    assert_eq!(targets(&watch_json.next().await), ["c:1"]);
    std::fs::write(file("c.json"), "[]")?;
    assert!(targets(&watch_json.next().await).is_empty());
    Ok(())
}

#[tokio::test]
async fn no_file_at_all_is_an_answer() -> Result<()> {
    let mut nothing = watch(Path::new("/nowhere/at/all/*.json"))?;
    assert!(nothing.next().await.is_empty());
    Ok(())
}
