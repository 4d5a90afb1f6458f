//! Secrets that open nothing.

use super::{ALNUM, Dice, HEX, LOWER, Sample, UPPER_DIGITS, WORD};

const AROUND: &[&str] = &[
    "{}",
    "token: {}",
    "export TOKEN={}",
    "\"{}\"",
    "curl -H 'X-Key: {}' https://api.example.com",
    "const client = new Client('{}');",
    "see {} in the vault",
    "key = \"{}\"\n",
    "- {}\n",
    "Der Schlüssel lautet {}.",
    "{} (old)",
    "| prod | {} |",
    "url?key={}&v=1",
    "log: using {}",
];

fn put(dice: &mut Dice, rule: &'static str, value: &str) -> Sample {
    let template = dice.pick(AROUND);
    Sample::put(rule, template, value)
}

pub(crate) fn cloud_key(dice: &mut Dice) -> Sample {
    let key = match dice.below(6) {
        0 => format!("AKIA{}", dice.text(UPPER_DIGITS, 16)),
        1 => format!("ASIA{}", dice.text(UPPER_DIGITS, 16)),
        2 => format!("AIza{}", dice.text(WORD, 34) + "x"),
        3 => format!("ya29.{}", dice.text(WORD, 80) + "Q"),
        4 => format!("GOCSPX-{}", dice.text(WORD, 27) + "k"),
        _ => format!("dop_v1_{}", dice.text(HEX, 64)),
    };
    put(dice, "secret.cloud_key", &key)
}

pub(crate) fn git_token(dice: &mut Dice) -> Sample {
    let token = match dice.below(4) {
        0 => format!("ghp_{}", dice.text(ALNUM, 36)),
        1 => format!("gh{}_{}", dice.pick(&["o", "u", "s"]), dice.text(ALNUM, 36)),
        2 => format!("github_pat_{}_{}", dice.text(ALNUM, 22), dice.text(ALNUM, 59)),
        _ => format!("glpat-{}", dice.text(WORD, 19) + "a"),
    };
    put(dice, "secret.git_token", &token)
}

pub(crate) fn chat_token(dice: &mut Dice) -> Sample {
    let token = match dice.below(3) {
        0 => format!("xoxb-{}-{}-{}", dice.digits(12), dice.digits(13), dice.text(ALNUM, 24)),
        1 => {
            format!("xoxp-{}-{}-{}-{}", dice.digits(12), dice.digits(12), dice.digits(13), dice.text(HEX, 32))
        }
        _ => format!("xapp-1-A{}-{}-{}", dice.text(UPPER_DIGITS, 10), dice.digits(13), dice.text(HEX, 64)),
    };
    put(dice, "secret.chat_token", &token)
}

pub(crate) fn payment_key(dice: &mut Dice) -> Sample {
    let key = match dice.below(3) {
        0 => format!("sk_live_{}", dice.text(ALNUM, 24)),
        1 => format!("rk_test_{}", dice.text(ALNUM, 99)),
        _ => format!("whsec_{}", dice.text(ALNUM, 32)),
    };
    put(dice, "secret.payment_key", &key)
}

pub(crate) fn service_token(dice: &mut Dice) -> Sample {
    let token = match dice.below(8) {
        0 => format!("sk-ant-api03-{}", dice.text(WORD, 93) + "AA"),
        1 => format!("sk-proj-{}", dice.text(WORD, 120) + "T"),
        2 => format!("hf_{}", dice.text(ALNUM, 34)),
        3 => format!("npm_{}", dice.text(ALNUM, 36)),
        4 => format!("dckr_pat_{}", dice.text(WORD, 26) + "z"),
        5 => format!("hvs.{}", dice.text(WORD, 90) + "g"),
        6 => format!("SG.{}.{}", dice.text(WORD, 22), dice.text(WORD, 42) + "e"),
        _ => format!("shpat_{}", dice.text(HEX, 32)),
    };
    put(dice, "secret.service_token", &token)
}

/// Base64 for addresses, without padding, bit by bit.
pub(crate) fn base64(bytes: &[u8], alphabet: &str) -> String {
    let alphabet: Vec<char> = alphabet.chars().collect();
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)).collect();
    bits.chunks(6)
        .map(|six| {
            let value = six.iter().fold(0, |value, bit| value << 1 | usize::from(*bit)) << (6 - six.len());
            alphabet[value]
        })
        .collect()
}

pub(crate) const URL_SAFE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
pub(crate) const STANDARD: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn jwt(dice: &mut Dice) -> Sample {
    let alg = dice.pick(&["HS256", "RS256", "ES256", "EdDSA"]);
    let head = if dice.below(2) == 0 {
        format!("{{\"alg\":\"{alg}\",\"typ\":\"JWT\"}}")
    } else {
        format!("{{\"typ\":\"JWT\",\"alg\":\"{alg}\",\"kid\":\"k{}\"}}", dice.below(99))
    };
    let body = format!("{{\"sub\":\"{}\",\"exp\":{}}}", dice.text(LOWER, 8), dice.digits(10));
    let token = format!(
        "{}.{}.{}",
        base64(head.as_bytes(), URL_SAFE),
        base64(body.as_bytes(), URL_SAFE),
        dice.text(WORD, 42) + "w"
    );
    let template = dice.pick(&[
        "{}",
        "Authorization: Bearer {}",
        "\"{}\"",
        "cookie session={}; path=/",
        "token {} expired",
        "access_token={}",
    ]);
    Sample::put("secret.jwt", template, &token)
}

pub(crate) fn private_key(dice: &mut Dice) -> Sample {
    let kind = dice.pick(&[
        "RSA PRIVATE KEY",
        "PRIVATE KEY",
        "EC PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
    ]);
    let count = dice.between(3, 26);
    let lines: Vec<String> = (0..count).map(|_| dice.text(STANDARD, 64)).collect();
    let by = if dice.below(4) == 0 { "\\n" } else { "\n" };
    let key = format!("-----BEGIN {kind}-----{by}{}{by}-----END {kind}-----", lines.join(by));
    let template =
        dice.pick(&["{}", "key.pem:\n{}\n", "{\"private_key\":\"{}\"}", "# server key\n{}\n# end\n"]);
    Sample::put("secret.private_key", template, &key)
}

pub(crate) fn connection_string(dice: &mut Dice) -> Sample {
    let password = match dice.below(3) {
        0 => dice.text(ALNUM, 14),
        1 => format!("{}!{}", dice.text(LOWER, 6), dice.digits(3)),
        _ => dice.text(WORD, 20),
    };
    let (scheme, host) = (
        dice.pick(&["postgres", "postgresql", "mysql", "mongodb+srv", "redis", "amqp", "https"]),
        dice.pick(&["db.internal", "10.1.2.3:5432", "localhost", "cluster0.example.net"]),
    );
    let user = dice.pick(&["app", "root", "svc_billing", ""]);
    let user = if user.is_empty() && scheme != "redis" { "admin" } else { user };
    let template = format!("{scheme}://{user}:{{}}@{host}/app");
    let outer = dice.pick(&["X", "DATABASE_URL=X", "\"X\"", "connect to X failed", "url: X\n"]);
    Sample::put("secret.connection_string", &outer.replace('X', &template), &password)
}

pub(crate) fn authorization(dice: &mut Dice) -> Sample {
    if dice.below(3) == 0 {
        let pair = format!("{}:{}", dice.text(LOWER, 7), dice.text(ALNUM, 12));
        let mut value = base64(pair.as_bytes(), STANDARD);
        while !value.len().is_multiple_of(4) {
            value.push('=');
        }
        let template = dice.pick(&[
            "Authorization: Basic {}",
            "\"authorization\": \"Basic {}\"",
            "-H 'Authorization: Basic {}'",
        ]);
        return Sample::put("secret.authorization", template, &value);
    }
    let length = dice.between(24, 60);
    let value = dice.text(ALNUM, length);
    let template = dice.pick(&[
        "Authorization: Bearer {}",
        "\"authorization\": \"Bearer {}\"",
        "-H 'Authorization: Bearer {}'",
        "authorization=bearer {}",
    ]);
    Sample::put("secret.authorization", template, &value)
}

pub(crate) fn assigned(dice: &mut Dice) -> Sample {
    if dice.below(3) == 0 {
        let password = format!(
            "{}{}{}{}",
            dice.text(LOWER, 5),
            dice.text("ABCDEFGH", 2),
            dice.digits(3),
            dice.text("!#%+?", 1)
        );
        let template = dice.pick(&[
            "password: {}",
            "DB_PASSWORD={}",
            "\"password\": \"{}\"",
            "passwd = '{}'",
            "pwd={};",
            "user=app password={} host=db",
        ]);
        return Sample::put("secret.assigned", template, &password);
    }
    let value = match dice.below(3) {
        0 => dice.text(HEX, 40),
        1 => dice.text(ALNUM, 32),
        _ => dice.text(STANDARD, 40).replace(['+', '/'], "x"),
    };
    let template = dice.pick(&[
        "api_key = \"{}\"",
        "API_KEY={}",
        "\"apiKey\": \"{}\"",
        "client_secret: {}",
        "aws_secret_access_key = {}",
        "AUTH_TOKEN='{}'",
        "secret: \"{}\"",
        "accessToken: \"{}\",",
        "--api-key={}",
        "export APP_SECRET={}",
        "encryption_key={}",
    ]);
    Sample::put("secret.assigned", template, &value)
}
