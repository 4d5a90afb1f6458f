//! A question to policy, as the commands put it.

use std::net::IpAddr;

use bytes::Bytes;
use tollgate_mcp::Span;
use tollgate_model::{Decision, Era, Principal, Timestamp};
use tollgate_policy::{Ask, PolicySet, Scene, What};

use super::target::{Kind, Target};
use crate::cli::policy::{EraFlag, SceneFlags};

/// The circumstances.
#[derive(Debug, Clone)]
pub(crate) struct Circumstances {
    pub(crate) time: Timestamp,
    pub(crate) source: Option<IpAddr>,
    pub(crate) endpoint: String,
    pub(crate) era: Era,
}

impl From<&SceneFlags> for Circumstances {
    fn from(flags: &SceneFlags) -> Self {
        Self {
            time: flags.time.unwrap_or_else(Timestamp::now),
            source: flags.source,
            endpoint: flags.endpoint.clone().unwrap_or_default(),
            era: match flags.era {
                EraFlag::Legacy => Era::Legacy,
                EraFlag::Modern => Era::Modern,
            },
        }
    }
}

impl Circumstances {
    /// Now, from nowhere in particular.
    pub(crate) fn now() -> Self {
        Self { time: Timestamp::now(), source: None, endpoint: String::new(), era: Era::Modern }
    }

    pub(crate) fn scene(&self) -> Scene<'_> {
        Scene { now: self.time, source: self.source, endpoint: &self.endpoint, era: self.era }
    }

    /// In a few words: `2026-07-28T09:30:00Z (tuesday), from 10.1.2.3`.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("{} ({})", self.time, self.time.civil().weekday);
        if let Some(source) = self.source {
            text.extend([", from ", &source.to_string()]);
        }
        if !self.endpoint.is_empty() {
            text.extend([", at /mcp/", &self.endpoint]);
        }
        if self.era == Era::Legacy {
            text.push_str(", in the legacy era");
        }
        text
    }
}

/// What policy says of it.
pub(crate) fn decide(
    set: &PolicySet,
    principal: &Principal,
    target: &Target,
    arguments: Option<&Bytes>,
    circumstances: &Circumstances,
) -> Decision {
    set.decide(principal, &question(target, arguments, circumstances))
}

/// The question.
pub(crate) fn question<'q>(
    target: &'q Target,
    arguments: Option<&'q Bytes>,
    circumstances: &'q Circumstances,
) -> Ask<'q> {
    let arguments = arguments.map(|arguments| (&arguments[..], Span::all(arguments)));
    let native = target.native.as_str();
    let what = match target.kind {
        Kind::Tool => What::Call { native, arguments },
        Kind::Prompt => What::Get { native, arguments },
        Kind::Resource => What::Read { uri: native },
    };
    Ask { server: &target.server, what, scene: circumstances.scene() }
}

/// Whether lists show it.
pub(crate) fn is_listed(
    set: &PolicySet,
    principal: &Principal,
    target: &Target,
    circumstances: &Circumstances,
) -> bool {
    let visible = set.visible(principal, &target.server, &circumstances.scene());
    match target.kind {
        Kind::Tool => visible.tool(&target.native),
        Kind::Prompt => visible.prompt(&target.native),
        Kind::Resource => visible.resource(&target.native),
    }
}
