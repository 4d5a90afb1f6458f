//! Checkpoints that were kept elsewhere: in an export, or in a file that somebody put aside.

use std::collections::HashMap;
use std::io::{self, BufRead, Read as _};

use serde_json::Value;

use crate::{Checkpoint, Entry};

/// How many of one writer are taken: the latest.
const WRITER_MAX: usize = 10_000;
/// The longest line that may hold a checkpoint.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// How deep in a line's JSON an entry may stand.
const DEPTH_MAX: usize = 4;

impl Checkpoint {
    /// All that stand in a text, one a line at most, in whatever form an export delivered them: as entries, alone or within
    /// something else, behind a head as syslog has it, or as checkpoints. Whatever else the text holds is passed over.
    pub fn all_in(mut text: impl BufRead) -> io::Result<Vec<Self>> {
        let mut found: HashMap<String, Vec<Self>> = HashMap::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if text.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                return Ok(found.into_values().flatten().collect());
            }
            let Some(checkpoint) = in_line(&line) else { continue };
            let of_writer = found.entry(checkpoint.writer.clone()).or_default();
            of_writer.push(checkpoint);
            if of_writer.len() >= 2 * WRITER_MAX {
                of_writer.sort_by_key(|checkpoint| checkpoint.seq);
                of_writer.drain(..WRITER_MAX);
            }
        }
    }
}

fn in_line(line: &[u8]) -> Option<Checkpoint> {
    memchr::memmem::find(line, b"signature")?;
    let begin = memchr::memchr(b'{', line)?;
    // What follows the object is another's affair.
    let value = serde_json::Deserializer::from_slice(&line[begin..]).into_iter::<Value>().next()?.ok()?;
    within(&value, DEPTH_MAX)
}

fn within(value: &Value, depth: usize) -> Option<Checkpoint> {
    let Value::Object(members) = value else {
        // Some put the entry's text into a member.
        let text = value.as_str().filter(|text| depth > 0 && text.starts_with('{'))?;
        return within(&serde_json::from_str(text).ok()?, depth - 1);
    };
    let entry: Option<Entry<'_>> = serde_json::from_value(value.clone()).ok();
    let alone = || serde_json::from_value(value.clone()).ok();
    entry.as_ref().and_then(Checkpoint::of).or_else(alone).or_else(|| {
        let depth = depth.checked_sub(1)?;
        members.values().find_map(|member| within(member, depth))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hash, Kind};

    fn checkpoint(seq: u64) -> Checkpoint {
        Checkpoint {
            writer: "w1".to_owned(),
            seq,
            hash: Hash([1; 32]),
            time_ms: 5,
            open_from: None,
            key: "k".to_owned(),
            signature: "s".to_owned(),
        }
    }

    #[test]
    fn checkpoints_are_found_in_every_form() {
        let json = |value: &Value| value.to_string();
        let entry =
            |seq| serde_json::to_value(Entry { seq: seq + 1, ..checkpoint(seq).entry() }).expect("JSON");
        let lines = [
            json(&entry(1)),
            serde_json::to_string(&checkpoint(2)).expect("JSON"),
            json(&serde_json::json!({ "time": 1, "event": { "entry": entry(3) } })),
            format!("<110>1 2026-08-01T00:00:00Z host tollgate - - - {}", json(&entry(4))),
            json(&serde_json::json!({ "raw_data": json(&entry(5)) })),
            json(&serde_json::to_value(Entry::of(Kind::Intent)).expect("JSON")),
            "no JSON with a signature {".to_owned(),
            String::new(),
        ];
        let found = Checkpoint::all_in(lines.join("\n").as_bytes()).expect("read");
        assert_eq!(found, (1..=5).map(checkpoint).collect::<Vec<_>>());
    }

    #[test]
    fn of_many_the_latest_are_taken() {
        let many = 2 * WRITER_MAX as u64 + 5;
        let lines: Vec<String> =
            (1..=many).map(|seq| serde_json::to_string(&checkpoint(seq)).expect("JSON")).collect();
        let found = Checkpoint::all_in(lines.join("\n").as_bytes()).expect("read");
        assert!(found.len() < 2 * WRITER_MAX);
        assert_eq!(found.last().map(|last| last.seq), Some(many));
    }
}
