//! Rates and places that all gateways count together, in a server that speaks the protocol of Redis: Valkey, or Redis itself.
//!
//! A rate is one number, as in a gateway's own memory: the moment at which it would be as good as new, in microseconds by the
//! server's clock. Places are a set of those who hold them, each until a moment. One script looks at all that a request is
//! counted in and counts in all or none. Keys carry their tenant as a hash tag, so that a tenant's lie together in a cluster;
//! where what everybody shares lies elsewhere, the server is asked for both in turn. What says nothing any more is forgotten.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ConnectionAddr, ErrorKind, RedisError, Script, ScriptInvocation, ServerErrorKind};
use tollgate_model::Secret;
use tollgate_store::{Counted, LEASE, PlaceId, SharedBound, SharedCount, SharedCounters, StoreError};

use crate::InvalidPlace;

/// How long connecting may take, and an answer. Whoever waits for longer goes on by itself.
const CONNECT_MAX: Duration = Duration::from_millis(500);
const ANSWER_MAX: Duration = Duration::from_millis(250);
/// What is written where nothing is to be kept.
const PROBE: &str = "tollgate:{*}:probe";
/// How many places are kept by one script, which others wait for.
const KEPT_AT_ONCE: usize = 200;

/// `KEYS`: one for each count. `ARGV`: who asks, and for how long it holds places; then for each key the time of one request,
/// its window, and how far ahead it is where nothing is known, all in microseconds; or 0, the number of places, and 0. Nothing is
/// further ahead than its window, also where the server's clock was put back.
const COUNT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local id, lease = ARGV[1], tonumber(ARGV[2])
local nth, longest, found = 0, 0, {}
for i, key in ipairs(KEYS) do
  local each, most, wait = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), 0
  if each == 0 then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    if redis.call('ZCARD', key) >= most and not redis.call('ZSCORE', key, id) then wait = 1000000 end
    found[i] = 0
  else
    local at = tonumber(redis.call('GET', key))
    found[i] = at and math.min(math.max(at - now, 0), most) or tonumber(ARGV[3 * i + 2])
    wait = found[i] + each - most
  end
  if wait > longest then nth, longest = i, wait end
end
if nth == 0 then
  for i, key in ipairs(KEYS) do
    local each = tonumber(ARGV[3 * i])
    if each == 0 then
      redis.call('ZADD', key, now + lease, id)
      redis.call('PEXPIRE', key, math.ceil(lease / 1000) + 1)
    else
      found[i] = found[i] + each
      redis.call('SET', key, string.format('%.0f', now + found[i]), 'PX', math.ceil(found[i] / 1000) + 1)
    end
  end
end
return { nth, longest, unpack(found) }
";

/// The same keys. `ARGV`: who asks; then for each key the time of one request, or 0 for places.
const GIVE_BACK: &str = r"
for i, key in ipairs(KEYS) do
  local each = tonumber(ARGV[i + 1])
  if each == 0 then
    redis.call('ZREM', key, ARGV[1])
  else
    local at = tonumber(redis.call('GET', key))
    if at then redis.call('SET', key, string.format('%.0f', at - each), 'KEEPTTL') end
  end
end
return 0
";

/// Keys of places. `ARGV`: for how long they are held; then for each key who holds it.
const KEEP: &str = r"
local time = redis.call('TIME')
local now, lease = time[1] * 1000000 + time[2], tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + lease, ARGV[i + 1])
  redis.call('PEXPIRE', key, math.ceil(lease / 1000) + 1)
end
return 0
";

/// A server that counts for all gateways. Nothing is connected before something is asked of it.
pub struct Redis {
    client: Client,
    connection: OnceLock<ConnectionManager>,
    /// What is of different tenants may lie apart.
    is_cluster: AtomicBool,
    count: Script,
    give_back: Script,
    keep: Script,
}

impl Redis {
    /// The server of a URL: `redis://` or, over TLS, `rediss://`, which trusts what the system trusts.
    pub fn new(url: &Secret) -> Result<Self, InvalidPlace> {
        let is_known = ["redis://", "rediss://"].iter().any(|scheme| url.expose().starts_with(scheme));
        let client = Client::open(url.expose()).ok().filter(|_| is_known).ok_or(InvalidPlace::NotRedis)?;
        Ok(Self {
            client,
            connection: OnceLock::new(),
            is_cluster: AtomicBool::new(false),
            count: Script::new(COUNT),
            give_back: Script::new(GIVE_BACK),
            keep: Script::new(KEEP),
        })
    }

    /// Connects by itself, again and again, when something is asked.
    fn connection(&self) -> Result<ConnectionManager, RedisError> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_MAX))
            .set_response_timeout(Some(ANSWER_MAX))
            .set_number_of_retries(1);
        let connection = self.client.get_connection_manager_lazy(config)?;
        Ok(self.connection.get_or_init(|| connection).clone())
    }

    /// Carries a script out. Whatever is asked ends in time.
    async fn run<T: redis::FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, Fault> {
        let asked = async { call.invoke_async(&mut self.connection()?).await };
        match tokio::time::timeout(CONNECT_MAX + ANSWER_MAX, asked).await {
            Ok(answered) => answered.map_err(Fault::Said),
            Err(_) => Err(Fault::Silent),
        }
    }

    async fn count_all(&self, id: PlaceId, counts: &[&SharedCount]) -> Result<Counted, Fault> {
        let mut call = self.count.prepare_invoke();
        call.arg(id.to_string()).arg(us(LEASE));
        for count in counts {
            let (each, most, ahead) = match count.bound {
                SharedBound::Rate { each, window, ahead } => (us(each).max(1), us(window), us(ahead)),
                SharedBound::Places(most) => (0, most, 0),
            };
            call.key(key(count)).arg(each).arg(most).arg(ahead);
        }
        let found: Vec<u64> = self.run(&call).await?;
        let [nth, wait_us, ahead @ ..] = &found[..] else { return Err(Fault::Silent) };
        let nth = usize::try_from(*nth).unwrap_or_default();
        Ok(Counted {
            full: nth.checked_sub(1).map(|nth| (nth, Duration::from_micros(*wait_us))),
            ahead: ahead.iter().map(|us| Duration::from_micros(*us)).collect(),
        })
    }

    /// The same where what is of different tenants lies apart: in all or none, but one after the other.
    async fn count_apart(&self, id: PlaceId, counts: &[SharedCount]) -> Result<Counted, Fault> {
        let mut all = Counted { full: None, ahead: vec![Duration::ZERO; counts.len()] };
        let mut done: Vec<&SharedCount> = Vec::new();
        for group in groups(counts) {
            let own: Vec<&SharedCount> = group.iter().map(|(_, count)| *count).collect();
            let counted = self.count_all(id, &own).await;
            if let Ok(counted) = &counted {
                for ((nth, _), ahead) in group.iter().zip(&counted.ahead) {
                    all.ahead[*nth] = *ahead;
                }
                let Some((nth, wait)) = counted.full else {
                    done.extend(own);
                    continue;
                };
                all.full = group.get(nth).map(|(nth, _)| (*nth, wait));
            }
            if !done.is_empty() {
                self.give_back_all(id, &done).await?;
            }
            return counted.map(|_| all);
        }
        Ok(all)
    }

    async fn give_back_all(&self, id: PlaceId, counts: &[&SharedCount]) -> Result<(), Fault> {
        let mut call = self.give_back.prepare_invoke();
        call.arg(id.to_string());
        for count in counts {
            let each = match count.bound {
                SharedBound::Rate { each, .. } => us(each).max(1),
                SharedBound::Places(_) => 0,
            };
            call.key(key(count)).arg(each);
        }
        self.run(&call).await
    }
}

#[async_trait]
impl SharedCounters for Redis {
    async fn count(&self, id: PlaceId, counts: &[SharedCount]) -> Result<Counted, StoreError> {
        if !self.is_cluster.load(Ordering::Relaxed) {
            match self.count_all(id, &counts.iter().collect::<Vec<_>>()).await {
                Err(fault) if fault.is_of_cluster() => self.is_cluster.store(true, Ordering::Relaxed),
                counted => return Ok(counted?),
            }
        }
        Ok(self.count_apart(id, counts).await?)
    }

    async fn give_back(&self, id: PlaceId, counts: &[SharedCount]) -> Result<(), StoreError> {
        if !self.is_cluster.load(Ordering::Relaxed) {
            return Ok(self.give_back_all(id, &counts.iter().collect::<Vec<_>>()).await?);
        }
        for group in groups(counts) {
            let own: Vec<&SharedCount> = group.into_iter().map(|(_, count)| count).collect();
            self.give_back_all(id, &own).await?;
        }
        Ok(())
    }

    async fn keep(&self, places: &[(PlaceId, SharedCount)]) -> Result<(), StoreError> {
        let mut of_tenants: BTreeMap<Option<&str>, Vec<(PlaceId, &SharedCount)>> = BTreeMap::new();
        for (id, count) in places {
            of_tenants.entry(count.tenant.as_deref()).or_default().push((*id, count));
        }
        // Without any it asks only whether anybody counts.
        let none = [Vec::new()];
        let all = if of_tenants.is_empty() { none.iter().collect() } else { of_tenants.values().collect() };
        let all: Vec<&Vec<_>> = all;
        for places in all {
            let mut chunks = places.chunks(KEPT_AT_ONCE);
            let mut next = Some(chunks.next().unwrap_or_default());
            while let Some(places) = next {
                let mut call = self.keep.prepare_invoke();
                call.arg(us(LEASE));
                if places.is_empty() {
                    // One that is read only answers too, and counts nothing.
                    call.key(PROBE).arg("probe");
                }
                for (id, count) in places {
                    call.key(key(count)).arg(id.to_string());
                }
                self.run::<()>(&call).await?;
                next = chunks.next();
            }
        }
        Ok(())
    }
}

/// Those of each tenant, with their places among all.
fn groups(counts: &[SharedCount]) -> Vec<Vec<(usize, &SharedCount)>> {
    let mut groups: BTreeMap<Option<&str>, Vec<(usize, &SharedCount)>> = BTreeMap::new();
    for (nth, count) in counts.iter().enumerate() {
        groups.entry(count.tenant.as_deref()).or_default().push((nth, count));
    }
    groups.into_values().collect()
}

/// What is between braces says where in a cluster a key lies.
fn key(count: &SharedCount) -> String {
    let kind = match count.bound {
        SharedBound::Rate { .. } => "rate",
        SharedBound::Places(_) => "places",
    };
    format!("tollgate:{{{}}}:{kind}:{}", count.tenant.as_deref().unwrap_or("*"), count.of)
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// Why there is no answer.
enum Fault {
    Said(RedisError),
    Silent,
}

impl Fault {
    fn is_of_cluster(&self) -> bool {
        matches!(self, Self::Said(error) if error.kind() == ErrorKind::Server(ServerErrorKind::CrossSlot))
    }
}

impl From<Fault> for StoreError {
    /// Of the library's own texts only the kind: nothing of a URL is in it.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Said(error) => Self::away(format!("the server of shared counters: {}", error.category())),
            Fault::Silent => Self::away("the server of shared counters does not answer in time"),
        }
    }
}

/// The library's options show their password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple("Redis");
        match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                shown.field(host).field(port).finish()
            }
            _ => shown.finish(),
        }
    }
}
