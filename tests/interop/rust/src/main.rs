// SPDX-License-Identifier: Apache-2.0
//
// Runs the line protocol of the interoperability test (../README.md) on stores of the Rust implementation.
// Knows the protocol and that implementation's API; the judging is done by the driver.

use simd_r_drive::traits::{DataStoreReader, DataStoreWriter};
use simd_r_drive::{compute_hash, DataStore, EntryHandle};
use std::io::{self, BufRead, Read, Write};
use std::path::Path;

/// Numbers that both tools draw alike: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// The payload that `KIND:SEED:SIZE` names.
fn payload_of(spec: &str) -> Result<Vec<u8>, String> {
    let mut parts = spec.split(':');
    let (Some(kind), Some(seed), Some(size), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(format!("bad payload {spec}"));
    };
    let seed: u64 = seed.parse().map_err(|_| format!("bad seed in {spec}"))?;
    let size: usize = size.parse().map_err(|_| format!("bad size in {spec}"))?;
    let mut random = Random(seed);
    let mut payload = Vec::with_capacity(size + 8);
    let mut word = 0u64;
    while payload.len() < size {
        let next = match kind {
            "random" => random.next(),
            "numbers" => (seed & 0xFF) + word,
            "zeros" => 0,
            _ => return Err(format!("bad kind in {spec}")),
        };
        payload.extend_from_slice(&next.to_le_bytes());
        word += 1;
    }
    payload.truncate(size);
    if (1..=4).contains(&size) && kind != "zeros" {
        payload[0] = (payload[0] | 1) & 0x7F; // not 00; nor FF to FFFFFFFF, whose CRC-32 and CRC-32C are the same
    }
    Ok(payload)
}

/// A key in hexadecimal; `-` is the empty key.
fn key_of(text: &str) -> Result<Vec<u8>, String> {
    if text == "-" {
        return Ok(Vec::new());
    }
    if text.len() % 2 != 0 || !text.is_ascii() {
        return Err(format!("bad key {text}"));
    }
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).map_err(|_| format!("bad key {text}")))
        .collect()
}

/// Gives a payload out in pieces, as a slow source does.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.rest.len().min(self.piece).min(buffer.len());
        buffer[..size].copy_from_slice(&self.rest[..size]);
        self.rest = &self.rest[size..];
        Ok(size)
    }
}

fn describe(entry: &EntryHandle) -> String {
    let payload = entry.as_slice();
    format!(
        "{:016x} {} {} {:08x} {} {:016x}",
        entry.key_hash(),
        entry.start_offset(),
        payload.len(),
        entry.checksum(),
        u8::from(entry.is_valid_checksum()),
        compute_hash(payload)
    )
}

/// How many entries the iteration shows, and a hash over their key hashes and places, in its order.
fn describe_iteration(store: &DataStore) -> String {
    let mut seen = Vec::new();
    let mut count = 0u64;
    for entry in store.iter_entries() {
        seen.extend_from_slice(&entry.key_hash().to_le_bytes());
        seen.extend_from_slice(&(entry.start_offset() as u64).to_le_bytes());
        seen.extend_from_slice(&(entry.size() as u64).to_le_bytes());
        count += 1;
    }
    format!("live {} {:016x}", count, compute_hash(&seen))
}

fn dump(store: &DataStore, keys: &[&str]) -> Result<String, String> {
    let mut parts = Vec::with_capacity(keys.len() + 1);
    for text in keys {
        let found = store.read(&key_of(text)?).map_err(|e| e.to_string())?;
        parts.push(found.map_or_else(|| "absent".to_string(), |entry| describe(&entry)));
    }
    parts.push(describe_iteration(store));
    Ok(parts.join(";"))
}

/// `KEY SPEC KEY SPEC ...` as pairs; the spec `absent` is a key that must not be found.
fn check(store: &DataStore, words: &[&str]) -> Result<String, String> {
    for pair in words.chunks(2) {
        let [key, spec] = pair else { return Err("odd number of words".into()) };
        let found = store.read(&key_of(key)?).map_err(|e| e.to_string())?;
        let right = match (&found, *spec) {
            (None, "absent") => true,
            (Some(entry), spec) if spec != "absent" => entry.as_slice() == payload_of(spec)?,
            _ => false,
        };
        if !right {
            return Ok(format!("wrong {key} {spec}"));
        }
    }
    Ok("right".into())
}

fn write_batch(store: &DataStore, words: &[&str]) -> Result<String, String> {
    let mut keys = Vec::new();
    let mut payloads = Vec::new();
    for pair in words.chunks(2) {
        let [key, spec] = pair else { return Err("odd number of words".into()) };
        keys.push(key_of(key)?);
        payloads.push(payload_of(spec)?);
    }
    let entries: Vec<(&[u8], &[u8])> =
        keys.iter().zip(&payloads).map(|(key, payload)| (key.as_slice(), payload.as_slice())).collect();
    tail(store.batch_write(&entries))
}

fn delete_batch(store: &DataStore, words: &[&str]) -> Result<String, String> {
    let keys: Vec<Vec<u8>> = words.iter().map(|word| key_of(word)).collect::<Result<_, _>>()?;
    let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    tail(store.batch_delete(&slices))
}

/// The reply to a command that writes.
fn tail(result: io::Result<u64>) -> Result<String, String> {
    match result {
        Ok(tail) => Ok(format!("tail {tail}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok("not-found".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn run(slot: &mut Option<DataStore>, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    if let ["open", path, _checksum] = words[..] {
        *slot = None;
        *slot = Some(DataStore::open(Path::new(path)).map_err(|e| e.to_string())?);
        return Ok("opened".into());
    }
    if words == ["close"] {
        *slot = None;
        return Ok("closed".into());
    }
    let store = slot.as_mut().ok_or("no store is open")?;
    match words[..] {
        ["write", key, spec] => tail(store.write(&key_of(key)?, &payload_of(spec)?)),
        ["batch", ref rest @ ..] => write_batch(store, rest),
        ["stream", key, spec, piece] => {
            let payload = payload_of(spec)?;
            let piece = piece.parse().map_err(|_| "bad piece".to_string())?;
            tail(store.write_stream(&key_of(key)?, &mut Pieces { rest: &payload, piece }))
        }
        ["delete", key] => tail(store.delete(&key_of(key)?)),
        ["delete-batch", ref rest @ ..] => delete_batch(store, rest),
        ["rename", old, new] => tail(store.rename(&key_of(old)?, &key_of(new)?)),
        // Afterwards this handle is left with the file that was replaced, so the driver closes it next.
        ["compact"] => store.compact().map(|()| "compacted".to_string()).map_err(|e| e.to_string()),
        ["check", ref rest @ ..] => check(store, rest),
        ["dump", ref rest @ ..] => dump(store, rest),
        _ => Err(format!("unknown command {line}")),
    }
}

fn main() -> io::Result<()> {
    let mut store = None;
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let reply = run(&mut store, &line?).unwrap_or_else(|message| format!("error {message}"));
        writeln!(output, "{reply}")?;
        output.flush()?;
    }
    Ok(())
}
