//! The door by which commands on the same machine reach the gateway that runs: a Unix socket in its data directory.
//!
//! Who comes is what the operating system says of the other end, so there is no secret that could be read, be logged or be sent
//! elsewhere. The owner of the gateway's process may, and root; nobody else, whatever the rights of the file.

mod ask;
mod open;

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde_json::Value;
use tollgate_model::Timestamp;

use crate::cli::keys::Moment;
use crate::exit::Failure;

pub(crate) use ask::{Gateway, NotDone, running};
pub(crate) use open::Door;

/// What the socket is called in the data directory.
const NAME: &str = "admin.sock";
/// The longest path that every system takes as the address of a socket, in bytes.
const PATH_BYTES_MAX: usize = 100;

/// A path of the API: these names, and what is asked with it.
pub(crate) fn path(names: &[&str], query: &[(&str, &str)]) -> String {
    let encoded = |name: &&str| {
        // A plus sign stands for a space in a query only.
        url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
    };
    let mut path = format!("/api/v1/{}", names.iter().map(encoded).collect::<Vec<_>>().join("/"));
    let mut asked = url::form_urlencoded::Serializer::new(String::new());
    asked.extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
    let asked = asked.finish();
    if !asked.is_empty() {
        path.push('?');
        path.push_str(&asked);
    }
    path
}

/// When something ends, as the API takes it.
pub(crate) fn ends(body: &mut Value, (after, at): (&str, &str), moment: Option<Moment>) {
    match moment {
        Some(Moment::After(span)) => body[after] = span.as_secs().into(),
        Some(Moment::At(time)) => body[at] = time.to_string().into(),
        None => {}
    }
}

/// A text of an answer.
///
/// # Errors
/// It is not there: the gateway is of another version.
pub(crate) fn text<'b>(body: &'b Value, name: &str) -> Result<&'b str, Failure> {
    body[name].as_str().ok_or_else(|| Failure::failed(format!("the gateway's answer has no {name:?}")))
}

/// A time of an answer, if it is there.
pub(crate) fn time(body: &Value, name: &str) -> Option<Timestamp> {
    body[name].as_str().and_then(|text| text.parse().ok())
}

/// Where a socket of this folder is, by a path that can be an address. A long one goes by the folder's descriptor, which has to
/// be kept while the path is used.
fn address(folder: &Path, name: &str) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    let path = folder.join(name);
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return Ok((path, None));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
    Ok((path, Some(folder)))
}
