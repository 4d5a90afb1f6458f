//! The fuzz targets of this crate (`dev/fuzz`), for a short while: their seeds, and what comes of changing those here and there.

mod definition;
mod guard;

use std::path::Path;

/// How often each seed is changed.
const TIMES: u64 = 400;

/// Numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most.max(1)
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dev/fuzz/seeds").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A seed with a few changes: bytes turned, taken out, said twice, or those of another seed in between.
fn changed(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    const BYTES: &[u8] = b"\"\\{}[]:,0-9.e \n\0\x1B\xF3\xE2\x80\x8B<&%=@";
    let mut data = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        let (from, to) = (dice.below(data.len()), dice.below(data.len()));
        let (from, to) = (from.min(to), (from.max(to) + 1).min(data.len()));
        match dice.below(5) {
            0 if !data.is_empty() => data[from] = BYTES[dice.below(BYTES.len())],
            1 => data.insert(from, BYTES[dice.below(BYTES.len())]),
            2 => drop(data.drain(from..to)),
            3 => {
                let again = data[from..to].to_vec();
                data.splice(from..from, again);
            }
            _ => {
                let other = &seeds[dice.below(seeds.len())];
                let start = dice.below(other.len());
                data.splice(from..to, other[start..].iter().copied());
            }
        }
        data.truncate(4096);
    }
    data
}

fn run(target: &str, check: fn(&[u8])) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty());
    for seed in &seeds {
        check(seed);
    }
    let mut dice = Dice(target.bytes().map(u64::from).sum());
    for _ in 0..TIMES * seeds.len() as u64 {
        let data = changed(&seeds, &mut dice);
        let checked = std::panic::catch_unwind(|| check(&data));
        assert!(checked.is_ok(), "{:?}", String::from_utf8_lossy(&data));
    }
}

#[test]
fn definitions_are_what_they_are_whatever_they_are() {
    run("definition", definition::check);
}

#[test]
fn what_guards_leave_is_left_alone_whatever_it_was() {
    run("guard", guard::check);
}
