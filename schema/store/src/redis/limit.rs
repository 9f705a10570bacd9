//! Limits that all processes share: counted by one script in Redis, which nothing comes between, on Redis' own clock.

use redis::Cmd;

use super::address::RedisFault;
use super::keys::Keys;

/// A sliding window made of two fixed ones, as each process counts alone: the older counts with the share that still
/// overlaps. Answers with what is left to wait, in milliseconds; 0: counted.
const COUNT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window, max = tonumber(ARGV[1]), tonumber(ARGV[2])
local number, into = math.floor(now / window), now % window
local kept = redis.call('HMGET', KEYS[1], 'number', 'count', 'before')
local last, count, before = tonumber(kept[1]) or 0, tonumber(kept[2]) or 0, tonumber(kept[3]) or 0
if number > last then
  before = number == last + 1 and count or 0
  count, last = 0, number
end
if math.floor(before * (window - into) / window) + count >= max then return window - into end
redis.call('HSET', KEYS[1], 'number', last, 'count', count + 1, 'before', before)
redis.call('PEXPIRE', KEYS[1], 2 * window)
return 0
";

/// What was taken lately, one entry each: when, and how many. Answers with how many are granted, and if none are, after how
/// many milliseconds one may be.
const TAKE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window, max, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local over, used, oldest = 0, 0, now
for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local at, count = string.match(entry, '^(%d+) (%d+)$')
  at, count = tonumber(at) or 0, tonumber(count) or 0
  if at + window <= now then
    over = over + 1
  else
    if used == 0 then oldest = at end
    used = used + count
  end
end
if over > 0 then redis.call('LPOP', KEYS[1], over) end
local granted = math.min(wanted, max - used)
if granted <= 0 then return {0, math.max(oldest + window - now, 1)} end
redis.call('RPUSH', KEYS[1], string.format('%.0f %.0f', now, granted))
redis.call('PEXPIRE', KEYS[1], window)
return {granted, 0}
";

/// How often something may happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharedLimit {
    pub max: u32,
    pub window_ms: u64,
}

impl Keys {
    /// Counts one more of `name`, which names nobody in clear; the milliseconds to wait if that would be too many (nothing
    /// counts then).
    ///
    /// # Errors
    /// Redis is away, refuses, or keeps something else under the name.
    pub async fn count(&self, name: &str, limit: SharedLimit) -> Result<Result<(), u64>, RedisFault> {
        let key = format!("relay:1:l:{name}");
        let mut command = Cmd::new();
        command.arg("EVAL").arg(COUNT).arg(1).arg(&key).arg(limit.window_ms).arg(limit.max);
        match self.ask::<i64>(&key, &command).await? {
            0 => Ok(Ok(())),
            wait => {
                let wait = u64::try_from(wait).ok().filter(|wait| *wait <= limit.window_ms);
                wait.map(Err).ok_or(RedisFault::Answer)
            }
        }
    }

    /// Takes up to `wanted` of what `name` may within the window; the milliseconds to wait if nothing is left.
    ///
    /// # Errors
    /// Redis is away, refuses, or keeps something else under the name.
    pub async fn take(
        &self,
        name: &str,
        limit: SharedLimit,
        wanted: u32,
    ) -> Result<Result<u32, u64>, RedisFault> {
        let key = format!("relay:1:m:{name}");
        let mut command = Cmd::new();
        command.arg("EVAL").arg(TAKE).arg(1).arg(&key);
        command.arg(limit.window_ms).arg(limit.max).arg(wanted);
        match self.ask::<(i64, i64)>(&key, &command).await? {
            (0, wait) => {
                let wait = u64::try_from(wait).ok().filter(|wait| (1..=limit.window_ms).contains(wait));
                wait.map(Err).ok_or(RedisFault::Answer)
            }
            (granted, _) => {
                let granted = u32::try_from(granted).ok().filter(|granted| *granted <= wanted);
                granted.map(Ok).ok_or(RedisFault::Answer)
            }
        }
    }
}
