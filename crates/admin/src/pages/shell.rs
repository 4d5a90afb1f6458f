//! What is around every page of somebody who is signed in: who they are, and where they may go.

use std::sync::Arc;

use crate::roles::{Act, Operator, Over, Resource};

/// A page to go to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    pub(crate) href: &'static str,
    pub(crate) text: &'static str,
    /// What it shows, which they have to be allowed to look at.
    of: Resource,
}

const ITEMS: &[Item] = &[
    Item { href: "/", text: "Overview", of: Resource::Overview },
    Item { href: "/servers", text: "Servers", of: Resource::Servers },
    Item { href: "/review", text: "Reviews", of: Resource::Reviews },
    Item { href: "/calls", text: "Calls", of: Resource::Ledger },
    Item { href: "/approvals", text: "Approvals", of: Resource::Approvals },
    Item { href: "/pins", text: "Pins", of: Resource::Pins },
    Item { href: "/policies", text: "Policies", of: Resource::Policies },
    Item { href: "/findings", text: "Guard findings", of: Resource::Findings },
    Item { href: "/tenants", text: "Tenants", of: Resource::Tenants },
    Item { href: "/access", text: "Agents and keys", of: Resource::Keys },
    Item { href: "/usage", text: "Usage", of: Resource::Usage },
    Item { href: "/kill-switch", text: "Kill switch", of: Resource::Blocks },
    Item { href: "/settings", text: "Settings", of: Resource::Settings },
];

/// Under which words of the menu pages stand, by where they are. What is nowhere here stands at the end.
const GROUPS: &[(&str, &[&str])] = &[
    ("", &["/"]),
    ("What happens", &["/calls", "/approvals", "/findings", "/usage"]),
    ("Servers", &["/servers", "/review", "/pins"]),
    ("Who may what", &["/policies", "/access", "/tenants", "/kill-switch"]),
];
const REST: &str = "This gateway";

/// Pages of the menu that belong together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) items: Vec<Item>,
}

/// What is around a page.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) name: Arc<str>,
    pub(crate) csrf: Arc<str>,
    pub(crate) here: &'static str,
    pub(crate) groups: Vec<Group>,
}

impl Shell {
    /// Around the page at this place of the menu.
    pub(crate) fn of(who: &Operator, here: &'static str) -> Self {
        // Settings are no tenant's.
        let may = |item: &&Item| match Over::of(&who.grants, item.of, Act::Read) {
            Some(Over::All) => true,
            Some(Over::These(_)) => item.of != Resource::Settings,
            None => false,
        };
        let mut left: Vec<Item> = ITEMS.iter().filter(may).copied().collect();
        let mut groups = Vec::new();
        for (title, places) in GROUPS {
            let (items, others) = left.into_iter().partition(|item: &Item| places.contains(&item.href));
            left = others;
            groups.push(Group { title, items });
        }
        groups.push(Group { title: REST, items: left });
        groups.retain(|group| !group.items.is_empty());
        Self { name: Arc::clone(&who.name), csrf: who.csrf.clone().unwrap_or_default(), here, groups }
    }
}
