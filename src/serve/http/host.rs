//! Names of servers, as in `Host`.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, StatusCode, Uri, Version, header};

use super::error::ApiError;

/// A name or an address, in the one form it is compared in, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// In lower case; IPv6 in brackets.
    pub host: String,
    pub port: Option<u16>,
}

impl Authority {
    /// Of `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(text) => {
                let (address, rest) = text.split_once(']')?;
                let address: Ipv6Addr = address.parse().ok()?;
                (format!("[{address}]"), rest)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (name, rest) = text.split_at(end);
                let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
                if name.is_empty() || !name.chars().all(is_of_name) {
                    return None;
                }
                (name.to_ascii_lowercase(), rest)
            }
        };
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some(port.parse().ok()?),
            Some(_) => return None,
        };
        Some(Self { host, port })
    }

    /// Whether the host always means the machine itself: no name server is asked about it.
    fn is_loopback(&self) -> bool {
        let address = self.host.parse::<Ipv4Addr>();
        self.host == "localhost" || self.host == "[::1]" || address.is_ok_and(|a| a.is_loopback())
    }
}

/// A name that a server may be called by.
#[derive(Clone, Debug)]
pub struct AllowedHost(String);

impl AllowedHost {
    /// Of `name`, `1.2.3.4`, `[::1]` or `::1`.
    ///
    /// # Errors States the expected form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bare: Option<Ipv6Addr> = text.parse().ok();
        let authority = match bare {
            Some(address) => Authority::parse(&format!("[{address}]")),
            None => Authority::parse(text),
        };
        match authority {
            Some(Authority { host, port: None }) if !text.ends_with(':') => Ok(Self(host)),
            _ => Err("expected a name or an address without a port".to_string()),
        }
    }
}

/// The host and port by which a request calls the server; `None` in HTTP/1.0 without a `Host`.
///
/// # Errors Where `Host` is missing in HTTP/1.1, is there twice, or is malformed.
pub fn of(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<Option<Authority>, ApiError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    let bad = |found: &str| {
        let message = format!("expected one `Host` with a name and maybe a port, found {found}");
        ApiError::new(StatusCode::BAD_REQUEST, message)
    };
    if another.is_some() {
        return Err(bad("more"));
    }
    let host = match host {
        None if version >= Version::HTTP_11 => return Err(bad("none")),
        None => None,
        Some(host) => {
            let host = host.to_str().ok().and_then(Authority::parse);
            Some(host.ok_or_else(|| bad("something else"))?)
        }
    };
    // A target with a name of its own goes before `Host`.
    match uri.authority() {
        Some(authority) => match Authority::parse(authority.as_str()) {
            Some(authority) => Ok(Some(authority)),
            None => Err(bad("another in the target of the request")),
        },
        None => Ok(host),
    }
}

/// Refuses a name that is neither the machine's own for itself nor one of `allowed`: a web page
/// may have made it stand for this machine (DNS rebinding).
pub fn check(authority: Option<&Authority>, allowed: &[AllowedHost]) -> Result<(), ApiError> {
    let Some(authority) = authority else {
        return Ok(());
    };
    let is_allowed = allowed.iter().any(|name| name.0 == authority.host);
    if authority.is_loopback() || is_allowed {
        return Ok(());
    }
    let message = format!(
        "`{}` is no name of this server: expected `localhost` or one of `--allow-host`",
        authority.host
    );
    Err(ApiError::new(StatusCode::FORBIDDEN, message).with_code("host_not_allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports() {
        let parsed = |text| Authority::parse(text).map(|a| (a.host, a.port));
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("LocalHost:8080", "localhost", Some(8080)),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]:65535", "[::1]", Some(65535)),
            ("[0:0::1]", "[::1]", None),
            ("a-b.c_d.", "a-b.c_d.", None),
            ("a:", "a", None),
        ] {
            assert_eq!(parsed(text), Some((host.to_string(), port)), "{text}");
        }
        for text in [
            "", ":80", "a b", "a/b", "a,b", "a@b", "::1", "[::1", "[::1]x", "[a]", "a:b", "a:+1",
            "a:65536", "a:1:2", "é", "*",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn only_loopback_always_means_this_machine() {
        let is = |text| Authority::parse(text).is_some_and(|a| a.is_loopback());
        for own in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1",
            "127.8.9.1:80",
            "[::1]:8080",
        ] {
            assert!(is(own), "{own}");
        }
        for other in [
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "evil.localhost",
            "0.0.0.0",
            "128.0.0.1",
            "127.1",
            "2130706433",
            "[::]",
        ] {
            assert!(!is(other), "{other}");
        }
    }
}
