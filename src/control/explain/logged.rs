//! A logged exchange: its path made again from its record, and compared with what the record tells.

use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    ExplainArgs, Find, copy, recorded,
    show::{self, Form},
};
use crate::{
    config::{
        Config,
        compile::{Known, compile_inline},
        digest::render_policy,
        policy::Policy,
        recall::{self, Lead},
    },
    journal::retrace::{Retraced, retrace},
    policy::{ahead::ahead, condition::Facts, explain::explain, health::Snapshot, plan::plan_with},
    serve::explain::{Told, ToldTarget},
    wire::record::Record,
};

/// The policy of an exchange, and where its targets led.
struct Ground {
    policy: Policy,
    leads: Vec<(String, Lead)>,
}

/// Explains; the number is the exit code.
pub fn explained(
    args: &ExplainArgs,
    log: &Path,
    id: &str,
    find: Find<'_>,
) -> Result<(String, i32), String> {
    let record = find(log, id)?;
    let mut notes = Vec::new();
    let file = match &args.config {
        Some(path) => Some(super::file(path, args.no_env)?),
        None => None,
    };
    let copy = copy::read(log, record.epoch);
    if let Some(file) = &file {
        notes.push(compare_epochs(args, file, copy.as_ref(), &record));
    }
    if record.times.planned == 0 {
        let told = Told { seed: record.seed, config: record.config.clone(), ..Told::default() };
        let why = format!("it ended before its plan: {} {}", record.status, record.error_message);
        notes.push(why);
        return Ok((show::show(&Form::of_record(&record, &told, &notes, None), args.json), 0));
    }
    let ground = ground(args, file.as_ref(), copy, &record, &mut notes)?;
    let (told, outcome) = remade(&ground, &record);
    if record.omitted > 0 {
        notes.push(format!(
            "the record left {} entries out to stay short: what is made again may lack them",
            record.omitted
        ));
    }
    let code = i32::from(outcome.is_err());
    Ok((show::show(&Form::of_record(&record, &told, &notes, Some(&outcome)), args.json), code))
}

/// Plans and walks again.
fn remade(ground: &Ground, record: &Record) -> (Told, Result<Retraced, String>) {
    let Record { open_breakers, balance, conditions, .. } = record;
    let health = Snapshot::recalled(&ground.policy, open_breakers, balance, conditions);
    let metadata = &record.metadata;
    let facts = Facts { metadata, path: &record.path, ..Facts::default() };
    let plan = plan_with(&ground.policy, record.seed, &facts, &health);
    let explanation = explain(&ground.policy, record.seed, &facts, &health);
    let mut told = Told { seed: record.seed, ..Told::of(&explanation) };
    told.config.clone_from(&record.config);
    told.model.clone_from(&record.requested_model);
    told.api_key.clone_from(&record.api_key);
    for target in &mut told.targets {
        lead(target, ground, record);
    }
    for one in ahead(&plan) {
        let told = told.targets.iter_mut().find(|target| target.path == one.leaf.path);
        told.into_iter()
            .for_each(|target| target.around = recorded::around(&one, &ground.leads, record));
    }
    let decided: Vec<String> = plan.decided().iter().map(ToString::to_string).collect();
    if let Some(strange) = conditions.iter().find(|logged| !decided.contains(logged)) {
        return (told, Err(format!("the record's choice `{strange}` is none of this config")));
    }
    (told, retrace(&plan, record))
}

/// What the record says of where a target led, else what the config says.
fn lead(target: &mut ToldTarget, ground: &Ground, record: &Record) {
    if let Some((_, lead)) = ground.leads.iter().find(|(path, _)| *path == target.path) {
        target.virtual_key.clone_from(&lead.virtual_key);
        target.provider.clone_from(&lead.provider);
        target.model.clone_from(&lead.model);
    }
    if let Some(attempt) = record.attempts.iter().find(|attempt| attempt.target == target.path) {
        target.virtual_key.clone_from(&attempt.virtual_key);
        target.provider.clone_from(&attempt.provider);
        target.model.clone_from(&attempt.model);
    }
}

/// The policy that the exchange ran on: that of its epoch's copy, else of the file; one that came with the request
/// is asked for again.
fn ground(
    args: &ExplainArgs,
    file: Option<&Config>,
    copy: Result<copy::Copy, String>,
    record: &Record,
    notes: &mut Vec<String>,
) -> Result<Ground, String> {
    let name = &record.config;
    if name.is_empty() {
        return Ok(Ground { policy: Policy::bare(), leads: Vec::new() });
    }
    if let Some(digest) = name.strip_prefix("inline:") {
        return inline(args, file, digest);
    }
    let missing = match copy {
        Ok(copy) => {
            let policy = copy.config.get("configs").and_then(|configs| configs.get(name));
            match policy.and_then(recall::recall) {
                Some(recalled) => {
                    return Ok(Ground { policy: recalled.policy, leads: recalled.leads });
                }
                None => format!(
                    "the copy of epoch {} has no config `{name}` that is understood",
                    record.epoch
                ),
            }
        }
        Err(why) => format!("the copy of epoch {} cannot be read ({why})", record.epoch),
    };
    let Some(file) = file else {
        return Err(format!("{missing}; name the file that was in force with --config FILE"));
    };
    notes.push(format!("{missing}: what follows is made from the file"));
    let rendered = file.without_secrets();
    let policy = rendered.get("configs").and_then(|configs| configs.get(name));
    match policy.and_then(recall::recall) {
        Some(recalled) => Ok(Ground { policy: recalled.policy, leads: recalled.leads }),
        None => Err(format!("{missing}, and the file has no config `{name}`")),
    }
}

/// A config that came with the request is in no log: it must be shown, and be the same.
fn inline(args: &ExplainArgs, file: Option<&Config>, digest: &str) -> Result<Ground, String> {
    let is_config = |name: &str| {
        ["x-portkey-config", "x-trunkline-config"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    let given = args.headers.iter().find(|(name, _)| is_config(name));
    let Some((_, text)) = given else {
        return Err(format!(
            "the exchange brought a config of its own, inline:{digest}, which the log does not keep; show it with \
             --header 'x-portkey-config: {{…}}' and --config FILE"
        ));
    };
    let shown = hex::encode(Sha256::digest(text.as_bytes()));
    if shown != digest {
        return Err(format!(
            "the config that was given is another one: inline:{shown}, not inline:{digest}"
        ));
    }
    let defaults;
    let file = match file {
        Some(file) => file,
        None => {
            defaults = Config::open_defaults();
            &defaults
        }
    };
    match compile_inline(text, Known::from(file), true) {
        Ok(policy) => {
            let leads = recall::recall(&render_policy(&policy, file));
            Ok(Ground { policy, leads: leads.map(|recalled| recalled.leads).unwrap_or_default() })
        }
        Err(error) => Err(format!("the config that was given does not compile here: {error:?}")),
    }
}

/// Whether the file on disk is the configuration that the exchange ran on.
fn compare_epochs(
    args: &ExplainArgs,
    file: &Config,
    copy: Result<&copy::Copy, &String>,
    record: &Record,
) -> String {
    let name = args.config.as_ref().map_or_else(String::new, |path| path.display().to_string());
    let digest = hex::encode(file.digest);
    let (epoch, short) =
        (record.epoch, |digest: &str| digest.get(..12).unwrap_or(digest).to_owned());
    let copy = match copy {
        Ok(copy) => copy,
        Err(_) => {
            return format!("whether {name} is epoch {epoch} is not known: no copy of it was kept");
        }
    };
    if copy.digest == digest {
        return format!("{name} is epoch {epoch} still (digest {})", short(&digest));
    }
    let whole = file.without_secrets();
    let policy =
        |config: &Value| config.get("configs").and_then(|all| all.get(&record.config)).cloned();
    let same = policy(&whole).is_some() && policy(&whole) == policy(&copy.config);
    let of_config = match same {
        _ if record.config.is_empty() || record.config.starts_with("inline:") => String::new(),
        true => format!("; its config `{}` is the same", record.config),
        false => {
            format!("; its config `{}` is another: today's decision may be too", record.config)
        }
    };
    format!(
        "{name} is not epoch {epoch} (digest {}, not {}){of_config}; what follows is epoch {epoch}'s",
        short(&digest),
        short(&copy.digest)
    )
}
