//! The directory that a campaign's results go to: a new one, or the one of a sweep that goes on where it was.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Zoned;
use reports::{CampaignStarted, Event, EventLog};

use crate::error::Error;
use crate::sweep::earlier::Earlier;

/// Makes a directory, the one that was chosen or one below `runs`. An existing directory is taken only if nothing is in
/// it: two campaigns must not mix.
pub fn make(chosen: Option<&Path>, scenario: &str) -> Result<PathBuf, Error> {
    if let Some(dir) = chosen {
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let mut entries = fs::read_dir(dir).map_err(Error::io(dir))?;
        return match entries.next() {
            None => Ok(dir.to_owned()),
            Some(_) => Err(Error::RunDirTaken(dir.to_owned())),
        };
    }
    let time = Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    fs::create_dir_all("runs").map_err(Error::io("runs"))?;
    for ordinal in 1.. {
        let suffix = if ordinal == 1 { String::new() } else { format!("-{ordinal}") };
        let dir = PathBuf::from(format!("runs/{scenario}-{time}{suffix}"));
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(&dir)(error)),
        }
    }
    Err(Error::RunDirTaken("runs".into()))
}

/// Events of earlier tries of a campaign, one list for each try.
pub type Tries = Vec<Vec<Event>>;

/// What was done in a chosen directory before: nothing where it is new or empty.
pub fn tries(chosen: Option<&Path>) -> Result<Tries, Error> {
    match chosen {
        Some(dir) if dir.exists() => {
            Ok(EventLog::read_all(dir)?.into_iter().map(|recorded| recorded.events).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// The campaign that a directory holds.
pub fn campaign_of(tries: &Tries) -> Option<&CampaignStarted> {
    tries.iter().flatten().find_map(|event| match event {
        Event::CampaignStarted(started) => Some(started),
        _ => None,
    })
}

/// Takes over what another sweep found to recover, if the same would be found here.
pub fn take_over(dir: &Path, started: &CampaignStarted, earlier: &mut Earlier) -> Result<(), Error> {
    let not_known =
        |(what, recorded, found)| Error::NotKnown { run_dir: dir.to_owned(), what, recorded, found };
    let tries = tries(Some(dir))?;
    let before = campaign_of(&tries)
        .ok_or_else(|| not_known(("campaign", "none".to_owned(), started.scenario.clone())))?;
    if let Some(differs) = before.judges_unlike(started) {
        return Err(not_known(differs));
    }
    tries.into_iter().for_each(|events| earlier.add_recovered(dir, events));
    Ok(())
}

/// Goes on with a campaign in its directory, if it is the same one. What was known is put aside and added to what is known
/// from elsewhere.
pub fn go_on(
    dir: &Path,
    tries: Tries,
    started: &CampaignStarted,
    mut earlier: Earlier,
) -> Result<Earlier, Error> {
    if let Some(before) = campaign_of(&tries) {
        let shards = |started: &CampaignStarted| {
            started.shard.map_or_else(|| "none".to_owned(), |(index, of)| format!("{index}/{of}"))
        };
        let differs = before
            .differs_from(started)
            .or((before.shard != started.shard).then(|| ("shard", shards(before), shards(started))));
        if let Some((what, recorded, found)) = differs {
            return Err(Error::OtherCampaign { run_dir: dir.to_owned(), what, recorded, found });
        }
    }
    EventLog::set_aside(dir)?;
    tries.into_iter().for_each(|events| earlier.add(events));
    Ok(earlier)
}
