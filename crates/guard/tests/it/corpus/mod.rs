//! Labelled texts, made by generators that share no code with the detectors: they have their own checksums, alphabets and
//! templates. Everything is made up; the same seed gives the same texts.

pub(crate) mod definitions;
pub(crate) mod injections;
pub(crate) mod negatives;
pub(crate) mod personal;
pub(crate) mod secrets;

/// A text, and what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) text: String,
    /// The name of the member that it stands in.
    pub(crate) key: &'static str,
    /// Rules, and what each has to find.
    pub(crate) labels: Vec<(&'static str, String)>,
}

impl Sample {
    /// A template with a value put in place of `{}`.
    pub(crate) fn put(rule: &'static str, template: &str, value: &str) -> Self {
        Self { text: template.replacen("{}", value, 1), key: "text", labels: vec![(rule, value.to_owned())] }
    }

    /// A text in which there is nothing.
    pub(crate) fn clean(text: String) -> Self {
        Self { text, key: "text", labels: Vec::new() }
    }
}

/// A small generator of numbers (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From nothing up to less than this.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    /// From one up to another, both included.
    pub(crate) fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// So many of these characters.
    pub(crate) fn text(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }

    pub(crate) fn digits(&mut self, length: usize) -> String {
        self.text("0123456789", length)
    }
}

pub(crate) const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
pub(crate) const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
pub(crate) const UPPER_DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
pub(crate) const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
pub(crate) const WORD: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
pub(crate) const HEX: &str = "0123456789abcdef";
