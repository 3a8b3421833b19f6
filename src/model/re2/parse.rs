//! RE2's grammar (Go's `regexp/syntax` with Perl flags), read into `regex_syntax`'s tree.

use regex_syntax::hir::{Capture, Class, Dot, Hir, Look, Repetition};

use super::class::single;
use crate::error::{Error, Kind, Result};

/// Groups inside groups. Go stops at 1,000; the tree's users recurse on stacks of 2 MiB.
pub(super) const MAX_NESTING: usize = 250;
/// Counts of `{n,m}`, also multiplied where they nest.
const MAX_REPEAT: u32 = 1000;

/// A parsed expression.
pub(super) struct Parsed {
    pub(super) tree: Hir,
    /// Names of the capturing groups in order.
    pub(super) names: Vec<Option<String>>,
}

/// `(?imsU)`; the dot matches a newline from the start.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "they are RE2's four independent flags")]
pub(super) struct Flags {
    pub(super) fold: bool,
    multi_line: bool,
    dot_newline: bool,
    ungreedy: bool,
}

pub(super) struct Parser<'p> {
    pattern: &'p str,
    pub(super) rest: &'p str,
    pub(super) flags: Flags,
    frames: Vec<Frame>,
    names: Vec<Option<String>>,
}

/// An open group; the outermost is the whole expression.
struct Frame {
    branches: Vec<Hir>,
    items: Vec<Hir>,
    /// The largest product of nested counts of anything in here, and of the last item.
    weight: u32,
    last_weight: u32,
    capture: Option<u32>,
    /// What the flags were before the group.
    flags: Flags,
}

impl Frame {
    fn new(capture: Option<u32>, flags: Flags) -> Self {
        Self { branches: Vec::new(), items: Vec::new(), weight: 1, last_weight: 1, capture, flags }
    }

    fn push(&mut self, item: Hir, weight: u32) {
        self.items.push(item);
        self.last_weight = weight;
        self.weight = self.weight.max(weight);
    }

    fn end_branch(&mut self) {
        let items = std::mem::take(&mut self.items);
        self.branches.push(Hir::concat(items));
    }

    fn into_tree(mut self) -> Hir {
        self.end_branch();
        Hir::alternation(self.branches)
    }
}

/// An error in the words of Go's `regexp/syntax`, which Prometheus' users know.
pub(super) fn bad(what: &str, fragment: &str) -> Error {
    Error::invalid(format!("error parsing regexp: {what}: `{}`", super::abridge(fragment)))
}

/// Parses a whole expression.
pub(super) fn parse(pattern: &str) -> Result<Parsed> {
    let flags = Flags { fold: false, multi_line: false, dot_newline: true, ungreedy: false };
    let frames = vec![Frame::new(None, flags)];
    let mut parser = Parser { pattern, rest: pattern, flags, frames, names: Vec::new() };
    while let Some(c) = parser.rest.chars().next() {
        parser.step(c)?;
    }
    let frame = parser.frames.pop().expect("the outermost group is never closed");
    if !parser.frames.is_empty() {
        return Err(bad("missing closing )", pattern));
    }
    Ok(Parsed { tree: frame.into_tree(), names: parser.names })
}

impl Parser<'_> {
    /// One item with the repetition behind it, or one piece of punctuation.
    fn step(&mut self, c: char) -> Result<()> {
        match c {
            '(' => return self.open(),
            ')' => return self.close(),
            '|' => {
                self.rest = &self.rest[1..];
                self.frame().end_branch();
                return Ok(());
            }
            '*' | '+' | '?' => return self.repeat(),
            '{' if count(self.rest).is_some() => return self.repeat(),
            '[' => {
                let class = self.class()?;
                self.push(class);
            }
            '\\' => self.backslash()?,
            _ => {
                self.rest = &self.rest[c.len_utf8()..];
                let item = self.plain(c);
                self.push(item);
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the outermost group is never closed")
    }

    fn push(&mut self, item: Hir) {
        self.frame().push(item, 1);
    }

    pub(super) fn eat(&mut self, token: &str) -> bool {
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn plain(&self, c: char) -> Hir {
        match c {
            '.' if self.flags.dot_newline => Hir::dot(Dot::AnyChar),
            '.' => Hir::dot(Dot::AnyCharExceptLF),
            '^' if self.flags.multi_line => Hir::look(Look::StartLF),
            '^' => Hir::look(Look::Start),
            '$' if self.flags.multi_line => Hir::look(Look::EndLF),
            '$' => Hir::look(Look::End),
            _ => single(u32::from(c), self.flags.fold),
        }
    }

    fn open(&mut self) -> Result<()> {
        let before = self.flags;
        let named = self.rest.starts_with("(?P<") || self.rest.starts_with("(?<");
        if !named && self.rest.starts_with("(?") {
            return if self.group_flags()? { self.nest(Frame::new(None, before)) } else { Ok(()) };
        }
        let name = if named {
            Some(self.group_name()?)
        } else {
            self.rest = &self.rest[1..];
            None
        };
        self.names.push(name);
        let number = u32::try_from(self.names.len()).map_err(|_| bad("too many groups", "("))?;
        self.nest(Frame::new(Some(number), before))
    }

    fn nest(&mut self, frame: Frame) -> Result<()> {
        if self.frames.len() > MAX_NESTING {
            let message =
                format!("the regular expression nests deeper than the limit of {MAX_NESTING} groups");
            return Err(Error::new(Kind::Limit, message));
        }
        self.frames.push(frame);
        Ok(())
    }

    fn group_name(&mut self) -> Result<String> {
        let whole = self.rest;
        let start = if whole.starts_with("(?P") { 4 } else { 3 };
        let end = whole.find('>').ok_or_else(|| bad("invalid named capture", whole))?;
        let name = &whole[start..end];
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.bytes().all(word) {
            return Err(bad("invalid named capture", &whole[..=end]));
        }
        self.rest = &whole[end + 1..];
        Ok(name.to_owned())
    }

    /// `(?i-s)` sets the flags from here to the end of the enclosing group; `(?i-s:` opens a group (`true`).
    fn group_flags(&mut self) -> Result<bool> {
        let whole = self.rest;
        let mut on = true;
        let mut seen = true;
        for (at, c) in whole.char_indices().skip(2) {
            let flag = match c {
                'i' => &mut self.flags.fold,
                'm' => &mut self.flags.multi_line,
                's' => &mut self.flags.dot_newline,
                'U' => &mut self.flags.ungreedy,
                '-' if on => {
                    (on, seen) = (false, false);
                    continue;
                }
                ':' | ')' if seen => {
                    self.rest = &whole[at + 1..];
                    return Ok(c == ':');
                }
                _ => return Err(bad("invalid or unsupported Perl syntax", &whole[..at + c.len_utf8()])),
            };
            (*flag, seen) = (on, true);
        }
        Err(bad("invalid or unsupported Perl syntax", whole))
    }

    fn close(&mut self) -> Result<()> {
        if self.frames.len() == 1 {
            return Err(bad("unexpected )", self.pattern));
        }
        self.rest = &self.rest[1..];
        let frame = self.frames.pop().expect("more than one is open");
        self.flags = frame.flags;
        let (capture, weight) = (frame.capture, frame.weight);
        let tree = frame.into_tree();
        let item = match capture {
            Some(index) => Hir::capture(Capture { index, name: None, sub: Box::new(tree) }),
            None => tree,
        };
        self.frame().push(item, weight);
        Ok(())
    }

    /// `*`, `+`, `?` or `{n,m}`, and the `?` that makes it lazy.
    fn repeat(&mut self) -> Result<()> {
        let whole = self.rest;
        let (min, max, length) = operator(whole)?;
        self.rest = &whole[length..];
        let lazy = self.eat("?");
        let written = &whole[..whole.len() - self.rest.len()];
        let greedy = lazy == self.flags.ungreedy;
        let Some(item) = self.frame().items.pop() else {
            return Err(bad("missing argument to repetition operator", written));
        };
        if self.rest.starts_with(['*', '+', '?']) || count(self.rest).is_some() {
            let (.., next) = operator(self.rest)?;
            let next = next + usize::from(self.rest[next..].starts_with('?'));
            return Err(bad("invalid nested repetition operator", &whole[..written.len() + next]));
        }
        let frame = self.frame();
        let mut weight = frame.last_weight;
        if written.starts_with('{') {
            let times = max.unwrap_or(min);
            weight = if times == 0 { 1 } else { weight * times };
            if (min >= 2 || times >= 2) && weight > MAX_REPEAT {
                return Err(bad("invalid repeat count", written));
            }
        }
        frame.push(Hir::repetition(Repetition { min, max, greedy, sub: Box::new(item) }), weight);
        Ok(())
    }

    fn backslash(&mut self) -> Result<()> {
        let look = match self.rest.as_bytes().get(1) {
            Some(b'A') => Some(Look::Start),
            Some(b'z') => Some(Look::End),
            Some(b'b') => Some(Look::WordAscii),
            Some(b'B') => Some(Look::WordAsciiNegate),
            _ => None,
        };
        if let Some(look) = look {
            self.rest = &self.rest[2..];
            self.push(Hir::look(look));
        } else if let Some(quoted) = self.rest.strip_prefix("\\Q") {
            let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            for c in literal.chars() {
                self.push(single(u32::from(c), self.flags.fold));
            }
            self.rest = after;
        } else if let Some(class) = self.escaped_class()? {
            self.push(Hir::class(Class::Unicode(class)));
        } else {
            let code = self.escape()?;
            self.push(single(code, self.flags.fold));
        }
        Ok(())
    }

    /// `\n`, `\x{10FFFF}`, `\052`, `\.`: one code point, with the cursor on the backslash.
    pub(super) fn escape(&mut self) -> Result<u32> {
        let whole = self.rest;
        let Some(c) = whole[1..].chars().next() else {
            return Err(bad("trailing backslash at end of expression", ""));
        };
        let invalid = || bad("invalid escape sequence", &whole[..=c.len_utf8()]);
        let mut used = 2;
        let code = match c {
            '0'..='7' => {
                let digits = whole[1..].bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
                // One digit that is not 0 would be a back reference.
                if c != '0' && digits < 2 {
                    return Err(invalid());
                }
                used = 1 + digits;
                u32::from_str_radix(&whole[1..used], 8).map_err(|_| invalid())?
            }
            'x' => {
                let (code, length) =
                    hex(&whole[2..]).map_err(|read| bad("invalid escape sequence", &whole[..2 + read]))?;
                used = 2 + length;
                code
            }
            'a' => 7,
            'f' => 0x0C,
            'n' => 0x0A,
            'r' => 0x0D,
            't' => 0x09,
            'v' => 0x0B,
            _ if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
            _ => return Err(invalid()),
        };
        self.rest = &whole[used..];
        Ok(code)
    }
}

/// `7F` or `{10FFFF}` and its length in bytes; the error is how much was read in vain.
fn hex(text: &str) -> Result<(u32, usize), usize> {
    let is_digit = |c: &char| c.is_ascii_hexdigit();
    let code = |digits: &str| u32::from_str_radix(digits, 16).ok().filter(|code| *code <= 0x0010_FFFF);
    if let Some(inner) = text.strip_prefix('{') {
        let digits = inner.chars().take_while(is_digit).count();
        let closed = inner[digits..].starts_with('}');
        let code = code(&inner[..digits]).filter(|_| closed);
        return code.map(|code| (code, digits + 2)).ok_or(digits + 1);
    }
    let read = text.chars().take(2).map(char::len_utf8).sum();
    let digits = text.chars().take(2).filter(is_digit).count();
    (digits == 2).then(|| code(&text[..2])).flatten().map(|code| (code, 2)).ok_or(read)
}

/// The bounds and the length of a repetition operator that is known to be there.
fn operator(text: &str) -> Result<(u32, Option<u32>, usize)> {
    let (min, max, length) = match text.as_bytes()[0] {
        b'*' => (0, None, 1),
        b'+' => (1, None, 1),
        b'?' => (0, Some(1), 1),
        _ => count(text).expect("the caller saw a count"),
    };
    if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
        return Err(bad("invalid repeat count", &text[..length]));
    }
    Ok((min, max, length))
}

/// `{n}`, `{n,}` or `{n,m}` without leading zeros; any other `{` is a literal. Counts that are too large come
/// back as `u32::MAX`.
fn count(text: &str) -> Option<(u32, Option<u32>, usize)> {
    let inner = text.strip_prefix('{')?;
    let end = inner.find('}')?;
    let (min, max) = match inner[..end].split_once(',') {
        None => {
            let exact = integer(&inner[..end])?;
            (exact, Some(exact))
        }
        Some((min, "")) => (integer(min)?, None),
        Some((min, max)) => (integer(min)?, Some(integer(max)?)),
    };
    Some((min, max, end + 2))
}

fn integer(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let canonical = plain && (digits == "0" || !digits.starts_with('0'));
    canonical.then(|| digits.parse().unwrap_or(u32::MAX))
}
