// SPDX-License-Identifier: Apache-2.0
//
// What ../../harness.h does for the programs in C: clock, keys, threads, memory figures and output, alike to the
// last detail, so that the figures compare.

use std::fs;
use std::io::Read;
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

/// Keys as text, one behind the other in the order in which they are used.
pub struct Keys {
    text: Vec<u8>,
    starts: Vec<usize>,
}

impl Keys {
    pub fn make(prefix: &str, count: usize, shuffled: bool) -> Keys {
        let mut order: Vec<u32> = (0..count as u32).collect();
        if shuffled {
            let mut state = 1;
            for i in (2..=count).rev() {
                order.swap(i - 1, (random(&mut state) % i as u64) as usize);
            }
        }
        let mut keys = Keys { text: Vec::with_capacity(count * (prefix.len() + 10)), starts: vec![0] };
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

/// What earlier programs left to be written must not count.
pub fn sync_everything() {
    // SAFETY: takes no argument and cannot fail.
    unsafe { libc::sync() }
}
