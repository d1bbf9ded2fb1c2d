//! Who may import whom. The picture in ARCHITECTURE.md stays true because this fails when it does not.

use std::path::Path;

/// A room, and the rooms it may import.
const TABLE: [(&str, &[&str]); 9] = [
    ("config", &[]),
    ("store", &[]),
    ("payments", &["store"]),
    ("gateways", &["payments::ports"]),
    ("coordination", &["payments::ports"]),
    ("relay", &["store", "payments::ports"]),
    ("graphql", &["payments"]),
    ("http", &["graphql", "payments"]),
    ("app", &["config", "store", "payments", "gateways", "coordination", "relay", "graphql", "http"]),
];

#[test]
fn rooms_import_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (room, allowed) in TABLE {
        for (file, text) in files(room) {
            for (number, line) in text.lines().enumerate() {
                for import in line.match_indices("crate::").map(|(at, found)| &line[at + found.len()..]) {
                    let own = import.starts_with(room);
                    let fits = allowed
                        .iter()
                        .any(|a| import.strip_prefix(a).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)));
                    let known = TABLE.iter().any(|(r, _)| import.starts_with(r));
                    if known && !own && !fits {
                        wrong.push(format!("{file}:{}: {room} may not import crate::{import}", number + 1));
                    }
                }
                let crates: &[&str] = match room {
                    "store" => &["migration::", "sandbox::"],
                    "app" => &["entity::"],
                    "relay" => &["migration::", "sandbox::", "entity::", "sea_orm::"],
                    _ => &["migration::", "sandbox::", "entity::", "sea_orm::", "lapin::"],
                };
                for outside in crates {
                    if line.trim_start().starts_with(&format!("use {outside}")) {
                        wrong.push(format!("{file}:{}: {room} may not use {outside}", number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_rules_are_pure() {
    let manifest = std::fs::read_to_string(root().join("domain/Cargo.toml")).unwrap();
    for outside in ["tokio", "sea-orm", "redis", "reqwest", "axum", "async"] {
        assert!(!manifest.contains(outside), "domain depends on {outside}");
    }
    for other in ["sandbox", "entity", "migration"] {
        let manifest = std::fs::read_to_string(root().join(other).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("payonce"), "{other} knows payonce");
    }
}

/// Tests may look behind every door.
fn is_test(path: &Path) -> bool {
    path.components().any(|c| c.as_os_str() == "tests" || c.as_os_str() == "tests.rs")
        && path.strip_prefix(root()).is_ok_and(|p| p.starts_with("src"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(room: &str) -> Vec<(String, String)> {
    let folder = root().join("src").join(room);
    let mut paths = vec![root().join("src").join(format!("{room}.rs"))];
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { paths.push(path) }
        }
    }
    let read: Vec<_> = paths
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "rs") && !is_test(p))
        .filter_map(|p| Some((p.display().to_string(), std::fs::read_to_string(&p).ok()?)))
        .collect();
    assert!(!read.is_empty(), "the room {room} has no file");
    read
}
