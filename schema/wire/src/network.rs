//! Blocks of addresses: what is banned, and who may speak for others.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that begin with the same bits, such as `10.0.0.0/8`; a single address is a block too. Addresses mapped from
/// IPv4 (`::ffff:a.b.c.d`) count as IPv4, on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

impl Network {
    /// The block that an address lies in; `None`: it has fewer bits than the prefix.
    pub fn around(address: IpAddr, prefix: u8) -> Option<Self> {
        let first = masked(address, prefix)?;
        match first.to_canonical() {
            mapped @ IpAddr::V4(_) if first.is_ipv6() && prefix >= 96 => {
                Some(Self { first: mapped, prefix: prefix - 96 })
            }
            _ => Some(Self { first, prefix }),
        }
    }

    /// From `ADDRESS/BITS` or a single address; bits beyond the prefix count as cleared.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            Some((address, prefix)) => {
                Self::around(address.trim().parse().ok()?, prefix.trim().parse().ok()?)
            }
            None => text.trim().parse::<IpAddr>().ok().map(Self::from),
        }
    }

    /// Its lowest address.
    pub const fn first(self) -> IpAddr {
        self.first
    }

    /// How many bits its addresses share.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// The address of a block of one.
    pub const fn single(self) -> Option<IpAddr> {
        let bits = if self.first.is_ipv4() { 32 } else { 128 };
        if self.prefix == bits { Some(self.first) } else { None }
    }

    /// Whether an address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix) == Some(self.first)
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self { first, prefix: if first.is_ipv4() { 32 } else { 128 } }
    }
}

impl fmt::Display for Network {
    /// As `parse` reads it: an address, or a CIDR.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(address) => write!(f, "{address}"),
            None => write!(f, "{}/{}", self.first, self.prefix),
        }
    }
}

/// The address with all bits after the prefix cleared; `None` when it has fewer bits than the prefix.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(_) if prefix > 32 => None,
        IpAddr::V6(_) if prefix > 128 => None,
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            Some(Ipv4Addr::from_bits(v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Some(Ipv6Addr::from_bits(v6.to_bits() & mask).into())
        }
    }
}

/// Many blocks, asked about at each new connection: single addresses by look-up, wider blocks one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    single: BTreeSet<IpAddr>,
    wide: Vec<Network>,
}

impl AddressSet {
    /// Whether an address lies in one of the blocks.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.single.contains(&address) || self.wide.iter().any(|network| network.contains(address))
    }
}

impl FromIterator<Network> for AddressSet {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        let mut set = Self::default();
        for network in networks {
            match network.single() {
                Some(address) => {
                    set.single.insert(address);
                }
                None => set.wide.push(network),
            }
        }
        set
    }
}
