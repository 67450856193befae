//! A JSON Schema, compiled: the keywords of draft 2020-12 that constrain a value by itself. The compiler refuses a
//! schema that uses any other, so that nothing is taken for checked that was not. See [`KEYWORDS`].

use regex::Regex;
use serde_json::Value;

pub use super::json_fit::Misfit;

/// A schema with all that it refers to.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// Every subschema; they name one another by index, so that a schema may refer to itself.
    pub nodes: Vec<Node>,
    /// The one to begin with.
    pub root: usize,
}

/// One schema: all of its rules must hold.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// What must hold.
    pub rules: Vec<Rule>,
}

/// One keyword, or two that belong together.
#[derive(Clone, Debug)]
pub enum Rule {
    /// `false`: nothing fits.
    Never,
    /// `type`.
    Types(Vec<Type>),
    /// `enum` and `const`.
    OneValueOf(Vec<Value>),
    /// `minimum`, `maximum`, and the exclusive ones.
    Bound {
        /// The bound.
        than: f64,
        /// Whether the number must be above it.
        above: bool,
        /// Whether it must differ from it.
        exclusive: bool,
    },
    /// `multipleOf`.
    MultipleOf(f64),
    /// `minLength`, `minItems`, `minProperties`, and their `max`.
    Size {
        /// What is counted.
        of: Sized,
        /// At least so many.
        least: Option<u64>,
        /// At most so many.
        most: Option<u64>,
    },
    /// `pattern`.
    Pattern(Regex),
    /// `format`.
    Format(Format),
    /// `uniqueItems`.
    UniqueItems,
    /// `prefixItems` and `items`.
    Items {
        /// The first ones, one by one.
        prefix: Vec<usize>,
        /// All that follow.
        rest: Option<usize>,
    },
    /// `contains`, `minContains` and `maxContains`.
    Contains {
        /// What is looked for.
        what: usize,
        /// At least so many.
        least: u64,
        /// At most so many.
        most: Option<u64>,
    },
    /// `required`.
    Required(Vec<String>),
    /// `dependentRequired`.
    DependentRequired(Vec<(String, Vec<String>)>),
    /// `properties`, `patternProperties` and `additionalProperties`.
    Properties {
        /// By name.
        named: Vec<(String, usize)>,
        /// By pattern.
        matching: Vec<(Regex, usize)>,
        /// All that neither names.
        others: Option<usize>,
    },
    /// `propertyNames`.
    PropertyNames(usize),
    /// `allOf` and `$ref`.
    All(Vec<usize>),
    /// `anyOf`.
    Any(Vec<usize>),
    /// `oneOf`.
    One(Vec<usize>),
    /// `not`.
    Not(usize),
    /// `if`, `then` and `else`.
    If {
        /// What decides.
        condition: usize,
        /// What must hold then.
        then: Option<usize>,
        /// What must hold otherwise.
        otherwise: Option<usize>,
    },
}

/// The types of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `null`
    Null,
    /// `boolean`
    Boolean,
    /// `integer`: a number without a fraction.
    Integer,
    /// `number`
    Number,
    /// `string`
    String,
    /// `array`
    Array,
    /// `object`
    Object,
}

/// What a size counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sized {
    /// Characters of a string.
    String,
    /// Items of an array.
    Array,
    /// Members of an object.
    Object,
}

/// The formats that are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `date-time`
    DateTime,
    /// `date`
    Date,
    /// `email`
    Email,
    /// `uri`
    Uri,
    /// `uuid`
    Uuid,
    /// `ipv4`
    Ipv4,
    /// `ipv6`
    Ipv6,
}

/// The names of the types.
pub const TYPES: [(&str, Type); 7] = [
    ("null", Type::Null),
    ("boolean", Type::Boolean),
    ("integer", Type::Integer),
    ("number", Type::Number),
    ("string", Type::String),
    ("array", Type::Array),
    ("object", Type::Object),
];

/// The names of the formats.
pub const FORMATS: [(&str, Format); 7] = [
    ("date-time", Format::DateTime),
    ("date", Format::Date),
    ("email", Format::Email),
    ("uri", Format::Uri),
    ("uuid", Format::Uuid),
    ("ipv4", Format::Ipv4),
    ("ipv6", Format::Ipv6),
];

/// The keywords that a schema may use.
pub const KEYWORDS: &[&str] = &[
    "type",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "required",
    "dependentRequired",
    "minProperties",
    "maxProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "$ref",
    "$defs",
    "definitions",
];

/// Keywords that constrain nothing: they may stand there.
pub const ANNOTATIONS: &[&str] = &[
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
];
