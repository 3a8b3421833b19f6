//! The one table: a row a measurement, a column a server, ratios at the end.

use crate::servers::{Peers, Program};

/// What a figure is, and which way is better.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Lower is better; printed as best / median.
    Milliseconds,
    /// Higher is better: thousands a second and core.
    ThousandsPerCoreSecond,
    /// Lower is better.
    Kilobytes,
    /// Lower is better.
    BytesPerSample,
}

impl Unit {
    fn text(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms, best / median",
            Self::ThousandsPerCoreSecond => "k samples/s per core, more is better",
            Self::Kilobytes => "KB",
            Self::BytesPerSample => "B/sample",
        }
    }
}

/// One server's figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    /// The best run, or the only one.
    pub(crate) best: f64,
    /// The median of the runs, where there were several.
    pub(crate) median: Option<f64>,
}

impl From<f64> for Figure {
    fn from(best: f64) -> Self {
        Self { best, median: None }
    }
}

/// One measurement on all servers.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    unit: Unit,
    figures: Vec<(Program, Figure)>,
    cold: Option<Figure>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, unit: Unit) -> Self {
        Self { name: name.into(), unit, figures: Vec::new(), cold: None }
    }

    pub(crate) fn push(&mut self, program: Program, figure: impl Into<Figure>) {
        self.figures.push((program, figure.into()));
    }

    /// quipu's figure with nothing but the page cache warm.
    pub(crate) fn push_cold(&mut self, figure: Figure) {
        self.cold = Some(figure);
    }

    fn of(&self, program: Program) -> Option<Figure> {
        self.figures.iter().find(|(of, _)| *of == program).map(|(_, figure)| *figure)
    }

    fn ratio(&self, peer: Program) -> String {
        match (self.of(Program::Quipu), self.of(peer)) {
            (Some(ours), Some(theirs)) if theirs.best > 0.0 => format!("{:.2}", ours.best / theirs.best),
            _ => "–".to_owned(),
        }
    }
}

/// All rows of a run.
#[derive(Debug)]
pub(crate) struct Table {
    versions: Vec<(Program, String)>,
    limits: Vec<String>,
    rows: Vec<Row>,
    /// Name, quipu, yardstick.
    logs: Vec<[String; 3]>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(peers: &Peers) -> Self {
        let versions = Program::ALL.into_iter().map(|program| (program, peers.version(program))).collect();
        Self { versions, limits: Vec::new(), rows: Vec::new(), logs: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row and shows it at once: a run takes minutes.
    pub(crate) fn push(&mut self, row: Row) {
        eprintln!("{}", line(&row));
        self.rows.push(row);
    }

    /// Adds a row about logs: quipu's figure and `DuckDB`'s.
    pub(crate) fn push_log(&mut self, name: String, ours: String, yardstick: &str) {
        eprintln!("| {name} | {ours} | {yardstick} |");
        self.logs.push([name, ours, yardstick.to_owned()]);
    }

    /// Something that the machine can do at best.
    pub(crate) fn limit(&mut self, text: String) {
        self.limits.push(text);
    }

    /// Something that a reader of the figures must know.
    pub(crate) fn note(&mut self, text: String) {
        eprintln!("note: {text}");
        self.notes.push(text);
    }

    pub(crate) fn to_markdown(&self) -> String {
        let version = |of: Program| {
            self.versions.iter().find(|(program, _)| *program == of).map_or("", |(_, version)| version)
        };
        let [prometheus, victoria, quipu] = Program::ALL;
        let mut out = format!(
            "| | {} {} | {} {} | {} {} | quipu, page cache only | quipu ÷ Prometheus | quipu ÷ VictoriaMetrics |\n",
            prometheus.name(),
            version(prometheus),
            victoria.name(),
            version(victoria),
            quipu.name(),
            version(quipu),
        );
        out.push_str("|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            out.push_str(&line(row));
            out.push('\n');
        }
        if !self.logs.is_empty() {
            out.push_str("\n| logs | quipu | DuckDB, one thread, same files |\n|---|---|---|\n");
            out.extend(self.logs.iter().map(|row| format!("| {} |\n", row.join(" | "))));
        }
        if !self.limits.is_empty() {
            out.extend(["\nThe machine: ", &self.limits.join(", "), ".\n"]);
        }
        for note in &self.notes {
            out.extend(["\n", note, "\n"]);
        }
        if cfg!(debug_assertions) {
            out.push_str("\nA debug build: these figures mean nothing.\n");
        }
        out
    }
}

fn line(row: &Row) -> String {
    let cell = |figure: Option<Figure>| match figure {
        None => "–".to_owned(),
        Some(Figure { best, median: None }) => digits(best),
        Some(Figure { best, median: Some(median) }) => format!("{} / {}", digits(best), digits(median)),
    };
    let [prometheus, victoria, quipu] = Program::ALL;
    let cells = [
        format!("{} ({})", row.name, row.unit.text()),
        cell(row.of(prometheus)),
        cell(row.of(victoria)),
        cell(row.of(quipu)),
        cell(row.cold),
        row.ratio(prometheus),
        row.ratio(victoria),
    ];
    format!("| {} |", cells.join(" | "))
}

/// Three digits or so: more would be noise.
fn digits(number: f64) -> String {
    let decimals = match number {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        _ => 2,
    };
    format!("{number:.decimals$}")
}
