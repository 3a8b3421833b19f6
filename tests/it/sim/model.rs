//! What was sent, and what may be read after it. The naive side of the simulator: lists and numbers.
//!
//! A row is written by one writer only, so its writes have an order. A request is stored once it was
//! acknowledged or once it was read; from then on each of its rows shows its value or a later one, unless another
//! row hides it. A request without an answer is whole or not at all, and what a life began without does not come
//! back later.

use std::collections::BTreeMap;

use super::rows::Of;

/// What it is a row of, and ms.
pub(super) type Row = (Of, i64);
/// The bits of each row's value.
pub(super) type Rows = BTreeMap<Row, u64>;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// No answer that binds: in flight, refused, or its life ended.
    Open,
    /// Acknowledged or read.
    Stored,
    /// A later life began without it.
    Gone,
}

#[derive(Debug)]
struct Request {
    rows: Rows,
    fate: Fate,
    /// The life that sent it last.
    life: u64,
    /// That life was told that nothing was stored.
    refused: bool,
}

/// Everything that was sent.
#[derive(Debug, Default)]
pub(super) struct Model {
    requests: Vec<Request>,
    /// The requests that wrote a row, in their order.
    writes: BTreeMap<Row, Vec<usize>>,
    /// The position in `writes` of a row's last stored request.
    floors: BTreeMap<Row, usize>,
    /// The last request of each writer.
    last: BTreeMap<u64, usize>,
    numbers: u32,
}

/// What was known when a snapshot was taken.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    floors: BTreeMap<Row, usize>,
    sent: usize,
    /// Rows before this may have passed their retention.
    pub(super) kept_from: i64,
    pub(super) life: u64,
}

/// What a read says of one row of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    There,
    Missing,
    /// A later request or another row hides it, or its value is not its own.
    Unknown,
}

impl Model {
    /// A number that no other row has.
    pub(super) fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// A value that no other row has.
    pub(super) fn value(&mut self) -> f64 {
        f64::from(self.number())
    }

    /// Notes that a writer sends rows; of rows sent twice in one request the caller gives the last.
    pub(super) fn send(&mut self, writer: u64, rows: Rows, life: u64) -> usize {
        let id = self.requests.len();
        for row in rows.keys() {
            self.writes.entry(*row).or_default().push(id);
        }
        self.requests.push(Request { rows, fate: Fate::Open, life, refused: false });
        self.last.insert(writer, id);
        id
    }

    /// Notes that a request is sent again. Only a writer's last one may be: its rows have no later writes.
    pub(super) fn send_again(&mut self, id: usize, life: u64) -> Rows {
        let request = &mut self.requests[id];
        (request.life, request.refused) = (life, false);
        if request.fate == Fate::Gone {
            request.fate = Fate::Open;
        }
        request.rows.clone()
    }

    /// A writer's last request.
    pub(super) fn last_of(&self, writer: u64) -> Option<(usize, Fate)> {
        self.last.get(&writer).map(|id| (*id, self.requests[*id].fate))
    }

    /// The store said that it has a request.
    pub(super) fn acknowledge(&mut self, id: usize) {
        self.requests[id].fate = Fate::Stored;
        for row in self.requests[id].rows.keys() {
            let at =
                self.writes[row].iter().position(|other| *other == id).expect("a request wrote its rows");
            let floor = self.floors.entry(*row).or_insert(at);
            *floor = at.max(*floor);
        }
    }

    /// The store said that nothing of a request was stored.
    pub(super) fn refuse(&mut self, id: usize) {
        self.requests[id].refused = true;
    }

    /// What is known now.
    pub(super) fn moment(&self, kept_from: i64, life: u64) -> Moment {
        Moment { floors: self.floors.clone(), sent: self.requests.len(), kept_from, life }
    }

    /// The rows of a request.
    pub(super) fn rows_of(&self, id: usize) -> &Rows {
        &self.requests[id].rows
    }

    /// The rows that were ever sent.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.writes.keys()
    }

    /// Holds what a snapshot showed against what was known when it was taken, and learns from it.
    pub(super) fn check(&mut self, read: &Rows, moment: &Moment, what: &str) {
        for (row, bits) in read.iter().filter(|(row, _)| row.1 >= moment.kept_from) {
            let at = self.positions(*row, *bits, moment);
            let newest = at.last().copied();
            let value = f64::from_bits(*bits);
            let newest = newest.unwrap_or_else(|| panic!("{what}: {row:?} = {value}: {}", self.story(*row)));
            if let Some(floor) = moment.floors.get(row) {
                assert!(newest >= *floor, "{what}: {row:?} went back to {value}: {}", self.story(*row));
            }
        }
        for row in moment.floors.keys().filter(|row| row.1 >= moment.kept_from) {
            let there = read.contains_key(row) || is_hidden(*row, read);
            assert!(there, "{what}: stored {row:?} is gone: {}", self.story(*row));
        }
        for id in 0..moment.sent {
            if self.requests[id].fate == Fate::Open {
                self.check_open(id, read, moment, what);
            }
        }
    }

    /// An open request is there whole or not at all.
    fn check_open(&mut self, id: usize, read: &Rows, moment: &Moment, what: &str) {
        let request = &self.requests[id];
        let rows = request.rows.keys().filter(|row| row.1 >= moment.kept_from);
        let sights: Vec<(Row, Sight)> = rows.map(|row| (*row, self.sight(id, *row, read, moment))).collect();
        let any = |wanted: Sight| sights.iter().any(|(_, sight)| *sight == wanted);
        let (there, missing) = (any(Sight::There), any(Sight::Missing));
        assert!(!(there && missing), "{what}: request {id} is there in parts: {sights:?}");
        if there {
            self.acknowledge(id);
        } else if missing && request.life < moment.life {
            self.requests[id].fate = Fate::Gone;
        }
    }

    fn sight(&self, id: usize, row: Row, read: &Rows, moment: &Moment) -> Sight {
        if is_hidden(row, read) {
            return Sight::Unknown;
        }
        let Some(bits) = read.get(&row) else { return Sight::Missing };
        let mine = self.writes[&row].iter().position(|other| *other == id).expect("a request wrote its rows");
        match self.positions(row, *bits, moment)[..] {
            [at] if at == mine => Sight::There,
            [.., newest] if newest < mine => Sight::Missing,
            _ => Sight::Unknown,
        }
    }

    /// The writes of a row that a value may be from, in their order.
    fn positions(&self, row: Row, bits: u64, moment: &Moment) -> Vec<usize> {
        let writes = self.writes.get(&row).map(Vec::as_slice).unwrap_or_default();
        let fits = |id: usize| {
            let request = &self.requests[id];
            let never_stored = request.refused && request.life == moment.life && request.fate == Fate::Open;
            id < moment.sent && request.rows[&row] == bits && request.fate != Fate::Gone && !never_stored
        };
        writes.iter().enumerate().filter(|(_, id)| fits(**id)).map(|(at, _)| at).collect()
    }

    /// All writes of a row, for the message of a failure.
    fn story(&self, row: Row) -> String {
        let Some(writes) = self.writes.get(&row) else { return "never sent".to_owned() };
        let one = |id: &usize| {
            let request = &self.requests[*id];
            let value = f64::from_bits(request.rows[&row]);
            let refused = if request.refused { " refused" } else { "" };
            format!("#{id} = {value} {:?}{refused} in life {}", request.fate, request.life)
        };
        writes.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// Whether another row that was read hides this one.
pub(super) fn is_hidden(row: Row, read: &Rows) -> bool {
    row.0.hidden_by().is_some_and(|other| read.contains_key(&(other, row.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Series, ms and value.
    type Float = ((u64, i64), f64);

    fn rows(list: &[Float]) -> Rows {
        list.iter().map(|((series, at), value)| ((Of::Float(*series), *at), value.to_bits())).collect()
    }

    fn fails(model: Model, read: &[Float]) -> bool {
        fails_with(model, &rows(read))
    }

    fn fails_with(model: Model, read: &Rows) -> bool {
        let mut model = model;
        let moment = model.moment(i64::MIN, 2);
        super::super::planted::quietly(|| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| model.check(read, &moment, "test")))
                .is_err()
        })
    }

    /// Request 0 stored, request 1 open from an earlier life, request 2 refused in this one.
    fn model() -> Model {
        let mut model = Model::default();
        let first = model.send(0, rows(&[((0, 1), 1.0), ((0, 2), 2.0)]), 1);
        model.acknowledge(first);
        model.send(0, rows(&[((0, 2), 3.0), ((0, 3), 4.0)]), 1);
        let third = model.send(0, rows(&[((0, 4), 5.0)]), 2);
        model.refuse(third);
        model
    }

    #[test]
    fn the_model_knows_right_from_wrong() {
        let (stored, open) = ([((0, 1), 1.0), ((0, 2), 2.0)], [((0, 1), 1.0), ((0, 2), 3.0), ((0, 3), 4.0)]);
        assert!(!fails(model(), &stored) && !fails(model(), &open));
        for wrong in [
            vec![((0, 1), 1.0)],
            vec![((0, 1), 1.0), ((0, 2), 3.0)],
            vec![((0, 1), 1.0), ((0, 2), 2.0), ((0, 3), 4.0)],
            vec![((0, 1), 1.0), ((0, 2), 2.0), ((0, 4), 5.0)],
            vec![((0, 1), 1.0), ((0, 2), 2.0), ((9, 9), 1.0)],
            vec![((0, 1), 1.0), ((0, 2), 9.0), ((0, 3), 4.0)],
        ] {
            assert!(fails(model(), &wrong), "{wrong:?}");
        }
        let mut gone = model();
        let moment = gone.moment(i64::MIN, 2);
        gone.check(&rows(&stored), &moment, "test");
        assert!(fails(gone, &open), "what a life began without came back");
    }

    #[test]
    fn a_histogram_hides_the_float_of_its_time() {
        let with = |at: i64| {
            let mut model = model();
            let id = model.send(0, Rows::from([((Of::Histogram(0), at), 9)]), 2);
            model.acknowledge(id);
            let mut read = rows(&[((0, 1), 1.0)]);
            read.insert((Of::Histogram(0), at), 9);
            fails_with(model, &read)
        };
        assert!(!with(2), "the float at 2 is hidden");
        assert!(with(3), "nothing hides the float at 2");
    }
}
