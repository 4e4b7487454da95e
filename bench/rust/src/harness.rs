// SPDX-License-Identifier: Apache-2.0
//
// What ../../harness.h does for the programs in C: clock, keys, threads, memory figures and output, alike to the
// last detail, so that the figures compare.

use std::fs;
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::Instant;

pub struct Config {
    pub workload: String,
    pub directory: PathBuf,
    pub scale: f64,
}

impl Config {
    pub fn report(&self, metric: &str, unit: &str, value: f64) {
        println!(
            "{{\"system\": \"rust\", \"workload\": \"{}\", \"metric\": \"{metric}\", \"unit\": \"{unit}\", \
             \"value\": {value}}}",
            self.workload
        );
    }

    pub fn scaled(&self, full: usize, least: usize) -> usize {
        ((full as f64 * self.scale) as usize).max(least)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn new_path(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        if path.exists() {
            fs::remove_file(&path).expect("removing an old file");
        }
        path
    }

    /// What a store takes on the disk, for each of its entries.
    pub fn report_file(&self, name: &str, entries: usize) {
        let blocks = fs::metadata(self.path(name)).expect("file size").blocks();
        self.report("file", "bytes/entry", (blocks * 512) as f64 / entries as f64);
    }
}

pub fn read_file(path: &Path) {
    let mut file = fs::File::open(path).expect("opening for a first read (run W1 before it)");
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer).expect("reading") > 0 {}
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// splitmix64
pub fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn numbers_below(count: usize, shuffled: bool) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    if shuffled {
        let mut state = 1;
        for i in (2..=count).rev() {
            order.swap(i - 1, (random(&mut state) % i as u64) as usize);
        }
    }
    order
}

/// Keys as text, one behind the other in the order in which they are used.
pub struct Keys {
    text: Vec<u8>,
    starts: Vec<usize>,
}

impl Keys {
    pub fn make(prefix: &str, count: usize, shuffled: bool) -> Keys {
        Keys::in_order(prefix, &numbers_below(count, shuffled))
    }

    fn in_order(prefix: &str, order: &[u32]) -> Keys {
        let mut keys = Keys { text: Vec::with_capacity(order.len() * (prefix.len() + 10)), starts: vec![0] };
        for i in order {
            keys.text.extend_from_slice(format!("{prefix}{i}").as_bytes());
            keys.starts.push(keys.text.len());
        }
        keys
    }

    pub fn slices(&self) -> Vec<&[u8]> {
        self.starts.windows(2).map(|ends| &self.text[ends[0]..ends[1]]).collect()
    }
}

/// Draws ranks below `count`, as the one in C does.
struct Zipf {
    count: f64,
    alpha: f64,
    zeta: f64,
    eta: f64,
    second: f64,
}

const ZIPF_THETA: f64 = 0.99;

impl Zipf {
    fn new(count: usize) -> Zipf {
        let zeta = (1..=count).map(|i| (1.0 / i as f64).powf(ZIPF_THETA)).fold(0.0, |sum, weight| sum + weight);
        let second = 1.0 + 0.5f64.powf(ZIPF_THETA);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - ZIPF_THETA)) / (1.0 - second / zeta);
        Zipf { count: count as f64, alpha: 1.0 / (1.0 - ZIPF_THETA), zeta, eta, second }
    }

    fn rank(&self, state: &mut u64) -> usize {
        let u = (random(state) >> 11) as f64 / (1u64 << 53) as f64;
        if u * self.zeta < 1.0 {
            return 0;
        }
        if u * self.zeta < self.second {
            return 1;
        }
        ((self.count * (self.eta * u - self.eta + 1.0).powf(self.alpha)) as usize).min(self.count as usize - 1)
    }
}

/// What a mixed workload does: which key comes next, and whether it is written.
pub struct Operations {
    pub keys: Keys,
    pub writes: Vec<bool>,
}

impl Operations {
    pub fn make(prefix: &str, records: usize, count: usize, percent_writes: u64) -> Operations {
        let scattered = numbers_below(records, true);
        let zipf = Zipf::new(records);
        let mut state = 2;
        let (mut order, mut writes) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count {
            order.push(scattered[zipf.rank(&mut state)]);
            writes.push(random(&mut state) % 100 < percent_writes);
        }
        Operations { keys: Keys::in_order(prefix, &order), writes }
    }
}

const PART_BITS: u32 = 7;
const PARTS: usize = 1 << PART_BITS;

/// How long single operations took: the same histogram as in C.
pub struct Latencies {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

impl Latencies {
    pub fn new() -> Latencies {
        Latencies { counts: vec![0; (64 - PART_BITS as usize) * PARTS + PARTS], count: 0, max: 0 }
    }

    pub fn time<T>(&mut self, operation: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = operation();
        let ns = began.elapsed().as_nanos() as u64;
        let shift = 63 - (ns | PARTS as u64).leading_zeros() - PART_BITS;
        self.counts[shift as usize * PARTS + (ns >> shift) as usize] += 1;
        self.count += 1;
        self.max = self.max.max(ns);
        result
    }

    fn percentile(&self, part: f64) -> u64 {
        let before = ((self.count - 1) as f64 * part) as u64;
        let mut passed = 0;
        let counter = self.counts.iter().position(|count| {
            passed += count;
            passed > before
        });
        let counter = counter.expect("operations");
        let shift = (counter / PARTS).saturating_sub(1);
        ((counter - shift * PARTS) as u64) << shift
    }

    /// p99.99 too when `tail`.
    pub fn report(&self, config: &Config, tail: bool) {
        for (name, part) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)] {
            if tail || name != "p99.99" {
                config.report(name, "ns", self.percentile(part) as f64);
            }
        }
        config.report("max", "ns", self.max as f64);
    }
}

fn pin(number: usize) {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    // SAFETY: `set` is a plain bit set that outlives the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(number % processors, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &set);
    }
}

/// Runs `body` in `count` pinned threads; the seconds from their common start to the end of the last.
pub fn run_threads(count: usize, body: impl Fn(usize) + Sync) -> f64 {
    let barrier = Barrier::new(count + 1);
    let mut began = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..count {
            let (barrier, body) = (&barrier, &body);
            scope.spawn(move || {
                pin(number);
                barrier.wait();
                body(number);
            });
        }
        began = Instant::now();
        barrier.wait();
    });
    began.elapsed().as_secs_f64()
}

/// A figure of /proc/self/status in bytes.
pub fn memory(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: f64 = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0);
    kib * 1024.0
}

/// Forgets the peak of memory so far.
pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The peak less what is mapped of files.
pub fn peak_beyond_files() -> f64 {
    (memory("VmHWM") - memory("RssFile") - memory("RssShmem")).max(0.0)
}

/// Reads the first byte of a payload and one in each 64 that follow, up to 4 KiB.
pub fn touch_lines(payload: &[u8]) {
    let end = payload.len().min(4096);
    black_box(payload[..end].iter().step_by(64).map(|byte| u32::from(*byte)).sum::<u32>());
}

/// What earlier programs left to be written must not count.
pub fn sync_everything() {
    // SAFETY: takes no argument and cannot fail.
    unsafe { libc::sync() }
}
