//! Mail, by SMTP (RFC 5321) to a relay of the operator's: over TLS unless the operator says otherwise.

use std::fmt;
use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tollgate_model::Secret;

/// How long a mail may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A relay that takes mail, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailSettings {
    /// The relay's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is protected.
    pub security: MailSecurity,
    /// As whom the gateway signs in, if it does.
    pub credentials: Option<(String, Secret)>,
    /// Certificates, as PEM, by which the relay is known beside those of this machine.
    pub ca_pem: Option<Vec<u8>>,
    /// Whose mail it is: an address, with a name if there is one (`Tollgate <gate@example.com>`).
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
}

/// How the way to a relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MailSecurity {
    /// TLS from the beginning (RFC 8314).
    #[default]
    Tls,
    /// TLS after `STARTTLS`; without it nothing is sent.
    StartTls,
    /// Not at all.
    Plain,
}

/// Why a mail is not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// An address is none.
    #[error("{0:?} is no mail address")]
    Address(String),
    /// The certificates cannot be read, or TLS cannot be used.
    #[error("TLS cannot be used with the mail relay")]
    Tls,
    /// The mail cannot be composed.
    #[error("the mail cannot be composed")]
    Composed,
    /// The relay did not take it.
    #[error("the mail relay does not take it: {0}")]
    NotTaken(&'static str),
}

/// Sends mail by one relay.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").finish_non_exhaustive()
    }
}

impl Mailer {
    /// By these settings. Connects when it is asked to send.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: &MailSettings) -> Result<Self, MailError> {
        let mailbox = |text: &String| text.parse::<Mailbox>().map_err(|_| MailError::Address(text.clone()));
        let from = mailbox(&settings.from)?;
        let to = settings.to.iter().map(mailbox).collect::<Result<Vec<_>, _>>()?;
        let tls = match settings.security {
            MailSecurity::Tls => Tls::Wrapper(parameters(settings)?),
            MailSecurity::StartTls => Tls::Required(parameters(settings)?),
            MailSecurity::Plain => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .timeout(Some(TIMEOUT))
            .tls(tls);
        if let Some((name, password)) = &settings.credentials {
            transport = transport.credentials(Credentials::new(name.clone(), password.expose().to_owned()));
        }
        Ok(Self { transport: transport.build(), from, to })
    }

    /// Sends a text to everybody who gets it.
    ///
    /// # Errors
    /// [`MailError`].
    pub async fn send(&self, subject: &str, text: &str) -> Result<(), MailError> {
        // Relays take mail that cannot be told from other mail for what nobody wants.
        let mut message = Message::builder().message_id(None).from(self.from.clone()).subject(subject);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let message = message.header(ContentType::TEXT_PLAIN).body(text.to_owned());
        let message = message.map_err(|_| MailError::Composed)?;
        let sent = tokio::time::timeout(TIMEOUT * 2, self.transport.send(message)).await;
        match sent {
            Ok(Ok(_)) => Ok(()),
            // What a relay says may have anything in it.
            Ok(Err(error)) if error.is_permanent() => Err(MailError::NotTaken("it refuses it for good")),
            Ok(Err(error)) if error.is_transient() => Err(MailError::NotTaken("it refuses it for now")),
            Ok(Err(error)) if error.is_timeout() => Err(MailError::NotTaken("it does not answer in time")),
            Ok(Err(_)) => Err(MailError::NotTaken("it cannot be reached, or does not speak as it should")),
            Err(_) => Err(MailError::NotTaken("it does not answer in time")),
        }
    }
}

fn parameters(settings: &MailSettings) -> Result<TlsParameters, MailError> {
    let mut parameters = TlsParameters::builder(settings.host.clone());
    if let Some(pem) = &settings.ca_pem {
        parameters = parameters.add_root_certificate(Certificate::from_pem(pem).map_err(|_| MailError::Tls)?);
    }
    parameters.build().map_err(|_| MailError::Tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_address_is_refused_before_anybody_is_called() {
        let settings = MailSettings {
            host: "localhost".into(),
            port: 25,
            security: MailSecurity::Plain,
            credentials: None,
            ca_pem: None,
            from: "Tollgate <gate@example.com>".into(),
            to: vec!["ops@example.com".into()],
        };
        assert!(Mailer::new(&settings).is_ok());
        for bad in ["", "nobody", "a@example.com\r\nBcc: b@example.com"] {
            let wrong = MailSettings { to: vec![bad.into()], ..settings.clone() };
            assert!(matches!(Mailer::new(&wrong), Err(MailError::Address(_))), "{bad:?}");
        }
        let wrong = MailSettings { ca_pem: Some(b"none".to_vec()), security: MailSecurity::Tls, ..settings };
        assert!(Mailer::new(&wrong).is_ok() || matches!(Mailer::new(&wrong), Err(MailError::Tls)));
    }
}
