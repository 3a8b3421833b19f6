//! What is printed when the node is ready: addresses, and four commands that return rows.

use std::net::SocketAddr;

/// Where things are.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub(super) http: SocketAddr,
    pub(super) pg: SocketAddr,
    /// `--storage.path` as it was written.
    pub(super) storage: &'a str,
}

impl Places<'_> {
    /// The text.
    pub(super) fn text(&self) -> String {
        let Self { http, pg, storage } = self;
        let psql = format!("psql -h {} -p {} -U quipu", pg.ip(), pg.port());
        let files = if storage.starts_with("memory://") {
            "  # memory:// keeps no files: everything is gone when quipu stops\n".to_owned()
        } else {
            let folder = storage.trim_end_matches('/');
            let samples = format!("{folder}/default/samples/*.parquet");
            format!(
                "  {psql} -c CHECKPOINT   # then the files lie in {folder}/default/, and DuckDB reads them:\n  \
                 duckdb -c \"SELECT metric, count(*), max(timestamp) FROM read_parquet('{samples}') GROUP BY metric ORDER BY metric\"\n"
            )
        };
        format!(
            "quipu {} is ready\n\n  HTTP      http://{http}\n  Postgres  {pg}\n  data      {storage}\n\n\
             Try:\n  \
             curl 'http://{http}/api/v1/query?query=up'\n  \
             curl \"http://{http}/api/v1/query_range?query=process_resident_memory_bytes&start=$(date -d '-5 min' +%s)&end=$(date +%s)&step=15\"\n  \
             {psql} -c 'SELECT timestamp, value, job, instance FROM up ORDER BY timestamp DESC LIMIT 5'\n{files}\n",
            env!("CARGO_PKG_VERSION"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_name_the_right_places() {
        let (http, pg) = ("127.0.0.1:9090".parse(), "127.0.0.1:5433".parse());
        let (http, pg) = (http.expect("an address"), pg.expect("an address"));
        let text = Places { http, pg, storage: "s3://bucket/prefix/" }.text();
        assert!(text.contains("curl 'http://127.0.0.1:9090/api/v1/query?query=up'"), "{text}");
        assert!(text.contains("psql -h 127.0.0.1 -p 5433 -U quipu -c 'SELECT"), "{text}");
        assert!(text.contains("'s3://bucket/prefix/default/samples/*.parquet'"), "{text}");
        assert!(!Places { http, pg, storage: "memory://" }.text().contains("duckdb"));
    }
}
