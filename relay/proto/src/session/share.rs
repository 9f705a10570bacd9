//! Share: a user with sessions on several shards has one message limit. The presence home deals it out, so that the
//! shards together never accept more than it in any window.

use schema_wire::{ShardId, UserId};

use crate::effect::Out;
use crate::state::State;

/// On the presence home: the user came to a shard or left one.
pub(crate) fn deal(_state: &mut State, _out: &mut Out<'_>, _user: UserId) {}

/// On a session's shard: its part of the limit, or the question how much it used.
pub(crate) fn share(
    _state: &mut State,
    _out: &mut Out<'_>,
    _from: ShardId,
    _user: UserId,
    _allowance: Option<u32>,
) {
}

/// On the presence home: how much a shard used.
pub(crate) fn spent(_state: &mut State, _out: &mut Out<'_>, _from: ShardId, _user: UserId, _spent: u32) {}

/// On the presence home: the limit is dealt anew.
pub(crate) fn again(_state: &mut State, _out: &mut Out<'_>, _user: UserId) {}
