//! Which cores processes run on: so that what offers a load takes nothing from what carries it.

use std::fs;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;

/// Two groups of processes that share no core, until this is dropped.
pub(crate) struct Apart {
    pids: Vec<u32>,
    before: CpuSet,
}

impl Apart {
    /// Leaves the first core to `carrying` alone, and the others to `offering`. None where there is one core only.
    pub(crate) fn put(carrying: &[u32], offering: &[u32]) -> Result<Option<Apart>> {
        let before = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| before.is_set(core));
        let (Some(first), Some(second)) = (cores.next(), cores.next()) else { return Ok(None) };
        let (mut own, mut others) = (CpuSet::new(), CpuSet::new());
        own.set(first);
        std::iter::once(second).chain(cores).for_each(|core| others.set(core));
        let apart = Apart { pids: [carrying, offering].concat(), before };
        confine(carrying, &own)?;
        confine(offering, &others)?;
        Ok(Some(apart))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = confine(&self.pids, &self.before);
    }
}

/// Threads that are there; those to come are where the thread is that starts them.
fn confine(pids: &[u32], cores: &CpuSet) -> Result<()> {
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let id = thread?.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
            match sched_setaffinity(Some(id.ok_or("a thread without a number")?), cores) {
                // It has ended meanwhile.
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::process::Running;

    #[test]
    fn two_processes_are_apart_and_together_again() {
        let [one, other] = [(); 2].map(|()| Running::start(Command::new("sleep").arg("60"), None).unwrap());
        let cores_of = |running: &Running| {
            sched_getaffinity(Pid::from_raw(i32::try_from(running.family()[0]).unwrap())).unwrap()
        };
        let before = cores_of(&one);
        let Some(apart) = Apart::put(&one.family(), &other.family()).unwrap() else { return };
        let (first, second) = (cores_of(&one), cores_of(&other));
        assert_eq!(first.count(), 1);
        assert_eq!(second.count() + 1, before.count());
        assert!((0..CpuSet::MAX_CPU).all(|core| !(first.is_set(core) && second.is_set(core))));
        drop(apart);
        assert_eq!(cores_of(&one), before);
        assert_eq!(cores_of(&other), before);
    }
}
