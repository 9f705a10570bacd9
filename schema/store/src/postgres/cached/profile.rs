//! Profiles, for an hour: what an active account says of itself. Whether somebody may do something is never read here.

use std::time::Instant;

use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::bytes::{Reader, Writer};
use crate::accounts::Answer;
use crate::postgres::account::profile;
use crate::postgres::server::Server;
use crate::postgres::transaction::{Access, Tx};
use crate::redis::Item;
use crate::rows::account::Profile;
use crate::rows::role::AccountRole;

const FORM: u8 = 1;

/// From the cache, or from the store and into the cache.
pub async fn read(server: &Server, user: UserId) -> Answer<Profile> {
    let (item, cache) = (Item::Profile(user), server.options().cache.as_ref());
    if let Some(cache) = cache
        && let Some(entry) = cache.get(item).await
    {
        match decode(user, &entry) {
            Some(profile) => return Ok(profile),
            None => cache.missed(item),
        }
    }
    let began = Instant::now();
    let look = async |tx: &Tx, now| profile::profile(tx, user, now).await;
    let found = server.transact(Access::Snapshot, look).await?;
    if let Some(cache) = cache.filter(|_| found.status == UserStatus::Active) {
        cache.fill(item, began, encode(&found));
    }
    Ok(found)
}

fn encode(profile: &Profile) -> Vec<u8> {
    Writer::new(FORM)
        .bytes(profile.email.as_bytes())
        .bytes(profile.name.as_bytes())
        .bytes(profile.about.as_bytes())
        .bytes(profile.role.name().as_bytes())
        .number(profile.created_at)
        .number_opt(profile.last_active_at)
        .flag(profile.email_verified)
        .done()
}

fn decode(user: UserId, entry: &[u8]) -> Option<Profile> {
    let mut entry = Reader::new(entry, FORM)?;
    let profile = Profile {
        user,
        email: entry.text()?,
        name: entry.text()?,
        about: entry.text()?,
        // Others are not cached.
        status: UserStatus::Active,
        role: AccountRole::parse(&entry.text()?)?,
        created_at: entry.number()?,
        last_active_at: entry.number_opt()?,
        email_verified: entry.flag()?,
    };
    entry.end()?;
    Some(profile)
}

/// The name of somebody, if it is cached.
pub fn name(user: UserId, entry: &[u8]) -> Option<String> {
    decode(user, entry).map(|profile| profile.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_survives_its_bytes_and_nothing_else_is_one() {
        let profile = Profile {
            user: UserId([7; 16]),
            email: "é@example.org".to_owned(),
            name: "é".to_owned(),
            about: String::new(),
            status: UserStatus::Active,
            role: AccountRole::Moderator,
            created_at: 5,
            last_active_at: Some(6),
            email_verified: true,
        };
        let entry = encode(&profile);
        assert_eq!(decode(profile.user, &entry), Some(profile.clone()));
        for n in 0..entry.len() {
            assert_eq!(decode(profile.user, &entry[..n]), None);
        }
        assert_eq!(decode(profile.user, &[&entry[..], &[0]].concat()), None);
        assert_eq!(decode(profile.user, &[&[FORM + 1], &entry[1..]].concat()), None, "of another release");
    }
}
