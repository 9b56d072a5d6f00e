//! Goal: a finding leaves as files that bring it back without killpoint, and a run that was recorded elsewhere is judged
//! like any other. Method: findings of real sweeps are exported by the binary and replayed by the script that ships,
//! which shares no code with it; logs of QEMU and of the export are imported. Each case needs root and FUSE, and says so
//! where it fails without; a case whose programs are missing is reported as ignored, by name.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use common::{Bench, text_of};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

const REPLAY_FINDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/replay-finding.sh");

/// What adds the fourth partition of scenario `sgdisk-new`.
const SGDISK: &str = "sgdisk -n 4:67584:+4M -u 4:5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b14 {image}";

/// Takes its own first byte for a sign that all is done: a kill inside its first write is not mended.
const TRUSTS_ITS_FIRST_BYTE: &str = "
[ \"$(head -c 1 $1)\" = x ] && exit 0
head -c 16384 /dev/zero | tr '\\0' x | dd of=$1 bs=16384 iflag=fullblock seek=1 conv=notrunc status=none
head -c 16384 /dev/zero | tr '\\0' x | dd of=$1 bs=16384 iflag=fullblock conv=notrunc status=none";

type Case = (&'static str, &'static [&'static str], fn() -> Result<(), Failed>);

const CASES: &[Case] = &[
    ("a_finding_of_sgdisk_is_replayed_by_the_script", &["sgdisk", "python3"], sgdisk),
    ("torn_writes_and_filled_ranges_are_exact", &["python3"], torn),
    ("what_a_log_cannot_hold_is_refused_and_leaves_nothing", &[], refused),
    ("the_script_says_what_is_wrong_with_what_it_is_given", &["sgdisk", "python3"], script),
    ("a_log_that_makes_no_sense_is_refused_by_entry", &[], bad_logs),
    ("an_imported_log_has_the_findings_of_the_run_that_it_is_of", &["sgdisk"], imported),
    ("a_log_of_qemu_is_swept", &["qemu-io"], qemu),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = CASES
        .iter()
        .map(|(name, needs, run)| {
            Trial::ignorable_test(*name, move || {
                let missing: Vec<_> =
                    needs.iter().filter(|program| scenarios::programs::find(program).is_none()).collect();
                match missing.is_empty() {
                    true => run().map(|()| Completion::Completed),
                    false => Ok(Completion::ignored_with(format!("not installed: {missing:?}"))),
                }
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let text = text_of(&output);
    assert!(!text.contains("FUSE seam can't be used"), "this test needs FUSE: {text}");
    output
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn killpoint(bench: &Bench, arguments: &[&str]) -> Output {
    let mut killpoint = Command::new(env!("CARGO_BIN_EXE_killpoint"));
    output(killpoint.args(arguments).current_dir(bench.dir.path()))
}

/// Runs the script, with the search path that is given.
fn replay(bench: &Bench, arguments: &[&str], path: Option<&Path>) -> Output {
    let mut script = Command::new("/bin/sh");
    script.arg(REPLAY_FINDING).args(arguments).current_dir(bench.dir.path());
    if let Some(path) = path {
        script.env("PATH", path);
    }
    output(&mut script)
}

/// A sweep of `sgdisk-new` that loses power.
fn swept() -> Bench {
    let bench = Bench::new();
    let options = ["--model", "power", "--atomic-unit", "write", "--seed", "1", "--no-progress"];
    let output = output(bench.killpoint("sweep", &["sgdisk-new"]).args(options));
    assert_eq!(code(&output), Some(0), "all of it is expected: {}", text_of(&output));
    bench
}

/// Sweeps a shell script on images of 64 KiB.
fn exec(bench: &Bench, script: &str, images: &[&str], options: &[&str]) -> Output {
    fs::write(bench.dir.path().join("tool.sh"), format!("set -e\n{script}\n")).unwrap();
    let _ = fs::remove_dir_all(bench.run_dir());
    let mut killpoint = bench.killpoint("exec", &["--seed", "1", "--no-progress"]);
    for image in images {
        fs::write(bench.dir.path().join(image), [7; 64 << 10]).unwrap();
        killpoint.args(["--image", image]);
    }
    output(killpoint.args(options).args(["--", "sh", "tool.sh"]).args(images))
}

fn findings(report: &Value) -> Vec<Value> {
    report["findings"].as_array().unwrap().clone()
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}

/// All bytes below a folder, by name, but for the description: a finding from a run directory and from its token are one.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// Nothing half-made is left beside what was asked for.
fn hidden(bench: &Bench) -> Vec<PathBuf> {
    let entries = fs::read_dir(bench.dir.path()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with('.')).collect()
}

fn sgdisk() -> Result<(), Failed> {
    let bench = swept();
    let token = bench.report()["findings"][0]["token"].as_str().unwrap().to_owned();
    for (what, out) in [("run#F1", "kept"), (token.as_str(), "again"), ("run#F2", "power")] {
        let exported = killpoint(&bench, &["export", what, "--out", out]);
        assert_eq!(code(&exported), Some(0), "{what}: {}", text_of(&exported));
    }
    let at = |name: &str| bench.dir.path().join(name);
    assert_eq!(contents(&at("kept")), contents(&at("again")));
    assert_eq!(fs::metadata(at("kept")).unwrap().mode() & 0o777, 0o755);
    assert_eq!(hidden(&bench), Vec::<PathBuf>::new());

    // The rerun exits with 4, as it may, and leaves a broken table.
    let output = replay(&bench, &["kept", "work"], None);
    assert_eq!(code(&output), Some(1), "{}", text_of(&output));
    assert!(text_of(&output).contains("the state is the recorded crash state"), "{}", text_of(&output));
    assert!(
        text_of(&output).contains("differs from what an uninterrupted run leaves"),
        "{}",
        text_of(&output)
    );
    assert!(at("work/volume/disk.img").is_file(), "a folder that is named stays");
    let output = replay(&bench, &["power"], None);
    assert!(text_of(&output).contains("the state is the recorded crash state"), "{}", text_of(&output));
    let kept = read(&at("power"), "kept.txt");
    let fates: Vec<&str> = kept.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(fates[..5], ["lost", "kept", "kept", "lost", "lost"], "without op 1, after op 3: {kept}");
    let readme = read(&at("power"), "README.txt");
    for said in [
        "sgdisk-new",
        "power cut after op 3, without op 1",
        "corrupt (gpt)",
        "no GPT copy is valid",
        &token[..20],
    ] {
        assert!(readme.contains(said), "{said}: {readme}");
    }

    // The whole run leads from the one image to the other.
    fs::copy(at("kept/base.img"), at("disk.img")).unwrap();
    let replayed = killpoint(&bench, &["replay-log", "kept/run.log", "disk.img"]);
    assert_eq!((code(&replayed), text_of(&replayed).contains("step: start\n")), (Some(0), true));
    let sum = output_of_sum(&bench, "disk.img");
    assert_eq!(sum, read(&at("kept"), "uninterrupted.sha256"));

    let taken = killpoint(&bench, &["export", "run#F1", "--out", "kept"]);
    assert_eq!(code(&taken), Some(2), "{}", text_of(&taken));
    assert_eq!(contents(&at("kept")), contents(&at("again")), "what is there stays");
    Ok(())
}

fn output_of_sum(bench: &Bench, file: &str) -> String {
    let output = output(Command::new("sha256sum").arg(file).current_dir(bench.dir.path()));
    String::from_utf8(output.stdout).unwrap()
}

fn torn() -> Result<(), Failed> {
    let bench = Bench::new();
    let garbage =
        "schema = 1\nname = \"worst\"\natomic_unit = \"512\"\ndropped = \"garbage\"\nhonours_flush = true\n";
    fs::write(bench.dir.path().join("worst.toml"), garbage).unwrap();
    for (model, device, fate) in [("torn", "nvme-4k", "torn"), ("power", "worst.toml", "lost")] {
        let options =
            ["--model", model, "--device", device, "--power-samples", "20", "--torn-per-write", "2"];
        let output = exec(&bench, TRUSTS_ITS_FIRST_BYTE, &["a.img"], &options);
        assert_eq!(code(&output), Some(1), "{model}: {}", text_of(&output));
        let id = findings(&bench.report())
            .iter()
            .find(|finding| {
                let point = finding["point"].as_str().unwrap();
                if fate == "torn" { point.contains("inside op 2") } else { point.contains("without op 1") }
            })
            .map(|finding| finding["id"].as_str().unwrap().to_owned())
            .expect("there is one of these");
        let (what, out) = (format!("run#{id}"), format!("{model}-out"));
        let unasked = killpoint(&bench, &["export", &what, "--out", &out]);
        assert_eq!(code(&unasked), Some(2), "a token with a command needs a yes: {}", text_of(&unasked));
        let exported = killpoint(&bench, &["export", &what, "--out", &out, "--yes"]);
        assert_eq!(code(&exported), Some(0), "{}", text_of(&exported));
        let dir = bench.dir.path().join(&out);
        let kept = read(&dir, "kept.txt");
        assert!(kept.lines().any(|line| line.split_whitespace().nth(1) == Some(fate)), "{kept}");
        let log = fs::read(dir.join("crash.log")).unwrap();
        let mark = b"killpoint: torn and filled ranges";
        assert!(log.windows(mark.len()).any(|window| window == mark), "what no whole op leaves is marked");

        let output = replay(&bench, &[&out], None);
        assert_eq!(code(&output), Some(1), "{}", text_of(&output));
        assert!(text_of(&output).contains("the state is the recorded crash state"), "{}", text_of(&output));
        assert!(text_of(&output).contains("differs from"), "{}", text_of(&output));
        assert!(
            fs::read(bench.dir.path().join("a.img")).unwrap() == [7; 64 << 10],
            "the user's image is left alone"
        );
    }
    Ok(())
}

fn refused() -> Result<(), Failed> {
    let bench = Bench::new();
    let put = "put() { printf %s \"$2\" | dd of=$1 bs=4096 seek=$3 conv=notrunc status=none || :; }\n";
    let unmended = "[ \"$(head -c 1 $1)\" = a ] && exit 0\n";
    let two_files = format!("{unmended}{put}put $1 a 0\nput $2 b 0\nput $1 c 1");
    let grows = format!("{unmended}{put}put $1 a 0\nput $1 b 16\nput $1 c 1");
    let careless = format!("{put}put $1 a 0\nput $1 b 1");
    let trusts = format!(
        "{put}if [ \"$(head -c 1 $1)\" = S ]; then m=$(dd if=$1 bs=4096 skip=3 count=1 status=none | head -c 1)
         put $1 R 3; [ \"$m\" = R ] || put $1 A 1; else put $1 S 0; put $1 A 1; fi
         put $1 B 2; put $1 E 3; put $1 F 0"
    );
    let cases: [(&str, &[&str], &[&str], &str); 4] = [
        (
            &two_files,
            &["a.img", "b.img"],
            &["--model", "kill"],
            "writes 2 files of the volume (`a.img`, `b.img`)",
        ),
        (&grows, &["a.img"], &["--model", "kill"], "changes the file's length"),
        (&careless, &["a.img"], &["--model", "error"], "was disturbed"),
        (&trusts, &["a.img"], &["--model", "kill", "--closure"], "2 kills"),
    ];
    for (script, images, options, said) in cases {
        let output = exec(&bench, script, images, options);
        assert_eq!(code(&output), Some(1), "{said}: {}", text_of(&output));
        let exported = killpoint(&bench, &["export", "run#F1", "--out", "out", "--yes"]);
        assert_eq!(code(&exported), Some(2), "{said}: {}", text_of(&exported));
        assert!(text_of(&exported).contains(said), "{said}: {}", text_of(&exported));
        assert!(!bench.dir.path().join("out").exists(), "{said}");
        assert_eq!(hidden(&bench), Vec::<PathBuf>::new(), "{said}");
    }
    let hook = "kp1:mixed-layout@small:hook:0123456789abcdef:s1:grow:a37k:0123456789abcdef:fedcba9876543210";
    for what in ["run#F99", "kp1:nothing", "nowhere#F1", hook] {
        let exported = killpoint(&bench, &["export", what, "--out", "out", "--yes"]);
        assert!(matches!(code(&exported), Some(2 | 5)), "{what}: {}", text_of(&exported));
    }
    Ok(())
}

fn script() -> Result<(), Failed> {
    let bench = swept();
    let exported = killpoint(&bench, &["export", "run#F1", "--out", "out"]);
    assert_eq!(code(&exported), Some(0), "{}", text_of(&exported));
    let out = bench.dir.path().join("out");
    let expect = |arguments: &[&str], path: Option<&Path>, expected: i32, said: &str| {
        let output = replay(&bench, arguments, path);
        assert_eq!(code(&output), Some(expected), "{said}: {}", text_of(&output));
        assert!(text_of(&output).contains(said), "{said}: {}", text_of(&output));
    };
    expect(&[], None, 2, "usage");
    expect(&["run"], None, 2, "no exported finding");
    expect(&["out", "out"], None, 2, "is not empty");

    // A machine with neither of the two, and one with a replay-log.
    let bin = bench.dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for program in
        ["cat", "cp", "dirname", "env", "ls", "mkdir", "mktemp", "rm", "sed", "sh", "sha256sum", "timeout"]
    {
        std::os::unix::fs::symlink(scenarios::programs::find(program).unwrap(), bin.join(program)).unwrap();
    }
    expect(&["out"], Some(&bin), 5, "python3");
    let stand_in = format!("#!/bin/sh\nexec {} replay-log \"$2\" \"$4\"\n", env!("CARGO_BIN_EXE_killpoint"));
    fs::write(bin.join("replay-log"), stand_in).unwrap();
    fs::set_permissions(bin.join("replay-log"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    expect(&["out"], Some(&bin), 1, "replayed onto it by replay-log");

    // A tool that has been mended, one that fails, and a log that leads elsewhere.
    let resume = read(&out, "resume.sh");
    assert!(resume.contains("sgdisk -n"), "{resume}");
    let whole = format!(
        "#!/bin/sh\n{} replay-log '{}' \"$1/disk.img\"\n",
        env!("CARGO_BIN_EXE_killpoint"),
        out.join("run.log").display()
    );
    fs::write(out.join("resume.sh"), whole).unwrap();
    expect(&["out"], None, 0, "is what an uninterrupted run leaves");
    fs::write(out.join("resume.sh"), resume.replace("0|4)", "0)")).unwrap();
    expect(&["out"], None, 1, "sgdisk exited with 4");
    fs::copy(out.join("run.log"), out.join("crash.log")).unwrap();
    expect(&["out"], None, 4, "not the recorded crash state");
    fs::write(out.join("crash.log"), [0; 600]).unwrap();
    expect(&["out"], None, 4, "can't be replayed");
    Ok(())
}

/// A log of one disk with a mark and writes of one sector each, as `(sector, flags)`.
fn log(entries: &[(u64, u64)]) -> Vec<u8> {
    let sector = |fields: &[u64], text: &[u8]| {
        let mut bytes: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
        bytes.extend(text);
        bytes.resize(512, 0);
        bytes
    };
    let mut bytes = sector(&[0x006a_7366_7773_6872, 1, entries.len() as u64 + 1, 512], &[]);
    bytes.extend(sector(&[0, 0, 8, 5], b"first"));
    for (at, flags) in entries {
        bytes.extend(sector(&[*at, 1, *flags, 0], &[]));
        bytes.extend([b'x'; 512]);
    }
    bytes
}

fn bad_logs() -> Result<(), Failed> {
    let bench = Bench::new();
    let at = |name: &str| bench.dir.path().join(name);
    fs::write(at("a.img"), [7; 4096]).unwrap();
    let good = log(&[(1, 0), (7, 2)]);
    let cases: [(Vec<u8>, &str, &str); 5] = [
        (good[..good.len() - 1].to_vec(), "a.img", "entry 3"),
        (log(&[(1, 0), (8, 0)]), "a.img", "entry 3"),
        (log(&[(1, 0x40)]), "a.img", "entry 2"),
        (vec![1; 600], "a.img", "magic"),
        (good.clone(), "/dev/null", "no regular file"),
    ];
    for (bytes, image, said) in cases {
        fs::write(at("bad.log"), bytes).unwrap();
        for arguments in [&["replay-log", "bad.log", image][..], &["import", "bad.log", "--image", image]] {
            let output = killpoint(&bench, arguments);
            assert_eq!(code(&output), Some(2), "{arguments:?}: {}", text_of(&output));
            assert!(text_of(&output).contains(said), "{arguments:?}: {}", text_of(&output));
        }
    }
    assert!(!at("runs").exists(), "nothing was begun");
    fs::write(at("a.img"), [7; 4096]).unwrap();
    fs::write(at("good.log"), good).unwrap();
    let output = killpoint(&bench, &["replay-log", "good.log", "a.img"]);
    assert_eq!((code(&output), &output.stdout[..]), (Some(0), &b"step: first\n"[..]), "{}", text_of(&output));
    let image = fs::read(at("a.img")).unwrap();
    let written: Vec<usize> = (0..8).filter(|sector| image[sector * 512] == b'x').collect();
    assert_eq!((written, image.len()), (vec![1, 7], 4096));
    Ok(())
}

/// What was found, by what tells findings apart.
fn kinds(report: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings(report).iter().map(|f| (text(&f["point"]), text(&f["verdict"]), text(&f["oracle"]))).collect()
}

fn imported() -> Result<(), Failed> {
    let bench = swept();
    let found = kinds(&bench.report());
    assert_eq!(found.len(), 9, "{found:?}");
    let exported = killpoint(&bench, &["export", "run#F1", "--out", "out"]);
    assert_eq!(code(&exported), Some(0), "{}", text_of(&exported));
    fs::remove_dir_all(bench.run_dir()).unwrap();
    // What is expected is not made smaller, and what is not named as expected would be.
    let model = ["--model", "power", "--atomic-unit", "write", "--seed", "1", "--no-progress", "--no-shrink"];
    let arguments = ["out/run.log", "--image", "out/base.img", "--resume", SGDISK, "--exit", "0,4"];
    let output = output(bench.killpoint("import", &arguments).args(model));
    assert_eq!(code(&output), Some(1), "{}", text_of(&output));
    assert_eq!(kinds(&bench.report()), found);
    // Its token brings it back, too.
    let again = killpoint(&bench, &["repro", "run#F1", "--yes", "--run-dir", "again"]);
    assert!(text_of(&again).contains("fails again: corrupt"), "{}", text_of(&again));
    Ok(())
}

fn qemu() -> Result<(), Failed> {
    let bench = Bench::new();
    let at = |name: &str| bench.dir.path().join(name);
    fs::write(at("base.img"), [7; 1 << 20]).unwrap();
    fs::copy(at("base.img"), at("guest.img")).unwrap();
    fs::write(at("qemu.log"), []).unwrap();
    let options =
        "driver=blklogwrites,file.driver=file,file.filename=guest.img,log.driver=file,log.filename=qemu.log";
    let requests = ["write -P 1 0 64k", "flush", "write -P 2 128k 8k", "write -z 256k 4k", "flush"];
    let mut guest = Command::new("qemu-io");
    guest.args(requests.iter().flat_map(|request| ["-c", request])).args(["--image-opts", options]);
    let ran = output(guest.current_dir(bench.dir.path()));
    assert_eq!(code(&ran), Some(0), "{}", text_of(&ran));

    fs::copy(at("base.img"), at("copy.img")).unwrap();
    let replayed = killpoint(&bench, &["replay-log", "qemu.log", "copy.img"]);
    assert_eq!(code(&replayed), Some(0), "{}", text_of(&replayed));
    assert!(fs::read(at("copy.img")).unwrap() == fs::read(at("guest.img")).unwrap(), "the guest's disk");

    // With a resume that does nothing every state but the last diverges: the start, after one write, and after the other
    // flush's two in any combination but both.
    let arguments = ["qemu.log", "--image", "base.img", "--resume", "true", "--seed", "1", "--no-progress"];
    let mut import = bench.killpoint("import", &arguments);
    let swept = output(import.args(["--model", "power", "--atomic-unit", "write"]));
    assert_eq!(code(&swept), Some(1), "{}", text_of(&swept));
    let report = bench.report();
    assert_eq!(report["verdicts"]["diverged"], 4, "{report:#}");
    assert_eq!(report["verdicts"]["recovered"], 1, "{report:#}");
    assert!(fs::read(at("base.img")).unwrap() == [7; 1 << 20], "the base is only read");
    Ok(())
}
