//! Times, durations, limits and forms, with the texts that clients match on.

use super::*;
use axum::body::Body;

#[test]
fn times_are_floats_rfc_3339_or_the_two_ends() {
    let good = [
        ("0", 0),
        ("1435781430.781", 1_435_781_430_781),
        ("1435781430", 1_435_781_430_000),
        ("-1.5", -1_500),
        ("1e3", 1_000_000),
        ("2015-07-01T20:11:00.781Z", 1_435_781_460_781),
        ("2015-07-01T20:11:00+01:00", 1_435_777_860_000),
        ("-292273086-05-16T16:47:06Z", MIN_TIME_MS),
        ("292277025-08-18T07:12:54.999999999Z", MAX_TIME_MS),
        ("1e300", MAX_TIME_MS),
        ("1700000000000", 1_700_000_000_000_000),
    ];
    for (text, ms) in good {
        assert_eq!(parse_time(text), Ok(ms), "{text}");
    }
    for bad in ["", "foo", "NaN", "Inf", "2015-07-01", "1:30", "0x"] {
        assert_eq!(parse_time(bad), Err(format!("cannot parse \"{bad}\" to a valid timestamp")));
    }
}

#[test]
fn durations_are_floats_or_prometheus_own() {
    for (text, ms) in [("15", 15_000), ("0.5", 500), ("1.001", 1_001), ("1m", 60_000), ("-1", -1_000)] {
        assert_eq!(parse_duration(text), Ok(ms), "{text}");
    }
    assert_eq!(parse_duration("x"), Err("cannot parse \"x\" to a valid duration".to_owned()));
    for far in ["1e30", "-1e30", "inf"] {
        let text = format!("cannot parse \"{far}\" to a valid duration. It overflows int64");
        assert_eq!(parse_duration(far), Err(text));
    }
}

#[test]
fn numbers_fail_in_go_s_words() {
    assert_eq!(atoi("-3"), Ok(-3));
    assert_eq!(atoi("x"), Err("strconv.Atoi: parsing \"x\": invalid syntax".to_owned()));
    assert_eq!(atoi("1.5"), Err("strconv.Atoi: parsing \"1.5\": invalid syntax".to_owned()));
    let far = "99999999999999999999";
    assert_eq!(atoi(far), Err(format!("strconv.Atoi: parsing \"{far}\": value out of range")));
    assert_eq!(quote("a\"\n\x01é"), "\"a\\\"\\n\\x01é\"");
}

async fn form(method: Method, query: &str, body: &str) -> Form {
    let request = Request::builder()
        .method(method)
        .uri(format!("/q?{query}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
        .body(Body::from(body.to_owned()))
        .expect("a request");
    Form::from_request(request, &()).await.unwrap_or_default()
}

#[tokio::test]
async fn a_body_s_values_come_before_the_url_s() {
    let form = form(Method::POST, "match[]=u&x=1&limit=7", "match%5B%5D=a%2Bb+c&match[]=d&limit=5").await;
    assert_eq!(form.values("match[]"), ["a+b c", "d", "u"]);
    assert_eq!(form.value("limit"), "5");
    assert_eq!(form.url_value("limit"), "7");
    assert_eq!(form.limit().unwrap_or_default(), Some(5));
    assert_eq!(form.value("absent"), "");
}

#[tokio::test]
async fn a_get_has_no_body_and_broken_escapes_are_skipped() {
    let form = form(Method::GET, "a=%zz&b=1&c=%C3%A9&limit=0", "a=2").await;
    assert_eq!((form.value("a"), form.value("b"), form.value("c")), ("", "1", "é"));
    assert_eq!(form.limit().unwrap_or(Some(1)), None, "0 is no limit");
}
