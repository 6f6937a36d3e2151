//! Notifications by mail: which server, in which way, from whom to whom. A connection is never less protected than what was written down.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::post::PostFault;
use super::{notifier, unsaid};
use crate::domain::{Priority, Secret};

/// How a connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    /// TLS from the first byte (RFC 8314): `smtps://`.
    Implicit,
    /// Plain until STARTTLS, which must succeed: `smtp+starttls://`.
    Starttls,
    /// None: `smtp://`, to this machine or where `?tls=none` says that it is meant.
    Plain,
}

/// A mail server, out of its URL.
#[derive(Clone)]
pub struct MailServer {
    protection: Protection,
    host: String,
    port: u16,
    account: Option<(String, Secret)>,
}

impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}:{}", self.protection, self.host, self.port)
    }
}

impl MailServer {
    /// Reads `smtps://user:password@host:port`, `smtp+starttls://…` or `smtp://…`. User and password are percent-encoded.
    ///
    /// # Errors
    /// What is wrong, without the account.
    pub fn parse(url: &Secret) -> Result<Self, String> {
        const FORM: &str = "is no address of a mail server; write one as in smtps://user:password@mail.example.com";
        // Not the parser's words: they may show the password.
        let url = Url::parse(url.expose()).map_err(|_| FORM.to_owned())?;
        let mut wants_none = false;
        for (key, value) in url.query_pairs() {
            if (key.as_ref(), value.as_ref()) != ("tls", "none") {
                return Err(format!("has an unknown part ?{key}=…; only ?tls=none is known"));
            }
            wants_none = true;
        }
        let host = url.host().ok_or_else(|| FORM.to_owned())?;
        // Behind a scheme that is not of the web the URL standard leaves addresses as they are written.
        let (host, loopback) = match host {
            Host::Domain(name) => match name.parse::<IpAddr>() {
                Ok(address) => (name.to_owned(), address.is_loopback()),
                Err(_) => (name.to_ascii_lowercase(), name.eq_ignore_ascii_case("localhost")),
            },
            Host::Ipv4(address) => (address.to_string(), address.is_loopback()),
            Host::Ipv6(address) => (address.to_string(), address.is_loopback()),
        };
        let (protection, usual) = match url.scheme() {
            "smtps" => (Protection::Implicit, 465),
            "smtp+starttls" => (Protection::Starttls, 587),
            "smtp" if loopback || wants_none => (Protection::Plain, 25),
            "smtp" => {
                return Err(
                    "would send mail and account unprotected; use smtps:// or smtp+starttls://, or add ?tls=none if that is meant"
                        .to_owned(),
                );
            }
            _ => {
                return Err(FORM.to_owned());
            }
        };
        if wants_none && protection != Protection::Plain {
            return Err("asks for TLS and for none; leave ?tls=none out".to_owned());
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let account = (!url.username().is_empty()).then(|| {
            (
                decoded(url.username()),
                Secret::new(decoded(url.password().unwrap_or_default())),
            )
        });
        Ok(Self {
            protection,
            host,
            port: url.port().unwrap_or(usual),
            account,
        })
    }
}

/// Why a mail server would not take a mail from us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwelcome {
    /// Nobody answers there, or not in time.
    #[error("no mail server answers at {at}: {words}")]
    Unreachable {
        /// Host and port.
        at: String,
        /// What happened.
        words: String,
    },
    /// The connection cannot be protected as it was asked for.
    #[error("the connection to {at} cannot be protected: {words}")]
    Unprotected {
        /// Host and port.
        at: String,
        /// What happened.
        words: String,
    },
    /// The account is refused.
    #[error("{at} refuses the account: {words}")]
    Account {
        /// Host and port.
        at: String,
        /// The server's words.
        words: String,
    },
    /// It answers something else.
    #[error("{at} does not let us in: {words}")]
    Refused {
        /// Host and port.
        at: String,
        /// The server's words.
        words: String,
    },
}

impl MailServer {
    /// Connects, greets, protects the connection and signs in as a mail would, and sends none. Answers what was reached, in words.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn greet(&self, timeout: Duration) -> Result<String, Unwelcome> {
        let at = format!("{}:{}", self.host, self.port);
        let unprotected = |words: String| Unwelcome::Unprotected { at: at.clone(), words };
        let transport = self.transport(timeout).map_err(|error| unprotected(chain(&error)))?;
        match transport.test_connection().await {
            Ok(true) => {
                let how = match self.protection {
                    Protection::Implicit => "TLS",
                    Protection::Starttls => "STARTTLS",
                    Protection::Plain => "no protection",
                };
                let account = if self.account.is_some() { ", signed in" } else { "" };
                Ok(format!("{at} answers ({how}{account})"))
            }
            Ok(false) => Err(Unwelcome::Refused {
                at,
                words: "it hung up".to_owned(),
            }),
            Err(error) => {
                let words = self.unsaid(&chain(&error));
                // 530, 534, 535 and 538 are about the account (RFC 4954).
                let account = error.status().is_some_and(|code| {
                    let code = u16::from(code);
                    matches!(code, 530 | 534 | 535 | 538)
                });
                Err(if account {
                    Unwelcome::Account { at, words }
                } else if error.is_tls()
                    || no_tls(&error)
                    || (error.is_client() && self.protection == Protection::Starttls)
                {
                    unprotected(words)
                } else if error.is_client() && self.account.is_some() {
                    Unwelcome::Account { at, words }
                } else if error.is_permanent() || error.is_transient() || error.is_client() || error.is_response() {
                    Unwelcome::Refused { at, words }
                } else {
                    Unwelcome::Unreachable { at, words }
                })
            }
        }
    }

    /// What the server says, without what it repeats of the account.
    fn unsaid(&self, words: &str) -> String {
        match &self.account {
            Some((user, password)) => unsaid::without(&unsaid::of_account(user, password.expose()), words),
            None => words.to_owned(),
        }
    }

    fn transport(
        &self,
        timeout: Duration,
    ) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
        let builder = match self.protection {
            Protection::Implicit => AsyncSmtpTransport::<Tokio1Executor>::relay(&self.host)?,
            Protection::Starttls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(&self.host)?,
            Protection::Plain => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host),
        };
        let builder = builder.port(self.port).timeout(Some(timeout));
        Ok(match &self.account {
            Some((user, password)) => builder.credentials(Credentials::new(user.clone(), password.expose().to_owned())),
            None => builder,
        }
        .build())
    }
}

/// The way to the operators' mailboxes.
#[derive(Clone)]
pub struct Mail {
    from: Mailbox,
    to: Vec<Mailbox>,
    server: MailServer,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mail from {} to {} over {:?}", self.from, self.to.len(), self.server)
    }
}

impl Mail {
    /// Mail from `from` to each of `to`.
    ///
    /// # Errors
    /// When an address is none, or nobody is to get it.
    pub fn new(server: MailServer, from: &str, to: &[String]) -> Result<Self, String> {
        let mailbox = |text: &str| {
            text.parse::<Mailbox>()
                .map_err(|error| format!("{text:?} is no mail address ({error}); write it as in ops@example.com"))
        };
        if to.is_empty() {
            return Err("nobody is to get it; set notifications.email_to".to_owned());
        }
        Ok(Self {
            from: mailbox(from)?,
            to: to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?,
            server,
        })
    }

    /// Sends one mail. The same id on every attempt, so that a mailbox can tell a repetition.
    pub(super) async fn send(
        &self,
        id: &str,
        message: &str,
        priority: Priority,
        timeout: Duration,
    ) -> Result<String, PostFault> {
        let never = |error: lettre::error::Error| PostFault::Never(format!("the mail cannot be written: {error}"));
        let mut mail = Message::builder()
            .message_id(Some(format!("<{id}@firstlight>")))
            .from(self.from.clone())
            .subject(notifier::subject(message, priority))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        let mail = mail.body(message.to_owned()).map_err(never)?;
        let transport = self
            .server
            .transport(timeout)
            .map_err(|error| PostFault::Never(format!("the mail server cannot be used: {error}")))?;
        match transport.send(mail).await {
            Ok(answer) => Ok(self.server.unsaid(answer.first_line().unwrap_or("taken"))),
            Err(error) => {
                let words = self.server.unsaid(&chain(&error));
                Err(match error.is_permanent() {
                    true => PostFault::Never(format!("the mail server refuses it: {words}")),
                    false => PostFault::Retryable {
                        error: format!("the mail server did not take it: {words}"),
                        slow: error.is_timeout(),
                    },
                })
            }
        }
    }
}

/// Whether the other side did not speak TLS, which the library takes for a lost connection.
fn no_tls(error: &dyn std::error::Error) -> bool {
    let mut next = error.source();
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::InvalidData) {
            return true;
        }
        next = error.source();
    }
    false
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if more.starts_with(&words) {
            words = more;
        } else if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protection_is_what_was_written_down_and_never_less() {
        for (url, expected) in [
            ("smtps://mail.example.com", Ok("Implicit mail.example.com:465")),
            (
                "smtps://u:hunter2@mail.example.com:4465",
                Ok("Implicit mail.example.com:4465"),
            ),
            ("smtp+starttls://mail.example.com", Ok("Starttls mail.example.com:587")),
            ("smtp://localhost", Ok("Plain localhost:25")),
            ("smtp://127.0.0.1:2525", Ok("Plain 127.0.0.1:2525")),
            ("smtp://[::1]:2525", Ok("Plain ::1:2525")),
            ("smtp://mail.example.com?tls=none", Ok("Plain mail.example.com:25")),
            (
                "smtp://u:hunter2@mail.example.com",
                Err("would send mail and account unprotected"),
            ),
            ("smtp://192.0.2.1", Err("would send")),
            ("smtp://localhost.example.com", Err("would send")),
            ("smtps://mail.example.com?tls=none", Err("asks for TLS and for none")),
            (
                "smtp+starttls://mail.example.com?tls=none",
                Err("asks for TLS and for none"),
            ),
            ("smtps://mail.example.com?tls=opportunistic", Err("has an unknown part")),
            (
                "https://u:hunter2@mail.example.com",
                Err("is no address of a mail server"),
            ),
            ("smtps:", Err("is no address of a mail server")),
            ("mail.example.com", Err("is no address of a mail server")),
        ] {
            match (MailServer::parse(&Secret::new(url)), expected) {
                (Ok(server), Ok(expected)) => assert_eq!(format!("{server:?}"), expected),
                (Err(error), Err(expected)) => {
                    assert!(
                        error.starts_with(expected) && !error.contains("hunter2"),
                        "{url}: {error}"
                    );
                }
                (other, _) => panic!("{url}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_account_is_decoded_and_not_shown() {
        let server =
            MailServer::parse(&Secret::new("smtps://bot%40example.com:p%3Aw%2F@mail.example.com")).expect("good");
        let (user, password) = server.account.clone().expect("an account");
        assert_eq!((user.as_str(), password.expose()), ("bot@example.com", "p:w/"));
        assert!(!format!("{server:?}").contains("p:w"));
    }

    #[test]
    fn addresses_are_checked() {
        let server = || MailServer::parse(&Secret::new("smtps://mail.example.com")).expect("good");
        let to = ["Ops <ops@example.com>".to_owned()];
        assert!(Mail::new(server(), "bot@example.com", &to).is_ok());
        assert!(
            Mail::new(server(), "bot", &to)
                .expect_err("no address")
                .contains("\"bot\"")
        );
        assert!(
            Mail::new(server(), "bot@example.com", &[])
                .expect_err("nobody")
                .contains("email_to")
        );
    }
}
