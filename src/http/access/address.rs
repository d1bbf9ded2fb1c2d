//! Where a request comes from: its connection's other end, or what a proxy of ours says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

use super::limiter::Name;

/// The other end of the connection that a request came over.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Peer(pub IpAddr);

/// Whose `X-Forwarded-For` is believed.
pub(super) struct Proxies {
    trusted: Vec<IpNet>,
    /// That somebody else sends one is said once.
    warned: AtomicBool,
}

impl Proxies {
    pub fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted, warned: AtomicBool::new(false) }
    }

    /// The address of whoever asks: from the right, the first hop that is no proxy of ours. A hop that cannot be
    /// read makes it the connection's other end.
    pub fn address(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        let peer = extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0).to_canonical();
        if !self.trusts(peer) {
            if headers.contains_key(FORWARDED_FOR) && !self.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(%peer, "X-Forwarded-For is believed from PAYONCE_TRUSTED_PROXIES only; if this is a proxy of yours, put it there");
            }
            return peer;
        }
        let mut last = peer;
        for line in headers.get_all(FORWARDED_FOR).iter().rev() {
            let Ok(line) = line.to_str() else { return peer };
            for hop in line.rsplit(',') {
                let Some(hop) = read(hop.trim()) else { return peer };
                if !self.trusts(hop) {
                    return hop;
                }
                last = hop;
            }
        }
        last
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

const FORWARDED_FOR: &str = "x-forwarded-for";

/// An address, with a port or without.
fn read(hop: &str) -> Option<IpAddr> {
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    hop.parse::<IpAddr>().ok().or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

/// One customer's share of the address space: an IPv4 address, or a /64.
pub(super) fn name(address: IpAddr) -> Name {
    match address {
        IpAddr::V4(address) => Name::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) | (1 << 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let proxies = Proxies::new(trusted.iter().map(|n| n.parse().unwrap()).collect());
        let (mut extensions, mut headers) = (Extensions::new(), HeaderMap::new());
        extensions.insert(Peer(peer.parse().unwrap()));
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        proxies.address(&extensions, &headers).to_string()
    }

    #[test]
    fn nobody_is_believed_who_is_no_proxy_of_ours() {
        assert_eq!(address(&[], "198.51.100.1", &["203.0.113.9"]), "198.51.100.1");
        assert_eq!(address(&["10.0.0.0/8"], "198.51.100.1", &["203.0.113.9"]), "198.51.100.1");
    }

    #[test]
    fn the_rightmost_hop_that_is_no_proxy_of_ours_is_who_asks() {
        let ours = ["10.0.0.0/8", "fd00::/8"];
        for (forwarded, expected) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            // What stands left of it is the client's own invention.
            (&["1.2.3.4, 203.0.113.9"], "203.0.113.9"),
            (&["nonsense, 203.0.113.9, 10.1.1.1"], "203.0.113.9"),
            (&["1.2.3.4", "203.0.113.9,10.1.1.1"], "203.0.113.9"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
            (&["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(address(&ours, "10.0.0.1", forwarded), expected, "{forwarded:?}");
        }
    }

    #[test]
    fn a_hop_that_cannot_be_read_makes_it_the_peer() {
        for garbage in ["", "unknown", "203.0.113.9, ", "203.0.113.9, evil", "203.0.113.999", "_hidden", "1.2.3.4:x"] {
            assert_eq!(address(&["10.0.0.0/8"], "10.0.0.1", &[garbage]), "10.0.0.1", "{garbage:?}");
        }
        assert_eq!(address(&["10.0.0.0/8"], "::ffff:10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn a_slash_64_counts_as_one_and_no_two_kinds_are_mixed_up() {
        let name = |text: &str| name(text.parse().unwrap());
        assert_eq!(name("2001:db8::1"), name("2001:db8::ffff:1"));
        assert_ne!(name("2001:db8::1"), name("2001:db8:0:1::1"));
        assert_ne!(name("0.0.0.1"), name("::1"));
        assert_ne!(name("203.0.113.9"), name("203.0.113.10"));
    }
}
