//! The in-process seam: a tool that links this crate opens its disk through [`wrap`], and obeys [`ENVIRONMENT`].
//!
//! The variable holds one JSON object, [`HookConfig`]. Without it the device is passed through untouched and
//! nothing is recorded. A kill ends the tool's whole process group with SIGKILL.

use std::env::{self, VarError};
use std::io;
use std::path::PathBuf;
use std::thread::park;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::block::BlockDevice;
use crate::fault::FaultPlan;
use crate::faulty::FaultyDevice;
use crate::hook_log::OpLogWriter;

/// Name of the environment variable that the hook obeys.
pub const ENVIRONMENT: &str = "KILLPOINT_HOOK";

/// What a tool is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookConfig {
    /// Where the op log goes; the file must not exist yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// The plan's text, as in [`crate::fault`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plan: String,
}

/// The hook was told something that it can't do.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The variable is not Unicode.
    #[error("`{ENVIRONMENT}` is not Unicode")]
    NotUnicode,
    /// The variable is not the JSON that is expected.
    #[error("`{ENVIRONMENT}` is not a hook configuration")]
    Json(#[from] serde_json::Error),
    /// The plan makes no sense.
    #[error("`{ENVIRONMENT}` holds a bad plan")]
    Plan(#[from] crate::fault::PlanError),
    /// The op log can't be made.
    #[error("the op log `{path}` can't be made")]
    Log {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Wraps a device as the environment says.
pub fn wrap<D: BlockDevice>(inner: D) -> Result<FaultyDevice<D>, HookError> {
    match env::var(ENVIRONMENT) {
        Ok(text) => wrap_configured(inner, &serde_json::from_str(&text)?),
        Err(VarError::NotPresent) => wrap_configured(inner, &HookConfig::default()),
        Err(VarError::NotUnicode(_)) => Err(HookError::NotUnicode),
    }
}

/// Wraps a device as a configuration says.
pub fn wrap_configured<D: BlockDevice>(inner: D, config: &HookConfig) -> Result<FaultyDevice<D>, HookError> {
    let plan: FaultPlan = config.plan.parse()?;
    let log = match &config.log {
        Some(path) => {
            Some(OpLogWriter::create(path).map_err(|source| HookError::Log { path: path.clone(), source })?)
        }
        None => None,
    };
    let device = FaultyDevice::new(inner, plan, log, Box::new(kill_own_group));
    Ok(device.with_signal(Box::new(|signal| {
        // The caller's own group always exists, and a signal to it is always allowed.
        let _sent = kill(Pid::from_raw(0), signal);
    })))
}

/// Process id 0 means the caller's own group, so this ends the caller too.
fn kill_own_group() {
    loop {
        if kill(Pid::from_raw(0), Signal::SIGKILL).is_err() {
            std::process::abort();
        }
        park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::FileDevice;

    fn device() -> FileDevice {
        FileDevice::new(tempfile::tempfile().unwrap(), 0, 512)
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused() {
        for text in ["{", r#"{"plan": 5}"#, r#"{"plans": "a1"}"#] {
            assert!(serde_json::from_str::<HookConfig>(text).is_err(), "{text}");
        }
        let bad_plan = HookConfig { plan: "z1".to_owned(), log: None };
        assert!(matches!(wrap_configured(device(), &bad_plan), Err(HookError::Plan(_))));
        let bad_log = HookConfig { plan: String::new(), log: Some("/nonexistent/ops".into()) };
        assert!(matches!(wrap_configured(device(), &bad_log), Err(HookError::Log { .. })));
    }

    #[test]
    fn a_configuration_round_trips_through_its_text() {
        let config = HookConfig { log: Some("/x y/ops".into()), plan: "a3,dgpt.5".to_owned() };
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<HookConfig>(&text).unwrap(), config);
    }
}
