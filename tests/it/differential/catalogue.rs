//! Labels, label values and series by selectors: what there is must be the same, and bad selectors are refused alike.

use serde_json::Value;

use super::data::METRICS;
use super::dice::Dice;
use super::grammar::Grammar;

/// A path with its parameters.
pub(super) type Lookup = (String, Vec<(&'static str, String)>);

/// Look-ups of a seed.
pub(super) fn lookups(dice: &mut Dice, count: usize) -> Vec<Lookup> {
    let names = METRICS.iter().flat_map(|metric| metric.labels).map(|(name, _)| *name);
    let names: Vec<&str> = names.chain(["__name__", "none"]).collect();
    let mut lookups = Vec::new();
    for _ in 0..count {
        let mut selectors = vec![("match[]", Grammar { dice, native: false }.selector())];
        if dice.percent(30) {
            selectors.push(("match[]", Grammar { dice, native: false }.selector()));
        }
        if dice.percent(10) {
            selectors.push(("match[]", (*dice.pick(&["{}", "a{", "rate(x[5m])", "{x=~\"(\"}"])).to_string()));
        }
        let path = match dice.below(3) {
            0 => "/api/v1/series".to_owned(),
            1 => "/api/v1/labels".to_owned(),
            _ => format!("/api/v1/label/{}/values", dice.pick(&names)),
        };
        if !path.ends_with("series") && dice.percent(10) {
            selectors.clear();
        }
        lookups.push((path, selectors));
    }
    lookups
}

async fn look_up(client: &reqwest::Client, server: &str, (path, parameters): &Lookup) -> (u16, Value) {
    let request = client.get(format!("{server}{path}")).query(parameters);
    let answer = request.send().await.expect("the server answers");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    let mut json: Value =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{server}{path}: {e}: {text}"));
    // Series come in no order; labels and values come sorted.
    if let Some(series) = json["data"].as_array_mut().filter(|_| path.ends_with("series")) {
        series.sort_by_key(Value::to_string);
    }
    (status, json)
}

/// The differences.
pub(super) async fn compare(
    client: &reqwest::Client,
    (expected, found): (&str, &str),
    lookups: &[Lookup],
) -> Vec<String> {
    let mut differences = Vec::new();
    for lookup in lookups {
        let (expected, found) =
            tokio::join!(look_up(client, expected, lookup), look_up(client, found, lookup));
        if expected != found {
            differences.push(format!("{lookup:?}\n      {found:?} instead of {expected:?}"));
        }
    }
    differences
}
