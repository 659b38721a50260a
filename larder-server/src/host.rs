//! What the engine asks of the server.

use crate::append_only;
use crate::config::Settings;
use crate::process;
use crate::server::Server;
use crate::shutdown;
use larder::fault::Fault;
use larder::host::{Host, Shutdown};
use std::path::PathBuf;
use std::sync::Weak;
use std::sync::atomic::Ordering;

/// The server as the engine sees it. Weak, because the server owns the engine.
pub(crate) struct House(pub(crate) Weak<Server>);

impl House {
    fn with<R>(&self, answer: impl FnOnce(&Server) -> R) -> Option<R> {
        self.0.upgrade().map(|server| answer(&server))
    }
}

impl Host for House {
    fn shutdown(&self, how: Shutdown) -> Result<(), Fault> {
        self.with(|server| Err(shutdown::ask(server, how))).unwrap_or(Ok(()))
    }

    fn snapshot_file(&self) -> Result<PathBuf, Fault> {
        let file = self.with(|server| match server.data.lock() {
            Ok(()) => Ok(server.data.snapshot()),
            Err(error) => Err(Fault::err(error.to_string())),
        });
        file.unwrap_or_else(|| Err(Fault::err("the server is ending")))
    }

    fn parameter_names(&self) -> Vec<&'static str> {
        Settings::names()
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.with(|server| server.settings.show(name)).flatten()
    }

    fn check_parameter(&self, name: &str, value: &str) -> Result<(), String> {
        self.with(|server| server.settings.check(name, value).map(drop)).unwrap_or(Ok(()))
    }

    fn set_parameter(&self, name: &str, value: &str) -> Result<(), String> {
        self.with(|server| set(server, name, value)).unwrap_or(Ok(()))
    }

    fn note(&self, text: &str) {
        self.with(|server| server.log.notice(format_args!("{text}")));
    }

    fn warn(&self, text: &str) {
        self.with(|server| server.log.warning(format_args!("{text}")));
    }

    fn rewrite_config(&self) -> Result<(), Fault> {
        let has_file = self.with(|server| !server.config_file.as_os_str().is_empty()).unwrap_or(false);
        Err(Fault::err(if has_file {
            "Rewriting the configuration file is not supported yet"
        } else {
            "The server is running without a config file"
        }))
    }

    fn info(&self, section: &str) -> Vec<(&'static str, String)> {
        self.with(|server| info(server, section)).unwrap_or_default()
    }
}

fn set(server: &Server, name: &str, value: &str) -> Result<(), String> {
    let value = server.settings.check(name, value)?;
    if name == "maxclients" {
        let wanted = value.parse().unwrap_or(u64::MAX);
        let possible = process::raise_descriptor_limit(wanted);
        if possible < wanted {
            return Err(format!(
                "The operating system is not able to handle the specified number of clients, try with {possible}"
            ));
        }
    }
    if name == "appendonly" {
        append_only::switch(server, value == "yes")?;
    }
    if !Settings::has_function(name) {
        server.log.warning(format_args!("WARNING {name} was set, but has no function yet"));
    }
    server.settings.store(name, value);
    if name == "save" {
        server.engine.set_save_points(server.settings.save_points());
    }
    server.log.set_level(server.settings.log_level());
    Ok(())
}

/// What only the server knows. Lines of the engine with the same name are replaced by these.
fn info(server: &Server, section: &str) -> Vec<(&'static str, String)> {
    let settings = &server.settings;
    match section {
        "server" => {
            let port = match settings.text("port") {
                none if none == "0" => settings.text("tls-port"),
                port => port,
            };
            vec![
                ("process_supervised", settings.text("supervised")),
                ("tcp_port", port),
                (
                    "executable",
                    std::env::current_exe().map_or_else(|_| String::new(), |path| path.display().to_string()),
                ),
                ("config_file", server.config_file.display().to_string()),
                ("io_threads_active", server.mailboxes.len().to_string()),
            ]
        }
        "clients" => {
            let loads = server.loads.iter().map(|load| load.load(Ordering::Relaxed).to_string());
            vec![
                ("maxclients", settings.text("maxclients")),
                ("clients_per_io_thread", loads.collect::<Vec<_>>().join(",")),
            ]
        }
        _ => Vec::new(),
    }
}
