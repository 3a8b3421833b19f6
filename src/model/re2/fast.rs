//! Expressions that need no engine: sets of literals (`a|b|c`) and globs (`api.*`, `.+`, `.*error.*`).

use memchr::memmem::Finder;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Literals that a class or a product (`[ab][cd]`) may grow to. Written alternatives are as many as written.
const MAX_PRODUCT: usize = 1024;
/// Bytes that all products of an expression may take together, so that a long tail behind many alternatives
/// does not fill the memory.
const MAX_PRODUCT_BYTES: usize = 1 << 20;

/// How an expression is matched.
#[derive(Debug)]
pub(super) enum Shape {
    /// By looking the text up.
    Literals(LiteralSet),
    /// By searching substrings from left to right.
    Glob(Glob),
    /// By `regex`.
    Engine,
}

impl Shape {
    pub(super) fn of(tree: &Hir) -> Self {
        if let Some(literals) = (Enumerator { bytes_left: MAX_PRODUCT_BYTES }).literals(tree) {
            return Self::Literals(LiteralSet::new(literals));
        }
        Glob::of(tree).map_or(Self::Engine, Self::Glob)
    }
}

/// Drops `^` at the start and `$` at the end, which always hold there: people write them out of habit.
pub(super) fn without_outer_anchors(tree: Hir) -> Hir {
    without(without(tree, Look::Start), Look::End)
}

/// Drops an anchor at its own edge of the text, in every branch.
fn without(tree: Hir, anchor: Look) -> Hir {
    let properties = tree.properties();
    let (edge, start) = match anchor {
        Look::Start => (properties.look_set_prefix_any(), true),
        _ => (properties.look_set_suffix_any(), false),
    };
    if !edge.contains(anchor) {
        return tree;
    }
    match tree.into_kind() {
        HirKind::Look(look) if look == anchor => Hir::empty(),
        HirKind::Alternation(branches) => {
            Hir::alternation(branches.into_iter().map(|branch| without(branch, anchor)).collect())
        }
        HirKind::Capture(mut capture) => {
            let sub = std::mem::replace(&mut *capture.sub, Hir::empty());
            *capture.sub = without(sub, anchor);
            Hir::capture(capture)
        }
        HirKind::Concat(mut items) => {
            let is_anchor = |item: &&Hir| *item.kind() == HirKind::Look(anchor);
            if start {
                items.drain(..items.iter().take_while(is_anchor).count());
            } else {
                items.truncate(items.len() - items.iter().rev().take_while(is_anchor).count());
            }
            let edge = if start { items.first_mut() } else { items.last_mut() };
            if let Some(item) = edge {
                *item = without(std::mem::replace(item, Hir::empty()), anchor);
            }
            Hir::concat(items)
        }
        kind => rebuilt(kind),
    }
}

fn rebuilt(kind: HirKind) -> Hir {
    match kind {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(repetition) => Hir::repetition(repetition),
        HirKind::Capture(capture) => Hir::capture(capture),
        HirKind::Concat(items) => Hir::concat(items),
        HirKind::Alternation(branches) => Hir::alternation(branches),
    }
}

/// Lists the texts that match, while they are finite and few.
struct Enumerator {
    bytes_left: usize,
}

impl Enumerator {
    fn literals(&mut self, tree: &Hir) -> Option<Vec<String>> {
        match tree.kind() {
            HirKind::Empty => Some(vec![String::new()]),
            HirKind::Literal(literal) => Some(vec![std::str::from_utf8(&literal.0).ok()?.to_owned()]),
            HirKind::Class(Class::Unicode(class)) => {
                let size: usize = class.iter().map(regex_syntax::hir::ClassUnicodeRange::len).sum();
                self.pay(size, 0)?;
                let chars = class.iter().flat_map(|range| range.start()..=range.end());
                (size <= MAX_PRODUCT).then(|| chars.map(String::from).collect())
            }
            HirKind::Capture(capture) => self.literals(&capture.sub),
            HirKind::Alternation(branches) => {
                let all: Option<Vec<_>> = branches.iter().map(|branch| self.literals(branch)).collect();
                Some(all?.concat())
            }
            HirKind::Concat(items) => items.iter().try_fold(vec![String::new()], |heads, item| {
                let tails = self.literals(item)?;
                self.product(&heads, &tails)
            }),
            HirKind::Repetition(repetition) if (repetition.min, repetition.max) == (0, Some(1)) => {
                let mut all = self.literals(&repetition.sub)?;
                all.push(String::new());
                Some(all)
            }
            // What can never match is an empty class of bytes.
            HirKind::Class(Class::Bytes(class)) => class.ranges().is_empty().then(Vec::new),
            HirKind::Look(_) | HirKind::Repetition(_) => None,
        }
    }

    fn product(&mut self, heads: &[String], tails: &[String]) -> Option<Vec<String>> {
        let size = heads.len() * tails.len();
        // A factor of one keeps the number: `instance-(a|b|…)` may have as many as are written.
        if heads.len().min(tails.len()) > 1 && size > MAX_PRODUCT {
            return None;
        }
        let bytes = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        self.pay(size, bytes(heads) * tails.len() + bytes(tails) * heads.len())?;
        let with_tails = |head| tails.iter().map(move |tail| format!("{head}{tail}"));
        Some(heads.iter().flat_map(with_tails).collect())
    }

    fn pay(&mut self, texts: usize, bytes: usize) -> Option<()> {
        self.bytes_left = self.bytes_left.checked_sub(texts * size_of::<String>() + bytes)?;
        Some(())
    }
}

/// Literals, sorted and unique.
#[derive(Debug)]
pub(super) struct LiteralSet {
    sorted: Vec<String>,
    /// A bit for each length in bytes that occurs: most texts that do not match end here.
    lengths: Vec<u64>,
}

impl LiteralSet {
    fn new(mut sorted: Vec<String>) -> Self {
        sorted.sort_unstable();
        sorted.dedup();
        let longest = sorted.iter().map(String::len).max().unwrap_or(0);
        let mut lengths = vec![0; longest / 64 + 1];
        for literal in &sorted {
            lengths[literal.len() / 64] |= 1 << (literal.len() % 64);
        }
        Self { sorted, lengths }
    }

    pub(super) fn contains(&self, text: &str) -> bool {
        let bits = self.lengths.get(text.len() / 64).copied().unwrap_or(0);
        bits >> (text.len() % 64) & 1 == 1 && self.sorted.binary_search_by(|l| l.as_str().cmp(text)).is_ok()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.sorted.iter().map(String::as_str)
    }
}

/// Literals with gaps between them: `prefix .* infix .+ suffix`. Taking the leftmost place for each infix is
/// exact, because an earlier end leaves more room for the rest.
#[derive(Debug)]
pub(super) struct Glob {
    prefix: String,
    infixes: Vec<(Gap, Finder<'static>)>,
    last_gap: Gap,
    suffix: String,
}

/// The least number of bytes between two literals: 0 for `.*`, 1 for `.+`. A byte stands for a character here,
/// since literals begin and end between characters.
type Gap = usize;

impl Glob {
    fn of(tree: &Hir) -> Option<Self> {
        let items = match tree.kind() {
            HirKind::Concat(items) => items.as_slice(),
            _ => std::slice::from_ref(tree),
        };
        let mut texts = vec![String::new()];
        let mut gaps = Vec::new();
        for item in items {
            let item = uncaptured(item);
            if let HirKind::Literal(literal) = item.kind() {
                texts.last_mut()?.push_str(std::str::from_utf8(&literal.0).ok()?);
            } else {
                gaps.push(gap(item)?);
                texts.push(String::new());
            }
        }
        let mut texts = texts.into_iter();
        let prefix = texts.next()?;
        let suffix = texts.next_back()?;
        let last_gap = gaps.pop()?;
        let infixes: Vec<_> = gaps.into_iter().zip(texts).collect();
        // `.+.+` asks for two characters, not two bytes.
        if infixes.iter().any(|(_, text)| text.is_empty()) {
            return None;
        }
        let infixes =
            infixes.into_iter().map(|(gap, text)| (gap, Finder::new(text.as_bytes()).into_owned())).collect();
        Some(Self { prefix, infixes, last_gap, suffix })
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        let Some(mut rest) = text.as_bytes().strip_prefix(self.prefix.as_bytes()) else {
            return false;
        };
        for (gap, finder) in &self.infixes {
            let Some(at) = rest.get(*gap..).and_then(|after| finder.find(after)) else {
                return false;
            };
            rest = &rest[gap + at + finder.needle().len()..];
        }
        rest.strip_suffix(self.suffix.as_bytes()).is_some_and(|between| between.len() >= self.last_gap)
    }
}

fn uncaptured(mut item: &Hir) -> &Hir {
    while let HirKind::Capture(capture) = item.kind() {
        item = &capture.sub;
    }
    item
}

/// Whether an item is `.*` or `.+` with a dot that matches everything.
fn gap(item: &Hir) -> Option<Gap> {
    let HirKind::Repetition(repetition) = item.kind() else {
        return None;
    };
    let HirKind::Class(Class::Unicode(class)) = uncaptured(&repetition.sub).kind() else {
        return None;
    };
    let all = class.ranges().first().is_some_and(|r| r.start() == '\0' && r.end() == char::MAX);
    (all && repetition.max.is_none() && repetition.min <= 1).then(|| usize::from(repetition.min == 1))
}
