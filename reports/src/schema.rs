//! Goal: the JSON Schemas in `reports/schema`, which readers in other languages check against, say what is written, and
//! refuse what is not. Method: they are made from the types and their documentation, kept in files, and made again here;
//! samples are validated, and broken ones too. `UPDATE_SCHEMAS=1 cargo test -p reports` writes the files anew.

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::samples::{campaign, sweep::sweep, tally};
use crate::{Event, Report, SCHEMA, Tally};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name)
}

/// The schema of a type as it is written, not of all that is read.
fn made<T: JsonSchema>(title: &str) -> Value {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    let mut schema = schema.to_value();
    schema["title"] = json!(title);
    if let Some(number) = schema.pointer_mut("/properties/schema") {
        number["const"] = json!(SCHEMA);
    }
    schema
}

fn of_file(name: &str) -> Validator {
    let text = fs::read_to_string(path(name)).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn report() -> Validator {
    of_file("report.schema.json")
}

fn event() -> Validator {
    of_file("event.schema.json")
}

fn value(report: &Report) -> Value {
    serde_json::from_str(&report.to_json().unwrap()).unwrap()
}

#[test]
fn the_files_are_the_schemas_of_the_types() {
    let schemas = [
        ("report.schema.json", made::<Report>("report.json of killpoint")),
        ("event.schema.json", made::<Event>("A line of killpoint's events.jsonl after the first")),
    ];
    for (name, schema) in schemas {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::write(path(name), &text).unwrap();
        }
        let kept = fs::read_to_string(path(name)).unwrap();
        assert!(kept == text, "{name} is not what the types say: UPDATE_SCHEMAS=1 cargo test -p reports");
    }
}

#[test]
fn reports_of_every_kind_are_valid() {
    for tally in [tally(&campaign()), tally(&sweep()), Tally::default(), tally(&sweep()[..9])] {
        let report = value(&Report::from(&tally));
        let errors: Vec<String> =
            self::report().iter_errors(&report).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new());
    }
}

/// What the snapshots of `report.json` hold is what was once published.
#[test]
fn the_snapshots_of_reports_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/snapshots");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let json = text.splitn(3, "---\n").nth(2).unwrap();
        let report: Value = serde_json::from_str(json).unwrap();
        assert!(self::report().is_valid(&report));
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn a_broken_report_is_refused() {
    let sound = value(&Report::from(&tally(&sweep())));
    type Change = fn(&mut Value);
    let breaks: [(&str, Change); 8] = [
        ("another schema", |report| report["schema"] = json!(2)),
        ("an unknown field", |report| report["extra"] = json!(1)),
        ("an unknown verdict", |report| report["findings"][0]["verdict"] = json!("fine")),
        ("a count below zero", |report| report["states"]["raw"] = json!(-1)),
        ("a count that is no number", |report| report["verdicts"]["corrupt"] = json!("3")),
        ("no seed", |report| drop(report.as_object_mut().unwrap().remove("seed"))),
        ("no fixture", |report| drop(report.as_object_mut().unwrap().remove("fixture_id"))),
        ("a finding without a token", |report| {
            drop(report["findings"][0].as_object_mut().unwrap().remove("token"));
        }),
    ];
    for (what, change) in breaks {
        let mut broken = sound.clone();
        change(&mut broken);
        assert_ne!(broken, sound);
        assert!(!report().is_valid(&broken), "{what}");
    }
}

#[test]
fn events_are_valid_and_broken_ones_are_refused() {
    let validator = event();
    for event in campaign().iter().chain(&sweep()) {
        let event = serde_json::to_value(event).unwrap();
        let errors: Vec<String> = validator.iter_errors(&event).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{event}");
        let mut broken = event.clone();
        broken["event"] = json!("something-else");
        assert!(!validator.is_valid(&broken), "{broken}");
        let mut broken = event;
        broken["extra"] = json!(1);
        assert!(!validator.is_valid(&broken), "{broken}");
    }
}
