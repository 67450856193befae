//! Compiles a JSON Schema, and refuses what of it would not be checked.

use std::collections::HashMap;

use crate::{
    base::limits,
    config::{
        json_schema::{ANNOTATIONS, FORMATS, KEYWORDS, Node, Rule, Schema, Sized, TYPES, Type},
        report::{Spot, did_you_mean},
        tree::Value,
    },
};

use super::node::Compiler;

/// A schema while it is compiled.
#[derive(Default)]
struct Draft {
    nodes: Vec<Node>,
    /// What `$ref` may name: `#`, `#/$defs/NAME`, `#/definitions/NAME`.
    names: HashMap<String, usize>,
    /// What it does name.
    wanted: Vec<(usize, String)>,
}

impl Compiler<'_, '_> {
    /// The schema under `schema`: an object, or Portkey's text of one.
    pub fn json_schema(&mut self, spot: &Spot<'_>) -> Option<Schema> {
        let Some(found) = self.field(spot, "schema") else {
            self.required(
                spot,
                "schema",
                "write e.g. schema: { type: object, required: [answer] }",
            );
            return None;
        };
        let before = self.report.mistakes.len();
        let mut draft = Draft::default();
        let root = self.schema_node(&found, &mut draft, 0)?;
        draft.names.insert("#".to_owned(), root);
        for (node, name) in std::mem::take(&mut draft.wanted) {
            match draft.names.get(&name) {
                Some(to) => draft.nodes[node].rules.push(Rule::All(vec![*to])),
                None => {
                    let text = format!(
                        "the schema has no {name:?}; a $ref names #, #/$defs/NAME or #/definitions/NAME"
                    );
                    self.report.mistake(&found, text);
                }
            }
        }
        (self.report.mistakes.len() == before).then_some(Schema { nodes: draft.nodes, root })
    }

    fn schema_node(&mut self, spot: &Spot<'_>, draft: &mut Draft, depth: usize) -> Option<usize> {
        let index = draft.nodes.len();
        if index >= limits::SCHEMA_NODES_MAX || depth > limits::CONFIG_FILE_DEPTH_MAX {
            let most = limits::SCHEMA_NODES_MAX;
            self.report.mistake(spot, format!("a schema has at most {most} parts"));
            return None;
        }
        draft.nodes.push(Node::default());
        match spot.tree.value {
            Value::Bool(true) => return Some(index),
            Value::Bool(false) => {
                draft.nodes[index].rules.push(Rule::Never);
                return Some(index);
            }
            Value::Map(_) => {}
            _ => {
                self.report.expected(spot, "a JSON Schema; write e.g. { type: object }");
                return None;
            }
        }
        self.schema_keywords(spot);
        for key in ["$defs", "definitions"] {
            let Some(defs) = self.field(spot, key) else { continue };
            for entry in defs.entries() {
                let node = self.schema_node(&entry, draft, depth + 1)?;
                if depth == 0 {
                    draft.names.insert(format!("#/{key}/{}", entry.name()), node);
                }
            }
        }
        let mut rules = self.schema_values(spot)?;
        rules.extend(self.schema_sizes(spot)?);
        rules.extend(self.schema_of_items(spot, draft, depth)?);
        rules.extend(self.schema_of_members(spot, draft, depth)?);
        rules.extend(self.schema_combined(spot, draft, depth)?);
        if let Some(found) = self.field(spot, "$ref") {
            let name = self.string(&found, "text; write e.g. \"#/$defs/name\"")?;
            draft.wanted.push((index, name.to_owned()));
        }
        draft.nodes[index].rules = rules;
        Some(index)
    }

    fn schema_keywords(&mut self, spot: &Spot<'_>) {
        let known = |name: &str| KEYWORDS.contains(&name) || ANNOTATIONS.contains(&name);
        for entry in spot.entries().filter(|entry| !known(entry.name())) {
            let hint = did_you_mean(entry.name(), KEYWORDS.iter().copied());
            let text = format!("is no keyword that is checked{hint}");
            self.report.about_key(&entry, text);
        }
    }

    /// `type`, `enum`, `const`, `pattern`, `format`, `uniqueItems`.
    fn schema_values(&mut self, spot: &Spot<'_>) -> Option<Vec<Rule>> {
        let mut rules = Vec::new();
        if let Some(found) = self.field(spot, "type") {
            rules.push(Rule::Types(self.schema_types(&found)?));
        }
        if let Some(found) = self.field(spot, "enum") {
            if !self.is_list(&found, "a list of values") {
                return None;
            }
            rules.push(Rule::OneValueOf(found.items().map(|item| item.tree.to_json()).collect()));
        }
        if let Some(found) = spot.get_or_null("const") {
            rules.push(Rule::OneValueOf(vec![found.tree.to_json()]));
        }
        if let Some(found) = self.field(spot, "pattern") {
            let rule = self.string(&found, "a regular expression in quotes")?.to_owned();
            rules.push(Rule::Pattern(self.regex(&found, &rule)?));
        }
        if let Some(found) = self.field(spot, "format") {
            let name = self.string(&found, "the name of a format; write e.g. email")?;
            let Some((_, format)) = FORMATS.iter().find(|(known, _)| *known == name) else {
                let names: Vec<&str> = FORMATS.iter().map(|(name, _)| *name).collect();
                let text = format!("is no format that is checked; there are {}", names.join(", "));
                self.report.mistake(&found, text);
                return None;
            };
            rules.push(Rule::Format(*format));
        }
        if self.flag(spot, "uniqueItems") == Some(true) {
            rules.push(Rule::UniqueItems);
        }
        Some(rules)
    }

    fn schema_types(&mut self, spot: &Spot<'_>) -> Option<Vec<Type>> {
        let single = |spot: &Spot<'_>| match &spot.tree.value {
            Value::Text(name) => TYPES.iter().find(|(known, _)| known == name).map(|one| one.1),
            Value::Null => Some(Type::Null),
            _ => None,
        };
        let types: Option<Vec<Type>> = match spot.tree.value {
            Value::List(_) => spot.items().map(|item| single(&item)).collect(),
            _ => single(spot).map(|one| vec![one]),
        };
        if types.is_none() {
            let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
            self.report.expected(spot, &format!("a type of JSON; there are {}", names.join(", ")));
        }
        types
    }

    /// Bounds on numbers and sizes.
    fn schema_sizes(&mut self, spot: &Spot<'_>) -> Option<Vec<Rule>> {
        let mut rules = Vec::new();
        for (key, above, exclusive) in [
            ("minimum", true, false),
            ("maximum", false, false),
            ("exclusiveMinimum", true, true),
            ("exclusiveMaximum", false, true),
        ] {
            if let Some(found) = self.field(spot, key) {
                let than = self.number(&found, "a number")?.as_f64()?;
                rules.push(Rule::Bound { than, above, exclusive });
            }
        }
        if let Some(found) = self.field(spot, "multipleOf") {
            let step = self.number(&found, "a number above 0")?.as_f64()?;
            if step <= 0.0 {
                self.report.expected(&found, "a number above 0");
                return None;
            }
            rules.push(Rule::MultipleOf(step));
        }
        for (of, min, max) in [
            (Sized::String, "minLength", "maxLength"),
            (Sized::Array, "minItems", "maxItems"),
            (Sized::Object, "minProperties", "maxProperties"),
        ] {
            let least = self.schema_whole(spot, min)?;
            let most = self.schema_whole(spot, max)?;
            if least.is_some() || most.is_some() {
                rules.push(Rule::Size { of, least, most });
            }
        }
        Some(rules)
    }

    /// The outer `None`: a mistake.
    fn schema_whole(&mut self, spot: &Spot<'_>, key: &str) -> Option<Option<u64>> {
        if self.field(spot, key).is_none() {
            return Some(None);
        }
        self.whole(spot, key, 0).map(Some)
    }

    fn schema_part(
        &mut self,
        spot: &Spot<'_>,
        key: &str,
        draft: &mut Draft,
        depth: usize,
    ) -> Option<Option<usize>> {
        match self.field(spot, key) {
            Some(found) => self.schema_node(&found, draft, depth + 1).map(Some),
            None => Some(None),
        }
    }

    fn schema_list(
        &mut self,
        spot: &Spot<'_>,
        key: &str,
        draft: &mut Draft,
        depth: usize,
    ) -> Option<Vec<usize>> {
        let Some(found) = self.field(spot, key) else { return Some(Vec::new()) };
        if !self.is_list(&found, "a list of schemas") {
            return None;
        }
        found.items().map(|item| self.schema_node(&item, draft, depth + 1)).collect()
    }

    fn schema_of_items(
        &mut self,
        spot: &Spot<'_>,
        draft: &mut Draft,
        depth: usize,
    ) -> Option<Vec<Rule>> {
        let mut rules = Vec::new();
        if let Some(found) = self.field(spot, "items")
            && matches!(found.tree.value, Value::List(_))
        {
            self.report.mistake(&found, "a list of schemas is called prefixItems");
            return None;
        }
        let prefix = self.schema_list(spot, "prefixItems", draft, depth)?;
        let rest = self.schema_part(spot, "items", draft, depth)?;
        if !prefix.is_empty() || rest.is_some() {
            rules.push(Rule::Items { prefix, rest });
        }
        if let Some(what) = self.schema_part(spot, "contains", draft, depth)? {
            let least = self.schema_whole(spot, "minContains")?.unwrap_or(1);
            let most = self.schema_whole(spot, "maxContains")?;
            rules.push(Rule::Contains { what, least, most });
        }
        Some(rules)
    }

    fn schema_of_members(
        &mut self,
        spot: &Spot<'_>,
        draft: &mut Draft,
        depth: usize,
    ) -> Option<Vec<Rule>> {
        let mut rules = Vec::new();
        if let Some(found) = self.field(spot, "required") {
            rules.push(Rule::Required(self.schema_names(&found)?));
        }
        if let Some(found) = self.field(spot, "dependentRequired") {
            let mut all = Vec::new();
            for entry in found.entries() {
                all.push((entry.name().to_owned(), self.schema_names(&entry)?));
            }
            rules.push(Rule::DependentRequired(all));
        }
        if let Some(index) = self.schema_part(spot, "propertyNames", draft, depth)? {
            rules.push(Rule::PropertyNames(index));
        }
        let (mut named, mut matching) = (Vec::new(), Vec::new());
        if let Some(found) = self.field(spot, "properties") {
            if !self.is_map(&found) {
                return None;
            }
            for entry in found.entries() {
                let node = self.schema_node(&entry, draft, depth + 1)?;
                named.push((entry.name().to_owned(), node));
            }
        }
        if let Some(found) = self.field(spot, "patternProperties") {
            for entry in found.entries() {
                let regex = self.regex(&entry, entry.name())?;
                matching.push((regex, self.schema_node(&entry, draft, depth + 1)?));
            }
        }
        let others = self.schema_part(spot, "additionalProperties", draft, depth)?;
        if !named.is_empty() || !matching.is_empty() || others.is_some() {
            rules.push(Rule::Properties { named, matching, others });
        }
        Some(rules)
    }

    fn schema_names(&mut self, spot: &Spot<'_>) -> Option<Vec<String>> {
        if !self.is_list(spot, "a list of names; write e.g. [answer]") {
            return None;
        }
        spot.items()
            .map(|item| self.string(&item, "a name; put it in quotes").map(str::to_owned))
            .collect()
    }

    fn schema_combined(
        &mut self,
        spot: &Spot<'_>,
        draft: &mut Draft,
        depth: usize,
    ) -> Option<Vec<Rule>> {
        let mut rules = Vec::new();
        for (key, rule) in [
            ("allOf", Rule::All as fn(Vec<usize>) -> Rule),
            ("anyOf", Rule::Any),
            ("oneOf", Rule::One),
        ] {
            let list = self.schema_list(spot, key, draft, depth)?;
            if !list.is_empty() {
                rules.push(rule(list));
            }
        }
        if let Some(index) = self.schema_part(spot, "not", draft, depth)? {
            rules.push(Rule::Not(index));
        }
        let condition = self.schema_part(spot, "if", draft, depth)?;
        let then = self.schema_part(spot, "then", draft, depth)?;
        let otherwise = self.schema_part(spot, "else", draft, depth)?;
        if let Some(condition) = condition {
            rules.push(Rule::If { condition, then, otherwise });
        }
        Some(rules)
    }
}
