//! Where the listening sockets come from: bound here, opened by a service manager, or handed over by the process that this
//! one follows. Connections wait in a socket's queue while nobody accepts, so that one that outlives a process refuses nobody.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::exit::Failure;
use crate::handover::Handed;

/// What the data plane's socket is called.
pub(crate) const DATA: &str = "data";
/// What the admin listener's socket is called.
pub(crate) const ADMIN: &str = "admin";

/// Names of the sockets that a service manager passes on, with colons between them (`sd_listen_fds_with_names(3)`).
const NAMES: &str = "LISTEN_FDNAMES";
/// What a service manager's variables are called. They are meant for one process.
pub(crate) const VARIABLES: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", NAMES, "LISTEN_FDS_FIRST_FD"];

/// Sockets that are open already.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    data: Option<TcpListener>,
    admin: Option<TcpListener>,
    /// Whoever opened them decides where it is listened.
    decides: bool,
}

impl Sockets {
    /// Those of a service manager.
    ///
    /// # Errors
    /// What was passed on cannot be listened on, or has no name that is known here.
    pub(crate) fn activated() -> Result<Self, Failure> {
        let mut passed = ListenFd::from_env();
        let names = std::env::var(NAMES).unwrap_or_default();
        let mut sockets = Self { decides: true, ..Self::default() };
        for (at, name) in names_of(&names, passed.len()).into_iter().enumerate() {
            let unusable =
                |why: String| Failure::failed(format!("the socket {name:?} that was passed on {why}"));
            let socket =
                passed.take_tcp_listener(at).map_err(|error| unusable(format!("cannot be used: {error}")))?;
            let Some(socket) = socket else { continue };
            sockets.put(&name, socket).map_err(unusable)?;
        }
        Ok(sockets)
    }

    /// Those of the process that this one follows.
    ///
    /// # Errors
    /// They have other names than there are.
    pub(crate) fn handed(handed: Handed) -> Result<Self, Failure> {
        let mut sockets = Self::default();
        for (name, socket) in handed {
            let unusable = |why| Failure::failed(format!("the socket {name:?} that was handed over {why}"));
            sockets.put(&name, socket).map_err(unusable)?;
        }
        Ok(sockets)
    }

    fn put(&mut self, name: &str, socket: TcpListener) -> Result<(), String> {
        let place = match name {
            DATA => &mut self.data,
            ADMIN => &mut self.admin,
            _ => return Err(format!("is neither called `{DATA}` nor `{ADMIN}`")),
        };
        match place.replace(socket) {
            Some(_) => Err("is not the only one of this name".to_owned()),
            None => Ok(()),
        }
    }

    /// Where is listened, if that is not what the configuration says.
    pub(crate) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let address = |socket: &Option<TcpListener>| {
            socket.as_ref().filter(|_| self.decides).and_then(|socket| socket.local_addr().ok())
        };
        (address(&self.data), address(&self.admin))
    }

    /// The data plane's, if there is one for this address.
    pub(crate) fn take_data(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        take(&mut self.data, wanted)
    }

    /// The admin listener's, if there is one for this address.
    pub(crate) fn take_admin(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        take(&mut self.admin, wanted)
    }
}

/// One that listens elsewhere than is wanted now is left, and closed.
fn take(socket: &mut Option<TcpListener>, wanted: SocketAddr) -> Option<TcpListener> {
    socket.take_if(|socket| socket.local_addr().is_ok_and(|address| fits(address, wanted)))
}

fn fits(address: SocketAddr, wanted: SocketAddr) -> bool {
    address.ip() == wanted.ip() && (wanted.port() == 0 || address.port() == wanted.port())
}

/// What each socket is called. Without names, the first is the data plane's and the second the admin listener's.
fn names_of(names: &str, count: usize) -> Vec<String> {
    let given: Vec<&str> = names.split(':').filter(|name| !name.is_empty()).collect();
    let ours = given.iter().any(|name| [DATA, ADMIN].contains(name));
    let name = |at: usize| match given.get(at) {
        Some(name) if ours => (*name).to_owned(),
        // As the manager calls what nobody has named: after the unit, or `unknown`.
        _ => [DATA, ADMIN].get(at).map_or_else(|| format!("number {}", at + 1), ToString::to_string),
    };
    (0..count).map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn socket() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let address = socket.local_addr().expect("bound");
        (socket, address)
    }

    #[test]
    fn sockets_are_told_apart_by_name_or_else_by_order() {
        let named = |names: &str, count| names_of(names, count).join(" ");
        assert_eq!(named("admin:data", 2), "admin data");
        assert_eq!(named("", 2), "data admin");
        assert_eq!(named("tollgate.socket:tollgate.socket", 2), "data admin");
        assert_eq!(named("unknown", 1), "data");
        assert_eq!(named("data:other", 2), "data other");
        assert_eq!(named("", 3), "data admin number 3");
        assert_eq!(named("", 0), "");
    }

    #[test]
    fn a_socket_of_another_name_or_a_second_of_one_is_refused() {
        let other = Sockets::handed(vec![("metrics".to_owned(), socket().0)]).expect_err("another name");
        assert!(other.text.contains("metrics"), "{}", other.text);
        let twice = vec![(DATA.to_owned(), socket().0), (DATA.to_owned(), socket().0)];
        assert!(Sockets::handed(twice).is_err());
    }

    #[test]
    fn a_socket_that_was_handed_over_is_used_for_its_own_address_only() {
        let (data, address) = socket();
        let mut sockets = Sockets::handed(vec![(DATA.to_owned(), data)]).expect("a name");
        assert_eq!(sockets.addresses(), (None, None), "the configuration decides");
        let elsewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port() ^ 1));
        assert!(sockets.take_data(elsewhere).is_none());
        assert!(sockets.take_admin(address).is_none());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let taken = sockets.take_data(any).expect("any port is its port");
        assert_eq!(taken.local_addr().expect("bound"), address);
        assert!(sockets.take_data(any).is_none(), "there is one");
    }
}
