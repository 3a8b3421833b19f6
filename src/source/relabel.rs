//! Relabelling: rules that rewrite or drop the labels of targets and samples, with the defaults, the checks
//! and the results of Prometheus (`model/relabel/relabel.go`).
//!
//! Rules are checked when they are built; applying them cannot fail.

use md5::{Digest, Md5};
use serde::{Deserialize, Deserializer, de};

use super::label_set::LabelSet;
use super::settings::NameScheme;
use crate::error::{Error, Kind, Result};
use crate::model::Regex;

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Sets the target label to the expanded replacement where the regex matches.
    #[default]
    Replace,
    /// Keeps only what matches the regex.
    Keep,
    /// Drops what matches the regex.
    Drop,
    /// Keeps only where the source labels equal the target label.
    KeepEqual,
    /// Drops where the source labels equal the target label.
    DropEqual,
    /// Sets the target label to a hash of the source labels modulo `modulus`.
    HashMod,
    /// Copies labels whose name matches to the expanded name.
    LabelMap,
    /// Removes labels whose name matches.
    LabelDrop,
    /// Removes labels whose name does not match.
    LabelKeep,
    /// Sets the target label to the source labels in lower case.
    Lowercase,
    /// Sets the target label to the source labels in upper case.
    Uppercase,
}

impl Action {
    const ALL: [(&str, Self); 11] = [
        ("replace", Self::Replace),
        ("keep", Self::Keep),
        ("drop", Self::Drop),
        ("keepequal", Self::KeepEqual),
        ("dropequal", Self::DropEqual),
        ("hashmod", Self::HashMod),
        ("labelmap", Self::LabelMap),
        ("labeldrop", Self::LabelDrop),
        ("labelkeep", Self::LabelKeep),
        ("lowercase", Self::Lowercase),
        ("uppercase", Self::Uppercase),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

/// As Prometheus reads it: in any case.
impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let lower = text.to_lowercase();
        let found = Self::ALL.iter().find(|(name, _)| *name == lower);
        found
            .map(|(_, action)| *action)
            .ok_or_else(|| de::Error::custom(format!("unknown relabel action {text:?}")))
    }
}

/// A rule as the user wrote it; what is `None` was not written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRule {
    /// Labels whose values are joined.
    pub source_labels: Option<Vec<String>>,
    /// What joins them; default `;`.
    pub separator: Option<String>,
    /// The anchored RE2 expression; default `(.*)`.
    pub regex: Option<String>,
    /// The modulus of `hashmod`.
    pub modulus: Option<u64>,
    /// The label that is set or compared with.
    pub target_label: Option<String>,
    /// What the label is set to; default `$1`.
    pub replacement: Option<String>,
    /// Default `replace`.
    pub action: Option<Action>,
}

/// A checked rule.
#[derive(Debug, Clone)]
pub struct Rule {
    action: Action,
    sources: Vec<String>,
    separator: String,
    pattern: String,
    regex: Regex,
    modulus: u64,
    target: String,
    replacement: String,
    names: NameScheme,
}

/// Two rules are equal when they do the same by their text; a compiled regex cannot be compared.
impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        let key = |rule: &Self| (rule.action, rule.modulus, rule.names);
        key(self) == key(other)
            && (&self.sources, &self.separator, &self.pattern)
                == (&other.sources, &other.separator, &other.pattern)
            && (&self.target, &self.replacement) == (&other.target, &other.replacement)
    }
}

impl Rule {
    /// Checks what the user wrote.
    ///
    /// # Errors
    /// `Config` in Prometheus' words.
    pub fn new(raw: &RawRule, names: NameScheme) -> Result<Self> {
        check(raw, names)?;
        let pattern = raw.regex.as_deref().unwrap_or(DEFAULT_REGEX);
        let text = |value: &Option<String>, default: &str| value.as_deref().unwrap_or(default).to_owned();
        Ok(Self {
            action: raw.action.unwrap_or_default(),
            sources: raw.source_labels.clone().unwrap_or_default(),
            separator: text(&raw.separator, DEFAULT_SEPARATOR),
            pattern: pattern.to_owned(),
            regex: Regex::new(pattern).map_err(|e| {
                Error::new(Kind::Config, "'regex' of a relabel rule is not valid").caused_by(e)
            })?,
            modulus: raw.modulus.unwrap_or(0),
            target: text(&raw.target_label, ""),
            replacement: text(&raw.replacement, DEFAULT_REPLACEMENT),
            names,
        })
    }

    /// Applies the rule; `false` means that the labels are to be dropped.
    fn apply(&self, labels: &mut LabelSet) -> bool {
        let value = self.joined(labels);
        match self.action {
            Action::Keep => return self.regex.is_match(&value),
            Action::Drop => return !self.regex.is_match(&value),
            Action::KeepEqual => return labels.get(&self.target) == value,
            Action::DropEqual => return labels.get(&self.target) != value,
            Action::Replace => self.replace(labels, &value),
            Action::HashMod => labels.set(&self.target, &(digest(&value) % self.modulus).to_string()),
            Action::Lowercase => labels.set(&self.target, &value.to_lowercase()),
            Action::Uppercase => labels.set(&self.target, &value.to_uppercase()),
            Action::LabelMap => self.map(labels),
            Action::LabelDrop => labels.retain(|name| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name| self.regex.is_match(name)),
        }
        true
    }

    fn joined(&self, labels: &LabelSet) -> String {
        let mut value = String::new();
        for (i, name) in self.sources.iter().enumerate() {
            if i > 0 {
                value.push_str(&self.separator);
            }
            value.push_str(labels.get(name));
        }
        value
    }

    fn replace(&self, labels: &mut LabelSet, value: &str) {
        let Some(target) = self.regex.expand(value, &self.target) else { return };
        if !self.names.is_label_name(&target) {
            return;
        }
        let replacement = self.regex.expand(value, &self.replacement).unwrap_or_default();
        labels.set(&target, &replacement);
    }

    /// Works on the labels as they were, in name order: with two sources for one name the later wins.
    fn map(&self, labels: &mut LabelSet) {
        let mut before = labels.clone();
        before.sort();
        for (name, value) in before.iter() {
            if let Some(target) = self.regex.expand(name, &self.replacement) {
                labels.set(&target, value);
            }
        }
    }
}

/// Applies the rules in order; `false` as soon as one of them drops the labels.
pub fn apply(rules: &[Rule], labels: &mut LabelSet) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

/// The last 8 of MD5's 16 bytes, big-endian: the hash that `hashmod` is defined by.
fn digest(value: &str) -> u64 {
    let hash: [u8; 16] = Md5::digest(value.as_bytes()).into();
    hash[8..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn check(raw: &RawRule, names: NameScheme) -> Result<()> {
    use Action as A;
    let action = raw.action.unwrap_or_default();
    let name = action.as_str();
    let fail = |message: String| Err(Error::new(Kind::Config, message));
    let target = raw.target_label.as_deref().unwrap_or("");
    let sets_target =
        matches!(action, A::Replace | A::HashMod | A::Lowercase | A::Uppercase | A::KeepEqual | A::DropEqual);
    if action == A::HashMod && raw.modulus.unwrap_or(0) == 0 {
        return fail("relabel configuration for hashmod requires non-zero modulus".to_owned());
    }
    if sets_target && target.is_empty() {
        return fail(format!("relabel configuration for {name} action requires 'target_label' value"));
    }
    let template = action == A::Replace && target.contains('$');
    let target_ok = if template { names.is_label_template(target) } else { names.is_label_name(target) };
    if sets_target && !target_ok {
        return fail(format!("{target:?} is invalid 'target_label' for {name} action"));
    }
    let replacement = raw.replacement.as_deref().unwrap_or(DEFAULT_REPLACEMENT);
    let fixed = replacement == DEFAULT_REPLACEMENT;
    if matches!(action, A::Lowercase | A::Uppercase | A::KeepEqual | A::DropEqual) && !fixed {
        return fail(format!("'replacement' can not be set for {name} action"));
    }
    if action == A::LabelMap && !names.is_label_template(replacement) {
        return fail(format!("{replacement:?} is invalid 'replacement' for {name} action"));
    }
    check_only(raw, action, fixed)
}

/// Some actions look at two keys or one; anything else beside them is a misunderstanding.
fn check_only(raw: &RawRule, action: Action, fixed: bool) -> Result<()> {
    let name = action.as_str();
    let plain = raw.modulus.unwrap_or(0) == 0
        && fixed
        && raw.separator.as_deref().unwrap_or(DEFAULT_SEPARATOR) == DEFAULT_SEPARATOR;
    let message = match action {
        Action::KeepEqual | Action::DropEqual if !plain || raw.regex.is_some() => {
            format!("{name} action requires only 'source_labels' and `target_label`, and no other fields")
        }
        Action::LabelDrop | Action::LabelKeep
            if !plain
                || raw.source_labels.is_some()
                || raw.target_label.as_deref().is_some_and(|t| !t.is_empty()) =>
        {
            format!("{name} action requires only 'regex', and no other fields")
        }
        _ => return Ok(()),
    };
    Err(Error::new(Kind::Config, message))
}

#[cfg(test)]
mod tests;
