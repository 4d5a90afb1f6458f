//! How long a list waits for each of its servers: one that is slow, or says nothing, keeps nobody from what the others list.
//!
//! A server's lists are measured against its own: how long the quickest of the last minutes took. What takes much longer is
//! late. As long as a server is not late several times in a row, a list waits for it, at full length where nothing that it said
//! before would do. After that it waits no more: of a server that answers late, what it said last will do, and of one that does
//! not answer it is said why. Meanwhile it is asked beside the lists, and the first answer in time ends it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_catalog::ListKind;
use tollgate_model::Refusal;
use tollgate_upstream::Server;

/// A list that takes so many times as long as usual is late.
const USUAL_TIMES: u32 = 4;
/// After so many late ones in a row nobody waits.
const LATE_MAX: u32 = 3;
/// The quickest of so long counts as usual, and until then the quickest of as long before it.
const USUAL_FOR: Duration = Duration::from_mins(5);
/// The wait between two looks at a server that does not answer doubles from [`Timeouts::backoff_min`] to this.
///
/// [`Timeouts::backoff_min`]: tollgate_upstream::Timeouts::backoff_min
const LOOKS_MAX: Duration = Duration::from_secs(5);

/// What is known of how long servers take to list.
#[derive(Debug, Default)]
pub(crate) struct Patience(Mutex<HashMap<u64, Known>>);

/// How it stands with a server's lists.
#[derive(Debug, Clone)]
pub(super) enum Stand {
    /// It answers in its usual time: where something older would do, so long is waited.
    Well(Duration),
    /// It answers, and late.
    Late,
    /// It does not answer, and this is why.
    Silent(Arc<Refusal>),
}

#[derive(Debug)]
struct Known {
    /// The quickest since then, and the quickest of the time before.
    quickest: [Option<Duration>; 2],
    since: Instant,
    /// Late ones in a row.
    late: u32,
    /// Why the last of them was no answer.
    silent: Option<Arc<Refusal>>,
    is_looked_at: bool,
    looks: u32,
    /// Not before then.
    next_look: Instant,
    /// Which lists went without it.
    without: HashSet<ListKind>,
}

impl Known {
    fn new(now: Instant) -> Self {
        Self {
            quickest: [None; 2],
            since: now,
            late: 0,
            silent: None,
            is_looked_at: false,
            looks: 0,
            next_look: now,
            without: HashSet::new(),
        }
    }

    fn patience(&self, least: Duration) -> Duration {
        let usual = self.quickest.iter().flatten().min();
        usual.map_or(least, |usual| usual.saturating_mul(USUAL_TIMES).max(least))
    }

    fn stand(&self, least: Duration) -> Stand {
        if self.late < LATE_MAX {
            return Stand::Well(self.patience(least));
        }
        self.silent.as_ref().map_or(Stand::Late, |why| Stand::Silent(Arc::clone(why)))
    }
}

/// One who looks whether a server answers again. There is one at a time.
#[derive(Debug)]
pub(super) struct Look {
    patience: Arc<Patience>,
    server: u64,
    wait_min: Duration,
}

impl Drop for Look {
    fn drop(&mut self) {
        if let Some(known) = self.patience.lock().get_mut(&self.server) {
            known.is_looked_at = false;
            if known.silent.is_some() {
                let wait = self.wait_min.saturating_mul(1 << known.looks.min(16)).min(LOOKS_MAX);
                known.looks = known.looks.saturating_add(1);
                known.next_look = Instant::now() + wait;
            }
        }
    }
}

impl Patience {
    /// How it stands with a server's lists.
    pub(super) fn of(&self, server: &Server) -> Stand {
        let least = server.settings().timeouts.list_patience;
        self.lock().get(&server.number()).map_or(Stand::Well(least), |known| known.stand(least))
    }

    /// A server's page has been there after so long, or there was none, and why. Gives back of which lists whoever is connected
    /// was shown nothing of it meanwhile, if that is over.
    pub(super) fn ended(
        &self,
        server: &Server,
        took: Duration,
        fault: Option<&Refusal>,
    ) -> HashSet<ListKind> {
        let least = server.settings().timeouts.list_patience;
        let now = Instant::now();
        let mut all = self.lock();
        let known = all.entry(server.number()).or_insert_with(|| Known::new(now));
        if now.duration_since(known.since) >= USUAL_FOR {
            known.quickest = [None, known.quickest[0]];
            known.since = now;
        }
        let Some(fault) = fault else {
            let quickest = &mut known.quickest[0];
            *quickest = Some(quickest.map_or(took, |quickest| quickest.min(took)));
            known.silent = None;
            known.looks = 0;
            if took > known.patience(least) {
                known.late = known.late.saturating_add(1);
            } else {
                known.late = 0;
            }
            return std::mem::take(&mut known.without);
        };
        // What fails at once keeps nobody waiting; it only says why, where nobody waits any more.
        if took > known.patience(least) || known.late >= LATE_MAX {
            known.late = known.late.saturating_add(1);
            known.silent = Some(Arc::new(fault.clone()));
        }
        HashSet::new()
    }

    /// Whoever looks whether a silent server answers again, if it is time.
    pub(super) fn look(self: &Arc<Self>, server: &Server) -> Option<Look> {
        let number = server.number();
        let mut all = self.lock();
        let known = all.get_mut(&number)?;
        if known.is_looked_at || Instant::now() < known.next_look {
            return None;
        }
        known.is_looked_at = true;
        drop(all);
        let wait_min = server.settings().timeouts.backoff_min;
        Some(Look { patience: Arc::clone(self), server: number, wait_min })
    }

    /// How long a silent server is waited for by whoever looks at it.
    pub(super) fn glance(&self, server: &Server) -> Duration {
        let least = server.settings().timeouts.list_patience;
        self.lock().get(&server.number()).map_or(least, |known| known.patience(least))
    }

    /// A list went without the server.
    pub(super) fn went_without(&self, server: &Server, kind: ListKind) {
        if let Some(known) = self.lock().get_mut(&server.number())
            && known.silent.is_some()
        {
            known.without.insert(kind);
        }
    }

    /// Forgets servers that are not there any more.
    pub(super) fn retain(&self, is_served: impl Fn(u64) -> bool) {
        self.lock().retain(|server, _| is_served(*server));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::{Code, ServerName, Stage};
    use tollgate_upstream::{HttpSettings, ServerSettings, Transport};

    const MS: Duration = Duration::from_millis(1);

    fn server() -> Server {
        let transport = Transport::Http(HttpSettings::new("http://localhost/".parse().expect("a URL")));
        let settings = ServerSettings::new(ServerName::new("s").expect("a name"), transport);
        Server::new(settings, tokio::sync::mpsc::channel(1).0).expect("a server")
    }

    fn late() -> Refusal {
        Refusal::new(Stage::Dispatch, Code::UpstreamTimeout, "it did not answer")
    }

    fn stand(patience: &Patience, server: &Server) -> &'static str {
        match patience.of(server) {
            Stand::Well(_) => "well",
            Stand::Late => "late",
            Stand::Silent(_) => "silent",
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_who_is_late_several_times_in_a_row_and_one_answer_in_time_ends_it() {
        let (patience, server) = (Patience::default(), server());
        let ends = |took| patience.ended(&server, took, None);
        ends(MS * 2);
        for _ in 0..3 {
            for _ in 0..2 {
                ends(MS * 151);
            }
            assert_eq!(stand(&patience, &server), "well");
            ends(MS * 40);
        }
        for _ in 0..3 {
            ends(MS * 151);
        }
        assert_eq!(stand(&patience, &server), "late");
        ends(MS * 3);
        assert_eq!(stand(&patience, &server), "well");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_always_slow_is_waited_for_and_who_has_been_slow_for_minutes_again() {
        let (patience, server) = (Patience::default(), server());
        let ends = |took| patience.ended(&server, took, None);
        for _ in 0..10 {
            ends(MS * 400);
        }
        assert!(matches!(patience.of(&server), Stand::Well(wait) if wait == MS * 1600));
        ends(MS);
        let mut minutes = 0;
        for _ in 0..3 {
            ends(MS * 400);
        }
        assert_eq!(stand(&patience, &server), "late");
        while stand(&patience, &server) == "late" {
            tokio::time::advance(Duration::from_mins(1)).await;
            minutes += 1;
            ends(MS * 400);
        }
        assert!((5..=10).contains(&minutes), "{minutes}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_looked_at_by_one_at_a_time_and_less_and_less_often() {
        let (patience, server) = (Arc::new(Patience::default()), server());
        for _ in 0..5 {
            patience.ended(&server, MS, Some(&late()));
        }
        assert_eq!(stand(&patience, &server), "well", "what fails at once keeps nobody waiting");
        for _ in 0..3 {
            patience.ended(&server, MS * 1000, Some(&late()));
        }
        assert_eq!(stand(&patience, &server), "silent");
        patience.went_without(&server, ListKind::Tools);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let began = Instant::now();
            let look = loop {
                match patience.look(&server) {
                    Some(look) => break look,
                    None => tokio::time::advance(MS * 100).await,
                }
            };
            waits.push(began.elapsed());
            assert!(patience.look(&server).is_none(), "somebody does");
            patience.ended(&server, MS, Some(&late()));
            drop(look);
        }
        assert_eq!(waits, [0, 500, 1000, 2000, 4000, 5000].map(|ms| MS * ms));
        assert_eq!(stand(&patience, &server), "silent");
        let told = patience.ended(&server, MS * 2, None);
        assert_eq!(told, HashSet::from([ListKind::Tools]));
        assert_eq!(stand(&patience, &server), "well");
        assert!(patience.ended(&server, MS * 2, None).is_empty(), "once");
    }
}
