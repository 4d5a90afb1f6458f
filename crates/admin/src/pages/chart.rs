//! Charts, drawn here as SVG: no script, and the numbers stand in the page for those who do not see them.

use askama::Template;

const WIDTH: u32 = 720;
const HEIGHT: u32 = 160;
const LEFT: u32 = 48;
const BOTTOM: u32 = 20;
const TOP: u32 = 8;

/// One bar, of which a part is of another kind.
#[derive(Debug)]
pub(super) struct Bar {
    x: u32,
    width: u32,
    y: u32,
    height: u32,
    part_y: u32,
    part_height: u32,
    title: String,
}

/// Chart beside each other.
#[derive(Debug, Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    title: String,
    bars: Vec<Bar>,
    most: u64,
    first: String,
    last: String,
}

impl Chart {
    /// Of numbers, each with a part of it and a word.
    pub(super) fn of(title: &str, numbers: &[(String, u64, u64)]) -> Self {
        let most = numbers.iter().map(|(_, all, _)| *all).max().unwrap_or(0).max(1);
        let room = HEIGHT - BOTTOM - TOP;
        let count = u32::try_from(numbers.len()).unwrap_or(1).max(1);
        let step = (WIDTH - LEFT) / count;
        let high = |number: u64| u32::try_from(u64::from(room) * number / most).unwrap_or(room).min(room);
        let bar = |(nth, (word, all, part)): (usize, &(String, u64, u64))| {
            let (height, part_height) = (high(*all), high(*part));
            Bar {
                x: LEFT + u32::try_from(nth).unwrap_or(0) * step,
                width: step.saturating_sub(1).max(1),
                y: HEIGHT - BOTTOM - height,
                height,
                part_y: HEIGHT - BOTTOM - part_height,
                part_height,
                title: format!("{word}: {all}, of these {part} failed"),
            }
        };
        let word = |one: Option<&(String, u64, u64)>| one.map(|(word, ..)| word.clone()).unwrap_or_default();
        Self {
            title: title.to_owned(),
            bars: numbers.iter().enumerate().map(bar).collect(),
            most,
            first: word(numbers.first()),
            last: word(numbers.last()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stay_within_their_room_and_what_they_say_is_escaped() {
        let bars = Chart::of("<b>", &[("<a>".to_owned(), 10, 3), ("b".to_owned(), 0, 0)]);
        let svg = bars.render().expect("drawn");
        assert!(!svg.contains("<a>") && !svg.contains("<b>"), "{svg}");
        assert!(bars.bars.iter().all(|bar| bar.y + bar.height == HEIGHT - BOTTOM && bar.height <= HEIGHT));
        assert!(Chart::of("none", &[]).render().expect("drawn").contains("<svg"));
    }
}
