//! What goes into a token and comes back, what a command line stands for, and what is refused.

use super::*;

fn spec() -> Spec {
    Spec {
        images: vec!["/tmp/a b.img".into()],
        volume: None,
        directory: "/tmp".into(),
        command: ["sgdisk", "-n", "4:0:+1M", "it's", "{image}"].map(str::to_owned).to_vec(),
        exit: vec![0],
        resume: vec!["sgdisk -e {image}".to_owned()],
        check: vec!["sgdisk -v {image}".to_owned()],
        accept: vec![Accept::Old, Accept::New],
        mask: Vec::new(),
        untouched: Vec::new(),
        environment: BTreeMap::new(),
        step_pattern: None,
        real_time: false,
        time_limit: "30s".to_owned(),
    }
}

#[test]
fn a_command_line_comes_back_from_its_word_and_a_damaged_word_is_refused() {
    let word = spec().to_word();
    assert_eq!(Spec::from_word(&word).unwrap(), spec());
    assert!(word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{word}");
    assert!(Spec::from_word(&word[..word.len() - 3]).is_err());
    assert!(Spec::from_word("§").is_err());
}

#[test]
fn a_command_line_can_be_pasted_into_a_shell() {
    assert_eq!(spec().command_line(), r"sgdisk -n 4:0:+1M 'it'\''s' {image}");
}

#[test]
fn the_command_gets_the_users_path_and_a_check_its_own_copy() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("a.img");
    fs::write(&image, [0; 4096]).unwrap();
    let resolved = Spec { images: vec![image.clone()], ..spec() }.scenario().unwrap();
    let phase = &resolved.scenario.phase[0];
    assert_eq!(phase.run.last(), Some(&image.display().to_string()));
    assert_eq!(phase.resume, [["sh".to_owned(), "-c".to_owned(), format!("sgdisk -e {}", image.display())]]);
    let check = resolved.scenario.oracle.iter().find_map(|oracle| match oracle {
        Oracle::Command { run, .. } => Some(run.clone()),
        _ => None,
    });
    assert_eq!(check.unwrap()[2], "sgdisk -v {volume}/a.img");
    // No table, so none is asked for.
    assert!(!resolved.scenario.oracle.iter().any(|oracle| matches!(oracle, Oracle::Gpt { .. })));
}

#[test]
fn an_image_that_somebody_else_writes_to_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("a.img");
    fs::write(&image, "x").unwrap();
    let spec = Spec { images: vec![image.clone()], ..spec() };
    let before = spec.stamps().unwrap();
    assert!(Stamp::compare(&before, &spec.stamps().unwrap()).is_ok());
    fs::write(&image, "xy").unwrap();
    let changed = Stamp::compare(&before, &spec.stamps().unwrap());
    assert!(matches!(changed, Err(ExecError::Changed { path }) if path == image));
}

#[test]
fn what_is_no_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let check = |path: &Path| Spec { images: vec![path.to_owned()], ..spec() }.check();
    assert!(matches!(check(dir.path()), Err(ExecError::Refused { what: "a folder", .. })));
    assert!(matches!(check(Path::new("/dev/null")), Err(ExecError::Refused { what: "a device", .. })));
    assert!(matches!(check(&dir.path().join("none")), Err(ExecError::Read { .. })));
    assert!(matches!(Spec { images: Vec::new(), ..spec() }.check(), Err(ExecError::NoImage)));
    let proc = Spec { images: Vec::new(), volume: Some("/proc".into()), ..spec() };
    assert!(matches!(proc.check(), Err(ExecError::Refused { .. })));
    let image = dir.path().join("a.img");
    fs::write(&image, "x").unwrap();
    assert!(check(&image).is_ok());
}
