// SPDX-License-Identifier: Apache-2.0
//
// The workloads of ../../workloads.c on the Rust implementation: the same work inside the clock, one function each,
// through the fastest way that its API has.
//
// Differences that its API forces: its single read hangs beside a writer, so R5 reads batches of one key; it never
// syncs, so the durable workloads add fdatasync through a second descriptor; it has no sessions.

mod harness;

use harness::{
    forget_peak, median, memory, peak_beyond_files, read_file, run_threads, sync_everything, touch_lines, Config, Keys,
    Latencies, Operations,
};
use rayon::prelude::*;
use simd_r_drive::traits::{DataStoreReader, DataStoreWriter};
use simd_r_drive::{DataStore, EntryHandle};
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Cursor;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BATCH: usize = 1024;
const PASSES: usize = 3;
const THREADS: usize = 8;
const SMALL: usize = 128;

fn open_new(config: &Config, name: &str) -> DataStore {
    DataStore::open(&config.new_path(name)).expect("creating a store")
}

fn open_filled(config: &Config) -> DataStore {
    let path = config.path("w1.store");
    read_file(&path);
    DataStore::open_existing(&path).expect("opening the store that W1 leaves")
}

fn remove(config: &Config, name: &str) {
    config.new_path(name);
}

fn entry_count(config: &Config) -> usize {
    config.scaled(1_000_000, 10_000)
}

/// Writes `bench-key-{i}` with 8 bytes each, in batches. Returns the seconds that took; `ready` is called before.
fn fill(store: &DataStore, count: usize, ready: impl FnOnce()) -> f64 {
    let text = Keys::make("bench-key-", count, false);
    // From 1 on: it cannot compact an all-zero payload.
    let values: Vec<[u8; 8]> = (1..=count as u64).map(u64::to_le_bytes).collect();
    let entries: Vec<(&[u8], &[u8])> =
        text.slices().into_iter().zip(&values).map(|(key, value)| (key, value.as_slice())).collect();
    ready();
    let began = Instant::now();
    for batch in entries.chunks(BATCH) {
        store.batch_write(batch).expect("batch");
    }
    began.elapsed().as_secs_f64()
}

// ----- Writing -----

fn w1_small_batches(config: &Config) {
    let count = entry_count(config);
    let store = open_new(config, "w1.store");
    let mut before = 0.0;
    let seconds = fill(&store, count, || {
        forget_peak();
        before = memory("RssAnon");
    });
    config.report("rate", "entries/s", count as f64 / seconds);
    config.report("peak", "bytes", (peak_beyond_files() - before).max(0.0));
    drop(store);
    config.report_file("w1.store", count);
}

/// Writes all keys once to a new store; durable when asked for. Returns the seconds that took.
fn put_to_new_store(
    config: &Config,
    keys: &[&[u8]],
    payload: &[u8],
    durable: bool,
    mut times: Option<&mut Latencies>,
) -> f64 {
    let store = open_new(config, "w2.store");
    let file = File::options().write(true).open(config.path("w2.store")).expect("second descriptor");
    if durable {
        sync_everything();
    }
    let began = Instant::now();
    for key in keys {
        let put = || {
            store.write(key, payload).expect("write");
            if durable {
                file.sync_data().expect("fdatasync");
            }
        };
        match &mut times {
            Some(times) => times.time(put),
            None => put(),
        }
    }
    began.elapsed().as_secs_f64()
}

fn single_writes(config: &Config, count: usize, durable: bool) {
    let keys = Keys::make("bench-key-", count, false);
    let keys = keys.slices();
    let seconds = put_to_new_store(config, &keys, &[b'x'; SMALL], durable, None);
    config.report("rate", "entries/s", count as f64 / seconds);
    config.report_file("w2.store", count);
    let mut latencies = Latencies::new();
    put_to_new_store(config, &keys, &[b'x'; SMALL], durable, Some(&mut latencies));
    latencies.report(config, false);
    remove(config, "w2.store");
}

fn w2_single_writes(config: &Config) {
    single_writes(config, config.scaled(200_000, 1000), false);
}

fn w2d_durable(config: &Config) {
    single_writes(config, config.scaled(500, 50), true);
}

fn w2_growth(config: &Config) {
    let count = entry_count(config);
    let keys = Keys::make("bench-key-", count, false);
    let mut latencies = Latencies::new();
    let seconds = put_to_new_store(config, &keys.slices(), &1u64.to_le_bytes(), false, Some(&mut latencies));
    config.report("rate", "entries/s", count as f64 / seconds);
    latencies.report(config, true);
    remove(config, "w2.store");
}

fn write_in_threads(config: &Config, count: usize, payload_size: usize, durable: bool) {
    let each = count / THREADS;
    let keys = Keys::make("bench-key-", each * THREADS, false);
    let keys = keys.slices();
    let payload = vec![b'x'; payload_size];
    let store = open_new(config, "w3.store");
    let file = File::options().write(true).open(config.path("w3.store")).expect("second descriptor");
    let seconds = run_threads(THREADS, |thread| {
        for key in &keys[thread * each..(thread + 1) * each] {
            store.write(key, &payload).expect("write");
            if durable {
                file.sync_data().expect("fdatasync");
            }
        }
    });
    config.report("rate", "entries/s", (each * THREADS) as f64 / seconds);
    drop(store);
    remove(config, "w3.store");
}

fn w3_threads(config: &Config) {
    write_in_threads(config, config.scaled(200_000, 800), SMALL, false);
}

fn w3_threads_4k(config: &Config) {
    write_in_threads(config, config.scaled(50_000, 800), 4096, false);
}

fn w3_threads_64k(config: &Config) {
    write_in_threads(config, config.scaled(8000, 80), 65536, false);
}

fn w4_large_batches(config: &Config) {
    const PAYLOAD: usize = 256 * 1024;
    const IN_BATCH: usize = 16;
    let count = config.scaled(4000, 160) / IN_BATCH * IN_BATCH;
    let keys = Keys::make("bench-key-", count, false);
    let payloads: Vec<Vec<u8>> = (0..IN_BATCH).map(|i| vec![b'a' + i as u8; PAYLOAD]).collect();
    let entries: Vec<(&[u8], &[u8])> =
        keys.slices().into_iter().enumerate().map(|(i, key)| (key, payloads[i % IN_BATCH].as_slice())).collect();
    let store = open_new(config, "w4.store");
    let began = Instant::now();
    for batch in entries.chunks(IN_BATCH) {
        store.batch_write(batch).expect("batch");
    }
    config.report("rate", "bytes/s", (count * PAYLOAD) as f64 / began.elapsed().as_secs_f64());
    drop(store);
    remove(config, "w4.store");
}

fn w4s_stream(config: &Config) {
    let size = config.scaled(64 << 20, 8 << 20);
    let payload = vec![b'x'; size];
    let store = open_new(config, "w4s.store");
    let rates = (0..PASSES)
        .map(|i| {
            let began = Instant::now();
            store.write_stream(&i.to_le_bytes(), &mut Cursor::new(&payload)).expect("stream");
            size as f64 / began.elapsed().as_secs_f64()
        })
        .collect();
    config.report("rate", "bytes/s", median(rates));
    drop(store);
    remove(config, "w4s.store");
}

fn w2d8_durable_threads(config: &Config) {
    sync_everything();
    write_in_threads(config, config.scaled(4000, 400), SMALL, true);
}

// ----- Reading -----

fn touch(entry: &EntryHandle) -> u64 {
    u64::from(entry.as_slice()[0])
}

fn read_single(store: &DataStore, keys: &[&[u8]]) -> usize {
    let (mut found, mut sum) = (0, 0);
    for key in keys {
        if let Some(entry) = store.read(key).expect("read") {
            sum += touch(&entry);
            found += 1;
        }
    }
    black_box(sum);
    found
}

fn read_batches(store: &DataStore, keys: &[&[u8]], size: usize) -> usize {
    let (mut found, mut sum) = (0, 0);
    for batch in keys.chunks(size) {
        for entry in store.batch_read(batch).expect("batch read").iter().flatten() {
            sum += touch(entry);
            found += 1;
        }
    }
    black_box(sum);
    found
}

/// One pass to warm up, then `PASSES` with the clock.
fn time_passes(config: &Config, unit: &str, expected: usize, pass: impl Fn() -> usize) {
    assert_eq!(pass(), expected, "finding what is there, and only that");
    let times = (0..PASSES)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(pass(), expected, "finding the same again");
            began.elapsed().as_secs_f64() * 1e9 / entry_count(config) as f64
        })
        .collect();
    config.report("time", unit, median(times));
}

/// One read; whether there is such a key.
fn read_one(store: &DataStore, key: &[u8]) -> bool {
    let entry = store.read(key).expect("read");
    entry.inspect(|entry| touch_lines(entry.as_slice())).is_some()
}

fn time_single_reads(config: &Config, prefix: &str, expected: usize) {
    let store = open_filled(config);
    let keys = Keys::make(prefix, entry_count(config), true);
    let keys = keys.slices();
    time_passes(config, "ns/read", expected, || read_single(&store, &keys));
    let mut latencies = Latencies::new();
    for key in &keys {
        latencies.time(|| read_one(&store, key));
    }
    latencies.report(config, false);
}

fn r1_single_reads(config: &Config) {
    time_single_reads(config, "bench-key-", entry_count(config));
}

fn r1m_missing_keys(config: &Config) {
    time_single_reads(config, "missing-key-", 0);
}

fn r2_batch_reads(config: &Config) {
    let store = open_filled(config);
    let keys = Keys::make("bench-key-", entry_count(config), true);
    let keys = keys.slices();
    time_passes(config, "ns/read", keys.len(), || read_batches(&store, &keys, BATCH));
}

fn r3_iteration(config: &Config) {
    let store = open_filled(config);
    time_passes(config, "ns/entry", entry_count(config), || {
        let (count, sum) = store.iter_entries().fold((0, 0), |(count, sum), entry| (count + 1, sum + touch(&entry)));
        black_box(sum);
        count
    });
}

fn r4_visit(config: &Config) {
    let store = open_filled(config);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("pool");
    time_passes(config, "ns/entry", entry_count(config), || {
        pool.install(|| {
            let add = |a: (usize, u64), b: (usize, u64)| (a.0 + b.0, a.1 + b.1);
            let all = store.par_iter_entries().map(|entry| (1, touch(&entry))).reduce(|| (0, 0), add);
            black_box(all.1);
            all.0
        })
    });
}

fn write_until(store: &DataStore, end: Instant) -> u64 {
    let mut writes = 0u64;
    while writes % 16 != 0 || Instant::now() < end {
        store.write(format!("writer-key-{writes}").as_bytes(), &[b'x'; SMALL]).expect("write");
        writes += 1;
    }
    writes
}

fn read_beside_a_writer(config: &Config, batch: usize) {
    let store = open_new(config, "r5.store");
    fill(&store, entry_count(config), || ());
    let keys = Keys::make("bench-key-", entry_count(config), true);
    let keys = keys.slices();
    let length = Duration::from_secs_f64(if config.scale < 1.0 { 0.5 } else { 2.0 });
    let stop = AtomicBool::new(false);
    let (reads, missed, writes) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let seconds = run_threads(THREADS + 1, |thread| {
        if thread == THREADS {
            writes.store(write_until(&store, Instant::now() + length), Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
            return;
        }
        let size = if batch == 1 { 64 } else { BATCH };
        let (mut at, mut done, mut found) = (keys.len() / THREADS * thread, 0, 0);
        while !stop.load(Ordering::Relaxed) {
            if at + size > keys.len() {
                at = 0;
            }
            found += read_batches(&store, &keys[at..at + size], batch);
            done += size;
            at += size;
        }
        reads.fetch_add(done as u64, Ordering::Relaxed);
        missed.fetch_add((done - found) as u64, Ordering::Relaxed);
    });
    config.report("reads", "reads/s", reads.into_inner() as f64 / seconds);
    config.report("writes", "entries/s", writes.into_inner() as f64 / seconds);
    config.report("missed", "reads", missed.into_inner() as f64);
    drop(store);
    remove(config, "r5.store");
}

fn r5_readers_and_writer(config: &Config) {
    read_beside_a_writer(config, 1);
}

fn r5b_batch_readers_and_writer(config: &Config) {
    read_beside_a_writer(config, BATCH);
}

// ----- Mixed -----

struct Mix {
    name: &'static str,
    percent_writes: u64,
    read_first: bool, // a write is a read, and then a write of the same key
}

const MIXES: &[Mix] = &[
    Mix { name: "YCSB-A", percent_writes: 50, read_first: false },
    Mix { name: "YCSB-B", percent_writes: 5, read_first: false },
    Mix { name: "YCSB-C", percent_writes: 0, read_first: false },
    Mix { name: "YCSB-F", percent_writes: 50, read_first: true },
];

/// Name, payload, records, operations.
const RECORD_SIZES: &[(&str, usize, usize, usize)] = &[
    ("-100", 100, 200_000, 1_000_000),
    ("-4K", 4096, 50_000, 200_000),
    ("-256K", 262_144, 1000, 4000),
];

/// All twelve: the name says which.
fn ycsb(config: &Config) {
    let of_name = |mix: &&Mix| config.workload.starts_with(mix.name);
    let mix = MIXES.iter().find(of_name).expect("a mix of that name");
    let of_size = |size: &&(&str, usize, usize, usize)| config.workload[mix.name.len()..] == *size.0;
    let &(_, payload, records, count) = RECORD_SIZES.iter().find(of_size).expect("a size of that name");
    run_mix(config, mix, payload, config.scaled(records, 100), config.scaled(count, 400));
}

fn run_mix(config: &Config, mix: &Mix, payload: usize, records: usize, count: usize) {
    let operations = Operations::make("bench-key-", records, count, mix.percent_writes);
    let payload = vec![b'x'; payload];
    let store = open_new(config, "ycsb.store");
    let keys = Keys::make("bench-key-", records, false);
    let entries: Vec<(&[u8], &[u8])> = keys.slices().into_iter().map(|key| (key, payload.as_slice())).collect();
    let in_batch = if payload.len() < 1024 { BATCH } else { BATCH.min((4 << 20) / payload.len()) };
    for batch in entries.chunks(in_batch) {
        store.batch_write(batch).expect("batch");
    }
    let operate = |key: &[u8], write: bool| {
        if !write || mix.read_first {
            assert!(read_one(&store, key), "reading a record");
        }
        if write {
            store.write(key, &payload).expect("write");
        }
    };
    let keys = operations.keys.slices();
    let began = Instant::now();
    for (key, write) in keys.iter().zip(&operations.writes) {
        operate(key, *write);
    }
    config.report("rate", "ops/s", count as f64 / began.elapsed().as_secs_f64());
    let mut latencies = Latencies::new();
    for (key, write) in keys.iter().zip(&operations.writes) {
        latencies.time(|| operate(key, *write));
    }
    latencies.report(config, false);
    drop(store);
    remove(config, "ycsb.store");
}

// ----- Opening, compaction -----

fn o1_open(config: &Config) {
    let path = config.path("w1.store");
    read_file(&path);
    let before = memory("RssAnon");
    let store = DataStore::open_existing(&path).expect("open");
    config.report("memory", "bytes/key", (memory("RssAnon") - before) / entry_count(config) as f64);
    config.report("peak", "bytes", peak_beyond_files());
    drop(store);
    let times = (0..PASSES)
        .map(|_| {
            let began = Instant::now();
            let store = DataStore::open_existing(&path).expect("open");
            let time = began.elapsed().as_secs_f64() * 1e3;
            drop(store);
            time
        })
        .collect();
    config.report("time", "ms", median(times));
}

fn c1_compaction(config: &Config) {
    let count = entry_count(config);
    let mut store = open_new(config, "c1.store");
    fill(&store, count, || ());
    fill(&store, count, || ());
    let began = Instant::now();
    store.compact().expect("compaction");
    config.report("time", "ms", began.elapsed().as_secs_f64() * 1e3);
    drop(store);
    remove(config, "c1.store");
}

const WORKLOADS: &[(&str, fn(&Config))] = &[
    ("W1", w1_small_batches),
    ("W2", w2_single_writes),
    ("W2-growth", w2_growth),
    ("W3", w3_threads),
    ("W3-4K", w3_threads_4k),
    ("W3-64K", w3_threads_64k),
    ("W4", w4_large_batches),
    ("W4s", w4s_stream),
    ("W2d", w2d_durable),
    ("W2d-8", w2d8_durable_threads),
    ("R1", r1_single_reads),
    ("R1-miss", r1m_missing_keys),
    ("R2", r2_batch_reads),
    ("R3", r3_iteration),
    ("R4", r4_visit),
    ("R5", r5_readers_and_writer),
    ("R5-batch", r5b_batch_readers_and_writer),
    ("O1", o1_open),
    ("C1", c1_compaction),
    ("YCSB-A-100", ycsb),
    ("YCSB-A-4K", ycsb),
    ("YCSB-A-256K", ycsb),
    ("YCSB-B-100", ycsb),
    ("YCSB-B-4K", ycsb),
    ("YCSB-B-256K", ycsb),
    ("YCSB-C-100", ycsb),
    ("YCSB-C-4K", ycsb),
    ("YCSB-C-256K", ycsb),
    ("YCSB-F-100", ycsb),
    ("YCSB-F-4K", ycsb),
    ("YCSB-F-256K", ycsb),
];

const SETTINGS: &str = "0.16.3-alpha, feature `parallel`, fat LTO; no sync of its own: W2d and W2d-8 add fdatasync; \
                        batches are not all or nothing; R5 reads by batches of one key, because its single read hangs \
                        beside a writer";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.as_slice() == ["describe"] {
        println!("{SETTINGS}");
        return;
    }
    let [workload, directory, scale] = words.as_slice() else { usage() };
    let Some((name, run)) = WORKLOADS.iter().find(|(name, _)| name == workload) else { usage() };
    fs::create_dir_all(directory).expect("directory");
    let config = Config {
        workload: (*name).into(),
        directory: directory.into(),
        scale: scale.parse().expect("scale"),
    };
    run(&config);
}

fn usage() -> ! {
    let names: Vec<&str> = WORKLOADS.iter().map(|(name, _)| *name).collect();
    eprintln!("usage: bench-rust WORKLOAD DIRECTORY SCALE | describe\nworkloads: {}", names.join(" "));
    std::process::exit(2)
}
