//! `cargo x setup`: what the tests need beside Rust, installed where it is missing.
//!
//! Debian packages need root; without it the exact command is printed instead. Node and Python packages go into folders
//! of this project, in the versions that its lock files name. Nothing is installed twice: a second run finds everything
//! and takes no time.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run::{cargo, command, exists, logged};

/// Programs, and the Debian packages they come from.
const PROGRAMS: &[(&str, &str)] = &[("redis-server", "redis-server"), ("redis-cli", "redis-tools")];

/// Programs that some tests need, the Debian packages they come from, and the tests, which are skipped by name without.
const OPTIONAL_PROGRAMS: &[(&str, &str, &str)] =
    &[("chromium", "chromium", "in a browser"), ("psql", "postgresql", "on PostgreSQL")];

/// Folders whose packages npm installs.
const NODE_FOLDERS: &[&str] = &["examples/express", "tests/node"];

/// Where Python's packages are listed.
const PYTHON_REQUIREMENTS: &str = "tests/python/requirements.txt";

/// Installs everything; `false` when something is missing afterwards.
pub(crate) fn run() -> bool {
    let done = [debian(), node(), python()].into_iter().all(|done| done);
    optional();
    done
}

/// Installs what can be done without, where that is possible.
fn optional() {
    for (program, package, tests) in OPTIONAL_PROGRAMS {
        if !exists(program) && is_root() && exists("apt-get") {
            println!("installing {package}");
            logged(
                &format!("setup-{package}"),
                vec![command("apt-get", &["update"]), apt_install(&[package])],
            );
        }
        if !exists(program) {
            println!("without {package} the tests {tests} are skipped");
        }
    }
}

fn apt_install(packages: &[&str]) -> Command {
    let mut install = command("apt-get", &["install", "-y", "--no-install-recommends"]);
    // The packages' own service must not start: tests start servers of their own.
    install.args(packages).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    install
}

fn debian() -> bool {
    let mut packages: Vec<&str> =
        PROGRAMS.iter().filter(|(p, _)| !exists(p)).map(|(_, package)| *package).collect();
    if Path::new(PYTHON_REQUIREMENTS).exists() && !command_works("python3", &["-c", "import venv, ensurepip"])
    {
        packages.push("python3-venv");
    }
    if packages.is_empty() {
        return true;
    }
    let list = packages.join(" ");
    if !is_root() || !exists("apt-get") {
        println!("missing: {list}\n  install with: sudo apt-get install -y {list}");
        return false;
    }
    println!("installing {list}");
    // Package lists may be old or, in a container, absent.
    let outcome = logged("setup-debian", vec![command("apt-get", &["update"]), apt_install(&packages)]);
    if !outcome.success {
        outcome.show_tail();
    }
    outcome.success
}

fn node() -> bool {
    let folders: Vec<&str> = NODE_FOLDERS
        .iter()
        .copied()
        .filter(|folder| Path::new(folder).join("package-lock.json").exists())
        .collect();
    if folders.is_empty() {
        return true;
    }
    if !exists("node") || !exists("npm") {
        println!("missing: Node 20 or later, with npm (https://nodejs.org)");
        return false;
    }
    folders.into_iter().all(|folder| {
        let lock = Path::new(folder).join("package-lock.json");
        let stamp = Path::new(folder).join("node_modules/.larder-lock");
        if same_content(&lock, &stamp) {
            return true;
        }
        println!("installing Node packages in {folder}");
        let mut install = command("npm", &["ci", "--no-audit", "--no-fund"]);
        install.current_dir(folder);
        let outcome = logged(&format!("setup-{}", folder.replace('/', "-")), vec![install]);
        if !outcome.success {
            outcome.show_tail();
            return false;
        }
        fs::copy(&lock, &stamp).is_ok()
    })
}

fn python() -> bool {
    let requirements = Path::new(PYTHON_REQUIREMENTS);
    if !requirements.exists() {
        return true;
    }
    let stamp = Path::new("target/venv/larder-requirements.txt");
    if same_content(requirements, stamp) {
        return true;
    }
    println!("installing Python packages in target/venv");
    let outcome = logged(
        "setup-python",
        vec![
            command("python3", &["-m", "venv", "target/venv"]),
            command(
                "target/venv/bin/python",
                &["-m", "pip", "install", "--quiet", "-r", PYTHON_REQUIREMENTS],
            ),
        ],
    );
    if !outcome.success {
        outcome.show_tail();
        return false;
    }
    fs::copy(requirements, stamp).is_ok()
}

/// Whether nothing has changed since what was installed.
fn same_content(wanted: &Path, installed: &Path) -> bool {
    matches!((fs::read(wanted), fs::read(installed)), (Ok(a), Ok(b)) if a == b)
}

fn command_works(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|o| o.stdout.trim_ascii() == b"0")
}

/// Whether cargo-nextest is there; `cargo test` does as well.
pub(crate) fn has_nextest() -> bool {
    cargo(&["nextest", "--version"]).output().is_ok_and(|output| output.status.success())
}
