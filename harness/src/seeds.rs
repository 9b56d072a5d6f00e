//! Random numbers of a campaign: one seed, and a stream of its own for each use, so that a draw that is added in
//! one place changes nothing elsewhere.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator of one use, told apart by its name and by numbers such as the iteration.
pub fn stream(seed: u64, name: &str, numbers: &[u64]) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn a_stream_depends_on_everything_that_names_it_and_on_nothing_else() {
        let draw = |seed, name, numbers: &[u64]| stream(seed, name, numbers).next_u64();
        assert_eq!(draw(1, "kills", &[1, 2]), draw(1, "kills", &[1, 2]));
        let others = [draw(2, "kills", &[1, 2]), draw(1, "kill", &[1, 2]), draw(1, "kills", &[2, 1])];
        assert!(others.iter().all(|other| *other != draw(1, "kills", &[1, 2])));
    }
}
