//! Goal: a recipe that is copied from the cookbook is accepted. Method: each of its blocks is saved as a file and loaded, as
//! `killpoint show FILE` would.

use std::collections::BTreeSet;

const COOKBOOK: &str = include_str!("../../docs/cookbook.md");

fn recipes() -> Vec<String> {
    let mut lines = COOKBOOK.lines();
    let mut recipes = Vec::new();
    while lines.by_ref().any(|line| line == "```toml") {
        recipes
            .push(lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect());
    }
    recipes
}

#[test]
fn every_recipe_is_a_scenario_with_a_name_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("recipe.toml");
    let mut names = BTreeSet::new();
    for recipe in recipes() {
        std::fs::write(&file, &recipe).expect("written");
        match scenarios::load(file.to_str().expect("a path in UTF-8"), None) {
            Ok(resolved) => assert!(names.insert(resolved.scenario.name.clone()), "{recipe}"),
            Err(error) => panic!("{error}\n{recipe}"),
        }
    }
    let sections = COOKBOOK.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(names.len(), sections, "each section has a recipe");
}
