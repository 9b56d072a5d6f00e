//! Random numbers of the power model: one seed, and a stream of its own for each use.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::Xxh3;

/// The generator of one use, told apart by its name and by numbers such as the op.
pub(super) fn stream(seed: u64, name: &str, numbers: &[u64]) -> ChaCha8Rng {
    let mut hasher = Xxh3::new();
    hasher.update(name.as_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(hasher.digest());
    generator
}
