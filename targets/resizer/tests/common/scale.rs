//! How many random cases the tests try: `RESIZER_TEST_SCALE` multiplies the usual numbers.

/// `usual` cases, times the scale.
pub fn cases(usual: u32) -> u32 {
    let scale = std::env::var("RESIZER_TEST_SCALE").unwrap_or_else(|_| "1".to_owned());
    usual * scale.parse::<u32>().expect("RESIZER_TEST_SCALE is a whole number").max(1)
}
