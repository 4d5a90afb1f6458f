//! Definitions of servers that are pinned.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_guard::pins::{Definition, Difference, compare, unified};
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{Approved, Approving, Digest, Pin, PinOf, WhichPins};

use super::reason;
use crate::plane::Plane;
use crate::problem::Problem;
use crate::record::{self, Act};
use crate::roles::{ChangePins, May, Permission, Sure};

/// How many are read at once.
const PAGE: usize = 500;
/// Why nothing is approved here where a file says what is.
const LOCKED: &str = "the configuration has a lock file (`pins.lock`), and nothing else is approved: `tollgate pins lock` writes it";

/// Those of the pins that are wanted which whoever asks may see, in their order.
pub(crate) async fn some<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    wanted: WhichPins,
) -> Result<Vec<Pin>, Problem> {
    let Some(store) = plane.store()? else { return Ok(Vec::new()) };
    let most = wanted.most;
    let mut which = WhichPins { most: PAGE, ..wanted };
    let mut found = Vec::new();
    loop {
        let page = store.pins(&which).await?;
        let is_last = page.len() < PAGE;
        which.after = page.last().map(|last| last.of.clone());
        found.extend(page.into_iter().filter(|pin| may.sees(pin.of.tenant.as_ref())));
        if is_last || found.len() >= most {
            found.truncate(most);
            return Ok(found);
        }
    }
}

/// One of them.
pub(crate) async fn one<P: Permission>(plane: &Plane, may: &May<P>, of: &PinOf) -> Result<Pin, Problem> {
    let missing = || Problem::not_found("there is no such pin");
    let store = plane.store()?.ok_or_else(missing)?;
    if !may.sees(of.tenant.as_ref()) {
        return Err(missing());
    }
    store.pin(of).await?.ok_or_else(missing)
}

/// How what waits differs from what was approved, and as people read it. None where nothing waits, or it is too large.
pub(crate) fn difference(pin: &Pin) -> Option<(Difference, String)> {
    let read = |text: &bytes::Bytes| Definition::from_text(pin.of.kind, text);
    let after = read(pin.waiting.as_ref()?.text.as_ref()?);
    let before = pin.approved.as_ref().and_then(|shape| shape.text.as_ref()).map(read);
    Some((compare(before.as_ref(), &after), unified(before.as_ref(), &after)))
}

/// Approves what waits: the very definition that was looked at.
pub(crate) async fn approve(
    plane: Arc<Plane>,
    sure: Sure<ChangePins>,
    of: PinOf,
    (digest, why): (Digest, &str),
    fits: impl FnOnce(&Pin) -> Result<(), Problem> + Send,
) -> Result<(), Problem> {
    let why = reason(why, false)?;
    // It would be kept and be on record, and nothing would come of it.
    if plane.parts()?.configured.pins_locked {
        return Err(Problem::new(http::StatusCode::CONFLICT, "locked", LOCKED));
    }
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let before = store.pin(&of).await?.ok_or_else(|| Problem::not_found("there is no such pin"))?;
    fits(&before)?;
    let approving = Approving {
        of: of.clone(),
        digest,
        by: Arc::clone(&sure.who.by),
        reason: Arc::clone(&why),
        at: Timestamp::now(),
    };
    match store.approve_pin(approving).await? {
        Approved::Now => {}
        Approved::Before => return Ok(()),
        Approved::Otherwise => {
            return Err(Problem::new(
                http::StatusCode::CONFLICT,
                "changed",
                "the server shows something else by now: look at it anew",
            ));
        }
        Approved::Unknown => return Err(Problem::not_found("there is no such pin")),
    }
    let act = Act {
        word: "pin.approve",
        what: named(&of),
        before: json!({ "digest": before.approved.map(|shape| shape.digest.to_string()) }),
        after: json!({ "digest": digest.to_string() }),
        reason: Some(why.to_string()),
    };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await
}

/// Forgets a pin: what its server shows next is pinned as if it were seen for the first time.
pub(crate) async fn forget(
    plane: Arc<Plane>,
    sure: Sure<ChangePins>,
    of: PinOf,
    why: &str,
    fits: impl FnOnce(&Pin) -> Result<(), Problem> + Send,
) -> Result<(), Problem> {
    let why = reason(why, false)?;
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let before = store.pin(&of).await?.ok_or_else(|| Problem::not_found("there is no such pin"))?;
    fits(&before)?;
    if !store.forget_seen_pin(&of, (&sure.who.by, &why), Some(&before)).await? {
        return Err(Problem::not_found("there is no such pin"));
    }
    let act = Act {
        word: "pin.forget",
        what: named(&of),
        before: json!({ "digest": before.approved.map(|shape| shape.digest.to_string()) }),
        after: Value::Null,
        reason: Some(why.to_string()),
    };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await
}

fn named(of: &PinOf) -> Value {
    let tenant = of.tenant.as_ref().map(TenantId::as_str);
    json!({ "tenant": tenant, "server": of.server.as_str(), "kind": of.kind.as_str(), "item": &*of.item })
}

/// A digest from how it is written.
pub(crate) fn digest(text: &str) -> Result<Digest, Problem> {
    let wrong = || Problem::invalid("digest: 64 hexadecimal digits");
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        let pair = text.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(Digest(bytes))
}
