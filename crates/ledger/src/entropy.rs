//! Random bytes, asked of the system in larger pieces: a call needs several small ones.

use std::cell::RefCell;

use ring::error::Unspecified;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroize as _;

/// How much is asked for at once.
const POOL_BYTES: usize = 512;

struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

/// So many random bytes, which nobody else gets.
pub(crate) fn random<const LEN: usize>() -> Result<[u8; LEN], Unspecified> {
    const { assert!(LEN <= POOL_BYTES) };
    POOL.with_borrow_mut(|pool| {
        if POOL_BYTES - pool.used < LEN {
            SystemRandom::new().fill(&mut pool.bytes)?;
            pool.used = 0;
        }
        let taken = &mut pool.bytes[pool.used..pool.used + LEN];
        let mut random = [0; LEN];
        random.copy_from_slice(taken);
        taken.zeroize();
        pool.used += LEN;
        Ok(random)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::random;

    #[test]
    fn no_bytes_are_given_twice() {
        let all: HashSet<[u8; 16]> = (0..1000).map(|_| random().expect("random bytes")).collect();
        assert_eq!(all.len(), 1000);
        assert!(!all.contains(&[0; 16]));
    }
}
