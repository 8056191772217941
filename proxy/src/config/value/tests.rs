use std::time::Duration;

use super::amount::{WrittenDuration, WrittenSize, parse_byte_size, parse_duration};
use super::{BaseUrl, EventEndpoint, Secret};

#[test]
fn durations_have_a_unit() {
    for (text, duration) in [
        ("500us", Duration::from_micros(500)),
        ("20ms", Duration::from_millis(20)),
        ("3s", Duration::from_secs(3)),
        ("5m", Duration::from_secs(300)),
        ("720h", Duration::from_secs(720 * 3600)),
    ] {
        assert_eq!(parse_duration(text).as_ref(), Ok(&duration));
        assert_eq!(parse_duration(&WrittenDuration(duration).to_string()), Ok(duration), "{text}");
    }
    for wrong in [
        "",
        "3",
        "s",
        "3 s",
        "-3s",
        "1.5s",
        "3d",
        "0s",
        "721h",
        "99999999999999999999s",
        "18446744073709551615h",
    ] {
        assert!(parse_duration(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn sizes_are_bytes_or_have_a_unit() {
    for (text, bytes) in [("1", 1), ("65536", 65536), ("64Ki", 65536), ("64Mi", 64 << 20), ("1Gi", 1 << 30)] {
        assert_eq!(parse_byte_size(text), Ok(bytes));
        assert_eq!(parse_byte_size(&WrittenSize(bytes).to_string()), Ok(bytes), "{text}");
    }
    for wrong in ["", "0", "0Ki", "64MB", "64 Mi", "-1", "1.5Mi", "18446744073709551615Gi"] {
        assert!(parse_byte_size(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_url_is_scheme_host_and_port() {
    let url: BaseUrl = "http://Engine-0.example:8000/".parse().unwrap();
    assert_eq!(
        (url.host(), url.port(), url.authority().as_str()),
        ("engine-0.example", 8000, "engine-0.example:8000")
    );
    let url: BaseUrl = "http://[fd00::2]".parse().unwrap();
    assert_eq!((url.host(), url.port(), url.to_string().as_str()), ("fd00::2", 80, "http://[fd00::2]:80"));
    for wrong in [
        "",
        "a",
        "a:1",
        "ftp://a:1",
        "http://",
        "http://a:",
        "http://a:99999",
        "http://a/v1",
        "http://a?x",
        "http://u@a",
    ] {
        assert!(wrong.parse::<BaseUrl>().is_err(), "{wrong}");
    }
}

#[test]
fn an_event_endpoint_names_a_host() {
    let endpoint: EventEndpoint = "tcp://[::ffff:127.0.0.1]:5557".parse().unwrap();
    assert_eq!((endpoint.host(), endpoint.port()), ("::ffff:127.0.0.1", 5557));
    assert_eq!(endpoint.to_string(), "tcp://[::ffff:127.0.0.1]:5557");
    for wrong in [
        "",
        "a:1",
        "tcp://a",
        "tcp://a:0",
        "tcp://*:5557",
        "tcp://0.0.0.0:1",
        "tcp://[::]:1",
        "ipc:///x",
        "tcp://a:1/x",
    ] {
        assert!(wrong.parse::<EventEndpoint>().is_err(), "{wrong}");
    }
}

#[test]
fn a_secret_prints_nothing_of_itself() {
    let secret: Secret = "abcdef".parse().unwrap();
    assert!(!format!("{secret:?}{secret}").contains("abc"));
    assert!("".parse::<Secret>().is_err() && "a b".parse::<Secret>().is_err());
}
