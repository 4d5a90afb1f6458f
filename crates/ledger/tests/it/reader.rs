//! Reading, while a writer writes.

use std::fs;

use tollgate_ledger::{Entry, Kind, Line, Read, ReadError, Reader};

use crate::written::{Written, beside};

fn seq(read: Option<Read>) -> Option<u64> {
    read.map(|read| read.entry().expect("an entry").seq)
}

fn next(reader: &mut Reader) -> Option<u64> {
    seq(reader.next_entry().expect("readable"))
}

/// The numbers of all entries that are there.
fn all(reader: &mut Reader) -> Vec<u64> {
    std::iter::from_fn(|| next(reader)).collect()
}

#[test]
fn entries_come_as_they_are_written() {
    let mut written = Written::new();
    let mut reader = Reader::new(&written.folder);
    assert_eq!(all(&mut reader), [1]);
    written.intent();
    assert_eq!(all(&mut reader), [2]);
    written.rotate();
    written.intent();
    assert_eq!(all(&mut reader), [3, 4]);
    assert_eq!(all(&mut Reader::new(&written.folder)), [1, 2, 3, 4]);
}

#[test]
fn an_entry_comes_when_what_stands_beside_it_is_whole() {
    let mut written = Written::new();
    let mut reader = Reader::new(&written.folder);
    assert_eq!(next(&mut reader), Some(1));
    let lines = [beside("p a", 'x'), beside("n ref", 'y')].concat();
    let text = written.entry(Entry::of(Kind::Intent), &lines);
    let file = written.file(1);
    let whole = fs::read(&file).expect("a file");
    let before = whole.len() - text.len();
    for len in 0..text.len() {
        fs::write(&file, &whole[..before + len]).expect("written");
        assert_eq!(next(&mut reader), None, "{len} of {}", text.len());
    }
    fs::write(&file, &whole).expect("written");
    let read = reader.next_entry().expect("readable").expect("an entry");
    assert_eq!(read.side_lines, lines.as_bytes());
    assert!(matches!(
        read.beside().collect::<Vec<_>>()[..],
        [Line::Payload { is_result: false, .. }, Line::Name { reference: b"ref", .. }]
    ));
    assert_eq!(read.next, whole.len() as u64);
}

#[test]
fn reading_goes_on_from_a_place() {
    let mut written = Written::new();
    written.intent();
    written.rotate();
    written.intent();
    let mut reader = Reader::new(&written.folder);
    let mut places = Vec::new();
    while let Some(read) = reader.next_entry().expect("readable") {
        places.push((read.segment, read.next));
    }
    for (nth, (segment, next)) in places.iter().enumerate() {
        let mut reader = Reader::at(&written.folder, *segment, *next).expect("a reader");
        let left: Vec<u64> = (nth as u64 + 2..=4).collect();
        assert_eq!(all(&mut reader), left, "after {nth}");
    }
    // A place that is none: everything of that segment comes again rather than something else.
    for offset in [7, 1_000_000] {
        let mut reader = Reader::at(&written.folder, 3, offset).expect("a reader");
        assert_eq!(all(&mut reader), [3, 4]);
    }
    // A segment that was removed: what is left of later ones.
    fs::remove_file(written.file(1)).expect("removed");
    let mut reader = Reader::at(&written.folder, 1, places[0].1).expect("a reader");
    assert_eq!(all(&mut reader), [3, 4]);
    let mut nothing = Reader::at(&written.folder, 9, 0).expect("a reader");
    assert_eq!(next(&mut nothing), Some(3), "there is nothing later: all that is there");
}

#[test]
fn a_segment_that_is_removed_while_it_is_read_is_read_to_its_end() {
    let mut written = Written::new();
    written.intent();
    let mut reader = Reader::new(&written.folder);
    assert_eq!(next(&mut reader), Some(1));
    written.rotate();
    fs::remove_file(written.file(1)).expect("removed");
    assert_eq!(all(&mut reader), [2, 3]);
}

#[test]
fn damage_is_said_once_and_passed_over() {
    let mut written = Written::new();
    written.intent();
    written.append("what is this\nand this\n");
    written.entry(Entry::of(Kind::Intent), &beside("p a", 'x'));
    written.append("q nothing\n");
    written.intent();
    written.append("e half an entr");
    written.rotate();
    let mut reader = Reader::new(&written.folder);
    let mut said = Vec::new();
    for _ in 0..12 {
        said.push(match reader.next_entry() {
            Ok(read) => seq(read),
            Err(ReadError::NoLine { .. }) => Some(0),
            Err(error) => panic!("{error}"),
        });
    }
    let expected = [1, 2, 0, 3, 0, 4, 0, 5].map(Some);
    assert_eq!(said[..8], expected);
    assert!(said[8..].iter().all(Option::is_none), "{said:?}");
}

#[test]
fn a_writers_folder_may_not_be_there_yet() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut reader = Reader::new(&folder.path().join("w1"));
    assert_eq!(next(&mut reader), None);
    assert_eq!(tollgate_ledger::writers(folder.path()).expect("readable"), Vec::<std::path::PathBuf>::new());
    let written = Written::beside(folder.path(), "w1");
    assert_eq!(next(&mut reader), Some(1));
    assert_eq!(tollgate_ledger::writers(folder.path()).expect("readable"), [written.folder]);
}

#[test]
fn a_segment_whose_begin_failed_may_begin_once_more() {
    let mut written = Written::new();
    let mut reader = Reader::new(&written.folder);
    assert_eq!(next(&mut reader), Some(1));
    fs::write(written.file(2), b"").expect("written");
    assert_eq!(next(&mut reader), None);
    fs::remove_file(written.file(2)).expect("removed");
    assert_eq!(next(&mut reader), None);
    written.rotate();
    written.intent();
    assert_eq!(all(&mut reader), [2, 3]);
}
