//! How many connections there may be: in all, and of one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// One address has at most one of so many places, so that no other machine takes all of them. Behind a proxy on another
/// machine all people have one address: of 4 096 connections they have 512, and a page at rest keeps one.
const SHARE: usize = 8;

/// The places for connections of one kind.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    /// Whose it is, if those of one address are counted.
    of: Option<IpAddr>,
}

impl Places {
    /// So many places, all of them free.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: Mutex::default() })
    }

    /// A place for a client of this address; none if all are taken, or it has as many as it may.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let of = counted(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.max {
            return None;
        }
        if let Some(of) = of {
            let own = taken.of.entry(of).or_default();
            if *own >= self.max / SHARE {
                return None;
            }
            *own += 1;
        }
        taken.all += 1;
        Some(Place { places: Arc::clone(self), of })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        let Some(of) = self.of else { return };
        if let Some(own) = taken.of.get_mut(&of) {
            *own -= 1;
            if *own == 0 {
                taken.of.remove(&of);
            }
        }
    }
}

/// The address under which a client is counted. This machine itself is not: a proxy here brings everybody, and whoever can
/// start a program here can stop this one. Of IPv6 it is the network, of which one machine has all addresses.
fn counted(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    if address.is_loopback() {
        return None;
    }
    Some(match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 64;

    fn take(places: &Arc<Places>, address: &str, count: usize) -> Vec<Place> {
        let address = address.parse().unwrap();
        (0..count).map_while(|_| places.take(address)).collect()
    }

    #[test]
    fn one_address_takes_an_eighth_and_others_find_the_rest() {
        let places = Places::new(MAX);
        let mut greedy = take(&places, "192.0.2.7", MAX);
        assert_eq!(greedy.len(), MAX / SHARE);
        let other = take(&places, "192.0.2.8", 1);
        assert_eq!(other.len(), 1);
        greedy.pop();
        assert_eq!(take(&places, "192.0.2.7", 1).len(), 1, "a place becomes free with its connection");
        drop((greedy, other));
        assert!(places.taken.lock().unwrap().of.is_empty(), "and nobody is remembered");
    }

    #[test]
    fn this_machine_may_take_all_and_not_more() {
        for here in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
            let places = Places::new(MAX);
            let taken = take(&places, here, MAX + 1);
            assert_eq!(taken.len(), MAX, "{here}");
            assert_eq!(take(&places, "192.0.2.7", 1).len(), 0);
        }
    }

    #[test]
    fn a_machine_is_one_address_however_it_is_written() {
        let places = Places::new(MAX);
        let network = take(&places, "2001:db8:0:1::7", MAX / SHARE);
        assert_eq!(network.len(), MAX / SHARE);
        assert_eq!(take(&places, "2001:db8:0:1:ffff::8", 1).len(), 0, "the same network");
        assert_eq!(take(&places, "2001:db8:0:2::7", 1).len(), 1, "another one");
        let mapped = take(&places, "::ffff:192.0.2.7", MAX / SHARE);
        assert_eq!(mapped.len(), MAX / SHARE);
        assert_eq!(take(&places, "192.0.2.7", 1).len(), 0);
    }
}
