//! Reading a client's JSON with a path at hand, so that every complaint names the field, what was expected there
//! and what was found.

use std::fmt;

use simd_json::{
    Buffers, ValueType,
    prelude::{
        TypedScalarValue as _, TypedValue as _, ValueAsScalar as _, ValueIntoString as _,
        Writable as _,
    },
    tape::{Tape, Value},
};

use super::Malformed;
use crate::base::limits::JSON_DEPTH_MAX;

/// Parses a whole body in place.
pub fn parse(body: &mut [u8]) -> Result<Tape<'_>, Malformed> {
    let mut buffers = Buffers::with_max_depth(body.len(), JSON_DEPTH_MAX);
    simd_json::to_tape_with_buffers(body, &mut buffers).map_err(|error| Malformed {
        field: String::new(),
        message: format!("the body is not valid JSON: {error}"),
    })
}

/// One value of the body and where it stands.
#[derive(Clone, Copy)]
pub struct Field<'f, 'b> {
    value: Value<'f, 'b>,
    path: Path<'f>,
}

#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => write!(f, "{key}"),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl<'f, 'b> Field<'f, 'b> {
    /// The body itself.
    #[must_use]
    pub fn root(tape: &'f Tape<'b>) -> Field<'f, 'b> {
        Field { value: tape.as_value(), path: Path::Root }
    }

    /// Its path, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.to_string()
    }

    /// A complaint about it.
    #[must_use]
    pub fn malformed(&self, message: impl Into<String>) -> Malformed {
        Malformed { field: self.name(), message: message.into() }
    }

    /// A member of this object, unless it is absent or null. `None` on what is not an object, too.
    #[must_use]
    pub fn get(&'f self, key: &'f str) -> Option<Field<'f, 'b>> {
        let value = self.value.as_object()?.get(key)?;
        (!value.is_null()).then_some(Field { value, path: Path::Key(&self.path, key) })
    }

    /// A member that must be there.
    pub fn need(&'f self, key: &'f str) -> Result<Field<'f, 'b>, Malformed> {
        self.get(key).ok_or_else(|| {
            let field = Field { value: self.value, path: Path::Key(&self.path, key) };
            field.malformed("is required")
        })
    }

    /// The text of a member that must be there.
    pub fn need_text(&'f self, key: &'f str) -> Result<&'b str, Malformed> {
        self.need(key)?.text()
    }

    /// The text of a member that may be absent.
    pub fn get_text(&'f self, key: &'f str) -> Result<Option<String>, Malformed> {
        self.get(key).map(|field| field.text().map(str::to_owned)).transpose()
    }

    /// A member that may be absent, as JSON text.
    #[must_use]
    pub fn get_json(&'f self, key: &'f str) -> Option<String> {
        self.get(key).map(|field| field.json())
    }

    /// Complains unless this is an object.
    pub fn object(&self) -> Result<&Self, Malformed> {
        if self.is_object() { Ok(self) } else { Err(self.expected("an object")) }
    }

    /// Whether this is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.value.as_object().is_some()
    }

    /// Whether this is an array.
    #[must_use]
    pub fn is_array(&self) -> bool {
        self.value.as_array().is_some()
    }

    /// Whether this is a string.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.value.as_str().is_some()
    }

    /// The members of this object, nulls left out.
    pub fn members(&'f self) -> impl Iterator<Item = (&'b str, Field<'f, 'b>)> {
        let members = self.value.as_object().into_iter().flat_map(|object| object.iter());
        members
            .map(|(key, value)| (key, Field { value, path: Path::Key(&self.path, key) }))
            .filter(|(_, field)| !field.value.is_null())
    }

    /// The elements of this array.
    pub fn elements(&'f self) -> Result<impl Iterator<Item = Field<'f, 'b>>, Malformed> {
        let array = self.value.as_array().ok_or_else(|| self.expected("an array"))?;
        let elements = array.iter().enumerate();
        Ok(elements.map(|(at, value)| Field { value, path: Path::Index(&self.path, at) }))
    }

    /// This string.
    pub fn text(&self) -> Result<&'b str, Malformed> {
        self.value.into_string().ok_or_else(|| self.expected("a string"))
    }

    /// This boolean.
    pub fn bool(&self) -> Result<bool, Malformed> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// This whole number of 0 or more.
    pub fn count(&self) -> Result<u64, Malformed> {
        self.value.as_u64().ok_or_else(|| self.expected("a whole number of 0 or more"))
    }

    /// This whole number.
    pub fn integer(&self) -> Result<i64, Malformed> {
        self.value.as_i64().ok_or_else(|| self.expected("a whole number"))
    }

    /// This number.
    pub fn number(&self) -> Result<f64, Malformed> {
        self.value.cast_f64().ok_or_else(|| self.expected("a number"))
    }

    /// The whole value as JSON text.
    #[must_use]
    pub fn json(&self) -> String {
        self.value.encode()
    }

    /// A complaint about the type.
    #[must_use]
    pub fn expected(&self, what: &str) -> Malformed {
        let found = match self.value.value_type() {
            ValueType::Null => "null",
            ValueType::Bool => "a boolean",
            ValueType::String => "a string",
            ValueType::Array => "an array",
            ValueType::Object => "an object",
            _ if self.value.is_f64() => "a fraction",
            _ => "a number",
        };
        self.malformed(format!("must be {what}, not {found}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_name_the_place_and_both_types() {
        let mut body = br#"{"a":[{"b":1.5}],"n":null}"#.to_vec();
        let tape = parse(&mut body).expect("valid");
        let root = Field::root(&tape);
        let list = root.need("a").expect("there");
        let first = list.elements().expect("an array").next().expect("one");
        let b = first.need("b").expect("there");
        let complaint = b.count().expect_err("a fraction");
        assert_eq!(complaint.field, "a[0].b");
        assert_eq!(complaint.message, "must be a whole number of 0 or more, not a fraction");
        assert_eq!(first.need("c").err().map(|error| error.field), Some("a[0].c".into()));
        assert!(root.get("n").is_none() && root.need("n").is_err());
        assert_eq!(root.expected("a string").message, "must be a string, not an object");
    }

    #[test]
    fn broken_and_bottomless_bodies_are_refused() {
        for body in ["", "{", "{\"a\":\"\u{1}\"}", "[1,]", &"[".repeat(100_000)] {
            assert!(parse(&mut body.as_bytes().to_vec()).is_err());
        }
        let deep = format!("{}{}", "[".repeat(JSON_DEPTH_MAX + 2), "]".repeat(JSON_DEPTH_MAX + 2));
        assert!(parse(&mut deep.into_bytes()).is_err());
        assert!(parse(&mut b"{\"a\":\"\xff\"}".to_vec()).is_err());
    }
}
