//! What is looked for: each rule with its id, its weight, and whether it is on where nobody says otherwise.

use serde::Deserialize;

/// What a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Data about a person.
    Personal,
    /// What gives access.
    Secret,
    /// Text that is meant for the model and not for whoever asked.
    Injection,
    /// What an operator looks for.
    #[default]
    Own,
}

impl Family {
    /// Its name in configuration and on record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Secret => "secret",
            Self::Injection => "injection",
            Self::Own => "own",
        }
    }
}

/// How bad it is if it is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Should not pass unseen.
    #[default]
    Medium,
    /// Does harm.
    High,
}

impl Severity {
    /// Its name in configuration and on record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Declares the rules and what each of them is.
macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident, $id:literal, $family:ident, $severity:ident, $default:literal;)*) => {
        /// A rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
            /// A pattern of the operator's; the how manieth.
            Own(u16),
        }

        impl Rule {
            /// All that are built in, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in configuration, on record and in metrics. An operator's pattern has a name of its own, which its
            /// [`Scanner`](crate::Scanner) knows.
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                    Self::Own(_) => "own",
                }
            }

            /// What it is about.
            pub const fn family(self) -> Family {
                match self {
                    $(Self::$name => Family::$family,)*
                    Self::Own(_) => Family::Own,
                }
            }

            /// How bad it is if it is true.
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                    Self::Own(_) => Severity::Medium,
                }
            }

            /// Whether it is on where nobody says otherwise.
            pub const fn is_default(self) -> bool {
                match self {
                    $(Self::$name => $default,)*
                    Self::Own(_) => true,
                }
            }

            /// Its place among those that are built in.
            const fn bit(self) -> u64 {
                #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "mirrors the rules' names")]
                #[repr(u8)]
                enum Place { $($name,)* }
                match self {
                    $(Self::$name => 1 << (Place::$name as u8),)*
                    Self::Own(_) => 1 << 63,
                }
            }
        }
    };
}

rules! {
    /// An e-mail address (the common part of RFC 5322).
    Email, "personal.email", Personal, Medium, true;
    /// A telephone number: E.164, the North American form, or a national form beside a word that says so.
    Phone, "personal.phone", Personal, Medium, true;
    /// The number of a payment card: issuer's range, its length, and Luhn's test (ISO/IEC 7812-1).
    Card, "personal.card", Personal, High, true;
    /// An international bank account number: country's length and checksum (ISO 13616).
    Iban, "personal.iban", Personal, High, true;
    /// United States: a social security or individual taxpayer number.
    UsSsn, "personal.us_ssn", Personal, High, true;
    /// United Kingdom: a National Insurance number.
    UkNino, "personal.uk_nino", Personal, High, true;
    /// United Kingdom: an NHS number (modulus 11).
    UkNhs, "personal.uk_nhs", Personal, High, true;
    /// Germany: a tax identification number (ISO 7064, modulus 11,10).
    DeTaxId, "personal.de_tax_id", Personal, High, true;
    /// France: a social security number (NIR), with its key.
    FrNir, "personal.fr_nir", Personal, High, true;
    /// Spain: a DNI or NIE, with its letter.
    EsDni, "personal.es_dni", Personal, High, true;
    /// Italy: a codice fiscale, with its letter.
    ItCodiceFiscale, "personal.it_codice_fiscale", Personal, High, true;
    /// India: an Aadhaar number (Verhoeff's check digit).
    InAadhaar, "personal.in_aadhaar", Personal, High, true;
    /// India: a permanent account number.
    InPan, "personal.in_pan", Personal, High, true;
    /// Brazil: a CPF, with its two check digits.
    BrCpf, "personal.br_cpf", Personal, High, true;
    /// Brazil: a CNPJ, with its two check digits.
    BrCnpj, "personal.br_cnpj", Personal, Medium, true;
    /// An IP address of either version that could be somebody's. Off: most that a tool says are machines'.
    Ip, "personal.ip", Personal, Low, false;
    /// A MAC address. Off, as IP addresses are.
    Mac, "personal.mac", Personal, Low, false;
    /// A key of a cloud.
    CloudKey, "secret.cloud_key", Secret, High, true;
    /// A token of a Git host.
    GitToken, "secret.git_token", Secret, High, true;
    /// A token or webhook of a chat.
    ChatToken, "secret.chat_token", Secret, High, true;
    /// A key of a payment service.
    PaymentKey, "secret.payment_key", Secret, High, true;
    /// A key of another service, by its issuer's own mark.
    ServiceToken, "secret.service_token", Secret, High, true;
    /// A JSON web token.
    Jwt, "secret.jwt", Secret, High, true;
    /// A private key in PEM.
    PrivateKey, "secret.private_key", Secret, High, true;
    /// A password in a connection string or URL.
    ConnectionString, "secret.connection_string", Secret, High, true;
    /// What is sent as `Authorization`.
    Authorization, "secret.authorization", Secret, High, true;
    /// Something random that is assigned to a name of a secret.
    Assigned, "secret.assigned", Secret, High, true;
    /// Characters of the tag block, or a row of variation selectors: text that nobody sees.
    Tags, "injection.tags", Injection, High, true;
    /// Characters without width inside of words, or a row of them.
    ZeroWidth, "injection.zero_width", Injection, Medium, true;
    /// Characters that turn the direction of writing.
    Bidi, "injection.bidi", Injection, Medium, true;
    /// Escapes of terminals that hide, move or overwrite. Colours are none.
    Ansi, "injection.ansi", Injection, Medium, true;
    /// An HTML comment that speaks to the model.
    Comment, "injection.comment", Injection, High, true;
    /// Text off screen, invisible or without size that speaks to the model.
    OffScreen, "injection.off_screen", Injection, High, true;
    /// Base64, hex or escapes in which any of these or a secret is.
    Encoded, "injection.encoded", Injection, High, true;
    /// Text that takes back what the model was told.
    Override, "injection.override", Injection, High, true;
    /// Marks of roles and turns, as chat templates have them.
    Role, "injection.role", Injection, High, true;
    /// Text that wants something kept from the user.
    Conceal, "injection.conceal", Injection, High, true;
    /// Text that wants files, secrets or the conversation sent or read.
    Exfiltrate, "injection.exfiltrate", Injection, High, true;
    /// A link or image that carries data away.
    Link, "injection.link", Injection, High, true;
    /// A definition that tells the model what to do with another server's tools.
    CrossServer, "injection.cross_server", Injection, High, true;
    /// A tool whose name looks like another server's, or is written in scripts that are not written together.
    LookAlike, "injection.look_alike", Injection, Medium, true;
}

impl Rule {
    /// The rule that is built in under this id.
    pub fn of_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.id() == id)
    }

    /// Whether it is about definitions alone, which are held against those of other servers.
    pub const fn is_of_definitions(self) -> bool {
        matches!(self, Self::CrossServer | Self::LookAlike)
    }

    /// What follows the family in its id.
    pub fn short(self) -> &'static str {
        self.id().split_once('.').map_or(self.id(), |(_, short)| short)
    }
}

/// Some rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleSet(u64);

impl RuleSet {
    /// None.
    pub const NONE: Self = Self(0);
    /// All.
    pub const ALL: Self = Self(u64::MAX);

    /// Those that are on where nobody says otherwise.
    pub fn defaults() -> Self {
        Rule::ALL.iter().filter(|rule| rule.is_default()).fold(Self(1 << 63), |set, rule| set.with(*rule))
    }

    /// With this one too.
    pub const fn with(self, rule: Rule) -> Self {
        Self(self.0 | rule.bit())
    }

    /// With all of these too.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without this one.
    pub const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !rule.bit())
    }

    /// Whether it is among them.
    #[inline]
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & rule.bit() != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Default for RuleSet {
    fn default() -> Self {
        Self::defaults()
    }
}

/// Something that a rule found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// Where it begins: a byte offset into the text, at the beginning of a character.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
    /// How sure it is, in percent. Less than [`Finding::CONFIDENCE_MIN`] is not told.
    pub confidence: u8,
}

impl Finding {
    /// What is less sure than this is no finding.
    pub const CONFIDENCE_MIN: u8 = 50;

    /// A finding.
    pub(crate) const fn new(rule: Rule, start: usize, end: usize, confidence: u8) -> Self {
        Self { rule, start, end, confidence }
    }
}
