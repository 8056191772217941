//! ZMQ endpoints as engines write them, as seen from here.

use std::net::{IpAddr, Ipv6Addr};

/// Where to connect to, if that is TCP with a port. A wildcard becomes the worker's host, and an IPv4 address in IPv6's
/// clothes (a way to bind one that vLLM itself needs) an IPv4 address.
pub(crate) fn reachable(endpoint: &str, worker_host: &str) -> Option<String> {
    let (host, port) = endpoint.strip_prefix("tcp://")?.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = match host.parse::<IpAddr>() {
        _ if host == "*" || host.is_empty() => unbracketed(worker_host),
        Ok(address) if address.to_canonical().is_unspecified() => unbracketed(worker_host),
        Ok(address) => &address.to_canonical().to_string(),
        Err(_) => host,
    };
    if host.parse::<Ipv6Addr>().is_ok() {
        return Some(format!("tcp://[{host}]:{port}"));
    }
    let plain =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/[]:*".contains(&byte));
    plain.then(|| format!("tcp://{host}:{port}"))
}

fn unbracketed(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The endpoint of rank `rank`, where that of rank 0 is known: engines count ports from the configured one.
pub(crate) fn offset(endpoint: &str, rank: u32) -> Option<String> {
    let (host, port) = endpoint.rsplit_once(':')?;
    let port = u32::from(port.parse::<u16>().ok()?).checked_add(rank)?;
    (port <= u32::from(u16::MAX)).then(|| format!("{host}:{port}"))
}
