//! Character classes: `[a-z\d[:alpha:]]`, `\w`, `\p{Greek}`. Perl and POSIX classes are ASCII, as in RE2.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind};

use super::parse::{Parser, bad};
use crate::error::Result;

const DIGIT: &[(char, char)] = &[('0', '9')];
const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
/// Without `\v`, unlike POSIX' `[:space:]`.
const PERL_SPACE: &[(char, char)] = &[('\t', '\n'), ('\x0C', '\r'), (' ', ' ')];

const POSIX: [(&str, &[(char, char)]); 14] = [
    ("alnum", &[('0', '9'), ('A', 'Z'), ('a', 'z')]),
    ("alpha", &[('A', 'Z'), ('a', 'z')]),
    ("ascii", &[('\0', '\x7F')]),
    ("blank", &[('\t', '\t'), (' ', ' ')]),
    ("cntrl", &[('\0', '\x1F'), ('\x7F', '\x7F')]),
    ("digit", DIGIT),
    ("graph", &[('!', '~')]),
    ("lower", &[('a', 'z')]),
    ("print", &[(' ', '~')]),
    ("punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    ("space", &[('\t', '\r'), (' ', ' ')]),
    ("upper", &[('A', 'Z')]),
    ("word", WORD),
    ("xdigit", &[('0', '9'), ('A', 'F'), ('a', 'f')]),
];

fn class_of(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|(first, last)| ClassUnicodeRange::new(*first, *last)))
}

/// A class with what `(?i)` adds to it.
fn folded(mut class: ClassUnicode, fold: bool) -> ClassUnicode {
    if fold {
        class.case_fold_simple();
    }
    class
}

/// The rest of all characters, where `negated`. It comes after folding, as in Go.
fn negated_if(negated: bool, mut class: ClassUnicode) -> ClassUnicode {
    const BEFORE_SURROGATES: char = '\u{D7FF}';
    const AFTER_SURROGATES: char = '\u{E000}';
    if negated {
        let holds = |c| class.iter().any(|range| (range.start()..=range.end()).contains(&c));
        if holds(BEFORE_SURROGATES) && holds(AFTER_SURROGATES) {
            // `negate` takes two ranges that meet at the surrogates for ranges with something between them.
            class.push(ClassUnicodeRange::new(BEFORE_SURROGATES, AFTER_SURROGATES));
        }
        class.negate();
    }
    class
}

/// One code point. RE2 allows surrogates, which no text holds: they match nothing.
pub(super) fn single(code: u32, fold: bool) -> Hir {
    Hir::class(Class::Unicode(folded(range(code, code), fold)))
}

/// Code points from `first` to `last`, without surrogates.
fn range(first: u32, last: u32) -> ClassUnicode {
    let first = char::from_u32(first).unwrap_or('\u{E000}');
    let last = char::from_u32(last).unwrap_or('\u{D7FF}');
    let range = (first <= last).then(|| ClassUnicodeRange::new(first, last));
    ClassUnicode::new(range)
}

impl Parser<'_> {
    /// `[…]`, with the cursor on the bracket.
    pub(super) fn class(&mut self) -> Result<Hir> {
        let whole = self.rest;
        self.rest = &self.rest[1..];
        let negated = self.eat("^");
        let mut class = ClassUnicode::empty();
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if self.rest.is_empty() {
                return Err(bad("missing closing ]", whole));
            }
            let item = match self.posix_class()? {
                Some(item) => item,
                None => match self.escaped_class()? {
                    Some(item) => item,
                    None => self.class_range(whole)?,
                },
            };
            class.union(&item);
        }
        self.rest = &self.rest[1..];
        Ok(Hir::class(Class::Unicode(negated_if(negated, class))))
    }

    /// `a` or `a-z`; a `-` before the closing bracket is itself.
    fn class_range(&mut self, whole: &str) -> Result<ClassUnicode> {
        let start = self.rest;
        let first = self.class_char(whole)?;
        let mut last = first;
        if self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1 {
            self.rest = &self.rest[1..];
            last = self.class_char(whole)?;
            if last < first {
                return Err(bad("invalid character class range", &start[..start.len() - self.rest.len()]));
            }
        }
        Ok(folded(range(first, last), self.flags.fold))
    }

    fn class_char(&mut self, whole: &str) -> Result<u32> {
        match self.rest.chars().next() {
            None => Err(bad("missing closing ]", whole)),
            Some('\\') => self.escape(),
            Some(c) => {
                self.rest = &self.rest[c.len_utf8()..];
                Ok(u32::from(c))
            }
        }
    }

    /// `[:alpha:]` or `[:^alpha:]` inside a class; without a closing `:]` the bracket is a literal.
    fn posix_class(&mut self) -> Result<Option<ClassUnicode>> {
        let Some(end) = self.rest.strip_prefix("[:").and_then(|inner| inner.find(":]")) else {
            return Ok(None);
        };
        let (whole, after) = self.rest.split_at(end + 4);
        let name = &whole[2..end + 2];
        let (negated, name) = name.strip_prefix('^').map_or((false, name), |name| (true, name));
        let (_, ranges) = POSIX
            .iter()
            .find(|(posix, _)| *posix == name)
            .ok_or_else(|| bad("invalid character class range", whole))?;
        self.rest = after;
        Ok(Some(negated_if(negated, folded(class_of(ranges), self.flags.fold))))
    }

    /// `\d`, `\W`, `\pN`, `\P{Greek}` …; `None` where the cursor is on something else.
    pub(super) fn escaped_class(&mut self) -> Result<Option<ClassUnicode>> {
        let Some(letter) = self.rest.strip_prefix('\\').and_then(|escape| escape.chars().next()) else {
            return Ok(None);
        };
        let ranges = match letter.to_ascii_lowercase() {
            'd' => DIGIT,
            'w' => WORD,
            's' => PERL_SPACE,
            'p' => return self.unicode_class().map(Some),
            _ => return Ok(None),
        };
        self.rest = &self.rest[2..];
        let class = folded(class_of(ranges), self.flags.fold);
        Ok(Some(negated_if(letter.is_ascii_uppercase(), class)))
    }

    fn unicode_class(&mut self) -> Result<ClassUnicode> {
        let whole = self.rest;
        let mut negated = whole.starts_with("\\P");
        let inner = &whole[2..];
        let length = match inner.chars().next() {
            Some('{') => inner.find('}').ok_or_else(|| bad("invalid character class range", whole))? + 1,
            Some(c) => c.len_utf8(),
            None => return Err(bad("invalid character class range", whole)),
        };
        let name = &inner[..length];
        let mut name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
        if let Some(positive) = name.strip_prefix('^') {
            (negated, name) = (!negated, positive);
        }
        let class =
            unicode(name).ok_or_else(|| bad("invalid character class range", &whole[..length + 2]))?;
        self.rest = &inner[length..];
        Ok(negated_if(negated, folded(class, self.flags.fold)))
    }
}

/// A general category or a script; Rust's other properties (`Alphabetic`, `Age`) are not RE2's.
fn unicode(name: &str) -> Option<ClassUnicode> {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_- ".contains(&b));
    ["gc", "sc"].into_iter().filter(|_| plain).find_map(|property| {
        match regex_syntax::parse(&format!("\\p{{{property}={name}}}")).ok()?.into_kind() {
            HirKind::Class(Class::Unicode(class)) => Some(class),
            _ => None,
        }
    })
}
