//! Calling codes, and how long the numbers behind them are.
//!
//! Taken from the metadata of Google's libphonenumber (9.0.43, Apache-2.0): for each code, the lengths that national numbers of any
//! kind have in any of its regions. The library itself is not linked: it takes 4 µs, 15 MB and 60 ms at its first use to tell what a
//! table of lengths tells at once, and whoever sends numbers would decide how often.

/// How many calling codes there may be.
const CODES: usize = 1_000;

/// Lengths of national numbers by calling code: bit n for n digits.
static LENGTHS: [u32; CODES] = lengths();

const fn lengths() -> [u32; CODES] {
    let mut table = [0; CODES];
    let mut at = 0;
    while at < KNOWN.len() {
        table[KNOWN[at].0 as usize] = KNOWN[at].1;
        at += 1;
    }
    table
}

/// Whether digits are a calling code, and behind it as many as numbers have there.
pub(super) fn has_country(number: &[u8]) -> bool {
    if number.first() == Some(&0) {
        return false;
    }
    let mut code = 0_usize;
    for (place, digit) in number.iter().take(3).enumerate() {
        code = code * 10 + usize::from(*digit);
        // No code is the beginning of another.
        let lengths = LENGTHS.get(code).copied().unwrap_or(0);
        if lengths != 0 {
            let is_long_enough = lengths >> (number.len() - place - 1).min(31) & 1 == 1;
            // In North America neither area nor exchange begin with 0 or 1.
            let is_american = || matches!((number.get(1), number.get(4)), (Some(2..=9), Some(2..=9)));
            return is_long_enough && (code != 1 || is_american());
        }
    }
    false
}

#[rustfmt::skip]
const KNOWN: &[(u16, u32)] = &[
    (1, 0x400), (7, 0x400), (20, 0x700), (27, 0x7e0), (30, 0x1c00), (31, 0xfe0), (32, 0x300), (33, 0x200),
    (34, 0x200), (36, 0x300), (39, 0x1fc0), (40, 0x240), (41, 0x200), (43, 0x3ff0), (44, 0x680),
    (45, 0x100), (46, 0x7c0), (47, 0x120), (48, 0x680), (49, 0xffe0), (51, 0x300), (52, 0x400), (53, 0x5c0),
    (54, 0xc00), (55, 0xf00), (56, 0xe00), (57, 0xd00), (58, 0x400), (60, 0x700), (61, 0x17c0),
    (62, 0x3ff80), (63, 0x3f40), (64, 0x7e0), (65, 0xd00), (66, 0x2700), (81, 0x3ff00), (82, 0x7f60),
    (84, 0x780), (86, 0x1f80), (90, 0x3480), (91, 0x3f00), (92, 0x1f00), (93, 0x200), (94, 0x200),
    (95, 0x7c0), (98, 0x4f0), (211, 0x200), (212, 0x200), (213, 0x300), (216, 0x100), (218, 0x200),
    (220, 0x280), (221, 0x200), (222, 0x100), (223, 0x100), (224, 0x300), (225, 0x400), (226, 0x100),
    (227, 0x100), (228, 0x100), (229, 0x400), (230, 0x580), (231, 0x380), (232, 0x100), (233, 0x300),
    (234, 0x7c00), (235, 0x100), (236, 0x100), (237, 0x300), (238, 0x80), (239, 0x80), (240, 0x200),
    (241, 0x180), (242, 0x200), (243, 0x780), (244, 0x200), (245, 0x280), (246, 0x80), (247, 0x60),
    (248, 0x80), (249, 0x200), (250, 0x300), (251, 0x200), (252, 0x3c0), (253, 0x100), (254, 0x780),
    (255, 0x200), (256, 0x200), (257, 0x100), (258, 0x300), (260, 0x200), (261, 0x200), (262, 0x200),
    (263, 0x680), (264, 0x300), (265, 0x280), (266, 0x100), (267, 0x580), (268, 0x300), (269, 0x80),
    (290, 0x30), (291, 0x80), (297, 0x80), (298, 0x40), (299, 0x40), (350, 0x100), (351, 0x200),
    (352, 0xff0), (353, 0x780), (354, 0x280), (355, 0x3c0), (356, 0x100), (357, 0x100), (358, 0x1fe0),
    (359, 0x13c0), (370, 0x100), (371, 0x100), (372, 0x580), (373, 0x100), (374, 0x100), (375, 0xfc0),
    (376, 0x340), (377, 0x300), (378, 0x500), (380, 0x600), (381, 0x1fc0), (382, 0x300), (383, 0x1f00),
    (385, 0x380), (386, 0x1e0), (387, 0x300), (389, 0x100), (420, 0x200), (421, 0x2c0), (423, 0x280),
    (500, 0x20), (501, 0x880), (502, 0x900), (503, 0x980), (504, 0x900), (505, 0x100), (506, 0x500),
    (507, 0xd80), (508, 0x240), (509, 0x100), (590, 0x200), (591, 0x300), (592, 0x80), (593, 0xf00),
    (594, 0x200), (595, 0xfc0), (596, 0x200), (597, 0xc0), (598, 0x3ff0), (599, 0x180), (670, 0x180),
    (672, 0x40), (673, 0x80), (674, 0x80), (675, 0x180), (676, 0xa0), (677, 0xa0), (678, 0xa0),
    (679, 0x880), (680, 0x80), (681, 0x240), (682, 0x20), (683, 0x90), (685, 0x4e0), (686, 0x120),
    (687, 0x40), (688, 0xe0), (689, 0x340), (690, 0xf0), (691, 0x80), (692, 0x80), (800, 0x100),
    (808, 0x100), (850, 0x500), (852, 0xbe0), (853, 0x180), (855, 0x700), (856, 0x700), (870, 0x1200),
    (878, 0x1000), (880, 0x7c0), (881, 0x600), (882, 0x1f80), (883, 0x1f00), (886, 0xf80), (888, 0x800),
    (960, 0x480), (961, 0x180), (962, 0x300), (963, 0x300), (964, 0x700), (965, 0x180), (966, 0x600),
    (967, 0x380), (968, 0x380), (970, 0x700), (971, 0x1fe0), (972, 0x1f80), (973, 0x100), (974, 0xb80),
    (975, 0x180), (976, 0x700), (977, 0xd00), (979, 0x200), (992, 0x200), (993, 0x100), (994, 0x200),
    (995, 0x200), (996, 0x600), (998, 0x200),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn is(number: &str) -> bool {
        let digits: Vec<u8> = number.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
        has_country(&digits)
    }

    #[test]
    fn numbers_have_a_code_and_the_length_that_is_usual_there() {
        for good in [
            "+49 30 901820",
            "+1 212 555 0134",
            "+44 20 7946 0958",
            "+33 1 42 68 53 00",
            "+91 98765 43210",
            "+372 5123 4567",
            "+7 912 345 67 89",
        ] {
            assert!(is(good), "{good}");
        }
        for bad in [
            "+999 123456789",
            "+1 112 555 0134",
            "+1 212 155 0134",
            "+33 1 42 68 53",
            "+34 912 345 6789",
            "+44 20 7946 09581",
            "+0 12345678",
            "+210 1234567",
        ] {
            assert!(!is(bad), "{bad}");
        }
    }
}
