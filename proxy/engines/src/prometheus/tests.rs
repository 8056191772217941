use super::*;

#[test]
fn only_what_is_wanted_is_read() {
    let page = b"# HELP a b\na 1\nb{x=\"1\"} 2 1700000000\nab 3\nb 4.5e1\n\nb{\n";
    let got: Vec<_> = samples(page, &["b"]).map(|sample| (sample.labels.len(), sample.value)).collect();
    assert_eq!(got, [(1, 2.0), (0, 45.0)]);
}

#[test]
fn labels_may_hold_anything() {
    let page = b"m{a=\"x,y}\", b=\"q\\\"\\\\\\n\",c=\"\",} NaN";
    let sample = samples(page, &["m"]).next().unwrap();
    assert_eq!(sample.label("a"), Some("x,y}"));
    assert_eq!(sample.label("b"), Some("q\"\\\n"));
    assert_eq!(sample.label("c"), Some(""));
    assert_eq!(sample.label("d"), None);
    assert!(sample.value.is_nan());
}

#[test]
fn infinities_and_rubbish() {
    assert_eq!(samples(b"m +Inf", &["m"]).next().unwrap().value, f64::INFINITY);
    for page in ["m{a=\"1\" 2", "m{a} 2", "m{a=1} 2", "m", "m x", "m{a=\"\\", "\u{feff}m 1"] {
        assert_eq!(samples(page.as_bytes(), &["m"]).count(), 0, "{page}");
    }
    assert_eq!(samples(&[b'm', 0xff, b' ', b'1'], &["m"]).count(), 0);
}
