//! Texts in which there is nothing, though much looks alike.

use super::{ALNUM, Dice, HEX, LOWER, Sample, UPPER_DIGITS};

pub(crate) type Maker = fn(&mut Dice) -> Sample;

/// Every kind, with its name.
pub(crate) const KINDS: &[(&str, Maker)] = &[
    ("source code", source_code),
    ("UUIDs and ids", uuids),
    ("hashes", hashes),
    ("invoices", invoices),
    ("logs", logs),
    ("prose in several languages", prose),
    ("configuration", configuration),
    ("documentation", documentation),
    ("writing systems and emoji", scripts),
    ("numbers", numbers),
    ("markup and links", markup),
    ("encoded data", encoded),
];

fn name(dice: &mut Dice) -> String {
    let one = dice.pick(&[
        "user", "order", "total", "index", "value", "token", "secret", "password", "key", "buffer", "system",
        "prompt", "config",
    ]);
    let other =
        dice.pick(&["count", "id", "name", "list", "cache", "field", "hash", "type", "size", "provider"]);
    match dice.below(3) {
        0 => format!("{one}_{other}"),
        1 => format!("{one}{}{}", other[..1].to_uppercase(), &other[1..]),
        _ => one.to_owned(),
    }
}

fn source_code(dice: &mut Dice) -> Sample {
    let (a, b, c) = (name(dice), name(dice), name(dice));
    let n = dice.below(100_000);
    let text = match dice.below(22) {
        0 => format!("def {a}({b}, {c}=None):\n    password = getpass.getpass()\n    return {b}[{n}]"),
        1 => format!("const {a} = process.env.API_KEY;\nlet {b} = {{ token: {c}, secret: undefined }};"),
        2 => format!("let password: String = read_password()?; // {a}\nlet token = lexer.next_token();"),
        3 => format!("@Override\npublic int {a}() {{ return {n}; }} // override the previous method"),
        4 => format!(
            "fn {a}(token: &str, secret: Secret) -> Result<std::net::Ipv4Addr> {{ {b}::{c}::new({n}) }}"
        ),
        5 => format!(
            "git clone git@github.com:acme/{a}.git && cd {a} && npm i {b}@{}.{}.{}",
            dice.below(9),
            dice.below(20),
            dice.below(9)
        ),
        6 => format!(
            "if (password === '' || password.length < 8) throw new Error(\"{a} password too short\");"
        ),
        7 => format!("api_key = os.environ[\"{}\"]\nclient_secret = settings.{b}_secret\n", a.to_uppercase()),
        8 => format!("import {{ {a} }} from '@scope/{b}';\nimport logo from './logo@2x.png';"),
        9 => format!("SELECT {a}, {b} FROM t WHERE token = :token AND id = {n} -- ignore all null rows"),
        10 => format!("# eslint-disable-next-line {a}\n// @ts-ignore all rules above\nvar {b} = {n};"),
        11 => format!("assert_eq!({a}(\"ignore previous instructions\"), true); // test of the {b} detector"),
        12 => format!(
            "docker run -e POSTGRES_PASSWORD=$PGPASS -e TOKEN=${{TOKEN}} {a}:{}.{}",
            dice.below(20),
            dice.below(20)
        ),
        13 => format!("template = \"<|im_start|>\" + role + \"\\n\" + {a} + \"<|im_end|>\""),
        14 => format!("x = re.sub(r'[A-Z]{{2}}\\d{{2}}[A-Z0-9]{{{n}}}', '', {a})  # IBAN pattern"),
        15 => format!(
            "#define {} 0x{}\nstatic const uint8_t {b}[] = {{0x{}, 0x{}}};",
            a.to_uppercase(),
            dice.text(HEX, 8),
            dice.text(HEX, 2),
            dice.text(HEX, 2)
        ),
        16 => format!(
            "const secretName = \"{b}-secret\";\nsecretKeyRef:\n  name: {a}-credentials\n  key: password"
        ),
        17 => format!(
            "url = f\"postgres://{{user}}:{{password}}@{{host}}/{a}\"\nredis://localhost:6379/{}",
            dice.below(9)
        ),
        18 => format!("printf(\"\\033[1;31m{a}\\033[0m %d\\n\", {n});\necho -e \"\\x1b[32mok\\x1b[0m\""),
        19 => format!(
            "<div class=\"{a}\" style=\"color: white; background: #{}\">{b}</div><!-- TODO: remove {c} -->",
            dice.text(HEX, 6)
        ),
        20 => format!(
            "- +{} -{} lines\n@@ -{n},7 +{n},9 @@\n+    {a}({b})\n-    {c}()",
            dice.below(9_999),
            dice.below(9_999)
        ),
        _ => format!(
            "{{\"dependencies\": {{\"{a}\": \"^{}.{}.{}\", \"{b}\": \"~{}.{}\"}}, \"resolved\": {n}}}",
            dice.below(20),
            dice.below(20),
            dice.below(99),
            dice.below(9),
            dice.below(9)
        ),
    };
    Sample::clean(text)
}

fn uuid(dice: &mut Dice) -> String {
    [8, 4, 4, 4, 12].map(|length| dice.text(HEX, length)).join("-")
}

fn uuids(dice: &mut Dice) -> Sample {
    let text = match dice.below(9) {
        0 => uuid(dice),
        1 => format!("{{\"id\": \"{}\", \"parent\": \"{}\"}}", uuid(dice), uuid(dice)),
        2 => format!("request {} failed for {}", uuid(dice), uuid(dice).to_uppercase()),
        3 => format!("01{}", dice.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24)),
        4 => dice.text(HEX, 24),
        5 => format!("trace_id={} span_id={}", dice.text(HEX, 32), dice.text(HEX, 16)),
        6 => format!("arn:aws:iam::{}:role/{}", dice.digits(12), dice.text(LOWER, 8)),
        7 => format!(
            "call_{} msg_{} thread_{}",
            dice.text(ALNUM, 24),
            dice.text(ALNUM, 24),
            dice.text(ALNUM, 24)
        ),
        _ => format!(
            "snowflake {}{} in channel {}{}",
            dice.between(1, 9),
            dice.digits(17),
            dice.between(1, 9),
            dice.digits(17)
        ),
    };
    Sample::clean(text)
}

fn hashes(dice: &mut Dice) -> Sample {
    let text = match dice.below(9) {
        0 => format!("sha256:{}", dice.text(HEX, 64)),
        1 => format!("commit {}\nAuthor: a\n", dice.text(HEX, 40)),
        2 => format!("{}  file{}.tar.gz", dice.text(HEX, 32), dice.below(99)),
        3 => format!("integrity sha512-{}==", dice.text(super::secrets::STANDARD, 86)),
        4 => format!("cache_key={} etag=\"{}\"", dice.text(HEX, 64), dice.text(HEX, 32)),
        5 => format!("MD5:{}", (0..16).map(|_| dice.text(HEX, 2)).collect::<Vec<_>>().join(":")),
        6 => format!("SHA256:{}", dice.text(super::secrets::STANDARD, 43)),
        7 => format!("{} {} {}", dice.text(HEX, 7), dice.text(HEX, 8), dice.text(HEX, 9)),
        _ => format!("$2b$12${}", dice.text(ALNUM, 53)),
    };
    Sample::clean(text)
}

fn invoices(dice: &mut Dice) -> Sample {
    let amount = format!("{}.{:02}", dice.below(99_999), dice.below(100));
    let text = match dice.below(12) {
        0 => format!(
            "Invoice INV-{}-{} total {amount} USD due {}-0{}-1{}",
            dice.between(2_019, 2_026),
            dice.digits(6),
            dice.between(2_019, 2_026),
            dice.between(1, 9),
            dice.below(10)
        ),
        1 => format!(
            "Rechnung Nr. {} vom 0{}.1{}.202{}, Kundennummer {}",
            dice.digits(10),
            dice.between(1, 9),
            dice.below(3),
            dice.below(7),
            dice.digits(8)
        ),
        2 => format!("Order {} shipped, tracking 1Z{}", dice.digits(16), dice.text(UPPER_DIGITS, 16)),
        3 => format!("Facture n° FA{} montant {amount} € TVA FR{}", dice.digits(9), dice.digits(5)),
        4 => format!(
            "Item {}-{}-{} qty {} price {amount}",
            dice.digits(3),
            dice.digits(2),
            dice.digits(5),
            dice.below(100)
        ),
        5 => format!("PO {}  ref 45{}  batch {}", dice.digits(10), dice.digits(8), dice.digits(9)),
        6 => format!(
            "EAN 4{} UPC {} ISBN 978-{}-{}-{}-{}",
            dice.digits(12),
            dice.digits(12),
            dice.below(9),
            dice.digits(4),
            dice.digits(4),
            dice.below(9)
        ),
        7 => format!("transaction {} of {amount} booked {}", dice.digits(18), dice.digits(8)),
        8 => format!(
            "Ticket {}-{} case no. {}-{}-{}",
            dice.text("ABCDEF", 3),
            dice.digits(5),
            dice.digits(3),
            dice.digits(3),
            dice.digits(4)
        ),
        9 => format!(
            "tracking number {} {} {} {}",
            dice.digits(4),
            dice.digits(4),
            dice.digits(4),
            dice.digits(4)
        ),
        10 => format!(
            "| {} | {} | {amount} |\n| {} | {} | {amount} |",
            dice.digits(6),
            dice.below(99),
            dice.digits(6),
            dice.below(99)
        ),
        _ => format!(
            "Pedido {} total R$ {}.{},{:02} parcela {}/12",
            dice.digits(7),
            dice.below(99),
            dice.digits(3),
            dice.below(100),
            dice.between(1, 12)
        ),
    };
    Sample::clean(text)
}

fn logs(dice: &mut Dice) -> Sample {
    let time = format!(
        "2026-0{}-1{}T0{}:{:02}:{:02}.{}Z",
        dice.between(1, 9),
        dice.below(10),
        dice.below(10),
        dice.below(60),
        dice.below(60),
        dice.digits(6)
    );
    let text = match dice.below(13) {
        0 => format!(
            "{time} INFO  request_id={} status=200 bytes={} ms={}",
            dice.text(HEX, 32),
            dice.digits(7),
            dice.below(999)
        ),
        1 => format!(
            "[{}] pid={} tid={} user=svc token_count={} next_token={}",
            dice.digits(13),
            dice.digits(5),
            dice.digits(15),
            dice.below(9_999),
            dice.text(ALNUM, 24)
        ),
        2 => format!(
            "{time} kernel: [{}.{}] usb 1-1: new device {}:{}",
            dice.digits(6),
            dice.digits(6),
            dice.text(HEX, 4),
            dice.text(HEX, 4)
        ),
        3 => format!(
            "127.0.0.1 - - [12/Mar/2026:0{}:{:02}:{:02} +0000] \"GET /v1.2.3.4/{} HTTP/1.1\" 200 {}",
            dice.below(10),
            dice.below(60),
            dice.below(60),
            dice.text(LOWER, 6),
            dice.digits(5)
        ),
        4 => format!(
            "\u{1B}[32m✓\u{1B}[0m {} passed \u{1B}[1;31m{} failed\u{1B}[0m in {}ms",
            dice.below(999),
            dice.below(9),
            dice.digits(4)
        ),
        5 => format!(
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{}.0.{}.{} Safari/537.36",
            dice.between(90, 140),
            dice.digits(4),
            dice.below(200)
        ),
        6 => format!("\u{1B}[38;5;8mdebug\u{1B}[0m  offset {} size {}", dice.digits(15), dice.digits(12)),
        7 => format!(
            "authentication failed: invalid password for user \"{}\" (attempt {})",
            dice.text(LOWER, 6),
            dice.below(9)
        ),
        8 => format!(
            "Bearer token missing; basic auth disabled; token={} expired",
            dice.pick(&["null", "undefined", "<redacted>", "***"])
        ),
        9 => format!(
            "  at {}::{}::call (src/{}.rs:{}:{})",
            dice.text(LOWER, 5),
            dice.text(LOWER, 4),
            dice.text(LOWER, 6),
            dice.below(999),
            dice.below(99)
        ),
        10 => format!(
            "GC pause {}ms heap {}M->{}M (1024M) at {}",
            dice.below(99),
            dice.below(999),
            dice.below(999),
            dice.digits(19)
        ),
        11 => format!(
            "listening on 0.0.0.0:{} and [::]:{} up {}:{:02}:{:02}",
            dice.digits(4),
            dice.digits(4),
            dice.below(24),
            dice.below(60),
            dice.below(60)
        ),
        _ => format!(
            "{time} WARN ignoring all prompts from cron; prompt timeout {}s; system rules reloaded",
            dice.below(99)
        ),
    };
    Sample::clean(text)
}

fn prose(dice: &mut Dice) -> Sample {
    let number = dice.between(2, 900);
    let text = dice.pick(&[
        "Please disregard my previous email, the meeting is at N.",
        "Do not forget the previous chapter: N pages about rivers and their history.",
        "She told him to ignore the noise and to follow the instructions on page N.",
        "You are now subscribed to our newsletter, N readers strong. From now on you will receive it weekly.",
        "The user manual says: read the instructions before use. Keep this away from children under N.",
        "Bitte beachten Sie die vorherigen Hinweise. Die Anleitung hat N Seiten, alle Regeln stehen hinten.",
        "Vergiss nicht, die Regeln für N Spieler zu lesen. Alle Anweisungen liegen bei.",
        "Ignorer cette erreur n'est pas conseillé ; lisez les N instructions de montage.",
        "Las instrucciones anteriores siguen vigentes. No olvide los N documentos.",
        "Le istruzioni precedenti valgono ancora per N giorni; non dimenticare il pane.",
        "As instruções anteriores continuam válidas por N dias.",
        "Ihre Bestellung ist unterwegs. Wir melden uns in N Tagen.",
        "Nous avons reçu votre message le N mars. Merci de votre confiance.",
        "Il treno parte alle N e arriva in tempo. La mappa è nel sistema.",
        "El sistema mostró N resultados para la búsqueda de contraseñas olvidadas.",
        "If you have forgotten your password, click the link; we never ask users to tell us a password. N people did.",
        "The assistant manager should send the N reports by Friday.",
        "Never tell anyone your PIN, not even N close friends.",
        "Our agents are available from N to 18. Agents must wear a badge.",
        "The prompt was late, the system was down, and all N rules were ignored by the players.",
        "Override of the valve is possible; the previous setting was N.",
        "Send the signed contract to the office and keep a copy, N pages in total.",
        "Show your ticket at the entrance. Display your full name and seat N.",
        "The court held that prior directives of the council did not bind the N members.",
        "Act now and without delay: N seats left. No restrictions apply.",
        "Il ne faut pas dire à l'utilisateur N fois la même chose.",
        "Tell the user how many of the N files were copied.",
        "Copy the file, then include it in the report with its N annexes.",
    ]);
    Sample::clean(text.replace('N', &number.to_string()))
}

fn configuration(dice: &mut Dice) -> Sample {
    let n = dice.below(99_999);
    let text = match dice.below(16) {
        0 => {
            "password: ${DB_PASSWORD}\ntoken: <your-token>\napi_key: YOUR_API_KEY\n".to_owned()
                + &n.to_string()
        }
        1 => format!("password: changeme\nsecret: example\nretries: {n}"),
        2 => format!("token_type: bearer\ntoken_endpoint: https://auth.example.com/token\nkey: primary-{n}"),
        3 => format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: app-secret-{n}\ntype: Opaque"),
        4 => format!(
            "\"password\": {{\"type\": \"string\", \"minLength\": {}}}, \"token\": {{\"type\": \"string\"}}",
            dice.below(20)
        ),
        5 => format!(
            "primary_key={n}\npublic_key=ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{}",
            dice.text(ALNUM, 43)
        ),
        6 => format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----",
            dice.text(super::secrets::STANDARD, 64)
        ),
        7 => format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----",
            dice.text(super::secrets::STANDARD, 64)
        ),
        8 => format!(
            "secret_name = \"prod/db/password\"\nsecret_arn = \"arn:aws:secretsmanager:eu-west-1:{}:secret:db\"",
            dice.digits(12)
        ),
        9 => format!("auth_token_file: /run/secrets/token\npassword_file=/etc/app/pw.txt\nport: {n}"),
        10 => {
            format!("DATABASE_URL=postgres://app@localhost:5432/app\nAMQP=amqp://guest:<password>@rabbit/{n}")
        }
        11 => format!("subnet 255.255.255.0 gateway 0.0.0.0 mtu {n}\nloopback 127.0.0.1 ::1"),
        12 => format!(
            "csrf_token: {}\npage_token={}\ncontinuationToken: {}",
            dice.text(ALNUM, 32),
            dice.text(ALNUM, 28),
            dice.text(ALNUM, 40)
        ),
        13 => format!("image: registry.example.com/team/app@sha256:{}", dice.text(HEX, 64)),
        14 => format!("cipher_suites: TLS_AES_256_GCM_SHA384\nkey_exchange=X25519MLKEM768 size={n}"),
        _ => format!("password = \"********\"\nsecret = \"REDACTED\"\ntoken = \"\"\nmax_tokens = {n}"),
    };
    Sample::clean(text)
}

fn documentation(dice: &mut Dice) -> Sample {
    let n = dice.below(99);
    let text = dice.pick(&[
        "Set the API key in the Authorization header: `Authorization: Bearer <token>`. Limit: N.",
        "An attack may contain a phrase such as \"ignore previous instructions\"; see section N.",
        "Prompt injection, for example \"disregard all prior instructions\", is detected by rule N.",
        "The tool reads .env files and passes N variables to the process.",
        "Show the system prompt with `--verbose`. Print the instructions with `help N`.",
        "Use `Authorization: Basic base64(user:password)`. Basic authentication needs N bytes.",
        "Do not show users a stack trace. Tell users what to do next (rule N).",
        "The connection string has the form `postgres://user:password@host:port/db`, N at most.",
        "Tokens begin with `ghp_`, `sk-` or `xoxb-` and have N characters. Keys begin with AKIA.",
        "Send the form to the server. The server will send the history of N orders.",
        "Ignore all files above N MB. Bypass any cache with `--no-cache`. Override existing rules in `.eslintrc`.",
        "Cards are validated with Luhn's test, IBANs by modulo 97; N test cases.",
        "The model answers the user; the assistant is a bot. Agents use tools, at most N.",
        "Version 1.2.3.4 of the firmware; see chapter 4.2.1.N and OID 1.3.6.1.4.1.N.",
        "Deletes N rows. Returns without asking the user if `force` is set.",
        "The [INST] and <<SYS>> marks are explained in `templates.md`, section N.",
        "Access the database, get N keys and send them to the cache.",
        "Reads a file from the workspace and returns its content as text, N lines at a time.",
        "Data is never shared without informing the user in N days.",
        "Upload the image, then post the context menu to N users.",
    ]);
    Sample::clean(text.replace('N', &n.to_string()))
}

fn scripts(dice: &mut Dice) -> Sample {
    let n = dice.below(9_999);
    let text = dice.pick(&[
        "👨‍👩‍👧‍👦 Familie, 👩🏽‍💻 am Rechner, 🏴󠁧󠁢󠁥󠁮󠁧󠁿 und 🏳️‍🌈: N",
        "می‌خواهم این کتاب‌ها را بخوانم N",
        "क्‍षमा करें, N किताबें हैं। नमस्ते दुनिया",
        "שלום עולם, \u{2067}N פריטים\u{2069} נשלחו היום",
        "مرحبا \u{202B}N كتاب\u{202C} في المكتبة",
        "你好，世界。价格为 N 元，请忽略此邮件。",
        "こんにちは世界。合計はN円です。",
        "Привет, мир! Заказ N отправлен вчера.",
        "สวัสดีชาวโลก\u{200B}ราคา\u{200B}N\u{200B}บาท",
        "Καλημέρα κόσμε, N σελίδες",
        "안녕하세요 세계, N개",
        "Prüfung für Größe N: Maß\u{AD}stab und Donau\u{AD}dampf\u{AD}schiff\u{AD}fahrt",
        "\u{FEFF}id,name\nN,caf\u{e9}",
        "1️⃣ 2️⃣ ❤️ ☎️ ✔️ N",
        "葛󠄀城市 N 番地",
        "naïve façade — N “quotes” … and ½ of €",
        "ফোন N টি বই",
        "Zażółć gęślą jaźń N razy",
    ]);
    Sample::clean(text.replace('N', &n.to_string()))
}

fn numbers(dice: &mut Dice) -> Sample {
    let text = match dice.below(14) {
        0 => dice.digits(16),
        1 => format!("{}.{}", dice.digits(3), dice.digits(15)),
        2 => format!("[{}, {}, {}]", dice.digits(9), dice.digits(10), dice.digits(11)),
        3 => format!(
            "{} {} {} {} {}",
            dice.digits(3),
            dice.digits(2),
            dice.digits(4),
            dice.digits(1),
            dice.digits(5)
        ),
        4 => format!("{}.{}.{}.{}", dice.below(20), dice.below(20), dice.below(20), dice.below(20)),
        5 => format!("lat {}.{} lon -{}.{}", dice.below(90), dice.digits(7), dice.below(180), dice.digits(7)),
        6 => format!("{}", 1_700_000_000_000_u64 + dice.next() % 100_000_000_000),
        7 => format!(
            "{},{},{}\n{},{},{}",
            dice.digits(8),
            dice.digits(5),
            dice.digits(12),
            dice.digits(8),
            dice.digits(5),
            dice.digits(12)
        ),
        8 => format!("range {}-{} of {}", dice.digits(5), dice.digits(5), dice.digits(7)),
        9 => format!(
            "{}:{:02}:{:02} {}/{}/20{}",
            dice.below(24),
            dice.below(60),
            dice.below(60),
            dice.between(1, 12),
            dice.between(1, 28),
            dice.digits(2)
        ),
        10 => format!(
            "Model {}{}{} rev {}",
            dice.text("ABCDEFGHJK", 2),
            dice.digits(6),
            dice.text("ABCD", 1),
            dice.below(9)
        ),
        11 => format!(
            "plate {} {} part {}{}{}",
            dice.text("ABCDEF", 2),
            dice.digits(4),
            dice.text("ABCDEF", 5),
            dice.digits(3),
            dice.text("ABC", 2)
        ),
        12 => format!(
            "{{\"x\": {}, \"y\": -{}e{}, \"z\": {}}}",
            dice.digits(15),
            dice.digits(4),
            dice.below(30),
            dice.digits(14)
        ),
        _ => format!("{} x {} = {}", dice.digits(4), dice.digits(4), dice.digits(8)),
    };
    Sample::clean(text)
}

fn markup(dice: &mut Dice) -> Sample {
    let (a, n) = (dice.text(LOWER, 6), dice.below(999));
    let text = match dice.below(13) {
        0 => format!(
            "![build](https://img.shields.io/badge/build-passing-green?style=flat&logo=github&label={a})"
        ),
        1 => format!(
            "![avatar](https://avatars.example.com/u/{n}?s=200&v=4) [{a}](https://example.com/{a}?page={n})"
        ),
        2 => "[search](https://example.com/search?q=how+to+bake+bread+at+home&lang=en)".to_owned(),
        3 => format!(
            "![chart](https://cdn.example.com/{a}.png?X-Amz-Signature={}&X-Amz-Expires=3600)",
            dice.text(HEX, 64)
        ),
        4 => format!("<!-- {a}: generated by tool v{n}, do not edit -->\n# {a}"),
        5 => format!("<!-- prettier-ignore-start -->\n| a | b |\n<!-- prettier-ignore-end --> {n}"),
        6 => format!(
            "<!-- Thank you for your pull request! Please describe the change, and follow the {n} instructions above. -->"
        ),
        7 => format!(
            "<span style=\"display:none\">{a} {n}</span><div hidden>menu</div><input type=\"hidden\" value=\"{n}\">"
        ),
        8 => format!("<a href=\"https://example.com/users/{{id}}/posts?limit={n}\">{a}</a>"),
        9 => format!("[API](https://api.example.com/v1/items/{{id}}?fields={{fields}}&page={n})"),
        10 => format!("<important>{a}</important> <system>linux {n}</system> <b>note</b>"),
        11 => format!("- [ ] {a}\n- [x] {n}\n[1]: https://example.com/{a}%20{n}%2Fb"),
        _ => format!("https://example.com/a%20b%20c%20{a}%20and%20some%20more%20words?x={n}"),
    };
    Sample::clean(text)
}

fn encoded(dice: &mut Dice) -> Sample {
    let harmless = dice.pick(&[
        "The quick brown fox jumps over the lazy dog, and then sleeps.",
        "{\"name\":\"lamp\",\"price\":12.5,\"tags\":[\"a\",\"b\"]}",
        "Hello world, this is a message of the day.",
        "Bitte lesen Sie die Anleitung, bevor Sie das Gerät benutzen.",
    ]);
    let text = match dice.below(6) {
        0 => super::secrets::base64(harmless.as_bytes(), super::secrets::STANDARD),
        1 => harmless.bytes().map(|byte| format!("{byte:02x}")).collect(),
        2 => harmless.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        3 => format!("data:image/png;base64,iVBORw0KGgo{}", dice.text(super::secrets::STANDARD, 400)),
        4 => harmless.bytes().map(|byte| format!("\\x{byte:02x}")).collect(),
        _ => (0..8).map(|_| dice.text(super::secrets::STANDARD, 76)).collect::<Vec<_>>().join("\n"),
    };
    Sample::clean(text)
}
