//! The start of the server, in order: configuration, process, data, sockets, threads.

use crate::append_only::AppendOnly;
use crate::config::args::{self, Asked, Source};
use crate::config::file::{Lines, Place, Problem};
use crate::config::{self, Configuration, Settings};
use crate::data::Data;
use crate::host::House;
use crate::net::event_loop::EventLoop;
use crate::net::listener::Listener;
use crate::net::mailbox::Mailbox;
use crate::net::tls;
use crate::observe::log::Log;
use crate::offline;
use crate::process;
use crate::server::Server;
use crate::shutdown::{self, Control, Standstill};
use crate::workers::Workers;
use larder::persist::progress::LoadMark;
use larder::runtime::Runtime;
use larder::{Engine, Options};
use mio::Poll;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Permissions of a Unix socket are given in octal.
const OCTAL: u32 = 8;

/// How long connections wait for the data before they are told that it is being loaded.
const SHORT_LOAD: Duration = Duration::from_millis(100);

/// Runs the server with these arguments of the command line (without the program's name) until it ends.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut overrides = Lines::default();
    let source = match args::read(&words, &mut overrides) {
        Asked::Version => {
            println!("Larder server v={} bits={}", env!("CARGO_PKG_VERSION"), usize::BITS);
            return ExitCode::SUCCESS;
        }
        Asked::Help => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Asked::CheckRdb { file, skip } => return report(offline::check_rdb(Path::new(&file), skip)),
        Asked::CheckAof { file, fix, skip } => {
            return report(offline::check_aof(Path::new(&file), fix, skip));
        }
        Asked::Serve(source) => source,
    };
    let configuration = match configure(&source, overrides) {
        Ok(configuration) => configuration,
        Err(problems) => {
            eprint!("{}", config::report(&problems));
            return ExitCode::FAILURE;
        }
    };
    if configuration.settings.is_on("daemonize") {
        match process::go_to_background(&arguments) {
            Ok(true) => return ExitCode::SUCCESS,
            Ok(false) => {}
            Err(error) => {
                eprintln!("Going to the background: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let log = Arc::new(configuration.settings.open_log());
    match serve(configuration, &source, &log) {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            log.warning(format_args!("{why}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints what a look at files has found.
fn report(offline::Finding { found, verdict }: offline::Finding) -> ExitCode {
    print!("{found}");
    match verdict {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Reads and checks the configuration, and goes to the directory it names.
fn configure(source: &Source, overrides: Lines) -> Result<Configuration, Vec<Problem>> {
    let mut lines = Lines::default();
    match source {
        Source::Defaults => {}
        Source::File(path) => lines.read_file(Path::new(path)),
        Source::Stdin => {
            let mut text = String::new();
            if let Err(error) = io::stdin().read_to_string(&mut text) {
                let reason = format!("Reading the configuration: {error}");
                return Err(vec![Problem { place: Place::Stdin(1), text: String::new(), reason }]);
            }
            lines.read_stdin(&text);
        }
    }
    lines.lines.extend(overrides.lines);
    lines.problems.extend(overrides.problems);
    let configuration = config::load(lines)?;
    enter_directory(&configuration.settings, source)
        .map_err(|(text, reason)| vec![Problem { place: Place::Arguments, text, reason }])?;
    Ok(configuration)
}

/// Goes to `dir`, and sees whether the log can be written there.
fn enter_directory(settings: &Settings, source: &Source) -> Result<(), (String, String)> {
    let dir = settings.text("dir");
    let logfile = settings.text("logfile");
    if settings.is_on("daemonize") && *source == Source::Stdin {
        let reason = "the configuration was read from standard input, which the background does not have";
        return Err(("daemonize yes".into(), reason.into()));
    }
    // Whoever starts the background does so from where he is, so that it finds the same files.
    if !settings.is_on("daemonize") || process::is_in_background() {
        std::env::set_current_dir(&dir)
            .map_err(|error| (format!("dir {dir}"), format!("Can't chdir to '{dir}': {error}")))?;
        let here = std::env::current_dir().map_or(dir.clone(), |path| path.display().to_string());
        settings.store("dir", here);
    }
    let log_path = Path::new(&dir).join(&logfile);
    let log_path = if settings.is_on("daemonize") && !process::is_in_background() {
        log_path
    } else {
        logfile.clone().into()
    };
    if !logfile.is_empty() {
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(log_path);
        opened
            .map_err(|error| (format!("logfile {logfile}"), format!("Can't open the log file: {error}")))?;
    }
    Ok(())
}

/// Serves until there is a reason to stop; returns the exit code, or why it cannot serve.
fn serve(configuration: Configuration, source: &Source, log: &Arc<Log>) -> Result<u8, String> {
    let Configuration { settings, engine: config } = configuration;
    log.notice(format_args!("Larder {} is starting, pid={}", env!("CARGO_PKG_VERSION"), std::process::id()));
    greet(&settings, source, log);
    let threads = resolve_threads(&settings);
    resolve_maxclients(&settings, log);
    let data = Data::new(settings.text("dir").into(), settings.text("dbfilename"));
    if !settings.text("save").is_empty() {
        data.lock().map_err(|error| format!("Locking the data: {error}"))?;
    }
    let engine = Engine::open(Options { threads, config, ..Options::default() });
    let append_only = AppendOnly::new(&settings);
    let listeners = listen(&settings, log)?;
    let system = |error: io::Error| format!("The system does not give what the server needs: {error}");
    let mark = engine.begin_loading();
    let _background = Runtime::start(&engine).map_err(system)?;
    let (control, reasons) = channel();
    let polls: Vec<Poll> = (0..threads).map(|_| Poll::new()).collect::<io::Result<_>>().map_err(system)?;
    let mailboxes = polls.iter().map(|poll| Mailbox::new(poll.registry()).map(Arc::new));
    let server = Arc::new(Server {
        workers: Workers::start(&engine, threads, &control).map_err(system)?,
        mailboxes: mailboxes.collect::<io::Result<_>>().map_err(system)?,
        loads: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
        connected: AtomicUsize::new(0),
        live: Arc::clone(settings.live()),
        settings,
        data,
        append_only,
        config_file: match source {
            Source::File(path) => std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path)),
            Source::Defaults | Source::Stdin => PathBuf::new(),
        },
        standstill: Standstill::default(),
        control: control.clone(),
        engine,
        log: Arc::clone(log),
    });
    server.engine.set_host(Arc::new(House(Arc::downgrade(&server))));
    server.engine.set_save_points(server.settings.save_points());
    shutdown::listen_to_signals(control).map_err(system)?;
    appear(&server);
    let end = start_loading(&server, mark).map_err(system)?;
    // What is loaded in no time nobody needs to be put off for; who comes waits in the backlog. It tells nothing but
    // that the thread has ended.
    let _has_ended = end.recv_timeout(SHORT_LOAD);
    let mut listeners = Some(listeners);
    for (index, poll) in polls.into_iter().enumerate() {
        let listeners = listeners.take().unwrap_or_default();
        let event_loop = EventLoop::new(Arc::clone(&server), index, poll, listeners).map_err(system)?;
        start_loop(&server, index, event_loop).map_err(system)?;
    }
    Ok(shutdown::wait(&server, &reasons))
}

/// The first lines of the log: where the configuration comes from, and what to know of it.
fn greet(settings: &Settings, source: &Source, log: &Log) {
    match source {
        Source::Defaults => log.notice(format_args!(
            "No configuration file was named, so the defaults apply. To use one: larder-server /path/to/redis.conf"
        )),
        Source::File(path) => log.notice(format_args!("Configuration loaded from {path}")),
        Source::Stdin => log.notice(format_args!("Configuration loaded from standard input")),
    }
    let without_function = settings.without_function();
    if !without_function.is_empty() {
        log.warning(format_args!(
            "WARNING These directives are accepted but have no function yet: {}",
            without_function.join(", ")
        ));
    }
    process::warn_of_system(settings.number("tcp-backlog"), log);
}

/// As many threads as asked for, or as there are processors for this process, cgroups included.
fn resolve_threads(settings: &Settings) -> usize {
    let threads = match settings.number("io-threads") as usize {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    settings.store("io-threads", threads.to_string());
    threads
}

fn resolve_maxclients(settings: &Settings, log: &Log) {
    let wanted = settings.number("maxclients");
    let possible = process::raise_descriptor_limit(wanted).max(1);
    if possible < wanted {
        log.warning(format_args!(
            "WARNING The limit of open files allows {possible} clients, so maxclients is {possible} instead of {wanted}. \
             For more, raise the limit with 'ulimit -n'."
        ));
        settings.store("maxclients", possible.to_string());
    }
}

/// Loads the data in a thread of its own, since the main thread waits for signals; the sockets answer meanwhile. The
/// other end of the returned channel is closed when all is loaded.
fn start_loading(server: &Arc<Server>, mark: LoadMark) -> io::Result<Receiver<()>> {
    let server = Arc::clone(server);
    let (loading, end) = channel();
    thread::Builder::new().name("larder-load".into()).spawn(move || {
        let _until_the_end = loading;
        let loaded = catch_unwind(AssertUnwindSafe(|| load(&server)));
        match loaded.unwrap_or_else(|_panic| Err("Loading the data has panicked. Exiting.".into())) {
            Ok(()) => {
                drop(mark);
                announce(&server);
            }
            // The mark stays: what there is of the data is not to be used.
            Err(why) => {
                std::mem::forget(mark);
                // If the main thread is gone, the process is ending already.
                let _ending = server.control.send(Control::NotLoaded(why));
            }
        }
    })?;
    Ok(end)
}

/// Loads what there is, and opens the append-only file if there is to be one.
fn load(server: &Server) -> Result<(), String> {
    let Server { engine, append_only, data, settings, log, .. } = server;
    let is_append_only = settings.is_on("appendonly");
    // What was appended is the newer of the two.
    if !is_append_only || !append_only.load(engine, log)? {
        load_snapshot(engine, data, log)?;
    }
    if is_append_only { append_only.open(engine) } else { Ok(()) }
}

/// Loads the snapshot, if there is one.
fn load_snapshot(engine: &Engine, data: &Data, log: &Log) -> Result<(), String> {
    let began = Instant::now();
    let Some(loaded) = data.load(engine)? else { return Ok(()) };
    log.notice(format_args!(
        "Done loading RDB, keys loaded: {}, keys expired: {}.",
        loaded.keys, loaded.expired
    ));
    if loaded.skipped.count() > 0 {
        log.warning(format_args!(
            "WARNING what is not supported yet was left out of the snapshot (rdb-skip-unsupported): {}. The next save \
             will not have it.",
            loaded.skipped
        ));
    }
    log.notice(format_args!("DB loaded from disk: {:.3} seconds", began.elapsed().as_secs_f64()));
    Ok(())
}

/// Opens every socket that the parameters ask for.
fn listen(settings: &Settings, log: &Log) -> Result<Vec<Listener>, String> {
    let backlog = i32::try_from(settings.number("tcp-backlog")).unwrap_or(i32::MAX);
    let mut listeners = Vec::new();
    let (port, tls_port) = (settings.number("port") as u16, settings.number("tls-port") as u16);
    if port > 0 {
        let sockets = listen_tcp(settings, port, backlog, log)?;
        listeners.extend(sockets.into_iter().map(Listener::Tcp));
    }
    if tls_port > 0 {
        let config = tls::configure(settings).map_err(|why| format!("Failed to configure TLS: {why}"))?;
        let sockets = listen_tcp(settings, tls_port, backlog, log)?;
        listeners.extend(sockets.into_iter().map(|socket| Listener::Tls(socket, Arc::clone(&config))));
    }
    let path = settings.text("unixsocket");
    if !path.is_empty() {
        let mode = u32::from_str_radix(&settings.text("unixsocketperm"), OCTAL).ok().filter(|mode| *mode > 0);
        let listener = Listener::unix(Path::new(&path), mode, backlog);
        listeners.push(listener.map_err(|error| format!("Failed opening Unix socket {path}: {error}"))?);
    }
    Ok(listeners)
}

fn listen_tcp(
    settings: &Settings,
    port: u16,
    backlog: i32,
    log: &Log,
) -> Result<Vec<mio::net::TcpListener>, String> {
    let bind = settings.text("bind");
    let mut sockets = Vec::new();
    for word in bind.split_ascii_whitespace() {
        let (host, is_optional) = word.strip_prefix('-').map_or((word, false), |host| (host, true));
        let opened = addresses(host, port).and_then(|address| Listener::tcp(address, backlog));
        match opened {
            Ok(socket) => sockets.push(socket),
            Err(error) if is_optional && is_missing_address(&error) => {
                log.verbose(format_args!("Not listening at {host}: {error}"));
            }
            Err(error) => {
                return Err(format!("Could not create server TCP listening socket {host}:{port}: {error}"));
            }
        }
    }
    if sockets.is_empty() {
        return Err(format!(
            "Failed listening on port {port} (TCP), aborting: no address in 'bind {bind}' is there."
        ));
    }
    Ok(sockets)
}

fn addresses(host: &str, port: u16) -> io::Result<SocketAddr> {
    let host = match host {
        "*" => "0.0.0.0",
        "::*" => "::",
        named => named,
    };
    let mut found = (host, port).to_socket_addrs()?;
    found.next().ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address"))
}

/// Whether this machine does not have such an address, which is no mistake if the address is optional.
fn is_missing_address(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let missing = [
        Errno::ADDRNOTAVAIL,
        Errno::AFNOSUPPORT,
        Errno::PROTONOSUPPORT,
        Errno::NOPROTOOPT,
        Errno::PFNOSUPPORT,
        Errno::SOCKTNOSUPPORT,
    ];
    error.raw_os_error().is_some_and(|code| missing.iter().any(|errno| errno.raw_os_error() == code))
        || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn start_loop(server: &Arc<Server>, index: usize, event_loop: EventLoop) -> io::Result<()> {
    let server = Arc::clone(server);
    thread::Builder::new().name(format!("larder-io-{index}")).spawn(move || {
        match catch_unwind(AssertUnwindSafe(|| event_loop.run())) {
            Ok(error) => server.fail(&format!("Polling failed: {error}")),
            Err(_panic) => server.fail("An I/O thread panicked"),
        }
    })?;
    Ok(())
}

/// Says that the server is there, and warns of who else may use it.
fn appear(server: &Server) {
    let (settings, log) = (&server.settings, &server.log);
    let is_open = settings.text("bind").split_ascii_whitespace().any(|word| !is_loopback_name(word));
    if is_open
        && settings.number("port") + settings.number("tls-port") > 0
        && !settings.is_on("protected-mode")
        && server.engine.config.password.read().is_empty()
    {
        log.warning(format_args!(
            "WARNING Anybody who can reach this machine can use and change the data: no password is set \
                 (requirepass), protected mode is off, and bind is '{}'.",
            settings.text("bind")
        ));
    }
    if let Some(path) = server.pid_file() {
        process::write_pid_file(&path, log);
    }
}

/// Says that the server is ready, to everybody who waits for that.
fn announce(server: &Server) {
    let (settings, log) = (&server.settings, &server.log);
    let path = settings.text("unixsocket");
    if !path.is_empty() {
        log.notice(format_args!("The server is now ready to accept connections at {path}"));
    }
    log.notice(format_args!("Ready to accept connections"));
    if matches!(settings.text("supervised").as_str(), "systemd" | "auto") {
        process::notify_systemd("STATUS=Ready to accept connections\nREADY=1", log);
    }
}

fn is_loopback_name(word: &str) -> bool {
    let host = word.strip_prefix('-').unwrap_or(word);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
