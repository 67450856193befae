//! From the text of a configuration file to a [`Config`], or to everything that is wrong with it at once.

use crate::base::ids::ConfigId;

use super::{
    Config, CustomHosts, Ids, NamedConfig, bounds,
    compile::{Known, compile_named},
    edge,
    keyring::{self, References, VirtualKeys},
    report::{Mistake, Report, Spot},
    sections,
    tree::{self, Tree},
    values,
    variables::{self, Variables},
};

/// What came of checking a file.
#[derive(Debug)]
pub struct Checked {
    /// The configuration; `None` if there are mistakes, or if variables were not looked up.
    pub config: Option<Config>,
    /// All mistakes, in the order of the file.
    pub mistakes: Vec<Mistake>,
    /// What loads but has no effect.
    pub warnings: Vec<Mistake>,
}

/// Checks the text of a configuration file.
#[must_use]
pub fn check(text: &str, variables: Variables<'_>) -> Checked {
    let mut report = Report::default();
    let config = match tree::read_yaml(text) {
        Ok(tree) => from_tree(tree, variables, &mut report),
        Err((place, message)) => {
            let (line, column) = (place.line, place.column);
            report.mistakes.push(Mistake { line, column, path: String::new(), message });
            None
        }
    };
    let complete = report.mistakes.is_empty() && matches!(variables, Variables::Lookup(_));
    report.mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    report.warnings.sort_by_key(|warning| (warning.line, warning.column));
    Checked {
        config: config.filter(|_| complete),
        mistakes: report.mistakes,
        warnings: report.warnings,
    }
}

fn from_tree(mut tree: Tree, variables: Variables<'_>, report: &mut Report) -> Option<Config> {
    variables::replace(&mut tree, variables);
    let root = Spot::root(&tree);
    variables::report_missing(&root, variables, report);
    if !report.keys(&root, TOP_KEYS, TOP_KEYS_LATER) {
        return None;
    }
    sections::prices(&root, report);
    let mut config = Config::open_defaults();
    sections::listeners(&root, &mut config, report);
    sections::machine(&root, &mut config, report);
    sections::log(&root, &mut config, report);
    bounds::limits(&root, &mut config, report);
    bounds::timeouts(&root, &mut config, report);
    sections::custom_hosts(&root, &mut config, report);
    bounds::slow_request(&root, &mut config, report);
    edge::edge(&root, &mut config, report);
    let keys = keyring::virtual_keys(&root, report);
    let (configs, config_ids) = configs(&root, &keys, &config.custom_hosts, report);
    let references = References { virtual_key_ids: &keys.ids, config_ids: &config_ids };
    config.api_keys = keyring::api_keys(&root, &references, report);
    config.api_key_ids = keyring::api_key_ids(&config.api_keys);
    config.configs = configs.into_iter().flatten().collect();
    config.config_ids = config_ids;
    config.virtual_keys = keys.keys;
    config.virtual_key_ids = keys.ids;
    sections::open(&root, &mut config, report);
    edge::warn_of_open_cors(&root, &config, report);
    config.seal();
    Some(config)
}

/// The configs by id; `None` for one with mistakes, whose name is known all the same.
fn configs(
    root: &Spot<'_>,
    keys: &VirtualKeys,
    custom_hosts: &CustomHosts,
    report: &mut Report,
) -> (Vec<Option<NamedConfig>>, Ids<ConfigId>) {
    let (mut configs, mut ids) = (Vec::new(), Ids::default());
    let Some(section) = root.get("configs").filter(|section| report.map(section)) else {
        return (configs, ids);
    };
    let known = Known {
        virtual_keys: &keys.keys,
        virtual_key_ids: &keys.ids,
        custom_hosts,
        open_on_loopback: false,
    };
    for entry in section.entries() {
        values::name(&entry, report);
        let name = entry.name().to_owned();
        let Ok(index) = u32::try_from(configs.len()) else { break };
        ids.entry(name.clone()).or_insert(ConfigId(index));
        let policy = compile_named(&entry, known, report);
        configs.push(policy.map(|policy| NamedConfig { name, policy }));
    }
    (configs, ids)
}

/// The keys at the top of the file.
pub const TOP_KEYS: &[&str] = &[
    "listen",
    "tls",
    "admin",
    "workers",
    "state",
    "auth",
    "virtual_keys",
    "configs",
    "api_keys",
    "log",
    "limits",
    "timeouts",
    "custom_hosts",
    "slow_request",
    "trusted_proxies",
    "cors",
    "egress_proxy",
    "prices",
];
/// Keys at the top of the file that a later version will honour.
pub const TOP_KEYS_LATER: &[&str] = &["cache", "on_store_failure", "redis", "keep_alive"];
