//! The checks of the fuzz targets, on the corpus and on mangled pieces of it: in every test run, without a fuzzer.

#[path = "../fuzz/entries.rs"]
mod entries;

use std::fs;
use std::path::Path;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// The functions that fuzz targets call.
type FuzzEntry = fn(&[u8]);

const ENTRIES: [(&str, FuzzEntry); 12] = [
    ("access_log", entries::access_log),
    ("stamps", entries::stamps),
    ("delimited", entries::delimited),
    ("pcap", entries::pcap),
    ("pcapng", entries::pcapng),
    ("log", entries::log),
    ("json", entries::json),
    ("fields", entries::fields),
    ("labels", entries::labels),
    ("pattern", entries::pattern),
    ("input", entries::input),
    ("options", entries::options),
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(folder).expect("a corpus for each target");
    files
        .map(|file| fs::read(file.expect("a file").path()).expect("a file"))
        .collect()
}

/// Some bytes are changed, put in or left out, and at last it may end early.
fn mangled(seed: &[u8], edits: &[(usize, u8, u8)], end: usize) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for &(at, kind, byte) in edits {
        let at = at % (bytes.len() + 1);
        match kind % 4 {
            0 if at < bytes.len() => bytes[at] = byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, b"\",\n [\\\t0"[usize::from(byte) % 8]),
            _ => bytes.insert(at, byte),
        }
    }
    bytes.truncate(if end % 3 == 0 {
        end % (bytes.len() + 1)
    } else {
        bytes.len()
    });
    bytes
}

#[test]
fn every_input_of_the_corpus_holds() {
    for (target, entry) in ENTRIES {
        let corpus = corpus(target);
        assert!(corpus.len() >= 3, "{target}");
        corpus.iter().for_each(|input| entry(input));
    }
}

/// Runs each target on mangled pieces of its corpus for `FUZZED_SECONDS` seconds; on `FUZZED_TARGET` alone if that is set.
#[test]
fn mangled_pieces_hold_for_as_long_as_asked() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let Some(seconds) = number("FUZZED_SECONDS") else {
        return;
    };
    let only = std::env::var("FUZZED_TARGET").ok();
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for (target, entry) in ENTRIES {
        if only.as_ref().is_some_and(|only| only != target) {
            continue;
        }
        let mut pieces = corpus(target);
        let (start, mut runs) = (Instant::now(), 0_u64);
        while start.elapsed().as_secs() < seconds {
            let mut next = || usize::try_from(random.next_u32()).unwrap_or(0);
            let (one, other) = (next() % pieces.len(), next() % pieces.len());
            let edits: Vec<_> = (0..next() % 16)
                .map(|_| (next(), next().to_le_bytes()[0], next().to_le_bytes()[1]))
                .collect();
            let mut input = mangled(&pieces[one], &edits, next());
            // Half of all inputs are joined from two pieces.
            if next() % 2 == 0 {
                let cut = next() % (pieces[other].len() + 1);
                input.truncate(next() % (input.len() + 1));
                input.extend_from_slice(&pieces[other][cut..]);
            }
            entry(&input);
            runs += 1;
            // Some inputs are mangled again.
            if runs % 64 == 0 && input.len() < 4_096 && pieces.len() < 512 {
                pieces.push(input);
            }
        }
        eprintln!("{target}: {runs} inputs in {seconds} s");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mangled_pieces_of_the_corpus_hold(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 0..12),
        end in any::<usize>(),
    ) {
        for (target, entry) in ENTRIES {
            let corpus = corpus(target);
            let seed = &corpus[which.index(corpus.len())];
            entry(&mangled(seed, &edits, end));
        }
    }

    #[test]
    fn random_bytes_have_every_property(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, entry) in ENTRIES {
            entry(&bytes);
        }
    }
}
