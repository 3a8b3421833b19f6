//! Go's `Regexp.Expand`: the template language of `label_replace` and relabelling.

/// Replaces `$name`, `${name}`, `$1`, `${1}` and `$$`. A `$` that begins none of them stands for itself.
pub(super) fn expand<'t>(
    template: &str,
    by_number: impl Fn(usize) -> Option<&'t str>,
    by_name: impl Fn(&str) -> Option<&'t str>,
) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = reference(rest) {
            let group = number(name).map_or_else(|| by_name(name), &by_number);
            out.push_str(group.unwrap_or(""));
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// The name at the start of what follows a `$`, as long as possible, and what comes after it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let braced = text.strip_prefix('{');
    let inner = braced.unwrap_or(text);
    let end = inner.find(|c: char| !(c.is_alphabetic() || c.is_numeric() || c == '_')).unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    let after = if braced.is_some() { after.strip_prefix('}')? } else { after };
    (!name.is_empty()).then_some((name, after))
}

/// A group's number: decimal, no leading zero, below 10⁸ (Go gives up there, and no expression has so many).
fn number(name: &str) -> Option<usize> {
    let canonical = name.len() <= 8 && (name == "0" || !name.starts_with('0'));
    (canonical && name.bytes().all(|b| b.is_ascii_digit())).then(|| name.parse().ok())?
}
