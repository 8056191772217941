use super::*;

#[test]
fn endpoints_are_made_reachable() {
    for (endpoint, host, expected) in [
        ("tcp://*:5557", "worker-0", Some("tcp://worker-0:5557")),
        ("tcp://0.0.0.0:5557", "10.0.0.1", Some("tcp://10.0.0.1:5557")),
        ("tcp://[::]:5557", "[fd00::1]", Some("tcp://[fd00::1]:5557")),
        ("tcp://:::5557", "fd00::1", Some("tcp://[fd00::1]:5557")),
        ("tcp://[::ffff:127.0.0.1]:27201", "h", Some("tcp://127.0.0.1:27201")),
        ("tcp://[::ffff:0.0.0.0]:27201", "h", Some("tcp://h:27201")),
        ("tcp://10.1.2.3:4", "h", Some("tcp://10.1.2.3:4")),
        ("tcp://name.example:4", "h", Some("tcp://name.example:4")),
        ("tcp://*:0", "h", None),
        ("tcp://*:65536", "h", None),
        ("tcp://*", "h", None),
        ("tcp://a b:1", "h", None),
        ("ipc:///x", "h", None),
        ("inproc://x", "h", None),
        ("", "h", None),
    ] {
        assert_eq!(reachable(endpoint, host).as_deref(), expected, "{endpoint}");
    }
}

#[test]
fn ports_count_from_the_first_ranks() {
    assert_eq!(offset("tcp://h:5557", 3).as_deref(), Some("tcp://h:5560"));
    assert_eq!(offset("tcp://h:65535", 0).as_deref(), Some("tcp://h:65535"));
    assert_eq!(offset("tcp://h:65535", 1), None);
    assert_eq!(offset("tcp://h", 1), None);
}

#[test]
fn what_is_no_list_of_models_has_no_owner() {
    for body in [&b"<html>"[..], b"[]", b"{\"data\":1}", b"{\"data\":[]}", b"null", b"\xff"] {
        assert_eq!(owner(body), None);
    }
    assert_eq!(owner(br#"{"data":[{"id":"a","owned_by":"vllm"}]}"#).as_deref(), Some("vllm"));
    assert_eq!(owner(br#"{"data":[{"id":"a"}]}"#).as_deref(), Some(""));
}
