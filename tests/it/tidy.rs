//! The rules of `ARCHITECTURE.md` and of the style, held as an ordinary test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 600;
const BANNED_NAMES: [&str; 5] = ["util", "common", "helpers", "misc", "manager"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a source folder can be read") {
        let path = entry.expect("a folder entry can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn is_test(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.ends_with("tests.rs") || text.contains("/tests/")
}

/// The rooms of the import table and what each may import.
fn import_table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let mut table = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [room, _, imports] = cells[..] else { continue };
        let allowed = imports.split_whitespace().map(str::to_owned).collect();
        table.insert(room.trim_matches('`').to_owned(), allowed);
    }
    table
}

/// The room of a file under `src`: its first folder, or its own name.
fn room_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).expect("a file of src");
    let first = relative.components().next().expect("a path has a first part").as_os_str();
    first.to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The code of a file without its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file can be read");
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

fn imported_rooms(code: &str) -> BTreeSet<String> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut rooms = BTreeSet::new();
    for line in lines {
        for (at, _) in line.match_indices("crate::") {
            let word: String =
                line[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !word.is_empty() && line[..at].chars().last().is_none_or(|c| !c.is_alphanumeric()) {
                rooms.insert(word);
            }
        }
    }
    rooms
}

#[test]
fn imports_follow_the_table() {
    let table = import_table();
    assert!(table.len() >= 8, "the import table of ARCHITECTURE.md was not found: {table:?}");
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        let room = room_of(&path);
        if room == "lib" || room == "main" || is_test(&path) {
            continue;
        }
        let Some(allowed) = table.get(&room) else {
            wrong.push(format!("{}: room `{room}` is not in the table", path.display()));
            continue;
        };
        for import in imported_rooms(&code(&path)) {
            let is_room = table.contains_key(&import);
            if is_room && import != room && import != "error" && !allowed.contains(&import) {
                wrong.push(format!("{}: `{room}` may not import `{import}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    let mut files = rust_files(&root().join("src"));
    files.extend(rust_files(&root().join("tests")));
    for path in files {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        if !text.starts_with("//!") {
            wrong.push(format!("{}: does not open with //!", path.display()));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES && !is_test(&path) {
            wrong.push(format!("{}: {lines} lines, at most {MAX_LINES}", path.display()));
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if BANNED_NAMES.contains(&name.as_str()) {
            wrong.push(format!("{}: a name that says nothing", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn traits_of_our_own_are_few() {
    let allowed = BTreeSet::from(["Discover", "Job", "Notify"]);
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        for line in code(&path).lines() {
            let line = line.trim_start();
            let declares = ["pub trait ", "pub(crate) trait ", "pub(super) trait ", "trait "];
            let Some(rest) = declares.iter().find_map(|start| line.strip_prefix(start)) else { continue };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            if !allowed.contains(name.as_str()) {
                wrong.push(format!("{}: trait {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "a concrete type will do:\n{}", wrong.join("\n"));
}

#[test]
fn the_tidy_rules_can_fail() {
    let code = "use crate::server::x;\n// crate::query in a comment\nlet a = crate::model::Labels::empty();";
    assert_eq!(imported_rooms(code), BTreeSet::from(["model".to_owned(), "server".to_owned()]));
    let table = import_table();
    assert!(!table["store"].contains("query") && table["server"].contains("query"));
}
