//! Goal: a browser draws as many marks as a campaign has crash states, light and dark, on a desk and on a phone, of a hundred
//! thousand too; and without scripts the page still says what matters. Method: headless Chromium (Debian's `chromium`)
//! opens pages of made sweeps; a page says in its element `html` how many marks it has drawn.

mod made;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use made::sweep;
use reports::{Report, html};

/// Names under which Chromium is installed.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A page of a sweep in a folder of its own, and the profile of the browser that opens it.
struct Page {
    folder: tempfile::TempDir,
}

impl Page {
    fn of(points: u64) -> Self {
        let page = Self { folder: tempfile::tempdir().unwrap() };
        let stream = sweep(points);
        html::write(&page.path(), &Report::from(stream.tally()), &stream).unwrap();
        page
    }

    fn path(&self) -> PathBuf {
        html::path(self.folder.path())
    }

    fn open(&self, browser: &Path, arguments: &[&str]) -> Output {
        let profile = self.folder.path().join("profile");
        let output = Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(arguments)
            .arg(format!("file://{}", self.path().display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// The page as it is once its script has run.
    fn document(&self, browser: &Path, arguments: &[&str]) -> String {
        let output = self.open(browser, &[&["--dump-dom"], arguments].concat());
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What is tried with a browser.
type Case = fn(&Path);

/// The attribute that the script leaves on the element `html`.
fn drawn(document: &str) -> Option<u64> {
    document.split_once("data-drawn=\"")?.1.split_once('"')?.0.parse().ok()
}

fn as_many_marks_as_states_are_drawn(browser: &Path) {
    let page = Page::of(1000);
    for size in ["1280,900", "400,800"] {
        for scheme in ["0", "1"] {
            let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
            let document = page.document(browser, &[&format!("--window-size={size}"), &scheme]);
            assert_eq!(drawn(&document), Some(1000), "{size} {scheme}");
        }
    }
}

fn a_hundred_thousand_states_are_drawn(browser: &Path) {
    let page = Page::of(100_000);
    assert_eq!(drawn(&page.document(browser, &[])), Some(100_000));
}

/// The canvas has pixels of both verdicts: what was counted was painted too.
fn the_picture_is_not_empty(browser: &Path) {
    let page = Page::of(50);
    let picture = page.folder.path().join("page.png");
    let blank = |window: &str, path: &Path| {
        page.open(
            browser,
            &[&format!("--window-size={window}"), &format!("--screenshot={}", path.display())],
        );
        std::fs::read(path).unwrap().len()
    };
    let with_map = blank("1280,900", &picture);
    let source = std::fs::read_to_string(page.path()).unwrap();
    std::fs::write(page.path(), source.replace("context.fill(shapes[verdict], \"evenodd\");", "")).unwrap();
    assert!(with_map > blank("1280,900", &picture), "the shapes leave no trace in the picture");
}

/// What a person does at the map: its keys and a click, in a script behind the page's own. What they lead to is left on the
/// element `html`.
const HANDS: &str = r#"<script>
const canvas = document.querySelector("canvas"), told = document.documentElement.dataset;
const press = (key) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
press("End"); press("p"); press("Enter");
told.key = location.hash + " " + document.querySelector(".readout").textContent;
press("Home"); press("n"); press("ArrowRight");
told.beside = document.querySelector(".readout").textContent;
press("ArrowLeft");
const ring = document.querySelector(".ring").getBoundingClientRect();
const at = { clientX: ring.x + ring.width / 2, clientY: ring.y + ring.height / 2, pointerType: "mouse" };
press("Home"); location.hash = "";
canvas.dispatchEvent(new PointerEvent("click", at));
told.click = location.hash;
document.querySelector(".legend input").click();
told.hidden = told.drawn;
</script></body>"#;

fn keys_and_clicks_lead_to_findings_and_the_legend_hides_marks(browser: &Path) {
    let page = Page::of(300);
    let source = std::fs::read_to_string(page.path()).unwrap();
    std::fs::write(page.path(), source.replace("</body>", HANDS)).unwrap();
    let document = page.document(browser, &["--window-size=1280,900"]);
    let attribute = |name: &str| {
        let rest = document.split_once(&format!("data-{name}=\"")).map(|(_, rest)| rest);
        rest.and_then(|rest| rest.split_once('"')).map_or("", |(value, _)| value)
    };
    // The findings are at ops 50, 150 and 250; 50 and 51 lie inside and after a write.
    let last =
        "#finding-F250 corrupt · after op 250 (kill) · primary GPT array · step primary · go to its finding";
    assert_eq!(attribute("key"), last);
    assert_eq!(attribute("beside"), "recovered · after op 51 (kill) · primary GPT array · step primary");
    assert_eq!(attribute("click"), "#finding-F50");
    assert_eq!(attribute("hidden"), "3", "recovered is hidden, three corrupt states are left");
}

fn without_scripts_the_page_says_what_matters(browser: &Path) {
    let page = Page::of(200);
    let source = std::fs::read_to_string(page.path()).unwrap();
    // What a browser does that runs none: the policy of the page forbids them.
    std::fs::write(page.path(), source.replace("script-src 'unsafe-inline'", "script-src 'none'")).unwrap();
    let document = page.document(browser, &[]);
    assert_eq!(drawn(&document), None);
    for text in [
        "made: all 200 crash points judged",
        "primary GPT array",
        "killpoint repro kp1:made:50",
        "no valid copy",
    ] {
        assert!(document.contains(text), "{text}");
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let candidates =
        std::env::split_paths(&folders).flat_map(|folder| BROWSERS.map(|name| folder.join(name)));
    let browser = candidates.into_iter().find(|path| path.is_file());
    let cases: [(&str, Case); 5] = [
        ("as_many_marks_as_states_are_drawn", as_many_marks_as_states_are_drawn),
        ("a_hundred_thousand_states_are_drawn", a_hundred_thousand_states_are_drawn),
        ("the_picture_is_not_empty", the_picture_is_not_empty),
        (
            "keys_and_clicks_lead_to_findings_and_the_legend_hides_marks",
            keys_and_clicks_lead_to_findings_and_the_legend_hides_marks,
        ),
        ("without_scripts_the_page_says_what_matters", without_scripts_the_page_says_what_matters),
    ];
    let trials = cases.map(|(name, case)| {
        let browser = browser.clone();
        Trial::ignorable_test(name, move || match browser {
            Some(browser) => {
                case(&browser);
                Ok::<Completion, Failed>(Completion::Completed)
            }
            None => Ok(Completion::ignored_with("chromium is missing: apt-get install chromium")),
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}
