//! The phrases that are looked for. Words are compared whatever their case; one that ends with a star may go on.

use crate::rule::Rule;

/// Some words of which one has to follow, within so many words.
pub(crate) struct Then {
    pub(crate) words: &'static [&'static str],
    pub(crate) within: usize,
}

/// A phrase.
pub(crate) struct Phrase {
    pub(crate) rule: Rule,
    /// Its first word is one of these, which have three letters at least.
    pub(crate) first: &'static [&'static str],
    /// What has to follow, in this order.
    pub(crate) then: &'static [Then],
    /// How sure it is where it stands by itself.
    pub(crate) weight: u8,
    /// Words shortly before or after it that make it surer, and by how much.
    pub(crate) stronger: (&'static [&'static str], u8),
    /// Whether an address has to follow it shortly.
    pub(crate) needs_address: bool,
}

const fn of(rule: Rule, weight: u8, first: &'static [&'static str], then: &'static [Then]) -> Phrase {
    Phrase { rule, first, then, weight, stronger: (&[], 0), needs_address: false }
}

const fn then(within: usize, words: &'static [&'static str]) -> Then {
    Then { words, within }
}

const TAKE_BACK: &[&str] = &[
    "ignore",
    "ignoring",
    "disregard",
    "disregarding",
    "forget",
    "override",
    "discard",
    "neglect",
    "bypass",
];
const EARLIER: &[&str] = &[
    "previous",
    "previously",
    "prior",
    "above",
    "earlier",
    "preceding",
    "foregoing",
    "your",
    "original",
    "initial",
    "former",
    "past",
];
const TOLD: &[&str] = &[
    "instruction*",
    "prompt*",
    "directive*",
    "guideline*",
    "programming",
    "directions",
    "commands",
    "rules",
    "training",
    "constraints",
    "orders",
];
const USERS: &[&str] = &["user", "users", "human", "operator"];

/// All of them.
pub(crate) const PHRASES: &[Phrase] = &[
    // Take back what was said.
    of(Rule::Override, 88, TAKE_BACK, &[then(4, EARLIER), then(3, TOLD)]),
    of(
        Rule::Override,
        75,
        &["ignore", "disregard", "forget"],
        &[
            then(2, &["all", "any", "every", "these", "those"]),
            then(3, &["instruction*", "prompt*", "directives"]),
        ],
    ),
    of(
        Rule::Override,
        78,
        TAKE_BACK,
        &[
            then(2, &["everything", "anything", "all", "what", "whatever"]),
            then(4, &["told", "instructed", "said", "taught", "learned"]),
        ],
    ),
    of(
        Rule::Override,
        78,
        &["don't", "don’t", "not", "never", "stop"],
        &[
            then(2, &["follow", "following", "obey", "obeying", "adhere", "comply"]),
            then(3, EARLIER),
            then(3, TOLD),
        ],
    ),
    of(
        Rule::Override,
        72,
        &["your"],
        &[
            then(2, &["new", "real", "actual", "true", "only"]),
            then(2, &["instructions", "objective", "directive", "purpose", "mission", "goal"]),
            then(2, &["is", "are"]),
        ],
    ),
    of(
        Rule::Override,
        78,
        &["you", "you're"],
        &[
            then(2, &["now"]),
            then(4, &["dan", "jailbroken", "unrestricted", "unfiltered", "uncensored", "root", "developer"]),
        ],
    ),
    of(
        Rule::Override,
        76,
        &["you", "you're"],
        &[
            then(2, &["no"]),
            then(1, &["longer"]),
            then(2, &["bound", "restricted", "limited", "constrained", "subject"]),
        ],
    ),
    of(
        Rule::Override,
        75,
        &["reveal", "print", "output", "repeat", "show", "display", "leak", "disclose", "reproduce"],
        &[
            then(3, &["your"]),
            then(2, &["system", "initial", "hidden", "original", "full", "entire"]),
            then(2, &["prompt", "instructions", "system"]),
        ],
    ),
    of(
        Rule::Override,
        72,
        &["pretend", "act", "behave", "respond", "answer", "operate"],
        &[
            then(6, &["no", "without", "free"]),
            then(
                3,
                &[
                    "restrictions",
                    "filters",
                    "limitations",
                    "guidelines",
                    "censorship",
                    "safeguards",
                    "guardrails",
                ],
            ),
        ],
    ),
    of(
        Rule::Override,
        70,
        &["from"],
        &[
            then(1, &["now"]),
            then(1, &["on"]),
            then(3, &["you", "always"]),
            then(3, &["respond", "answer", "obey", "act", "ignore", "reply", "speak", "execute", "only"]),
        ],
    ),
    of(
        Rule::Override,
        86,
        &["ignoriere", "ignorieren", "ignorier", "vergiss", "vergessen", "missachte", "verwirf"],
        &[
            then(4, &["alle", "vorherigen", "bisherigen", "obigen", "deine", "ihre", "vorigen", "früheren"]),
            then(4, &["anweisung*", "instruktion*", "regeln", "vorgaben", "befehle"]),
        ],
    ),
    of(
        Rule::Override,
        86,
        &["ignore", "ignorez", "oublie", "oubliez", "ignorer"],
        &[
            then(4, &["instructions", "consignes", "directives"]),
            then(2, &["précédent*", "antérieur*", "initiales", "ci"]),
        ],
    ),
    of(
        Rule::Override,
        86,
        &["ignora", "ignore", "olvida", "olvide", "descarta"],
        &[
            then(4, &["instrucciones", "órdenes", "indicaciones", "instruções"]),
            then(2, &["anterior*", "previas", "prévias", "precedentes"]),
        ],
    ),
    of(
        Rule::Override,
        86,
        &["ignora", "dimentica", "ignorate", "scarta"],
        &[then(4, &["istruzioni", "indicazioni"]), then(2, &["precedenti", "iniziali", "sopra"])],
    ),
    of(
        Rule::Override,
        86,
        &["ignore", "esqueça", "desconsidere"],
        &[then(4, &["instruções", "ordens", "orientações"]), then(2, &["anteriores", "acima", "iniciais"])],
    ),
    // Keep it from the user.
    of(
        Rule::Conceal,
        78,
        &["don't", "don’t", "never"],
        &[then(2, &["tell", "inform", "notify", "alert", "mention", "warn"]), then(4, USERS)],
    ),
    of(
        Rule::Conceal,
        78,
        &["not"],
        &[then(1, &["tell", "inform", "notify", "alert", "mention", "warn"]), then(4, USERS)],
    ),
    Phrase {
        stronger: (
            &["silent*", "secret*", "this tool", "call", "always", "must first", "before us", "send", "read"],
            25,
        ),
        ..of(
            Rule::Conceal,
            45,
            &["without"],
            &[
                then(
                    1,
                    &["telling", "informing", "notifying", "alerting", "mentioning", "warning", "asking"],
                ),
                then(4, USERS),
            ],
        )
    },
    of(
        Rule::Conceal,
        68,
        &["hide", "conceal", "keep"],
        &[then(1, &["this", "it", "these"]), then(3, &["secret", "from", "hidden"]), then(2, USERS)],
    ),
    // Fetch what nobody asked for, and send it.
    Phrase {
        stronger: (
            &["before us", "this tool", "important", "assistant", "must first", "otherwise", "system"],
            28,
        ),
        ..of(
            Rule::Exfiltrate,
            60,
            &["read", "open", "cat", "access", "retrieve", "fetch", "load", "get", "copy", "collect"],
            &[
                then(6, &["id_rsa", "id_ed25519", "ssh", "mcp", "passwd", "keychain", "shadow"]),
                then(
                    14,
                    &[
                        "pass", "send", "include", "provide", "attach", "post", "upload", "forward",
                        "append", "put", "encode",
                    ],
                ),
                then(
                    6,
                    &[
                        "sidenote",
                        "parameter",
                        "argument",
                        "content*",
                        "it",
                        "its",
                        "them",
                        "result",
                        "file",
                        "them",
                    ],
                ),
            ],
        )
    },
    Phrase {
        stronger: (
            &["before us", "this tool", "important", "assistant", "must first", "otherwise", "system"],
            32,
        ),
        ..of(
            Rule::Exfiltrate,
            40,
            &["read", "open", "access", "retrieve", "fetch", "load", "get", "copy", "collect", "find"],
            &[
                then(6, &["env", "credentials", "aws", "cookies", "secrets", "tokens", "passwords", "keys"]),
                then(
                    14,
                    &[
                        "pass", "send", "include", "provide", "attach", "post", "upload", "forward",
                        "append", "put", "encode",
                    ],
                ),
            ],
        )
    },
    Phrase {
        needs_address: true,
        stronger: (&["entire", "full", "every", "all", "secret*", "silent*", "user's", "complete"], 15),
        ..of(
            Rule::Exfiltrate,
            55,
            &[
                "send",
                "forward",
                "post",
                "upload",
                "email",
                "transmit",
                "exfiltrate",
                "leak",
                "submit",
                "report",
            ],
            &[then(
                7,
                &[
                    "conversation",
                    "history",
                    "transcript",
                    "secrets",
                    "passwords",
                    "credentials",
                    "prompt",
                    "context",
                ],
            )],
        )
    },
    // Whom it speaks to: of weight only where nobody sees it.
    of(
        Rule::Override,
        30,
        &["assistant", "assistants", "llm", "llms", "claude", "gpt", "chatgpt", "copilot", "agent", "agents"],
        &[then(
            3,
            &[
                "must", "should", "shall", "always", "never", "need", "are", "please", "call", "use", "run",
                "read", "send",
            ],
        )],
    ),
];
