//! Checksums, each over digits or letters that were taken out of a text. What is of the wrong length does not pass.

/// Luhn's test (ISO/IEC 7812-1).
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match u32::from(*digit) * if place % 2 == 1 { 2 } else { 1 } {
            value @ 0..=9 => value,
            value => value - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether a number lies within an issuer's range and has a length that the issuer gives out. The second value says whether
/// that issuer's lengths are told by no range alone: such a number needs a word that says what it is.
pub(super) fn issuer(digits: &[u8]) -> Option<bool> {
    let prefix = |length: usize| {
        digits.iter().take(length).fold(0_u32, |number, digit| number * 10 + u32::from(*digit))
    };
    let (one, two, three, four) = (prefix(1), prefix(2), prefix(3), prefix(4));
    let length = digits.len();
    let is_strict = match (one, two, three, four) {
        // Visa. Thirteen digits are as often an article's.
        (4, ..) if length == 16 => true,
        (4, ..) if matches!(length, 13 | 19) => false,
        // Mastercard.
        (_, 51..=55, ..) | (_, _, _, 2_221..=2_720) if length == 16 => true,
        // American Express.
        (_, 34 | 37, ..) if length == 15 => true,
        // Discover, JCB.
        (_, 65, ..) | (_, _, 644..=649, _) | (_, _, _, 6_011 | 3_528..=3_589) if length == 16 => true,
        // Diners Club.
        (_, 36 | 38 | 39, ..) | (_, _, 300..=305, _) if length == 14 => false,
        // JCB's older cards.
        (_, _, _, 1_800 | 2_131) if length == 15 => false,
        // Maestro: these have as few as twelve digits.
        (_, _, _, 5_018 | 5_020 | 5_038 | 5_893 | 6_304 | 6_390 | 6_759 | 6_761..=6_763)
            if matches!(length, 12..=19) =>
        {
            false
        }
        // UnionPay, RuPay, Maestro.
        (_, 62 | 81 | 82, ..) if matches!(length, 16..=19) => false,
        (_, 50 | 56..=58, ..) | (_, _, 670..=679, _) if matches!(length, 13..=19) => false,
        _ => return None,
    };
    Some(is_strict)
}

/// The remainder modulo 97 of a number whose letters count as 10 to 35 (ISO 7064), read from its fifth character on and
/// around. One for an account number that is right (ISO 13616).
pub(super) fn iban(text: &[u8]) -> bool {
    let (head, tail) = text.split_at(text.len().min(4));
    let rest = tail.iter().chain(head).try_fold(0_u32, |rest, byte| {
        let value = char::from(*byte).to_digit(36)?;
        Some(if value > 9 { (rest * 100 + value) % 97 } else { (rest * 10 + value) % 97 })
    });
    rest == Some(1)
}

/// How long a country's account numbers are (the registry of ISO 13616).
pub(super) fn iban_length(country: &[u8]) -> Option<usize> {
    let length = match country {
        b"NO" => 15,
        b"BE" => 16,
        b"DK" | b"FI" | b"FO" | b"GL" | b"NL" | b"SD" | b"FK" => 18,
        b"MK" | b"SI" => 19,
        b"AT" | b"BA" | b"EE" | b"KZ" | b"LT" | b"LU" | b"XK" | b"MN" => 20,
        b"CH" | b"HR" | b"LI" | b"LV" => 21,
        b"BG" | b"BH" | b"CR" | b"DE" | b"GB" | b"GE" | b"IE" | b"ME" | b"RS" | b"VA" => 22,
        b"AE" | b"GI" | b"IL" | b"IQ" | b"TL" | b"OM" | b"SO" => 23,
        b"AD" | b"CZ" | b"ES" | b"MD" | b"PK" | b"RO" | b"SA" | b"SE" | b"SK" | b"TN" | b"VG" => 24,
        b"PT" | b"ST" | b"LY" => 25,
        b"IS" | b"TR" => 26,
        b"DJ" | b"FR" | b"GR" | b"IT" | b"MC" | b"MR" | b"SM" | b"BI" => 27,
        b"AL" | b"AZ" | b"BY" | b"CY" | b"DO" | b"GT" | b"HU" | b"LB" | b"PL" | b"SV" | b"NI" => 28,
        b"BR" | b"EG" | b"PS" | b"QA" | b"UA" => 29,
        b"JO" | b"KW" | b"MU" | b"YE" => 30,
        b"MT" | b"SC" => 31,
        b"LC" => 32,
        b"RU" => 33,
        _ => return None,
    };
    Some(length)
}

/// A German tax identification number: the structure (one digit stands twice or three times among the first ten), and the
/// check digit (ISO 7064, modulus 11,10).
pub(super) fn german_tax_id(digits: &[u8]) -> bool {
    if digits.len() != 11 || digits.first() == Some(&0) {
        return false;
    }
    let mut counts = [0_u8; 10];
    for digit in digits.iter().take(10) {
        counts[usize::from(*digit % 10)] += 1;
    }
    let repeated = counts.iter().filter(|count| **count > 1).count();
    if repeated != 1 || counts.iter().any(|count| *count > 3) {
        return false;
    }
    let product = digits.iter().take(10).fold(10_u32, |product, digit| {
        let sum = match (u32::from(*digit) + product) % 10 {
            0 => 10,
            sum => sum,
        };
        sum * 2 % 11
    });
    digits.last().copied().map(u32::from) == Some((11 - product) % 10)
}

/// A French social security number of digits alone: sex, month and key.
pub(super) fn french_nir(digits: &[u8]) -> bool {
    let [sex, _, _, tens, ones, number @ ..] = digits else { return false };
    let month = tens * 10 + ones;
    if digits.len() != 15 || !matches!(sex, 1 | 2) || number.is_empty() {
        return false;
    }
    if !matches!(month, 1..=12 | 20..=42 | 50..=99) {
        return false;
    }
    let (body, key) = digits.split_at(13);
    let of = |digits: &[u8]| digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(*digit));
    97 - of(body) % 97 == of(key)
}

/// The letter of a Spanish identity number.
pub(super) fn spanish_letter(number: u32) -> u8 {
    b"TRWAGMYFPDXBNJZSQVHLCKE"[(number % 23) as usize]
}

/// An NHS number (modulus 11).
pub(super) fn nhs(digits: &[u8]) -> bool {
    if digits.len() != 10 {
        return false;
    }
    let sum: u32 = digits.iter().take(9).zip((2..=10).rev()).map(|(digit, by)| u32::from(*digit) * by).sum();
    match 11 - sum % 11 {
        11 => digits.last() == Some(&0),
        10 => false,
        check => digits.last().copied().map(u32::from) == Some(check),
    }
}

/// Verhoeff's check digit, as Aadhaar numbers have it.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    /// Composition in the dihedral group of the pentagon: a rotation and a reflection each.
    fn compose(one: u8, other: u8) -> u8 {
        match (one < 5, other < 5) {
            (true, true) => (one + other) % 5,
            (true, false) => (one + other - 5) % 5 + 5,
            (false, true) => (one - 5 + 5 - other) % 5 + 5,
            (false, false) => (one + 5 - other) % 5,
        }
    }
    const MOVES: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let check = digits.iter().rev().enumerate().fold(0, |check, (place, digit)| {
        let moved = (0..place % 8).fold(*digit % 10, |digit, _| MOVES[usize::from(digit)]);
        compose(check, moved)
    });
    check == 0
}

/// A Brazilian CPF: two check digits.
pub(super) fn cpf(digits: &[u8]) -> bool {
    let all_same = digits.windows(2).all(|pair| pair[0] == pair[1]);
    digits.len() == 11 && !all_same && (9..11).all(|place| brazilian(digits, place, usize::MAX))
}

/// A Brazilian CNPJ: two check digits.
pub(super) fn cnpj(digits: &[u8]) -> bool {
    let all_same = digits.windows(2).all(|pair| pair[0] == pair[1]);
    digits.len() == 14 && !all_same && (12..14).all(|place| brazilian(digits, place, 9))
}

/// Whether the digit there is the check digit of those before it, weighed from two on up to a most and from two on again.
fn brazilian(digits: &[u8], place: usize, most: usize) -> bool {
    let weights = (2..=most).cycle();
    let before = digits.get(..place).unwrap_or_default().iter().rev();
    let sum: usize = before.zip(weights).map(|(digit, weight)| usize::from(*digit) * weight).sum();
    let check = match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    digits.get(place).copied().map(usize::from) == Some(check)
}

/// The letter of a codice fiscale: its sixteenth character.
pub(super) fn codice_fiscale(code: &[u8]) -> bool {
    const ODD: [u8; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let [body @ .., check] = code else { return false };
    let sum: u32 = body
        .iter()
        .enumerate()
        .map(|(place, byte)| {
            let value = if byte.is_ascii_digit() { byte - b'0' } else { byte.wrapping_sub(b'A') % 26 };
            u32::from(if place % 2 == 0 { ODD[usize::from(value)] } else { value })
        })
        .sum();
    code.len() == 16 && u32::from(check.wrapping_sub(b'A')) == sum % 26
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().filter(u8::is_ascii_digit).map(|byte| byte - b'0').collect()
    }

    /// Examples that issuers and authorities publish.
    #[test]
    fn what_authorities_publish_passes_and_a_changed_digit_does_not() {
        type Check = fn(&[u8]) -> bool;
        let cases: [(Check, &str); 8] = [
            (luhn, "4111 1111 1111 1111"),
            (luhn, "3782 822463 10005"),
            (german_tax_id, "86 095 742 719"),
            (french_nir, "2 55 08 14 168 025 38"),
            (nhs, "943 476 5919"),
            (verhoeff, "2363"),
            (cpf, "529.982.247-25"),
            (cnpj, "11.444.777/0001-61"),
        ];
        for (check, text) in cases {
            let right = digits(text);
            assert!(check(&right), "{text}");
            let mut wrong = right.clone();
            let last = wrong.last_mut().unwrap();
            *last = (*last + 1) % 10;
            assert!(!check(&wrong), "{text}");
        }
        assert!(iban(b"GB82WEST12345698765432") && !iban(b"GB82WEST12345698765433"));
        assert!(codice_fiscale(b"RSSMRA85T10A562S") && !codice_fiscale(b"RSSMRA85T10A562T"));
        assert_eq!(spanish_letter(12_345_678), b'Z');
    }

    #[test]
    fn some_issuers_give_out_fewer_digits_and_need_a_word() {
        for text in ["6304 0000 0000", "6759 0000 0000 0", "1800 0000 0000 000", "2131 0000 0000 000"] {
            assert_eq!(issuer(&digits(text)), Some(false), "{text}");
        }
        for text in ["4111 1111 1111", "1801 0000 0000 000", "1800 0000 0000"] {
            assert_eq!(issuer(&digits(text)), None, "{text}");
        }
    }

    #[test]
    fn nothing_short_or_empty_passes_or_panics() {
        for length in 0..9 {
            let zeros = vec![0_u8; length];
            for check in [german_tax_id, french_nir, nhs, cpf, cnpj] {
                assert!(!check(&zeros));
            }
            let _ = (luhn(&zeros), verhoeff(&zeros), issuer(&zeros), iban(&zeros), codice_fiscale(&zeros));
        }
    }
}
