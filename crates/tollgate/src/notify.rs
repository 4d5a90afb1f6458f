//! What a service manager is told (`sd_notify(3)`): that the gateway serves, that it stops, and who serves in its place.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where a service manager listens, if there is one that wants to know.
const SOCKET: &str = "NOTIFY_SOCKET";

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Clients are served.
    Ready,
    /// Clients are not served any more.
    Stopping,
    /// Another process serves them, by this number.
    Followed(u32),
}

/// Tells the service manager, if there is one.
pub(crate) fn tell(news: News) {
    let Some(place) = std::env::var_os(SOCKET).filter(|place| !place.is_empty()) else { return };
    if let Err(error) = send(&place, news) {
        tracing::debug!(%error, "the service manager is not told");
    }
}

fn send(place: &OsStr, news: News) -> io::Result<()> {
    let text = match news {
        News::Ready => "READY=1\n".to_owned(),
        News::Stopping => "STOPPING=1\n".to_owned(),
        News::Followed(id) => format!("MAINPID={id}\nREADY=1\n"),
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address(place)?)?;
    Ok(())
}

fn address(place: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = place.as_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt as _;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_hears_what_becomes_of_the_gateway() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("notify");
        let manager = UnixDatagram::bind(&place).expect("a socket");
        let mut text = [0; 64];
        for (news, words) in [
            (News::Ready, "READY=1\n"),
            (News::Followed(42), "MAINPID=42\nREADY=1\n"),
            (News::Stopping, "STOPPING=1\n"),
        ] {
            send(place.as_os_str(), news).expect("sent");
            let bytes = manager.recv(&mut text).expect("told");
            assert_eq!(std::str::from_utf8(&text[..bytes]), Ok(words));
        }
        drop(manager);
        assert!(send(place.as_os_str(), News::Ready).is_err(), "nobody is there");
    }
}
