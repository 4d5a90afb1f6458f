//! Who may approve calls, how long is waited for them, and who is told.

use std::sync::Arc;
use std::time::Duration;

use tollgate_approvals::{ApprovalSettings, Group, Keeps, Sees};
use tollgate_egress::{MailSecurity, MailSettings, Mailer};
use tollgate_limits::RunawayWebhook;
use tollgate_model::TenantId;
use tollgate_proxy::{Tell, TellBody, TellWay};
use url::Url;

use super::Meaning;
use crate::config::forms::{Items, Keyed, Short};
use crate::config::node::Place;
use crate::config::section::{
    ApprovalArgumentsSection, ApprovalBodySection, ApprovalGroupSection, ApprovalWebhookSection,
    ApprovalsSection, SmtpSection, SmtpSecuritySection,
};

/// What stands for an approval's id in `approvals.url`.
const ID: &str = "{id}";

impl Meaning<'_> {
    pub(super) fn approvals(
        &mut self,
        section: Option<&ApprovalsSection>,
        (tenants, has_policies): (&[TenantId], bool),
        place: &Place<'_>,
    ) -> (ApprovalSettings, Vec<Tell>) {
        let own = ApprovalSettings::default();
        let Some(section) = section else { return (own, Vec::new()) };
        let wait = |written: Option<u64>, usual| written.map_or(usual, Duration::from_millis);
        let groups = Keyed::iter(section.groups.as_ref());
        let settings = ApprovalSettings {
            groups: groups.map(|(name, group)| (Arc::from(name), approvers(group))).collect(),
            destructive: self.destructive(section, has_policies, place),
            people_min: section.approvers_min.unwrap_or(own.people_min),
            expiry: wait(section.expiry_ms, own.expiry),
            grant: wait(section.grant_ms, own.grant),
            wait: wait(section.wait_ms, own.wait),
            held_max: section.held_max.unwrap_or(own.held_max),
            held_per_principal_max: section.held_per_principal_max.unwrap_or(own.held_per_principal_max),
            waiting_per_principal_max: section
                .waiting_per_principal_max
                .unwrap_or(own.waiting_per_principal_max),
            waiting_per_tenant_max: section.waiting_per_tenant_max.unwrap_or(own.waiting_per_tenant_max),
            arguments: section.arguments.map_or(own.arguments, |keeps| match keeps {
                ApprovalArgumentsSection::Digest => Keeps::Digest,
                ApprovalArgumentsSection::Redacted => Keeps::Redacted,
                ApprovalArgumentsSection::Whole => Keeps::Whole,
            }),
            url: section.url.as_deref().and_then(|url| self.approval_url(url, &place.key("url"))),
        };
        let mut tells = Vec::new();
        let there = place.key("webhooks");
        for (nth, webhook) in Items::iter(section.webhooks.as_ref()) {
            tells.extend(self.approval_webhook(webhook, tenants, &there.item(nth)));
        }
        let smtp = section.smtp.as_ref();
        tells.extend(smtp.and_then(|smtp| self.smtp(smtp, tenants, &place.key("smtp"))));
        (settings, tells)
    }

    fn destructive(
        &mut self,
        section: &ApprovalsSection,
        has_policies: bool,
        place: &Place<'_>,
    ) -> Vec<Arc<str>> {
        let groups = texts(section.destructive.as_ref());
        if !groups.is_empty() && !has_policies {
            let message = "without `policy` nobody knows when a tool has changed after it was approved";
            self.problems.error(&place.key("destructive"), message);
        }
        groups
    }

    fn approval_url(&mut self, url: &str, place: &Place<'_>) -> Option<Arc<str>> {
        if !url.contains(ID) {
            self.problems.error(place, format!("{ID} is missing: it stands for the approval's id"));
            return None;
        }
        let read = Url::parse(&url.replace(ID, "apr_0"));
        let is_local = |url: &Url| {
            matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) && url.scheme() == "http"
        };
        if !read.is_ok_and(|url| url.scheme() == "https" || is_local(&url)) {
            self.problems.error(place, "it has to be `https`, or `http` on a loopback address");
            return None;
        }
        Some(url.into())
    }

    fn approval_webhook(
        &mut self,
        section: &ApprovalWebhookSection,
        tenants: &[TenantId],
        place: &Place<'_>,
    ) -> Option<Tell> {
        let allow_private = section.allow_private_addresses == Some(true);
        let files = (section.url.as_deref(), section.secret.as_ref(), section.ca_file.as_deref());
        let webhook: Option<RunawayWebhook> = self.signed_webhook(files, allow_private, place);
        let tenant = self.told_tenant(section.tenant.as_deref(), tenants, place);
        let body = match section.body {
            None | Some(ApprovalBodySection::Generic) => TellBody::Generic,
            Some(ApprovalBodySection::Slack) => TellBody::Slack,
        };
        let way = TellWay::Webhook(webhook?, body);
        Some(Tell { way, sees: sees(section.arguments.unwrap_or(true)), tenant: tenant.ok()? })
    }

    fn smtp(&mut self, section: &SmtpSection, tenants: &[TenantId], place: &Place<'_>) -> Option<Tell> {
        let security = match section.security {
            None | Some(SmtpSecuritySection::Tls) => MailSecurity::Tls,
            Some(SmtpSecuritySection::Starttls) => MailSecurity::StartTls,
            Some(SmtpSecuritySection::None) => MailSecurity::Plain,
        };
        let host = self.required(section.host.as_deref(), "host", place);
        let from = self.required(section.from.as_deref(), "from", place);
        let tenant = self.told_tenant(section.tenant.as_deref(), tenants, place);
        let ca_pem = self.authorities(section.ca_file.as_deref(), place);
        let to: Vec<String> = Items::iter(section.to.as_ref()).map(|(_, address)| address.clone()).collect();
        if to.is_empty() {
            self.problems.error(&place.key("to"), "nobody gets the mail");
            return None;
        }
        let credentials = match (&section.user, &section.password) {
            (Some(user), Some(Short(password))) => {
                if security == MailSecurity::Plain {
                    let message = "a password is not sent unprotected: set `security` to `tls` or `starttls`";
                    self.problems.error(&place.key("password"), message);
                    return None;
                }
                Some((user.clone(), self.secret(password, &place.key("password"))?))
            }
            (None, None) => None,
            _ => {
                self.problems.error(place, "`user` and `password` belong together");
                return None;
            }
        };
        let usual = match security {
            MailSecurity::Tls => 465,
            MailSecurity::StartTls => 587,
            MailSecurity::Plain => 25,
        };
        let settings = MailSettings {
            host: host?.to_string(),
            port: section.port.unwrap_or(usual),
            security,
            credentials,
            ca_pem: ca_pem.map(|pem| pem.as_bytes().to_vec()),
            from: from?.to_string(),
            to,
        };
        if let Err(error) = Mailer::new(&settings) {
            self.problems.error(place, error.to_string());
            return None;
        }
        let sees = sees(section.arguments == Some(true));
        Some(Tell { way: TellWay::Mail(Box::new(settings)), sees, tenant: tenant.ok()? })
    }

    /// Of whose calls somebody is told: of every tenant's, or of one's.
    fn told_tenant(
        &mut self,
        tenant: Option<&str>,
        tenants: &[TenantId],
        place: &Place<'_>,
    ) -> Result<Option<TenantId>, ()> {
        let Some(tenant) = tenant.map(TenantId::new) else { return Ok(None) };
        if tenants.contains(&tenant) {
            return Ok(Some(tenant));
        }
        self.problems.error(&place.key("tenant"), "there is no such tenant");
        Err(())
    }
}

fn sees(arguments: bool) -> Sees {
    if arguments { Sees::Redacted } else { Sees::Digest }
}

fn approvers(section: &ApprovalGroupSection) -> Group {
    Group {
        users: texts(section.users.as_ref()),
        groups: texts(section.groups.as_ref()),
        roles: texts(section.roles.as_ref()),
        people_min: section.approvers_min,
    }
}

fn texts(items: Option<&Items<String>>) -> Vec<Arc<str>> {
    Items::iter(items).map(|(_, text)| Arc::from(text.as_str())).collect()
}
