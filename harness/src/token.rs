//! The reproduction of a finding, as one word that can be pasted.
//!
//! ```text
//! kp1:mixed-layout@small:hook:6f1d…:s1:grow:a37k,t44.3w:90ab…:77ce…[:dev=4096.old/disk][:bug=random-guid][:exec=…]
//!     scenario     scale seam digest seed phase kills     fixture crash state
//! ```
//!
//! The kills are faults as in [`fault_backend::fault`], one per run of the tool, each with what became of the scratch
//! directory after it: `k` kept, `w` wiped; `-` stands for none. A power cut is a [`PowerState`] in a fault's place, with
//! `d` behind it where the tool had said that it was done, and `dev` says on which device. The digest is the resolved scenario's and the other two are content ids,
//! each cut to 16 digits: enough to notice a change, which is all that they are for. Ops are numbered by the seam (`fuse`
//! or `hook`) that saw them. Where a command line stands for a scenario, `exec` holds it.

use std::fmt;
use std::str::FromStr;

use fault_backend::power::{DeviceProfile, Durability, PowerState, Units};
use fault_backend::{Action, ContentId, Fault};
use reports::Seam;

/// In place of kills, where there are none.
const NO_KILLS: &str = "-";

/// Ops that a power cut lost, as far as they are listed for a person.
const OPS_SHOWN: usize = 6;

/// Digits of a digest or content id in a token.
const ID_DIGITS: usize = 16;

/// What to do again, and what it must lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Scenario's name.
    pub scenario: String,
    /// Scale, where the scenario has scales.
    pub scale: Option<String>,
    /// The seam whose ops the kills are counted in.
    pub seam: Seam,
    /// Digest of the resolved scenario, 16 hexadecimal digits.
    pub digest: String,
    /// Seed of the campaign.
    pub seed: u64,
    /// Phase.
    pub phase: String,
    /// The kills, one per run of the tool; none where the tool failed before it was killed.
    pub kills: Vec<TokenKill>,
    /// Content id of the fixture, 16 digits.
    pub fixture: String,
    /// Content id of the volume at the last crash, 16 digits.
    pub crash: String,
    /// The device that lost its power, and what a flush covers; none where no power was lost.
    pub device: Option<(DeviceProfile, Durability)>,
    /// Planted bug, for a tool that was built with them.
    pub bug: Option<String>,
    /// The command line that stands for a scenario, as [`crate::exec`] writes it.
    pub exec: Option<String>,
}

/// One kill, or what disturbs a run otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKill {
    /// Where the run is cut or disturbed; always an action at an op.
    pub fault: Fault,
    /// What of the run up to there is lost with the power; none where only the tool dies.
    pub power: Option<PowerState>,
    /// The scratch directory was wiped after it.
    pub wipe: bool,
    /// The tool had said that it was done, so that nothing is resumed.
    pub done: bool,
}

/// A text that is not a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not begin like one.
    #[error("this is no token: one begins with `kp1:`")]
    NotAToken,
    /// It has too few or too many parts.
    #[error("the token is incomplete or was cut: it has {found} parts, 9 to 12 are expected")]
    Parts {
        /// Parts that there are.
        found: usize,
    },
    /// A part makes no sense.
    #[error("the token's {part} makes no sense: `{text}`")]
    Part {
        /// Which.
        part: &'static str,
        /// What is there.
        text: String,
    },
}

/// A content id as a token holds it.
pub fn short(id: ContentId) -> String {
    id.to_string()[..ID_DIGITS].to_owned()
}

impl Token {
    /// The kills in words.
    pub fn describe_kills(&self) -> String {
        match self.kills.as_slice() {
            [] => "not at all".to_owned(),
            kills => kills.iter().map(TokenKill::describe).collect::<Vec<_>>().join(", then "),
        }
    }

    /// The same with how many there are, where there are several: `2 kills: after op 5, then after op 2`.
    pub fn describe_chain(&self) -> String {
        let plain = |kill: &TokenKill| kill.power.is_none() && kill.fault.is_kill();
        let noun = if self.kills.iter().all(plain) { "kills" } else { "faults" };
        match self.kills.len() {
            0 | 1 => self.describe_kills(),
            n => format!("{n} {noun}: {}", self.describe_kills()),
        }
    }
}

impl TokenKill {
    /// A kill, or what disturbs a run.
    pub fn new(fault: Fault, wipe: bool) -> Self {
        Self { fault, power: None, wipe, done: false }
    }

    /// A power cut.
    pub fn power(state: PowerState, wipe: bool) -> Self {
        Self { fault: Fault::AtOp(state.cut, Action::KillAfter), power: Some(state), wipe, done: false }
    }

    /// A power cut after the tool has said that it is done; what it left in the scratch directory does not matter.
    pub fn power_at_end(state: PowerState) -> Self {
        Self { done: true, ..Self::power(state, true) }
    }

    /// The kill in words.
    pub fn describe(&self) -> String {
        if let Some(state) = &self.power {
            let after = match (self.done, self.wipe) {
                (true, _) => "after the run's end",
                (false, true) => "scratch wiped",
                (false, false) => "scratch kept",
            };
            return format!("{} ({after})", describe_power(state));
        }
        let point = match &self.fault {
            Fault::AtOp(0, _) => "before the first op".to_owned(),
            Fault::AtOp(n, Action::KillBefore) => format!("before op {n}"),
            Fault::AtOp(n, Action::KillAfter) => format!("after op {n}"),
            Fault::AtOp(n, Action::KillTorn(sectors)) => format!("inside op {n}, after {sectors} sectors"),
            Fault::AtOp(n, action) => format!("op {n} {}", describe_action(*action)),
            Fault::FromOp(n, action) => format!("every op from {n} on {}", describe_action(*action)),
            other => other.to_string(),
        };
        if !self.fault.is_kill() {
            return point;
        }
        format!("{point} (scratch {})", if self.wipe { "wiped" } else { "kept" })
    }
}

/// What happens to an op that a run goes on after.
fn describe_action(action: Action) -> String {
    match action {
        Action::Fail(failure) => format!("answers {:?}", failure.errno()),
        Action::Short(bytes) => format!("writes only {bytes} bytes"),
        Action::Signal(signal) => format!("is met by {signal}"),
        other => format!("is met by {other:?}"),
    }
}

/// A power cut in words: `power cut after op 12, without ops 3 and 7`.
fn describe_power(state: &PowerState) -> String {
    let cut = match state.cut {
        0 => "power cut before the first op".to_owned(),
        cut => format!("power cut after op {cut}"),
    };
    let lost = match state.dropped.as_slice() {
        [] => String::new(),
        [op] => format!(", without op {op}"),
        ops => {
            let shown: Vec<String> = ops.iter().take(OPS_SHOWN).map(u64::to_string).collect();
            match ops.len() - shown.len() {
                0 => format!(", without ops {}", shown.join(", ")),
                more => format!(", without ops {} and {more} more", shown.join(", ")),
            }
        }
    };
    let torn = state.torn.map_or_else(String::new, |torn| {
        let part = match torn.units {
            Units::First(n) => format!("the first {n}"),
            Units::Last(n) => format!("the last {n}"),
            Units::Only(n) => format!("only number {n}"),
            Units::Sample(_) => "a drawn choice".to_owned(),
        };
        format!(", of op {} {part} of the device's units", torn.op)
    });
    format!("{cut}{lost}{torn}")
}

/// As tokens and events hold them: `a12k,t3.8w`.
pub fn faults_text(kills: &[TokenKill]) -> String {
    match kills {
        [] => NO_KILLS.to_owned(),
        kills => kills.iter().map(TokenKill::to_string).collect::<Vec<_>>().join(","),
    }
}

impl fmt::Display for TokenKill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wipe = match (self.done, self.wipe) {
            (true, _) => 'd',
            (false, true) => 'w',
            (false, false) => 'k',
        };
        match &self.power {
            Some(state) => write!(f, "{state}{wipe}"),
            None => write!(f, "{}{wipe}", self.fault),
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kp1:{}", self.scenario)?;
        if let Some(scale) = &self.scale {
            write!(f, "@{scale}")?;
        }
        write!(f, ":{}:{}:s{}:{}:", seam_name(self.seam), self.digest, self.seed, self.phase)?;
        write!(f, "{}:{}:{}", faults_text(&self.kills), self.fixture, self.crash)?;
        if let Some((device, durability)) = &self.device {
            write!(f, ":dev={}/{durability}", device.word())?;
        }
        if let Some(bug) = &self.bug {
            write!(f, ":bug={bug}")?;
        }
        if let Some(exec) = &self.exec {
            write!(f, ":exec={exec}")?;
        }
        Ok(())
    }
}

fn seam_name(seam: Seam) -> &'static str {
    match seam {
        Seam::Fuse => "fuse",
        Seam::InProcess => "hook",
    }
}

impl FromStr for Token {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let rest = text.trim().strip_prefix("kp1:").ok_or(TokenError::NotAToken)?;
        let parts: Vec<&str> = rest.split(':').collect();
        let wrong = |part: &'static str, text: &str| TokenError::Part { part, text: text.to_owned() };
        let (head, tail) = parts.split_at_checked(8).unwrap_or_default();
        let &[scenario, seam, digest, seed, phase, kills, fixture, crash] = head else {
            return Err(TokenError::Parts { found: parts.len() + 1 });
        };
        let (mut device, mut bug, mut exec) = (None, None, None);
        for part in tail {
            match part.split_once('=') {
                Some(("dev", word)) if device.is_none() && bug.is_none() && exec.is_none() => {
                    device = Some(parse_device(word).ok_or_else(|| wrong("device", word))?);
                }
                Some(("bug", name)) if bug.is_none() && exec.is_none() => bug = Some(name.to_owned()),
                Some(("exec", text)) if exec.is_none() => exec = Some(text.to_owned()),
                _ => return Err(wrong("addition", part)),
            }
        }
        let (scenario, scale) = match scenario.split_once('@') {
            Some((scenario, scale)) => (scenario, Some(scale.to_owned())),
            None => (scenario, None),
        };
        let hex = |part: &'static str, text: &str| {
            let good = text.len() == ID_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
            if good { Ok(text.to_owned()) } else { Err(wrong(part, text)) }
        };
        Ok(Self {
            scenario: scenario.to_owned(),
            scale,
            seam: match seam {
                "fuse" => Seam::Fuse,
                "hook" => Seam::InProcess,
                _ => return Err(wrong("seam", seam)),
            },
            digest: hex("scenario digest", digest)?,
            seed: seed.strip_prefix('s').and_then(|s| s.parse().ok()).ok_or_else(|| wrong("seed", seed))?,
            phase: phase.to_owned(),
            kills: match kills {
                NO_KILLS => Vec::new(),
                kills => kills.split(',').map(parse_kill).collect::<Result<_, _>>()?,
            },
            fixture: hex("fixture id", fixture)?,
            crash: hex("crash state id", crash)?,
            device,
            bug,
            exec,
        })
    }
}

/// A device and a rule: `4096.old/posix`.
fn parse_device(text: &str) -> Option<(DeviceProfile, Durability)> {
    let (device, durability) = text.split_once('/')?;
    Some((DeviceProfile::from_word(device).ok()?, durability.parse().ok()?))
}

fn parse_kill(text: &str) -> Result<TokenKill, TokenError> {
    let wrong = || TokenError::Part { part: "kill", text: text.to_owned() };
    if let Some(state) = text.strip_suffix('d') {
        return state.parse().map(TokenKill::power_at_end).map_err(|_| wrong());
    }
    let (fault, wipe) = match (text.strip_suffix('k'), text.strip_suffix('w')) {
        (Some(fault), _) => (fault, false),
        (_, Some(fault)) => (fault, true),
        _ => return Err(wrong()),
    };
    if fault.starts_with('p') {
        return fault.parse().map(|state| TokenKill::power(state, wipe)).map_err(|_| wrong());
    }
    let disturbs = |action| matches!(action, Action::Fail(_) | Action::Short(_) | Action::Signal(_));
    match fault.parse() {
        Ok(fault @ Fault::AtOp(..)) if fault.is_kill() => Ok(TokenKill::new(fault, wipe)),
        Ok(fault @ (Fault::AtOp(_, action) | Fault::FromOp(_, action))) if disturbs(action) => {
            Ok(TokenKill::new(fault, wipe))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fault_backend::power::Torn;
    use proptest::prelude::*;

    fn any_kill() -> impl Strategy<Value = TokenKill> {
        let action = prop_oneof![
            Just(Action::KillBefore),
            Just(Action::KillAfter),
            any::<u32>().prop_map(Action::KillTorn)
        ];
        let killed = (1..u64::MAX, action, any::<bool>())
            .prop_map(|(op, action, wipe)| TokenKill::new(Fault::AtOp(op, action), wipe));
        let torn = prop::option::of((any::<u64>(), any::<u64>()))
            .prop_map(|torn| torn.map(|(op, n)| Torn { op, units: Units::Last(n) }));
        let after = prop::sample::select(vec!['k', 'w', 'd']);
        let cut = (any::<u64>(), prop::collection::btree_set(any::<u64>(), 0..4), torn, after);
        let cut = cut.prop_map(|(cut, dropped, torn, after)| {
            let state = PowerState { cut, dropped: dropped.into_iter().collect(), torn };
            match after {
                'd' => TokenKill::power_at_end(state),
                after => TokenKill::power(state, after == 'w'),
            }
        });
        prop_oneof![killed, cut]
    }

    proptest! {
        #[test]
        fn a_token_parses_back_from_its_text(
            scenario in "[a-z0-9-]{1,12}", scale in prop::option::of("[a-z]{1,6}"), digest in "[0-9a-f]{16}",
            seed in any::<u64>(), phase in "[a-z-]{1,8}", kills in prop::collection::vec(any_kill(), 0..5),
            fixture in "[0-9a-f]{16}", crash in "[0-9a-f]{16}", bug in prop::option::of("[a-z-]{1,12}"),
            exec in prop::option::of("[a-zA-Z0-9_-]{1,20}"), fuse in any::<bool>(),
            device in prop::option::of(prop::sample::select(vec!["512.old/disk", "write.zeros.deaf/posix"])))
        {
            let seam = if fuse { Seam::Fuse } else { Seam::InProcess };
            let device = device.map(|word| parse_device(word).unwrap());
            let token =
                Token { scenario, scale, seam, digest, seed, phase, kills, fixture, crash, device, bug, exec };
            prop_assert_eq!(token.to_string().parse(), Ok(token));
        }

        #[test]
        fn a_cut_token_is_an_error_and_no_panic(cut in 0usize..95) {
            let whole = "kp1:mixed-layout@small:fuse:0123456789abcdef:s1:grow:a37k,t44.3w:0123456789abcdef:fedcba9876543210";
            if let Some(text) = whole.get(..cut) {
                prop_assert!(text.parse::<Token>().is_err(), "{}", text);
            }
        }
    }

    #[test]
    fn each_part_that_makes_no_sense_is_named() {
        let good = [
            "a",
            "hook",
            "0123456789abcdef",
            "s1",
            "grow",
            "a3k",
            "0123456789abcdef",
            "0123456789abcdef",
            "bug=x",
        ];
        for (at, bad, part) in [
            (2, "xyz", "scenario digest"),
            (3, "1", "seed"),
            (5, "a3", "kill"),
            (5, "dgpt.5k", "kill"),
            (5, "", "kill"),
            (5, "p3-2.1k", "kill"),
            (8, "dev=1.old/disk", "device"),
            (8, "dev=512.old", "device"),
            (6, "0", "fixture id"),
            (7, "0123456789abcdeg", "crash state id"),
            (1, "wood", "seam"),
            (8, "x", "addition"),
        ] {
            let mut parts = good;
            parts[at] = bad;
            let error = format!("kp1:{}", parts.join(":")).parse::<Token>().unwrap_err();
            let text = bad.strip_prefix("dev=").unwrap_or(bad).to_owned();
            assert_eq!(error, TokenError::Part { part, text });
        }
        assert!(format!("kp1:{}", good.join(":")).parse::<Token>().is_ok());
    }
}
