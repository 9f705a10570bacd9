//! What stands now beside the charts: the database with its slowest statements, Redis, and each shard's turns.

use leptos::prelude::*;
use schema_store::redis::RedisCondition;
use schema_store::rows::condition::{
    Condition, EndedStatement, PostgresCondition, Replica, RunningStatement, Slowest, SqliteCondition,
};

use super::series::QUANTILES;
use super::times_heads;
use crate::cluster::figures::{Figures, SHARDS_MAX};
use crate::cluster::servers::Servers;
use crate::cluster::times::Times;
use crate::frame::visit::Visit;
use crate::parts::{badge, figures, moment, span, table};

/// A row of a table of durations.
pub fn times_row(name: String, times: Option<&Times>) -> AnyView {
    let times = times.filter(|times| !times.is_empty());
    let cell = |value: Option<u64>| {
        view! { <td class="number">{value.map_or_else(|| "–".to_owned(), |value| value.to_string())}</td> }
    };
    let quantiles = QUANTILES.map(|(quantile, _)| cell(times.map(|all| all.quantile(quantile))));
    view! {
        <tr>
            <th scope="row">{name}</th>
            {cell(times.map(Times::len))}
            {quantiles.to_vec()}
            {cell(times.map(Times::max))}
        </tr>
    }
    .into_any()
}

/// What each node used and how long each shard's turns took, over the whole range.
pub fn nodes(visit: &Visit, whole: &Figures, length_ms: u64) -> AnyView {
    let seconds = length_ms.max(1) as f64 / 1000.0;
    let used = whole.nodes().into_iter().map(|node| {
        let name = node.to_string();
        let cpu = whole.count_of("process_cpu_seconds_total", &name).unwrap_or(0.0) / seconds;
        let memory = whole.level_of("process_resident_memory_bytes", &name).unwrap_or(0.0);
        let sessions = whole.level_of("relay_sessions_active", &name).unwrap_or(0.0);
        view! {
            <tr>
                <th scope="row">{node}</th>
                <td class="number">{format!("{cpu:.2}")}</td>
                <td class="number">{bytes(visit, memory as u64)}</td>
                <td class="number">{sessions}</td>
            </tr>
        }
        .into_any()
    });
    let used: Vec<AnyView> = used.collect();
    let heads = ["node", "metrics-cpu", "node-memory", "node-sessions"].map(|key| visit.t(key)).to_vec();
    let used = (!used.is_empty()).then(|| table(visit.t("metrics-used"), heads, used));
    let turns = whole.shards.iter().map(|((node, shard), times)| {
        times_row(visit.language.of("metrics-shard", "shard", &format!("{node}/{shard}")), Some(times))
    });
    let turns: Vec<AnyView> = turns.collect();
    let more = (turns.len() >= SHARDS_MAX).then(
        || view! { <p class="hint">{visit.language.count("metrics-shards-more", SHARDS_MAX as u64)}</p> },
    );
    let turns = (!turns.is_empty())
        .then(|| table(visit.t("metrics-turns"), times_heads(visit, "metrics-shard-head"), turns));
    view! { {used}{turns}{more} }.into_any()
}

/// The database.
pub fn database(visit: &Visit, servers: Option<&Servers>) -> AnyView {
    match servers.map(|servers| &servers.database) {
        None => ().into_any(),
        Some(None) => view! { <p class="card">{visit.t("database-silent")}</p> }.into_any(),
        Some(Some(Condition::Sqlite(file))) => sqlite(visit, file),
        Some(Some(Condition::Postgres(server))) => postgres(visit, server),
    }
}

fn sqlite(visit: &Visit, file: &SqliteCondition) -> AnyView {
    figures(vec![
        (visit.t("database-size"), bytes(visit, file.file_bytes).into_any()),
        (visit.t("database-free"), bytes(visit, file.free_bytes).into_any()),
        (visit.t("database-log"), bytes(visit, file.log_bytes).into_any()),
        (visit.t("database-checkpoints"), file.checkpoints.into_any()),
        (visit.t("database-checkpointed"), file.checkpointed_at.map_or_else(|| "–".into_any(), moment)),
        (visit.t("database-left"), file.pages_left.into_any()),
    ])
}

fn postgres(visit: &Visit, server: &PostgresCondition) -> AnyView {
    let used = format!("{} / {}", server.connections_used, server.connections_max);
    // Nine of ten: the next burst finds none.
    let is_tight = server.connections_used * 10 >= server.connections_max * 9;
    let used = if is_tight { badge("bad", used) } else { used.into_any() };
    let blocks = server.blocks_hit + server.blocks_read;
    let hit = (blocks > 0).then(|| format!("{:.1} %", 100.0 * server.blocks_hit as f64 / blocks as f64));
    let facts = vec![
        (visit.t("database-version"), format!("PostgreSQL {}", server.version).into_any()),
        (visit.t("database-used"), used),
        (visit.t("database-size"), bytes(visit, server.database_bytes).into_any()),
        (visit.t("metrics-hit"), hit.unwrap_or_else(|| "–".into()).into_any()),
        (visit.t("database-deadlocks"), server.deadlocks.into_any()),
    ];
    let states = server.connections.iter().map(|(state, count)| {
        view! { <tr><th scope="row"><code>{state.clone()}</code></th><td class="number">{*count}</td></tr> }.into_any()
    });
    let heads = ["case-state", "metrics-count"].map(|key| visit.t(key)).to_vec();
    view! {
        {figures(facts)}
        {table(visit.t("database-states"), heads, states.collect())}
        {replicas(visit, &server.replicas)}
        {statements(visit, &server.statements)}
    }
    .into_any()
}

fn replicas(visit: &Visit, all: &[Replica]) -> AnyView {
    if all.is_empty() {
        return view! { <p>{visit.t("database-alone")}</p> }.into_any();
    }
    let rows = all.iter().map(|one| {
        let lag = one.lag_bytes.map_or_else(|| "–".to_owned(), |lag| bytes(visit, lag));
        let behind = one.lag_ms.map_or_else(|| "–".to_owned(), |ms| span(visit.language, ms));
        view! {
            <tr>
                <th scope="row"><bdi>{one.name.clone()}</bdi></th>
                <td><code>{one.state.clone()}</code></td>
                <td><code>{one.sync.clone()}</code></td>
                <td class="number">{lag}</td>
                <td class="number">{behind}</td>
            </tr>
        }
        .into_any()
    });
    let heads = ["database-replica", "case-state", "database-sync", "database-behind", "database-since"];
    table(visit.t("database-replicas"), heads.map(|key| visit.t(key)).to_vec(), rows.collect())
}

fn statements(visit: &Visit, slowest: &Slowest) -> AnyView {
    match slowest {
        Slowest::Ended(all) if !all.is_empty() => {
            let heads =
                ["statement", "statement-calls", "statement-mean", "statement-max", "statement-total"];
            let heads = heads.map(|key| visit.t(key)).to_vec();
            table(visit.t("statements-ended"), heads, all.iter().map(ended).collect())
        }
        Slowest::Running(all) if !all.is_empty() => {
            let heads = ["statement", "case-state", "statement-since"].map(|key| visit.t(key)).to_vec();
            let rows = all.iter().map(|one| running(visit, one)).collect();
            table(visit.t("statements-running"), heads, rows)
        }
        Slowest::Ended(_) => view! { <p>{visit.t("statements-no-ended")}</p> }.into_any(),
        Slowest::Running(_) => view! { <p>{visit.t("statements-no-running")}</p> }.into_any(),
    }
}

fn ended(one: &EndedStatement) -> AnyView {
    let ms = |value: f64| format!("{value:.2}");
    view! {
        <tr>
            <th scope="row" class="wide"><code>{one.text.clone()}</code></th>
            <td class="number">{one.calls}</td>
            <td class="number">{ms(one.mean_ms)}</td>
            <td class="number">{ms(one.max_ms)}</td>
            <td class="number">{format!("{:.0}", one.total_ms)}</td>
        </tr>
    }
    .into_any()
}

fn running(visit: &Visit, one: &RunningStatement) -> AnyView {
    view! {
        <tr>
            <th scope="row" class="wide"><code>{one.text.clone()}</code></th>
            <td><code>{one.state.clone()}</code></td>
            <td class="number">{span(visit.language, one.since_ms)}</td>
        </tr>
    }
    .into_any()
}

/// Redis, and how often what is cached there is found.
pub fn redis(visit: &Visit, servers: Option<&Servers>, whole: &Figures) -> AnyView {
    match servers.and_then(|servers| servers.redis.as_ref()) {
        None => ().into_any(),
        Some(None) => view! { <p class="card">{visit.t("redis-silent")}</p> }.into_any(),
        Some(Some(condition)) => view! { {connected(visit, condition)}{caches(visit, whole)} }.into_any(),
    }
}

fn connected(visit: &Visit, condition: &RedisCondition) -> AnyView {
    let asked = condition.hits + condition.misses;
    let hit = (asked > 0).then(|| format!("{:.1} %", 100.0 * condition.hits as f64 / asked as f64));
    let bound = match condition.memory_max_bytes {
        0 => visit.t("redis-unbounded"),
        most => bytes(visit, most),
    };
    figures(vec![
        (visit.t("database-version"), format!("Redis {}", condition.version).into_any()),
        (visit.t("redis-servers"), condition.servers.into_any()),
        (visit.t("redis-clients"), condition.clients.into_any()),
        (visit.t("node-memory"), bytes(visit, condition.memory_bytes).into_any()),
        (visit.t("redis-bound"), bound.into_any()),
        (visit.t("redis-server"), hit.unwrap_or_else(|| "–".into()).into_any()),
        (visit.t("redis-evicted"), condition.evicted.into_any()),
    ])
}

fn caches(visit: &Visit, whole: &Figures) -> AnyView {
    let of = |kind: &str| {
        let count = |name| whole.count_of(name, kind).unwrap_or(0.0);
        (count("relay_cache_hits_total"), count("relay_cache_misses_total"))
    };
    let online = (whole.count("relay_bus_online_hits_total"), whole.count("relay_bus_online_misses_total"));
    let all = [("profile", of("profile")), ("conversation", of("conversation")), ("recent", of("recent"))];
    let rows = all.into_iter().chain([("online", online)]).map(|(kind, (hits, misses))| {
        let share = if hits + misses > 0.0 {
            format!("{:.1} %", 100.0 * hits / (hits + misses))
        } else {
            "–".into()
        };
        view! {
            <tr>
                <th scope="row">{visit.t(&format!("cache-{kind}"))}</th>
                <td class="number">{hits}</td>
                <td class="number">{misses}</td>
                <td class="number">{share}</td>
            </tr>
        }
        .into_any()
    });
    let heads = ["cache", "cache-hits", "cache-misses", "metrics-hit"].map(|key| visit.t(key)).to_vec();
    table(visit.t("caches"), heads, rows.collect())
}

/// In the unit that fits.
fn bytes(visit: &Visit, bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * 1024;
    match bytes {
        0..KIB => visit.language.count("bytes", bytes),
        KIB..MIB => visit.language.count("kib", bytes.div_ceil(KIB)),
        _ => visit.language.count("person-storage-mib", bytes.div_ceil(MIB)),
    }
}
