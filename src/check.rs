//! `quipu check config FILE`: reads a configuration as `serve` would and says what it found.

use std::path::Path;

use crate::config::Config;
use crate::error::Result;

/// The report for a good file.
///
/// # Errors
/// What is wrong with it, by file and line.
pub fn config(file: &Path) -> Result<String> {
    let config = Config::load(file)?;
    let mut report = format!("{}: {} scrape jobs\n", file.display(), config.scrapes.len());
    for inactive in config.inactive() {
        let (line, section) = (inactive.line, &inactive.section);
        report.extend(["  line ", &line.to_string(), ": ", section, " has no effect yet\n"]);
    }
    report.push_str("SUCCESS: the configuration is valid\n");
    Ok(report)
}
