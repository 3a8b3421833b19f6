//! Which metric and label names are valid, and what a target is asked to do with those that are not.

use serde::Deserialize;

/// `metric_name_validation_scheme`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameScheme {
    /// Any UTF-8 that is not empty.
    #[default]
    Utf8,
    /// `[a-zA-Z_][a-zA-Z0-9_]*`, in metric names also `:`.
    Legacy,
}

impl NameScheme {
    /// Whether a label may have this name.
    pub fn is_label_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy(name, false),
        }
    }

    /// Whether a metric may have this name.
    pub fn is_metric_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy(name, true),
        }
    }

    /// Whether a name with `$1` or `${name}` in it may become a label name.
    pub fn is_label_template(self, template: &str) -> bool {
        match self {
            Self::Utf8 => !template.is_empty(),
            Self::Legacy => {
                let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '{' | '}');
                !template.is_empty()
                    && !template.starts_with(|c: char| c.is_ascii_digit())
                    && template.chars().all(allowed)
            }
        }
    }
}

fn is_legacy(name: &str, colon: bool) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(allowed)
}

/// `metric_name_escaping_scheme`: what the `Accept` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EscapingScheme {
    /// As they are.
    #[default]
    #[serde(rename = "allow-utf-8")]
    AllowUtf8,
    /// Everything else becomes `_`.
    Underscores,
    /// Dots become `_dot_`.
    Dots,
    /// `U__` and code points.
    Values,
}

impl EscapingScheme {
    /// The spelling in the `Accept` header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }
}
