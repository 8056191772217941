use rankwise_policy::parse_settings;

use super::*;

fn refused(json: &str) -> String {
    parse_settings::<Settings>(json)
        .and_then(|settings| Kv::configure(&Pool::default(), settings))
        .unwrap_err()
}

#[test]
fn what_is_negative_or_infinite_is_refused_by_name() {
    let fields = [
        "overlap_score_credit",
        "overlap_score_credit_decay",
        "prefill_load_scale",
        "decode_active_request_weight",
        "host_cache_hit_weight",
        "disk_cache_hit_weight",
        "temperature",
        "pending_hit_weight",
        "running_delay_weight",
        "group_prefill_weight",
        "group_kv_weight",
    ];
    for field in fields {
        for value in ["-0.5", "1e300"] {
            let error = refused(&format!("{{\"{field}\": {value}}}"));
            assert_eq!(error, format!("{field}: must be a number from 0 to 1000000000"));
        }
        assert_eq!(refused(&format!("{{\"{field}\": 1e400}}")), format!("{field}: a number too large"));
    }
    let infinite = Settings { temperature: Some(f64::INFINITY), ..Settings::default() };
    assert!(Kv::configure(&Pool::default(), infinite).is_err());
    let undefined = Settings { prefill_load_scale: Some(f64::NAN), ..Settings::default() };
    assert!(Kv::configure(&Pool::default(), undefined).is_err());
}

#[test]
fn preset_dynamo_has_nothing_of_ours() {
    assert_eq!(
        refused(r#"{"preset": "dynamo", "group_kv_weight": 0}"#),
        "group_kv_weight: preset dynamo has no such setting"
    );
    assert_eq!(
        refused(r#"{"preset": "sglang"}"#),
        "preset: unknown variant `sglang`, expected `rankwise` or `dynamo`"
    );
}

#[test]
fn only_columns_that_matter_are_asked_for() {
    let asked = |json| kv(parse_settings(json).unwrap()).needs();
    let dynamo = asked(r#"{"preset":"dynamo","host_cache_hit_weight":0,"disk_cache_hit_weight":0}"#);
    assert!(dynamo.prompt);
    assert_eq!(
        dynamo.columns,
        [Column::DeviceOverlap, Column::ActiveBlocks, Column::NewBlocks, Column::PrefillTokens]
    );
    let ours = asked("{}").columns;
    assert!(ours.contains(&Column::PendingOverlap) && !ours.contains(&Column::GroupPeakActive));
    assert!(asked(r#"{"group_kv_weight":1}"#).columns.contains(&Column::GroupPeakActive));
}
