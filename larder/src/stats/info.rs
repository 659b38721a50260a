//! INFO: what the engine knows of itself, as sections of fields.
//!
//! A section is a row of a table with the function that fills it. What only the house knows (ports, files, threads)
//! comes from [`crate::host::Host::info`]: its lines replace fields of the same name and follow the others. What does not apply to this
//! engine is 0, so that a chart of it stays flat.
//!
//! Monitoring asks often and on busy servers, so a section costs no more than a few sums over lanes; Memory and
//! Keyspace walk the shards once, together.

use super::census::Census;
use super::{CommandStats, system};
use crate::engine::Engine;
use crate::registry;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

/// A section.
struct Section {
    /// The word that INFO takes.
    word: &'static str,
    /// Its header.
    title: &'static str,
    /// Whether plain INFO shows it.
    is_default: bool,
    fill: fn(&Facts<'_>, &mut Fields),
}

const SECTIONS: &[Section] = &[
    Section { word: "server", title: "Server", is_default: true, fill: server },
    Section { word: "clients", title: "Clients", is_default: true, fill: clients },
    Section { word: "memory", title: "Memory", is_default: true, fill: memory },
    Section { word: "persistence", title: "Persistence", is_default: true, fill: persistence },
    Section { word: "stats", title: "Stats", is_default: true, fill: stats },
    Section { word: "replication", title: "Replication", is_default: true, fill: replication },
    Section { word: "cpu", title: "CPU", is_default: true, fill: cpu },
    Section { word: "modules", title: "Modules", is_default: true, fill: |_, _| {} },
    Section { word: "commandstats", title: "Commandstats", is_default: false, fill: commandstats },
    Section { word: "errorstats", title: "Errorstats", is_default: true, fill: errorstats },
    Section { word: "cluster", title: "Cluster", is_default: true, fill: cluster },
    Section { word: "keyspace", title: "Keyspace", is_default: true, fill: keyspace },
];

/// Which sections a call of INFO wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted(u32);

impl Wanted {
    /// From the words of the call; none means the default ones. Unknown words mean nothing.
    pub(crate) fn parse<'a>(words: impl ExactSizeIterator<Item = &'a [u8]>) -> Wanted {
        let usual = SECTIONS.iter().enumerate().filter(|(_, section)| section.is_default);
        let usual = usual.fold(0, |bits, (index, _)| bits | 1 << index);
        if words.len() == 0 {
            return Wanted(usual);
        }
        let all = (1 << SECTIONS.len()) - 1;
        Wanted(words.fold(0, |bits, word| {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            bits | match SECTIONS.iter().position(|section| is(section.word)) {
                Some(index) => 1 << index,
                None if is("all") || is("everything") => all,
                None if is("default") => usual,
                None => 0,
            }
        }))
    }

    /// Whether a walk over the shards is needed.
    pub(crate) fn needs_census(self) -> bool {
        let walks = |section: &Section| matches!(section.word, "memory" | "keyspace");
        SECTIONS.iter().enumerate().any(|(index, section)| self.0 >> index & 1 == 1 && walks(section))
    }
}

/// What the sections are filled from.
pub(crate) struct Facts<'a> {
    pub(crate) engine: &'a Engine,
    /// Unix time, in microseconds.
    pub(crate) now_us: u64,
    pub(crate) census: Census,
}

/// The fields of a section in order.
#[derive(Default)]
struct Fields(Vec<(Cow<'static, str>, String)>);

impl Fields {
    fn add(&mut self, name: impl Into<Cow<'static, str>>, value: impl ToString) {
        self.0.push((name.into(), value.to_string()));
    }

    /// Bytes, as a number and as people read them.
    fn add_bytes(&mut self, name: &'static str, bytes: u64) {
        self.add(name, bytes);
        self.add(format!("{name}_human"), human(bytes));
    }

    fn zeros(&mut self, names: &[&'static str]) {
        names.iter().for_each(|name| self.add(*name, 0));
    }

    /// Takes over a line of the house.
    fn overlay(&mut self, name: &'static str, value: String) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.add(name, value),
        }
    }
}

/// The text of the wanted sections.
pub(crate) fn text(facts: &Facts<'_>, wanted: Wanted) -> String {
    let mut text = String::new();
    for (index, section) in SECTIONS.iter().enumerate() {
        if wanted.0 >> index & 1 == 0 {
            continue;
        }
        let mut fields = Fields::default();
        (section.fill)(facts, &mut fields);
        if let Some(host) = facts.engine.host() {
            for (name, value) in host.info(section.word) {
                fields.overlay(name, value);
            }
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        // Writing to a string cannot fail.
        let _never_fails = write!(text, "# {}\r\n", section.title);
        for (name, value) in fields.0 {
            let _never_fails = write!(text, "{name}:{value}\r\n");
        }
    }
    text
}

/// Bytes with a unit, two decimals.
fn human(bytes: u64) -> String {
    const UNITS: &[(u64, &str)] =
        &[(1 << 50, "P"), (1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", ratio(part, whole) * 100.0)
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn server(facts: &Facts<'_>, fields: &mut Fields) {
    let engine = facts.engine;
    let uptime_s = engine.uptime_us() / 1_000_000;
    fields.add("redis_version", crate::REDIS_VERSION);
    fields.add("redis_git_sha1", "00000000");
    fields.add("redis_git_dirty", 0);
    fields.add("redis_build_id", "0000000000000000");
    fields.add("redis_mode", "standalone");
    fields.add("server_name", "larder");
    fields.add("larder_version", crate::LARDER_VERSION);
    fields.add("os", system::name());
    fields.add("arch_bits", usize::BITS);
    fields.add("process_id", std::process::id());
    fields.add("process_supervised", "no");
    fields.add("run_id", &engine.stats.run_id);
    fields.add("tcp_port", 0);
    fields.add("server_time_usec", facts.now_us);
    fields.add("uptime_in_seconds", uptime_s);
    fields.add("uptime_in_days", uptime_s / 86_400);
    fields.add("hz", crate::runtime::TICKS_PER_SECOND);
    fields.add("configured_hz", crate::runtime::TICKS_PER_SECOND);
    let clock = (facts.now_us / 1_000_000) as u32 & larder_structures::entry::CLOCK_MAX;
    fields.add("lru_clock", clock);
    fields.add("executable", system::executable());
    fields.add("config_file", "");
    fields.add("io_threads_active", 0);
}

fn clients(facts: &Facts<'_>, fields: &mut Fields) {
    let totals = facts.engine.clients.totals();
    fields.add("connected_clients", totals.connected);
    fields.add("cluster_connections", 0);
    fields.add("maxclients", 0);
    fields.add("client_recent_max_input_buffer", totals.largest_input);
    fields.add("client_recent_max_output_buffer", totals.largest_output);
    fields.add("blocked_clients", totals.blocked);
    fields.zeros(&["tracking_clients", "clients_in_timeout_table"]);
    fields.add("pubsub_clients", totals.subscribers);
    fields.add("watching_clients", totals.watching);
    fields.add("total_watched_keys", totals.watched_keys);
    fields.add("total_blocking_keys", 0);
}

/// What memory is used for.
pub(crate) struct Used {
    /// Entries and values.
    pub(crate) data: u64,
    /// Tables of keys.
    pub(crate) tables: u64,
    /// Connections.
    pub(crate) clients: u64,
    /// The highest total so far.
    pub(crate) peak: u64,
}

impl Used {
    /// All of it.
    pub(crate) fn total(&self) -> u64 {
        self.data + self.tables + self.clients
    }
}

/// What memory is used for, by a census.
pub(crate) fn used(engine: &Engine, census: &Census) -> Used {
    let data = engine.data_memory().saturating_add_signed(census.unreported);
    let tables = census.table_bytes() as u64;
    let clients = engine.clients.totals().memory as u64;
    let peak = engine.stats.note_memory(data + tables + clients);
    Used { data, tables, clients, peak }
}

fn memory(facts: &Facts<'_>, fields: &mut Fields) {
    let engine = facts.engine;
    let memory = used(engine, &facts.census);
    let (used, peak) = (memory.total(), memory.peak);
    let Used { data, tables, clients, .. } = memory;
    let resident = system::resident_bytes();
    fields.add_bytes("used_memory", used);
    fields.add_bytes("used_memory_rss", resident);
    fields.add_bytes("used_memory_peak", peak);
    fields.add("used_memory_peak_perc", percent(used, peak));
    fields.add("used_memory_overhead", tables + clients);
    fields.add("used_memory_startup", 0);
    fields.add("used_memory_dataset", data);
    fields.add("used_memory_dataset_perc", percent(data, used));
    fields.add("allocator_allocated", used);
    fields.add("allocator_active", resident);
    fields.add("allocator_resident", resident);
    fields.add_bytes("total_system_memory", system::total_memory());
    fields.add_bytes("used_memory_lua", 0);
    fields.zeros(&["used_memory_vm_eval", "used_memory_scripts_eval", "number_of_cached_scripts"]);
    fields.zeros(&["number_of_functions", "number_of_libraries", "used_memory_vm_functions"]);
    fields.add_bytes("used_memory_vm_total", 0);
    fields.add("used_memory_functions", 0);
    fields.add_bytes("used_memory_scripts", 0);
    fields.add_bytes("maxmemory", engine.config.maxmemory.load(Relaxed));
    fields.add("maxmemory_policy", engine.config.eviction.policy().name());
    fields.add("allocator_frag_ratio", format!("{:.2}", ratio(resident, used)));
    fields.add("allocator_frag_bytes", resident.saturating_sub(used));
    fields.add("allocator_rss_ratio", "1.00");
    fields.add("allocator_rss_bytes", 0);
    fields.add("rss_overhead_ratio", "1.00");
    fields.add("rss_overhead_bytes", 0);
    fields.add("mem_fragmentation_ratio", format!("{:.2}", ratio(resident, used)));
    fields.add("mem_fragmentation_bytes", resident.saturating_sub(used));
    fields.zeros(&["mem_not_counted_for_evict", "mem_replication_backlog", "mem_total_replication_buffers"]);
    fields.add("mem_clients_slaves", 0);
    fields.add("mem_clients_normal", clients);
    fields.add("mem_cluster_links", 0);
    fields.add("mem_aof_buffer", engine.aof.facts().waiting.load(Relaxed));
    fields.add("mem_allocator", "libc");
    fields.add("active_defrag_running", u64::from(engine.tidying.is_walking.load(Relaxed)));
    fields.add("lazyfree_pending_objects", engine.freer.pending());
    fields.add("lazyfreed_objects", engine.freer.freed());
    fields.add("larder_memory_tables", tables);
}

fn persistence(facts: &Facts<'_>, fields: &mut Fields) {
    let saves = &facts.engine.saves;
    let status = |has_failed: bool| if has_failed { "err" } else { "ok" };
    let (saver, running) = (&facts.engine.saver, facts.engine.saving());
    let is_loading = facts.engine.is_loading();
    fields.add("loading", u8::from(is_loading));
    fields.add("async_loading", 0);
    // What Redis' child has copied on write is here what was handed to the saver before it changed.
    let during = |amount: u64| if running.is_some() { amount } else { 0 };
    fields.add("current_cow_peak", during(saver.most_waiting.load(Relaxed) as u64));
    fields.add("current_cow_size", during(saver.waiting.load(Relaxed) as u64));
    fields.add("current_cow_size_age", 0);
    fields.add("current_fork_perc", "0.00");
    fields.add("current_save_keys_processed", during(saver.keys_done.load(Relaxed)));
    fields.add("current_save_keys_total", during(saver.keys_all.load(Relaxed)));
    fields.add("rdb_changes_since_last_save", facts.engine.changes_since_save());
    let snapshot = running.filter(|running| !running.aof_base);
    fields.add("rdb_bgsave_in_progress", u8::from(snapshot.is_some()));
    fields.add("rdb_last_save_time", saves.last_save_s.load(Relaxed));
    fields.add("rdb_last_bgsave_status", status(saves.has_failed.load(Relaxed)));
    // None yet is -1 second.
    fields.add("rdb_last_bgsave_time_sec", saves.last_seconds.load(Relaxed) as i64 - 1);
    let now_us = facts.engine.clock.unix_us();
    let seconds = |began_us: u64| (now_us.saturating_sub(began_us) / 1_000_000) as i64;
    fields.add("rdb_current_bgsave_time_sec", snapshot.map_or(-1, |running| seconds(running.began_us)));
    fields.add("rdb_saves", saves.saves.load(Relaxed));
    fields.add("rdb_last_cow_size", saves.last_waiting.load(Relaxed));
    let last = &facts.engine.last_load;
    fields.add("rdb_last_load_keys_expired", last.expired.load(Relaxed));
    fields.add("rdb_last_load_keys_loaded", last.keys.load(Relaxed));
    fields.add("larder_last_load_skipped", last.skipped.load(Relaxed));
    append_only(facts, fields);
    if is_loading {
        let progress = facts.engine.load_progress();
        fields.add("loading_start_time", progress.began_s);
        fields.add("loading_total_bytes", progress.total);
        fields.add("loading_rdb_used_mem", progress.used_memory);
        fields.add("loading_loaded_bytes", progress.loaded);
        fields.add("loading_loaded_perc", format!("{:.2}", progress.percent()));
        fields.add("loading_eta_seconds", progress.seconds_left(now_us / 1_000_000));
    }
}

fn append_only(facts: &Facts<'_>, fields: &mut Fields) {
    let aof = facts.engine.aof.facts();
    let status = |has_failed: bool| if has_failed { "err" } else { "ok" };
    let is_rewriting = aof.is_rewriting.load(Relaxed);
    let began_ms = aof.rewrite_began_ms.load(Relaxed);
    let now_ms = facts.engine.clock.elapsed_us() / 1000;
    let for_s = if began_ms == 0 { -1 } else { (now_ms + 1).saturating_sub(began_ms) as i64 / 1000 };
    fields.add("aof_enabled", u8::from(aof.is_on.load(Relaxed)));
    fields.add("aof_rewrite_in_progress", u8::from(is_rewriting));
    fields.add("aof_rewrite_scheduled", u8::from(facts.engine.is_rewrite_wanted()));
    fields.add("aof_last_rewrite_time_sec", aof.last_rewrite_s.load(Relaxed) - 1);
    fields.add("aof_current_rewrite_time_sec", for_s);
    fields.add("aof_last_bgrewrite_status", status(aof.has_rewrite_failed.load(Relaxed)));
    fields.add("aof_rewrites", aof.rewrites.load(Relaxed));
    fields.add("aof_rewrites_consecutive_failures", aof.failures_in_a_row.load(Relaxed));
    fields.add("aof_last_write_status", status(facts.engine.aof.is_refusing()));
    fields.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    if aof.is_on.load(Relaxed) {
        fields.add("aof_current_size", aof.current_len.load(Relaxed));
        fields.add("aof_base_size", aof.base_len.load(Relaxed));
        fields.add("aof_pending_rewrite", u8::from(!facts.engine.log.durable.is_promised()));
        fields.add("aof_buffer_length", aof.waiting.load(Relaxed));
        fields.add("aof_pending_bio_fsync", u8::from(aof.is_syncing()));
        fields.add("aof_delayed_fsync", aof.delays.load(Relaxed));
        fields.add("larder_aof_fsyncs", aof.syncs.load(Relaxed));
    }
}

fn stats(facts: &Facts<'_>, fields: &mut Fields) {
    let engine = facts.engine;
    let stats = &engine.stats;
    let rates = stats.rates();
    let kilobytes = |bytes: f64| format!("{:.2}", bytes / 1024.0);
    fields.add("total_connections_received", stats.connections.load(Relaxed));
    fields.add("total_commands_processed", stats.sum(|lane| &lane.processed));
    fields.add("instantaneous_ops_per_sec", rates.commands.round() as u64);
    fields.add("total_net_input_bytes", stats.sum(|lane| &lane.input_bytes));
    fields.add("total_net_output_bytes", stats.sum(|lane| &lane.output_bytes));
    fields.zeros(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    fields.add("instantaneous_input_kbps", kilobytes(rates.input_bytes));
    fields.add("instantaneous_output_kbps", kilobytes(rates.output_bytes));
    fields.add("instantaneous_input_repl_kbps", "0.00");
    fields.add("instantaneous_output_repl_kbps", "0.00");
    fields.add("rejected_connections", stats.rejected_connections.load(Relaxed));
    fields.zeros(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
    fields.add("expired_keys", stats.sum(|lane| &lane.expired));
    fields.add("expired_stale_perc", "0.00");
    fields.add("expired_time_cap_reached_count", engine.sweep.interrupted.load(Relaxed));
    fields.add("expire_cycle_cpu_milliseconds", engine.sweep.worked_us.load(Relaxed) / 1000);
    fields.add("evicted_keys", stats.sum(|lane| &lane.evicted));
    fields.add("evicted_clients", stats.evicted_clients.load(Relaxed));
    let (before_us, just_now_us) = stats.exceeded_us(engine.clock.elapsed_us());
    fields.add("total_eviction_exceeded_time", (before_us + just_now_us) / 1000);
    fields.add("current_eviction_exceeded_time", just_now_us / 1000);
    fields.add("keyspace_hits", stats.sum(|lane| &lane.hits));
    fields.add("keyspace_misses", stats.sum(|lane| &lane.misses));
    fields.add("pubsub_channels", engine.pubsub.channel_count());
    fields.add("pubsub_patterns", engine.pubsub.pattern_count());
    fields.zeros(&["pubsubshard_channels", "latest_fork_usec", "total_forks", "migrate_cached_sockets"]);
    fields.zeros(&["slave_expires_tracked_keys"]);
    fields.add("active_defrag_hits", engine.tidying.moved.load(Relaxed));
    fields.zeros(&["active_defrag_misses"]);
    fields.zeros(&["active_defrag_key_hits", "active_defrag_key_misses", "total_active_defrag_time"]);
    fields.zeros(&["current_active_defrag_time", "tracking_total_keys", "tracking_total_items"]);
    fields.zeros(&["tracking_total_prefixes", "unexpected_error_replies"]);
    fields.add("total_error_replies", stats.sum(|lane| &lane.errors));
    fields.add("dump_payload_sanitizations", 0);
    fields.add("total_reads_processed", stats.sum(|lane| &lane.reads));
    fields.add("total_writes_processed", stats.sum(|lane| &lane.writes));
    fields.zeros(&["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    fields.zeros(&["reply_buffer_shrinks", "reply_buffer_expands"]);
    fields.add("larder_longest_gate_usec", stats.longest_gate_us.load(Relaxed));
    fields.add("larder_longest_lock_usec", stats.longest_lock_us());
}

fn replication(facts: &Facts<'_>, fields: &mut Fields) {
    fields.add("role", "master");
    fields.add("connected_slaves", 0);
    fields.add("master_failover_state", "no-failover");
    fields.add("master_replid", &*facts.engine.stats.replication_id.lock());
    fields.add("master_replid2", "0".repeat(40));
    fields.add("master_repl_offset", 0);
    // A number that no offset can be, as every Redis without a second history answers.
    fields.add("second_repl_offset", -1);
    fields.add("repl_backlog_active", 0);
    fields.add("repl_backlog_size", 1 << 20);
    fields.zeros(&["repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
}

fn cpu(_facts: &Facts<'_>, fields: &mut Fields) {
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    let process = system::process_time();
    let main = system::main_thread_time();
    fields.add("used_cpu_sys", seconds(process.system_us));
    fields.add("used_cpu_user", seconds(process.user_us));
    fields.add("used_cpu_sys_children", seconds(process.children_system_us));
    fields.add("used_cpu_user_children", seconds(process.children_user_us));
    fields.add("used_cpu_sys_main_thread", seconds(main.system_us));
    fields.add("used_cpu_user_main_thread", seconds(main.user_us));
}

fn commandstats(facts: &Facts<'_>, fields: &mut Fields) {
    for registered in registry::all() {
        let sum = |counter: fn(&CommandStats) -> &super::Counter| {
            facts.engine.stats.sum(|lane| counter(&lane.commands[registered.id]))
        };
        let (calls, rejected) = (sum(|command| &command.calls), sum(|command| &command.rejected));
        if calls + rejected == 0 {
            continue;
        }
        let usec = sum(|command| &command.usec);
        let failed = sum(|command| &command.failed);
        let value = format!(
            "calls={calls},usec={usec},usec_per_call={:.2},rejected_calls={rejected},failed_calls={failed}",
            ratio(usec, calls)
        );
        fields.add(format!("cmdstat_{}", registered.full_name), value);
    }
}

fn errorstats(facts: &Facts<'_>, fields: &mut Fields) {
    for (code, count) in facts.engine.stats.errors.lock().iter() {
        fields.add(format!("errorstat_{code}"), format!("count={count}"));
    }
}

fn cluster(_facts: &Facts<'_>, fields: &mut Fields) {
    fields.add("cluster_enabled", 0);
}

fn keyspace(facts: &Facts<'_>, fields: &mut Fields) {
    for db in 0..facts.engine.config.databases {
        let count = facts.census.db(facts.engine.physical(db));
        if count.keys > 0 {
            let value =
                format!("keys={},expires={},avg_ttl={}", count.keys, count.expiring, count.mean_ttl_ms());
            fields.add(format!("db{db}"), value);
        }
    }
}
