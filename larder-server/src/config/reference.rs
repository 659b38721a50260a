//! `docs/config.md` is that of the present tables. `cargo x gen` writes it anew.

use super::kept::KEPT;
use super::params::{Kind, PARAMS, Param, Role};
use larder::config::params::Kind as Plain;
use larder::reference;

/// A row of the reference: name, values, default, meaning.
fn row(param: &Param) -> [String; 4] {
    let alias = param.alias.map_or(String::new(), |alias| format!(" (`{alias}`)"));
    let values = match param.kind {
        Kind::One(plain) => reference::values(plain),
        Kind::Octal => "permissions in octal".into(),
        Kind::Words { .. } => "words".into(),
    };
    let fixed = if param.is_mutable { "" } else { " Fixed at start." };
    let default = if matches!(param.kind, Kind::One(Plain::Text)) && !param.default.is_empty() {
        format!("`{}`", param.default)
    } else {
        param.default.to_owned()
    };
    [format!("`{}`{alias}", param.name), values, default, format!("{}{fixed}", param.doc)]
}

#[test]
fn the_parameters_are_documented() {
    let rows: Vec<[String; 4]> = PARAMS.iter().map(row).collect();
    let kept: Vec<&str> =
        KEPT.iter().filter(|param| param.role == Role::Kept).map(|param| param.name).collect();
    let expected = reference::config_markdown(&rows, &kept);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &expected).expect("docs can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/config.md is stale: cargo x gen");
}
