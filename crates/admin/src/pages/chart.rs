//! Charts, drawn here as SVG: no script, and the numbers stand in the page for those who do not see them. The drawing is
//! stretched to the room that there is; what is written beside it is HTML, so that it stays as large as other text.

use askama::Template;

const HEIGHT: u64 = 1000;
/// The width of a bar, and of the gap behind it.
const BAR: usize = 10;
const GAP: usize = 2;
/// How many words stand below the bars.
const MARKS: usize = 5;

/// One bar, of which a part is of another kind.
#[derive(Debug)]
pub(super) struct Bar {
    x: usize,
    y: u64,
    height: u64,
    part_height: u64,
    title: String,
}

/// What stands below the bars: a moment, or just a word.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    /// An instant, as RFC 3339 writes it, of which the script shows the time of day.
    Moment(String),
    /// As it is.
    Word(String),
}

impl Mark {
    /// As it reads without a script.
    fn text(&self) -> &str {
        match self {
            Self::Moment(moment) => moment.get(11..16).unwrap_or(moment),
            Self::Word(word) => word,
        }
    }
}

/// Bars beside each other.
#[derive(Debug, Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    title: String,
    /// What the bars are, and the part of them.
    keys: [&'static str; 2],
    bars: Vec<Bar>,
    width: usize,
    /// Where the scale ends, and its middle if that is a whole number.
    top: u64,
    middle: Option<u64>,
    all: u64,
    part: u64,
    marks: Vec<Mark>,
}

impl Chart {
    /// Of numbers, each with a part of it.
    pub(super) fn of(title: &str, keys: [&'static str; 2], numbers: &[(Mark, u64, u64)]) -> Self {
        let top = round(numbers.iter().map(|(_, all, _)| *all).max().unwrap_or(0));
        let high = |number: u64| (HEIGHT * number.min(top)) / top;
        let bar = |(nth, (mark, all, part)): (usize, &(Mark, u64, u64))| Bar {
            x: nth * (BAR + GAP),
            y: HEIGHT - high(*all),
            height: high(*all),
            part_height: high(*part),
            title: format!("{}: {all}, {part} {}", mark.text(), keys[1]),
        };
        let last = numbers.len().saturating_sub(1);
        let marks = MARKS.min(numbers.len());
        let at = |nth: usize| numbers[nth * last / (marks - 1).max(1)].0.clone();
        Self {
            title: title.to_owned(),
            keys,
            bars: numbers.iter().enumerate().map(bar).collect(),
            width: (numbers.len() * (BAR + GAP)).saturating_sub(GAP).max(1),
            top,
            middle: top.is_multiple_of(2).then_some(top / 2),
            all: numbers.iter().map(|(_, all, _)| all).sum(),
            part: numbers.iter().map(|(_, _, part)| part).sum(),
            marks: (0..marks).map(at).collect(),
        }
    }
}

/// The next number that reads well: 1, 2, 4, 5, 10, 20 …
fn round(number: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for step in [1, 2, 4, 5] {
            if let Some(top) = unit.checked_mul(step).filter(|top| *top >= number) {
                return top;
            }
        }
        match unit.checked_mul(10) {
            Some(next) => unit = next,
            None => return number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Mark {
        Mark::Word(text.to_owned())
    }

    #[test]
    fn bars_stay_within_their_room_and_what_they_say_is_escaped() {
        let bars = Chart::of("<b>", ["<i>", "failed"], &[(word("<a>"), 10, 3), (word("b"), 0, 0)]);
        let svg = bars.render().expect("drawn");
        assert!(!svg.contains("<a>") && !svg.contains("<b>") && !svg.contains("<i>"), "{svg}");
        assert!(svg.contains("10, of these 3 failed"), "the numbers for those who do not see it: {svg}");
        assert!(bars.bars.iter().all(|bar| bar.y + bar.height == HEIGHT && bar.part_height <= bar.height));
        assert!(bars.bars.iter().all(|bar| bar.x + BAR <= bars.width));
    }

    #[test]
    fn the_scale_ends_at_a_number_that_reads_well() {
        for (most, top) in [(0, 1), (1, 1), (3, 4), (5, 5), (6, 10), (51, 100), (199, 200), (401, 500)] {
            assert_eq!(round(most), top, "{most}");
        }
        assert_eq!(round(u64::MAX), u64::MAX);
    }

    #[test]
    fn few_numbers_and_none_are_a_chart_too() {
        assert!(Chart::of("none", ["all", "bad"], &[]).render().expect("drawn").contains("<svg"));
        let one = Chart::of("one", ["all", "bad"], &[(word("only"), 1, 0)]);
        assert_eq!(one.marks.len(), 1);
        let many: Vec<_> = (0..60).map(|nth| (word(&nth.to_string()), nth, 0)).collect();
        let marks: Vec<_> =
            Chart::of("many", ["all", "bad"], &many).marks.iter().map(|m| m.text().to_owned()).collect();
        assert_eq!(marks, ["0", "14", "29", "44", "59"]);
    }
}
