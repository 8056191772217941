use super::*;

#[test]
fn a_rank_is_named_by_header_or_field_and_checked() {
    let named = |header: Option<&str>, body: &str| read(header.map(str::as_bytes), body.as_bytes(), 4);
    assert_eq!(named(None, "{}").unwrap(), None);
    assert_eq!(named(Some("2"), "{\"routed_dp_rank\":1}").unwrap(), Some(2));
    assert_eq!(named(None, "{\"routed_dp_rank\":1,\"data_parallel_rank\":3}").unwrap(), Some(1));
    assert_eq!(named(None, "{\"routed_dp_rank\":null,\"data_parallel_rank\":null}").unwrap(), None);
    assert_eq!(named(None, "{\"routed_dp_rank\":1,\"routed_dp_rank\":null}").unwrap(), None);
    for (header, body) in [(Some("x"), "{}"), (Some("4"), "{}"), (None, "{\"routed_dp_rank\":-1}")] {
        assert_eq!(named(header, body).unwrap_err().status, 400, "{header:?} {body}");
    }
}
