//! Persons that are not.

use super::{Dice, Sample, UPPER};

const FIRST: &[&str] = &[
    "anna", "lukas", "maria", "joao", "priya", "chloe", "marco", "elena", "tom", "sofia", "amelie", "jens",
    "li", "fatima", "noah",
];
const LAST: &[&str] = &[
    "berger", "silva", "rossi", "garcia", "smith", "dubois", "patel", "oneill", "novak", "meyer", "tanaka",
    "kowalski", "lopez",
];
const HOSTS: &[&str] = &[
    "example.com",
    "mail.example.org",
    "firma.de",
    "sub.domain.co.uk",
    "empresa.com.br",
    "exemple.fr",
    "uni-musterstadt.de",
    "corp.io",
    "a-b.it",
    "kliniken.example.net",
];

/// Texts in which any value may stand.
const ANYWHERE: &[&str] = &[
    "{}",
    "Value: {}",
    "\"{}\"",
    "({})",
    "- {}\n- none\n",
    "name,value\nfirst,{}\n",
    "<td>{}</td>",
    "Please use {} from now.",
    "It is {}.",
    "[{}]",
    "Der Wert ist {}, danke.",
    "Voici : {}",
    "El valor es {}; gracias",
    "a\tb\t{}\tc",
    "| 1 | {} | x |",
    "See {}, then go on.",
    "**{}**",
    "> {}",
];

fn with_words(dice: &mut Dice, words: &[&str], rule: &'static str, value: &str) -> Sample {
    let word = dice.pick(words);
    let template = dice.pick(&[
        "W: {}",
        "The W is {}.",
        "W {}",
        "my W={}",
        "{\"W\": \"{}\"}",
        "W no. {}",
        "customer's W - {}",
        "W:\n{}",
        "W # {}",
        "The W on file: {} (checked)",
    ]);
    Sample::put(rule, &template.replace('W', word), value)
}

fn either(dice: &mut Dice, words: &[&str], rule: &'static str, value: &str, with: usize) -> Sample {
    if dice.below(100) < with {
        with_words(dice, words, rule, value)
    } else {
        let template = dice.pick(ANYWHERE);
        Sample::put(rule, template, value)
    }
}

pub(crate) fn email(dice: &mut Dice) -> Sample {
    let (first, last, host) = (dice.pick(FIRST), dice.pick(LAST), dice.pick(HOSTS));
    let local = match dice.below(6) {
        0 => format!("{first}.{last}"),
        1 => format!("{}{last}", &first[..1]),
        2 => format!("{first}_{last}{}", dice.below(99)),
        3 => format!("{first}+{}", dice.pick(&["shop", "news", "lists"])),
        4 => first.to_owned(),
        _ => format!("{first}-{last}"),
    };
    let email = format!("{local}@{host}");
    let email = if dice.below(8) == 0 { email.to_uppercase() } else { email };
    either(dice, &["email", "E-Mail", "mailto", "correo", "contact"], "personal.email", &email, 50)
}

pub(crate) fn phone(dice: &mut Dice) -> Sample {
    let nanp = |dice: &mut Dice| {
        let line = dice.digits(4);
        (
            format!("{}{}", dice.between(2, 9), dice.digits(2)),
            format!("{}{}", dice.between(2, 9), dice.digits(2)),
            line,
        )
    };
    let words = &[
        "phone",
        "Tel",
        "mobile",
        "call me at",
        "Telefon",
        "téléphone",
        "móvil",
        "cellulare",
        "celular",
        "WhatsApp",
        "Handy",
    ];
    match dice.below(10) {
        0..4 => {
            let number = match dice.below(8) {
                0 => format!("+49 30 {}", dice.digits(8)),
                1 => format!("+44 20 {} {}", dice.digits(4), dice.digits(4)),
                2 => format!(
                    "+33 6 {} {} {} {}",
                    dice.digits(2),
                    dice.digits(2),
                    dice.digits(2),
                    dice.digits(2)
                ),
                3 => format!("+34 6{} {} {}", dice.digits(2), dice.digits(3), dice.digits(3)),
                4 => format!("+91 9{} {}", dice.digits(4), dice.digits(5)),
                5 => format!("+55 11 9{}-{}", dice.digits(4), dice.digits(4)),
                6 => format!("+39 33{} {}", dice.digits(1), dice.digits(7)),
                _ => {
                    let (area, office, line) = nanp(dice);
                    format!("+1 {area}-{office}-{line}")
                }
            };
            let number = if dice.below(3) == 0 { number.replace([' ', '-'], "") } else { number };
            either(dice, words, "personal.phone", &number, 50)
        }
        4..7 => {
            let (area, office, line) = nanp(dice);
            let number = dice
                .pick(&["(A) O-L", "A-O-L", "A.O.L"])
                .replace('A', &area)
                .replace('O', &office)
                .replace('L', &line);
            either(dice, words, "personal.phone", &number, 50)
        }
        _ => {
            let number = match dice.below(6) {
                0 => format!("030 {}", dice.digits(8)),
                1 => format!("0151/{}", dice.digits(8)),
                2 => {
                    format!("06 {} {} {} {}", dice.digits(2), dice.digits(2), dice.digits(2), dice.digits(2))
                }
                3 => format!("07700 9{}", dice.digits(5)),
                4 => format!("6{} {} {}", dice.digits(2), dice.digits(3), dice.digits(3)),
                _ => format!("(11) 9{}-{}", dice.digits(4), dice.digits(4)),
            };
            with_words(dice, words, "personal.phone", &number)
        }
    }
}

/// Doubles every second digit from the right, and takes the sum of all digits.
fn luhn_check(body: &str) -> char {
    let mut sum = 0;
    for (place, character) in body.chars().rev().enumerate() {
        let mut value = character.to_digit(10).unwrap();
        if place % 2 == 0 {
            value *= 2;
        }
        sum += value / 10 + value % 10;
    }
    char::from_digit((10 - sum % 10) % 10, 10).unwrap()
}

pub(crate) fn card(dice: &mut Dice) -> Sample {
    let (prefix, length) = match dice.below(7) {
        0 | 1 => ("4".to_owned(), 16),
        2 => (dice.between(51, 55).to_string(), 16),
        3 => (dice.between(2_221, 2_720).to_string(), 16),
        4 => (dice.pick(&["34", "37"]).to_owned(), 15),
        5 => (dice.pick(&["6011", "65", "644"]).to_owned(), 16),
        _ => (dice.between(3_528, 3_589).to_string(), 16),
    };
    let body = format!("{prefix}{}", dice.digits(length - 1 - prefix.len()));
    let number = format!("{body}{}", luhn_check(&body));
    let written = match dice.below(3) {
        0 => number,
        kind => {
            let by = if kind == 1 { " " } else { "-" };
            if length == 15 {
                [&number[..4], &number[4..10], &number[10..]].join(by)
            } else {
                [&number[..4], &number[4..8], &number[8..12], &number[12..]].join(by)
            }
        }
    };
    either(
        dice,
        &["card", "credit card", "Visa", "Kreditkarte", "carte bancaire", "tarjeta", "PAN"],
        "personal.card",
        &written,
        50,
    )
}

/// The remainder by 97 of a decimal number written out, and of letters as two digits each.
fn mod_97(text: &str) -> u64 {
    let mut rest = 0_u64;
    for character in text.chars() {
        let value = u64::from(character.to_digit(36).unwrap());
        for digit in value.to_string().chars() {
            rest = (rest * 10 + u64::from(digit.to_digit(10).unwrap())) % 97;
        }
    }
    rest
}

pub(crate) fn iban(dice: &mut Dice) -> Sample {
    let (country, account) = match dice.below(8) {
        0 | 1 => ("DE", dice.digits(18)),
        2 => ("FR", dice.digits(23)),
        3 => ("ES", dice.digits(20)),
        4 => ("IT", format!("{}{}", dice.text(UPPER, 1), dice.digits(22))),
        5 => ("GB", format!("{}{}", dice.text(UPPER, 4), dice.digits(14))),
        6 => ("NL", format!("{}{}", dice.text(UPPER, 4), dice.digits(10))),
        _ => ("BR", format!("{}{}", dice.digits(23), dice.text(UPPER, 2))),
    };
    let check = 98 - mod_97(&format!("{account}{country}00"));
    let number = format!("{country}{check:02}{account}");
    let number = if dice.below(2) == 0 {
        let characters: Vec<char> = number.chars().collect();
        characters.chunks(4).map(|chunk| chunk.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
    } else {
        number
    };
    either(dice, &["IBAN", "account", "Konto", "cuenta"], "personal.iban", &number, 50)
}

pub(crate) fn us_ssn(dice: &mut Dice) -> Sample {
    let mut area = dice.between(1, 899);
    if area == 666 {
        area = 665;
    }
    let (group, serial) = (dice.between(1, 99), dice.between(1, 9_999));
    if dice.below(4) == 0 {
        let number = format!("{area:03}{group:02}{serial:04}");
        return with_words(dice, &["SSN", "social security number"], "personal.us_ssn", &number);
    }
    let number = format!("{area:03}-{group:02}-{serial:04}");
    either(dice, &["SSN", "social security number", "ssn"], "personal.us_ssn", &number, 70)
}

pub(crate) fn uk_nino(dice: &mut Dice) -> Sample {
    let first = dice.text("ABCEGHJKLMNOPRSTWXYZ", 1);
    let second = dice.text("ABCEGHJKLMNPRSTWXYZ", 1);
    let prefix = match format!("{first}{second}").as_str() {
        "BG" | "GB" | "KN" | "NK" | "NT" | "TN" | "ZZ" => "AB".to_owned(),
        _ => format!("{first}{second}"),
    };
    let (one, two, three, last) = (dice.digits(2), dice.digits(2), dice.digits(2), dice.text("ABCD", 1));
    if dice.below(2) == 0 {
        let number = format!("{prefix}{one}{two}{three}{last}");
        return with_words(
            dice,
            &["NINO", "National Insurance number", "NI number"],
            "personal.uk_nino",
            &number,
        );
    }
    let number = format!("{prefix} {one} {two} {three} {last}");
    either(dice, &["NINO", "National Insurance number"], "personal.uk_nino", &number, 50)
}

pub(crate) fn uk_nhs(dice: &mut Dice) -> Sample {
    let number = loop {
        let body = dice.digits(9);
        let mut sum = 0;
        for (place, character) in body.chars().enumerate() {
            sum += u32::try_from(10 - place).unwrap() * character.to_digit(10).unwrap();
        }
        let check = (11 - sum % 11) % 11;
        if check < 10 {
            break format!("{body}{check}");
        }
    };
    let number = if dice.below(2) == 0 {
        format!("{} {} {}", &number[..3], &number[3..6], &number[6..])
    } else {
        number
    };
    with_words(dice, &["NHS number", "NHS", "patient's NHS no"], "personal.uk_nhs", &number)
}

pub(crate) fn de_tax_id(dice: &mut Dice) -> Sample {
    // Nine different digits and one of them again, then the check digit by the published recipe.
    let mut pool: Vec<u32> = (0..10).collect();
    pool.remove(dice.below(10));
    pool.push(pool[dice.below(9)]);
    loop {
        for place in (1..10).rev() {
            let other = dice.below(place + 1);
            pool.swap(place, other);
        }
        if pool[0] != 0 {
            break;
        }
    }
    let mut product = 10;
    for digit in &pool {
        let mut sum = (digit + product) % 10;
        if sum == 0 {
            sum = 10;
        }
        product = (sum * 2) % 11;
    }
    let check = if product == 1 { 0 } else { 11 - product };
    let number: String = pool.iter().map(u32::to_string).chain([check.to_string()]).collect();
    if dice.below(2) == 0 {
        return with_words(
            dice,
            &["Steuer-ID", "Steueridentifikationsnummer", "IdNr", "tax id"],
            "personal.de_tax_id",
            &number,
        );
    }
    let number = format!("{} {} {} {}", &number[..2], &number[2..5], &number[5..8], &number[8..]);
    either(dice, &["Steuer-ID", "IdNr."], "personal.de_tax_id", &number, 60)
}

pub(crate) fn fr_nir(dice: &mut Dice) -> Sample {
    let body = format!(
        "{}{}{:02}{:02}{}{}",
        dice.between(1, 2),
        dice.digits(2),
        dice.between(1, 12),
        dice.between(1, 95),
        dice.digits(3),
        dice.digits(3)
    );
    let key = 97 - body.parse::<u64>().unwrap() % 97;
    let number = match dice.below(2) {
        0 => format!("{body}{key:02}"),
        _ => format!(
            "{} {} {} {} {} {} {key:02}",
            &body[..1],
            &body[1..3],
            &body[3..5],
            &body[5..7],
            &body[7..10],
            &body[10..]
        ),
    };
    either(
        dice,
        &["NIR", "n° de sécurité sociale", "numéro de sécu", "carte vitale"],
        "personal.fr_nir",
        &number,
        60,
    )
}

pub(crate) fn es_dni(dice: &mut Dice) -> Sample {
    const LETTERS: [char; 23] = [
        'T', 'R', 'W', 'A', 'G', 'M', 'Y', 'F', 'P', 'D', 'X', 'B', 'N', 'J', 'Z', 'S', 'Q', 'V', 'H', 'L',
        'C', 'K', 'E',
    ];
    if dice.below(3) == 0 {
        let (first, body) = (dice.below(3), dice.digits(7));
        let letter = LETTERS[(first * 10_000_000 + body.parse::<usize>().unwrap()) % 23];
        let number = format!("{}{body}{letter}", ["X", "Y", "Z"][first]);
        return either(dice, &["NIE"], "personal.es_dni", &number, 50);
    }
    let body = dice.digits(8);
    let letter = LETTERS[body.parse::<usize>().unwrap() % 23];
    with_words(dice, &["DNI", "NIF", "documento de identidad"], "personal.es_dni", &format!("{body}{letter}"))
}

pub(crate) fn it_codice_fiscale(dice: &mut Dice) -> Sample {
    let consonants = "BCDFGLMNPRSTVZ";
    let body = format!(
        "{}{}{:02}{}{:02}{}{}",
        dice.text(consonants, 3),
        dice.text(consonants, 3),
        dice.below(100),
        dice.text("ABCDEHLMPRST", 1),
        dice.between(1, 31) + if dice.below(2) == 0 { 40 } else { 0 },
        dice.text("ABCDEFGHILMZ", 1),
        dice.digits(3)
    );
    let odd = |character: char| match character {
        '0' | 'A' => 1,
        '1' | 'B' => 0,
        '2' | 'C' => 5,
        '3' | 'D' => 7,
        '4' | 'E' => 9,
        '5' | 'F' => 13,
        '6' | 'G' => 15,
        '7' | 'H' => 17,
        '8' | 'I' => 19,
        '9' | 'J' => 21,
        'K' => 2,
        'L' => 4,
        'M' => 18,
        'N' => 20,
        'O' => 11,
        'P' => 3,
        'Q' => 6,
        'R' => 8,
        'S' => 12,
        'T' => 14,
        'U' => 16,
        'V' => 10,
        'W' => 22,
        'X' => 25,
        'Y' => 24,
        _ => 23,
    };
    let even =
        |character: char| character.to_digit(10).unwrap_or_else(|| u32::from(character) - u32::from('A'));
    let sum: u32 =
        body.chars().enumerate().map(|(place, one)| if place % 2 == 0 { odd(one) } else { even(one) }).sum();
    let number = format!("{body}{}", UPPER.chars().nth((sum % 26) as usize).unwrap());
    either(dice, &["codice fiscale", "C.F."], "personal.it_codice_fiscale", &number, 50)
}

pub(crate) fn in_aadhaar(dice: &mut Dice) -> Sample {
    // The tables as they are published.
    const D: [[usize; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const P: [[usize; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    const INVERSE: [usize; 10] = [0, 4, 3, 2, 1, 5, 6, 7, 8, 9];
    let body = format!("{}{}", dice.between(2, 9), dice.digits(10));
    let mut check = 0;
    for (place, character) in body.chars().rev().enumerate() {
        let digit = character.to_digit(10).unwrap() as usize;
        check = D[check][P[(place + 1) % 8][digit]];
    }
    let number = format!("{body}{}", INVERSE[check]);
    if dice.below(3) == 0 {
        return with_words(dice, &["Aadhaar", "aadhaar number", "UID"], "personal.in_aadhaar", &number);
    }
    let number = format!("{} {} {}", &number[..4], &number[4..8], &number[8..]);
    either(dice, &["Aadhaar", "Aadhaar no"], "personal.in_aadhaar", &number, 60)
}

pub(crate) fn in_pan(dice: &mut Dice) -> Sample {
    let number = format!(
        "{}{}{}{}{}",
        dice.text(UPPER, 3),
        dice.text("PCHF", 1),
        dice.text(UPPER, 1),
        dice.digits(4),
        dice.text(UPPER, 1)
    );
    either(dice, &["PAN", "PAN card", "permanent account number"], "personal.in_pan", &number, 70)
}

/// A weighted check digit: weights are given in full, as the authority prints them.
fn brazilian(digits: &str, weights: &[u32]) -> u32 {
    let sum: u32 =
        digits.chars().zip(weights).map(|(digit, weight)| digit.to_digit(10).unwrap() * weight).sum();
    if sum % 11 < 2 { 0 } else { 11 - sum % 11 }
}

pub(crate) fn br_cpf(dice: &mut Dice) -> Sample {
    let mut number = dice.digits(9);
    number += &brazilian(&number, &[10, 9, 8, 7, 6, 5, 4, 3, 2]).to_string();
    number += &brazilian(&number, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]).to_string();
    if dice.below(3) == 0 {
        return with_words(dice, &["CPF", "cpf"], "personal.br_cpf", &number);
    }
    let number = format!("{}.{}.{}-{}", &number[..3], &number[3..6], &number[6..9], &number[9..]);
    either(dice, &["CPF", "CPF do titular"], "personal.br_cpf", &number, 50)
}

pub(crate) fn br_cnpj(dice: &mut Dice) -> Sample {
    let mut number = format!("{}0001", dice.digits(8));
    number += &brazilian(&number, &[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]).to_string();
    number += &brazilian(&number, &[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]).to_string();
    if dice.below(3) == 0 {
        return with_words(dice, &["CNPJ"], "personal.br_cnpj", &number);
    }
    let number =
        format!("{}.{}.{}/{}-{}", &number[..2], &number[2..5], &number[5..8], &number[8..12], &number[12..]);
    either(dice, &["CNPJ"], "personal.br_cnpj", &number, 50)
}

pub(crate) fn ip(dice: &mut Dice) -> Sample {
    let address = match dice.below(4) {
        0 => format!(
            "2001:db8:{}:{}::{}",
            dice.text(HEX_NO_ZERO, 3),
            dice.text(HEX_NO_ZERO, 4),
            dice.between(1, 99)
        ),
        1 => format!("10.{}.{}.{}", dice.below(256), dice.below(256), dice.between(1, 254)),
        _ => format!(
            "{}.{}.{}.{}",
            dice.between(31, 223),
            dice.below(256),
            dice.below(256),
            dice.between(1, 254)
        ),
    };
    let address = address.replace("127.", "128.");
    either(dice, &["ip", "client", "from", "remote address"], "personal.ip", &address, 60)
}

const HEX_NO_ZERO: &str = "123456789abcdef";

pub(crate) fn mac(dice: &mut Dice) -> Sample {
    let pairs: Vec<String> = (0..6).map(|_| dice.text(super::HEX, 2)).collect();
    either(dice, &["mac", "hwaddr", "ether"], "personal.mac", &pairs.join(":"), 60)
}
