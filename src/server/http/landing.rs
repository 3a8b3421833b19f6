//! `/`: a plain page for whoever opens the address in a browser. No script, nothing fetched from elsewhere.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use super::Door;
use super::reply::text;
use super::targets::{ActiveTarget, active_targets};

/// How many targets the page lists; `/api/v1/targets` has them all.
const TARGETS_SHOWN: usize = 500;
const LINKS: [(&str, &str); 8] = [
    ("/api/v1/query?query=up", "instant query: up"),
    ("/api/v1/labels", "label names"),
    ("/api/v1/label/__name__/values", "metric names"),
    ("/api/v1/targets", "targets"),
    ("/api/v1/status/config", "configuration"),
    ("/api/v1/status/flags", "flags"),
    ("/metrics", "own metrics"),
    ("/-/ready", "readiness"),
];
const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.2em .6em;text-align:left;vertical-align:top}\
.down{color:#b00}.up{color:#070}code{background:#eee}";

/// GET.
pub(super) async fn page(State(door): State<Arc<Door>>) -> Response {
    let targets = door.rooms().ok().map(active_targets);
    let html = render(&door.web.pg_address, targets.as_deref());
    let mut response = text(axum::http::StatusCode::OK, html);
    let html_type = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html_type);
    response
}

/// `targets` is `None` until recovery is done.
fn render(pg_address: &str, targets: Option<&[ActiveTarget]>) -> String {
    let mut out = String::new();
    let mut push = |text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).expect("writing to a String cannot fail");
    };
    let version = env!("CARGO_PKG_VERSION");
    push(format_args!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>quipu</title><style>{STYLE}</style>"
    ));
    push(format_args!("<h1>quipu {version}</h1><p>Metrics as plain Parquet: PromQL over HTTP here, "));
    push(format_args!("SQL over the Postgres protocol at <code>{}</code>.</p><ul>", escape(pg_address)));
    for (href, name) in LINKS {
        push(format_args!("<li><a href=\"{href}\">{name}</a>"));
    }
    push(format_args!("</ul><h2>Targets</h2>"));
    match targets {
        None => push(format_args!("<p>Starting: recovery is not done yet.</p>")),
        Some([]) => push(format_args!("<p>No targets.</p>")),
        Some(targets) => {
            push(format_args!("<table><tr><th>job<th>target<th>health<th>last scrape<th>last error"));
            for target in targets.iter().take(TARGETS_SHOWN) {
                push(format_args!("{}", row(target)));
            }
            push(format_args!("</table>"));
            if targets.len() > TARGETS_SHOWN {
                push(format_args!("<p>{} of {} targets shown.</p>", TARGETS_SHOWN, targets.len()));
            }
        }
    }
    out.push_str("</html>\n");
    out
}

fn row(target: &ActiveTarget) -> String {
    format!(
        "<tr><td>{}<td>{}<td class=\"{health}\">{health}<td>{}<td>{}",
        escape(&target.scrape_pool),
        escape(&target.scrape_url),
        escape(&target.last_scrape),
        escape(&target.last_error),
        health = escape(&target.health),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_targets_say_cannot_become_markup() {
        let target = ActiveTarget {
            scrape_pool: "<b>".to_owned(),
            last_error: "a \"quoted\" & <script>".to_owned(),
            health: "down".to_owned(),
            ..ActiveTarget::default()
        };
        let html = render("127.0.0.1:5433", Some(&[target]));
        assert!(html.contains("a &quot;quoted&quot; &amp; &lt;script&gt;"), "{html}");
        assert!(!html.contains("<script>") && !html.contains("http://") && !html.contains("https://"));
        assert!(render("", None).contains("recovery"));
        assert!(render("", Some(&[])).contains("No targets."));
    }
}
