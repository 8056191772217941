use super::*;

#[test]
fn reports_are_asked_for_until_no_parent_is_unknown() {
    let mut roots = ColdRoots::new(1000);
    assert!(!roots.wants_report(Millis(0)));
    roots.completeness(Completeness::Partial);
    assert!(roots.wants_report(Millis(10)));
    assert!(!roots.copies_unreliable(), "nothing was asked for");
    roots.report_asked(Millis(10));
    assert!(roots.copies_unreliable());
    roots.unknown_parent(Millis(900));
    assert!(roots.wants_report(Millis(1800)));
    assert!(!roots.wants_report(Millis(1900)));
    roots.completeness(Completeness::Partial);
    assert!(!roots.wants_report(Millis(1901)));
    roots.lost();
    assert!(
        roots.wants_report(Millis(1902)) && roots.wants_report(Millis(9999)),
        "it is quiet from the first report on"
    );
    roots.completeness(Completeness::Complete);
    assert!(!roots.wants_report(Millis(1903)));
}

#[test]
fn the_field_is_json() {
    let body: serde_json::Value =
        serde_json::from_str(&format!(r#"{{"{REPORT_FIELD}":{REPORT_VALUE}}}"#)).unwrap();
    assert_eq!(body["vllm_xargs"]["kv_cache_report_mode"], "full");
}
