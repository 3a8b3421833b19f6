//! `U__` names: how Prometheus' clients write UTF-8 label names where only ASCII letters are allowed.
//!
//! Source: prometheus/common, `model.UnescapeName` with `ValueEncodingEscaping`.

/// The longest code between two underscores, in hex digits.
const CODE_DIGITS: usize = 6;

/// The name that an escaped name stands for; a name that is not well escaped stands for itself.
pub(super) fn unescape(name: &str) -> String {
    name.strip_prefix("U__").and_then(decode).unwrap_or_else(|| name.to_owned())
}

fn decode(escaped: &str) -> Option<String> {
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, tail)) = rest.split_once('_') {
        out.push_str(plain);
        // `__` is an underscore, `_2e_` is U+002E.
        let (code, tail) = tail.split_once('_')?;
        if code.is_empty() {
            out.push('_');
        } else {
            let hex = code.len() <= CODE_DIGITS && code.bytes().all(|b| b.is_ascii_hexdigit());
            let number = u32::from_str_radix(code, 16).ok().filter(|_| hex)?;
            out.push(char::from_u32(number)?);
        }
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_come_back() {
        let cases = [
            ("plain", "plain"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U__unicode_1F602_x", "unicode😂x"),
            ("U___2E_", "."),
            ("U__", ""),
        ];
        for (escaped, name) in cases {
            assert_eq!(unescape(escaped), name, "{escaped}");
        }
    }

    #[test]
    fn what_is_badly_escaped_stays_as_it_is() {
        for name in ["U__a_", "U__a_2e", "U__a_zz_", "U__a_1234567_b", "U__a_d800_b", "u__a_2e_"] {
            assert_eq!(unescape(name), name);
        }
    }
}
