//! `report.json` as its readers see it: every field, in its order, and never half a file.

use super::*;
use crate::samples::{campaign, sweep::sweep, tally};

#[test]
fn report_json_of_the_sample_campaign() {
    let report = Report::from(&tally(&campaign()));
    insta::assert_snapshot!(report.to_json().unwrap());
}

#[test]
fn report_json_of_the_sample_sweep() {
    insta::assert_snapshot!(Report::from(&tally(&sweep())).to_json().unwrap());
}

/// Findings of a report that was written before any could be expected are not.
#[test]
fn a_finding_that_does_not_say_is_not_expected() {
    let dir = tempfile::tempdir().unwrap();
    let report = Report::from(&tally(&campaign()));
    let json = report.to_json().unwrap();
    let older = json.replacen(",\n      \"expected\": false", "", 1);
    assert_ne!(older, json);
    fs::write(Report::path(dir.path()), older).unwrap();
    assert_eq!(Report::read(dir.path()).unwrap(), report);
}

#[test]
fn a_report_reads_back_as_it_was_written_and_replaces_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    Report::from(&Tally::default()).write(dir.path()).unwrap();
    let report = Report::from(&tally(&sweep()));
    let path = report.write(dir.path()).unwrap();
    assert_eq!(Report::read(dir.path()).unwrap(), report);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [path]);
}

#[test]
fn a_report_of_another_schema_or_with_an_unknown_field_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let json = Report::from(&tally(&campaign())).to_json().unwrap();
    for (change, said) in [
        (("\"schema\": 1", "\"schema\": 2"), "schema 2, not 1"),
        (("\"seed\"", "\"sed\""), "unknown field `sed`"),
    ] {
        fs::write(Report::path(dir.path()), json.replacen(change.0, change.1, 1)).unwrap();
        let error = Report::read(dir.path()).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.starts_with(said), "{source}");
    }
}

/// A directory that is not there is an error that names the file and keeps its errno.
#[test]
fn a_failed_write_names_the_file_and_keeps_the_errno() {
    let error = Report::from(&Tally::default()).write("no/such/place").unwrap_err();
    assert_eq!(error.to_string(), "cannot write `no/such/place/report.json`");
    assert_eq!(error.errno(), Some(libc::ENOENT));
    assert!(!error.is_disk_full());
}
