//! The program: arguments, configuration, run, exit code.

use std::{
    error::Error,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use sidewire::{
    cli::{self, Certs, Command, Secret},
    command::{self, Failed},
    config::{self, Faults, Written},
    server::{self, Loaded, Server},
    telemetry::{self, chain},
    tls::self_signed,
};

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    let done = match command {
        Command::Run { config } => load(&config).and_then(|loaded| run(&loaded, &config)),
        Command::Check { config } => check(&config),
        Command::Certs(Certs::Dev { host, out }) => make_pair(&host, &out),
        Command::Status(arguments) => command::run(command::status::run(arguments)),
        Command::Reload(arguments) => command::run(command::reload::run(arguments)),
        Command::Publish(arguments) => command::run(command::publish::run(arguments)),
        Command::Channels(arguments) => command::run(command::channels::run(arguments)),
        Command::Tail(arguments) => command::run(command::tail::run(arguments)),
        Command::Secret(Secret::New { out }) => command::secret::new_secret(out.as_deref()),
        Command::Token(asked) => command::token::print_token(&asked),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            // Whoever closed our standard error wants no words.
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::from(code)
        }
    }
}

/// A line for whoever reads our standard output, if anyone does.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn load(file: &Path) -> Result<Loaded, Failed> {
    let failed = |faults| {
        let file = file.into();
        (cli::BAD_CONFIG, Faults { file, faults }.to_string())
    };
    let text = config::open(file).map_err(|fault| failed(vec![fault]))?;
    let config = config::parse(&text).map_err(failed)?;
    let written = Written::read(&text);
    Ok(Loaded { config, written })
}

/// Tells the faults of the text and of the files that it names, all at once.
fn check(file: &Path) -> Result<(), Failed> {
    match server::examine(file) {
        Ok(_) => {
            say(&format!("{}: no fault", file.display()));
            Ok(())
        }
        Err(faults) => {
            let file = file.into();
            Err((cli::BAD_CONFIG, Faults { file, faults }.to_string()))
        }
    }
}

fn run(loaded: &Loaded, file: &Path) -> Result<(), Failed> {
    let cannot = |error: &dyn Error| (cli::CANNOT, format!("sidewire: {}", chain(error)));
    let log = &loaded.config.log;
    let filter = telemetry::start(log).map_err(|fault| {
        let filter = &log.filter;
        (cli::BAD_CONFIG, format!("log.filter = {filter:?}  {fault}"))
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| cannot(&error))?;
    let done = runtime.block_on(async {
        let signals = server::Signals::new().map_err(|error| cannot(&error))?;
        let server = Server::start(loaded, file, filter).map_err(|error| cannot(&error))?;
        for line in server.addresses() {
            say(&format!("sidewire: listening {line}"));
        }
        say("sidewire: ready");
        server.run_until(signals).await;
        Ok(())
    });
    // A disk or a name server that hangs must not hold the exit.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

fn make_pair(host: &str, out: &Path) -> Result<(), Failed> {
    match self_signed::write(host, out) {
        Ok(pair) => {
            say(&format!(
                "{}\n{}",
                pair.certificate.display(),
                pair.key.display()
            ));
            Ok(())
        }
        Err(error) => Err((cli::CANNOT, format!("sidewire: {}", chain(&error)))),
    }
}
