//! The program: arguments, configuration, run, exit code.

use std::{path::Path, process::ExitCode};

use sidewire::{
    cli::{self, Certs, Command},
    config::{self, Config},
    server::{self, Server},
    telemetry,
    tls::self_signed,
};

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    let done = match command {
        Command::Run { config } => load(&config).and_then(run),
        Command::Check { config } => load(&config).and_then(|checked| check(&config, &checked)),
        Command::Certs(Certs::Dev { host, out }) => make_pair(&host, &out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            eprintln!("{message}");
            ExitCode::from(code)
        }
    }
}

/// An exit code, and what to say on standard error.
type Failed = (u8, String);

fn load(file: &Path) -> Result<Config, Failed> {
    config::load(file).map_err(|faults| (cli::BAD_CONFIG, faults.to_string()))
}

fn check(file: &Path, config: &Config) -> Result<(), Failed> {
    let faults = server::check(config);
    if faults.is_empty() {
        println!("{}: no fault", file.display());
        return Ok(());
    }
    let listed: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
    let message = format!(
        "{}: {} faults{}",
        file.display(),
        faults.len(),
        listed.concat()
    );
    Err((cli::BAD_CONFIG, message))
}

fn run(config: Config) -> Result<(), Failed> {
    let cannot = |error: &dyn std::error::Error| (cli::CANNOT_START, format!("sidewire: {error}"));
    telemetry::start(&config.log).map_err(|fault| {
        (
            cli::BAD_CONFIG,
            format!("log.filter = {:?}  {fault}", config.log.filter),
        )
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| cannot(&error))?;
    runtime.block_on(async {
        let signals = server::Signals::new().map_err(|error| cannot(&error))?;
        let server = Server::start(&config).map_err(|error| cannot(&error))?;
        for line in server.addresses() {
            println!("sidewire: listening {line}");
        }
        println!("sidewire: ready");
        server.run_until(signals).await;
        Ok(())
    })
}

fn make_pair(host: &str, out: &Path) -> Result<(), Failed> {
    match self_signed::write(host, out) {
        Ok(pair) => {
            println!("{}\n{}", pair.certificate.display(), pair.key.display());
            Ok(())
        }
        Err(error) => Err((cli::CANNOT_START, format!("sidewire: {error}"))),
    }
}
