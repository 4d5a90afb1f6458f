//! Which addresses may be connected to.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tollgate_model::Reach;

use crate::error::Forbidden;

/// Whether a call may go to this address.
pub(crate) fn may_connect(address: IpAddr, allow_private: bool) -> bool {
    if allow_private { Reach::Private } else { Reach::Public }.may_connect(address)
}

/// Resolves names as the system does, and leaves out what must not be connected to. What is left is what the connector
/// connects to, so a name that is resolved anew cannot get around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolver {
    pub(crate) allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| may_connect(address.ip(), allow_private)).collect();
            if allowed.is_empty() {
                return Err(Forbidden.into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_leads_nowhere() {
        let name = || "localhost".parse::<Name>().expect("a name");
        assert!(Resolver { allow_private: false }.resolve(name()).await.is_err());
        assert!(Resolver { allow_private: true }.resolve(name()).await.is_ok());
    }
}
