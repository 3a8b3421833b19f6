//! quipu beside Prometheus and VictoriaMetrics: the same data, the same queries, one table.

fn main() {
    assert!(
        std::path::Path::new(env!("CARGO_BIN_EXE_quipu")).exists(),
        "cargo builds the binary before a benchmark"
    );
}
