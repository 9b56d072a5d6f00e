//! The scenarios that ship: every one loads at every scale, reads back as it was written, and is known to all who list
//! them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use scenarios::model::{Oracle, Scenario};
use scenarios::{Expected, fixture, load, placeholder, programs, shipped};

/// Every scenario at every scale that it has.
fn all() -> Vec<scenarios::Resolved> {
    let mut all = Vec::new();
    for shipped in shipped() {
        let default = load(shipped.name, None).unwrap_or_else(|error| panic!("{error}"));
        for scale in default.scenario.scale.keys() {
            all.push(load(shipped.name, Some(scale)).unwrap_or_else(|error| panic!("{error}")));
        }
        if default.scenario.scale.is_empty() {
            all.push(default);
        }
    }
    all
}

#[test]
fn the_list_is_the_files_that_lie_in_the_three_folders() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeSet::new();
    for folder in ["", "image/", "open/"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".toml") && name != "Cargo.toml" {
                files.insert(format!("{folder}{name}"));
            }
        }
    }
    let names: Vec<&str> = shipped().iter().map(|shipped| shipped.name).collect();
    assert!(names.is_sorted());
    let listed: BTreeSet<String> = shipped().iter().map(|shipped| shipped.path.to_owned()).collect();
    assert_eq!(listed, files);
    assert_eq!(names.len(), files.len());
}

/// A helper that is not embedded would be missing in an installed binary, and one that nothing uses is a leftover.
#[test]
fn a_scenario_with_helpers_embeds_exactly_those_that_it_uses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["image", "open"] {
        let mut used = BTreeSet::new();
        for shipped in shipped().iter().filter(|shipped| Path::new(shipped.path).starts_with(folder)) {
            let embedded = load(shipped.name, None).unwrap();
            let file = load(root.join(shipped.path).to_str().unwrap(), None).unwrap();
            assert_eq!(embedded.digest(), file.digest(), "{}", shipped.name);
            assert_eq!(embedded.expected, file.expected, "{}", shipped.name);
            let expected = embedded.scenario.expect.iter().map(|expect| expect.findings.clone());
            let needed: BTreeSet<String> = embedded.named.keys().cloned().chain(expected).collect();
            let assets = embedded.assets.keys().cloned().collect::<BTreeSet<_>>();
            assert_eq!(assets, needed, "{}", shipped.name);
            used.extend(needed);
        }
        let helpers: BTreeSet<String> = fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".toml"))
            .collect();
        assert_eq!(helpers, used);
    }
}

#[test]
fn each_file_carries_the_name_and_summary_that_it_is_listed_with() {
    for shipped in shipped() {
        let resolved = load(shipped.name, None).unwrap();
        assert_eq!(resolved.scenario.name, shipped.name);
        assert_eq!(resolved.scenario.summary, shipped.summary);
        assert!((20..=110).contains(&shipped.summary.len()), "{}", shipped.name);
    }
}

#[test]
fn each_scenario_reads_back_as_it_was_written() {
    for resolved in all() {
        let written = toml::to_string(&resolved.scenario).unwrap();
        assert_eq!(
            toml::from_str::<Scenario>(&written).unwrap(),
            resolved.scenario,
            "{}",
            resolved.text_path
        );
    }
}

#[test]
fn no_placeholder_is_left_but_those_of_the_run() {
    for resolved in all() {
        let mut scenario = resolved.scenario;
        scenario.scale.clear();
        let text = toml::to_string(&scenario).unwrap();
        let filled_later = placeholder::ORACLE_PLACEHOLDERS;
        let text = filled_later.iter().fold(text, |text, name| text.replace(&format!("{{{name}}}"), ""));
        let left: Vec<_> =
            text.match_indices('{').map(|(at, _)| &text[at..(at + 20).min(text.len())]).collect();
        assert!(left.is_empty(), "{}: {left:?}", scenario.name);
    }
}

#[test]
fn the_digest_follows_what_is_run_and_not_what_is_said() {
    let mut digests = BTreeSet::new();
    for resolved in all() {
        assert_eq!(resolved.digest().len(), 16);
        assert!(digests.insert(resolved.digest()), "{} has another's digest", resolved.text_path);
    }
    let resolved = load("mixed-layout", None).unwrap();
    let mut said_otherwise = resolved.clone();
    said_otherwise.scenario.summary.push('!');
    assert_eq!(said_otherwise.digest(), resolved.digest());
    let mut run_otherwise = resolved.clone();
    run_otherwise.scenario.phase[0].run_exit.push(3);
    assert_ne!(run_otherwise.digest(), resolved.digest());
}

#[test]
fn the_default_scale_is_the_one_of_its_name() {
    let default = load("mixed-layout", None).unwrap();
    assert_eq!(default.scale.as_deref(), Some("small"));
    assert_eq!(default, load("mixed-layout", Some("small")).unwrap());
    assert_ne!(default.digest(), load("mixed-layout", Some("full")).unwrap().digest());
}

#[test]
fn the_cache_key_follows_the_fixture_alone() {
    let resolved = load("mixed-layout", None).unwrap();
    let key = fixture::cache_key(&resolved);
    let mut other_phase = resolved.clone();
    other_phase.scenario.phase.pop();
    assert_eq!(fixture::cache_key(&other_phase), key);
    let mut other_label = resolved.clone();
    other_label.scenario.fixture.partition[0].label.push('2');
    assert_ne!(fixture::cache_key(&other_label), key);
    assert_ne!(fixture::cache_key(&load("mixed-layout", Some("full")).unwrap()), key);
}

/// A scenario of the resizer without these would pass with a tool that loses data.
#[test]
fn each_scenario_asks_for_the_table_at_crash_and_end_and_for_content() {
    for shipped in shipped().iter().filter(|shipped| !shipped.is_open() && !shipped.is_image()) {
        let scenario = load(shipped.name, None).unwrap().scenario;
        let kinds: Vec<String> = scenario
            .oracle
            .iter()
            .map(|oracle| match oracle {
                Oracle::Gpt { at, need, .. } => format!("gpt {at:?} {need:?}"),
                Oracle::Content { partitions, .. } => {
                    let labels: u32 = scenario.fixture.partition.iter().map(|spec| spec.count).sum();
                    assert_eq!(partitions.len(), labels as usize, "{}: content of all", shipped.name);
                    "content".to_owned()
                }
                Oracle::Baseline { .. } => "baseline".to_owned(),
                other => other.kind().to_owned(),
            })
            .collect();
        for needed in ["baseline", "gpt End BothValid", "gpt Crash OneValid", "content"] {
            assert!(kinds.iter().any(|kind| kind == needed), "{} lacks {needed}", shipped.name);
        }
    }
}

#[test]
fn every_program_that_is_named_has_a_package_to_install() {
    for resolved in all() {
        for program in resolved.scenario.requires.iter().chain(&resolved.scenario.optional) {
            assert!(programs::package_of(program).is_some(), "{}: {program}", resolved.scenario.name);
        }
    }
}

#[test]
fn a_file_is_loaded_from_its_path_and_knows_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    let shipped = shipped().iter().find(|shipped| shipped.assets.is_empty()).unwrap();
    fs::write(&path, shipped.text).unwrap();
    let resolved = load(path.to_str().unwrap(), None).unwrap();
    assert_eq!(resolved.dir, folder.path());
    assert_eq!(resolved.scenario.name, shipped.name);
    assert_eq!(resolved.digest(), load(shipped.name, None).unwrap().digest());
}

#[test]
fn the_examples_of_the_readme_load_at_every_scale() {
    let readme = include_str!("../README.md");
    let examples: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 2);
    let folder = tempfile::tempdir().unwrap();
    for helper in ["build.sh", "check.sh", "compact.sql"] {
        fs::write(folder.path().join(helper), "").unwrap();
    }
    let path = folder.path().join("own.toml");
    for example in examples {
        fs::write(&path, example).unwrap();
        let resolved = load(path.to_str().unwrap(), None).unwrap_or_else(|error| panic!("{error}"));
        for scale in resolved.scenario.scale.keys() {
            load(path.to_str().unwrap(), Some(scale)).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

#[test]
fn the_example_of_a_list_of_expected_findings_can_be_read() {
    let readme = include_str!("../README.md");
    let example = readme.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(Expected::parse(example).unwrap().position("new", "corrupt", "gpt"), Some(0));
}

#[test]
fn the_readme_lists_every_scenario_that_ships() {
    let readme = include_str!("../README.md");
    for shipped in shipped() {
        assert!(readme.contains(&format!("| `{}` |", shipped.name)), "{}", shipped.name);
    }
}
