//! From a configuration file to an epoch: read, check, load what it names, keep a copy without secrets.

use std::{
    fmt::Write as _,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::limits,
    config::{Admin, Config, Log, Workers, check::check, report::Mistake, variables::Variables},
    io::{
        hub::Epoch,
        tls::{self, ServerConfig, Trust},
    },
};

/// What flags set over the file, at the start and at each reload.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--admin`; the inner `None` is `off`.
    pub admin: Option<Option<SocketAddr>>,
    /// `--workers`
    pub workers: Option<usize>,
    /// `--log`; the inner `None` is `off`.
    pub log: Option<Option<PathBuf>>,
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// A text made by the program, as `quickstart` does; never reloaded.
    Text(String),
    /// Nothing: open on loopback.
    Defaults,
}

/// Reads and checks. `Err`: everything that is wrong, ready for stderr.
pub fn configuration(origin: &Origin, overrides: &Overrides) -> Result<Config, String> {
    let mut config = match origin {
        Origin::Defaults => Config::open_defaults(),
        Origin::Text(text) => checked("the built-in configuration", text)?,
        Origin::File(path) => checked(&path.display().to_string(), &read(path)?)?,
    };
    overrides.apply(&mut config);
    let exposed = config.open && !config.listen.ip().is_loopback();
    if exposed && overrides.listen.is_some() && !config.open_on_purpose {
        return Err(format!(
            "trunkline: --listen {} would let anyone use this gateway: define api_keys in the file, \
             or say `auth: open` there if that is meant",
            config.listen
        ));
    }
    match &config.admin {
        Some(admin) => admin_may_listen(admin, config.listen).map(|()| config),
        None => Ok(config),
    }
}

/// The rules for the admin interface's address, which flags may have changed after the file was checked.
fn admin_may_listen(admin: &Admin, gateway: SocketAddr) -> Result<(), String> {
    let address = admin.listen;
    if address == gateway && address.port() != 0 {
        return Err(format!(
            "trunkline: the gateway and the admin interface cannot both listen on {address}: choose another \
             address with --admin, or --admin off"
        ));
    }
    if address.ip().is_loopback() || (admin.token.is_some() && admin.insecure) {
        return Ok(());
    }
    let missing = match admin.token {
        None => "a token: set `admin.token`",
        Some(_) => "TLS: accept the risk with `insecure: true` below `admin`",
    };
    Err(format!(
        "trunkline: --admin {address} is not on loopback and has no protection by {missing} in the file, or listen on \
         127.0.0.1"
    ))
}

fn read(path: &Path) -> Result<String, String> {
    let told = |error: io::Error| format!("trunkline: {}: {error}", path.display());
    let bytes = std::fs::read(path).map_err(told)?;
    if bytes.len() > limits::CONFIG_FILE_BYTES_MAX {
        let most = limits::CONFIG_FILE_BYTES_MAX;
        return Err(format!("trunkline: {}: is larger than {most} bytes", path.display()));
    }
    String::from_utf8(bytes).map_err(|_| format!("trunkline: {}: is not UTF-8", path.display()))
}

fn checked(name: &str, text: &str) -> Result<Config, String> {
    let look_up = |variable: &str| std::env::var(variable).ok();
    let checked = check(text, Variables::Lookup(&look_up));
    for warning in &checked.warnings {
        eprintln!("{}", told(name, "warning: ", warning));
    }
    checked.config.ok_or_else(|| {
        checked.mistakes.iter().fold(String::new(), |mut all, mistake| {
            // Writing into a string cannot fail.
            let _ = writeln!(all, "{}", told(name, "", mistake));
            all
        })
    })
}

fn told(name: &str, weight: &str, mistake: &Mistake) -> String {
    format!("{name}:{mistake}").replacen(": ", &format!(": {weight}"), 1)
}

impl Overrides {
    fn apply(&self, config: &mut Config) {
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        if let Some(admin) = self.admin {
            config.admin =
                admin.map(|listen| Admin { listen, ..config.admin.clone().unwrap_or_default() });
        }
        if let Some(count) = self.workers {
            config.workers = Workers::Count(count);
        }
        if let Some(dir) = &self.log {
            config.log = dir
                .as_ref()
                .map(|dir| Log { dir: dir.clone(), ..config.log.clone().unwrap_or_default() });
        }
    }
}

/// TLS of both sides, from the files that a configuration names. A mistake has the field, but not its line.
pub fn certificates(config: &Config) -> Result<(Option<Arc<ServerConfig>>, Trust), Mistake> {
    let mistake = |path, message| Mistake { line: 0, column: 0, path, message };
    let server = config.tls.as_ref().map(tls::server_config).transpose();
    let server = server.map_err(|fault| mistake(format!("tls.{}", fault.of), fault.message))?;
    let files = config.virtual_keys.iter().filter_map(|key| key.ca.as_deref());
    let client = Trust::load(files).map_err(|fault| {
        let mut keys = config.virtual_keys.iter();
        let key = keys.find(|key| key.ca.as_deref() == Some(fault.of));
        let name = key.map_or("", |key| &key.name);
        mistake(format!("virtual_keys.{name}.ca"), fault.message)
    })?;
    Ok((server, client))
}

/// Makes an epoch of a configuration: loads certificates, and keeps a copy without secrets beside the log.
pub fn epoch(config: Config, number: u64) -> Result<Arc<Epoch>, String> {
    let (server_tls, client_tls) = certificates(&config).map_err(|mistake| mistake.to_string())?;
    if let Some(log) = &config.log
        && let Err(error) = keep(&log.dir, number, &config)
    {
        eprintln!("trunkline: the epoch's copy in {} was not written: {error}", log.dir.display());
    }
    Ok(Arc::new(Epoch { number, config, server_tls, client_tls }))
}

fn keep(log_dir: &Path, number: u64, config: &Config) -> io::Result<()> {
    let dir = log_dir.join("epochs");
    std::fs::create_dir_all(&dir)?;
    let copy = serde_json::json!({
        "epoch": number,
        "digest": hex::encode(config.digest),
        "config": config.without_secrets(),
    });
    let path = dir.join(format!("{number}.json"));
    std::fs::write(path, serde_json::to_vec_pretty(&copy).map_err(io::Error::other)?)
}
