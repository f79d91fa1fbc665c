//! What a proxy takes out of a message and puts into it: RFC 9110 §7.6.1 (connection-specific fields) and the usual
//! `X-Forwarded-*`. The client's `Host` stays: Jupyter compares it with a WebSocket's `Origin`.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{
    CONNECTION, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The protocol that a message wants to change to (or changes to), if it does.
#[must_use]
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = named_in_connection(headers).any(|name| name == UPGRADE);
    wanted.then(|| headers.get(UPGRADE).cloned()).flatten()
}

/// Removes what belongs to one connection only, and puts the change of protocol, if any, back in.
pub fn pass_on(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    let named: Vec<HeaderName> = named_in_connection(headers).collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// Says on whose behalf the request is made. This proxy is the way in, so only the list of addresses is continued.
pub fn forwarded(headers: &mut HeaderMap, client: IpAddr) {
    let before = headers.get(FORWARDED_FOR).and_then(|v| v.to_str().ok());
    let list = match before {
        Some(list) => format!("{list}, {client}"),
        None => client.to_string(),
    };
    if let Ok(value) = HeaderValue::try_from(list) {
        headers.insert(FORWARDED_FOR, value);
    }
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
}

fn named_in_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn connection_fields_stay_behind() {
        let mut h = headers(&[
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("transfer-encoding", "chunked"),
            ("authorization", "token t"),
        ]);
        let protocol = upgrade(&h);
        pass_on(&mut h, protocol);
        assert_eq!(h, headers(&[("authorization", "token t")]));
    }

    #[test]
    fn an_upgrade_goes_through_only_if_the_connection_names_it() {
        let mut h = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        let protocol = upgrade(&h);
        pass_on(&mut h, protocol);
        assert_eq!(h, headers(&[("connection", "upgrade"), ("upgrade", "websocket")]));
        assert_eq!(upgrade(&headers(&[("upgrade", "websocket")])), None);
    }

    #[test]
    fn the_client_is_added_to_the_list() {
        let mut h = headers(&[("host", "edge:8080"), ("x-forwarded-for", "10.1.2.3"), ("x-forwarded-host", "evil")]);
        forwarded(&mut h, IpAddr::from([127, 0, 0, 1]));
        assert_eq!(h["x-forwarded-for"], "10.1.2.3, 127.0.0.1");
        assert_eq!(h["x-forwarded-host"], "edge:8080");
        assert_eq!(h["x-forwarded-proto"], "http");
    }
}
