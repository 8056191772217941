use std::collections::BTreeSet;

use super::*;

const LANGUAGES: [Language; 3] = [Language::Rust, Language::Js, Language::Python];

#[test]
fn names_that_no_tool_trips_over() {
    for good in ["a", "my-policy", "kv2"] {
        assert_eq!(checked(good), Ok(()));
    }
    for bad in ["", "My", "2fast", "a_b", "a-", "../a", "a b", &"a".repeat(65)] {
        assert!(checked(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_project_is_written_with_its_name_in_it_and_never_over_another() {
    let folder = tempfile::tempdir().unwrap();
    for language in LANGUAGES {
        let project = folder.path().join(format!("deep/{language:?}"));
        write(&project, "my-policy", language).unwrap();
        for file in project::files(language) {
            let text = std::fs::read_to_string(project.join(file.path)).unwrap();
            assert!(!text.contains("{{"), "{}: something is not filled in", file.path);
        }
        assert!(std::fs::read_to_string(project.join("README.md")).unwrap().contains("my-policy"));
        let error = write(&project, "my-policy", language).unwrap_err();
        assert!(format!("{error:#}").starts_with(&project.display().to_string()), "{error:#}");
    }
}

/// The SDK of a new project is the whole SDK, but for its tests.
#[test]
fn no_file_of_the_sdk_is_left_out() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/sdk");
    let mut there = BTreeSet::new();
    let mut folders = vec![sdk.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap() != "tests.rs" {
                there.insert(path.strip_prefix(&sdk).unwrap().display().to_string());
            }
        }
    }
    let vendored = project::files(Language::Rust)
        .iter()
        .filter_map(|file| file.path.strip_prefix("vendor/rankwise-policy/"))
        .filter(|path| *path != "Cargo.toml");
    assert_eq!(vendored.map(str::to_owned).collect::<BTreeSet<_>>(), there);
}

/// Its dependencies are those that the workspace builds the SDK with.
#[test]
fn the_vendored_sdk_has_the_dependencies_of_the_workspace() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let template = root.join("policies/templates/rust/vendor/rankwise-policy/Cargo.toml");
    let vendored = std::fs::read_to_string(template).unwrap();
    let bindgen = workspace.lines().find(|line| line.starts_with("wit-bindgen")).unwrap();
    assert!(vendored.lines().any(|line| line == bindgen), "{bindgen}");
    let sdk = std::fs::read_to_string(root.join("policies/sdk/Cargo.toml")).unwrap();
    let (_, dependencies) = sdk.split_once("[dependencies]").unwrap();
    assert_eq!(dependencies.matches("workspace = true").count(), 2, "serde and wit-bindgen, and no third");
}
