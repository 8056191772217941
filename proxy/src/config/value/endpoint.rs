//! Addresses, URLs and secrets.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::as_string;

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("invalid address `{text}`: expected IP:PORT, such as 127.0.0.1:8080 or [::1]:8080")
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

as_string!(Address, { "type": "string", "format": "ip:port" });

/// Where a worker is: scheme, host and port, no path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    host: String,
    port: u16,
}

impl BaseUrl {
    /// The host: a name, an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The same at an address.
    pub fn at(address: SocketAddr) -> Self {
        let host = match address.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Self { host, port: address.port() }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, as in a Host header.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for BaseUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("invalid URL `{text}`: {why}");
        let expected = || wrong("expected http://HOST:PORT, such as http://10.0.0.1:8000");
        let uri: http::Uri = text.parse().map_err(|_| expected())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong("https to workers is not supported yet: expected http://HOST:PORT"));
            }
            _ => return Err(expected()),
        }
        let authority = uri.authority().ok_or_else(expected)?;
        if authority.as_str().contains('@') {
            return Err(wrong("expected no user name or password; use `headers`"));
        }
        if !matches!(uri.path_and_query().map(http::uri::PathAndQuery::as_str), None | Some("" | "/")) {
            return Err(wrong("expected no path: requests keep the path they came with"));
        }
        // A port that is none of 1 to 65535 must not become the default one.
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => 80,
            None => return Err(expected()),
        };
        if port == 0 || authority.host().is_empty() {
            return Err(expected());
        }
        Ok(Self { host: authority.host().to_ascii_lowercase(), port })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

as_string!(BaseUrl, { "type": "string", "format": "uri", "pattern": "^http://[^/@]+/?$" });

/// A ZMQ socket to connect to: `tcp://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventEndpoint {
    host: String,
    port: u16,
}

impl EventEndpoint {
    /// The host.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for EventEndpoint {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("invalid endpoint `{text}`: expected tcp://HOST:PORT, such as tcp://10.0.0.1:5557");
        let authority: http::uri::Authority =
            text.strip_prefix("tcp://").and_then(|rest| rest.parse().ok()).ok_or_else(expected)?;
        let port = authority.port_u16().filter(|port| *port > 0).ok_or_else(expected)?;
        let host = authority.host();
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(expected());
        }
        if matches!(host, "*" | "0.0.0.0" | "[::]") {
            return Err(format!("invalid endpoint `{text}`: expected the worker's host, not a wildcard"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for EventEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp://{}:{}", self.host, self.port)
    }
}

as_string!(EventEndpoint, { "type": "string", "pattern": "^tcp://[^/@*]+:[0-9]+$" });

/// A secret: never in a log, an error or a debug print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("invalid token: expected one or more visible ASCII characters, no spaces".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

as_string!(Secret, { "type": "string", "minLength": 1 });
