//! How often somebody may ask: per user, and per address where proxies tell us addresses.
//!
//! State is kept per key for no longer than it matters: a key that has rested is as good as one
//! that was never seen, and [`Rates::prune`] forgets it.

use crate::{
    config::LimitSettings,
    problem::{Code, Problem},
};
use axum::http::HeaderMap;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::DashMapStateStore,
};
use ipnet::IpNet;
use metrics::Counter;
use std::{hash::Hash, net::IpAddr, num::NonZeroU32};

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock>;

/// An IPv6 client has a network of this length, not an address.
const V6_CLIENT_BITS: u8 = 64;

/// The limits of a server.
pub(crate) struct Rates {
    users: Option<Limiter<String>>,
    addresses: Option<Limiter<IpAddr>>,
    proxies: Vec<IpNet>,
    user_limited: Counter,
    address_limited: Counter,
}

fn limiter<K: Hash + Eq + Clone>(per_s: Option<u32>, burst: Option<u32>) -> Option<Limiter<K>> {
    let per_s = NonZeroU32::new(per_s?)?;
    let burst = burst.and_then(NonZeroU32::new).unwrap_or(per_s);
    Some(RateLimiter::dashmap(
        Quota::per_second(per_s).allow_burst(burst),
    ))
}

fn check<K: Hash + Eq + Clone>(
    limiter: &Limiter<K>,
    key: &K,
    limited: &Counter,
) -> Result<(), Problem> {
    limiter.check_key(key).map_err(|until| {
        limited.increment(1);
        let wait = until.wait_time_from(DefaultClock::default().now());
        // Rounded up: who comes back when told is let in.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Problem::new(
            Code::RateLimited,
            "more requests than are allowed; come back a little later",
        )
        .retry_after(u16::try_from(seconds.max(1)).unwrap_or(u16::MAX))
    })
}

impl Rates {
    pub(crate) fn new(limits: &LimitSettings) -> Self {
        Self {
            users: limiter(limits.per_user_per_s, limits.per_user_burst),
            addresses: limiter(limits.per_address_per_s, limits.per_address_burst),
            proxies: limits.trusted_proxies.clone(),
            user_limited: metrics::counter!("guafen_http_rate_limited_total", "by" => "user"),
            address_limited: metrics::counter!("guafen_http_rate_limited_total", "by" => "address"),
        }
    }

    /// Counts a request of a user.
    ///
    /// # Errors
    /// 429 with the time after which one more is let in.
    pub(crate) fn admit_user(&self, user: &str) -> Result<(), Problem> {
        match &self.users {
            Some(limiter) => check(limiter, &user.to_owned(), &self.user_limited),
            None => Ok(()),
        }
    }

    /// Counts a request from an address.
    ///
    /// # Errors
    /// 429 with the time after which one more is let in.
    pub(crate) fn admit_address(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Problem> {
        match &self.addresses {
            Some(limiter) => {
                let client = client(peer, headers, &self.proxies);
                check(limiter, &whole(client), &self.address_limited)
            }
            None => Ok(()),
        }
    }

    /// Forgets whoever has not been near a limit lately.
    pub(crate) fn prune(&self) {
        if let Some(limiter) = &self.users {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        if let Some(limiter) = &self.addresses {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

/// Whose request it is: the last hop that is none of our proxies. Only what a trusted proxy wrote
/// is believed, and it writes at the right end; what stands further left came from the client.
fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let is_ours = |address: &IpAddr| proxies.iter().any(|network| network.contains(address));
    let mut nearest = peer.to_canonical();
    if !is_ours(&nearest) {
        return nearest;
    }
    let lists: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    let hops = lists
        .iter()
        .rev()
        .flat_map(|list| list.to_str().unwrap_or_default().rsplit(','));
    for hop in hops {
        // A proxy that writes something else is the last one who can be named.
        let Some(address) = address(hop.trim()) else {
            break;
        };
        nearest = address;
        if !is_ours(&nearest) {
            break;
        }
    }
    nearest
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1` or `[::1]:5`.
fn address(text: &str) -> Option<IpAddr> {
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| {
            text.parse::<std::net::SocketAddr>()
                .map(|address| address.ip())
        })
        .ok()
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(address.to_canonical())
}

/// What one client has: an IPv4 address, or an IPv6 network.
fn whole(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(_) => {
            IpNet::new(address, V6_CLIENT_BITS).map_or(address, |network| network.network())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{http::HeaderValue, response::IntoResponse};

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn of(peer: &str, lists: &[&'static str]) -> IpAddr {
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append("x-forwarded-for", HeaderValue::from_static(list));
        }
        let proxies = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().expect("a network"));
        client(ip(peer), &headers, &proxies)
    }

    #[test]
    fn only_what_our_proxies_wrote_is_believed() {
        assert_eq!(of("1.1.1.1", &["2.2.2.2"]), ip("1.1.1.1"));
        assert_eq!(of("10.0.0.1", &["2.2.2.2"]), ip("2.2.2.2"));
        assert_eq!(of("10.0.0.1", &["3.3.3.3, 2.2.2.2"]), ip("2.2.2.2"));
        assert_eq!(of("10.0.0.1", &["2.2.2.2, 10.0.0.2"]), ip("2.2.2.2"));
        assert_eq!(
            of("10.0.0.1", &["3.3.3.3", "2.2.2.2,10.0.0.2"]),
            ip("2.2.2.2")
        );
        assert_eq!(of("::ffff:10.0.0.1", &["2.2.2.2:99"]), ip("2.2.2.2"));
        assert_eq!(of("fd00::1", &["[2001:db8::1]:99"]), ip("2001:db8::1"));
        assert_eq!(of("10.0.0.1", &["2.2.2.2, unknown"]), ip("10.0.0.1"));
        assert_eq!(
            of("10.0.0.1", &["2.2.2.2, unknown, 10.0.0.3"]),
            ip("10.0.0.3")
        );
        assert_eq!(of("10.0.0.1", &[]), ip("10.0.0.1"));
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        assert_eq!(whole(ip("2001:db8:1:2:3::4")), ip("2001:db8:1:2::"));
        assert_eq!(whole(ip("1.2.3.4")), ip("1.2.3.4"));
    }

    fn limits(per_s: u32, burst: u32) -> LimitSettings {
        LimitSettings {
            per_user_per_s: Some(per_s),
            per_user_burst: Some(burst),
            ..LimitSettings::default()
        }
    }

    #[test]
    fn a_user_has_a_burst_then_is_told_when_to_come_back_and_others_are_not_touched() {
        let rates = Rates::new(&limits(1, 3));
        for _ in 0..3 {
            rates.admit_user("ann").expect("within the burst");
        }
        let refused = rates
            .admit_user("ann")
            .expect_err("beyond it")
            .into_response();
        assert_eq!(refused.status(), axum::http::StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "1");
        rates.admit_user("ben").expect("somebody else");
        assert!(
            Rates::new(&LimitSettings::default())
                .admit_user("ann")
                .is_ok()
        );
    }

    #[test]
    fn who_has_rested_is_forgotten() {
        let rates = Rates::new(&limits(1_000_000, 1));
        for user in 0..1_000 {
            let _ = rates.admit_user(&user.to_string());
        }
        let slow = Rates::new(&limits(1, 1));
        slow.admit_user("ann").expect("the first");
        let known = |rates: &Rates| rates.users.as_ref().map_or(0, RateLimiter::len);
        assert_eq!(known(&rates), 1_000);
        // A microsecond each: rested long before a bound of a second is over.
        let begun = std::time::Instant::now();
        while known(&rates) > 0 {
            rates.prune();
            assert!(begun.elapsed() < std::time::Duration::from_secs(1));
        }
        slow.prune();
        assert_eq!(known(&slow), 1, "ann has not rested for a second");
    }
}
